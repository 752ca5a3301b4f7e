/* omendb build: a vector file in, an index file out. */
#include "cmd/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME             "build"
#define INTERRUPTED      "interrupted; nothing was written"
#define MEMORY_SHARE     0.75 /* of what there is, unless --memory says otherwise */
#define NEAR_COPIES_MANY 0.5  /* of the rows, to warn of */

struct build {
    const char *input;
    const char *output;   /* as asked for, else default_output */
    char *default_output; /* owned */
    const char *tune_queries;
    const char *cpu;
    omen_vectors_options vectors;
    omen_build_options options;
    int verbosity; /* -1 quiet, 1 verbose */
    bool json;
    bool fresh;
    bool is_resumed;
    bool is_kept; /* a resumable checkpoint remains */
    cmd_progress progress;
};

static void print_usage(void)
{
    printf("usage: omendb build [options] INPUT\n"
           "\n"
           "Writes an index of all vectors in INPUT (a file, or \"-\" for standard input).\n"
           "The index appears under its name when it is complete, never before.\n"
           "\n"
           "input and output:\n"
           "  -o, --output FILE    the index (default: INPUT with its extension replaced by .omen;\n"
           "                       required when INPUT is \"-\")\n"
           "  -f, --format NAME    format of INPUT (default: by extension and content), one of\n"
           "                       %s\n"
           "  -d, --dim N          dimensions of a row, needed for raw; elsewhere a check\n"
           "      --tune-queries FILE\n"
           "                       measure search effort on these queries, for queries of another\n"
           "                       distribution than the rows (default: measure on rows of INPUT)\n"
           "      --zero-ok        cosine: accept zero rows, at distance 1 from everything\n"
           "                       (default: an error)\n"
           "\n"
           "index:\n"
           "  -m, --metric NAME    l2, ip or cosine (default l2)\n"
           "  -b, --bytes N        hot bytes a vector, code and factors together, %u to %u\n"
           "                       (default %u)\n"
           "  -c, --codec NAME     auto, pq, rabitq or none (default auto: the smaller measured error)\n"
           "  -r, --refine NAME    rows for re-ranking: sq8, f16, f32 or none (default sq8)\n"
           "  -l, --lists N        inverted lists (default: from the number of rows)\n"
           "      --seed N         seed of all random choices (default 0)\n"
           "\n"
           "work:\n"
           "  -t, --threads N      threads (default: the processors this process may use); the index\n"
           "                       does not depend on it\n"
           "      --cpu LEVEL      SIMD level: scalar, avx2, avx512, avx512vnni or neon (default: the best)\n"
           "  -M, --memory SIZE    private memory to stay under, such as 512M or 4G (default: three\n"
           "                       quarters of what the machine or its cgroup has); refused at once\n"
           "                       when it cannot do\n"
           "      --chunk-rows N   rows between two checkpoints (default: as many as make 32 MiB,\n"
           "                       or hold 64 Mi values)\n"
           "      --fresh          start over: do not continue a checkpoint\n"
           "\n"
           "messages:\n"
           "  -q, --quiet          no progress, warnings or summary\n"
           "  -v, --verbose        say more on stderr\n"
           "      --json           print a summary as one JSON object on stdout, none on stderr\n"
           "  -h, --help           print this help\n"
           "\n"
           "A build that was killed or interrupted leaves a checkpoint, OUTPUT.part; the same command\n"
           "continues it and ends in the same index.\n"
           "\n"
           "distances (smaller is nearer): l2 is the squared Euclidean distance, ip the negated inner\n"
           "product, cosine is 1 - cosine similarity.\n"
           "\n"
           "examples:\n"
           "  omendb build base.fvecs                          writes base.omen\n"
           "  omendb build -m cosine -b 48 -o news.omen embeddings.npy\n"
           "  zcat base.f32.gz | omendb build -f raw -d 768 -o base.omen -\n",
           omen_vectors_formats(), OMEN_MIN_BYTES, OMEN_MAX_BYTES, OMEN_DEFAULT_BYTES);
}

/* ---- arguments ---- */

enum { OPT_SEED = 256, OPT_TUNE_QUERIES, OPT_CPU, OPT_ZERO_OK, OPT_JSON, OPT_CHUNK_ROWS, OPT_FRESH };

static const char short_options[] = ":o:f:d:m:b:c:r:l:t:M:qvh";

static const struct option long_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"format", required_argument, NULL, 'f'},
    {"dim", required_argument, NULL, 'd'},
    {"metric", required_argument, NULL, 'm'},
    {"bytes", required_argument, NULL, 'b'},
    {"codec", required_argument, NULL, 'c'},
    {"refine", required_argument, NULL, 'r'},
    {"lists", required_argument, NULL, 'l'},
    {"threads", required_argument, NULL, 't'},
    {"seed", required_argument, NULL, OPT_SEED},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"memory", required_argument, NULL, 'M'},
    {"chunk-rows", required_argument, NULL, OPT_CHUNK_ROWS},
    {"fresh", no_argument, NULL, OPT_FRESH},
    {"tune-queries", required_argument, NULL, OPT_TUNE_QUERIES},
    {"zero-ok", no_argument, NULL, OPT_ZERO_OK},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Takes one option; false, after a message, if its value is bad. */
static bool take_option(struct build *b, int option, const char *value)
{
    uint64_t number;

    switch (option) {
    case 'o':
        b->output = value;
        return true;
    case 'f':
        b->vectors.format = value;
        return true;
    case 'd':
        return cmd_parse_dim(NAME, value, &b->vectors.d);
    case 'm':
        if (omen_metric_parse(value, &b->options.metric) != OMEN_OK) {
            cmd_say(NAME, "--metric must be l2, ip or cosine, not \"%s\"", value);
            return false;
        }
        return true;
    case 'b':
        if (!cmd_parse_integer(NAME, "--bytes", value, OMEN_MIN_BYTES, OMEN_MAX_BYTES, &number)) {
            return false;
        }
        b->options.bytes = (uint32_t)number;
        return true;
    case 'c':
        if (omen_codec_parse(value, &b->options.codec) != OMEN_OK) {
            cmd_say(NAME, "--codec must be auto, pq, rabitq or none, not \"%s\"", value);
            return false;
        }
        return true;
    case 'r':
        if (omen_refine_parse(value, &b->options.refine) != OMEN_OK) {
            cmd_say(NAME, "--refine must be sq8, f16, f32 or none, not \"%s\"", value);
            return false;
        }
        return true;
    case 'l':
        if (!cmd_parse_integer(NAME, "--lists", value, 1, UINT32_MAX, &number)) {
            return false;
        }
        b->options.n_lists = (uint32_t)number;
        return true;
    case 't':
        return cmd_parse_threads(NAME, value, &b->options.n_threads);
    case OPT_SEED:
        return cmd_parse_integer(NAME, "--seed", value, 0, UINT64_MAX, &b->options.seed);
    case OPT_CPU:
        b->cpu = value;
        return true;
    case 'M':
        return cmd_parse_size(NAME, "--memory", value, &b->options.memory_bytes);
    case OPT_CHUNK_ROWS:
        return cmd_parse_integer(NAME, "--chunk-rows", value, 1, UINT32_MAX, &b->options.chunk_rows);
    case OPT_FRESH:
        b->fresh = true;
        return true;
    case OPT_TUNE_QUERIES:
        b->tune_queries = value;
        return true;
    case OPT_ZERO_OK:
        b->options.zero_ok = true;
        return true;
    case 'q':
        b->verbosity = -1;
        return true;
    case 'v':
        b->verbosity = 1;
        return true;
    default: /* OPT_JSON */
        b->json = true;
        return true;
    }
}

static int parse_arguments(struct build *b, int argc, char **argv)
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
        if (!take_option(b, option, optarg)) {
            return CMD_EXIT_USAGE;
        }
    }
    if (argc - optind < 1) {
        return cmd_misuse(NAME, "no INPUT given; see \"omendb build --help\"");
    }
    if (argc - optind > 1) {
        return cmd_misuse(NAME, "one INPUT at a time; \"%s\" is one too many", argv[optind + 1]);
    }
    b->input = argv[optind];
    return CMD_GO_ON;
}

/* The input's name with its last extension replaced; a dot that starts the file name starts no extension. */
static char *replace_extension(const char *input)
{
    const char *slash = strrchr(input, '/');
    const char *name = slash != NULL ? slash + 1 : input;
    const char *dot = strrchr(name, '.');
    char *out;

    if (dot == NULL || dot == name) {
        dot = name + strlen(name);
    }
    return asprintf(&out, "%.*s.omen", (int)(dot - input), input) >= 0 ? out : NULL;
}

/* Settles the output's name and refuses those that would destroy something. */
static int choose_output(struct build *b)
{
    struct stat status;

    if (b->output == NULL) {
        if (strcmp(b->input, "-") == 0) {
            return cmd_misuse(NAME, "--output is required when INPUT is standard input");
        }
        b->default_output = replace_extension(b->input);
        if (b->default_output == NULL) {
            return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
        }
        b->output = b->default_output;
    }
    if (b->output[0] == '\0') {
        return cmd_misuse(NAME, "--output wants a file name");
    }
    if (strcmp(b->output, "-") == 0) {
        return cmd_misuse(NAME, "an index cannot go to standard output; name a file with --output");
    }
    /* An index is written at any place and read back, which a pipe or a terminal cannot do. */
    if (omen_file_descriptor(b->output) >= 0 ||
        (stat(b->output, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))) {
        return cmd_misuse(NAME, "\"%s\" is not a regular file", b->output);
    }
    const cmd_file files[] = {
        {.role = "INPUT", .path = b->input},
        {.role = "--tune-queries", .path = b->tune_queries},
        {.role = "--output", .path = b->output, .is_output = true, .has_checkpoint = true},
        {.path = b->json ? "-" : NULL, .is_output = true},
    };
    const int rc = cmd_files_check(NAME, files, sizeof files / sizeof files[0]);
    return rc == CMD_GO_ON ? cmd_check_extension(NAME, b->output, "omen", "an index") : rc;
}

/* ---- the work ---- */

/* Tells what a continued build begins with. */
static void say_resumed(void *context, const char *stage, uint64_t row, uint64_t n_rows)
{
    struct build *b = context;

    b->is_resumed = true;
    if (b->verbosity < 0) {
        return;
    }
    cmd_progress_clear(&b->progress);
    if (row > 0 && row < n_rows) {
        cmd_say(NAME, "resuming at row %s of %s (%s)", cmd_group(row).text, cmd_group(n_rows).text, stage);
    } else {
        cmd_say(NAME, "resuming (%s)", stage);
    }
}

static int show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct build *b = context;

    return cmd_progress_update(&b->progress, stage, done, total);
}

/* Shows the plan, and refuses it when there is no room on the disk beside what an earlier build left there. */
static int check_plan(struct build *b, const omen_source *source, omen_detail *why)
{
    omen_build_plan plan;
    struct stat status;
    uint64_t there = 0;
    char *part;
    int rc = omen_build_plan_make(source, &b->options, true, &plan, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    if (b->verbosity > 0) {
        fprintf(stderr, "plan: memory %s of %s allowed; %s %s of %s rows; on disk: checkpoint %s, index %s\n",
                cmd_human_bytes(plan.memory_bytes).text, cmd_human_bytes(b->options.memory_bytes).text,
                cmd_group(plan.n_chunks).text, plan.n_chunks == 1 ? "chunk" : "chunks", cmd_group(plan.chunk_rows).text,
                cmd_human_bytes(plan.checkpoint_bytes).text, cmd_human_bytes(plan.index_bytes).text);
    }
    if (asprintf(&part, "%s.part", b->output) < 0) {
        return OMEN_ERR_MEMORY;
    }
    if (lstat(part, &status) == 0) {
        there = (uint64_t)status.st_blocks * 512;
    }
    free(part);
    return there < plan.checkpoint_bytes + plan.index_bytes
               ? omen_disk_check(b->output, plan.checkpoint_bytes + plan.index_bytes - there, why)
               : OMEN_OK;
}

/* What the finished file says about itself is what the summary tells. */
static int read_info(const struct build *b, const omen_writer *writer, omen_index_info *info, omen_detail *why)
{
    omen_container *container = NULL;
    omen_index *index = NULL;
    int rc = omen_writer_open(writer, &container, why);

    if (rc == OMEN_OK) {
        rc = cmd_read_index(&container, &index, b->output, true, info, why);
    }
    omen_index_close(index);
    omen_container_close(container);
    return rc;
}

/* Input to committed file, and what it says about itself. Returns an OMEN_ code. */
static int build_file(struct build *b, const omen_source *source, struct cmd_build_outcome *o, omen_detail *why)
{
    omen_writer *writer = NULL;
    omen_part *part = NULL;
    omen_checkpoint checkpoint;
    omen_sink sink;
    int rc;

    cmd_progress_init(&b->progress, b->verbosity);
    b->options.progress = show_progress;
    b->options.resumed = say_resumed;
    b->options.progress_context = b;

    rc = check_plan(b, source, why);
    if (rc == OMEN_OK) {
        rc = omen_writer_create(&writer, b->output, why);
    }
    if (rc == OMEN_OK) {
        rc = omen_part_open(&part, b->output, b->fresh, why);
    }
    if (rc != OMEN_OK) {
        omen_writer_destroy(writer);
        return rc;
    }
    sink = omen_writer_sink(writer);
    checkpoint = omen_part_checkpoint(part);
    rc = omen_index_build(source, &b->options, &sink, &checkpoint, &o->report, why);
    cmd_progress_clear(&b->progress);
    if (rc == OMEN_OK && cmd_signals_noted() != 0) {
        rc = OMEN_ERR_INTERRUPTED;
    }
    if (rc == OMEN_OK) {
        rc = omen_writer_commit(writer, &o->file_bytes, why);
    }
    /* Kept for what may go better next time; of what cannot, such as a bad row, nothing is left. */
    if (rc == OMEN_OK || ((rc == OMEN_ERR_INPUT || rc == OMEN_ERR_ARGUMENT) && omen_part_is_written(part))) {
        omen_part_remove(part);
    } else if (rc == OMEN_ERR_INPUT || rc == OMEN_ERR_ARGUMENT || rc == OMEN_ERR_CORRUPT) {
        const size_t n = strlen(why->text);
        snprintf(why->text + n, sizeof why->text - n, "; --fresh starts over (\"%.200s\")", omen_part_path(part));
    }
    b->is_kept = checkpoint.get(checkpoint.self, 1, &(omen_record){0});
    omen_part_close(part);
    if (rc == OMEN_OK) {
        rc = read_info(b, writer, &o->info, why);
    }
    omen_writer_destroy(writer);
    return rc;
}

/* What a stop by a signal leaves. */
static void say_interrupted(const struct build *b, const omen_build_report *report)
{
    if (!b->is_kept) {
        cmd_say(NAME, INTERRUPTED);
    } else if (report->n_encoded > 0 && report->n_encoded < report->n_rows) {
        cmd_say(NAME, "interrupted at row %s of %s; the same command continues there",
                cmd_group(report->n_encoded).text, cmd_group(report->n_rows).text);
    } else {
        cmd_say(NAME, "interrupted; the same command continues");
    }
}

static int run(struct build *b)
{
    struct cmd_build_outcome o = {.input = b->input, .output = b->output};
    omen_detail why = {.text = ""};
    omen_vectors *vectors = NULL, *tune_vectors = NULL;
    omen_source source, tune_source;
    double started;
    int rc;

    rc = omen_cpu_select(b->cpu, &why);
    if (rc != OMEN_OK) {
        return cmd_fail(NAME, rc, &why);
    }

    /* Nothing exists yet while standard input is spooled, so a signal may end the process there. */
    cmd_signals_exit(NAME, INTERRUPTED);
    started = cmd_seconds();
    b->options.n_threads = cmd_threads(b->options.n_threads);
    rc = omen_vectors_open(&vectors, b->input, &b->vectors, &why);
    if (rc != OMEN_OK) {
        goto out;
    }
    source = omen_vectors_source(vectors);
    if (b->verbosity > 0) {
        fprintf(stderr, "%s: %s, %s x %u, %s bytes\n", cmd_printable(b->input).text, omen_vectors_format(vectors),
                cmd_group(source.n_rows).text, source.d, cmd_group(source.n_bytes).text);
    }

    if (b->tune_queries != NULL) {
        const omen_vectors_options detect = {.format = NULL};
        rc = omen_vectors_open(&tune_vectors, b->tune_queries, &detect, &why);
        if (rc != OMEN_OK) {
            goto out;
        }
        tune_source = omen_vectors_source(tune_vectors);
        b->options.tune_queries = &tune_source;
    }

    cmd_signals_note();
    rc = build_file(b, &source, &o, &why);
    o.seconds = cmd_seconds() - started;
    o.is_resumed = b->is_resumed;

out:
    omen_vectors_close(tune_vectors);
    omen_vectors_close(vectors);
    if (rc == OMEN_ERR_INTERRUPTED) {
        say_interrupted(b, &o.report);
        return cmd_exit_code(rc);
    }
    if (rc != OMEN_OK) {
        /* What is not supported here is the input. */
        cmd_fail(NAME, rc, &why);
        return cmd_exit_code(rc == OMEN_ERR_UNSUPPORTED ? OMEN_ERR_INPUT : rc);
    }
    if (o.report.few_training_rows && b->verbosity >= 0) {
        cmd_say(NAME, "warning: too few rows for %s lists, the partition will be poor; try fewer with --lists",
                cmd_group(o.info.n_lists).text);
    }
    if (o.report.near_copies > NEAR_COPIES_MANY && b->verbosity >= 0) {
        cmd_say(NAME,
                "warning: %.0f%% of the rows have a near copy, so queries that are no rows may find less than "
                "--recall asks for; measure on some with --tune-queries",
                100 * o.report.near_copies);
    }
    if (b->json) {
        return cmd_build_json(&o);
    }
    if (b->verbosity >= 0) {
        cmd_build_summary(&o, b->verbosity > 0);
    }
    return CMD_EXIT_OK;
}

int cmd_build(int argc, char **argv)
{
    struct build b = {.input = NULL};
    int rc;

    omen_build_options_init(&b.options);
    b.options.memory_bytes = (uint64_t)(MEMORY_SHARE * (double)cmd_memory_bytes());
    rc = parse_arguments(&b, argc, argv);
    if (rc == CMD_GO_ON) {
        rc = choose_output(&b);
    }
    if (rc == CMD_GO_ON) {
        rc = run(&b);
    }
    free(b.default_output);
    return rc;
}
