/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query: its options, and what cannot go together. */
#include "cmd/options.h"
#include "cmd/query.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/results.h"

#define NAME "query"

#define DEFAULT_K 10u

/* An integer of at least 1, told of as -k. */
static bool take_k(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct query *q = self;
    uint64_t number;

    if (!cmd_parse_integer(command, "-k", value, option->least, option->most, &number))
        return false;
    q->search.k = (uint32_t)number;
    q->has_k = true;
    return true;
}

static bool take_output_format(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct query *q = self;

    if (omen_results_parse(value, &q->output_format) != OMEN_OK)
        return cmd_refuse_value(command, option, value);
    q->has_output_format = true;
    return true;
}

static bool take_seed(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct query *q = self;

    q->has_seed = true;
    return cmd_take_u64(command, option, value, self);
}

/* A distance of the metric, of any sign. */
static bool take_within(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct query *q = self;
    char *end;

    q->search.within = strtof(value, &end);
    q->search.has_within = true;
    if (end != value && *end == '\0' && isfinite(q->search.within))
        return true;
    cmd_say(command, "--within takes a distance, such as --distances prints, not \"%s\"", value);
    return false;
}

/* Names of the formats that hold distances. */
static const char *name_with_distances(size_t i)
{
    const omen_results_writer *writer;

    for (size_t at = 0; (writer = omen_results_writer_at(at)) != NULL; at++)
        if ((writer->has_distances || writer->is_archive) && i-- == 0)
            return writer->name;
    return NULL;
}

/* Names of those that hold any number of results a query. */
static const char *name_of_any_length(size_t i)
{
    const omen_results_writer *writer;

    for (size_t at = 0; (writer = omen_results_writer_at(at)) != NULL; at++)
        if (!writer->has_fixed_fields && i-- == 0)
            return writer->name;
    return NULL;
}

/* Names of those that hold text. */
const char *query_format_with_text(size_t i)
{
    const omen_results_writer *writer;

    for (size_t at = 0; (writer = omen_results_writer_at(at)) != NULL; at++)
        if (writer->has_text && i-- == 0)
            return writer->name;
    return NULL;
}

/* For --help. */
static const char *output_formats(void)
{
    static cmd_name names;

    names = cmd_choice("", omen_results_name);
    return names.text;
}

static void print_output_formats(void)
{
    const omen_results_writer *writer;

    printf("output formats:\n");
    for (size_t i = 0; (writer = omen_results_writer_at(i)) != NULL; i++)
        printf("  %-6s %s\n", writer->name, writer->help);
}

static const cmd_option options[] = {
    {.group = "search",
     .letters = "k",
     .name = "neighbors",
     .argument = "N",
     .take = take_k,
     .least = 1,
     .most = INT32_MAX,
     .usual = DEFAULT_K,
     .help = "rows to find for each query (default %d; all if the index has fewer)"},
    {.name = "within",
     .argument = "D",
     .take = take_within,
     .help = "find all rows at most D away instead, nearest first"},
    {.name = "limit",
     .argument = "N",
     CMD_U64(struct query, search.limit, 1, INT32_MAX),
     .help = "with --within: at most N rows for each query, the nearest (default: all)"},
    {.name = "recall",
     .argument = "R",
     CMD_SHARE(struct query, search.recall),
     .help = "share of the true nearest rows to find, over 0 up to 1 (default 0.95);\n"
             "the build measured which effort that takes"},
    {.name = "probes",
     .argument = "N",
     CMD_U32(struct query, search.lists.probes, 1, INT32_MAX),
     .help = "lists to scan, the same for every query (default: what --recall takes\n"
             "for each query)"},
    {.name = "rerank",
     .argument = "N",
     CMD_U32(struct query, search.rerank, 1, INT32_MAX),
     .help = "candidates to re-rank, the same for every query (default: likewise)"},
    {.name = "effort-factor",
     .argument = "F",
     CMD_FACTOR(struct query, search.effort_factor),
     .help = "multiply the effort that --recall takes, as --certify says"},
    {.name = "way",
     .argument = "NAME",
     CMD_WAY(struct query, search.way),
     .help = "through the index: lists, graph (of an index built with --graph), exact\n"
             "or auto (default auto: lists or graph, whichever was measured to cost\n"
             "less for this recall and so many queries)"},
    {.name = "exact",
     CMD_FLAG(struct query, search.exact),
     .help = "compare with every row of the refine tier, as --way exact"},
    {.name = "zero-ok",
     CMD_FLAG(struct query, search.zero_ok),
     .help = "cosine: accept zero queries (default: an error), at distance 1"},
    {.name = "no-check",
     CMD_FLAG(struct query, no_check),
     .help = "do not compare what is read of INDEX with its checksums"},

    CMD_OPTIONS_FILTER(struct query, filter),
    {.name = "explain",
     CMD_FLAG(struct query, explain),
     .help = "print on stderr how many rows each filter has and how they are\n"
             "searched"},

    {.group = "recall",
     .name = "audit",
     .argument = "N",
     CMD_U64(struct query, n_audit, 1, INT32_MAX),
     .help = "search N of the queries exactly too, and print the recall on stderr"},
    {.name = "certify",
     CMD_FLAG(struct query, certify),
     .help = "raise the effort until the recall, measured so (N: 400), is at least\n"
             "--recall, and exit 1 if it cannot be"},
    {.name = "seed",
     .argument = "N",
     .take = take_seed,
     .offset = CMD_OFFSET(struct query, seed, uint64_t),
     .most = UINT64_MAX,
     .help = "chooses the N queries (default: the seed of the index)"},

    {.group = "input and output",
     .letters = "f",
     .name = "format",
     CMD_OPTION_FORMAT(struct query, format, "QUERIES") ", one of\n",
     .names = omen_vectors_formats},
    {.letters = "d",
     CMD_OPTION_DIM(struct query, d),
     .help = "dimensions of a query (default for raw: those of the index)"},
    {.name = "by-key",
     .argument = "FILE",
     CMD_TEXT(struct query, by_key),
     .help = "instead of QUERIES: rows of INDEX, named by their keys, one a line\n"
             "(\"-\": standard input)"},
    {.name = "by-row", .argument = "FILE", CMD_TEXT(struct query, by_row), .help = "the same, by their numbers"},
    {.name = "self",
     CMD_FLAG(struct query, self),
     .help = "instead of QUERIES: all rows of INDEX, each without itself"},
    {.name = "pairs",
     CMD_FLAG(struct query, pairs),
     .help = "with --self --within: each pair of rows once, at its lower row"},
    {.name = "chunk-rows",
     .argument = "N",
     CMD_U64(struct query, chunk_rows, 1, UINT32_MAX),
     .help = "with --self --output: rows searched between two checkpoints (default:\n"
             "as many as find 32 MiB, or take ten seconds)"},
    {.name = "fresh",
     CMD_FLAG(struct query, fresh),
     .help = "with --self --output: start over, do not continue a checkpoint"},
    {.name = "exclude-self",
     CMD_FLAG(struct query, exclude_self),
     .help = "leave the row itself out of what such a query finds"},
    {.name = "index-list",
     .argument = "FILE",
     CMD_TEXT(struct query, index_list),
     .help = "instead of INDEX: a file with the path of an index a line (\"-\": standard\n"
             "input)"},
    {.name = "batch",
     .argument = "N",
     CMD_U64(struct query, batch_rows, 1, UINT32_MAX),
     .help = "search at most N queries together (default: 16384; of a stream, those\n"
             "that are there)"},
    {.letters = "o",
     .name = "output",
     .argument = "FILE",
     CMD_TEXT(struct query, output_path),
     .help = "where results go (default: standard output)"},
    {.letters = "F",
     .name = "output-format",
     .argument = "F",
     .take = take_output_format,
     .values = omen_results_name,
     .help = "format of the results (default: by the extension of --output; tsv if it\n"
             "has none), one of\n",
     .names = output_formats},
    {.name = "distances",
     CMD_FLAG(struct query, distances),
     .help = "write distances too; of ivecs and ibin to a file beside it, .fvecs or .fbin"},
    {.name = "header", CMD_FLAG(struct query, header), .help = "begin tsv and csv with the names of the fields"},
    {.name = "label",
     CMD_FLAG(struct query, label),
     .help = "write LABEL:row or LABEL:key, the label being the name of the index file\n"
             "without .omen, or what stands behind a tab in --index-list"},
    {.name = "rows",
     CMD_FLAG(struct query, rows),
     .help = "write row numbers, and read them in --only and --except (default: keys,\n"
             "if the index has them)"},
    {.name = "row-offset",
     .argument = "N",
     CMD_U64(struct query, row_offset, 0, INT64_MAX - UINT32_MAX),
     .help = "add N to the row numbers that are written, as for the part of an index\n"
             "whose first row is N"},

    {.group = "work",
     CMD_OPTION_THREADS(struct query, search.n_threads,
                        "; results\n"
                        "do not depend on it")},
    {CMD_OPTION_CPU(struct query, cpu)},

    {.group = "messages", CMD_OPTION_QUIET(struct query, verbosity), .help = "no progress, notes or warnings"},
    {CMD_OPTION_VERBOSE(struct query, verbosity), .help = "print times and effort on stderr"},
    {CMD_OPTION_JSON(struct query, json), .help = "the same as one JSON object on stderr"},
    {CMD_OPTION_HELP},
};

const cmd_syntax cmd_query_syntax = {
    .command = NAME,
    .usage = "usage: omendb query [options] INDEX... [QUERIES]\n"
             "\n"
             "Finds the nearest rows of INDEX for every vector in QUERIES (a file; default \"-\", standard\n"
             "input) and prints them in order of distance, ties by lower row: by their keys, if INDEX has\n"
             "them, else by their numbers, which count from 0. Several indexes are searched as one, their\n"
             "rows numbered consecutively in the order given.\n"
             "\n"
             "Queries of a pipe are answered as they come, if their format is named or npy. All are read\n"
             "first for --audit, --certify, --where-file, --where-tags, and -F npy, npz, hdf5 or ibin.\n",
    .print_lists = print_output_formats,
    .notes = "distances (smaller is nearer): l2 is the squared Euclidean distance, ip the negated inner\n"
             "product, cosine is 1 - cosine similarity. An index built with --refine none has estimates.\n"
             "\n"
             "examples:\n"
             "  omendb query base.omen queries.fvecs > neighbours.tsv\n"
             "  omendb query -k 100 -F npy -o neighbours.npy base.omen queries.npy\n"
             "  omendb query --where \"price < 20\" shop.omen queries.npy\n"
             "  omendb query --label monday.omen tuesday.omen queries.npy\n"
             "  head -c 3072 base.f32 | omendb query -f raw --exact --distances base.omen\n",
    .column = 25,
    .operands = CMD_FILES_INDEX | CMD_FILES_VECTORS,
    .options = options,
    .n_options = CMD_COUNT(options),
};

/* Takes the format from the output's name where -F does not tell. What is no file, such as /dev/null or a FIFO, may
 * have any name. */
static int choose_format(struct query *q)
{
    const cmd_text extension = cmd_extension(q->output_path ? q->output_path : "");
    const char *format = strcmp(extension.text, "h5") == 0 ? "hdf5" : extension.text;
    struct stat status;

    if (q->has_output_format)
        return CMD_GO_ON;
    if (format[0] == '\0' || omen_results_parse(format, &q->output_format) == OMEN_OK ||
        (stat(q->output_path, &status) == 0 && !S_ISREG(status.st_mode))) {
        return CMD_GO_ON;
    }
    return cmd_misuse(NAME, "\"%s\" does not say how to write the results: name it %s, or choose with --output-format",
                      q->output_path, cmd_choice(".", omen_results_name).text);
}

/* Standard input can be read once. */
static int check_streams(const struct query *q)
{
    const char *const paths[] = {q->queries_path, q->by_key, q->by_row, q->index_list};
    size_t n = query_filter_streams(&q->filter);

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        n += cmd_is_stream(paths[i]);
    if (n <= 1)
        return CMD_GO_ON;
    return cmd_misuse(NAME, "standard input can be read once, and %zu files are \"-\"%s", n,
                      cmd_is_stream(q->queries_path) ? ": name the file of the queries" : "");
}

/* What a way through the index cannot go with. */
static int check_way(struct query *q)
{
    if (q->search.exact && q->search.way != OMEN_SEARCH_AUTO && q->search.way != OMEN_SEARCH_EXACT)
        return cmd_misuse(NAME, "--exact and --way %s exclude each other", omen_search_way_name(q->search.way));
    q->search.exact = q->search.exact || q->search.way == OMEN_SEARCH_EXACT;
    if (q->search.way != OMEN_SEARCH_GRAPH)
        return CMD_GO_ON;
    if (q->self || q->search.has_within)
        return cmd_misuse(NAME, "%s is not searched through the graph; leave --way graph out",
                          q->self ? "--self" : "--within");
    if (q->search.lists.probes > 0 || q->search.rerank > 0)
        return cmd_misuse(NAME, "--probes and --rerank are of lists: they have no meaning with --way graph");
    return CMD_GO_ON;
}

/* What filters cannot go with. */
static int check_filter(const struct query *q)
{
    if (q->explain && !query_filter_is_asked(&q->filter))
        return cmd_misuse(NAME, "--explain tells how a filter is searched: give one with --where, --only or the like");
    if (q->explain && q->json)
        return cmd_misuse(NAME, "--explain prints lines for people, --json one object: choose one");
    return query_filter_check(NAME, &q->filter);
}

/* Names of the formats whose fields have names. */
static const char *name_with_header(size_t i)
{
    const omen_results_writer *writer;

    for (size_t at = 0; (writer = omen_results_writer_at(at)) != NULL; at++)
        if (writer->has_header && i-- == 0)
            return writer->name;
    return NULL;
}

/* Distances, which a format may hold, or a file beside its own: found.fvecs of found.ivecs. */
static int place_distances(struct query *q, const omen_results_writer *writer)
{
    struct stat there;

    if (!q->distances || writer->has_distances || writer->is_archive)
        return CMD_GO_ON;
    if (!writer->beside)
        return cmd_misuse(NAME, "%s holds no distances; use --output-format %s", writer->name,
                          cmd_choice("", name_with_distances).text);
    if (!q->output_path || cmd_is_stream(q->output_path))
        return cmd_misuse(NAME, "%s has its distances in a file beside it: name the output with --output, or use %s",
                          writer->name, cmd_choice("", name_with_distances).text);
    if (stat(q->output_path, &there) == 0 && !S_ISREG(there.st_mode))
        return cmd_misuse(NAME, "%s has its distances in a file beside it, and \"%s\" is no file: use %s", writer->name,
                          q->output_path, cmd_choice("", name_with_distances).text);
    const size_t n = strlen(q->output_path), n_name = strlen(writer->name);
    const bool is_named = strcmp(cmd_extension(q->output_path).text, writer->name) == 0;
    if (asprintf(&q->distances_path, "%.*s.%s", (int)(is_named ? n - n_name - 1 : n), q->output_path, writer->beside) <
        0) {
        q->distances_path = NULL;
        return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
    }
    return CMD_GO_ON;
}

/* What a command over several indexes cannot do. */
static int check_several(const struct query *q)
{
    const char *of_one = q->self            ? "--self"
                         : q->by_key        ? "--by-key"
                         : q->by_row        ? "--by-row"
                         : q->filter.only   ? "--only"
                         : q->filter.except ? "--except"
                         : q->explain       ? "--explain"
                                            : NULL;

    if (q->label && omen_results_writer_at(q->output_format)->is_binary)
        return cmd_misuse(NAME, "%s holds no labels: use tsv, csv or jsonl", omen_results_name(q->output_format));
    if (q->label && q->row_offset > 0)
        return cmd_misuse(NAME, "--label tells rows by their number in an index: --row-offset has no meaning with it");
    if (q->label && q->self)
        return cmd_misuse(NAME, "--self is of one index: --label has no meaning with it");
    if (q->indexes.n == 1)
        return CMD_GO_ON;
    if (of_one)
        return cmd_misuse(NAME, "%s is of one index, and there are %zu", of_one, q->indexes.n);
    if (q->search.way == OMEN_SEARCH_GRAPH)
        return cmd_misuse(NAME, "several indexes are not searched through their graphs; leave --way graph out");
    if (query_filter_streams(&q->filter) > 0)
        return cmd_misuse(NAME, "a filter is read for each of the %zu indexes, and standard input can be read once",
                          q->indexes.n);
    return CMD_GO_ON;
}

/* Refuses to write over a file that is read. */
static int check_files(const struct query *q)
{
    const size_t n_indexes = q->indexes.n;
    cmd_file *files = calloc(n_indexes + 6 + QUERY_FILTER_FILES, sizeof *files);
    size_t n = n_indexes;
    int status;

    if (!files)
        return cmd_fail(NAME, OMEN_ERR_MEMORY, &(omen_detail){.text = ""});
    for (size_t i = 0; i < n_indexes; i++)
        files[i] = (cmd_file){.role = "INDEX", .path = q->indexes.paths[i]};
    files[n++] = (cmd_file){.role = "QUERIES", .path = q->queries_path};
    files[n++] = (cmd_file){.role = "--by-key", .path = q->by_key};
    files[n++] = (cmd_file){.role = "--by-row", .path = q->by_row};
    files[n++] = (cmd_file){.role = "--index-list", .path = q->index_list};
    files[n++] = (cmd_file){.role = "--output",
                            .path = q->output_path ? q->output_path : "-",
                            .is_output = true,
                            .has_checkpoint = q->self && q->output_path};
    if (q->distances_path)
        files[n++] = (cmd_file){.role = "--distances", .path = q->distances_path, .is_output = true};
    query_filter_list(&q->filter, files, &n);
    status = cmd_files_check(NAME, files, n);
    free(files);
    return status;
}

/* What can be refused without opening anything but the list of indexes. */
static int check_arguments(struct query *q)
{
    const omen_results_writer *writer;
    int status;

    if (q->output_path && q->output_path[0] == '\0')
        return cmd_misuse(NAME, "--output wants a file name");
    status = check_streams(q);
    if (status == CMD_GO_ON)
        status = check_files(q);
    if (status == CMD_GO_ON)
        status = choose_format(q);
    writer = omen_results_writer_at(q->output_format);
    if (status == CMD_GO_ON)
        status = place_distances(q, writer);
    if (status == CMD_GO_ON && q->distances_path)
        status = check_files(q);
    if (status == CMD_GO_ON)
        status = check_way(q);
    if (status == CMD_GO_ON)
        status = check_several(q);
    if (status != CMD_GO_ON)
        return status;
    if (q->search.exact && (q->search.recall > 0 || q->search.lists.probes > 0 || q->search.rerank > 0)) {
        return cmd_misuse(NAME,
                          "--exact compares with every row: --recall, --probes and --rerank have no meaning with it");
    }
    if (q->search.exact && (q->search.effort_factor > 0 || q->certify || q->n_audit > 0)) {
        return cmd_misuse(NAME, "--exact compares with every row: %s has no meaning with it",
                          q->search.effort_factor > 0 ? "--effort-factor"
                          : q->certify                ? "--certify"
                                                      : "--audit");
    }
    if (q->certify && (q->search.effort_factor > 0 || q->search.lists.probes > 0 || q->search.rerank > 0)) {
        return cmd_misuse(NAME, "--certify finds the effort: --effort-factor, --probes and --rerank have no meaning "
                                "with it");
    }
    status = check_filter(q);
    if (status != CMD_GO_ON)
        return status;
    if (q->header && !writer->has_header)
        return cmd_misuse(NAME, "--header is of %s, and %s has no names of fields",
                          cmd_choice("", name_with_header).text, writer->name);
    if (q->search.has_within && writer->has_fixed_fields) {
        return cmd_misuse(NAME,
                          "%s holds the same number of results for every query: with --within use --output-format %s",
                          writer->name, cmd_choice("", name_of_any_length).text);
    }
    if (!q->output_path && isatty(STDOUT_FILENO) && writer->is_binary) {
        return cmd_misuse(NAME, "%s is binary and standard output is a terminal; use --output FILE or a pipe",
                          writer->name);
    }
    return CMD_GO_ON;
}

/* What cannot go with queries that are rows of the index. */
static int check_by_rows(const struct query *q, const char *queries)
{
    const char *option = q->by_key ? "--by-key" : "--by-row";

    if (q->by_key && q->by_row)
        return cmd_misuse(NAME, "--by-key and --by-row both name the queries: choose one");
    if (queries)
        return cmd_misuse(NAME, "%s names the queries: \"%s\" is one file too many", option, queries);
    if (q->format || q->d > 0)
        return cmd_misuse(NAME, "--format and --dim describe QUERIES, which %s takes the place of", option);
    if (q->exclude_self && (q->certify || q->n_audit > 0))
        return cmd_misuse(NAME, "--audit and --certify count the row itself: they cannot go with --exclude-self");
    return CMD_GO_ON;
}

/* What cannot go with the search for all rows within a distance. */
static int check_within(const struct query *q)
{
    if (!q->search.has_within) {
        return q->search.limit > 0 || q->pairs ? cmd_misuse(NAME, "%s needs --within", q->pairs ? "--pairs" : "--limit")
                                               : CMD_GO_ON;
    }
    if (q->has_k)
        return cmd_misuse(NAME, "--within finds all rows that are near enough: use --limit instead of -k");
    if (q->search.rerank > 0)
        return cmd_misuse(NAME, "--within re-ranks all rows that may be near enough: --rerank has no meaning with it");
    if (q->certify || q->n_audit > 0)
        return cmd_misuse(NAME, "%s measures the k nearest rows: it cannot go with --within",
                          q->certify ? "--certify" : "--audit");
    if (q->exclude_self)
        return cmd_misuse(NAME, "--exclude-self cannot go with --within: the row itself comes first, or see --self");
    if (q->pairs && !q->self)
        return cmd_misuse(NAME, "--pairs needs --self");
    return CMD_GO_ON;
}

/* What cannot go with queries that are all rows of the index. */
static int check_self(const struct query *q, const char *queries)
{
    if (queries)
        return cmd_misuse(NAME, "with --self the rows of INDEX are the queries: \"%s\" is one file too many", queries);
    if (q->by_key || q->by_row)
        return cmd_misuse(NAME, "--self takes all rows of INDEX as queries, %s some: choose one",
                          q->by_key ? "--by-key" : "--by-row");
    if (q->exclude_self)
        return cmd_misuse(NAME, "--self leaves each row out of its own answer already: drop --exclude-self");
    if (q->format || q->d > 0)
        return cmd_misuse(NAME, "--format and --dim describe QUERIES, which --self takes the place of");
    if (q->batch_rows > 0)
        return cmd_misuse(NAME, "--batch is of queries that are read: --self searches by lists");
    if (q->filter.where.file || q->filter.where.tags)
        return cmd_misuse(NAME, "%s has a condition for each query: with --self use --where",
                          q->filter.where.file ? "--where-file" : "--where-tags");
    return CMD_GO_ON;
}

/* Takes the indexes that the n arguments name, of which the last are the queries, unless it is an index. */
static int take_indexes(struct query *q, char **arguments, int n)
{
    const bool has_queries = !q->self && !q->by_key && !q->by_row;
    omen_detail why = {.text = ""};
    int status;

    if (q->index_list) {
        status = cmd_is_stream(q->index_list) ? check_streams(q) : CMD_GO_ON;
        if (status != CMD_GO_ON)
            return status;
        status = query_paths_read(&q->indexes, q->index_list, &why);
        return status == OMEN_OK ? CMD_GO_ON : cmd_fail(NAME, status, &why);
    }
    if (has_queries && n > 1 && (cmd_is_stream(arguments[n - 1]) || !omen_container_is_index(arguments[n - 1])))
        n--;
    status = query_paths_take(&q->indexes, arguments, (size_t)n);
    return status == OMEN_OK ? CMD_GO_ON : cmd_fail(NAME, status, &why);
}

/* What the queries are, of the n arguments. */
static int take_queries(struct query *q, char **arguments, int n)
{
    const int n_indexes = q->index_list ? 0 : 1;
    const char *second = n > n_indexes ? arguments[n_indexes] : NULL;

    if (q->self)
        return check_self(q, second);
    if (q->by_key || q->by_row)
        return check_by_rows(q, second);
    if (q->exclude_self)
        return cmd_misuse(NAME, "--exclude-self is of rows of the index: name them with --by-key or --by-row");
    if (q->index_list && n > 1)
        return cmd_misuse(NAME,
                          "--index-list names the indexes, and one QUERIES is searched for: \"%s\" is one too "
                          "many",
                          arguments[1]);
    q->queries_path = n > n_indexes ? arguments[n - 1] : "-";
    return CMD_GO_ON;
}

int query_arguments_parse(struct query *q, int argc, char **argv)
{
    q->search.k = DEFAULT_K;
    int status = cmd_options_parse(&cmd_query_syntax, argc, argv, q);

    if (status != CMD_GO_ON)
        return status;
    if (argc - optind < 1 && !q->index_list)
        return cmd_misuse(NAME, "no INDEX given; see \"omendb query --help\"");
    status = take_queries(q, argv + optind, argc - optind);
    if (status == CMD_GO_ON)
        status = take_indexes(q, argv + optind, argc - optind);
    if (status != CMD_GO_ON)
        return status;
    if (q->queries_path && !q->index_list && q->indexes.n == (size_t)(argc - optind))
        q->queries_path = "-";
    if (cmd_is_stream(q->output_path))
        q->output_path = NULL;
    if ((q->fresh || q->chunk_rows > 0) && !(q->self && q->output_path))
        return cmd_misuse(NAME, "%s is of the checkpoint that --self --output FILE keeps",
                          q->fresh ? "--fresh" : "--chunk-rows");
    status = check_within(q);
    return status == CMD_GO_ON ? check_arguments(q) : status;
}

void query_arguments_finish(struct query *q)
{
    query_paths_finish(&q->indexes);
    free(q->distances_path);
}
