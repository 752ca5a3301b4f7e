/* SPDX-License-Identifier: Apache-2.0 */
/* The order stage: writes the sections of the index from the model and the encoded rows; then the calibrate stage's
 * table of efforts. */
#include <stdlib.h>
#include <string.h>

#include "lib/apart.h"
#include "lib/build_state.h"
#include "lib/graph/graph.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"
#include "lib/refine.h"
#include "lib/ways.h"

/* ---- order ---- */

int omen_build_begin_section(omen_build_state *b, uint32_t id, omen_element element, bool optional)
{
    b->sections[b->n_sections++] = id;
    return b->sink->begin(b->sink->self, id, element, optional, b->why);
}

int omen_build_write_section(omen_build_state *b, uint32_t id, omen_element element, bool optional, const void *data,
                             uint64_t n_bytes)
{
    const omen_sink *s = b->sink;
    int status = omen_build_begin_section(b, id, element, optional);
    if (status == OMEN_OK)
        status = s->append(s->self, data, n_bytes, b->why);
    return status == OMEN_OK ? s->finish(s->self, b->why) : status;
}

static int write_section(omen_build_state *b, uint32_t id, omen_element element, const void *data, uint64_t n_bytes)
{
    return omen_build_write_section(b, id, element, false, data, n_bytes);
}

/* The arrays of a model that an index keeps. */
static int write_parts(omen_build_state *b, const omen_model_part *parts, size_t n)
{
    int status = OMEN_OK;
    for (size_t i = 0; i < n && status == OMEN_OK; i++)
        if (parts[i].id)
            status = write_section(b, parts[i].id, parts[i].element, omen_model_part_data(&parts[i]),
                                   omen_model_parts_bytes(&parts[i], 1));
    return status;
}

static int write_model(omen_build_state *b)
{
    const uint64_t n_lists = b->n_lists;
    omen_model_part parts[OMEN_MODEL_PARTS];
    int status = b->sink->start(b->sink->self, b->identity, b->why);
    if (status == OMEN_OK)
        status = write_section(b, OMEN_SECTION_META, OMEN_ELEMENT_BYTES, &b->meta, sizeof b->meta);
    if (status == OMEN_OK)
        status = write_parts(b, parts, omen_transform_parts(&b->transform, parts));
    if (status == OMEN_OK)
        status = write_parts(b, parts, omen_partition_parts(&b->partition, parts));
    if (status == OMEN_OK)
        status = write_section(b, OMEN_SECTION_LIST, OMEN_ELEMENT_U32, b->first, (n_lists + 1) * sizeof *b->first);
    if (status == OMEN_OK)
        status = write_parts(b, parts, omen_codec_parts(&b->model, parts));
    if (status == OMEN_OK && b->model.kind != OMEN_CODEC_NONE)
        status = write_section(b, OMEN_SECTION_FRNG, OMEN_ELEMENT_F32, b->ranges,
                               n_lists * b->model.n_factors * 2 * sizeof *b->ranges);
    if (status == OMEN_OK)
        status = write_parts(b, parts, omen_refine_parts(&b->refine_centre, b->transform.d, b->refine_centre, parts));
    return status;
}

/* What is encoded cannot be written: of rows that a checkpoint brought that is its fault, else theirs. */
static int unsound_rows(const omen_build_state *b)
{
    return b->first_stage > OMEN_STAGE_SAMPLE
               ? omen_records_contradiction(b->why)
               : omen_fail(b->why, OMEN_ERR_INPUT, "the rows are too long, and too far apart, to be coded");
}

/* Where each list begins, and the range of its factors. */
static int add_up_runs(omen_build_state *b)
{
    const size_t n_lists = b->n_lists, n_factors = b->model.n_factors;
    b->first = omen_alloc_zero(n_lists + 1, sizeof *b->first);
    b->ranges = omen_alloc_zero(n_lists * n_factors * 2, sizeof *b->ranges);
    if (!b->first || !b->ranges)
        return omen_build_no_memory(b);
    for (size_t r = 0; r < b->runs.n_runs; r++)
        for (size_t l = 0; l <= n_lists; l++)
            b->first[l] += b->runs.runs[r].first[l];
    for (size_t i = 0; i < n_lists * n_factors * 2; i += 2) {
        const float lo = b->runs.extremes[i], hi = b->runs.extremes[i + 1];
        b->ranges[i] = hi >= lo ? lo : 0;
        b->ranges[i + 1] = hi > lo ? (hi - lo) / 255 : 0;
        if (!omen_factor_is_sound((uint32_t)(i / 2 % n_factors), b->ranges[i], b->ranges[i + 1]))
            return unsound_rows(b);
    }
    return OMEN_OK;
}

/* One block of 32 codes, of items as a run holds them: sub-codes by byte row, then the factors as bytes. False when a
 * factor is beyond the extremes of its list. */
static bool fill_block(const omen_build_state *b, uint64_t position, const uint8_t *items, size_t n, uint8_t *block)
{
    const size_t code_bytes = b->model.n_sub / 2, n_factors = b->model.n_factors;
    const size_t item_bytes = b->runs.item_bytes[OMEN_RUN_CODES];
    bool sound = true;
    size_t list = 0, above = b->n_lists; /* the list of position: first[list] <= position < first[list + 1] */
    while (above - list > 1) {
        const size_t middle = (list + above) / 2;
        if (b->first[middle] <= position)
            list = middle;
        else
            above = middle;
    }
    memset(block, 0, (code_bytes + n_factors) * OMEN_SCAN_BLOCK);
    for (size_t j = 0; j < n; j++) {
        const uint8_t *item = items + j * item_bytes, *code = item + n_factors * sizeof(float);
        while (b->first[list + 1] <= position + j)
            list++;
        for (size_t p = 0; p < code_bytes; p++)
            block[p * OMEN_SCAN_BLOCK + j] = code[p];
        for (size_t f = 0; f < n_factors; f++) {
            const float *range = b->ranges + (list * n_factors + f) * 2;
            float factor;
            memcpy(&factor, item + f * sizeof factor, sizeof factor);
            const float *extremes = b->runs.extremes + (list * n_factors + f) * 2;
            if (!(factor >= extremes[0] && factor <= extremes[1])) {
                sound = false;
                factor = range[0];
            }
            const float u = range[1] > 0 ? (factor - range[0]) / range[1] + 0.5f : 0;
            block[(code_bytes + f) * OMEN_SCAN_BLOCK + j] = (uint8_t)(int)(u < 255 ? u : 255);
        }
    }
    return sound;
}

/* What receives the items of a walk over the runs. */
typedef struct {
    omen_build_state *b;
    uint64_t n_taken;  /* code items so far */
    uint64_t position; /* of the first of them that is in no block yet */
    uint64_t done, total;
    uint8_t *pending;   /* items of the block that is not full yet */
    uint8_t *blocks;    /* BUILD_BLOCKS_AT_ONCE */
    uint64_t n_refined; /* refine rows so far */
    float *row;         /* one of them */
} order_state;

static int give_bytes(order_state *o, const void *data, uint64_t n_bytes)
{
    const omen_sink *s = o->b->sink;
    const int status = s->append(s->self, data, n_bytes, o->b->why);
    o->done += n_bytes;
    return status == OMEN_OK ? omen_build_progress(o->b, OMEN_STAGE_ORDER, o->done, o->total) : status;
}

static int take_rows(void *context, const uint8_t *items, uint64_t n, omen_detail *why)
{
    return give_bytes(context, items, n * sizeof(uint32_t));
}

/* Notes which of the next n refine rows are longer than the radius. */
static int set_apart(order_state *o, const uint8_t *items, uint64_t n)
{
    omen_build_state *b = o->b;
    const size_t row_bytes = b->runs.item_bytes[OMEN_RUN_REFINE], d = b->transform.d;
    const uint64_t position = o->n_refined;
    o->n_refined += n;
    if (b->options->metric != OMEN_METRIC_IP)
        return OMEN_OK;
    for (uint64_t i = 0; i < n; i++) {
        omen_refine_decode(b->refine, items + i * row_bytes, b->transform.d, o->row);
        for (size_t j = 0; j < d && b->refine_centre; j++)
            o->row[j] += b->refine_centre[j];
        if (!omen_apart_is(o->row, d, b->transform.ip_radius2))
            continue;
        if (b->n_apart == b->apart_size) {
            const size_t size = b->apart_size ? 2 * b->apart_size : 64;
            uint32_t *grown = realloc(b->apart, size * sizeof *grown);
            if (!grown)
                return omen_build_no_memory(b);
            b->apart = grown;
            b->apart_size = size;
        }
        b->apart[b->n_apart++] = (uint32_t)(position + i);
    }
    return OMEN_OK;
}

static int take_refine(void *context, const uint8_t *items, uint64_t n, omen_detail *why)
{
    order_state *o = context;
    const omen_build_state *b = o->b;
    const size_t row_bytes = b->runs.item_bytes[OMEN_RUN_REFINE];
    bool sound = true;
    /* rows that this process has encoded are what it was given */
    if (b->first_stage > OMEN_STAGE_CODEC) {
#pragma omp parallel for schedule(static) reduction(&& : sound)
        for (uint64_t i = 0; i < n; i++)
            sound = sound && omen_refine_is_valid(b->refine, items + i * row_bytes, b->transform.d);
    }
    if (!sound)
        return unsound_rows(b);
    const int status = set_apart(o, items, n);
    return status == OMEN_OK ? give_bytes(o, items, n * row_bytes) : status;
}

static int give_blocks(order_state *o, const uint8_t *items, size_t n)
{
    const omen_build_state *b = o->b;
    const size_t block_bytes = omen_codec_bytes(&b->model) * OMEN_SCAN_BLOCK;
    const size_t item_bytes = b->runs.item_bytes[OMEN_RUN_CODES],
                 n_blocks = (n + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK;
    bool sound = true;
#pragma omp parallel for schedule(static) reduction(&& : sound)
    for (size_t i = 0; i < n_blocks; i++) {
        const size_t at = i * OMEN_SCAN_BLOCK;
        sound = fill_block(b, o->position + at, items + at * item_bytes, least(OMEN_SCAN_BLOCK, n - at),
                           o->blocks + i * block_bytes) &&
                sound;
    }
    if (!sound)
        return unsound_rows(b);
    o->position += n;
    return give_bytes(o, o->blocks, n_blocks * block_bytes);
}

/* Full blocks only; what is left over waits in pending. */
static int take_codes(void *context, const uint8_t *items, uint64_t n, omen_detail *why)
{
    order_state *o = context;
    const uint64_t n_rows = o->b->source->n_rows;
    const size_t item_bytes = o->b->runs.item_bytes[OMEN_RUN_CODES];
    /* positions up to here have come: some in blocks, the rest, less than a block, in pending */
    uint64_t come = o->n_taken;
    int status = OMEN_OK;
    while (n > 0 && status == OMEN_OK) {
        const size_t n_pending = come - o->position;
        size_t take = least(n, OMEN_SCAN_BLOCK * BUILD_BLOCKS_AT_ONCE);
        if (n_pending > 0 || take < OMEN_SCAN_BLOCK) {
            take = least(n, OMEN_SCAN_BLOCK - n_pending);
            memcpy(o->pending + n_pending * item_bytes, items, take * item_bytes);
            if (n_pending + take == OMEN_SCAN_BLOCK || come + take == n_rows)
                status = give_blocks(o, o->pending, n_pending + take);
        } else {
            if (come + take < n_rows)
                take -= take % OMEN_SCAN_BLOCK;
            status = give_blocks(o, items, take);
        }
        come += take;
        items += take * item_bytes;
        n -= take;
    }
    o->n_taken = come;
    return status;
}

/* One section out of one part of the runs. */
static int write_part(omen_build_state *b, order_state *o, uint32_t id, omen_element element, omen_run_part part,
                      omen_run_fn take)
{
    const omen_sink *s = b->sink;
    int status = omen_build_begin_section(b, id, element, false);
    if (status == OMEN_OK)
        status = omen_runs_walk(&b->runs, part, take, o, b->why);
    return status == OMEN_OK ? s->finish(s->self, b->why) : status;
}

int omen_build_order(omen_build_state *b)
{
    const uint64_t n = b->source->n_rows;
    const size_t block_bytes = omen_codec_bytes(&b->model) * OMEN_SCAN_BLOCK;
    order_state o = {.b = b};
    o.total = round_up(n, OMEN_SCAN_BLOCK) * omen_codec_bytes(&b->model) +
              n * (b->runs.item_bytes[OMEN_RUN_REFINE] + sizeof(uint32_t));
    o.pending = omen_alloc(OMEN_SCAN_BLOCK, b->runs.item_bytes[OMEN_RUN_CODES]);
    o.blocks = omen_alloc(BUILD_BLOCKS_AT_ONCE, block_bytes);
    o.row = omen_alloc(b->transform.d, sizeof *o.row);
    int status = o.pending && o.blocks && o.row ? add_up_runs(b) : omen_build_no_memory(b);
    if (status == OMEN_OK)
        status = write_model(b);
    if (status == OMEN_OK && b->model.kind != OMEN_CODEC_NONE)
        status = write_part(b, &o, OMEN_SECTION_CODE, OMEN_ELEMENT_U8, OMEN_RUN_CODES, take_codes);
    if (status == OMEN_OK && b->refine != OMEN_REFINE_NONE)
        status = write_part(b, &o, OMEN_SECTION_REFN, OMEN_ELEMENT_U8, OMEN_RUN_REFINE, take_refine);
    if (status == OMEN_OK)
        status = b->options->codes_only
                     ? OMEN_OK
                     : write_part(b, &o, OMEN_SECTION_PERM, OMEN_ELEMENT_U32, OMEN_RUN_ROWS, take_rows);
    if (status == OMEN_OK && b->n_apart)
        status = write_section(b, OMEN_SECTION_APRT, OMEN_ELEMENT_U32, b->apart, b->n_apart * sizeof *b->apart);
    free(o.row);
    free(o.pending);
    free(o.blocks);
    return status;
}

/* ---- calibrate ---- */

int omen_build_open_index(omen_build_state *b, omen_index **out)
{
    omen_section sections[OMEN_MAX_INDEX_SECTIONS];
    size_t n = 0;
    int status = OMEN_OK;
    *out = NULL;
    for (; n < b->n_sections && status == OMEN_OK; n++)
        status = b->sink->map(b->sink->self, b->sections[n], &sections[n], b->why);
    return status == OMEN_OK ? omen_index_open(out, sections, n, b->why) : status;
}

/* Writes what one way was calibrated to. */
static int calibrate_way(omen_build_state *b, const omen_way *way, const omen_index *index,
                         const omen_calibration *truth, omen_watch *watch)
{
    omen_way_table tables[OMEN_WAY_TABLES] = {{NULL, 0}};
    int status = way->calibrate(index, truth, b->n_threads, tables, watch, b->why);
    for (size_t i = 0; i < OMEN_WAY_TABLES && status == OMEN_OK; i++)
        if (tables[i].n_bytes > 0)
            status = omen_build_write_section(b, way->tables[i].id, OMEN_ELEMENT_BYTES, way->tables[i].is_optional,
                                              tables[i].data, tables[i].n_bytes);
    for (size_t i = 0; i < OMEN_WAY_TABLES; i++)
        free(tables[i].data);
    return status;
}

/* Calibrates one way, or all, on what truth has; lost is what it does not show of the recall. */
static int calibrate(omen_build_state *b, const omen_index *index, const omen_way *only, double lost, omen_watch *watch)
{
    omen_calibration c;
    int status = omen_calibration_init(&c, index, &b->truth, watch);
    omen_neighbours_finish(&b->truth); /* the calibration has what it needs of it */
    if (status == OMEN_ERR_CORRUPT)
        omen_records_contradiction(b->why);
    c.lost = lost;
    if (status == OMEN_OK)
        b->report->near_copies = c.near_copies;
    for (size_t i = 0; i < OMEN_N_WAYS && status == OMEN_OK; i++)
        if (omen_ways[i].calibrate && (!only || only == &omen_ways[i]))
            status = calibrate_way(b, &omen_ways[i], index, &c, watch);
    omen_calibration_finish(&c);
    return omen_build_status(b, status);
}

int omen_build_calibrate(omen_build_state *b)
{
    omen_index *index = NULL;
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_CALIBRATE);
    if (b->truth.n_queries == 0)
        return OMEN_OK;
    if (!omen_neighbours_complete(&b->truth)) /* of runs that say so */
        return omen_records_contradiction(b->why);
    /* the last run, which has a part of truth, may still be on its way; truth goes as soon as it was taken over */
    int status = b->checkpoint ? b->checkpoint->wait(b->checkpoint->self, b->why) : OMEN_OK;
    if (status == OMEN_OK)
        status = omen_build_open_index(b, &index);
    if (status == OMEN_OK)
        status = calibrate(b, index, NULL, 0, &watch);
    omen_index_close(index);
    return status;
}

int omen_build_calibrate_graph(omen_build_state *b, const omen_index *index, double lost)
{
    const omen_build_options *o = b->options;
    const omen_source *source = b->source;
    omen_neighbours *truth = &b->truth;
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_CALIBRATE);
    int status = omen_neighbours_init(truth, index->meta.metric, source->n_rows, source->d, o->seed,
                                      o->tune_queries ? o->tune_queries->n_rows : 0);
    if (status == OMEN_OK)
        status = omen_neighbours_read(truth, source, o->tune_queries, o->seed, &watch, b->why);
    if (status == OMEN_OK && truth->n_queries > 0)
        status = omen_search_source(source, index->meta.metric, truth->queries, truth->n_queries, truth->k,
                                    b->n_threads, truth->keys, &watch, b->why);
    if (status == OMEN_OK && truth->n_queries > 0)
        status = calibrate(b, index, &omen_ways[OMEN_WAY_GRAPH], lost, &watch);
    omen_neighbours_finish(truth); /* after a failure */
    return omen_build_status(b, status);
}
