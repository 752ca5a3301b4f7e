/* SPDX-License-Identifier: Apache-2.0 */
/* Models and shards compared with the inputs that they were made of. */
#include "formats/build_file.h"
#include "formats/shard_files.h"

#include <stdio.h>
#include <string.h>

/* ---- differences ---- */

static int differ(omen_fault_fn fault, void *context, const char *text)
{
    fault(context, NULL, text);
    return OMEN_ERR_CORRUPT;
}

/* What a build says of a model that is of other input is a fault, and so is what it says of a shard's runs; the rest is
 * a failure. */
static int take_difference(int status, omen_fault_fn fault, void *context, const omen_detail *why)
{
    static const char begun[] = "the checkpoint was begun", self[] = "the checkpoint contradicts itself";
    omen_detail text;
    if (status == OMEN_OK)
        return OMEN_OK;
    if (strcmp(why->text, self) == 0)
        return differ(fault, context, "what it says contradicts itself");
    if (status == OMEN_ERR_CORRUPT)
        return differ(fault, context, why->text);
    if (strncmp(why->text, begun, sizeof begun - 1) != 0)
        return status;
    omen_fail(&text, status, "it was trained%.400s", why->text + sizeof begun - 1);
    return differ(fault, context, text.text);
}

/* ---- the model ---- */

int omen_model_check_source(const omen_model *model, const omen_build_paths *paths, const omen_build_options *options,
                            omen_fault_fn fault, void *context, omen_detail *why)
{
    omen_file_build b = {.paths = paths, .options = omen_model_options(model, options)};
    omen_detail own = {.text = ""};
    omen_splice splice = {.pieces = NULL};
    b.options.extent = OMEN_BUILD_MODEL;
    int status = omen_splice_add(&splice, model->part, 0, SHARD_MODEL_RECORDS, &own);
    const omen_checkpoint records = omen_splice_checkpoint(&splice);
    if (status == OMEN_OK)
        status = omen_file_build_open(&b, true, &own);
    if (status == OMEN_OK) /* a build that has all records of a model compares its head, and is done */
        status =
            take_difference(omen_index_build(&b.source, &b.options, NULL, &records, NULL, &own), fault, context, &own);
    omen_file_build_close(&b);
    omen_splice_finish(&splice);
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

/* Encodes all rows again, and compares. */
static int encode_again(const comparison *c, const omen_shard_info *shard)
{
    omen_splice splice = {.pieces = NULL};
    omen_build_options options = omen_model_options(c->model, &c->build->options);
    options.extent = OMEN_BUILD_SHARD;
    options.shard.first = shard->first;
    options.shard.n = shard->n;
    options.again = true;
    int status = omen_splice_add(&splice, c->model->part, 0, SHARD_MODEL_RECORDS, c->why);
    if (status == OMEN_OK)
        status = omen_splice_add(&splice, c->part, 1, omen_part_count(c->part) - 1, c->why);
    if (status == OMEN_OK) {
        const omen_checkpoint records = omen_splice_checkpoint(&splice);
        status = take_difference(omen_index_build(&c->build->source, &options, NULL, &records, NULL, c->why), c->fault,
                                 c->context, c->why);
    }
    omen_splice_finish(&splice);
    return status;
}

/* All runs by the hash of their rows. */
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
    if (status == OMEN_OK && model)
        status = encode_again(&c, &info);
    omen_file_build_close(&b);
    if (why)
        *why = own;
    return status;
}
