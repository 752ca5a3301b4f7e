/* SPDX-License-Identifier: Apache-2.0 */
/* omendb verify of a model or a shard: its records, and whether they are of their inputs. */
#include "cmd/verify_records.h"

#include <stdio.h>

/* What a build is told to compare with. */
static void prepare(const struct verify_records *v, const omen_model *model, omen_build_paths *paths,
                    omen_vectors_options *vectors, omen_build_options *options)
{
    omen_build_options_init(options);
    options->n_threads = v->n_threads;
    options->progress = cmd_progress_update;
    options->progress_context = v->progress;
    *vectors = (omen_vectors_options){.format = v->format, .d = v->d, .raw_d = model ? model->info.d : 0};
    *paths = (omen_build_paths){.struct_bytes = sizeof *paths,
                                .vectors = vectors,
                                .tune_queries = model ? model->tune_queries : NULL,
                                .inputs = (const char *const *)v->source->names,
                                .n_inputs = v->source->n};
}

/* Opens the model that is named, of which the file has to be. */
static int open_model(struct verify_records *v, omen_model *model, bool *is_source, omen_detail *why)
{
    const uint64_t identity = v->is_shard ? v->shard.identity : v->identity;
    const uint64_t n_rows = v->is_shard ? v->shard.n_rows : v->build.n_rows;
    const int status = omen_model_open(model, v->model, NULL, NULL, why);

    *is_source = status != OMEN_OK;
    if (status != OMEN_OK || (identity == model->identity && n_rows == model->info.n_rows))
        return status;
    *v->verdict = "differs from its model";
    v->fault(v->context, NULL, v->is_shard ? "it was encoded with another model" : "it is another model");
    return OMEN_ERR_CORRUPT;
}

static int check_model(struct verify_records *v, bool *is_source, omen_detail *why)
{
    omen_model model = {.part = NULL}, named = {.part = NULL};
    omen_vectors_options vectors;
    omen_build_options options;
    omen_build_paths paths;
    /* also quickly: a model is small */
    int status = omen_model_open(&model, v->path, NULL, NULL, why);

    if (status == OMEN_OK) {
        v->build = model.info;
        v->identity = model.identity;
    }
    if (status == OMEN_OK && v->model)
        status = open_model(v, &named, is_source, why);
    if (status == OMEN_OK && v->source->n > 0) {
        *v->verdict = "differs from its source";
        prepare(v, &model, &paths, &vectors, &options);
        status = omen_model_check_source(&model, &paths, &options, v->fault, v->context, why);
        *is_source = status != OMEN_OK;
    }
    omen_model_close(&named);
    omen_model_close(&model);
    return status;
}

static int check_shard(struct verify_records *v, omen_part *part, bool *is_source, omen_detail *why)
{
    const omen_checkpoint records = omen_part_checkpoint(part);
    omen_model model = {.part = NULL};
    omen_vectors_options vectors;
    omen_build_options options;
    omen_build_paths paths;
    int status = v->is_quick ? OMEN_OK : records.prove(records.self, v->n_records, NULL, NULL, why);

    if (status == OMEN_OK && omen_part_count(part) != v->n_records)
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%.300s\" is damaged: a checksum does not match; encode it again",
                         v->path);
    if (status == OMEN_OK)
        status = omen_shard_look(part, &v->shard, &v->row_hash, why);
    if (status == OMEN_OK && v->model)
        status = open_model(v, &model, is_source, why);
    if (status == OMEN_OK && v->source->n > 0) {
        *v->verdict = "differs from its source";
        prepare(v, v->model ? &model : NULL, &paths, &vectors, &options);
        status = omen_shard_check_source(part, v->model ? &model : NULL, &paths, &options, v->fault, v->context, why);
        *is_source = status != OMEN_OK;
    }
    omen_model_close(&model);
    return status;
}

int verify_records_check(struct verify_records *v, bool *is_source, omen_detail *why)
{
    omen_part *part = NULL;
    int status = omen_part_open_to_read(&part, v->path, why);

    *is_source = false;
    if (status != OMEN_OK)
        return status;
    v->n_bytes = omen_part_bytes(part);
    v->n_records = omen_part_count(part);
    v->is_shard = omen_part_get_kind(part) == OMEN_PART_SHARD;
    v->is_model = omen_part_get_kind(part) == OMEN_PART_MODEL;
    if (v->is_shard)
        status = check_shard(v, part, is_source, why);
    else if (v->is_model)
        status = check_model(v, is_source, why);
    else
        status =
            omen_fail(why, OMEN_ERR_ARGUMENT,
                      "\"%.300s\" is a checkpoint of work that is not done: there is nothing to verify yet", v->path);
    omen_part_close(part);
    return status;
}

void verify_records_print(const struct verify_records *v)
{
    if (v->is_shard)
        printf("shard %s of %s, rows %s to %s of %s, hash %s, ", cmd_group(v->shard.number).text,
               cmd_group(v->shard.count).text, cmd_group(v->shard.first).text,
               cmd_group(v->shard.first + v->shard.n - 1).text, cmd_group(v->shard.n_rows).text,
               cmd_row_hash(&v->row_hash).text);
    else
        printf("model of %s x %u, identity %016llx, ", cmd_group(v->build.n_rows).text, v->build.d,
               (unsigned long long)v->identity);
}
