/* SPDX-License-Identifier: Apache-2.0 */
/* A build in steps: train, encode a shard, merge. The stages are those of every build (lib/build.c); what differs is
 * which records there are when it begins, and where it ends. A model and a shard are checkpoints that got a name. */
#include "formats/shards.h"
#include "formats/build_file.h"
#include "formats/shard_files.h"
#include "formats/vectors.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a part of a build has to say of the checkpoint is of the model, or of the shards too. */
static void reword(int status, const char *model, omen_detail *why)
{
    static const char begun[] = "the checkpoint was begun", self[] = "the checkpoint contradicts itself";
    if (status == OMEN_OK || !why)
        return;
    const omen_detail cause = *why;
    if (strncmp(cause.text, begun, sizeof begun - 1) == 0)
        omen_fail(why, status, "\"%.160s\" was trained%.340s", model, cause.text + sizeof begun - 1);
    else if (strcmp(cause.text, self) == 0)
        omen_fail(why, status, "what \"%.200s\" and its shards say contradicts itself", model);
}

/* ---- the model ---- */

static int train(omen_file_build *b, omen_build_report *report, omen_detail *why)
{
    const omen_checkpoint checkpoint = omen_part_checkpoint(b->part);
    int status = omen_index_build(&b->source, &b->options, NULL, &checkpoint, report, why);
    if (status == OMEN_OK)
        status = omen_model_write_inputs(&checkpoint, b->paths, why);
    return status == OMEN_OK
               ? omen_part_publish(b->part, b->paths->output, b->options.progress, b->options.progress_context, why)
               : status;
}

int omen_model_train_file(const omen_build_paths *paths, const omen_build_options *options, uint64_t *identity,
                          omen_build_report *report, omen_build_outcome *outcome, omen_detail *why)
{
    omen_file_build b = {.paths = paths, .options = *options};
    *outcome = (omen_build_outcome){.struct_bytes = sizeof *outcome};
    b.options.extent = OMEN_BUILD_MODEL;
    int status = omen_file_build_open(&b, true, why);
    if (status == OMEN_OK)
        status = omen_file_build_plan(&b, why);
    if (status == OMEN_OK)
        status = omen_file_build_part(&b, OMEN_PART_MODEL, paths->fresh, why);
    if (status == OMEN_OK && omen_part_count(b.part) > SHARD_MODEL_RECORDS) { /* all there, but for its name */
        omen_part_close(b.part);
        b.part = NULL;
        status = omen_file_build_part(&b, OMEN_PART_MODEL, true, why);
    }
    if (status == OMEN_OK) {
        status = train(&b, report, why);
        omen_file_build_leave(b.part, status, outcome);
        outcome->file_bytes = omen_part_bytes(b.part);
        *identity = omen_model_identity(b.part);
    }
    omen_part_close(b.part);
    omen_file_build_close(&b);
    return status;
}

/* ---- a model's inputs and options ---- */

/* The paths of a step: the model's inputs, unless there are others. */
static omen_build_paths paths_of(const omen_model *m, const omen_build_paths *given, omen_vectors_options *vectors)
{
    omen_build_paths paths = *given;
    if (!paths.input && paths.n_inputs == 0) {
        *vectors = (omen_vectors_options){.format = m->format, .d = m->d};
        paths.vectors = vectors;
        paths.inputs = m->inputs;
        paths.n_inputs = m->n_inputs;
    }
    if (!paths.tune_queries)
        paths.tune_queries = m->tune_queries;
    return paths;
}

/* Whether a path, of a file or of a part of one, leads to a file. */
static bool leads_to(const char *path, const struct stat *file)
{
    char name[PATH_MAX];
    struct stat info;
    const size_t n = path ? omen_vectors_file_bytes(path) : sizeof name;
    if (n >= sizeof name)
        return false;
    memcpy(name, path, n);
    name[n] = '\0';
    return stat(name, &info) == 0 && info.st_dev == file->st_dev && info.st_ino == file->st_ino;
}

/* An output that is an input, which the model names, would destroy it. */
static int check_output(const omen_build_paths *paths, omen_detail *why)
{
    static const char *const suffixes[] = {"", ".tmp", ".part"};
    for (size_t s = 0; s < sizeof suffixes / sizeof *suffixes; s++) {
        struct stat output;
        char *name;
        if (asprintf(&name, "%s%s", paths->output, suffixes[s]) < 0)
            return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the name \"%.200s\"", paths->output);
        const bool is_there = stat(name, &output) == 0;
        free(name);
        for (size_t i = 0; i <= paths->n_inputs && is_there; i++) {
            const char *input = i < paths->n_inputs ? paths->inputs[i] : paths->tune_queries;
            if (leads_to(input, &output))
                return omen_fail(why, OMEN_ERR_ARGUMENT,
                                 "writing \"%.200s\" would overwrite the input \"%.200s\"; name another file",
                                 paths->output, input);
        }
    }
    return OMEN_OK;
}

omen_build_options omen_model_options(const omen_model *m, const omen_build_options *given)
{
    omen_build_options options = *given;
    options.metric = m->info.metric;
    options.codec = m->info.codec;
    options.refine = m->info.refine;
    options.bytes = m->info.bytes;
    options.lists.n = m->info.n_lists;
    options.seed = m->info.seed;
    options.zero_ok = m->info.zero_ok;
    return options;
}

/* ---- an index of other rows ---- */

int omen_model_build_file(const omen_build_paths *paths, const omen_build_options *options, const char *model,
                          omen_build_report *report, omen_index_info *info, omen_build_outcome *outcome,
                          omen_detail *why)
{
    omen_model m = {.part = NULL};
    *outcome = (omen_build_outcome){.struct_bytes = sizeof *outcome};
    int status = omen_model_open(&m, model, options->progress, options->progress_context, why);
    if (status == OMEN_OK) {
        omen_splice splice = {.pieces = NULL};
        omen_checkpoint records;
        omen_build_options own = omen_model_options(&m, options);
        status = omen_splice_add(&splice, m.part, 0, SHARD_MODEL_RECORDS, why);
        records = omen_splice_checkpoint(&splice);
        own.model = &records;
        if (status == OMEN_OK)
            status = omen_index_build_file(paths, &own, report, info, outcome, why);
        omen_splice_finish(&splice);
    }
    omen_model_close(&m);
    return status;
}

/* ---- a shard ---- */

static bool is_same(const omen_shard_info *a, const omen_shard_info *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Whether the output is this shard, complete, by its checksums too: else merge would refuse what this leaves. Another
 * file, or a damaged one, is replaced. */
static int find_made(const char *output, const omen_shard_info *wanted, const omen_build_options *options,
                     bool *is_there, omen_detail *why)
{
    struct stat file;
    omen_shard_info there;
    omen_row_hash hash;
    omen_part *part = NULL;
    *is_there = false;
    if (stat(output, &file) != 0 || !S_ISREG(file.st_mode))
        return OMEN_OK;
    int status = omen_part_open_to_read(&part, output, why);
    if (status == OMEN_OK && omen_part_get_kind(part) == OMEN_PART_SHARD) {
        status = omen_shard_look(part, &there, &hash, why);
        *is_there = status == OMEN_OK && is_same(&there, wanted);
    }
    if (*is_there) {
        const omen_checkpoint records = omen_part_checkpoint(part);
        const uint32_t n = omen_part_count(part);
        status = records.prove(records.self, n, options->progress, options->progress_context, why);
        *is_there = status == OMEN_OK && omen_part_count(part) == n;
    }
    omen_part_close(part);
    if (status == OMEN_ERR_IO || status == OMEN_ERR_MEMORY || status == OMEN_ERR_INTERRUPTED)
        return status;
    if (why)
        why->text[0] = '\0';
    return OMEN_OK;
}

/* A shard that was killed when it had got its name leaves its checkpoint. */
static void remove_left(const omen_build_paths *paths)
{
    omen_part *part;
    char *name;
    if (omen_part_name(paths->output, paths->checkpoint_directory, &name, NULL) != OMEN_OK)
        return;
    const bool is_there = access(name, F_OK) == 0;
    free(name);
    if (!is_there ||
        omen_part_open_as(&part, paths->output, paths->checkpoint_directory, OMEN_PART_SHARD, false, NULL) != OMEN_OK)
        return; /* it is in use, or no shard's */
    omen_part_remove(part);
    omen_part_close(part);
}

/* Opens the checkpoint of the shard: what is there of the same one is kept, of another is not. */
static int open_part(omen_file_build *b, const omen_shard_info *wanted, omen_detail *why)
{
    const omen_span head = {wanted, sizeof *wanted};
    omen_shard_info there;
    omen_record record;
    int status = omen_file_build_part(b, OMEN_PART_SHARD, b->paths->fresh, why);
    if (status != OMEN_OK)
        return status;
    omen_checkpoint records = omen_part_checkpoint(b->part);
    status = records.prove(records.self, UINT32_MAX, b->options.progress, b->options.progress_context, why);
    if (status == OMEN_OK && records.get(records.self, 0, &record)) {
        if (record.kind == SHARD_RECORD_HEAD && record.n_bytes == sizeof there)
            status = records.read(records.self, 0, 0, sizeof there, &there, why);
        else
            there = (omen_shard_info){.n = 0};
        if (status != OMEN_OK || is_same(&there, wanted))
            return status;
        omen_part_close(b->part);
        b->part = NULL;
        status = omen_file_build_part(b, OMEN_PART_SHARD, true, why);
        if (status == OMEN_OK)
            records = omen_part_checkpoint(b->part);
    }
    if (status == OMEN_OK)
        status = records.append(records.self, SHARD_RECORD_HEAD, &head, 1, NULL, why);
    return status == OMEN_OK ? records.wait(records.self, why) : status;
}

/* Opens the file that gets all rows as one run, beside the output. */
static int open_whole(omen_part **whole, const char *output, const omen_shard_info *shard, omen_detail *why)
{
    const omen_span head = {shard, sizeof *shard};
    char *name;
    if (asprintf(&name, "%s.whole", output) < 0)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the name \"%.200s\"", output);
    int status = omen_part_open_as(whole, name, NULL, OMEN_PART_SHARD, true, why);
    free(name);
    if (status != OMEN_OK)
        return status;
    const omen_checkpoint records = omen_part_checkpoint(*whole);
    status = records.append(records.self, SHARD_RECORD_HEAD, &head, 1, NULL, why);
    return status == OMEN_OK ? records.wait(records.self, why) : status;
}

/* Encodes what the checkpoint lacks, and makes one run of all that it has. */
static int encode(omen_file_build *b, const omen_model *m, const omen_shard_info *shard, omen_build_report *report,
                  uint64_t *file_bytes, omen_detail *why)
{
    omen_splice splice = {.is_written = true};
    omen_part *whole = NULL;
    int status = omen_splice_add(&splice, m->part, 0, SHARD_MODEL_RECORDS, why);
    if (status == OMEN_OK)
        status = omen_splice_add(&splice, b->part, 1, 0, why);
    if (status == OMEN_OK)
        status = open_whole(&whole, b->paths->output, shard, why);
    if (status == OMEN_OK) {
        const omen_checkpoint checkpoint = omen_splice_checkpoint(&splice), to = omen_part_checkpoint(whole);
        b->options.shard.whole = &to;
        status = omen_index_build(&b->source, &b->options, NULL, &checkpoint, report, why);
        b->options.shard.whole = NULL;
    }
    omen_splice_finish(&splice);
    if (status == OMEN_OK)
        status = omen_part_publish(whole, b->paths->output, NULL, NULL, why);
    *file_bytes = whole ? omen_part_bytes(whole) : 0;
    if (whole && status != OMEN_OK)
        omen_part_remove(whole);
    omen_part_close(whole);
    return status;
}

int omen_shard_build_file(const omen_build_paths *paths, const omen_build_options *options, const char *model,
                          uint64_t number, uint64_t count, bool *was_there, omen_shard_info *shard,
                          omen_build_report *report, omen_build_outcome *outcome, omen_detail *why)
{
    omen_model m = {.part = NULL};
    omen_vectors_options vectors;
    omen_build_paths own;
    omen_file_build b = {.paths = &own};
    *outcome = (omen_build_outcome){.struct_bytes = sizeof *outcome};
    *was_there = false;
    int status = omen_model_open(&m, model, options->progress, options->progress_context, why);
    if (status == OMEN_OK && count > m.info.n_rows)
        status = omen_fail(why, OMEN_ERR_ARGUMENT, "%llu shards are more than the %llu rows", (unsigned long long)count,
                           (unsigned long long)m.info.n_rows);
    if (status == OMEN_OK) {
        omen_shard_range(m.info.n_rows, number, count, shard);
        shard->identity = m.identity;
        if (!paths->fresh)
            status = find_made(paths->output, shard, options, was_there, why);
    }
    if (status != OMEN_OK || *was_there) {
        if (*was_there)
            remove_left(paths);
        omen_model_close(&m);
        return status;
    }
    own = paths_of(&m, paths, &vectors);
    b.options = omen_model_options(&m, options);
    b.options.extent = OMEN_BUILD_SHARD;
    b.options.shard.first = shard->first;
    b.options.shard.n = shard->n;
    status = check_output(&own, why);
    if (status == OMEN_OK)
        status = omen_file_build_open(&b, true, why);
    if (status == OMEN_OK && b.source.n_rows != m.info.n_rows)
        status = omen_fail(why, OMEN_ERR_INPUT, "\"%.200s\" was trained on %llu rows, and the inputs have %llu", model,
                           (unsigned long long)m.info.n_rows, (unsigned long long)b.source.n_rows);
    if (status == OMEN_OK)
        status = omen_file_build_plan(&b, why);
    if (status == OMEN_OK)
        status = open_part(&b, shard, why);
    if (status == OMEN_OK)
        status = encode(&b, &m, shard, report, &outcome->file_bytes, why);
    if (b.part)
        omen_file_build_leave(b.part, status, outcome);
    reword(status, model, why);
    omen_part_close(b.part);
    omen_file_build_close(&b);
    omen_model_close(&m);
    return status;
}

/* ---- the merge ---- */

/* The records of model and shards, and how many chunks of rows they have. */
static int splice_all(omen_splice *splice, const omen_model *m, const omen_shard *shards, size_t n, uint64_t *n_runs,
                      omen_detail *why)
{
    int status = omen_splice_add(splice, m->part, 0, SHARD_MODEL_RECORDS, why);
    *n_runs = 0;
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        const uint32_t n_here = omen_part_count(shards[i].part) - 1;
        status = omen_splice_add(splice, shards[i].part, 1, n_here, why);
        *n_runs += n_here;
    }
    return status;
}

int omen_shards_merge_file(const omen_build_paths *paths, const omen_build_options *options, const char *model,
                           const char *const *shards, size_t n, bool *lacks_shards, omen_build_report *report,
                           omen_index_info *info, omen_build_outcome *outcome, omen_detail *why)
{
    omen_model m = {.part = NULL};
    omen_splice splice = {.pieces = NULL};
    omen_vectors_options vectors;
    omen_shard *all = calloc(n + 1, sizeof *all);
    uint64_t n_runs = 0;
    *outcome = (omen_build_outcome){.struct_bytes = sizeof *outcome};
    *lacks_shards = false;
    int status = all ? omen_model_open(&m, model, options->progress, options->progress_context, why)
                     : omen_fail(why, OMEN_ERR_MEMORY, "out of memory for %zu shards", n);
    if (status == OMEN_OK)
        status = omen_shard_open_all(all, shards, n, &m, model, lacks_shards, options->progress,
                                     options->progress_context, why);
    if (status == OMEN_OK)
        status = splice_all(&splice, &m, all, n, &n_runs, why);
    if (status == OMEN_OK) {
        const omen_checkpoint records = omen_splice_checkpoint(&splice);
        const omen_build_paths own = paths_of(&m, paths, &vectors);
        const bool has_inputs = paths->input || paths->n_inputs > 0;
        /* rows that are not read: all that the index has of them is in the shards */
        const omen_source source = {.n_rows = m.info.n_rows, .d = m.info.d, .element_bytes = m.info.element_bytes};
        omen_build_options merged = omen_model_options(&m, options);
        merged.extent = OMEN_BUILD_MERGE;
        /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a shard has a run at least, or is not opened */
        merged.chunk_rows = m.info.n_rows / n_runs > 0 ? m.info.n_rows / n_runs : 1; /* for the plan */
        status = check_output(&own, why);
        if (status == OMEN_OK)
            status = omen_index_merge_records(&own, &merged, &records, has_inputs ? NULL : &source, report, info,
                                              outcome, why);
        reword(status, model, why);
    }
    omen_splice_finish(&splice);
    if (all)
        omen_shard_close_all(all, n);
    free(all);
    omen_model_close(&m);
    return status;
}
