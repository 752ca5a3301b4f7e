/* SPDX-License-Identifier: Apache-2.0 */
/* Models and shards compared with the inputs that they were made of. */
#include "formats/build_file.h"
#include "formats/shard_files.h"

#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MOST_RUNS_AGAIN 3u           /* runs of a shard that are encoded again: the first, the last, and one between */
#define AGAIN_BYTES     (256u << 20) /* of a run that is, in memory; a longer one is compared by its hash alone */

/* ---- differences ---- */

static int differ(omen_fault_fn fault, void *context, const char *text)
{
    fault(context, NULL, text);
    return OMEN_ERR_CORRUPT;
}

/* What a build says of a model that is of other input is a fault; the rest is a failure. */
static int take_difference(int status, omen_fault_fn fault, void *context, const omen_detail *why)
{
    static const char begun[] = "the checkpoint was begun";
    omen_detail text;
    if (status == OMEN_OK || strncmp(why->text, begun, sizeof begun - 1) != 0)
        return status;
    omen_fail(&text, status, "it was trained%.400s", why->text + sizeof begun - 1);
    return differ(fault, context, text.text);
}

/* ---- the model ---- */

/* A checkpoint that has the records of a model, and keeps of a run that is appended its length and its hash. */
typedef struct {
    omen_checkpoint model;
    uint64_t n_bytes, hash;
} again;

static bool again_get(void *self, uint32_t i, omen_record *out)
{
    const again *a = self;
    return i < SHARD_MODEL_RECORDS && a->model.get(a->model.self, i, out);
}

static int again_prove(void *self, uint32_t n, omen_progress_fn progress, void *context, omen_detail *why)
{
    return OMEN_OK; /* all were proven when the model was opened */
}

static int again_read(void *self, uint32_t i, uint64_t at, uint64_t n_bytes, void *out, omen_detail *why)
{
    const again *a = self;
    return a->model.read(a->model.self, i, at, n_bytes, out, why);
}

static int again_append(void *self, uint32_t kind, const omen_span *spans, size_t n, uint32_t *number, omen_detail *why)
{
    again *a = self;
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    a->n_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        XXH3_64bits_update(&state, spans[i].data, spans[i].n_bytes);
        a->n_bytes += spans[i].n_bytes;
    }
    a->hash = XXH3_64bits_digest(&state);
    if (number)
        *number = SHARD_MODEL_RECORDS;
    return OMEN_OK;
}

static int again_wait(void *self, omen_detail *why)
{
    return OMEN_OK;
}

static omen_checkpoint again_checkpoint(again *a)
{
    return (omen_checkpoint){.self = a,
                             .get = again_get,
                             .prove = again_prove,
                             .read = again_read,
                             .append = again_append,
                             .wait = again_wait};
}

int omen_model_check_source(const omen_model *model, const omen_build_paths *paths, const omen_build_options *options,
                            omen_fault_fn fault, void *context, omen_detail *why)
{
    omen_file_build b = {.paths = paths, .options = omen_model_options(model, options)};
    omen_detail own = {.text = ""};
    b.options.extent = OMEN_BUILD_MODEL;
    again a = {.model = model->records};
    const omen_checkpoint records = again_checkpoint(&a);
    int status = omen_file_build_open(&b, true, &own);
    if (status == OMEN_OK) /* a build that has all records of a model compares its head, and is done */
        status =
            take_difference(omen_index_build(&b.source, &b.options, NULL, &records, NULL, &own), fault, context, &own);
    omen_file_build_close(&b);
    if (why)
        *why = own;
    return status;
}

/* ---- a shard ---- */

/* A shard, and what it is compared with. */
typedef struct {
    omen_part *part;
    const omen_model *model; /* may be NULL */
    const omen_file_build *build;
    omen_fault_fn fault;
    void *context;
    omen_detail *why;
} comparison;

/* Encodes run number i again, whose record begins with head. */
static int encode_again(const comparison *c, uint32_t i, const uint64_t head[SHARD_RUN_HEAD])
{
    again a = {.model = c->model->records};
    const omen_checkpoint records = omen_part_checkpoint(c->part);
    const omen_checkpoint checkpoint = again_checkpoint(&a);
    omen_build_options options = omen_model_options(c->model, &c->build->options);
    omen_record record;
    omen_detail text;
    if (!records.get(records.self, i, &record) || record.n_bytes > AGAIN_BYTES)
        return OMEN_OK;
    options.extent = OMEN_BUILD_SHARD;
    options.shard.first = head[0];
    options.shard.n = options.chunk_rows = head[1];
    options.memory_bytes = 0; /* a run takes what it took when it was made */
    const int status = take_difference(omen_index_build(&c->build->source, &options, NULL, &checkpoint, NULL, c->why),
                                       c->fault, c->context, c->why);
    if (status != OMEN_OK)
        return status;
    if (record.n_bytes == a.n_bytes && omen_part_record_hash(c->part, i) == a.hash)
        return OMEN_OK;
    omen_fail(&text, OMEN_ERR_CORRUPT, "rows %llu to %llu are not encoded as its model encodes them",
              (unsigned long long)head[0], (unsigned long long)(head[0] + head[1] - 1));
    return differ(c->fault, c->context, text.text);
}

/* All runs by the hash of their rows, then some by their bytes. */
static int check_runs(const comparison *c, uint32_t n)
{
    const omen_checkpoint records = omen_part_checkpoint(c->part);
    const omen_build_options *o = &c->build->options;
    bool differs = false;
    int status = OMEN_OK;
    for (uint32_t i = 1; i < n && status == OMEN_OK; i++) {
        uint64_t head[SHARD_RUN_HEAD];
        omen_row_hash hash;
        omen_detail text;
        status = records.read(records.self, i, 0, sizeof head, head, c->why);
        if (status == OMEN_OK)
            status = omen_source_hash(&c->build->source, head[0], head[1], o->n_threads, o->progress,
                                      o->progress_context, &hash, c->why);
        if (status != OMEN_OK || (hash.low == head[2] && hash.high == head[3]))
            continue;
        omen_fail(&text, OMEN_ERR_CORRUPT, "rows %llu to %llu are not all those that it was made of",
                  (unsigned long long)head[0], (unsigned long long)(head[0] + head[1] - 1));
        differ(c->fault, c->context, text.text);
        differs = true;
    }
    for (uint32_t k = 0; k < MOST_RUNS_AGAIN && status == OMEN_OK && !differs && c->model; k++) {
        const uint32_t i = 1 + (uint32_t)((uint64_t)(n - 2) * k / (MOST_RUNS_AGAIN - 1));
        uint64_t head[SHARD_RUN_HEAD];
        if (k > 0 && i == 1 + (uint32_t)((uint64_t)(n - 2) * (k - 1) / (MOST_RUNS_AGAIN - 1)))
            continue; /* there are fewer */
        status = records.read(records.self, i, 0, sizeof head, head, c->why);
        if (status == OMEN_OK)
            status = encode_again(c, i, head);
    }
    return status == OMEN_OK && differs ? OMEN_ERR_CORRUPT : status;
}

int omen_shard_check_source(omen_part *part, const omen_model *model, const omen_build_paths *paths,
                            const omen_build_options *options, omen_fault_fn fault, void *context, omen_detail *why)
{
    omen_file_build b = {.paths = paths, .options = *options};
    omen_detail own = {.text = ""}, text;
    omen_shard_info info;
    omen_row_hash hash;
    const comparison c = {.part = part, .model = model, .build = &b, .fault = fault, .context = context, .why = &own};
    int status = omen_shard_look(part, &info, &hash, &own);
    if (status == OMEN_OK)
        status = omen_file_build_open(&b, true, &own);
    if (status == OMEN_OK && b.source.n_rows != info.n_rows) {
        omen_fail(&text, OMEN_ERR_CORRUPT, "it is a shard of %llu rows, and there are %llu",
                  (unsigned long long)info.n_rows, (unsigned long long)b.source.n_rows);
        status = differ(fault, context, text.text);
    }
    if (status == OMEN_OK)
        status = check_runs(&c, omen_part_count(part));
    omen_file_build_close(&b);
    if (why)
        *why = own;
    return status;
}
