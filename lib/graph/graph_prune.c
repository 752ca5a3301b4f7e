/* SPDX-License-Identifier: Apache-2.0 */
/* Distances between coarse rows, and the choice of edges by them. All distances are whole numbers that a float holds
 * exactly: d8 times 254^2 is less than 2^24. */
#include <stdlib.h>
#include <string.h>

#include "lib/graph/graph.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define ALPHA 1.10f /* a candidate is dropped if it is so many times nearer, squared, to a neighbour already chosen */

void *omen_graph_take(omen_graph_build *b, uint64_t count, size_t size)
{
    void *out = NULL;
    uint64_t n_bytes;
    if (!b->scratch)
        return calloc(count > 0 ? count : 1, size); /* whose pages are zeroed when they are used */
    if (b->failure == OMEN_OK && !__builtin_mul_overflow(count, size, &n_bytes)) /* the first failure stays */
        b->failure = b->scratch->take(b->scratch->self, n_bytes, &out, b->why);
    return out;
}

void omen_graph_give(const omen_graph_build *b, void *array)
{
    if (b->scratch)
        b->scratch->give(b->scratch->self, array);
    else
        free(array);
}

int omen_graph_panels_init(omen_graph_panels *p, uint32_t d8)
{
    p->values = omen_alloc((size_t)OMEN_GRAPH_PACKED * d8, 1);
    p->terms = omen_alloc(OMEN_GRAPH_PACKED, sizeof *p->terms);
    p->distances = omen_alloc(OMEN_GRAPH_PACKED, sizeof *p->distances);
    return p->values && p->terms && p->distances ? OMEN_OK : OMEN_ERR_MEMORY;
}

void omen_graph_panels_finish(omen_graph_panels *p)
{
    free(p->values);
    free(p->terms);
    free(p->distances);
}

/* The squared distance of a and b is 2 s - row_term - column_term for s = <128 - a, b>, row_term = -|a|^2 and
 * column_term = 256 (sum of b) - |b|^2. */
void omen_graph_measure(const uint8_t *coarse, uint32_t d8, omen_graph_terms *terms)
{
    int32_t sum = 0, norm2 = 0;
    for (uint32_t k = 0; k < d8; k++) {
        const int32_t x = coarse[k] - 128;
        sum += x;
        norm2 += x * x;
    }
    *terms = (omen_graph_terms){-norm2, 256 * sum - norm2};
}

void omen_graph_pack(omen_graph_panels *p, const uint8_t *coarse, const omen_graph_terms *terms, uint32_t d8,
                     const uint32_t *positions, size_t n)
{
    static const uint8_t zeros[OMEN_GRAPH_COARSE] = {0};
    const size_t padded = omen_round_up(n, OMEN_PANEL);
    for (size_t i0 = 0; i0 < padded; i0 += OMEN_PANEL) {
        int8_t *panel = p->values + i0 * d8;
        const uint8_t *rows[OMEN_PANEL];
        for (size_t i = 0; i < OMEN_PANEL; i++) {
            const size_t row = i0 + i < n ? positions ? positions[i0 + i] : i0 + i : 0;
            rows[i] = i0 + i < n ? coarse + row * d8 : zeros;
            p->terms[i0 + i] = i0 + i < n ? terms[row].column : 0;
        }
        for (size_t i = i0 + OMEN_PANEL; positions && i < i0 + 2 * OMEN_PANEL && i < n; i++)
            for (size_t at = 0; at < d8; at += 64)
                __builtin_prefetch(coarse + (size_t)positions[i] * d8 + at);
        for (size_t k = 0; k < d8; k += 4) {
            uint32_t fours[OMEN_PANEL];
            for (size_t i = 0; i < OMEN_PANEL; i++) {
                memcpy(&fours[i], rows[i] + k, 4);
                fours[i] ^= 0x80808080u;
            }
            memcpy(panel + k * OMEN_PANEL, fours, sizeof fours);
        }
    }
}

void omen_graph_turn(const uint8_t *coarse, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)-coarse[i]; /* 128 - x of 128 + x */
}

void omen_graph_distances(const omen_graph_panels *p, uint32_t d8, const uint8_t *rows, const int32_t *terms, size_t m,
                          size_t n, float *out)
{
    omen_kernels_get()->matmul_u8(rows, d8, m, p->values, (n + OMEN_PANEL - 1) / OMEN_PANEL, d8, terms, p->terms, out,
                                  OMEN_GRAPH_PACKED);
}

/* What the row at a position adds to its distances, and its bytes with sign: for s = <b, a>, where b are the bytes of
 * another one as they are stored, the squared distance is term - 2 s - the other's row term. */
static int32_t begin_row(const omen_graph_build *b, uint32_t position, int8_t row[OMEN_GRAPH_COARSE])
{
    const omen_graph_terms *terms = &b->terms[position];
    for (uint32_t k = 0; k < b->d8; k++)
        row[k] = (int8_t)(b->coarse[(size_t)position * b->d8 + k] ^ 0x80);
    return terms->column - 2 * terms->row;
}

void omen_graph_distances_from(const omen_graph_build *b, uint32_t position, const uint32_t *to, uint32_t n, float *out)
{
    int8_t row[OMEN_GRAPH_COARSE];
    int32_t dots[OMEN_GRAPH_CANDIDATES];
    const int32_t term = begin_row(b, position, row);
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(&b->terms[to[i]]);
    omen_kernels_get()->dots_u8(b->coarse, to, n, row, b->d8, dots);
    for (uint32_t i = 0; i < n; i++)
        out[i] = (float)(term - 2 * dots[i] - b->terms[to[i]].row);
}

uint32_t omen_graph_prune(const omen_graph_build *b, const uint64_t *keys, uint32_t n, uint32_t most, uint32_t *out)
{
    uint32_t left[OMEN_GRAPH_CANDIDATES]; /* positions that are neither chosen nor dropped, */
    int32_t terms[OMEN_GRAPH_CANDIDATES]; /* their terms, */
    float own[OMEN_GRAPH_CANDIDATES];     /* and distances from the row itself */
    int8_t row[OMEN_GRAPH_COARSE];
    int32_t dots[OMEN_GRAPH_CANDIDATES];
    uint32_t n_chosen = 0;
    for (uint32_t i = 0; i < n; i++) {
        left[i] = (uint32_t)keys[i];
        terms[i] = b->terms[left[i]].row;
        own[i] = omen_key_distance(keys[i]);
    }
    while (n > 0 && n_chosen < most) {
        out[n_chosen++] = left[0];
        const int32_t term = begin_row(b, left[0], row);
        uint32_t n_left = 0;
        omen_kernels_get()->dots_u8(b->coarse, left + 1, n - 1, row, b->d8, dots);
        for (uint32_t i = 1; i < n; i++) {
            const bool stays = ALPHA * (float)(term - 2 * dots[i - 1] - terms[i]) > own[i];
            left[n_left] = left[i];
            terms[n_left] = terms[i];
            own[n_left] = own[i];
            n_left += stays;
        }
        n = n_left;
    }
    return n_chosen;
}
