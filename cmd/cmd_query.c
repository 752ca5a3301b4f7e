/* omendb query: queries in, nearest neighbours out, in batches of bounded memory. */
#include "cmd/cmd.h"

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

#define DEFAULT_K 10u

struct query {
    const char *index_path, *queries_path, *output_path;
    const char *format; /* of the queries */
    const char *cpu;
    uint32_t d;
    omen_search_options search;
    omen_results_format output_format;
    const char *output_format_name; /* NULL: not asked for */
    bool distances;
    bool no_check;
    int verbosity;
    bool json;
};

static void print_usage(void)
{
    printf("usage: omendb query [options] INDEX [QUERIES]\n"
           "\n"
           "Finds the nearest rows of INDEX for every vector in QUERIES (a file; default \"-\", standard\n"
           "input) and prints them in order of distance, ties by lower row. Rows count from 0.\n"
           "\n"
           "search:\n"
           "  -k, --neighbors N      rows to find a query (default %u; all if the index has fewer)\n"
           "      --recall R         share of the true nearest rows to find, over 0 up to 1 (default 0.95);\n"
           "                         the build measured which effort that takes\n"
           "      --probes N         lists to scan a query (default: what --recall takes)\n"
           "      --rerank N         candidates to re-rank a query (default: what --recall takes)\n"
           "      --exact            compare with every row of the refine tier\n"
           "      --zero-ok          cosine: accept zero queries (default: an error), at distance 1\n"
           "      --no-check         do not compare what is read of INDEX with its checksums\n"
           "\n"
           "input and output:\n"
           "  -f, --format NAME      format of QUERIES (default: by extension and content), one of\n"
           "                         %s\n"
           "  -d, --dim N            dimensions of a query (default for raw: those of the index)\n"
           "  -o, --output FILE      where results go (default: standard output)\n"
           "  -F, --output-format F  tsv, jsonl, ivecs or npy (default: by the extension of --output; tsv if\n"
           "                         it has none)\n"
           "      --distances        write distances too (not in ivecs)\n"
           "\n"
           "work:\n"
           "  -t, --threads N        threads (default: the processors this process may use); results\n"
           "                         do not depend on it\n"
           "      --cpu LEVEL        SIMD level: scalar, avx2, avx512, avx512vnni or neon (default: the best)\n"
           "\n"
           "messages:\n"
           "  -q, --quiet            no progress\n"
           "  -v, --verbose          print times and effort on stderr\n"
           "      --json             the same as one JSON object on stderr\n"
           "  -h, --help             print this help\n"
           "\n"
           "output formats:\n"
           "  tsv    a line per neighbour: query, rank from 1, row, and the distance if asked for\n"
           "  jsonl  a line per query: {\"query\":0,\"ids\":[...],\"distances\":[...]}\n"
           "  ivecs  per query the int32 k, then k int32 rows\n"
           "  npy    int64 array of queries x k; with distances a structured array (id, distance)\n"
           "\n"
           "distances (smaller is nearer): l2 is the squared Euclidean distance, ip the negated inner\n"
           "product, cosine is 1 - cosine similarity. An index built with --refine none has estimates.\n"
           "\n"
           "examples:\n"
           "  omendb query base.omen queries.fvecs > neighbours.tsv\n"
           "  omendb query -k 100 -F npy -o neighbours.npy base.omen queries.npy\n"
           "  head -c 3072 base.f32 | omendb query -f raw --exact --distances base.omen\n",
           DEFAULT_K, omen_vectors_formats());
}

/* ---- arguments ---- */

enum {
    OPT_RECALL = 256,
    OPT_PROBES,
    OPT_RERANK,
    OPT_EXACT,
    OPT_ZERO_OK,
    OPT_DISTANCES,
    OPT_NO_CHECK,
    OPT_CPU,
    OPT_JSON
};

static const char short_options[] = ":k:o:F:f:d:t:qvh";

static const struct option long_options[] = {
    {"neighbors", required_argument, NULL, 'k'},
    {"recall", required_argument, NULL, OPT_RECALL},
    {"probes", required_argument, NULL, OPT_PROBES},
    {"rerank", required_argument, NULL, OPT_RERANK},
    {"exact", no_argument, NULL, OPT_EXACT},
    {"zero-ok", no_argument, NULL, OPT_ZERO_OK},
    {"no-check", no_argument, NULL, OPT_NO_CHECK},
    {"output", required_argument, NULL, 'o'},
    {"output-format", required_argument, NULL, 'F'},
    {"distances", no_argument, NULL, OPT_DISTANCES},
    {"format", required_argument, NULL, 'f'},
    {"dim", required_argument, NULL, 'd'},
    {"threads", required_argument, NULL, 't'},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* An integer of at least 1 that fits uint32_t. */
static bool parse_count(const char *option, const char *text, uint32_t *out)
{
    uint64_t value;

    if (!cmd_parse_integer(NAME, option, text, 1, INT32_MAX, &value)) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

/* Takes one option; false, after a message, if its value is bad. */
static bool take_option(struct query *q, int option, const char *value)
{
    switch (option) {
    case 'k':
        return parse_count("-k", value, &q->search.k);
    case OPT_RECALL:
        return cmd_parse_share(NAME, "--recall", value, &q->search.recall);
    case OPT_PROBES:
        return parse_count("--probes", value, &q->search.probes);
    case OPT_RERANK:
        return parse_count("--rerank", value, &q->search.rerank);
    case OPT_EXACT:
        q->search.exact = true;
        return true;
    case OPT_ZERO_OK:
        q->search.zero_ok = true;
        return true;
    case OPT_NO_CHECK:
        q->no_check = true;
        return true;
    case 'o':
        q->output_path = value;
        return true;
    case 'F':
        if (omen_results_parse(value, &q->output_format) != OMEN_OK) {
            cmd_say(NAME, "--output-format must be tsv, jsonl, ivecs or npy, not \"%s\"", value);
            return false;
        }
        q->output_format_name = value;
        return true;
    case OPT_DISTANCES:
        q->distances = true;
        return true;
    case 'f':
        q->format = value;
        return true;
    case 'd':
        return cmd_parse_dim(NAME, value, &q->d);
    case 't':
        return cmd_parse_threads(NAME, value, &q->search.n_threads);
    case OPT_CPU:
        q->cpu = value;
        return true;
    case 'q':
        q->verbosity = -1;
        return true;
    case 'v':
        q->verbosity = 1;
        return true;
    default: /* OPT_JSON */
        q->json = true;
        return true;
    }
}

/* Takes the format from the output's name where -F does not tell. What is no file, such as /dev/null or a FIFO, may
 * have any name. */
static int choose_format(struct query *q)
{
    const cmd_text extension = cmd_extension(q->output_path != NULL ? q->output_path : "");
    struct stat status;

    if (q->output_format_name != NULL) {
        return CMD_GO_ON;
    }
    q->output_format_name = "tsv";
    if (extension.text[0] == '\0' || omen_results_parse(extension.text, &q->output_format) == OMEN_OK ||
        (stat(q->output_path, &status) == 0 && !S_ISREG(status.st_mode))) {
        return CMD_GO_ON;
    }
    return cmd_misuse(NAME,
                      "\"%s\" does not say how to write the results: name it .tsv, .jsonl, .ivecs or .npy, or choose "
                      "with --output-format",
                      q->output_path);
}

/* What can be refused without opening anything. */
static int check_arguments(struct query *q)
{
    const cmd_file files[] = {
        {.role = "INDEX", .path = q->index_path},
        {.role = "QUERIES", .path = q->queries_path},
        {.role = "--output", .path = q->output_path != NULL ? q->output_path : "-", .is_output = true},
    };
    int rc;

    if (q->output_path != NULL && q->output_path[0] == '\0') {
        return cmd_misuse(NAME, "--output wants a file name");
    }
    rc = cmd_files_check(NAME, files, sizeof files / sizeof files[0]);
    if (rc == CMD_GO_ON) {
        rc = choose_format(q);
    }
    if (rc != CMD_GO_ON) {
        return rc;
    }
    if (q->search.exact && (q->search.recall > 0 || q->search.probes > 0 || q->search.rerank > 0)) {
        return cmd_misuse(NAME,
                          "--exact compares with every row: --recall, --probes and --rerank have no meaning with it");
    }
    if (q->output_format == OMEN_RESULTS_IVECS && q->distances) {
        return cmd_misuse(NAME, "ivecs holds no distances; use --output-format tsv, jsonl or npy");
    }
    if (q->output_path == NULL && isatty(STDOUT_FILENO) &&
        (q->output_format == OMEN_RESULTS_IVECS || q->output_format == OMEN_RESULTS_NPY)) {
        return cmd_misuse(NAME, "%s is binary and standard output is a terminal; use --output FILE or a pipe",
                          q->output_format_name);
    }
    return CMD_GO_ON;
}

static int parse_arguments(struct query *q, int argc, char **argv)
{
    int option;

    while ((option = cmd_next_option(NAME, argc, argv, short_options, long_options)) != -1) {
        if (option == 'h') {
            print_usage();
            return CMD_EXIT_OK;
        }
        if (option == CMD_BAD_OPTION) {
            return CMD_EXIT_USAGE;
        }
        if (!take_option(q, option, optarg)) {
            return CMD_EXIT_USAGE;
        }
    }
    if (argc - optind < 1) {
        return cmd_misuse(NAME, "no INDEX given; see \"omendb query --help\"");
    }
    if (argc - optind > 2) {
        return cmd_misuse(NAME, "one INDEX and one QUERIES at a time; \"%s\" is one too many", argv[optind + 2]);
    }
    q->index_path = argv[optind];
    q->queries_path = argc - optind > 1 ? argv[optind + 1] : "-";
    if (q->output_path != NULL && strcmp(q->output_path, "-") == 0) {
        q->output_path = NULL;
    }
    return check_arguments(q);
}

/* ---- the work ---- */

struct batch {
    uint64_t n_rows; /* at most */
    float *rows;
    int64_t *ids;
    float *distances; /* NULL if not asked for */
};

static void batch_free(struct batch *batch)
{
    free(batch->rows);
    free(batch->ids);
    free(batch->distances);
}

static int batch_init(struct batch *batch, uint64_t n_queries, uint32_t d, uint32_t k, bool distances)
{
    uint64_t row_bytes = (uint64_t)d * sizeof(float) + (uint64_t)k * (sizeof(int64_t) + sizeof(float));
    uint64_t fitting = BATCH_BYTES / row_bytes;

    batch->n_rows = n_queries < BATCH_ROWS ? n_queries : BATCH_ROWS;
    if (batch->n_rows > fitting) {
        batch->n_rows = fitting > 0 ? fitting : 1;
    }
    batch->rows = malloc(batch->n_rows * d * sizeof(float));
    batch->ids = malloc(batch->n_rows * k * sizeof(int64_t));
    batch->distances = distances ? malloc(batch->n_rows * k * sizeof(float)) : NULL;
    if (batch->rows == NULL || batch->ids == NULL || (distances && batch->distances == NULL)) {
        return OMEN_ERR_MEMORY;
    }
    return OMEN_OK;
}

/* The library counts queries from the start of a batch; a message has to count them from the start of the input. */
static void locate_zero_query(const struct batch *batch, uint64_t first, uint64_t n, uint32_t d, omen_detail *why)
{
    for (uint64_t i = 0; i < n; i++) {
        const float *row = batch->rows + i * d;
        uint32_t j = 0;

        while (j < d && row[j] == 0) {
            j++;
        }
        if (j == d) {
            omen_fail(why, OMEN_ERR_INPUT, "query %llu is a zero vector, which has no direction; see --zero-ok",
                      (unsigned long long)(first + i));
            return;
        }
    }
}

/* Adds the time since *clock to *sum, and sets the clock anew. */
static void lap(double *clock, double *sum)
{
    double now = cmd_seconds();

    *sum += now - *clock;
    *clock = now;
}

static int search_all(const struct query *q, const omen_index *index, const omen_source *source,
                      const omen_results *results, struct batch *batch, struct cmd_query_outcome *o, omen_detail *why)
{
    cmd_progress progress;
    double clock = cmd_seconds();
    uint64_t n;
    int rc;

    cmd_progress_init(&progress, q->verbosity < 0 ? -1 : 0);
    rc = omen_results_begin(results, why);
    for (uint64_t first = 0; rc == OMEN_OK && first < source->n_rows; first += n) {
        n = source->n_rows - first < batch->n_rows ? source->n_rows - first : batch->n_rows;
        cmd_progress_update(&progress, "search", first, source->n_rows);
        rc = source->read(source->self, first, n, batch->rows, why);
        lap(&clock, &o->read_seconds);
        if (rc == OMEN_OK) {
            rc = omen_index_search(index, &q->search, batch->rows, n, batch->ids, batch->distances, &o->stats, why);
            rc = cmd_name_damage(q->index_path, rc, why);
            lap(&clock, &o->search_seconds);
            if (rc == OMEN_ERR_INPUT) {
                locate_zero_query(batch, first, n, source->d, why);
            }
        }
        if (rc == OMEN_OK) {
            rc = omen_results_write(results, first, n, batch->ids, batch->distances, why);
            lap(&clock, &o->write_seconds);
        }
    }
    cmd_progress_clear(&progress);
    return rc;
}

static int run(struct query *q)
{
    struct cmd_query_outcome o = {.exact = q->search.exact};
    omen_detail why = {.text = ""};
    omen_container *container = NULL;
    omen_index *index = NULL;
    omen_vectors *vectors = NULL;
    omen_source source;
    omen_results results;
    cmd_output output = {.stream = NULL};
    struct batch batch = {.n_rows = 0};
    double started = cmd_seconds();
    int rc;

    cmd_signals_exit(NAME, q->output_path != NULL ? "interrupted; nothing was written" : "interrupted");
    rc = omen_cpu_select(q->cpu, &why);
    if (rc != OMEN_OK) {
        goto out;
    }
    q->search.n_threads = cmd_threads(q->search.n_threads);
    rc = cmd_open_index(&container, &index, q->index_path, !q->no_check, &o.info, &why);
    if (rc != OMEN_OK) {
        goto out;
    }
    q->search.refine_cold = o.info.refine_bytes > cmd_memory_bytes() / 2;
    if (q->search.exact && o.info.refine == OMEN_REFINE_NONE) {
        rc = omen_fail(&why, OMEN_ERR_ARGUMENT, "--exact needs a refine tier, and the index was built without one");
        goto out;
    }
    rc = cmd_open_rows(&vectors, q->queries_path, q->format, q->d, o.info.d, &why);
    if (rc != OMEN_OK) {
        goto out;
    }
    source = omen_vectors_source(vectors);
    if (source.d != o.info.d) {
        rc = omen_fail(&why, OMEN_ERR_INPUT, "queries have %u dimensions, the index has %u", source.d, o.info.d);
        goto out;
    }
    o.k = q->search.k < o.info.n_rows ? q->search.k : (uint32_t)o.info.n_rows;
    o.n_threads = q->search.n_threads;
    rc = batch_init(&batch, source.n_rows, source.d, o.k, q->distances);
    if (rc == OMEN_OK) {
        rc = cmd_output_open(&output, q->output_path, NULL, &why);
    }
    if (rc != OMEN_OK) {
        goto out;
    }
    results = (omen_results){output.stream, q->output_format, q->distances, source.n_rows, o.k};
    o.open_seconds = cmd_seconds() - started;
    rc = search_all(q, index, &source, &results, &batch, &o, &why);
    if (rc == OMEN_OK) {
        started = cmd_seconds();
        rc = cmd_output_commit(&output, &why);
        lap(&started, &o.write_seconds);
    }

out:
    cmd_output_close(&output);
    batch_free(&batch);
    omen_vectors_close(vectors);
    omen_index_close(index);
    omen_container_close(container);
    if (rc != OMEN_OK) {
        return cmd_fail(NAME, rc, &why);
    }
    if (q->json) {
        return cmd_query_json(&o);
    }
    if (q->verbosity > 0) {
        cmd_query_summary(&o);
    }
    return CMD_EXIT_OK;
}

int cmd_query(int argc, char **argv)
{
    struct query q = {.output_format = OMEN_RESULTS_TSV};
    int rc;

    omen_search_options_init(&q.search);
    q.search.k = DEFAULT_K;
    rc = parse_arguments(&q, argc, argv);
    return rc == CMD_GO_ON ? run(&q) : rc;
}
