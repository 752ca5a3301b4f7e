/* SPDX-License-Identifier: Apache-2.0 */
/* Writes what queries have found: rows become names, missing ones are minded, and a format writes each query. */
#include "formats/results.h"

#include <inttypes.h>
#include <stdlib.h>

/* What rows are called: nothing but their numbers, or by an index or several of them. */
typedef struct {
    const omen_index *index; /* whose keys are written, or NULL */
    const omen_joint *joint; /* in its place */
    bool with_keys;          /* of the joint */
    const char *const *labels;
} naming;

/* Whether rows are called by more than their numbers. */
static bool has_names(const naming *by)
{
    return by->index || by->with_keys || by->labels;
}

/* The name of a row; *label gets its label, or NULL. */
static int name_row(const naming *by, uint64_t row, omen_row_key *out, const char **label, omen_detail *why)
{
    uint64_t own_row = row;
    *label = NULL;
    if (by->index)
        return omen_index_key_of(by->index, row, out, why);
    if (by->labels)
        *label = by->labels[omen_joint_find(by->joint, row, &own_row)];
    if (by->with_keys)
        return omen_joint_key_of(by->joint, row, out, why);
    *out = (omen_row_key){.kind = OMEN_KEYS_UINT64, .number = own_row};
    return OMEN_OK;
}

/* Fills *info for what has the names that are written, and checks that the format can hold them. */
static int open_names(const omen_results *results, const naming *by, omen_index_info *info, omen_detail *why)
{
    const omen_results_writer *writer = omen_results_writer_at(results->format);
    info->struct_bytes = sizeof *info;
    int status = by->index ? omen_index_get_info(by->index, info) : omen_joint_get_info(by->joint, info);
    if (status != OMEN_OK)
        return status;
    if (by->labels && writer->is_binary)
        return omen_fail(why, OMEN_ERR_INPUT, "%s holds no labels", writer->name);
    if (by->labels && !by->with_keys)
        return OMEN_OK;
    if (info->key_kind == OMEN_KEYS_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         by->index ? "the index has no keys to write"
                                   : "not all indexes have keys of one kind to write");
    if (info->key_kind == OMEN_KEYS_TEXT && !writer->has_text)
        return omen_fail(why, OMEN_ERR_INPUT, "%s holds no text, which the keys of the index are", writer->name);
    return OMEN_OK;
}

/* Whether a key is the number that stands for a missing row. */
static int check_missing(const omen_results *results, const naming *by, omen_key_kind kind, omen_detail *why)
{
    const omen_results_writer *writer = omen_results_writer_at(results->format);
    const omen_row_key missing = {.kind = kind, .number = (uint64_t)OMEN_NO_ROW};
    int64_t row = OMEN_NO_ROW;
    if (!writer->has_fixed_fields || kind == OMEN_KEYS_TEXT)
        return OMEN_OK;
    const int status = by->index ? omen_index_row_of_key(by->index, &missing, &row, why)
                                 : omen_joint_row_of_key(by->joint, &missing, &row, why);
    if (status != OMEN_OK || row == OMEN_NO_ROW)
        return status;
    return omen_fail(why, OMEN_ERR_INPUT,
                     "row %" PRId64 " has the key that %s writes for rows that are missing: use tsv or jsonl", row,
                     writer->name);
}

static int begin(const omen_results *results, const naming *by, omen_detail *why)
{
    const omen_results_writer *writer = omen_results_writer_at(results->format);
    omen_index_info info;
    int status = has_names(by) ? open_names(results, by, &info, why) : OMEN_OK;
    if (status == OMEN_OK && has_names(by))
        status = check_missing(results, by, info.key_kind, why);
    const bool has_keys = by->index || by->with_keys;
    return status == OMEN_OK && writer->begin ? writer->begin(results, has_keys ? &info : NULL, why) : status;
}

int omen_results_begin_keys(const omen_results *results, const omen_index *index, omen_detail *why)
{
    const naming by = {.index = index};
    return begin(results, &by, why);
}

int omen_results_begin_joint(const omen_results *results, const omen_joint *joint, bool with_keys,
                             const char *const *labels, omen_detail *why)
{
    const naming by = {.joint = joint, .with_keys = with_keys, .labels = labels};
    return begin(results, &by, why);
}

/* What is to be written: n queries. */
typedef struct {
    const omen_results *results;
    naming by;
    uint64_t first;          /* the number of the first query, where rows is NULL */
    const int64_t *rows;     /* the queries are these rows */
    const uint64_t *offsets; /* query i has ids and distances from here on, to the next offset; NULL: k of them each */
    const int64_t *ids;
    const float *distances; /* or NULL */
    omen_index_info info;   /* of what has the names */
} written;

/* Query i of them, without its keys. */
static omen_results_found found_of(const written *w, uint64_t i)
{
    const uint32_t k = w->results->k;
    const uint64_t at = w->offsets ? w->offsets[i] : i * k;
    return (omen_results_found){.query = w->rows ? (uint64_t)w->rows[i] : w->first + i,
                                .n = w->offsets ? (uint32_t)(w->offsets[i + 1] - at) : omen_found_count(w->ids + at, k),
                                .k = k,
                                .ids = w->ids + at,
                                .names_are_rows = w->by.labels && !w->by.with_keys,
                                .key_kind = w->info.key_kind,
                                .key_most_bytes = w->info.key_most_bytes,
                                .distances = w->distances ? w->distances + at : NULL};
}

/* Looks at what is to be written for one query: numbers that the format does not hold, keys that cannot be read. */
static int check_query(const written *w, uint64_t i, omen_detail *why)
{
    const omen_results_writer *writer = omen_results_writer_at(w->results->format);
    const omen_results_found found = found_of(w, i);
    const bool is_named = has_names(&w->by);
    const char *label;
    omen_row_key key;
    int status = is_named && w->rows ? name_row(&w->by, found.query, &key, &label, why) : OMEN_OK;
    for (uint32_t j = 0; j < found.n && status == OMEN_OK; j++) {
        key = (omen_row_key){.kind = OMEN_KEYS_INT64, .number = (uint64_t)found.ids[j]};
        if (is_named)
            status = name_row(&w->by, (uint64_t)found.ids[j], &key, &label, why);
        const int64_t number = (int64_t)key.number;
        if (status != OMEN_OK || key.kind == OMEN_KEYS_TEXT || writer->most_id == INT64_MAX)
            continue;
        if (number > writer->most_id || number < -writer->most_id - 1 || (key.kind == OMEN_KEYS_UINT64 && number < 0)) {
            return omen_fail(why, OMEN_ERR_INPUT,
                             "query %" PRIu64 " found %srow %" PRId64 ", beyond the int32 ids of %s: use npy",
                             found.query, is_named ? "the key of " : "", found.ids[j], writer->name);
        }
    }
    return status;
}

/* What writing a query works with: room for its keys, and one more, and for its labels. */
typedef struct {
    omen_row_key *keys;
    const char **labels;
} names_room;

/* One query, with its names. */
static int write_query(const written *w, uint64_t i, const names_room *room, omen_results_buffer *out,
                       omen_results_buffer *beside, omen_detail *why)
{
    omen_results_found found = found_of(w, i);
    omen_row_key *keys = room->keys;
    const char *label;
    int status = OMEN_OK;
    if (keys && w->rows) {
        status = name_row(&w->by, found.query, keys + found.n, &label, why);
        found.query_key = keys + found.n;
    }
    for (uint32_t j = 0; j < found.n && keys && status == OMEN_OK; j++)
        status = name_row(&w->by, (uint64_t)found.ids[j], &keys[j], &room->labels[j], why);
    found.keys = keys;
    found.labels = w->by.labels ? room->labels : NULL;
    if (status == OMEN_OK)
        omen_results_writer_at(w->results->format)->write(out, &found);
    if (status == OMEN_OK && beside->stream)
        omen_results_put_beside(beside, &found, w->results->format == OMEN_RESULTS_IVECS);
    return status;
}

static int write_queries(written *w, uint64_t n, omen_detail *why)
{
    const omen_results_writer *writer = omen_results_writer_at(w->results->format);
    const bool has_limit = writer->most_id < INT64_MAX, is_named = has_names(&w->by);
    uint64_t most = w->results->k;
    names_room room = {NULL, NULL};
    omen_results_buffer out, beside;
    int status = is_named ? open_names(w->results, &w->by, &w->info, why) : OMEN_OK;

    if (!w->results->with_distances)
        w->distances = NULL;
    else if (!w->distances && writer->has_fixed_fields && (writer->has_distances || w->results->distances) &&
             status == OMEN_OK)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the %s output announced distances and got none", writer->name);
    for (uint64_t i = 0; i < n && (is_named || has_limit) && status == OMEN_OK; i++)
        status = check_query(w, i, why);
    if (status != OMEN_OK)
        return status;
    for (uint64_t i = 0; i < n && w->offsets; i++)
        most = w->offsets[i + 1] - w->offsets[i] > most ? w->offsets[i + 1] - w->offsets[i] : most;
    const bool has_beside = (writer->beside || writer->is_archive) && w->distances;
    const int begun = omen_results_buffer_init(&out, w->results->stream),
              begun_beside = omen_results_buffer_init(&beside, has_beside ? w->results->distances : NULL);
    if (is_named) {
        room.keys = malloc((most + 1) * sizeof *room.keys);
        room.labels = malloc((most + 1) * sizeof *room.labels);
    }
    if (begun != OMEN_OK || begun_beside != OMEN_OK || (is_named && (!room.keys || !room.labels)))
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the results");
    for (uint64_t i = 0; i < n && !out.failed && !beside.failed && status == OMEN_OK; i++)
        status = write_query(w, i, &room, &out, &beside, why);
    free(room.keys);
    free(room.labels);
    const int flushed = omen_results_buffer_finish(&out, why),
              flushed_beside = omen_results_buffer_finish(&beside, why);
    return status != OMEN_OK ? status : flushed != OMEN_OK ? flushed : flushed_beside;
}

/* What was found within a distance; formats with the same number of results for every query hold no more. */
static int write_found(written *w, const omen_found *found, omen_detail *why)
{
    const omen_results *results = w->results;
    const bool is_fixed = omen_results_writer_at(results->format)->has_fixed_fields;
    for (uint64_t i = 0; i < found->n_queries && is_fixed; i++)
        if (found->first[i + 1] - found->first[i] > results->k)
            return omen_fail(why, OMEN_ERR_ARGUMENT, "%s holds %u results a query, not as many as there are",
                             omen_results_writer_at(results->format)->name, results->k);
    w->offsets = found->first;
    w->ids = found->ids;
    w->distances = found->distances;
    return write_queries(w, found->n_queries, why);
}

int omen_results_write_keys(const omen_results *results, const omen_index *index, uint64_t first, uint64_t n,
                            const int64_t *ids, const float *distances, omen_detail *why)
{
    written w = {.results = results, .by = {.index = index}, .first = first, .ids = ids, .distances = distances};
    return write_queries(&w, n, why);
}

int omen_results_write_joint(const omen_results *results, const omen_joint *joint, bool with_keys,
                             const char *const *labels, uint64_t first, uint64_t n, const int64_t *ids,
                             const float *distances, omen_detail *why)
{
    written w = {.results = results,
                 .by = {.joint = joint, .with_keys = with_keys, .labels = labels},
                 .first = first,
                 .ids = ids,
                 .distances = distances};
    return write_queries(&w, n, why);
}

int omen_results_write_found(const omen_results *results, const omen_index *index, uint64_t first, const int64_t *rows,
                             const omen_found *found, omen_detail *why)
{
    written w = {.results = results, .by = {.index = index}, .first = first, .rows = rows};
    return write_found(&w, found, why);
}

int omen_results_write_found_joint(const omen_results *results, const omen_joint *joint, bool with_keys,
                                   const char *const *labels, uint64_t first, const omen_found *found, omen_detail *why)
{
    written w = {.results = results, .by = {.joint = joint, .with_keys = with_keys, .labels = labels}, .first = first};
    return write_found(&w, found, why);
}

int omen_results_begin(const omen_results *results, omen_detail *why)
{
    return omen_results_begin_keys(results, NULL, why);
}

int omen_results_write(const omen_results *results, uint64_t first, uint64_t n, const int64_t *ids,
                       const float *distances, omen_detail *why)
{
    return omen_results_write_keys(results, NULL, first, n, ids, distances, why);
}
