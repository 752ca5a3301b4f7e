/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an index over its sections, and checking what is inside them.
 *
 * Nothing in a section is trusted: every count is compared with the section lengths before it is used, so that a search
 * stays inside the sections whatever META and LIST say. What opening reads is compared with its checksums then; codes,
 * refine rows and ids where a search first touches them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/apart.h"
#include "lib/columns.h"
#include "lib/graph/graph.h"
#include "lib/index.h"
#include "lib/index_keys.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"
#include "lib/omendb_codes.h"
#include "lib/query_axes.h"
#include "lib/refine.h"
#include "lib/sections.h"
#include "lib/sized.h"
#include "lib/ways.h"

static const uint32_t known[] = {
    OMEN_SECTION_META, OMEN_SECTION_MEAN, OMEN_SECTION_BASE, OMEN_SECTION_CSCL, OMEN_SECTION_CENT, OMEN_SECTION_LIST,
    OMEN_SECTION_FRNG, OMEN_SECTION_SUBS, OMEN_SECTION_DIMS, OMEN_SECTION_CODB, OMEN_SECTION_ROTA, OMEN_SECTION_CODE,
    OMEN_SECTION_RCEN, OMEN_SECTION_REFN, OMEN_SECTION_PERM, OMEN_SECTION_TUNE, OMEN_SECTION_ATUN, OMEN_SECTION_APRT,
    OMEN_SECTION_KEYS, OMEN_SECTION_KEYV, OMEN_SECTION_KEYO, OMEN_SECTION_KEYI, OMEN_SECTION_COLS, OMEN_SECTION_CVAL,
    OMEN_SECTION_GDIM, OMEN_SECTION_GSCL, OMEN_SECTION_GCOD, OMEN_SECTION_GADJ, OMEN_SECTION_GENT, OMEN_SECTION_GECD,
    OMEN_SECTION_GTUN,
};

/* Models of META's counts, without their arrays. */
static omen_transform transform_of(const omen_meta *m)
{
    return (omen_transform){
        .metric = m->metric, .d = m->d, .d_full = m->d_full, .d_kept = m->d_kept, .ip_radius2 = m->ip_radius2};
}

static omen_codec_model codec_of(const omen_meta *m)
{
    return (omen_codec_model){.kind = m->codec,
                              .d = m->d_kept,
                              .n_sub = m->n_sub,
                              .n_factors = m->n_factors,
                              .n_active = m->n_active,
                              .d_used = m->d_used};
}

/* Bounds that every later size computation relies on. */
static int check_meta(const omen_meta *m, omen_detail *why)
{
    const omen_codec_model model = codec_of(m);
    const char *fault = NULL;
    if (m->metric > OMEN_METRIC_COSINE || !omen_codec_is_known(m->codec) || m->refine >= OMEN_N_REFINES ||
        (m->flags & ~(OMEN_META_FLAG_ZERO_OK | OMEN_META_FLAG_CENTRED)))
        return omen_fail(why, OMEN_ERR_UNSUPPORTED,
                         "META names a metric, codec, refine tier or flag of a newer version");
    if (m->n_rows < 1 || m->n_rows > OMEN_MAX_ROWS)
        fault = "row count";
    else if (m->d < 1 || m->d > OMEN_MAX_DIM || m->d_full != m->d + (m->metric == OMEN_METRIC_IP))
        fault = "dimension";
    else if (m->d_kept < 1 || m->d_kept > m->d_full)
        fault = "kept dimensions";
    else if (m->n_lists < 1 || m->n_lists > m->n_rows)
        fault = "list count";
    else if (m->bytes < OMEN_MIN_BYTES || m->bytes > OMEN_MAX_BYTES)
        fault = "bytes a vector";
    else if (m->codec == OMEN_CODEC_NONE && m->refine == OMEN_REFINE_NONE)
        fault = "codec";
    else if (!omen_codec_counts_are_sound(&model, m->bytes))
        fault = "code sizes";
    if (!fault && !(m->code_scale >= 0 && m->code_scale <= 4))
        fault = "scale";
    if (!fault && !(m->refine_ceiling >= 0 && m->refine_ceiling <= 1))
        fault = "ceiling";
    /* zero rows stay zero rows, and what is not rounded needs no centre */
    if (!fault && (m->flags & OMEN_META_FLAG_CENTRED) &&
        (!omen_refine_rounds((omen_refine)m->refine) || (m->flags & OMEN_META_FLAG_ZERO_OK)))
        fault = "centre";
    for (size_t i = 0; i < sizeof m->zero / sizeof *m->zero && !fault; i++)
        if (m->zero[i])
            fault = "reserved field";
    return fault ? omen_fail(why, OMEN_ERR_CORRUPT, "section META: impossible %s", fault) : OMEN_OK;
}

static uint32_t block_bytes(const omen_meta *m)
{
    return (m->n_sub / 2 + m->n_factors) * OMEN_SCAN_BLOCK;
}

/* Reads META, and checks that the sections it asks for are there and as long as its counts make them: nothing is
 * allocated by a count before. Of the other sections no data is read. */
static int check_sections(const omen_section_list *list, omen_meta *m)
{
    for (size_t i = 0; i < list->n; i++) {
        bool is_known = list->sections[i].optional;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            is_known |= list->sections[i].id == known[k];
        if (!is_known)
            return omen_fail(list->why, OMEN_ERR_UNSUPPORTED, "section %.4s is of a newer version",
                             (const char *)&list->sections[i].id);
    }
    int status = omen_sections_check(list, OMEN_SECTION_META, OMEN_ELEMENT_BYTES, 1, sizeof *m);
    if (status == OMEN_OK)
        status = omen_section_check(omen_sections_find(list, OMEN_SECTION_META), list->why);
    if (status == OMEN_OK) {
        memcpy(m, omen_sections_data(list, OMEN_SECTION_META), sizeof *m);
        status = check_meta(m, list->why);
    }
    if (status != OMEN_OK)
        return status;
    omen_model_part parts[OMEN_MODEL_PARTS];
    omen_transform transform = transform_of(m);
    omen_codec_model model = codec_of(m);
    status = omen_sections_check_parts(list, parts, omen_transform_parts(&transform, parts));
    if (status == OMEN_OK)
        status = omen_sections_check_parts(list, parts, omen_codec_parts(&model, parts));
    for (size_t i = 0; i < OMEN_N_WAYS && status == OMEN_OK; i++)
        if (omen_ways[i].check_sections)
            status = omen_ways[i].check_sections(list, m);
#define CHECK_SECTION(name, element, n, size)                                                                          \
    if (status == OMEN_OK)                                                                                             \
    status = omen_sections_check(list, OMEN_SECTION_##name, OMEN_ELEMENT_##element, n, size)
    if (m->codec != OMEN_CODEC_NONE) {
        CHECK_SECTION(CODE, U8, (m->n_rows + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK, block_bytes(m));
        CHECK_SECTION(FRNG, F32, (uint64_t)m->n_lists * m->n_factors * 2, 4);
    }
    const bool is_centred = m->flags & OMEN_META_FLAG_CENTRED;
    if (is_centred)
        CHECK_SECTION(RCEN, F32, m->d, 4);
    if (status == OMEN_OK && !is_centred && omen_sections_find(list, OMEN_SECTION_RCEN))
        status = omen_fail(list->why, OMEN_ERR_CORRUPT, "section RCEN is there, but META knows of no centre");
    if (status == OMEN_OK && is_centred && !list->has_ids)
        status = omen_fail(list->why, OMEN_ERR_CORRUPT, "section RCEN: codes have no centre");
    if (m->refine != OMEN_REFINE_NONE)
        CHECK_SECTION(REFN, U8, m->n_rows, omen_refine_row_bytes(m->refine, m->d));
    if (list->has_ids)
        CHECK_SECTION(PERM, U32, m->n_rows, 4);
#undef CHECK_SECTION
    return status == OMEN_OK ? omen_index_keys_check_sections(list, m) : status;
}

/* Gives a model copies of its arrays. */
static int copy_parts(omen_index *index, const omen_section_list *list, const omen_model_part *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t n_bytes = omen_model_parts_bytes(&parts[i], 1);
        void *copy = omen_alloc(n_bytes, 1);
        if (!copy)
            return OMEN_ERR_MEMORY;
        memcpy(copy, omen_sections_data(list, parts[i].id), n_bytes);
        omen_model_part_set(&parts[i], copy);
        index->model_bytes += n_bytes;
    }
    return OMEN_OK;
}

static int open_transform(omen_index *index, const omen_section_list *list)
{
    omen_transform *t = &index->transform;
    omen_model_part parts[OMEN_MODEL_PARTS];
    *t = transform_of(&index->meta);
    const int status = copy_parts(index, list, parts, omen_transform_parts(t, parts));
    if (status != OMEN_OK)
        return status;
    if (!omen_transform_is_sound(t))
        return omen_fail(list->why, OMEN_ERR_CORRUPT,
                         "section MEAN, BASE or META: the mean is too long, an axis is not of length 1, or the radius "
                         "is out of range");
    return OMEN_OK;
}

static int open_codec(omen_index *index, const omen_section_list *list)
{
    omen_codec_model *model = &index->model;
    omen_model_part parts[OMEN_MODEL_PARTS];
    *model = codec_of(&index->meta);
    const int status = copy_parts(index, list, parts, omen_codec_parts(model, parts));
    if (status != OMEN_OK)
        return status;
    if (!omen_codec_is_sound(model))
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "%s", omen_codec_fault(model));
    return omen_codec_prepare(model);
}

/* The entries of a table of efforts, TUNE or ATUN, each of which has n_bytes there. */
static int open_efforts(const omen_meta *m, const omen_section_list *list, const omen_section *section, size_t n_bytes,
                        const omen_tune_entry **table, size_t *n)
{
    const char *name = (const char *)&section->id;
    const int status = omen_section_check(section, list->why);
    if (status != OMEN_OK)
        return status;
    *table = section->data;
    *n = section->n_bytes / n_bytes;
    if (section->element != OMEN_ELEMENT_BYTES || section->n_bytes % n_bytes)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section %.4s is not whole entries", name);
    for (size_t i = 0; i < *n; i++) {
        const omen_tune_entry *e = *table + i;
        if (e->k < 1 || e->n_lists < 1 || e->n_lists > m->n_lists || e->n_rows < 1 || e->n_rows > m->n_rows ||
            !(e->recall >= 0 && e->recall <= 1) || !(e->reach >= 0 && e->reach <= OMEN_REACH_MOST) ||
            !(e->margin >= 0 && e->margin <= OMEN_COORDINATE_MOST) ||
            (i > 0 && (e->k < e[-1].k || (e->k == e[-1].k && e->recall <= e[-1].recall))))
            return omen_fail(list->why, OMEN_ERR_CORRUPT, "section %.4s: impossible entry %zu", name, i);
    }
    return OMEN_OK;
}

/* What was measured of searches of the lists. */
static int open_tables(omen_index *index, const omen_section_list *list)
{
    const omen_section *tune = omen_sections_find(list, OMEN_SECTION_TUNE),
                       *again = omen_sections_find(list, OMEN_SECTION_ATUN);
    int status = OMEN_OK;
    if (tune)
        status = open_efforts(&index->meta, list, tune, sizeof *index->tune, &index->tune, &index->n_tune);
    if (status != OMEN_OK || !tune || !again)
        return status;
    status = open_efforts(&index->meta, list, again, sizeof *index->tune_again + sizeof *index->tune_lack,
                          &index->tune_again, &index->n_tune_again);
    if (status != OMEN_OK)
        return status;
    index->tune_lack = (const float *)(index->tune_again + index->n_tune_again);
    for (size_t i = 0; i < index->n_tune_again; i++)
        if (!(index->tune_lack[i] >= 1 / OMEN_REACH_MOST && index->tune_lack[i] <= OMEN_REACH_MOST))
            return omen_fail(list->why, OMEN_ERR_CORRUPT, "section ATUN: impossible lack %zu", i);
    return OMEN_OK;
}

static int open_rows(omen_index *index, const omen_section_list *list)
{
    const omen_meta *m = &index->meta;
    if (m->codec != OMEN_CODEC_NONE) {
        const uint64_t n_ranges = (uint64_t)m->n_lists * m->n_factors * 2;
        index->block_bytes = block_bytes(m);
        index->blocks = omen_sections_data(list, OMEN_SECTION_CODE);
        index->ranges = omen_sections_data(list, OMEN_SECTION_FRNG);
        for (size_t i = 0; i < n_ranges; i += 2) {
            const float lo = index->ranges[i], step = index->ranges[i + 1];
            const bool is_g = m->n_factors == 2 && i % 4 == 2;
            if (!omen_factor_is_sound(is_g, lo, step))
                return omen_fail(list->why, OMEN_ERR_CORRUPT, "section FRNG holds a value that is out of range");
            if (is_g && lo + 255 * step > index->g_max)
                index->g_max = lo + 255 * step;
            if (!is_g && step > index->f_step_max)
                index->f_step_max = step;
        }
        index->centroid_bytes += n_ranges * 4;
    }
    index->refine_row_bytes = omen_refine_row_bytes(m->refine, m->d);
    index->refine = (omen_refine_space){
        .tier = m->refine, .metric = m->metric, .d = m->d, .has_zero_rows = (m->flags & OMEN_META_FLAG_ZERO_OK) != 0};
    if (m->flags & OMEN_META_FLAG_CENTRED) {
        index->refine.centre = omen_sections_data(list, OMEN_SECTION_RCEN);
        index->model_bytes += 4 * (uint64_t)m->d;
        if (!omen_refine_centre_is_sound(index->refine.centre, m->d))
            return omen_fail(list->why, OMEN_ERR_CORRUPT, "section RCEN: the centre is too long");
    }
    if (m->refine != OMEN_REFINE_NONE)
        index->refine_rows = omen_sections_data(list, OMEN_SECTION_REFN);
    if (list->has_ids)
        index->ids = omen_sections_data(list, OMEN_SECTION_PERM);
    const int status = omen_apart_open(index, list);
    return status == OMEN_OK ? open_tables(index, list) : status;
}

/* What remembers which blocks of a section were checked; NULL for one that is read when the index is opened. */
static omen_touched *touched_of(omen_index *index, uint32_t id)
{
    const struct {
        uint32_t id;
        omen_touched *touched;
    } large[] = {
        {OMEN_SECTION_CODE, &index->code},         {OMEN_SECTION_REFN, &index->refn},
        {OMEN_SECTION_PERM, &index->perm},         {OMEN_SECTION_KEYV, &index->keys.values},
        {OMEN_SECTION_KEYO, &index->keys.offsets}, {OMEN_SECTION_KEYI, &index->keys.order},
        {OMEN_SECTION_GCOD, &index->graph.code},   {OMEN_SECTION_GADJ, &index->graph.adjacency},
    };
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        if (large[i].id == id)
            return large[i].touched;
    return NULL;
}

/* Compares what opening reads with its checksums, and keeps those of the rest for the first touch. */
static int check_contents(omen_index *index, const omen_section_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const omen_section *s = &list->sections[i];
        omen_touched *touched = touched_of(index, s->id);
        if (!touched && !s->optional) {
            const int status = omen_section_check(s, list->why);
            if (status != OMEN_OK)
                return status;
        }
        if (!touched)
            continue;
        touched->section = *s;
        if (!s->check)
            continue;
        touched->seen = calloc(s->n_bytes / OMEN_CHECK_BYTES / 64 + 1, sizeof *touched->seen);
        if (!touched->seen)
            return OMEN_ERR_MEMORY;
    }
    return OMEN_OK;
}

static int open_index(omen_index **out, const omen_section *sections, size_t n_sections, bool has_ids, omen_detail *why)
{
    const omen_section_list list = {sections, n_sections, has_ids, why};
    *out = NULL;
    omen_index *index = calloc(1, sizeof *index);
    if (!index)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    int status = check_sections(&list, &index->meta);
    if (status == OMEN_OK)
        status = check_contents(index, &list);
    if (status != OMEN_OK)
        goto fail;
    index->model_bytes = sizeof index->meta;
    status = open_transform(index, &list);
    for (size_t i = 0; i < OMEN_N_WAYS && status == OMEN_OK; i++)
        if (omen_ways[i].open)
            status = omen_ways[i].open(index, &list);
    if (status == OMEN_OK)
        status = open_codec(index, &list);
    if (status == OMEN_OK)
        status = open_rows(index, &list);
    if (status == OMEN_OK)
        status = omen_index_keys_open(index, &list);
    if (status == OMEN_OK)
        status = omen_columns_open(index, &list);
    if (status == OMEN_OK && has_ids)
        status = omen_query_axes_open(index);
    if (status != OMEN_OK)
        goto fail;
    *out = index;
    return OMEN_OK;
fail:
    if (status == OMEN_ERR_MEMORY)
        omen_fail(why, status, "out of memory");
    omen_index_close(index);
    return status;
}

int omen_index_open(omen_index **out, const omen_section *sections, size_t n_sections, omen_detail *why)
{
    return open_index(out, sections, n_sections, true, why);
}

int omen_index_open_codes(omen_index **out, const omen_section *sections, size_t n_sections, omen_detail *why)
{
    return open_index(out, sections, n_sections, false, why);
}

bool omen_codes_are(const omen_section *sections, size_t n_sections)
{
    bool has_meta = false;
    for (size_t i = 0; i < n_sections; i++) {
        if (sections[i].id == OMEN_SECTION_PERM)
            return false;
        has_meta |= sections[i].id == OMEN_SECTION_META;
    }
    return has_meta;
}

int omen_index_check_lengths(const omen_section *sections, size_t n_sections, omen_detail *why)
{
    const omen_section_list list = {sections, n_sections, !omen_codes_are(sections, n_sections), why};
    omen_meta meta;
    return check_sections(&list, &meta);
}

void omen_index_close(omen_index *index)
{
    if (!index)
        return;
    omen_transform_finish(&index->transform);
    omen_codec_finish(&index->model);
    omen_query_axes_close(index);
    free(index->code.seen);
    free(index->refn.seen);
    free(index->perm.seen);
    omen_columns_close(index);
    free(index->keys.values.seen);
    free(index->keys.offsets.seen);
    free(index->keys.order.seen);
    for (size_t i = 0; i < OMEN_N_WAYS; i++)
        if (omen_ways[i].close)
            omen_ways[i].close(index);
    free(index);
}

int omen_index_get_info(const omen_index *index, omen_index_info *out)
{
    const omen_meta *m = &index->meta;
    omen_index_info info;
    const int status = omen_sized_take(&info, sizeof info, out, "omen_index_info", NULL);
    if (status != OMEN_OK)
        return status;
    info = (omen_index_info){
        .struct_bytes = sizeof info,
        .n_rows = m->n_rows,
        .d = m->d,
        .lists.n = m->n_lists,
        .d_kept = m->d_kept,
        .metric = m->metric,
        .codec = m->codec,
        .refine = m->refine,
        .code_bytes = m->n_sub / 2,
        .factor_bytes = m->n_factors,
        .bytes = m->bytes,
        .seed = m->seed,
        .zero_ok = (m->flags & OMEN_META_FLAG_ZERO_OK) != 0,
        .centroid_bytes = index->centroid_bytes,
        .model_bytes = index->model_bytes,
        .refine_bytes = m->n_rows * index->refine_row_bytes,
        .id_bytes = m->n_rows * 4,
        .refine_ceiling = (double)m->refine_ceiling,
        .graph = {index->graph.degree, index->graph.degree
                                           ? m->n_rows * (OMEN_GRAPH_CODE_BYTES + 4 * (uint64_t)index->graph.degree) +
                                                 index->graph.n_entries * (OMEN_GRAPH_CODE_BYTES + 4ull)
                                           : 0},
        .key_kind = (omen_key_kind)index->keys.head.kind,
        .key_most_bytes = index->keys.head.longest,
        .key_bytes = omen_index_keys_bytes(index),
        .n_columns = index->n_columns,
        .column_bytes = index->cval.section.n_bytes,
        .keys_shared = (index->keys.head.flags & OMEN_KEYS_FLAG_SHARED) != 0,
    };
    if (info.key_kind != OMEN_KEYS_TEXT) {
        info.key_least = index->keys.head.least;
        info.key_most = index->keys.head.most;
    }
    omen_index_effort_again(index, m->n_rows < 10 ? (uint32_t)m->n_rows : 10, OMEN_DEFAULT_RECALL,
                            &info.lists.default_probes, &info.default_rerank);
    omen_sized_give(out, &info);
    return OMEN_OK;
}

int omen_index_check(const omen_index *index, omen_fault_fn fault, void *context)
{
    const omen_meta *m = &index->meta;
    char text[160];
    int status = omen_transform_check_angles(&index->transform);
    if (status == OMEN_ERR_MEMORY)
        return status;
    if (status != OMEN_OK)
        fault(context, "BASE", "its axes are not at right angles");
    uint8_t *seen = calloc(m->n_rows / 8 + 1, 1);
    if (!seen)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < m->n_rows && index->ids; i++) {
        const uint32_t id = index->ids[i];
        const bool beyond = id >= m->n_rows;
        if (beyond || (seen[id / 8] >> id % 8 & 1)) {
            snprintf(text, sizeof text, "position %llu holds id %u, which %s", (unsigned long long)i, id,
                     beyond ? "no row has" : "stands elsewhere too");
            fault(context, "PERM", text);
            status = OMEN_ERR_CORRUPT;
            break;
        }
        seen[id / 8] |= (uint8_t)(1u << id % 8);
    }
    free(seen);
    for (size_t i = 0; i < OMEN_N_WAYS && status == OMEN_OK; i++)
        if (omen_ways[i].check)
            status = omen_ways[i].check(index, fault, context);
    for (uint64_t i = 0; i < m->n_rows && index->refine_rows; i++) {
        if (!omen_refine_is_valid(m->refine, index->refine_rows + i * index->refine_row_bytes, m->d)) {
            snprintf(text, sizeof text, "row at position %llu is not finite, or too long", (unsigned long long)i);
            fault(context, "REFN", text);
            status = OMEN_ERR_CORRUPT;
            break;
        }
    }
    if (index->blocks && m->n_rows % OMEN_SCAN_BLOCK) {
        /* what is behind the last row must be zero */
        const uint8_t *last = index->blocks + m->n_rows / OMEN_SCAN_BLOCK * index->block_bytes;
        uint8_t rest = 0;
        for (size_t i = 0; i < index->block_bytes; i++)
            if (i % OMEN_SCAN_BLOCK >= m->n_rows % OMEN_SCAN_BLOCK)
                rest |= last[i];
        if (rest) {
            fault(context, "CODE", "the unused lanes of the last block are not zero");
            status = OMEN_ERR_CORRUPT;
        }
    }
    if (status == OMEN_OK)
        status = omen_index_keys_check(index, fault, context);
    return status == OMEN_OK ? omen_columns_check(index, fault, context) : status;
}

int omen_index_check_source(const omen_index *index, const omen_source *source, omen_fault_fn fault, void *context,
                            omen_detail *why)
{
    const omen_meta *m = &index->meta;
    char text[160];
    if (source->n_rows != m->n_rows || source->d != m->d) {
        snprintf(text, sizeof text, "the index holds %llu x %u, the source %llu x %u", (unsigned long long)m->n_rows,
                 m->d, (unsigned long long)source->n_rows, source->d);
        fault(context, "META", text);
        return OMEN_ERR_CORRUPT;
    }
    if (m->refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_UNSUPPORTED, "without a refine tier only the shape can be compared");
    const size_t chunk = 256;
    omen_transform plain = {
        .metric = m->metric == OMEN_METRIC_COSINE ? OMEN_METRIC_COSINE : OMEN_METRIC_L2, .d = m->d, .d_full = m->d};
    uint32_t *position = omen_alloc(m->n_rows, sizeof *position);
    float *rows = omen_alloc(2 * chunk * m->d, sizeof *rows);
    int status = position && rows ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    if (position)
        memset(position, 0xff, m->n_rows * sizeof *position); /* beyond every row: not seen */
    for (uint64_t i = 0; i < m->n_rows && status == OMEN_OK; i++) {
        if (index->ids[i] >= m->n_rows || position[index->ids[i]] < m->n_rows) {
            fault(context, "PERM", "an id is no row of the source, or stands twice");
            status = OMEN_ERR_CORRUPT;
        } else {
            position[index->ids[i]] = (uint32_t)i;
        }
    }
    for (uint64_t i0 = 0; i0 < m->n_rows && status == OMEN_OK; i0 += chunk) {
        const size_t n = m->n_rows - i0 < chunk ? m->n_rows - i0 : chunk;
        status = source->read(source->self, i0, n, rows, why);
        if (status != OMEN_OK)
            break;
        const float *lifted = omen_transform_lift(&plain, rows, n, false, rows + chunk * m->d);
        lifted = omen_refine_shift(&index->refine, lifted, n, false, rows + chunk * m->d);
        for (size_t i = 0; i < n && status == OMEN_OK; i++) {
            const uint8_t *stored = index->refine_rows + (uint64_t)position[i0 + i] * index->refine_row_bytes;
            if (!omen_refine_matches(m->refine, stored, lifted + i * m->d, m->d)) {
                snprintf(text, sizeof text, "row %llu of the source is not what the index holds",
                         (unsigned long long)(i0 + i));
                fault(context, "REFN", text);
                status = OMEN_ERR_CORRUPT;
            }
        }
    }
    free(rows);
    free(position);
    return status;
}
