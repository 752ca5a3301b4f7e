/* SPDX-License-Identifier: Apache-2.0 */
/* Saves and loads a build's options and the results of its training stages. Each record is a short fixed part, kept in
 * omen_records, followed by the arrays. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/build_state.h"
#include "lib/matrix.h"
#include "lib/omendb_info.h"
#include "lib/records.h"
#include "lib/refine.h"
#include "lib/sized.h"

#define CONTENT_ROWS 256u   /* rows of the input that are compared when a build is continued */
#define MOST_PARTS   65536u /* that a checkpoint may tell of */
#define LOOK_PARTS   16u    /* parts of it that are looked at between two looks at what may stop the build */

static int no_memory(omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint's records");
}

int omen_records_contradiction(omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_CORRUPT, "the checkpoint contradicts itself");
}

/* ---- head ---- */

/* Of n_rows rows from first on: the first, the last, and rows spread between, n_wanted in all. A bad row is the build's
 * to tell, which names the first one. */
static int hash_content(const omen_source *source, uint64_t first, uint64_t n_rows, uint64_t n_wanted, uint64_t *hash,
                        omen_detail *why)
{
    const uint64_t n = n_rows < n_wanted ? n_rows : n_wanted;
    XXH3_state_t *state = XXH3_createState();
    float *row = omen_alloc(source->d, sizeof *row);
    int status = state && row ? OMEN_OK : no_memory(why);
    if (status == OMEN_OK)
        XXH3_64bits_reset(state);
    for (uint64_t i = 0; i < n && status == OMEN_OK; i++) {
        const uint64_t at = n == 1 ? 0 : i * (n_rows - 1) / (n - 1);
        status = source->read(source->self, first + at, 1, row, why);
        if (status == OMEN_OK)
            XXH3_64bits_update(state, row, source->d * sizeof *row);
        else if (status == OMEN_ERR_INPUT)
            status = OMEN_OK;
    }
    *hash = status == OMEN_OK ? XXH3_64bits_digest(state) : 0;
    free(row);
    XXH3_freeState(state);
    return status;
}

/* What is kept of each part. */
static int describe_parts(omen_records *records, const omen_source *source, const omen_build_options *o,
                          omen_detail *why)
{
    uint64_t first = 0;
    int status = OMEN_OK;
    records->parts = omen_alloc(o->n_parts, sizeof *records->parts);
    if (!records->parts)
        return no_memory(why);
    records->n_parts = o->n_parts;
    for (size_t i = 0; i < o->n_parts && status == OMEN_OK; i++) {
        const omen_source_part *part = &o->parts[i];
        omen_head_part *out = &records->parts[i];
        if (i % LOOK_PARTS == 0 && o->progress &&
            o->progress(o->progress_context, omen_stage_name(OMEN_STAGE_SAMPLE), 0, 1))
            return omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
        *out = (omen_head_part){.n_rows = part->n_rows, .n_bytes = part->n_bytes, .stamp = part->stamp};
        status = hash_content(source, first, part->n_rows, 2, &out->content, why);
        first += part->n_rows;
    }
    return status;
}

/* What a model was trained on, and with which options: the record of its transform begins with it. */
static int read_identity(const omen_checkpoint *model, uint64_t *identity, omen_detail *why)
{
    omen_record record;
    if (!model->get(model->self, 1, &record) || record.kind != OMEN_RECORD_TRANSFORM ||
        record.n_bytes < sizeof *identity)
        return omen_records_contradiction(why);
    return model->read(model->self, 1, 0, sizeof *identity, identity, why);
}

int omen_records_describe(omen_records *records, const omen_source *source, const omen_build_options *o,
                          uint32_t n_lists, omen_detail *why)
{
    const omen_source *tune = o->tune_queries;
    uint64_t *head = records->head;
    head[OMEN_HEAD_VERSION] = XXH3_64bits(OMEN_VERSION, sizeof OMEN_VERSION);
    head[OMEN_HEAD_N_ROWS] = source->n_rows;
    head[OMEN_HEAD_D] = source->d;
    head[OMEN_HEAD_ELEMENT_BYTES] = source->element_bytes;
    head[OMEN_HEAD_N_BYTES] = source->n_bytes;
    head[OMEN_HEAD_STAMP] = source->stamp;
    head[OMEN_HEAD_METRIC] = o->metric;
    head[OMEN_HEAD_CODEC] = o->codec;
    head[OMEN_HEAD_REFINE] = o->refine;
    head[OMEN_HEAD_BYTES] = o->bytes;
    head[OMEN_HEAD_N_LISTS] = n_lists;
    head[OMEN_HEAD_SEED] = o->seed;
    head[OMEN_HEAD_ZERO_OK] = o->zero_ok;
    head[OMEN_HEAD_TUNE] = 0;
    if (tune) {
        const uint64_t facts[] = {tune->n_rows, tune->d, tune->n_bytes, tune->stamp};
        head[OMEN_HEAD_TUNE] = XXH3_64bits(facts, sizeof facts);
    }
    head[OMEN_HEAD_MODEL] = 0;
    int status = o->model ? read_identity(o->model, &head[OMEN_HEAD_MODEL], why) : OMEN_OK;
    if (status == OMEN_OK && !source->read)
        return OMEN_OK;
    if (status == OMEN_OK)
        status = hash_content(source, 0, source->n_rows, CONTENT_ROWS, &head[OMEN_HEAD_CONTENT], why);
    return status == OMEN_OK && o->n_parts > 0 ? describe_parts(records, source, o, why) : status;
}

void omen_records_finish(omen_records *records)
{
    free(records->parts);
    records->parts = NULL;
}

bool omen_records_may_be_head(uint64_t n_bytes)
{
    const uint64_t head_bytes = OMEN_N_HEAD * sizeof(uint64_t), part_bytes = sizeof(omen_head_part);
    return n_bytes >= head_bytes && (n_bytes - head_bytes) % part_bytes == 0 &&
           (n_bytes - head_bytes) / part_bytes <= MOST_PARTS;
}

int omen_records_save_head(omen_records *records, const omen_checkpoint *checkpoint, omen_detail *why)
{
    const omen_span spans[] = {{records->head, sizeof records->head},
                               {records->parts, records->n_parts * sizeof *records->parts}};
    return checkpoint->append(checkpoint->self, OMEN_RECORD_HEAD, spans, records->n_parts > 0 ? 2 : 1, NULL, why);
}

static int other_name(const char *field, const char *was, const char *now, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_ARGUMENT, "the checkpoint was begun with %s %s, not %s", field, was, now);
}

static int other_number(const char *field, uint64_t was, uint64_t now, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_ARGUMENT, "the checkpoint was begun with %s %llu, not %llu", field,
                     (unsigned long long)was, (unsigned long long)now);
}

static int other_input(const char *what, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_INPUT, "the checkpoint was begun from other input: %s changed", what);
}

static int differs(omen_head_field field, uint64_t was, uint64_t now, omen_detail *why)
{
    switch (field) {
    case OMEN_HEAD_VERSION:
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the checkpoint was begun by another version of omendb");
    case OMEN_HEAD_N_ROWS:
        return other_input("its number of rows", why);
    case OMEN_HEAD_D:
        return other_input("its dimension", why);
    case OMEN_HEAD_ELEMENT_BYTES:
        return other_input("its type of values", why);
    case OMEN_HEAD_N_BYTES:
        return other_input("its size", why);
    case OMEN_HEAD_STAMP:
        return other_input("its modification time", why);
    case OMEN_HEAD_CONTENT:
        return other_input("its contents", why);
    case OMEN_HEAD_METRIC:
        return other_name("options.metric", omen_metric_name((omen_metric)was), omen_metric_name((omen_metric)now),
                          why);
    case OMEN_HEAD_CODEC:
        return other_name("options.codec", omen_codec_name((omen_codec)was), omen_codec_name((omen_codec)now), why);
    case OMEN_HEAD_REFINE:
        return other_name("options.refine", omen_refine_name((omen_refine)was), omen_refine_name((omen_refine)now),
                          why);
    case OMEN_HEAD_BYTES:
        return other_number("options.bytes", was, now, why);
    case OMEN_HEAD_N_LISTS:
        return other_number("options.lists.n", was, now, why);
    case OMEN_HEAD_SEED:
        return other_number("options.seed", was, now, why);
    case OMEN_HEAD_ZERO_OK:
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the checkpoint was begun %s options.zero_ok",
                         was ? "with" : "without");
    case OMEN_HEAD_MODEL:
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the checkpoint was begun with %s model",
                         !now  ? "a"
                         : was ? "another"
                               : "no");
    default:
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the checkpoint was begun with other options.tune_queries");
    }
}

/* What of a part changed; NULL: nothing. */
static const char *difference(const omen_head_part *was, const omen_head_part *now)
{
    return was->n_bytes != now->n_bytes   ? "size"
           : was->n_rows != now->n_rows   ? "number of rows"
           : was->stamp != now->stamp     ? "modification time"
           : was->content != now->content ? "contents"
                                          : NULL;
}

/* Names the first part that changed; n_were parts are in the checkpoint. */
static int check_parts(const omen_records *records, uint64_t n_were, const omen_build_options *o,
                       const omen_checkpoint *checkpoint, omen_detail *why)
{
    const uint64_t n = least(n_were, records->n_parts);
    omen_head_part *was = omen_alloc(n, sizeof *was);
    char count[64] = "";
    const char *what = NULL;
    size_t i = 0;
    int status =
        was ? checkpoint->read(checkpoint->self, 0, sizeof records->head, n * sizeof *was, was, why) : no_memory(why);
    for (; status == OMEN_OK && i < n && !what; i++)
        what = difference(&was[i], &records->parts[i]);
    free(was);
    if (status != OMEN_OK || (!what && n_were == records->n_parts))
        return status;
    if (n_were != records->n_parts)
        snprintf(count, sizeof count, "%llu files are %llu now%s", (unsigned long long)(n_were > 0 ? n_were : 1),
                 (unsigned long long)(records->n_parts > 0 ? records->n_parts : 1), what ? ", and " : "");
    if (!what)
        return omen_fail(why, OMEN_ERR_INPUT, "the checkpoint was begun from other input: %s", count);
    return omen_fail(why, OMEN_ERR_INPUT,
                     "the checkpoint was begun from other input: %sthe %s of input %zu, %.300s, changed", count, what,
                     i, o->parts[i - 1].name);
}

/* What is not known without the files. */
static bool is_of_inputs(omen_head_field field)
{
    return field == OMEN_HEAD_N_BYTES || field == OMEN_HEAD_STAMP || field == OMEN_HEAD_CONTENT ||
           field == OMEN_HEAD_TUNE;
}

int omen_records_check_head(const omen_records *records, const omen_source *source, const omen_build_options *o,
                            const omen_checkpoint *checkpoint, omen_detail *why)
{
    uint64_t was[OMEN_N_HEAD];
    omen_record record;
    if (!checkpoint->get(checkpoint->self, 0, &record) || record.kind != OMEN_RECORD_HEAD ||
        !omen_records_may_be_head(record.n_bytes))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the checkpoint was begun by another version of omendb");
    int status = checkpoint->read(checkpoint->self, 0, 0, sizeof was, was, why);
    if (status == OMEN_OK && was[OMEN_HEAD_VERSION] != records->head[OMEN_HEAD_VERSION])
        return differs(OMEN_HEAD_VERSION, 0, 0, why);
    /* the part that changed, before what changed of the whole with it */
    if (status == OMEN_OK && source->read)
        status = check_parts(records, (record.n_bytes - sizeof was) / sizeof *records->parts, o, checkpoint, why);
    for (int i = 0; i < OMEN_N_HEAD && status == OMEN_OK; i++)
        if (was[i] != records->head[i] && (source->read || !is_of_inputs((omen_head_field)i)))
            return differs((omen_head_field)i, was[i], records->head[i], why);
    return status;
}

int omen_records_check_model(const omen_records *records, const omen_checkpoint *model, omen_detail *why)
{
    static const omen_head_field fields[] = {OMEN_HEAD_METRIC, OMEN_HEAD_CODEC,   OMEN_HEAD_REFINE,
                                             OMEN_HEAD_BYTES,  OMEN_HEAD_N_LISTS, OMEN_HEAD_ZERO_OK};
    const uint64_t *head = records->head;
    uint64_t was[OMEN_N_HEAD];
    omen_record record;
    if (!model->get(model->self, 0, &record) || record.kind != OMEN_RECORD_HEAD ||
        !omen_records_may_be_head(record.n_bytes))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the model is of another version of omendb");
    const int status = model->read(model->self, 0, 0, sizeof was, was, why);
    if (status != OMEN_OK)
        return status;
    if (was[OMEN_HEAD_VERSION] != head[OMEN_HEAD_VERSION])
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the model is of another version of omendb");
    if (was[OMEN_HEAD_D] != head[OMEN_HEAD_D])
        return omen_fail(why, OMEN_ERR_INPUT, "the model is of %llu dimensions, and the rows have %llu",
                         (unsigned long long)was[OMEN_HEAD_D], (unsigned long long)head[OMEN_HEAD_D]);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (was[fields[i]] != head[fields[i]])
            return omen_fail(why, OMEN_ERR_ARGUMENT, "the model was trained with other options");
    return OMEN_OK;
}

/* ---- runs that stand for others ---- */

int omen_records_find_replaced(const omen_checkpoint *c, bool **replaced, uint32_t *n, omen_detail *why)
{
    omen_record record;
    uint64_t from = UINT64_MAX; /* the first row of those behind */
    int status = OMEN_OK;
    for (*n = 0; c->get(c->self, *n, &record);)
        ++*n;
    *replaced = omen_alloc_zero((size_t)*n + 1, sizeof **replaced);
    if (!*replaced)
        return no_memory(why);
    for (uint32_t i = *n; i-- > 0 && status == OMEN_OK;) {
        uint64_t row0;
        if (!c->get(c->self, i, &record))
            return omen_records_contradiction(why);
        (*replaced)[i] = record.kind == OMEN_RECORD_DROPPED;
        if (record.kind != OMEN_RECORD_RUN)
            continue;
        status = record.n_bytes < sizeof row0 ? omen_records_contradiction(why)
                                              : c->read(c->self, i, 0, sizeof row0, &row0, why);
        if (status == OMEN_OK) {
            (*replaced)[i] = row0 >= from;
            from = row0 < from ? row0 : from;
        }
    }
    return status;
}

/* ---- arrays ---- */

/* Reads a record front to back; the first failure is kept. */
typedef struct {
    const omen_checkpoint *checkpoint;
    uint32_t record;
    uint64_t at, n_bytes;
    int status;
    omen_detail *why;
} reader;

static reader reader_start(const omen_checkpoint *checkpoint, uint32_t record, omen_detail *why)
{
    omen_record found = {0};
    reader r = {.checkpoint = checkpoint, .record = record, .why = why};
    if (!checkpoint->get(checkpoint->self, record, &found))
        r.status = omen_records_contradiction(why);
    r.n_bytes = found.n_bytes;
    return r;
}

static void take(reader *r, void *out, uint64_t n_bytes)
{
    if (r->status == OMEN_OK && n_bytes > r->n_bytes - r->at)
        r->status = omen_records_contradiction(r->why);
    if (r->status == OMEN_OK && n_bytes > 0)
        r->status = r->checkpoint->read(r->checkpoint->self, r->record, r->at, n_bytes, out, r->why);
    if (r->status == OMEN_OK)
        r->at += n_bytes;
}

/* Allocates an array and reads it; what it should take is checked against the record before. */
static void *take_array(reader *r, uint64_t count, size_t size)
{
    uint64_t n_bytes;
    if (r->status != OMEN_OK)
        return NULL;
    if (__builtin_mul_overflow(count, size, &n_bytes) || n_bytes > r->n_bytes - r->at) {
        r->status = omen_records_contradiction(r->why);
        return NULL;
    }
    void *out = omen_alloc(count, size);
    if (!out)
        r->status = no_memory(r->why);
    else
        take(r, out, n_bytes);
    return out;
}

static int reader_end(const reader *r)
{
    return r->status == OMEN_OK && r->at != r->n_bytes ? omen_records_contradiction(r->why) : r->status;
}

/* Reads the arrays of a model. */
static void take_parts(reader *r, const omen_model_part *parts, size_t n)
{
    for (size_t i = 0; i < n && r->status == OMEN_OK; i++)
        omen_model_part_set(&parts[i], take_array(r, parts[i].count, omen_model_part_size(&parts[i])));
}

/* Appends a record of a fixed part and the arrays of a model. */
static int save(const omen_checkpoint *checkpoint, omen_record_kind kind, const void *fixed, size_t n_bytes,
                const omen_model_part *parts, size_t n, omen_detail *why)
{
    omen_span spans[1 + OMEN_MODEL_PARTS] = {{fixed, n_bytes}};
    for (size_t i = 0; i < n; i++)
        spans[1 + i] = (omen_span){omen_model_part_data(&parts[i]), omen_model_parts_bytes(&parts[i], 1)};
    return checkpoint->append(checkpoint->self, kind, spans, 1 + n, NULL, why);
}

/* ---- transform ---- */

int omen_records_save_transform(omen_records *records, const omen_transform *t, const float *refine_centre,
                                uint64_t identity, const omen_checkpoint *checkpoint, omen_detail *why)
{
    records->transform.identity = identity;
    records->transform.d = t->d;
    records->transform.d_full = t->d_full;
    records->transform.d_kept = t->d_kept;
    records->transform.ip_radius2 = t->ip_radius2;
    records->transform.has_centre = refine_centre ? 1 : 0;
    omen_transform transform = *t;
    float *centre = (float *)refine_centre;
    omen_model_part parts[OMEN_MODEL_PARTS];
    size_t n = omen_transform_parts(&transform, parts);
    n += omen_refine_parts(&centre, t->d, centre, parts + n);
    return save(checkpoint, OMEN_RECORD_TRANSFORM, &records->transform, sizeof records->transform, parts, n, why);
}

/* Whether a refine tier, its centre and what was measured of it can be a build's with these options. */
static bool refine_is_sound(const omen_records *r, const omen_build_options *o)
{
    const uint32_t refine = r->transform.refine;
    bool sound = o->refine == OMEN_REFINE_AUTO ? refine != OMEN_REFINE_NONE : refine == o->refine;
    sound = sound && refine < OMEN_N_REFINES &&
            (r->transform.has_centre == 0 || (r->transform.has_centre == 1 && omen_refine_rounds((omen_refine)refine) &&
                                              !o->zero_ok && !o->codes_only));
    for (size_t i = 0; i < OMEN_N_REFINES; i++) /* comparisons that a NaN fails */
        sound = sound && r->transform.refine_ceilings[i] >= 0 && r->transform.refine_ceilings[i] <= 1;
    return sound;
}

int omen_records_load_transform(omen_records *records, omen_transform *t, float **refine_centre,
                                const omen_source *source, const omen_build_options *o,
                                const omen_checkpoint *checkpoint, uint32_t record, omen_detail *why)
{
    reader r = reader_start(checkpoint, record, why);
    take(&r, &records->transform, sizeof records->transform);
    t->d = records->transform.d;
    t->d_full = records->transform.d_full;
    t->d_kept = records->transform.d_kept;
    t->ip_radius2 = records->transform.ip_radius2;
    if (r.status == OMEN_OK &&
        (t->d != source->d || t->d_full != t->d + (o->metric == OMEN_METRIC_IP) || t->d_kept < 1 ||
         t->d_kept > least(t->d_full, (size_t)BUILD_KEPT_DIMS_A_BYTE * o->bytes) || !refine_is_sound(records, o)))
        r.status = omen_records_contradiction(why);
    omen_model_part parts[OMEN_MODEL_PARTS];
    size_t n = omen_transform_parts(t, parts);
    n += omen_refine_parts(refine_centre, t->d, records->transform.has_centre, parts + n);
    take_parts(&r, parts, n);
    const int status = reader_end(&r);
    if (status != OMEN_OK)
        return status;
    if (!omen_transform_is_sound(t) || (*refine_centre && !omen_refine_centre_is_sound(*refine_centre, t->d)))
        return omen_records_contradiction(why);
    const int status_of_axes = omen_transform_prepare(t) == OMEN_OK ? omen_transform_check_angles(t) : OMEN_ERR_MEMORY;
    return status_of_axes == OMEN_ERR_CORRUPT  ? omen_records_contradiction(why)
           : status_of_axes == OMEN_ERR_MEMORY ? no_memory(why)
                                               : status_of_axes;
}

/* ---- partition ---- */

int omen_records_save_partition(omen_records *records, const omen_partition *p, const omen_checkpoint *checkpoint,
                                omen_detail *why)
{
    records->partition.n_lists = p->n_lists;
    records->partition.n_parents = p->n_parents;
    records->partition.d = p->d;
    records->partition.pull2 = p->pull2;
    omen_partition partition = *p;
    omen_model_part parts[OMEN_MODEL_PARTS];
    const size_t n = omen_partition_parts(&partition, parts);
    return save(checkpoint, OMEN_RECORD_PARTITION, &records->partition, sizeof records->partition, parts, n, why);
}

int omen_records_load_partition(omen_records *records, omen_partition *p, uint32_t n_lists, uint32_t d_kept,
                                const omen_checkpoint *checkpoint, uint32_t record, omen_detail *why)
{
    reader r = reader_start(checkpoint, record, why);
    take(&r, &records->partition, sizeof records->partition);
    p->n_lists = records->partition.n_lists;
    p->n_parents = records->partition.n_parents;
    p->d = records->partition.d;
    p->pull2 = records->partition.pull2;
    if (r.status == OMEN_OK && (p->n_lists != n_lists || p->n_parents != omen_partition_parents(n_lists) ||
                                p->d != d_kept || !(records->partition.pull2 > 0)))
        r.status = omen_records_contradiction(why);
    omen_model_part parts[OMEN_MODEL_PARTS];
    take_parts(&r, parts, omen_partition_parts(p, parts));
    const int status = reader_end(&r);
    if (status != OMEN_OK)
        return status;
    /* every parent has a child */
    bool sound = p->first_child[0] == 0 && p->first_child[p->n_parents] == p->n_lists;
    for (size_t i = 0; i < p->n_parents; i++)
        sound = sound && p->first_child[i] < p->first_child[i + 1] && p->ahead[i] >= 0;
    for (size_t i = 0; i < (size_t)p->n_parents * p->d; i++)
        sound &= fabsf(p->parents[i]) <= OMEN_COORDINATE_MOST;
    for (size_t i = 0; i < p->n_lists; i++)
        sound &= p->limits[i] > 0;
    if (!sound || !omen_scales_are_sound(p->scales, p->d))
        return omen_records_contradiction(why);
    if (omen_partition_restore(p) != OMEN_OK)
        return no_memory(why);
    sound = omen_half_norms_are_sound(p->half_norms, p->n_lists) &&
            omen_half_norms_are_sound(p->parent_half_norms, p->n_parents);
    return sound ? OMEN_OK : omen_records_contradiction(why);
}

/* ---- codec ---- */

int omen_records_save_codec(omen_records *records, const omen_codec_model *m, const omen_checkpoint *checkpoint,
                            omen_detail *why)
{
    records->codec.kind = m->kind;
    records->codec.d = m->d;
    records->codec.n_sub = m->n_sub;
    records->codec.n_factors = m->n_factors;
    records->codec.n_active = m->n_active;
    records->codec.d_used = m->d_used;
    omen_codec_model model = *m;
    omen_model_part parts[OMEN_MODEL_PARTS];
    const size_t n = omen_codec_parts(&model, parts);
    return save(checkpoint, OMEN_RECORD_CODEC, &records->codec, sizeof records->codec, parts, n, why);
}

int omen_records_load_codec(omen_records *records, omen_codec_model *m, const omen_build_options *o, uint32_t d_kept,
                            const omen_checkpoint *checkpoint, uint32_t record, omen_detail *why)
{
    reader r = reader_start(checkpoint, record, why);
    take(&r, &records->codec, sizeof records->codec);
    m->kind = (omen_codec)records->codec.kind;
    m->d = records->codec.d;
    m->n_sub = records->codec.n_sub;
    m->n_factors = records->codec.n_factors;
    m->n_active = records->codec.n_active;
    m->d_used = records->codec.d_used;
    const bool is_wanted = o->codec == OMEN_CODEC_AUTO ? m->kind != OMEN_CODEC_NONE : m->kind == o->codec;
    const uint32_t d = m->kind == OMEN_CODEC_NONE ? 0 : d_kept;
    if (r.status == OMEN_OK && (!is_wanted || m->d != d || !omen_codec_counts_are_sound(m, o->bytes)))
        r.status = omen_records_contradiction(why);
    omen_model_part parts[OMEN_MODEL_PARTS];
    take_parts(&r, parts, omen_codec_parts(m, parts));
    int status = reader_end(&r);
    if (status == OMEN_OK && !omen_codec_is_sound(m))
        return omen_records_contradiction(why);
    if (status == OMEN_OK)
        status = omen_codec_prepare(m);
    return status == OMEN_ERR_MEMORY ? no_memory(why) : status;
}

/* ---- queries ---- */

int omen_records_save_queries(omen_records *records, const omen_neighbours *truth, const omen_checkpoint *checkpoint,
                              omen_detail *why)
{
    records->queries.n = truth->n_queries;
    records->queries.d = truth->d;
    records->queries.k = truth->k;
    records->queries.are_rows = truth->are_rows;
    const omen_span spans[] = {{&records->queries, sizeof records->queries},
                               {truth->queries, truth->n_queries * (uint64_t)truth->d * sizeof *truth->queries}};
    return checkpoint->append(checkpoint->self, OMEN_RECORD_QUERIES, spans, 2, NULL, why);
}

int omen_records_load_queries(omen_records *records, omen_neighbours *truth, const omen_source *source,
                              const omen_build_options *o, const omen_checkpoint *checkpoint, uint32_t record,
                              omen_detail *why)
{
    reader r = reader_start(checkpoint, record, why);
    take(&r, &records->queries, sizeof records->queries);
    if (r.status != OMEN_OK)
        return r.status;
    const bool are_rows = records->queries.are_rows == 1;
    if (records->queries.are_rows > 1 || (source->read && are_rows != !o->tune_queries) ||
        (!are_rows && records->queries.n < 1 && source->n_rows > 1))
        return omen_records_contradiction(why);
    if (omen_neighbours_init(truth, o->metric, source->n_rows, source->d, o->seed, are_rows ? 0 : records->queries.n) !=
        OMEN_OK)
        return no_memory(why);
    if (truth->n_queries != records->queries.n || truth->d != records->queries.d || truth->k != records->queries.k)
        return omen_records_contradiction(why);
    take(&r, truth->queries, truth->n_queries * (uint64_t)truth->d * sizeof *truth->queries);
    const int status = reader_end(&r);
    return status == OMEN_OK && !omen_neighbours_queries_are_sound(truth) ? omen_records_contradiction(why) : status;
}

/* ---- for people ---- */

int omen_checkpoint_get_info(const omen_checkpoint *checkpoint, omen_checkpoint_info *out, omen_detail *why)
{
    uint64_t head[OMEN_N_HEAD];
    omen_checkpoint_info info;
    omen_record record;
    int status = omen_sized_take(&info, sizeof info, out, "omen_checkpoint_info", why);
    if (status != OMEN_OK)
        return status;
    if (!checkpoint->get(checkpoint->self, 0, &record) || record.kind != OMEN_RECORD_HEAD)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the checkpoint is not one of a build");
    const bool may_be = omen_records_may_be_head(record.n_bytes);
    if (may_be)
        status = checkpoint->read(checkpoint->self, 0, 0, sizeof head, head, why);
    if (status != OMEN_OK)
        return status;
    if (!may_be || head[OMEN_HEAD_VERSION] != XXH3_64bits(OMEN_VERSION, sizeof OMEN_VERSION))
        return omen_fail(why, OMEN_ERR_UNSUPPORTED, "the checkpoint is of another version of omendb");
    info = (omen_checkpoint_info){
        .struct_bytes = sizeof info,
        .n_rows = head[OMEN_HEAD_N_ROWS],
        .d = (uint32_t)head[OMEN_HEAD_D],
        .element_bytes = (uint32_t)head[OMEN_HEAD_ELEMENT_BYTES],
        .metric = (omen_metric)head[OMEN_HEAD_METRIC],
        .codec = (omen_codec)head[OMEN_HEAD_CODEC],
        .refine = (omen_refine)head[OMEN_HEAD_REFINE],
        .bytes = (uint32_t)head[OMEN_HEAD_BYTES],
        .n_lists = (uint32_t)head[OMEN_HEAD_N_LISTS],
        .seed = head[OMEN_HEAD_SEED],
        .zero_ok = head[OMEN_HEAD_ZERO_OK] != 0,
        .has_tune_queries = head[OMEN_HEAD_TUNE] != 0,
    };
    bool *replaced;
    uint32_t n;
    status = omen_records_find_replaced(checkpoint, &replaced, &n, why);
    for (uint32_t i = 1; i < n && status == OMEN_OK && checkpoint->get(checkpoint->self, i, &record); i++) {
        uint64_t run[2]; /* the first row, and how many there are */
        if (record.kind != OMEN_RECORD_RUN || replaced[i])
            continue;
        status = record.n_bytes < sizeof run ? omen_records_contradiction(why)
                                             : checkpoint->read(checkpoint->self, i, 0, sizeof run, run, why);
        if (status == OMEN_OK && (run[0] != info.n_encoded || run[1] > info.n_rows - info.n_encoded))
            status = omen_records_contradiction(why);
        if (status != OMEN_OK)
            break;
        info.n_encoded += run[1];
        info.n_runs++;
    }
    free(replaced);
    if (status == OMEN_OK)
        omen_sized_give(out, &info);
    return status;
}
