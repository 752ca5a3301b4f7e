/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query: queries in, nearest neighbours out, in batches of bounded memory. */
#include "cmd/query_audit.h"
#include "cmd/query_batches.h"
#include "cmd/query_rows.h"
#include "cmd/query_self.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/results.h"

#define NAME "query"

/* What a run has open. Starts zeroed. */
struct work {
    struct cmd_query_outcome o;
    struct query_indexes indexes;
    const omen_index *index; /* the first of them; the only one where rows of it are the queries */
    omen_vectors *vectors;
    omen_vectors_stream *stream; /* of queries that are answered as they come; NULL: there is none */
    struct query_rows rows;
    struct query_checkpoint checkpoint; /* --self */
    omen_index_rows *self;              /* --self, where the recall is measured */
    const omen_row_set *set;            /* --self: the rows that search and are found; NULL: all */
    omen_source source;
    omen_results results;
    cmd_output output, distances; /* distances: a file beside the output */
    FILE *parts[2];               /* temporary, of what becomes an archive; or NULL */
    struct query_batches batches;
};

/* On a terminal results are progress enough, and would be written over; --json is all that is to be on stderr. */
static bool shows_progress(const struct query *q)
{
    return q->verbosity >= 0 && !q->json && (q->output_path || !isatty(STDOUT_FILENO));
}

/* ---- the whole ---- */

/* What the results may lack. */
static void take_note(const struct query *q, const omen_joint *joint, struct cmd_query_outcome *o)
{
    const bool asks_recall = q->search.lists.probes == 0 && q->search.rerank == 0;
    char share[48] = "";
    double ceiling;

    if (!o->exact || q->certify) {
        if (asks_recall)
            query_audit_warn(o);
        return;
    }
    if (omen_joint_rows_are_exact(joint))
        return;
    ceiling = omen_joint_ceiling(joint, NULL);
    if (ceiling < 0.9995) /* what three digits show */
        snprintf(share, sizeof share, ": recall@10 of %.3f, by estimate", ceiling);
    omen_fail(&o->note, OMEN_OK, "--exact is exact over the rows of refine %s, which are rounded%s",
              omen_refine_name(o->info.refine), share);
}

/* Whether queries of a stream can be answered before all of them are there. */
static bool can_stream(const struct query *q)
{
    return q->n_audit == 0 && !q->certify && !q->filter.where.file && !q->filter.where.tags &&
           !omen_results_writer_at(q->output_format)->has_counts;
}

/* Opens queries that are vectors. */
static int open_vectors(const struct query *q, struct work *w, omen_detail *why)
{
    const uint32_t index_d = w->o.info.d;
    int status = can_stream(q)
                     ? cmd_open_stream(&w->stream, &w->vectors, q->queries_path, q->format, q->d, index_d, why)
                     : cmd_open_rows(&w->vectors, q->queries_path, q->format, q->d, index_d, why);

    if (status != OMEN_OK)
        return status;
    w->source = w->stream ? (omen_source){.d = omen_vectors_stream_dim(w->stream)} : omen_vectors_source(w->vectors);
    return w->source.d == index_d
               ? OMEN_OK
               : omen_fail(why, OMEN_ERR_INPUT, "queries have %u dimensions, the index has %u", w->source.d, index_d);
}

/* Opens the queries: vectors of a file or a stream, or rows of the index. */
static int open_queries(struct query *q, struct work *w, omen_detail *why)
{
    const char *path = q->by_key ? q->by_key : q->by_row;
    const omen_index_info *info = &w->o.info;
    int status;

    if (!path)
        return open_vectors(q, w, why);
    if (info->refine == OMEN_REFINE_NONE) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%s needs a refine tier, and the index was built without one",
                         q->by_key ? "--by-key" : "--by-row");
    }
    if (q->by_key && info->key_kind == OMEN_KEYS_NONE) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "the index has no keys: name rows by number with --by-row, or give "
                         "it keys with omendb attach");
    }
    status = query_rows_open(&w->rows, w->index, path, q->by_key ? QUERY_ROWS_KEYS : QUERY_ROWS_NUMBERS, why);
    if (status == OMEN_OK)
        w->source = omen_index_rows_source(w->rows.rows);
    /* what the index accepted as a row is accepted as a query */
    q->search.zero_ok |= info->zero_ok;
    return cmd_name_damage(q->indexes.paths[0], status, why);
}

/* Makes labels, and fails if the results should hold keys or row numbers that the format cannot. */
static int check_names(const struct query *q, struct query_indexes *indexes, const omen_index_info *info,
                       omen_detail *why)
{
    const omen_results_writer *writer = omen_results_writer_at(q->output_format);
    const int status = q->label ? query_indexes_label(indexes, why) : OMEN_OK;

    if (status != OMEN_OK)
        return status;
    if (info->key_kind == OMEN_KEYS_TEXT && !q->rows && !writer->has_text) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "%s cannot hold text, which the keys of the index are: use --output-format %s, or --rows for "
                         "row numbers",
                         writer->name, cmd_choice("", query_format_with_text).text);
    }
    if (q->row_offset > 0 && info->key_kind != OMEN_KEYS_NONE && !q->rows) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "--row-offset is added to row numbers, and keys are written: add --rows for numbers");
    }
    if (q->row_offset > 0 && q->row_offset + info->n_rows - 1 > (uint64_t)writer->most_id) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "%s holds rows up to %lld, and the last is %llu with --row-offset: use --output-format %s",
                         writer->name, (long long)writer->most_id,
                         (unsigned long long)(q->row_offset + info->n_rows - 1), omen_results_name(OMEN_RESULTS_NPY));
    }
    return q->rows ? OMEN_OK : query_indexes_check_keys(indexes, info, q->verbosity < 0, why);
}

/* --self: finds the set of rows that search and are found, NULL for all, and opens them where their recall is measured;
 * source then only counts them. */
static int open_self(struct query *q, const omen_index *index, const omen_index_info *info, struct query_filter *filter,
                     const omen_row_set **set, omen_index_rows **rows, omen_source *source, omen_detail *why)
{
    int status = OMEN_OK;

    if (info->refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "--self needs a refine tier, and the index was built without one");
    q->search.zero_ok |= info->zero_ok;
    if (filter)
        status = query_filter_fill(filter, NULL, 0, 1, q->search.n_threads, set, why);
    if (status == OMEN_OK && (q->n_audit > 0 || q->certify))
        status = omen_index_rows_open_set(rows, index, *set, why);
    if (status != OMEN_OK)
        return cmd_name_damage(q->indexes.paths[0], status, why);
    *source = *rows ? omen_index_rows_source(*rows)
                    : (omen_source){.n_rows = *set ? omen_row_set_count(*set) : info->n_rows, .d = info->d};
    return OMEN_OK;
}

/* Opens the queries, and what they may find. */
static int open_all(struct query *q, struct work *w, omen_detail *why)
{
    const omen_index_info *info = &w->o.info;
    int status = OMEN_OK;

    w->o.has_filter = query_filter_is_asked(&q->filter);
    if (!q->self)
        status = open_queries(q, w, why);
    if (status == OMEN_OK && w->o.has_filter) {
        q->filter.by_key = info->key_kind != OMEN_KEYS_NONE && !q->rows;
        cmd_memory_keep();
        status = query_indexes_filter(&w->indexes, &q->filter, q->self ? info->n_rows : w->source.n_rows, why);
    }
    if (status == OMEN_OK && q->self)
        status = open_self(q, w->index, info, w->indexes.filters, &w->set, &w->self, &w->source, why);
    return status;
}

/* Opens the indexes, and refuses what they cannot do. */
static int open_indexes(struct query *q, struct work *w, omen_detail *why)
{
    int status = omen_cpu_select(q->cpu, why);

    if (status != OMEN_OK)
        return status;
    q->search.n_threads = cmd_threads(q->verbosity < 0 || q->json ? NULL : NAME, q->search.n_threads);
    status = query_indexes_open(&w->indexes, &q->indexes, !q->no_check, &w->o.info, why);
    if (status != OMEN_OK)
        return status;
    w->index = w->indexes.indexes[0];
    q->search.refine_cold = w->o.info.refine_bytes > cmd_memory_bytes() / 2;
    if (w->o.info.refine == OMEN_REFINE_NONE && (q->search.exact || (q->n_audit > 0 && !q->certify))) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "--%s needs a refine tier, and the index was built without one",
                         q->search.exact ? "exact" : "audit");
    }
    return OMEN_OK;
}

/* How much is searched for: of an index with fewer rows, all, and results then have so many columns. */
static void choose_k(struct query *q, struct work *w)
{
    const uint32_t n_rows = (uint32_t)w->o.info.n_rows;

    if (q->search.has_within)
        w->o.k = 0;
    else if (q->self) /* the library adds the row itself */
        w->o.k = q->search.k < n_rows ? q->search.k : n_rows - 1;
    else {
        q->search.k += q->exclude_self;
        q->search.k = q->search.k < n_rows ? q->search.k : n_rows;
        w->o.k = q->search.k - q->exclude_self;
    }
    w->o.has_within = q->search.has_within;
    w->o.n_threads = q->search.n_threads;
    w->o.n_in_batch = w->source.n_rows;
    w->o.asked = (double)(q->search.recall > 0 ? q->search.recall : OMEN_DEFAULT_RECALL);
    q->seed = q->has_seed ? q->seed : w->o.info.seed;
    q->n_audit = q->certify && q->n_audit == 0 ? QUERY_AUDIT_SAMPLE : q->n_audit;
}

/* Chooses the way, for all batches alike and for what is audited. */
static int choose_way(struct query *q, struct work *w, omen_detail *why)
{
    const bool by_lists = q->self && !q->search.has_within && !q->search.exact && q->search.way == OMEN_SEARCH_AUTO;
    int status;

    w->o.n_indexes = w->indexes.n;
    q->search.row_sets = w->batches.sets;
    if (by_lists)
        q->search.way = OMEN_SEARCH_LISTS;
    /* of a stream it is not known how many there will be, and they may come one by one */
    status = omen_joint_choose_way(w->indexes.joint, &q->search, w->stream ? 1 : w->source.n_rows, &w->o.choice, why);
    if (status != OMEN_OK)
        return status;
    if (by_lists)
        w->o.choice.reason = "rows of the index go through them";
    /* else each filter has its own */
    if (!w->o.has_filter || w->o.choice.way != OMEN_SEARCH_LISTS || by_lists || w->indexes.n > 1)
        q->search.way = w->o.choice.way;
    q->search.exact = w->o.exact = w->o.choice.way == OMEN_SEARCH_EXACT;
    return OMEN_OK;
}

static int search_self(const struct query *q, struct work *w, const omen_index *keys, omen_detail *why)
{
    /* once more: to measure the recall may have given up the set */
    int status = w->o.has_filter ? query_filter_fill(w->indexes.filters, NULL, 0, 1, q->search.n_threads, &w->set, why)
                                 : OMEN_OK;
    const struct query_self run = {.index_path = q->indexes.paths[0],
                                   .index = w->index,
                                   .search = &q->search,
                                   .set = w->set,
                                   .pairs = q->pairs,
                                   .keys = keys,
                                   .row_offset = q->row_offset,
                                   .results = &w->results,
                                   .is_quiet = q->verbosity < 0,
                                   .shows_progress = shows_progress(q),
                                   .output = w->output.file.temporary ? q->output_path : NULL,
                                   .fresh = q->fresh,
                                   .chunk_rows = q->chunk_rows,
                                   .index_checksum = omen_container_checksum(w->indexes.containers[0]),
                                   .checkpoint = &w->checkpoint};

    if (status == OMEN_OK)
        status = query_self_run(&run, &w->o, why);
    return status;
}

/* Puts the name of the output in front of what is said of a stream, and that of the queries behind the number of one
 * that cannot be searched for. */
static void name_file(const struct query *q, int status, omen_detail *why)
{
    static const char of_stream[] = "cannot write the results";
    omen_detail cause = *why;
    unsigned long long number;
    int n = 0;

    if (status == OMEN_ERR_INPUT && q->queries_path && !cmd_is_stream(q->queries_path) &&
        sscanf(cause.text, "query %llu is %n", &number, &n) == 1 && n > 0)
        omen_fail(why, status, "query %llu of \"%.200s\" is %.250s", number, q->queries_path, cause.text + n);
    if (status == OMEN_ERR_IO && q->output_path && strncmp(cause.text, of_stream, sizeof of_stream - 1) == 0)
        omen_fail(why, status, "\"%.200s\": %.300s", q->output_path, cause.text);
}

/* Before the batch: finds the effort of --certify. */
static int certify(struct query *q, struct work *w, omen_detail *why)
{
    struct query_audit audit = {.n_sample = 0};
    const int status =
        query_certify(&audit, &w->indexes, &w->source, &q->search, w->self, q->seed, q->n_audit, &w->o, why);

    query_audit_finish(&audit);
    return status;
}

/* After it: measures what --audit asks for. */
static int measure(const struct query *q, struct work *w, omen_detail *why)
{
    struct query_audit audit = {.n_sample = 0};
    int status = query_audit_begin(&audit, &w->indexes, &w->source, &q->search, w->self, q->seed, q->n_audit, why);

    if (status == OMEN_OK)
        status = query_audit_measure(&audit, &q->search, &w->o.recall, why);
    w->o.n_audited = audit.n_true > 0 ? audit.n_sample : 0;
    w->o.ceiling = audit.ceiling;
    query_audit_finish(&audit);
    return status;
}

/* Finds, and measures the recall where it is asked for. */
static int search(struct query *q, struct work *w, omen_detail *why)
{
    struct cmd_query_outcome *o = &w->o;
    double started = cmd_seconds();
    int status = OMEN_OK;

    if (q->certify)
        status = certify(q, w, why);
    query_lap(&started, &o->audit_seconds);
    o->effort_factor = q->search.effort_factor > 0 ? q->search.effort_factor : 1;
    if (status == OMEN_OK && q->self)
        status = search_self(q, w, w->batches.by_key ? w->index : NULL, why);
    else if (status == OMEN_OK)
        status = query_batches_run(&w->batches, o, why);
    if (status == OMEN_OK && q->n_audit > 0 && !q->certify) {
        started = cmd_seconds();
        status = measure(q, w, why);
        query_lap(&started, &o->audit_seconds);
    }
    return status;
}

/* What people are told on stderr. */
static void tell(const struct query *q, const struct work *w)
{
    const struct cmd_query_outcome *o = &w->o;

    if (o->n_short > 0 && q->verbosity >= 0) {
        cmd_say(NAME, "%s of %s queries found fewer than %u rows: no more match", cmd_group(o->n_short).text,
                cmd_group(o->n_in_batch).text, o->k);
    }
    if (q->verbosity > 0)
        cmd_query_summary(o);
    if (o->n_cut > 0 && q->verbosity >= 0) {
        cmd_say(NAME, "%s of %s queries found more than %s rows, of which the nearest were written (--limit)",
                cmd_group(o->n_cut).text, cmd_group(o->n_in_batch).text, cmd_group(q->search.limit).text);
    }
    if (q->pairs && q->verbosity > 0)
        fprintf(stderr, "  pairs    %s\n", cmd_group(o->n_pairs).text);
    if (q->self && q->verbosity >= 0 && !omen_index_rows_are_exact(w->index))
        cmd_say(NAME, "the queries are rows of refine %s, which are rounded", omen_refine_name(o->info.refine));
    query_audit_print(o);
    if (o->note.text[0] != '\0' && (q->verbosity >= 0 || o->certified == CMD_CERTIFIED_NO))
        cmd_say(NAME, "%s%s", o->exact || q->certify ? "" : "warning: ", o->note.text);
}

/* A temporary that is written and then read. */
static int open_part(FILE **out, omen_detail *why)
{
    int fd;
    const int status = omen_spool_open("the results", &fd, why);

    if (status != OMEN_OK)
        return status;
    *out = fdopen(fd, "w+");
    if (*out)
        return OMEN_OK;
    omen_fail(why, OMEN_ERR_IO, "cannot write the temporary copy of the results: %s", strerror(errno));
    const bool has_no_memory = errno == ENOMEM;
    close(fd);
    return has_no_memory ? OMEN_ERR_MEMORY : OMEN_ERR_IO;
}

static int close_parts(struct work *w, omen_detail *why)
{
    int status = OMEN_OK;

    for (int i = 0; i < 2; i++) {
        if (w->parts[i] && fclose(w->parts[i]) != 0)
            status = omen_fail(why, OMEN_ERR_IO, "cannot write the temporary copy of the results: %s", strerror(errno));
        w->parts[i] = NULL;
    }
    return status;
}

static int run(struct query *q)
{
    struct work w = {.o = {.exact = q->search.exact,
                           .stats.struct_bytes = sizeof w.o.stats,
                           .choice.struct_bytes = sizeof w.o.choice,
                           .ceiling = 1}};
    omen_detail why = {.text = ""};
    cmd_progress opening;
    double started = cmd_seconds();
    int status;

    cmd_progress_init(&opening, shows_progress(q) ? 0 : -1);
    cmd_progress_update(&opening, "open", 0, 0);
    cmd_signals_exit(NAME, !q->output_path ? "interrupted"
                           : q->self       ? "interrupted; nothing was written; the same command continues from its "
                                             "checkpoint, if there is one"
                                           : "interrupted; nothing was written");
    status = open_indexes(q, &w, &why);
    if (status == OMEN_OK)
        status = check_names(q, &w.indexes, &w.o.info, &why);
    if (status == OMEN_OK)
        status = open_all(q, &w, &why);
    cmd_progress_clear(&opening);
    if (status != OMEN_OK)
        goto out;
    choose_k(q, &w);
    w.batches = (struct query_batches){.q = q,
                                       .indexes = &w.indexes,
                                       .stream = w.stream,
                                       .source = w.source,
                                       .d = w.o.info.d,
                                       .numbers = w.rows.n > 0 ? w.rows.numbers : NULL,
                                       .results = &w.results,
                                       .by_key = w.o.info.key_kind != OMEN_KEYS_NONE && !q->rows,
                                       .shows_progress = shows_progress(q)};
    if (!q->self)
        status =
            query_batches_init(&w.batches, w.stream ? UINT64_MAX : w.source.n_rows, w.o.has_filter ? w.indexes.n : 0);
    if (status == OMEN_OK)
        status = choose_way(q, &w, &why);
    if (status == OMEN_OK)
        status = cmd_output_open(&w.output, q->output_path, NULL, &why);
    if (status == OMEN_OK && q->distances_path)
        status = cmd_output_open(&w.distances, q->distances_path, NULL, &why);
    if (status != OMEN_OK)
        goto out;
    const bool is_archive = omen_results_writer_at(q->output_format)->is_archive;
    for (int i = 0; i < 1 + q->distances && is_archive && status == OMEN_OK; i++)
        status = open_part(&w.parts[i], &why);
    if (status != OMEN_OK)
        goto out;
    w.results = (omen_results){.stream = is_archive ? w.parts[0] : w.output.stream,
                               .format = q->output_format,
                               .with_distances = q->distances,
                               .n_queries = w.source.n_rows,
                               .k = w.o.k,
                               .with_header = q->header,
                               .distances = is_archive ? w.parts[1] : w.distances.stream};
    w.o.open_seconds = cmd_seconds() - started;
    status = search(q, &w, &why);
    if (status == OMEN_OK && is_archive)
        status = omen_results_pack(&w.results, w.batches.by_key, w.output.stream, &why);
    if (status == OMEN_OK)
        status = close_parts(&w, &why);
    name_file(q, status, &why);
    if (status == OMEN_OK) {
        if (!q->search.has_within || q->search.exact)
            take_note(q, w.indexes.joint, &w.o);
        query_audit_mind_nothing(&w.o, q->n_audit > 0);
        started = cmd_seconds();
        status = q->distances_path ? cmd_output_commit(&w.distances, &why) : OMEN_OK;
        if (status == OMEN_OK)
            status = cmd_output_commit(&w.output, &why);
        query_lap(&started, &w.o.write_seconds);
    }
    if (status == OMEN_OK)
        query_checkpoint_remove(&w.checkpoint);
    if (status == OMEN_OK && q->explain)
        status = query_filter_explain(w.indexes.filters, &q->search, &w.o, &why);
    if (status == OMEN_OK && !q->json)
        tell(q, &w);

out:
    query_checkpoint_finish(&w.checkpoint, status, &why);
    cmd_output_close(&w.output);
    cmd_output_close(&w.distances);
    close_parts(&w, NULL);
    query_batches_finish(&w.batches);
    omen_vectors_close(w.vectors);
    omen_vectors_stream_close(w.stream);
    query_rows_finish(&w.rows);
    omen_index_rows_close(w.self);
    query_indexes_finish(&w.indexes);
    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    if (q->json)
        status = cmd_query_json(&w.o);
    return status == CMD_EXIT_OK && w.o.certified == CMD_CERTIFIED_NO ? QUERY_EXIT_UNREACHED : status;
}

int cmd_query(int argc, char **argv)
{
    struct query q = {.output_format = OMEN_RESULTS_TSV};
    int status;

    omen_search_options_init(&q.search);
    status = query_arguments_parse(&q, argc, argv);
    if (status == CMD_GO_ON)
        status = run(&q);
    query_arguments_finish(&q);
    return status;
}
