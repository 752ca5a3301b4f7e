/* SPDX-License-Identifier: Apache-2.0 */
/* Codes without lists: the sections of an index of one list, in input order and without PERM, and the rows that the
 * codes stand for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/index.h"
#include "lib/kernels.h"
#include "lib/matrix.h"
#include "lib/omendb_codes.h"
#include "lib/refine.h"
#include "lib/sized.h"

#define DECODE_ROWS    64u
#define ERROR_ROWS     2000u
#define RECALL_QUERIES 300u
#define RECALL_K       10u
#define RERANK_ROWS    100u

struct omen_codes {
    omen_index *index;
    float *centroid; /* d_kept */
    float *back;     /* BASE transposed, packed: d_full columns of d_kept */
};

static int prepare(omen_codes *codes)
{
    omen_index *index = codes->index;
    const omen_meta *m = &index->meta;
    codes->centroid = omen_alloc(m->d_kept, sizeof *codes->centroid);
    codes->back = omen_panels_transposed(index->transform.basis, m->d_kept, m->d_full);
    if (!codes->centroid || !codes->back)
        return OMEN_ERR_MEMORY;
    for (size_t j = 0; j < m->d_kept; j++)
        codes->centroid[j] =
            index->centroid_scales[j] + index->centroid_scales[m->d_kept + j] * (float)index->centroid_codes[j];
    return omen_codec_prepare_decode(&index->model);
}

int omen_codes_open(omen_codes **out, const omen_section *sections, size_t n_sections, omen_detail *why)
{
    *out = NULL;
    omen_codes *codes = calloc(1, sizeof *codes);
    int status = codes ? omen_index_open_codes(&codes->index, sections, n_sections, why)
                       : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    if (status == OMEN_OK && (codes->index->meta.n_lists != 1 || codes->index->meta.metric != OMEN_METRIC_L2))
        status = omen_fail(why, OMEN_ERR_CORRUPT, "codes have one list and metric l2");
    if (status == OMEN_OK && prepare(codes) != OMEN_OK)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    if (status != OMEN_OK) {
        omen_codes_close(codes);
        return status;
    }
    *out = codes;
    return OMEN_OK;
}

void omen_codes_close(omen_codes *codes)
{
    if (!codes)
        return;
    omen_index_close(codes->index);
    free(codes->centroid);
    free(codes->back);
    free(codes);
}

int omen_codes_check(const omen_codes *codes, omen_fault_fn fault, void *context)
{
    return omen_index_check(codes->index, fault, context);
}

int omen_codes_get_info(const omen_codes *codes, omen_index_info *out)
{
    omen_index_info info;
    int status = omen_sized_take(&info, sizeof info, out, "omen_index_info", NULL);
    if (status == OMEN_OK)
        status = omen_index_get_info(codes->index, &info);
    info.id_bytes = 0;
    if (status == OMEN_OK)
        omen_sized_give(out, &info);
    return status;
}

/* ---- reconstruction ---- */

/* Takes the codes of a row out of its block, n_sub / 2 bytes, and its gain, where the codec has one. */
static void take_code(const omen_index *index, uint64_t row, uint8_t *codes, float *gain)
{
    const size_t code_bytes = index->model.n_sub / 2, lane = row % OMEN_SCAN_BLOCK;
    const uint8_t *block = index->blocks + row / OMEN_SCAN_BLOCK * index->block_bytes;
    for (size_t p = 0; p < code_bytes; p++)
        codes[p] = block[p * OMEN_SCAN_BLOCK + lane];
    if (omen_codec_has_gain(index->model.n_factors)) {
        const float *range = index->ranges + 2;
        const uint8_t u = block[(code_bytes + 1) * OMEN_SCAN_BLOCK + lane];
        *gain = (range[0] + range[1] * (float)u) * index->meta.code_scale;
    }
}

static int codes_read(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const omen_codes *codes = self;
    const omen_index *index = codes->index;
    const omen_meta *m = &index->meta;
    const size_t d = m->d, d_kept = m->d_kept, width = (d + OMEN_PANEL - 1) / OMEN_PANEL * OMEN_PANEL;
    if (m->codec == OMEN_CODEC_NONE) {
        const int touched = omen_index_touch_rows(index, first, n, why);
        if (touched != OMEN_OK)
            return touched;
        for (uint64_t i = 0; i < n; i++) {
            const uint8_t *row = index->refine_rows + (first + i) * index->refine_row_bytes;
            if (!omen_refine_is_valid(m->refine, row, m->d))
                return omen_fail(why, OMEN_ERR_CORRUPT, "section REFN: row %llu is not finite, or too long",
                                 (unsigned long long)(first + i));
            omen_refine_decode(m->refine, row, m->d, out + i * d);
        }
        return OMEN_OK;
    }
    const size_t code_bytes = m->n_sub / 2;
    float *y = omen_alloc(DECODE_ROWS * d_kept, sizeof *y), *x = omen_alloc(DECODE_ROWS * width, sizeof *x);
    float *scratch = omen_alloc(DECODE_ROWS * omen_codec_decode_floats(&index->model), sizeof *scratch);
    uint8_t *row_codes = omen_alloc(DECODE_ROWS, code_bytes);
    float gains[DECODE_ROWS] = {0};
    const uint64_t b0 = first / OMEN_SCAN_BLOCK, b1 = (first + n + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK;
    int status = y && x && scratch && row_codes ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    if (status == OMEN_OK)
        status = omen_index_touch_codes(index, b0, b1 - b0, why);
    for (uint64_t i0 = 0; i0 < n && status == OMEN_OK; i0 += DECODE_ROWS) {
        const size_t count = n - i0 < DECODE_ROWS ? n - i0 : DECODE_ROWS;
        for (size_t i = 0; i < count; i++) {
            memcpy(y + i * d_kept, codes->centroid, d_kept * sizeof *y);
            take_code(index, first + i0 + i, row_codes + i * code_bytes, &gains[i]);
        }
        omen_codec_decode(&index->model, row_codes, gains, count, y, d_kept, scratch);
        omen_kernels_get()->matmul(y, d_kept, count, codes->back, width / OMEN_PANEL, d_kept, x, width);
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < d; j++)
                out[(i0 + i) * d + j] = x[i * width + j] + index->transform.mean[j];
    }
    free(y);
    free(x);
    free(scratch);
    free(row_codes);
    return status;
}

omen_source omen_codes_source(omen_codes *codes)
{
    const omen_meta *m = &codes->index->meta;
    return (omen_source){.self = codes,
                         .n_rows = m->n_rows,
                         .d = m->d,
                         .element_bytes = 4,
                         .n_bytes = m->n_rows * m->d * 4,
                         .read = codes_read};
}

/* ---- quality ---- */

/* Squared errors of n rows: of the reconstruction, of the mean row, and of means of groups of neighbouring values. */
static int measure_errors(const omen_codes *codes, const omen_source *original, uint64_t seed, uint32_t n_bytes,
                          omen_watch *watch, omen_codes_quality *out, omen_detail *why)
{
    const size_t d = original->d, n = original->n_rows < ERROR_ROWS ? original->n_rows : ERROR_ROWS;
    const size_t group = (d + n_bytes - 1) / n_bytes;
    const float *mean = codes->index->transform.mean;
    float *row = omen_alloc(2 * d, sizeof *row), *back = row + d;
    uint64_t *rows = omen_alloc(n, sizeof *rows);
    int status = row && rows ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    double error = 0, spread = 0, of_groups = 0;
    if (status == OMEN_OK)
        omen_random_rows(seed ^ 0x6572726f, original->n_rows, n, rows);
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        status = omen_watch_status(watch);
        if (status == OMEN_OK)
            status = original->read(original->self, rows[i], 1, row, why);
        if (status == OMEN_OK)
            status = codes_read((void *)codes, rows[i], 1, back, why);
        for (size_t j = 0; j < d && status == OMEN_OK; j++) {
            error += ((double)row[j] - back[j]) * ((double)row[j] - back[j]);
            spread += ((double)row[j] - mean[j]) * ((double)row[j] - mean[j]);
        }
        for (size_t j0 = 0; j0 < d && status == OMEN_OK; j0 += group) {
            const size_t j1 = j0 + group < d ? j0 + group : d;
            double sum = 0;
            for (size_t j = j0; j < j1; j++)
                sum += row[j];
            for (size_t j = j0; j < j1; j++)
                of_groups += (row[j] - sum / (double)(j1 - j0)) * (row[j] - sum / (double)(j1 - j0));
        }
    }
    out->n_error_rows = n;
    out->mean_squared_error = error / (double)(n * d);
    out->relative_error = spread > 0 ? error / spread : 0;
    out->group_values = (uint32_t)group;
    out->group_relative_error = spread > 0 ? of_groups / spread : 0;
    free(rows);
    free(row);
    return status;
}

/* The share of the k true neighbours of query own among the first k of ids, own left out of both. */
static uint32_t count_found(const int64_t *truth, const int64_t *ids, size_t n_ids, int64_t own, uint32_t k)
{
    uint32_t found = 0;
    for (size_t t = 0, wanted = 0; wanted < k; t++) {
        if (truth[t] == own)
            continue;
        wanted++;
        for (size_t i = 0, seen = 0; i < n_ids && seen < k; i++) {
            if (ids[i] == own)
                continue;
            seen++;
            found += ids[i] == truth[t];
        }
    }
    return found;
}

static int measure_recall(const omen_codes *codes, const omen_source *original, uint64_t seed, int n_threads,
                          omen_progress_fn progress, void *context, omen_codes_quality *out, omen_detail *why)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = original->d, n = original->n_rows < RECALL_QUERIES ? original->n_rows : RECALL_QUERIES;
    const uint32_t k = RECALL_K,
                   pool = original->n_rows < RERANK_ROWS + 1 ? (uint32_t)original->n_rows : RERANK_ROWS + 1;
    if (original->n_rows < k + 1) {
        out->recall_codes = out->recall_reranked = NAN;
        return OMEN_OK;
    }
    float *queries = omen_alloc(n * d, sizeof *queries), *row = omen_alloc(d, sizeof *row);
    uint64_t *rows = omen_alloc(n, sizeof *rows), *keys = omen_alloc(pool, sizeof *keys);
    int64_t *truth = omen_alloc(n * (k + 1), sizeof *truth), *found = omen_alloc(n * pool, sizeof *found);
    int64_t *again = omen_alloc(pool, sizeof *again);
    int status = queries && row && rows && keys && truth && found && again
                     ? OMEN_OK
                     : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    const omen_source coded = omen_codes_source((omen_codes *)codes);
    if (status == OMEN_OK)
        omen_random_rows(seed ^ 0x72656361, original->n_rows, n, rows);
    for (size_t i = 0; i < n && status == OMEN_OK; i++)
        status = original->read(original->self, rows[i], 1, queries + i * d, why);
    if (status == OMEN_OK)
        status = omen_source_search(original, OMEN_METRIC_L2, k + 1, queries, n, n_threads, truth, NULL, progress,
                                    context, why);
    if (status == OMEN_OK)
        status = omen_source_search(&coded, OMEN_METRIC_L2, pool, queries, n, n_threads, found, NULL, progress, context,
                                    why);
    uint64_t n_codes = 0, n_reranked = 0;
    for (size_t q = 0; q < n && status == OMEN_OK; q++) {
        n_codes += count_found(truth + q * (k + 1), found + q * pool, pool, (int64_t)rows[q], k);
        for (size_t i = 0; i < pool && status == OMEN_OK; i++) {
            const uint32_t id = (uint32_t)found[q * pool + i];
            status = original->read(original->self, id, 1, row, why);
            keys[i] = omen_key(kernels->l2_f32(queries + q * d, row, d), id);
        }
        omen_keys_sort(keys, pool);
        for (size_t i = 0; i < pool; i++)
            again[i] = (int64_t)(uint32_t)keys[i];
        n_reranked += count_found(truth + q * (k + 1), again, pool, (int64_t)rows[q], k);
    }
    out->n_queries = n;
    out->n_rerank = pool - 1;
    out->recall_codes = (double)n_codes / (double)(n * k);
    out->recall_reranked = (double)n_reranked / (double)(n * k);
    free(queries);
    free(row);
    free(rows);
    free(keys);
    free(truth);
    free(found);
    free(again);
    return status;
}

int omen_codes_measure(const omen_codes *codes, const omen_source *original, uint64_t seed, int n_threads,
                       omen_progress_fn progress, void *context, omen_codes_quality *out, omen_detail *why)
{
    const omen_meta *m = &codes->index->meta;
    omen_watch watch = omen_watch_make(progress, context, "measure");
    const uint32_t n_bytes =
        m->codec == OMEN_CODEC_NONE ? (uint32_t)codes->index->refine_row_bytes : m->n_sub / 2 + m->n_factors;
    omen_codes_quality quality;
    int status = omen_sized_take(&quality, sizeof quality, out, "omen_codes_quality", why);
    if (status != OMEN_OK)
        return status;
    quality = (omen_codes_quality){.struct_bytes = sizeof quality};
    status = measure_errors(codes, original, seed, n_bytes, &watch, &quality, why);
    if (status == OMEN_OK)
        status = measure_recall(codes, original, seed, n_threads, progress, context, &quality, why);
    omen_sized_give(out, &quality);
    return status;
}
