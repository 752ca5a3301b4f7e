/* SPDX-License-Identifier: Apache-2.0 */
/* omendb build: files of vectors in, an index file out. */
#include "cmd/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/shards.h"

#define NAME        "build"
#define INTERRUPTED "interrupted; nothing was written"
#define NOT_GIVEN   UINT32_MAX /* an option of the index, while the command line is read */

struct build {
    omen_build_paths paths; /* output: as asked for, else default_output */
    char *default_output;   /* owned */
    const char *model;      /* NULL: all of an index is built */
    const char *shard;      /* as it was given, */
    uint64_t number, count; /* and what it says */
    const char *list;       /* that names the inputs; NULL: the command line does */
    omen_paths inputs;
    bool names_output; /* there is one input, which was named itself */
    const char *cpu;
    omen_vectors_options vectors;
    omen_build_options options;
    cmd_columns columns;
    cmd_key key;
    int verbosity; /* -1 quiet, 1 verbose */
    bool json;
    bool is_resumed;
    cmd_progress progress;
};

/* ---- arguments ---- */

static const cmd_option options[] = {
    {.group = "input and output",
     .letters = "o",
     .name = "output",
     .argument = "FILE",
     CMD_TEXT(struct build, paths.output),
     .help = "the index (default: INPUT with its extension replaced by .omen;\n"
             "required when INPUT is not one file)"},
    {CMD_OPTION_INPUTS(struct build, list, "INPUT")},
    {.letters = "f",
     .name = "format",
     CMD_OPTION_FORMAT(struct build, vectors.format, "INPUT") ", one of\n",
     .names = omen_vectors_formats},
    {.letters = "d",
     CMD_OPTION_DIM(struct build, vectors.d),
     .help = "dimensions of a row, needed for raw; elsewhere a check"},
    {.name = "tune-queries",
     .argument = "FILE",
     .files = CMD_FILES_VECTORS,
     CMD_TEXT(struct build, paths.tune_queries),
     .help = "measure search effort on these queries, for queries of another\n"
             "distribution than the rows (default: measure on rows of INPUT)"},
    {CMD_OPTION_KEY(struct build, key, "keys of the rows, which query prints instead of their numbers:\n")},
    {.name = "allow-duplicates",
     CMD_FLAG(struct build, paths.allow_duplicates),
     .help = "several rows may have the same key (default: an error)"},
    CMD_OPTIONS_COLUMNS(struct build, columns),
    {.name = "zero-ok",
     CMD_FLAG(struct build, options.zero_ok),
     .help = "cosine: accept zero rows, at distance 1 from everything\n"
             "(default: an error)"},

    CMD_OPTIONS_INDEX(struct build, options),
    {.name = "graph",
     CMD_FLAG(struct build, options.graph.wanted),
     .help = "add a graph over the same rows, a second way to search, which is\n"
             "faster for single queries; some 200 bytes a vector more"},
    {.name = "degree",
     .argument = "N",
     CMD_U32(struct build, options.graph.degree, OMEN_MIN_DEGREE, OMEN_MAX_DEGREE),
     .usual = OMEN_DEFAULT_DEGREE,
     .help = "neighbours of a row in the graph, %l to %m (default %d)"},
    {CMD_OPTION_SEED(struct build, options.seed, "")},

    {.group = "a part of a build",
     .name = "model",
     .argument = "FILE",
     CMD_TEXT(struct build, model),
     .help = "encode rows with this model, of omendb train, which has the options\n"
             "of the index: those of INPUT, into an index; or a shard of the\n"
             "rows that it was trained on"},
    {.name = "shard",
     .argument = "I/N",
     CMD_TEXT(struct build, shard),
     .help = "which rows: part I, from 0 on, of N. Reads the model's inputs,\n"
             "unless copies are named, and writes a shard, for omendb merge, into\n"
             "--output, a file or a directory"},

    {.group = "work",
     CMD_OPTION_THREADS(struct build, options.n_threads,
                        "; the index\n"
                        "does not depend on it")},
    {CMD_OPTION_CPU(struct build, cpu)},
    {CMD_OPTION_MEMORY(struct build, options.memory_bytes)},
    {CMD_OPTION_TMP(struct build, paths.checkpoint_directory,
                    " and for the\n"
                    "checkpoint, which else is beside the output")},
    {.name = "chunk-rows",
     .argument = "N",
     CMD_U64(struct build, options.chunk_rows, 1, UINT32_MAX),
     .help = "rows between two checkpoints (default: as many as make 32 MiB,\n"
             "or hold 64 Mi values)"},
    {.name = "fresh", CMD_FLAG(struct build, paths.fresh), .help = "start over: do not continue a checkpoint"},

    {.group = "messages", CMD_OPTION_QUIET(struct build, verbosity), .help = "no progress, warnings or summary"},
    {CMD_OPTION_VERBOSE(struct build, verbosity), .help = "say more on stderr"},
    {CMD_OPTION_JSON(struct build, json), .help = "print a summary as one JSON object on stdout, none on stderr"},
    {CMD_OPTION_HELP},
};

const cmd_syntax cmd_build_syntax = {
    .command = NAME,
    .usage = "usage: omendb build [options] INPUT...\n"
             "       omendb build [options] --model MODEL --shard I/N -o SHARD [INPUT...]\n"
             "       omendb build [options] --model MODEL INPUT...\n"
             "\n"
             "Writes an index of all vectors in INPUT: a file, \"-\" for standard input, or a directory, whose\n"
             "files are taken in byte order of their names. Rows of several are numbered consecutively, as if\n"
             "they stood in one file. The index appears under its name when it is complete, never before.\n",
    .notes = "A build that was killed or interrupted leaves a checkpoint, OUTPUT.part; the same command\n"
             "continues it and ends in the same index.\n"
             "\n"
             "distances (smaller is nearer): l2 is the squared Euclidean distance, ip the negated inner\n"
             "product, cosine is 1 - cosine similarity.\n"
             "\n"
             "examples:\n"
             "  omendb build base.fvecs                          writes base.omen\n"
             "  omendb build -m cosine -b 48 -o news.omen embeddings.npy\n"
             "  omendb build -o all.omen part-0.npy part-1.npy   or all of a directory: parts/\n"
             "  omendb build base.fvecs.gz                       unpacks it to TMPDIR first\n"
             "  make-vectors | omendb build -f raw -d 768 -o base.omen -\n"
             "  omendb build --model m.model --shard 0/100 -o parts/\n",
    .column = 23,
    .operands = CMD_FILES_VECTORS,
    .options = options,
    .n_options = CMD_COUNT(options),
};

static int find_inputs(struct build *b, char **words, int n)
{
    omen_detail why = {.text = ""};

    if (n == 0 && !b->list) { /* they are the model's */
        cmd_signals_exit(NAME, INTERRUPTED);
        return CMD_GO_ON;
    }
    /* Nothing exists yet while standard input is spooled, here or later, so a signal may end the process there. */
    cmd_signals_exit(NAME, INTERRUPTED);
    const int status =
        cmd_find_inputs(&b->inputs, b->list, (const char *const *)words, (size_t)n, b->vectors.format, &why);

    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    b->paths.inputs = (const char *const *)b->inputs.names;
    b->paths.n_inputs = b->inputs.n;
    if (b->inputs.n == 1)
        b->paths.input = b->inputs.names[0];
    b->names_output = n == 1 && b->inputs.n == 1 && strcmp(words[0], b->inputs.names[0]) == 0;
    if (cmd_is_stream(b->list) + cmd_inputs_streams(&b->inputs) + cmd_is_stream(b->paths.keys) +
            cmd_columns_streams(&b->columns) >
        1)
        return cmd_misuse(NAME, "standard input can be one of %s, --key, --columns, --column and --tags only",
                          b->list ? "--inputs, what it names" : "INPUT");
    return CMD_GO_ON;
}

/* Reads "I/N". */
static int parse_shard(struct build *b)
{
    const char *slash = strchr(b->shard, '/');
    char number[24];

    if (!slash || slash - b->shard >= (ptrdiff_t)sizeof number)
        return cmd_misuse(NAME, "--shard wants I/N, such as 0/100, not \"%s\"", b->shard);
    snprintf(number, sizeof number, "%.*s", (int)(slash - b->shard), b->shard);
    if (!cmd_parse_integer(NAME, "N of --shard I/N", slash + 1, 1, UINT32_MAX, &b->count) ||
        !cmd_parse_integer(NAME, "I of --shard I/N, counted from 0,", number, 0, b->count - 1, &b->number))
        return CMD_EXIT_USAGE;
    return CMD_GO_ON;
}

/* What a model encodes has only what the model does not say. */
static int check_shard(struct build *b, bool has_inputs)
{
    const omen_build_options *o = &b->options;

    if (!b->model)
        return cmd_misuse(NAME, "--shard is of a model: name it with --model");
    if (o->metric != NOT_GIVEN || o->bytes != NOT_GIVEN || o->codec != NOT_GIVEN || o->refine != NOT_GIVEN ||
        o->lists.n != 0 || o->seed != 0 || o->zero_ok)
        return cmd_misuse(NAME, "--metric, --bytes, --codec, --refine, --lists, --seed and --zero-ok are the model's: "
                                "give them to omendb train");
    if (!b->shard)
        return CMD_GO_ON;
    if (o->graph.wanted || b->key.value || cmd_columns_are_given(&b->columns))
        return cmd_misuse(NAME, "--graph, --key and columns are of the index: give them to omendb merge");
    if (!has_inputs && (b->vectors.format || b->vectors.d))
        return cmd_misuse(NAME, "--format and --dim are of copies of the inputs: the model has its own");
    if (!b->paths.output)
        return cmd_misuse(NAME, "--output is required with --shard");
    return parse_shard(b);
}

/* Takes the defaults where nothing was given, now that a shard has refused what was. */
static void settle_options(omen_build_options *o)
{
    omen_build_options usual;

    omen_build_options_init(&usual);
    o->metric = o->metric == NOT_GIVEN ? usual.metric : o->metric;
    o->bytes = o->bytes == NOT_GIVEN ? usual.bytes : o->bytes;
    o->codec = o->codec == NOT_GIVEN ? usual.codec : o->codec;
    o->refine = o->refine == NOT_GIVEN ? usual.refine : o->refine;
}

static int parse_arguments(struct build *b, int argc, char **argv)
{
    omen_build_options *o = &b->options;

    o->metric = (omen_metric)NOT_GIVEN;
    o->codec = (omen_codec)NOT_GIVEN;
    o->refine = (omen_refine)NOT_GIVEN;
    o->bytes = NOT_GIVEN;
    int status = cmd_options_parse(&cmd_build_syntax, argc, argv, b);

    if (status == CMD_GO_ON)
        status = cmd_tmp_settle(NAME, b->paths.checkpoint_directory);
    if (status != CMD_GO_ON)
        return status;
    if (b->model || b->shard) {
        const int misused = check_shard(b, argc - optind > 0 || b->list);
        if (misused != CMD_GO_ON)
            return misused;
    }
    settle_options(o);
    if (argc - optind < 1 && !b->list && !b->shard)
        return cmd_misuse(NAME, "no INPUT given; see \"omendb build --help\"");
    if (argc - optind > 0 && b->list)
        return cmd_misuse(NAME, "--inputs names the inputs: \"%s\" is one too many", argv[optind]);
    if (b->options.graph.degree > 0 && !b->options.graph.wanted)
        return cmd_misuse(NAME, "--degree is that of a graph: add --graph, or leave it out");
    if (b->paths.allow_duplicates && !b->key.value)
        return cmd_misuse(NAME, "--allow-duplicates is of the keys: name them with --key");
    int misused = cmd_columns_check(NAME, &b->columns);
    if (misused == CMD_GO_ON)
        misused = cmd_key_find(NAME, &b->key, &b->columns);
    if (misused != CMD_GO_ON)
        return misused;
    b->paths.keys = b->key.path;
    b->paths.key_column = b->key.column;
    return find_inputs(b, argv + optind, argc - optind);
}

/* The name of a file with its last extension, and .gz or .zst behind that, replaced; a dot that starts the file name
 * starts no extension. Of FILE:PART it is FILE-PART. */
static char *replace_extension(const char *input)
{
    const size_t n_file = omen_vectors_file_bytes(input);
    char *file = strndup(input, n_file), *out = NULL;

    if (!file)
        return NULL;
    const char *slash = strrchr(file, '/');
    const char *name = slash ? slash + 1 : file, *end = file + omen_vectors_stem(file);
    const char *dot = end > name ? memrchr(name, '.', (size_t)(end - name)) : NULL;

    if (!dot || dot == name)
        dot = end > name ? end : file + n_file;
    const int n_kept = (int)(dot - file);
    const char *part = input[n_file] == ':' ? input + n_file + 1 : "";
    if (asprintf(&out, "%.*s%s%s.omen", n_kept, file, *part != '\0' ? "-" : "", part) < 0)
        out = NULL;
    for (char *c = out ? out + n_kept : NULL; c && *c != '\0'; c++)
        if (*c == '/')
            *c = '-';
    free(file);
    return out;
}

/* In a directory a shard has a name of its own. False without memory. */
static bool name_shard(struct build *b)
{
    const char *given = b->paths.output;
    const bool ends = given[strlen(given) - 1] == '/';
    struct stat info;

    if (!ends && (stat(given, &info) != 0 || !S_ISDIR(info.st_mode)))
        return true;
    if (asprintf(&b->default_output, "%s%sshard-%05llu-of-%05llu.shard", given, ends ? "" : "/",
                 (unsigned long long)b->number, (unsigned long long)b->count) < 0) {
        b->default_output = NULL;
        return false;
    }
    b->paths.output = b->default_output;
    return true;
}

/* Settles the output's name and refuses those that would destroy something. */
static int choose_output(struct build *b)
{
    struct stat info;

    if (!b->paths.output) {
        if (cmd_is_stream(b->paths.input))
            return cmd_misuse(NAME, "--output is required when INPUT is standard input");
        if (!b->names_output)
            return cmd_misuse(NAME, "--output is required when INPUT is not one file");
        b->default_output = replace_extension(b->paths.input);
        if (!b->default_output)
            return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
        b->paths.output = b->default_output;
    }
    if (b->shard && b->paths.output[0] != '\0' && !name_shard(b))
        return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
    if (b->paths.output[0] == '\0')
        return cmd_misuse(NAME, "--output wants a file name");
    if (cmd_is_stream(b->paths.output))
        return cmd_misuse(NAME, "an index cannot go to standard output; name a file with --output");
    /* An index is written at any place and read back, which a pipe or a terminal cannot do; a directory says so when it
     * is created, a shard when it is complete. */
    if (omen_file_descriptor(b->paths.output) >= 0 ||
        (stat(b->paths.output, &info) == 0 && !S_ISREG(info.st_mode) && (b->shard || !S_ISDIR(info.st_mode)))) {
        return cmd_misuse(NAME, "\"%s\" is not a regular file", b->paths.output);
    }
    cmd_file files[6 + CMD_COLUMNS_FILES] = {
        {.role = "--model", .path = b->model},
        {.role = "--inputs", .path = b->list},
        {.role = "--tune-queries", .path = b->paths.tune_queries},
        {.role = "--key", .path = b->paths.keys},
        {.role = "--output", .path = b->paths.output, .is_output = true, .has_checkpoint = true},
        {.path = b->json ? "-" : NULL, .is_output = true},
    };
    size_t n_files = 6;

    cmd_columns_list(&b->columns, files, &n_files);
    const int status = cmd_inputs_check(NAME, &b->inputs, "INPUT", files, n_files);
    if (status != CMD_GO_ON)
        return status;
    return b->shard ? cmd_check_extension(NAME, b->paths.output, "shard", "a shard")
                    : cmd_check_extension(NAME, b->paths.output, "omen", "an index");
}

/* ---- the work ---- */

/* Tells what a continued build begins with. */
static void say_resumed(void *context, const char *stage, uint64_t row, uint64_t n_rows)
{
    struct build *b = context;

    b->is_resumed = true;
    if (b->verbosity < 0)
        return;
    cmd_progress_clear(&b->progress);
    if (strcmp(stage, "graph") == 0) /* whose rows come in another order, copies last */
        cmd_say(NAME, "resuming with edges of %s %s (graph)", cmd_group(row).text, row == 1 ? "row" : "rows");
    else if (row > 0 && row < n_rows)
        cmd_say(NAME, "resuming at row %s of %s (%s)", cmd_group(row).text, cmd_group(n_rows).text, stage);
    else
        cmd_say(NAME, "resuming (%s)", stage);
}

static int show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct build *b = context;

    return cmd_progress_update(&b->progress, stage, done, total);
}

/* Tells what the input is. */
static void say_opened(void *context, const char *format, const omen_source *source)
{
    struct build *b = context;

    if (b->verbosity > 0) {
        cmd_progress_clear(&b->progress);
        if (b->paths.input)
            fprintf(stderr, "%s: ", cmd_printable(b->paths.input).text);
        else
            fprintf(stderr, "%s files: ", b->inputs.n > 0 ? cmd_group(b->inputs.n).text : "the model's");
        fprintf(stderr, "%s, %s x %u, %s bytes\n", format, cmd_group(source->n_rows).text, source->d,
                cmd_group(source->n_bytes).text);
    }
}

/* What is worth knowing and stops nothing. */
static void say_noted(void *context, const char *text)
{
    struct build *b = context;

    if (b->verbosity < 0)
        return;
    cmd_progress_clear(&b->progress);
    cmd_say(NAME, "warning: %s", text);
}

/* Shows the plan. Files are made from here on, so signals end the build in order. */
static void say_planned(void *context, const omen_build_plan *plan)
{
    struct build *b = context;

    cmd_signals_note();
    cmd_progress_clear(&b->progress);
    if (b->verbosity > 0) {
        fprintf(stderr, "plan: memory %s of %s allowed; %s %s of %s rows; on disk: checkpoint %s, index %s%s%s\n",
                cmd_human_bytes(plan->memory_bytes).text, cmd_human_bytes(b->options.memory_bytes).text,
                cmd_group(plan->n_chunks).text, plan->n_chunks == 1 ? "chunk" : "chunks",
                cmd_group(plan->chunk_rows).text, cmd_human_bytes(plan->checkpoint_bytes).text,
                cmd_human_bytes(plan->index_bytes).text, plan->scratch_bytes > 0 ? ", to make the graph " : "",
                plan->scratch_bytes > 0 ? cmd_human_bytes(plan->scratch_bytes).text : "");
    }
}

/* What a stop by a signal leaves. */
static omen_detail tell_interrupted(bool can_continue, const omen_build_report *report)
{
    omen_detail out;

    if (!can_continue)
        snprintf(out.text, sizeof out.text, INTERRUPTED);
    else if (report->n_encoded > 0 && report->n_encoded < report->n_rows)
        snprintf(out.text, sizeof out.text, "interrupted at row %s of %s; the same command continues there",
                 cmd_group(report->n_encoded).text, cmd_group(report->n_rows).text);
    else
        snprintf(out.text, sizeof out.text, "interrupted; the same command continues");
    return out;
}

/* Tells why it stopped, and with --json what is done. first and n: the rows that were to be encoded. */
static int stop(const struct build *b, int status, omen_detail *why, const omen_build_outcome *outcome,
                const omen_build_report *report, uint64_t first, uint64_t n)
{
    struct cmd_stop told = {.n_rows = n, .continues = outcome->can_continue};

    if (status == OMEN_ERR_INTERRUPTED) {
        *why = tell_interrupted(outcome->can_continue, report);
        cmd_say(NAME, "%s", why->text);
        told.exit_code = cmd_exit_code(status);
    } else {
        if (outcome->needs_fresh && (!b->shard || status == OMEN_ERR_CORRUPT))
            cmd_fresh_hint(why, b->paths.output, b->paths.checkpoint_directory);
        told.exit_code = cmd_fail(NAME, status, why);
        if (status == OMEN_ERR_UNSUPPORTED && !b->model) /* what is not supported here is the input */
            told.exit_code = cmd_exit_code(OMEN_ERR_INPUT);
    }
    if (!b->json)
        return told.exit_code;
    told.why = status == OMEN_ERR_INTERRUPTED ? why->text : cmd_cause(status, why);
    told.rows_done = report->n_encoded > first ? report->n_encoded - first : 0;
    return cmd_report_stop(NAME, b->paths.output, &told);
}

/* Fills in what a build is told. */
static void prepare(struct build *b)
{
    cmd_progress_init(&b->progress, b->verbosity);
    cmd_progress_update(&b->progress, "read", 0, 0);
    b->options.n_threads = cmd_threads(b->verbosity < 0 ? NULL : NAME, b->options.n_threads);
    cmd_memory_settle(b->verbosity < 0 ? NULL : NAME, &b->options.memory_bytes);
    b->options.progress = show_progress;
    b->options.resumed = say_resumed;
    b->options.progress_context = b;
    b->vectors.progress = show_progress; /* of an input that has to be unpacked */
    b->vectors.context = b;
    b->paths.struct_bytes = sizeof b->paths;
    b->paths.vectors = &b->vectors;
    b->paths.column_paths = cmd_columns_paths(&b->columns);
    b->paths.opened = say_opened;
    b->paths.planned = say_planned;
    b->paths.noted = say_noted;
    b->paths.context = b;
}

/* Tells of a shard that is there now. */
static int tell_shard(const struct build *b, const struct cmd_build_outcome *o, const omen_shard_info *shard,
                      bool was_there)
{
    if (b->json)
        return cmd_report_shard(o, shard, was_there);
    if (b->verbosity < 0)
        return CMD_EXIT_OK;
    fprintf(stderr, "%s: rows %s to %s of %s, shard %llu of %llu; ", cmd_printable(b->paths.output).text,
            cmd_group(shard->first).text, cmd_group(shard->first + shard->n - 1).text, cmd_group(shard->n_rows).text,
            (unsigned long long)b->number, (unsigned long long)b->count);
    if (was_there)
        fprintf(stderr, "it was there already\n");
    else
        fprintf(stderr, "%s in %.2f s\n", cmd_human_bytes(o->file_bytes).text, o->seconds);
    return CMD_EXIT_OK;
}

static int run_shard(struct build *b)
{
    struct cmd_build_outcome o = {.output = b->paths.output, .report.struct_bytes = sizeof o.report};
    omen_build_outcome outcome = {.struct_bytes = sizeof outcome};
    omen_shard_info shard = {.n = 0};
    omen_detail why = {.text = ""};
    const double started = cmd_seconds();
    bool was_there = false;
    int status = omen_cpu_select(b->cpu, &why);

    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    prepare(b);
    status = omen_shard_build_file(&b->paths, &b->options, b->model, b->number, b->count, &was_there, &shard, &o.report,
                                   &outcome, &why);
    cmd_progress_clear(&b->progress);
    if (status != OMEN_OK)
        return stop(b, status, &why, &outcome, &o.report, shard.first, shard.n);
    o.file_bytes = outcome.file_bytes;
    o.seconds = cmd_seconds() - started;
    o.is_resumed = b->is_resumed;
    return tell_shard(b, &o, &shard, was_there);
}

static int run(struct build *b)
{
    struct cmd_build_outcome o = {.input = b->paths.input,
                                  .n_inputs = b->inputs.n,
                                  .output = b->paths.output,
                                  .report.struct_bytes = sizeof o.report};
    omen_build_outcome outcome = {.struct_bytes = sizeof outcome};
    omen_detail why = {.text = ""};
    double started;
    int status;

    status = omen_cpu_select(b->cpu, &why);
    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);

    prepare(b);
    started = cmd_seconds();
    o.info.struct_bytes = sizeof o.info;
    status = b->model ? omen_model_build_file(&b->paths, &b->options, b->model, &o.report, &o.info, &outcome, &why)
                      : omen_index_build_file(&b->paths, &b->options, &o.report, &o.info, &outcome, &why);
    cmd_progress_clear(&b->progress);
    o.file_bytes = outcome.file_bytes;
    o.recall_most = outcome.recall_most < 1 ? outcome.recall_most : NAN;
    o.seconds = cmd_seconds() - started;
    o.is_resumed = b->is_resumed;
    if (status != OMEN_OK)
        return stop(b, status, &why, &outcome, &o.report, 0, o.report.n_rows);
    if (o.recall_most < 1)
        cmd_reach_tell(&o.info, o.recall_most, &o.reach);
    if (b->verbosity >= 0 && !b->json)
        cmd_norms_tell(NAME, b->options.metric, &o.report);
    if (o.report.few_training_rows && b->verbosity >= 0) {
        cmd_say(NAME, "warning: too few rows for %s lists, the partition will be poor; try fewer with --lists",
                cmd_group(o.info.lists.n).text);
    }
    if (o.report.near_copies > OMEN_NEAR_COPIES_MOST && b->verbosity >= 0) {
        cmd_say(NAME,
                "warning: %.0f%% of the rows have a near copy, so queries that are no rows may find less than "
                "--recall asks for; measure on some with --tune-queries",
                100 * o.report.near_copies);
    }
    if (o.recall_most < (double)OMEN_DEFAULT_RECALL && b->verbosity >= 0)
        cmd_say(NAME, "warning: recall@10 of %g is out of reach: %s", (double)OMEN_DEFAULT_RECALL, o.reach.text);
    if (b->json)
        return cmd_build_json(NAME, &o);
    if (b->verbosity >= 0)
        cmd_build_summary(&o, b->verbosity > 0);
    return CMD_EXIT_OK;
}

int cmd_build(int argc, char **argv)
{
    struct build b = {.default_output = NULL};
    int status;

    omen_build_options_init(&b.options);
    status = parse_arguments(&b, argc, argv);
    if (status == CMD_GO_ON)
        status = choose_output(&b);
    if (status == CMD_GO_ON)
        status = b.shard ? run_shard(&b) : run(&b);
    free(b.default_output);
    omen_paths_finish(&b.inputs);
    cmd_key_finish(&b.key);
    return status;
}
