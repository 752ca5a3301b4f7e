/* SPDX-License-Identifier: Apache-2.0 */
/* A build by path: rows from a file, the index and its checkpoint to files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/build_file.h"
#include "formats/container.h"
#include "formats/key_source.h"
#include "lib/omendb_audit.h"
#include "lib/sized.h"

/* The recall that an index is expected to reach. */
#define REACH_K      10u
#define REACH_RECALL 0.99f

/* Memory that one of several inputs takes: what is known of it, and of its mapping. */
#define PART_BYTES 1024u

/* Times of modification are left out. */
static int drop_times(omen_file_build *b, omen_detail *why)
{
    const size_t n = b->options.n_parts;
    b->source.stamp = b->tune_source.stamp = 0;
    if (n == 0)
        return OMEN_OK;
    b->parts = malloc(n * sizeof *b->parts);
    if (!b->parts)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for %zu files of vectors", n);
    memcpy(b->parts, b->options.parts, n * sizeof *b->parts);
    for (size_t i = 0; i < n; i++)
        b->parts[i].stamp = 0;
    b->options.parts = b->parts;
    return OMEN_OK;
}

int omen_file_build_open(omen_file_build *b, bool is_apart, omen_detail *why)
{
    const omen_build_paths *paths = b->paths;
    uint64_t *memory_bytes = &b->options.memory_bytes;
    int status = paths->input
                     ? omen_vectors_open(&b->vectors, paths->input, paths->vectors, why)
                     : omen_vectors_open_several(&b->vectors, paths->inputs, paths->n_inputs, paths->vectors, why);

    if (status != OMEN_OK)
        return status;
    b->source = omen_vectors_source(b->vectors);
    b->options.parts = omen_vectors_parts(b->vectors, &b->options.n_parts);
    const uint64_t kept = b->options.n_parts * PART_BYTES;
    if (*memory_bytes > 0)
        *memory_bytes = *memory_bytes > kept ? *memory_bytes - kept : 1;
    if (paths->opened)
        paths->opened(paths->context, omen_vectors_format(b->vectors), &b->source);
    if (paths->tune_queries) {
        status = omen_vectors_open(&b->tune_vectors, paths->tune_queries, NULL, why);
        if (status == OMEN_OK) {
            b->tune_source = omen_vectors_source(b->tune_vectors);
            b->options.tune_queries = &b->tune_source;
        }
    }
    return status == OMEN_OK && is_apart ? drop_times(b, why) : status;
}

/* Reads the keys. They stay in memory until the rows are written, so the build has so much less. */
static int open_keys(omen_file_build *b, omen_detail *why)
{
    const omen_build_paths *paths = b->paths;
    uint64_t *memory_bytes = &b->options.memory_bytes, kept;
    if (!paths->keys)
        return OMEN_OK;
    const omen_key_source source = {paths->keys, paths->key_column, paths->column_paths, paths->allow_duplicates};
    const int status =
        omen_row_keys_read_of(&b->keys, &source, b->source.n_rows, *memory_bytes, b->options.n_threads, why);
    if (status != OMEN_OK)
        return status;
    omen_row_keys_sizes(b->source.n_rows, omen_row_keys_text_bytes(b->keys), &kept, NULL, NULL);
    if (*memory_bytes > 0)
        *memory_bytes = *memory_bytes > kept ? *memory_bytes - kept : 1;
    return OMEN_OK;
}

/* A plan that lacks memory: what it asks for is besides the keys and columns, and what is kept of several inputs. */
static void tell_kept(const omen_file_build *b, omen_detail *why)
{
    const bool has_parts = b->options.n_parts > 0;
    uint64_t kept = b->options.n_parts * PART_BYTES;
    if ((!b->keys && !b->columns && !has_parts) || !why)
        return;
    const omen_detail cause = *why;
    if (b->keys)
        omen_row_keys_sizes(b->source.n_rows, omen_row_keys_text_bytes(b->keys), &kept, NULL, NULL);
    kept += omen_columns_bytes(b->columns);
    omen_fail(why, OMEN_ERR_MEMORY, "%.300s, and the %s take %llu MiB more", cause.text,
              has_parts     ? (b->keys || b->columns ? "inputs, keys and columns" : "inputs")
              : !b->columns ? "keys"
              : b->keys     ? "keys and columns"
                            : "columns",
              (unsigned long long)(kept >> 20) + 1);
}

/* Adds what the keys take to a plan. */
static void plan_keys(const omen_file_build *b, omen_build_plan *plan)
{
    uint64_t kept, peak, section_bytes;
    if (!b->keys)
        return;
    omen_row_keys_sizes(b->source.n_rows, omen_row_keys_text_bytes(b->keys), &kept, &peak, &section_bytes);
    plan->memory_bytes += kept;
    plan->memory_bytes = plan->memory_bytes > peak ? plan->memory_bytes : peak;
    plan->index_bytes += section_bytes + section_bytes / 256;
}

/* Whether the disks have room. What an earlier build left is gone on with, or replaced. A model or a shard, which is
 * its own checkpoint, is copied from another directory. */
static int check_room(const omen_build_paths *paths, const omen_build_plan *plan, omen_detail *why)
{
    const bool is_elsewhere = paths->checkpoint_directory;
    const uint64_t output_bytes = plan->index_bytes > 0 ? plan->index_bytes : is_elsewhere ? plan->checkpoint_bytes : 0;
    bool is_same = true;
    uint64_t there = 0;
    struct stat info;
    char *part;

    int status = omen_part_name(paths->output, paths->checkpoint_directory, &part, why);
    if (status != OMEN_OK)
        return status;
    if (lstat(part, &info) == 0)
        there = (uint64_t)info.st_blocks * 512;
    if (is_elsewhere)
        status = omen_disk_is_same(part, paths->output, &is_same, why);
    const uint64_t part_bytes = plan->checkpoint_bytes + plan->scratch_bytes + (is_same ? output_bytes : 0);
    if (status == OMEN_OK && there < part_bytes)
        status = omen_disk_check(part, part_bytes - there, why);
    if (status == OMEN_OK && !is_same)
        status = omen_disk_check(paths->output, output_bytes, why);
    free(part);
    return status;
}

static void plan_columns(const omen_columns *columns, omen_build_plan *plan)
{
    plan->memory_bytes += omen_columns_bytes(columns);
    plan->index_bytes += omen_columns_bytes(columns);
}

/* Reads the columns, or takes those that there are. Like keys, they stay in memory. */
static int open_columns(omen_file_build *b, omen_detail *why)
{
    const omen_build_paths *paths = b->paths;
    uint64_t *memory_bytes = &b->options.memory_bytes;
    if (paths->column_paths) {
        const int status =
            omen_columns_read(&b->read_columns, paths->column_paths, b->source.n_rows, *memory_bytes, why);
        if (status != OMEN_OK)
            return status;
    }
    b->columns = b->read_columns ? b->read_columns : paths->columns;
    if (b->columns && omen_columns_row_count(b->columns) != b->source.n_rows)
        return omen_fail(why, OMEN_ERR_INPUT, "the columns are of %llu rows, the vectors of %llu",
                         (unsigned long long)omen_columns_row_count(b->columns), (unsigned long long)b->source.n_rows);
    const uint64_t n_bytes = omen_columns_bytes(b->columns);
    if (*memory_bytes > 0)
        *memory_bytes = *memory_bytes > n_bytes ? *memory_bytes - n_bytes : 1;
    return OMEN_OK;
}

int omen_file_build_plan(const omen_file_build *b, omen_detail *why)
{
    const omen_build_paths *paths = b->paths;
    omen_build_plan plan = {.struct_bytes = sizeof plan};
    const int status = omen_build_plan_make(&b->source, &b->options, true, &plan, why);

    if (status == OMEN_ERR_MEMORY)
        tell_kept(b, why);
    if (status != OMEN_OK)
        return status;
    plan.memory_bytes += b->options.n_parts * PART_BYTES;
    plan_keys(b, &plan);
    plan_columns(b->columns, &plan);
    if (paths->planned)
        paths->planned(paths->context, &plan);
    return check_room(paths, &plan, why);
}

static int write_columns(const omen_file_build *b, const omen_sink *sink, omen_detail *why)
{
    const omen_build_options *options = &b->options;
    omen_section perm;
    const int status = sink->map(sink->self, OMEN_SECTION_PERM, &perm, why);

    return status == OMEN_OK
               ? omen_columns_write(b->columns, &perm, sink, options->progress, options->progress_context, why)
               : status;
}

/* Builds and commits. */
static int build(omen_file_build *b, const omen_checkpoint *checkpoint, omen_build_report *report,
                 omen_build_outcome *outcome, omen_detail *why)
{
    const omen_build_options *options = &b->options;
    const omen_sink sink = omen_writer_sink(b->writer);
    int status = omen_index_build(&b->source, options, &sink, checkpoint, report, why);

    if (status == OMEN_OK && b->keys)
        status = omen_row_keys_write(b->keys, &sink, options->progress, options->progress_context, why);
    if (status == OMEN_OK && b->columns)
        status = write_columns(b, &sink, why);
    /* the last look before the file gets its name */
    if (status == OMEN_OK && options->progress && options->progress(options->progress_context, "calibrate", 1, 1) != 0)
        status = omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
    return status == OMEN_OK ? omen_writer_commit(b->writer, &outcome->file_bytes, why) : status;
}

int omen_file_build_part(omen_file_build *b, omen_part_kind kind, bool fresh, omen_detail *why)
{
    const omen_build_paths *paths = b->paths;
    const int status = omen_part_open_as(&b->part, paths->output, paths->checkpoint_directory, kind, fresh, why);

    if (status == OMEN_OK && !omen_part_has_locks(b->part) && paths->noted) {
        omen_detail text;
        snprintf(text.text, sizeof text.text,
                 "the file system of \"%.300s\" has no locks between processes: what is done goes with this one, if it "
                 "is stopped",
                 omen_part_path(b->part));
        paths->noted(paths->context, text.text);
    }
    return status;
}

void omen_file_build_leave(omen_part *part, int status, omen_build_outcome *outcome)
{
    const omen_checkpoint checkpoint = omen_part_checkpoint(part);

    /* Kept for what may go better next time; of what cannot, such as a bad row, nothing is left. */
    if (status == OMEN_OK || !omen_part_has_locks(part) ||
        ((status == OMEN_ERR_INPUT || status == OMEN_ERR_ARGUMENT) && omen_part_is_written(part))) {
        omen_part_remove(part);
    } else {
        outcome->needs_fresh = status == OMEN_ERR_INPUT || status == OMEN_ERR_ARGUMENT || status == OMEN_ERR_CORRUPT;
        outcome->can_continue = !outcome->needs_fresh && checkpoint.get(checkpoint.self, 1, &(omen_record){0});
    }
}

/* Opens the file that was written: it has to be an index, and says what it is. */
static int read_back(const omen_file_build *b, omen_index_info *info, double *recall_most, omen_detail *why)
{
    omen_container *container = NULL;
    omen_index *index = NULL;
    int status = omen_writer_open(b->writer, &container, why);

    if (status == OMEN_OK)
        status = omen_container_open_index(&container, &index, b->paths->output, UINT64_MAX, true, why);
    if (status == OMEN_OK && info)
        status = omen_index_get_info(index, info);
    if (status == OMEN_OK)
        omen_index_can_reach(index, REACH_K, REACH_RECALL, recall_most);
    if (status == OMEN_ERR_CORRUPT) {
        const omen_detail cause = why ? *why : (omen_detail){""};
        omen_fail(why, status, "\"%s\" is damaged: %.300s", b->paths->output,
                  cause.text[0] != '\0' ? cause.text : omen_error_text(status));
    }
    omen_index_close(index);
    omen_container_close(container);
    return status;
}

void omen_file_build_close(omen_file_build *b)
{
    omen_writer_destroy(b->writer);
    omen_scratch_files_close(&b->scratch_files);
    omen_row_keys_destroy(b->keys);
    omen_columns_destroy(b->read_columns);
    omen_vectors_close(b->tune_vectors);
    omen_vectors_close(b->vectors);
    free(b->parts);
}

/* records: what is merged; NULL: all is built, from the checkpoint beside the index on. A source that is known already
 * is not opened. */
static int run(omen_file_build *b, const omen_checkpoint *records, omen_build_report *report, omen_index_info *info,
               omen_build_outcome *outcome, omen_detail *why)
{
    const omen_build_paths *paths = b->paths;
    omen_checkpoint own;
    int status = b->source.n_rows > 0 ? OMEN_OK : omen_file_build_open(b, records, why);

    b->scratch_files = (omen_scratch_files){.path = paths->output, .directory = paths->checkpoint_directory};
    b->scratch = omen_scratch_files_of(&b->scratch_files);
    b->options.scratch = &b->scratch;
    if (status == OMEN_OK)
        status = open_keys(b, why);
    if (status == OMEN_OK)
        status = open_columns(b, why);
    if (status == OMEN_OK)
        status = omen_file_build_plan(b, why);
    if (status == OMEN_OK)
        status = omen_writer_create(&b->writer, paths->output, why);
    if (status == OMEN_OK && !records) {
        status = omen_file_build_part(b, OMEN_PART_CHECKPOINT, paths->fresh, why);
        if (status == OMEN_OK)
            own = omen_part_checkpoint(b->part);
    }
    if (status == OMEN_OK)
        status = build(b, records ? records : &own, report, outcome, why);
    if (b->part)
        omen_file_build_leave(b->part, status, outcome);
    omen_part_close(b->part);
    if (status == OMEN_OK)
        status = read_back(b, info, &outcome->recall_most, why);
    omen_file_build_close(b);
    return status;
}

int omen_index_build_file(const omen_build_paths *paths, const omen_build_options *options, omen_build_report *report,
                          omen_index_info *info, omen_build_outcome *outcome, omen_detail *why)
{
    omen_build_paths known;
    omen_build_outcome result;
    omen_file_build b = {.paths = &known};
    int status = omen_sized_take(&known, sizeof known, paths, "omen_build_paths", why);

    if (status == OMEN_OK)
        status = omen_sized_take(&b.options, sizeof b.options, options, "omen_build_options", why);
    if (status == OMEN_OK && outcome)
        status = omen_sized_take(&result, sizeof result, outcome, "omen_build_outcome", why);
    if (status == OMEN_OK && b.options.extent != OMEN_BUILD_ALL)
        status = omen_fail(why, OMEN_ERR_ARGUMENT, "a build by path is of all of an index");
    if (status != OMEN_OK)
        return status;
    result = (omen_build_outcome){.struct_bytes = sizeof result};
    status = run(&b, NULL, report, info, &result, why);
    if (outcome)
        omen_sized_give(outcome, &result);
    return status;
}

int omen_index_merge_records(const omen_build_paths *paths, const omen_build_options *options,
                             const omen_checkpoint *records, const omen_source *source, omen_build_report *report,
                             omen_index_info *info, omen_build_outcome *outcome, omen_detail *why)
{
    omen_file_build b = {.paths = paths, .options = *options};

    *outcome = (omen_build_outcome){.struct_bytes = sizeof *outcome};
    if (source)
        b.source = *source;
    return run(&b, records, report, info, outcome, why);
}
