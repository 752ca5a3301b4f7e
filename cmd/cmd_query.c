/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query: queries in, nearest neighbours out, in batches of bounded memory. */
#include "cmd/options.h"
#include "cmd/query_audit.h"
#include "cmd/query_rows.h"
#include "cmd/query_self.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/results.h"

#define NAME "query"

/* Queries searched together: enough for lists to be shared; fewer if k is so large that a batch passes BATCH_BYTES. */
#define BATCH_ROWS  16384u
#define BATCH_BYTES ((uint64_t)256 << 20)

/* With --within it is not known what a batch finds: the first is small, and the next larger, unless much is found. */
#define FIRST_ROWS   256u
#define FOUND_LITTLE ((uint64_t)1 << 20)

#define DEFAULT_K 10u

struct query {
    const char *index_path, *queries_path, *output_path;
    const char *format; /* of the queries */
    const char *cpu;
    uint32_t d;
    omen_search_options search;
    omen_results_format output_format;
    bool has_output_format; /* -F was given */
    bool distances;
    const char *by_key, *by_row; /* queries are rows of the index, which this file names */
    bool exclude_self;
    bool self, pairs; /* every row of the index is a query; each pair once */
    bool has_k;
    bool rows; /* print row numbers where there are keys */
    bool no_check;
    struct query_where_options where; /* conditions of the queries */
    bool explain;
    uint64_t n_audit; /* queries of the sample; 0: not asked for */
    bool certify;
    uint64_t seed;
    bool has_seed;
    int verbosity;
    bool json;
};

/* ---- arguments ---- */

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

    if (omen_results_parse(value, &q->output_format) != OMEN_OK) {
        cmd_say(command, "--output-format must be %s, not \"%s\"", cmd_choice("", omen_results_name).text, value);
        return false;
    }
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
        if (writer->has_distances && i-- == 0)
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
static const char *name_with_text(size_t i)
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
     .help = "rows to find a query (default %d; all if the index has fewer)"},
    {.name = "within",
     .argument = "D",
     .take = take_within,
     .help = "find all rows at most D away instead, nearest first"},
    {.name = "limit",
     .argument = "N",
     CMD_U64(struct query, search.limit, 1, INT32_MAX),
     .help = "with --within: at most N rows a query, the nearest (default: all)"},
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
    {.name = "exact", CMD_FLAG(struct query, search.exact), .help = "compare with every row of the refine tier"},
    {.name = "zero-ok",
     CMD_FLAG(struct query, search.zero_ok),
     .help = "cosine: accept zero queries (default: an error), at distance 1"},
    {.name = "no-check",
     CMD_FLAG(struct query, no_check),
     .help = "do not compare what is read of INDEX with its checksums"},

    {.group = "filters",
     .name = "where",
     .argument = "TEXT",
     CMD_TEXT(struct query, where.text),
     .help = "find only rows whose columns meet a condition, such as\n"
             "\"price >= 10 AND label IN ('bag', 'coat')\", for every query"},
    {.name = "where-file",
     .argument = "FILE",
     CMD_TEXT(struct query, where.file),
     .help = "a condition a line, line i for query i; an empty line is none"},
    {.name = "where-tags",
     .argument = "FILE",
     CMD_TEXT(struct query, where.tags),
     .help = "a sparse matrix (spmat): query i wants all tags of row i"},
    {.name = "only",
     .argument = "FILE",
     CMD_TEXT(struct query, where.only),
     .help = "find only rows whose numbers FILE has, one a line; \"-\": standard input"},
    {.name = "except", .argument = "FILE", CMD_TEXT(struct query, where.except), .help = "find none of these rows"},
    {.name = "explain",
     CMD_FLAG(struct query, explain),
     .help = "instead of searching: print what each condition selects, and how it\n"
             "would be searched"},

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
    {.name = "by-row", .argument = "FILE", CMD_TEXT(struct query, by_row), .help = "the same, named by their numbers"},
    {.name = "self",
     CMD_FLAG(struct query, self),
     .help = "the same, all rows of INDEX, without each row itself"},
    {.name = "pairs", CMD_FLAG(struct query, pairs), .help = "with --self --within: each pair of rows once, at its lower row"},
    {.name = "exclude-self",
     CMD_FLAG(struct query, exclude_self),
     .help = "leave the row itself out of what such a query finds"},
    {.letters = "o",
     .name = "output",
     .argument = "FILE",
     CMD_TEXT(struct query, output_path),
     .help = "where results go (default: standard output)"},
    {.letters = "F",
     .name = "output-format",
     .argument = "F",
     .take = take_output_format,
     .help = "format of the results (default: by the extension of --output; tsv if it\n"
             "has none), one of\n",
     .names = output_formats},
    {.name = "distances", CMD_FLAG(struct query, distances), .help = "write distances too (not in ivecs)"},
    {.name = "rows", CMD_FLAG(struct query, rows), .help = "write row numbers (default: keys, if the index has them)"},

    {.group = "work",
     CMD_OPTION_THREADS(struct query, search.n_threads,
                        "; results\n"
                        "do not depend on it")},
    {CMD_OPTION_CPU(struct query, cpu)},

    {.group = "messages", CMD_OPTION_QUIET(struct query, verbosity), .help = "no progress"},
    {CMD_OPTION_VERBOSE(struct query, verbosity), .help = "print times and effort on stderr"},
    {CMD_OPTION_JSON(struct query, json), .help = "the same as one JSON object on stderr"},
    {CMD_OPTION_HELP},
};

static const cmd_syntax syntax = {
    .command = NAME,
    .usage = "usage: omendb query [options] INDEX [QUERIES]\n"
             "\n"
             "Finds the nearest rows of INDEX for every vector in QUERIES (a file; default \"-\", standard\n"
             "input) and prints them in order of distance, ties by lower row: by their keys, if INDEX has\n"
             "them, else by their numbers, which count from 0.\n",
    .print_lists = print_output_formats,
    .notes = "distances (smaller is nearer): l2 is the squared Euclidean distance, ip the negated inner\n"
             "product, cosine is 1 - cosine similarity. An index built with --refine none has estimates.\n"
             "\n"
             "examples:\n"
             "  omendb query base.omen queries.fvecs > neighbours.tsv\n"
             "  omendb query -k 100 -F npy -o neighbours.npy base.omen queries.npy\n"
             "  head -c 3072 base.f32 | omendb query -f raw --exact --distances base.omen\n",
    .column = 25,
    .options = options,
    .n_options = CMD_COUNT(options),
};

/* Takes the format from the output's name where -F does not tell. What is no file, such as /dev/null or a FIFO, may
 * have any name. */
static int choose_format(struct query *q)
{
    const cmd_text extension = cmd_extension(q->output_path ? q->output_path : "");
    struct stat status;

    if (q->has_output_format)
        return CMD_GO_ON;
    if (extension.text[0] == '\0' || omen_results_parse(extension.text, &q->output_format) == OMEN_OK ||
        (stat(q->output_path, &status) == 0 && !S_ISREG(status.st_mode))) {
        return CMD_GO_ON;
    }
    return cmd_misuse(NAME, "\"%s\" does not say how to write the results: name it %s, or choose with --output-format",
                      q->output_path, cmd_choice(".", omen_results_name).text);
}

static bool is_stream(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

static bool has_filter(const struct query *q)
{
    return q->where.text || q->where.file || q->where.tags || q->where.only || q->where.except;
}

/* What conditions cannot go with. */
static int check_conditions(const struct query *q)
{
    if (!!q->where.text + !!q->where.file + !!q->where.tags > 1)
        return cmd_misuse(NAME, "--where, --where-file and --where-tags all say what is found: choose one");
    if (q->explain && !has_filter(q))
        return cmd_misuse(NAME, "--explain is of filters: give one with --where, --where-file, --where-tags, --only or "
                                "--except");
    if (is_stream(q->queries_path) + is_stream(q->by_key) + is_stream(q->by_row) + is_stream(q->where.file) +
            is_stream(q->where.tags) + is_stream(q->where.only) + is_stream(q->where.except) >
        1)
        return cmd_misuse(NAME, "standard input can be one of QUERIES, --by-key, --by-row, --where-file, --where-tags, "
                                "--only and --except only");
    return CMD_GO_ON;
}

/* What can be refused without opening anything. */
static int check_arguments(struct query *q)
{
    const cmd_file files[] = {
        {.role = "INDEX", .path = q->index_path},
        {.role = "QUERIES", .path = q->queries_path},
        {.role = "--by-key", .path = q->by_key},
        {.role = "--by-row", .path = q->by_row},
        {.role = "--where-file", .path = q->where.file},
        {.role = "--where-tags", .path = q->where.tags},
        {.role = "--only", .path = q->where.only},
        {.role = "--except", .path = q->where.except},
        {.role = "--output", .path = q->output_path ? q->output_path : "-", .is_output = true},
    };
    const omen_results_writer *writer;
    int status;

    if (q->output_path && q->output_path[0] == '\0')
        return cmd_misuse(NAME, "--output wants a file name");
    status = cmd_files_check(NAME, files, sizeof files / sizeof files[0]);
    if (status == CMD_GO_ON)
        status = check_conditions(q);
    if (status == CMD_GO_ON)
        status = choose_format(q);
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
    writer = omen_results_writer_at(q->output_format);
    if (!writer->has_distances && q->distances) {
        return cmd_misuse(NAME, "%s holds no distances; use --output-format %s", writer->name,
                          cmd_choice("", name_with_distances).text);
    }
    if (q->search.has_within && writer->has_fixed_fields) {
        return cmd_misuse(NAME, "%s holds the same number of results for every query: with --within use --output-format %s",
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
        return q->search.limit > 0 || q->pairs
                   ? cmd_misuse(NAME, "%s is of what --within finds", q->pairs ? "--pairs" : "--limit")
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
        return cmd_misuse(NAME, "--pairs is of what --self finds");
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
    if (q->format || q->d > 0)
        return cmd_misuse(NAME, "--format and --dim describe QUERIES, which --self takes the place of");
    if (q->where.file || q->where.tags)
        return cmd_misuse(NAME, "%s has a condition for each query: with --self use --where",
                          q->where.file ? "--where-file" : "--where-tags");
    return CMD_GO_ON;
}

static int parse_arguments(struct query *q, int argc, char **argv)
{
    const int status = cmd_options_parse(&syntax, argc, argv, q);

    if (status != CMD_GO_ON)
        return status;
    if (argc - optind < 1)
        return cmd_misuse(NAME, "no INDEX given; see \"omendb query --help\"");
    if (argc - optind > 2)
        return cmd_misuse(NAME, "one INDEX and one QUERIES at a time; \"%s\" is one too many", argv[optind + 2]);
    q->index_path = argv[optind];
    if (q->self) {
        const int misused = check_self(q, argc - optind > 1 ? argv[optind + 1] : NULL);
        if (misused != CMD_GO_ON)
            return misused;
    } else if (q->by_key || q->by_row) {
        const int misused = check_by_rows(q, argc - optind > 1 ? argv[optind + 1] : NULL);
        if (misused != CMD_GO_ON)
            return misused;
    } else {
        if (q->exclude_self)
            return cmd_misuse(NAME, "--exclude-self is of rows of the index: name them with --by-key or --by-row");
        q->queries_path = argc - optind > 1 ? argv[optind + 1] : "-";
    }
    if (q->output_path && strcmp(q->output_path, "-") == 0)
        q->output_path = NULL;
    const int misused = check_within(q);
    return misused == CMD_GO_ON ? check_arguments(q) : misused;
}

/* ---- the work ---- */

struct batch {
    uint64_t n_rows; /* at most */
    float *rows;
    int64_t *ids;
    float *distances;          /* NULL if not asked for */
    const omen_row_set **sets; /* what each query may find; NULL without filters */
};

static void batch_free(struct batch *batch)
{
    free(batch->rows);
    free(batch->ids);
    free(batch->distances);
    free(batch->sets);
}

static int batch_init(struct batch *batch, uint64_t n_queries, uint32_t d, uint32_t k, bool distances, bool has_sets)
{
    uint64_t row_bytes = (uint64_t)d * sizeof(float) + (uint64_t)k * (sizeof(int64_t) + sizeof(float));
    uint64_t fitting = BATCH_BYTES / row_bytes;

    batch->n_rows = n_queries < BATCH_ROWS ? n_queries : BATCH_ROWS;
    if (batch->n_rows > fitting)
        batch->n_rows = fitting > 0 ? fitting : 1;
    batch->rows = malloc(batch->n_rows * d * sizeof(float));
    batch->ids = malloc(batch->n_rows * k * sizeof(int64_t));
    batch->distances = distances ? malloc(batch->n_rows * k * sizeof(float)) : NULL;
    batch->sets = has_sets ? malloc(batch->n_rows * sizeof *batch->sets) : NULL;
    if (!batch->rows || !batch->ids || (distances && !batch->distances) || (has_sets && !batch->sets))
        return OMEN_ERR_MEMORY;
    return OMEN_OK;
}

/* Adds the time since *clock to *sum, and sets the clock anew. */
static void lap(double *clock, double *sum)
{
    double now = cmd_seconds();

    *sum += now - *clock;
    *clock = now;
}

/* Of n queries that found rows, those that found fewer than k. */
static uint64_t count_short(const int64_t *ids, uint64_t n, uint32_t k)
{
    uint64_t n_short = 0;

    for (uint64_t i = 0; i < n; i++)
        n_short += omen_found_count(ids + i * k, k) < k;
    return n_short;
}

/* rows are the queries, if these are rows of the index; keys is the index whose keys are written, or NULL. */
static int search_all(const struct query *q, const omen_index *index, const omen_source *source,
                      const struct query_rows *rows, struct query_where *where, const omen_index *keys,
                      const omen_results *results, struct batch *batch, struct cmd_query_outcome *o, omen_detail *why)
{
    omen_search_options search = q->search;
    cmd_progress progress;
    double clock = cmd_seconds();
    uint64_t n, most = search.has_within ? FIRST_ROWS : batch->n_rows;
    omen_found *found = NULL;
    int status;

    cmd_progress_init(&progress, q->verbosity < 0 ? -1 : 0);
    status = cmd_name_damage(q->index_path, omen_results_begin_keys(results, keys, why), why);
    for (uint64_t first = 0; status == OMEN_OK && first < source->n_rows; first += n) {
        n = most < batch->n_rows ? most : batch->n_rows;
        n = source->n_rows - first < n ? source->n_rows - first : n;
        if (batch->sets)
            n = query_where_fit(where, NULL, first, n);
        cmd_progress_update(&progress, "search", first, source->n_rows);
        status = source->read(source->self, first, n, batch->rows, why);
        if (rows->n > 0)
            status = cmd_name_damage(q->index_path, status, why);
        lap(&clock, &o->read_seconds);
        if (status == OMEN_OK && batch->sets) {
            search.row_sets = batch->sets;
            status = query_where_fill(where, NULL, first, n, search.n_threads, batch->sets, why);
            status = cmd_name_damage(q->index_path, status, why);
        }
        if (status == OMEN_OK) {
            search.first_query = first;
            status = search.has_within
                         ? omen_index_search_within(index, &search, batch->rows, n, &found, &o->stats, why)
                         : omen_index_search(index, &search, batch->rows, n, batch->ids, batch->distances, &o->stats, why);
            status = cmd_name_damage(q->index_path, status, why);
            lap(&clock, &o->search_seconds);
        }
        if (status == OMEN_OK && found) {
            query_self_count(found, o);
            status = omen_results_write_found(results, keys, first, NULL, found, why);
            status = cmd_name_damage(q->index_path, status, why);
            most = found->first[n] < FOUND_LITTLE ? 2 * n : found->first[n] > 4 * FOUND_LITTLE ? (n + 1) / 2 : n;
            omen_found_destroy(found);
            found = NULL;
            lap(&clock, &o->write_seconds);
        } else if (status == OMEN_OK) {
            if (q->exclude_self)
                query_rows_exclude(rows->numbers + first, n, search.k, batch->ids, batch->distances);
            o->n_short += count_short(batch->ids, n, o->k);
            status = omen_results_write_keys(results, keys, first, n, batch->ids, batch->distances, why);
            status = cmd_name_damage(q->index_path, status, why);
            lap(&clock, &o->write_seconds);
        }
    }
    cmd_progress_clear(&progress);
    return status;
}

/* ---- the whole ---- */

/* What the results may lack. */
static void take_note(const struct query *q, const omen_index *index, struct cmd_query_outcome *o)
{
    const bool asks_recall = q->search.lists.probes == 0 && q->search.rerank == 0;
    char share[48] = "";
    double ceiling;

    if (!o->exact || q->certify) {
        if (asks_recall)
            query_audit_warn(o, index);
        return;
    }
    if (omen_index_rows_are_exact(index))
        return;
    ceiling = omen_index_ceiling(index, NULL);
    if (ceiling < 0.9995) /* what three digits show */
        snprintf(share, sizeof share, ": recall@10 of %.3f, by estimate", ceiling);
    omen_fail(&o->note, OMEN_OK, "--exact is exact over the rows of refine %s, which are rounded%s",
              omen_refine_name(o->info.refine), share);
}

/* Opens the queries: vectors of a file, or rows of the index. */
static int open_queries(struct query *q, const omen_index *index, const omen_index_info *info, omen_vectors **vectors,
                        struct query_rows *rows, omen_source *source, omen_detail *why)
{
    const char *path = q->by_key ? q->by_key : q->by_row;
    int status;

    if (!path) {
        status = cmd_open_rows(vectors, q->queries_path, q->format, q->d, info->d, why);
        if (status != OMEN_OK)
            return status;
        *source = omen_vectors_source(*vectors);
        return source->d == info->d
                   ? OMEN_OK
                   : omen_fail(why, OMEN_ERR_INPUT, "queries have %u dimensions, the index has %u", source->d, info->d);
    }
    if (info->refine == OMEN_REFINE_NONE) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%s needs a refine tier, and the index was built without one",
                         q->by_key ? "--by-key" : "--by-row");
    }
    if (q->by_key && info->key_kind == OMEN_KEYS_NONE) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "the index has no keys: name rows by number with --by-row, or give "
                         "it keys with omendb attach");
    }
    status = query_rows_open(rows, index, path, q->by_key != NULL, why);
    if (status == OMEN_OK)
        *source = omen_index_rows_source(rows->rows);
    /* what the index accepted as a row is accepted as a query */
    q->search.zero_ok |= info->zero_ok;
    return cmd_name_damage(q->index_path, status, why);
}

/* Whether the results hold keys. Fails if they should and the format cannot. */
static int choose_keys(const struct query *q, const omen_index_info *info, bool *has_keys, omen_detail *why)
{
    const omen_results_writer *writer = omen_results_writer_at(q->output_format);

    *has_keys = info->key_kind != OMEN_KEYS_NONE && !q->rows;
    if (*has_keys && info->key_kind == OMEN_KEYS_TEXT && !writer->has_text) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "%s cannot hold text, which the keys of the index are: use --output-format %s, or --rows for "
                         "row numbers",
                         writer->name, cmd_choice("", name_with_text).text);
    }
    return OMEN_OK;
}

static int run(struct query *q)
{
    struct cmd_query_outcome o = {.exact = q->search.exact, .stats.struct_bytes = sizeof o.stats, .ceiling = 1};
    omen_detail why = {.text = ""};
    omen_container *container = NULL;
    omen_index *index = NULL;
    omen_vectors *vectors = NULL;
    struct query_rows rows = {.n = 0};
    struct query_where where = {.n = 0}, *conditions = has_filter(q) ? &where : NULL;
    omen_source source;
    omen_results results;
    bool has_keys;
    cmd_output output = {.stream = NULL};
    struct batch batch = {.n_rows = 0};
    double started = cmd_seconds();
    int status;

    cmd_signals_exit(NAME, q->output_path ? "interrupted; nothing was written" : "interrupted");
    status = omen_cpu_select(q->cpu, &why);
    if (status != OMEN_OK)
        goto out;
    q->search.n_threads = cmd_threads(q->search.n_threads);
    status = cmd_open_index(&container, &index, q->index_path, !q->no_check, &o.info, &why);
    if (status != OMEN_OK)
        goto out;
    q->search.refine_cold = o.info.refine_bytes > cmd_memory_bytes() / 2;
    if (q->search.exact && o.info.refine == OMEN_REFINE_NONE) {
        status = omen_fail(&why, OMEN_ERR_ARGUMENT, "--exact needs a refine tier, and the index was built without one");
        goto out;
    }
    if (q->n_audit > 0 && !q->certify && o.info.refine == OMEN_REFINE_NONE) {
        status = omen_fail(&why, OMEN_ERR_ARGUMENT, "--audit needs a refine tier, and the index was built without one");
        goto out;
    }
    status = choose_keys(q, &o.info, &has_keys, &why);
    if (status == OMEN_OK)
        status = open_queries(q, index, &o.info, &vectors, &rows, &source, &why);
    if (status == OMEN_OK && conditions) {
        status = query_where_open(&where, &q->where, index, source.n_rows, &why);
        status = cmd_name_damage(q->index_path, status, &why);
    }
    if (status == OMEN_OK && q->explain)
        status = query_where_explain(&where, &q->search, stdout, &why);
    if (status != OMEN_OK || q->explain)
        goto out;
    /* of an index with fewer rows, all: results then have so many columns */
    q->search.k += q->exclude_self;
    q->search.k = q->search.k < o.info.n_rows ? q->search.k : (uint32_t)o.info.n_rows;
    o.k = q->search.k - q->exclude_self;
    o.n_threads = q->search.n_threads;
    o.n_in_batch = source.n_rows;
    o.asked = (double)(q->search.recall > 0 ? q->search.recall : OMEN_DEFAULT_RECALL);
    q->seed = q->has_seed ? q->seed : o.info.seed;
    q->n_audit = q->certify && q->n_audit == 0 ? QUERY_AUDIT_SAMPLE : q->n_audit;
    status = batch_init(&batch, source.n_rows, source.d, q->search.k, q->distances, conditions);
    if (status == OMEN_OK)
        status = cmd_output_open(&output, q->output_path, NULL, &why);
    if (status != OMEN_OK)
        goto out;
    results = (omen_results){output.stream, q->output_format, q->distances, source.n_rows, o.k};
    o.open_seconds = cmd_seconds() - started;
    started = cmd_seconds();
    status =
        q->certify ? query_certify(index, &source, &q->search, q->seed, q->n_audit, conditions, &o, &why) : OMEN_OK;
    lap(&started, &o.audit_seconds);
    o.effort_factor = q->search.effort_factor > 0 ? q->search.effort_factor : 1;
    if (status == OMEN_OK)
        status = search_all(q, index, &source, &rows, conditions, has_keys ? index : NULL, &results, &batch, &o, &why);
    if (status == OMEN_OK && q->n_audit > 0 && !q->certify) {
        started = cmd_seconds();
        status = query_measure(index, &source, &q->search, q->seed, q->n_audit, conditions, &o, &why);
        lap(&started, &o.audit_seconds);
    }
    if (status == OMEN_OK) {
        take_note(q, index, &o);
        started = cmd_seconds();
        status = cmd_output_commit(&output, &why);
        lap(&started, &o.write_seconds);
    }

out:
    cmd_output_close(&output);
    batch_free(&batch);
    omen_vectors_close(vectors);
    query_rows_finish(&rows);
    query_where_finish(&where);
    omen_index_close(index);
    omen_container_close(container);
    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    if (q->explain)
        return CMD_EXIT_OK;
    if (q->json) {
        status = cmd_query_json(&o);
        return status == CMD_EXIT_OK && o.certified == CMD_CERTIFIED_NO ? QUERY_EXIT_UNREACHED : status;
    }
    if (q->verbosity > 0)
        cmd_query_summary(&o);
    if (conditions && o.n_short > 0 && q->verbosity >= 0) {
        cmd_say(NAME, "%s of %s queries found fewer than %u rows: no more pass their filters",
                cmd_group(o.n_short).text, cmd_group(o.n_in_batch).text, o.k);
    }
    query_audit_print(&o);
    if (o.note.text[0] != '\0' && (q->verbosity >= 0 || o.certified == CMD_CERTIFIED_NO))
        cmd_say(NAME, "%s%s", o.exact || q->certify ? "" : "warning: ", o.note.text);
    return o.certified == CMD_CERTIFIED_NO ? QUERY_EXIT_UNREACHED : CMD_EXIT_OK;
}

int cmd_query(int argc, char **argv)
{
    struct query q = {.output_format = OMEN_RESULTS_TSV};
    int status;

    omen_search_options_init(&q.search);
    q.search.k = DEFAULT_K;
    status = parse_arguments(&q, argc, argv);
    return status == CMD_GO_ON ? run(&q) : status;
}
