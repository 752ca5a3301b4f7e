/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels for AVX-512 of which a search under a filter chooses lists and finds matches. */
#ifndef OMEN_KERNELS_AVX512_LISTS_H
#define OMEN_KERNELS_AVX512_LISTS_H

#include <immintrin.h>

#include "lib/kernels/kernels_plain.h"

static void list_shares(const float *values, const float *means, size_t n, float norm2, float distance2, float scale2,
                        const float *tails, uint32_t last, float *out)
{
    const __m512 two = _mm512_set1_ps(2), four = _mm512_set1_ps(4), zero = _mm512_setzero_ps();
    const __m512 most = _mm512_set1_ps((float)last);
    size_t l = 0;
    for (; l + 16 <= n; l += 16) { /* as the plain one has it */
        const __m512 mean = _mm512_loadu_ps(means + l);
        const __m512 away = _mm512_add_ps(_mm512_set1_ps(norm2), _mm512_mul_ps(two, _mm512_loadu_ps(values + l)));
        const __m512 base = _mm512_max_ps(away, zero);
        const __m512 ahead = _mm512_sub_ps(_mm512_sub_ps(_mm512_set1_ps(distance2), base), mean);
        const __m512 spread = _mm512_add_ps(_mm512_mul_ps(_mm512_mul_ps(two, mean), mean),
                                            _mm512_mul_ps(_mm512_mul_ps(four, mean), base));
        const __m512 steps = _mm512_mul_ps(
            _mm512_div_ps(_mm512_mul_ps(ahead, ahead), _mm512_mul_ps(_mm512_set1_ps(scale2), spread)), four);
        const __m512 at = _mm512_min_ps(steps, most);
        const __m512i i = _mm512_cvttps_epi32(at);
        const __m512 from = _mm512_i32gather_ps(i, tails, 4), to = _mm512_i32gather_ps(i, tails + 1, 4);
        const __m512 tail =
            _mm512_add_ps(from, _mm512_mul_ps(_mm512_sub_ps(to, from), _mm512_sub_ps(at, _mm512_cvtepi32_ps(i))));
        const __mmask16 above = _mm512_cmp_ps_mask(ahead, zero, _CMP_GT_OQ);
        _mm512_storeu_ps(
            out + l, _mm512_mask_sub_ps(_mm512_xor_ps(tail, _mm512_set1_ps(-0.0f)), above, tail, _mm512_set1_ps(1)));
    }
    plain_list_shares(values + l, means + l, n - l, norm2, distance2, scale2, tails, last, out + l);
}

static void list_expected(const float *values, const float *shares, const uint32_t *first, const uint32_t *matches,
                          size_t n, float least_share, float last_value, uint32_t last_list, float *expected,
                          float *distances, omen_list_expectation *out)
{
    const __m512 last = _mm512_set1_ps(last_value), zero = _mm512_setzero_ps();
    const __m512i last_lists = _mm512_set1_epi32((int)last_list);
    __m512 n_rows = zero, taken = zero, least = _mm512_set1_ps(INFINITY), most = _mm512_set1_ps(-INFINITY);
    __m512i lists = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    float sums[2][16];
    size_t n_rest = 0;
    for (size_t l = 0; l < n; l += 16) {
        const __mmask16 there = n - l < 16 ? (__mmask16)((1u << (n - l)) - 1) : 0xffff;
        const __m512 share = _mm512_xor_ps(_mm512_maskz_loadu_ps(there, shares + l), _mm512_set1_ps(-0.0f));
        const __m512 value = _mm512_maskz_loadu_ps(there, values + l);
        const __m512i rows = _mm512_sub_epi32(_mm512_maskz_loadu_epi32(there, first + l + 1),
                                              _mm512_maskz_loadu_epi32(there, first + l));
        const __m512 passing = _mm512_mul_ps(share, _mm512_cvtepu32_ps(_mm512_maskz_loadu_epi32(there, matches + l)));
        const __mmask16 some = _mm512_mask_cmp_ps_mask(there, share, _mm512_set1_ps(least_share), _CMP_GT_OQ);
        const __mmask16 same = _mm512_mask_cmple_epu32_mask(some, lists, last_lists);
        const __mmask16 before = _mm512_mask_cmp_ps_mask(some, value, last, _CMP_LT_OQ) |
                                 _mm512_mask_cmp_ps_mask(same, value, last, _CMP_EQ_OQ);
        const __mmask16 rest = _mm512_mask_cmp_ps_mask(some & (__mmask16)~before, passing, zero, _CMP_GT_OQ);
        n_rows = _mm512_mask_add_ps(n_rows, some, n_rows, _mm512_mul_ps(share, _mm512_cvtepu32_ps(rows)));
        taken = _mm512_mask_add_ps(taken, before, taken, passing);
        least = _mm512_mask_min_ps(least, rest, least, value);
        most = _mm512_mask_max_ps(most, rest, most, value);
        /* n_rest is at most l, so neither goes beyond what was read */
        _mm512_mask_storeu_ps(expected + n_rest, there, _mm512_maskz_compress_ps(rest, passing));
        _mm512_mask_storeu_ps(distances + n_rest, there, _mm512_maskz_compress_ps(rest, value));
        n_rest += (size_t)__builtin_popcount(rest);
        lists = _mm512_add_epi32(lists, _mm512_set1_epi32(16));
    }
    _mm512_storeu_ps(sums[0], n_rows);
    _mm512_storeu_ps(sums[1], taken);
    *out = (omen_list_expectation){omen_lanes_sum(sums[0]), omen_lanes_sum(sums[1]), _mm512_reduce_min_ps(least),
                                   _mm512_reduce_max_ps(most), n_rest};
}

static size_t bit_positions(const uint64_t *words, uint64_t row0, uint64_t row1, uint32_t *positions)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    uint32_t *to = positions;
    for (uint64_t w = row0 / 64; w * 64 < row1; w++) {
        uint64_t word = words[w];
        if (w == row0 / 64)
            word &= UINT64_MAX << row0 % 64;
        if (row1 - w * 64 < 64)
            word &= UINT64_MAX >> (64 - (row1 - w * 64));
        for (uint32_t part = 0; part < 64; part += 16) {
            const __mmask16 bits = (__mmask16)(word >> part);
            const __m512i rows = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)(w * 64 + part)));
            _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(bits, rows));
            to += __builtin_popcount(bits);
        }
    }
    return (size_t)(to - positions);
}

#endif
