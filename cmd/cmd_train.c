/* SPDX-License-Identifier: Apache-2.0 */
/* omendb train: files of vectors in, a model out, with which shards are encoded. */
#include "cmd/options.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/shards.h"

#define NAME        "train"
#define INTERRUPTED "interrupted; nothing was written"

struct train {
    omen_build_paths paths;
    const char *list; /* that names the inputs; NULL: the command line does */
    omen_paths inputs;
    const char *cpu;
    omen_vectors_options vectors;
    omen_build_options options;
    int verbosity; /* -1 quiet, 1 verbose */
    bool json;
    bool is_resumed;
    cmd_progress progress;
};

static const cmd_option options[] = {
    {.group = "input and output",
     .letters = "o",
     .name = "output",
     .argument = "FILE",
     CMD_TEXT(struct train, paths.output),
     .help = "the model; required"},
    {CMD_OPTION_INPUTS(struct train, list, "INPUT")},
    {.letters = "f",
     .name = "format",
     CMD_OPTION_FORMAT(struct train, vectors.format, "INPUT") ", one of\n",
     .names = omen_vectors_formats},
    {.letters = "d",
     CMD_OPTION_DIM(struct train, vectors.d),
     .help = "dimensions of a row, needed for raw; elsewhere a check"},
    {.name = "tune-queries",
     .argument = "FILE",
     .files = CMD_FILES_VECTORS,
     CMD_TEXT(struct train, paths.tune_queries),
     .help = "queries that merge measures search effort on, as of build"},
    {.name = "zero-ok",
     CMD_FLAG(struct train, options.zero_ok),
     .help = "cosine: accept zero rows, at distance 1 from everything\n"
             "(default: an error)"},

    CMD_OPTIONS_INDEX(struct train, options),
    {CMD_OPTION_SEED(struct train, options.seed, "")},

    {.group = "work",
     CMD_OPTION_THREADS(struct train, options.n_threads,
                        "; the model\n"
                        "does not depend on it")},
    {CMD_OPTION_CPU(struct train, cpu)},
    {CMD_OPTION_MEMORY(struct train, options.memory_bytes)},
    {CMD_OPTION_TMP(struct train, paths.checkpoint_directory,
                    " and for the\n"
                    "checkpoint, which else is beside the output")},
    {.name = "fresh", CMD_FLAG(struct train, paths.fresh), .help = "start over: do not continue a checkpoint"},

    {.group = "messages", CMD_OPTION_QUIET(struct train, verbosity), .help = "no progress and no summary"},
    {CMD_OPTION_VERBOSE(struct train, verbosity), .help = "say more on stderr"},
    {CMD_OPTION_JSON(struct train, json), .help = "print a summary as one JSON object on stdout, none on stderr"},
    {CMD_OPTION_HELP},
};

const cmd_syntax cmd_train_syntax = {
    .command = NAME,
    .usage = "usage: omendb train [options] -o MODEL INPUT...\n"
             "\n"
             "Trains what an index of INPUT needs, files of vectors or a directory of them, and writes it to\n"
             "MODEL with the names of the files. omendb build --model --shard then encodes the rows, in any\n"
             "number of processes or on any number of machines, and omendb merge joins the shards to the\n"
             "index that omendb build makes of INPUT, byte for byte.\n",
    .notes = "A killed train leaves a checkpoint, MODEL.part; the same command continues it.\n"
             "\n"
             "examples:\n"
             "  omendb train -m cosine -o m.model part-*.npy\n"
             "  mkdir parts\n"
             "  omendb build --model m.model --shard 0/2 -o parts/\n"
             "  omendb build --model m.model --shard 1/2 -o parts/\n"
             "  omendb merge --model m.model -o all.omen parts/\n",
    .column = 23,
    .operands = CMD_FILES_VECTORS,
    .options = options,
    .n_options = CMD_COUNT(options),
};

/* Whether a path leads to what cannot be read again, or by others: standard input, another descriptor, a pipe. */
static bool is_passing(const char *path)
{
    char file[PATH_MAX];
    struct stat info;

    if (!path)
        return false;
    const int n = snprintf(file, sizeof file, "%.*s", (int)omen_vectors_file_bytes(path), path);
    return cmd_is_stream(path) || omen_file_descriptor(path) >= 0 ||
           (n < (int)sizeof file && stat(file, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode)));
}

/* Shards and the merge read the inputs again. */
static int check_inputs(const struct train *t)
{
    const char *found = is_passing(t->paths.tune_queries) ? t->paths.tune_queries : NULL;

    for (size_t i = 0; i < t->inputs.n && !found; i++)
        found = is_passing(t->inputs.names[i]) ? t->inputs.names[i] : NULL;
    if (!found)
        return CMD_GO_ON;
    return cmd_misuse(NAME, "%s%.200s%s cannot be read again, as shards do: name a file",
                      cmd_is_stream(found) ? "" : "\"", cmd_is_stream(found) ? "standard input" : found,
                      cmd_is_stream(found) ? "" : "\"");
}

static int parse_arguments(struct train *t, int argc, char **argv)
{
    omen_detail why = {.text = ""};
    struct stat info;
    int status = cmd_options_parse(&cmd_train_syntax, argc, argv, t);

    if (status == CMD_GO_ON)
        status = cmd_tmp_settle(NAME, t->paths.checkpoint_directory);
    if (status != CMD_GO_ON)
        return status;
    if (argc - optind < 1 && !t->list)
        return cmd_misuse(NAME, "no INPUT given; see \"omendb train --help\"");
    if (argc - optind > 0 && t->list)
        return cmd_misuse(NAME, "--inputs names the inputs: \"%s\" is one too many", argv[optind]);
    if (!t->paths.output || t->paths.output[0] == '\0')
        return cmd_misuse(NAME, "--output is required: the model");
    cmd_signals_exit(NAME, INTERRUPTED);
    status = cmd_find_inputs(&t->inputs, t->list, (const char *const *)argv + optind, (size_t)(argc - optind),
                             t->vectors.format, &why);
    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    status = check_inputs(t);
    if (status != CMD_GO_ON)
        return status;
    if (cmd_is_stream(t->paths.output) || omen_file_descriptor(t->paths.output) >= 0)
        return cmd_misuse(NAME, "a model cannot go to standard output; name a file with --output");
    /* it is renamed over what is there: in the end a directory would refuse it, and a device be lost */
    if (t->paths.output[strlen(t->paths.output) - 1] == '/' ||
        (stat(t->paths.output, &info) == 0 && !S_ISREG(info.st_mode)))
        return cmd_misuse(NAME, "\"%s\" is not a regular file", t->paths.output);
    t->paths.inputs = (const char *const *)t->inputs.names;
    t->paths.n_inputs = t->inputs.n;
    const cmd_file files[] = {
        {.role = "--inputs", .path = t->list},
        {.role = "--tune-queries", .path = t->paths.tune_queries},
        {.role = "--output", .path = t->paths.output, .is_output = true, .has_checkpoint = true},
        {.path = t->json ? "-" : NULL, .is_output = true},
    };
    status = cmd_inputs_check(NAME, &t->inputs, "INPUT", files, sizeof files / sizeof files[0]);
    return status == CMD_GO_ON ? cmd_check_extension(NAME, t->paths.output, "model", "a model") : status;
}

static int show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct train *t = context;

    return cmd_progress_update(&t->progress, stage, done, total);
}

static void say_resumed(void *context, const char *stage, uint64_t row, uint64_t n_rows)
{
    struct train *t = context;

    t->is_resumed = true;
    if (t->verbosity < 0)
        return;
    cmd_progress_clear(&t->progress);
    cmd_say(NAME, "resuming (%s)", stage);
}

/* What is worth knowing and stops nothing. */
static void say_noted(void *context, const char *text)
{
    struct train *t = context;

    if (t->verbosity < 0)
        return;
    cmd_progress_clear(&t->progress);
    cmd_say(NAME, "warning: %s", text);
}

/* Files are made from here on, so signals end the work in order. */
static void note_plan(void *context, const omen_build_plan *plan)
{
    struct train *t = context;

    cmd_signals_note();
    cmd_progress_clear(&t->progress);
    if (t->verbosity > 0) {
        fprintf(stderr, "plan: memory %s of %s allowed; on disk %s\n", cmd_human_bytes(plan->memory_bytes).text,
                cmd_human_bytes(t->options.memory_bytes).text, cmd_human_bytes(plan->checkpoint_bytes).text);
    }
}

/* Tells why it stopped, also as JSON. */
static int stop(const struct train *t, int status, omen_detail *why, const omen_build_outcome *outcome)
{
    struct cmd_stop told = {.continues = outcome->can_continue};

    if (status == OMEN_ERR_INTERRUPTED) {
        told.why = told.continues ? "interrupted; the same command continues" : INTERRUPTED;
        cmd_say(NAME, "%s", told.why);
        told.exit_code = cmd_exit_code(status);
    } else {
        if (outcome->needs_fresh)
            cmd_fresh_hint(why, t->paths.output, t->paths.checkpoint_directory);
        cmd_fail(NAME, status, why);
        told.why = cmd_cause(status, why);
        told.exit_code = cmd_exit_code(status == OMEN_ERR_UNSUPPORTED ? OMEN_ERR_INPUT : status);
    }
    return t->json ? cmd_report_stop(NAME, t->paths.output, &told) : told.exit_code;
}

/* Fills in what the library is told. */
static void prepare(struct train *t)
{
    cmd_progress_init(&t->progress, t->verbosity);
    cmd_progress_update(&t->progress, "read", 0, 0);
    t->options.n_threads = cmd_threads(t->verbosity < 0 ? NULL : NAME, t->options.n_threads);
    cmd_memory_settle(t->verbosity < 0 ? NULL : NAME, &t->options.memory_bytes);
    t->options.progress = show_progress;
    t->options.resumed = say_resumed;
    t->options.progress_context = t;
    t->paths.struct_bytes = sizeof t->paths;
    t->paths.vectors = &t->vectors;
    t->paths.planned = note_plan;
    t->paths.noted = say_noted;
    t->paths.context = t;
}

static int run(struct train *t)
{
    struct cmd_build_outcome o = {.output = t->paths.output, .report.struct_bytes = sizeof o.report};
    omen_build_outcome outcome = {.struct_bytes = sizeof outcome};
    omen_detail why = {.text = ""};
    const double started = cmd_seconds();
    uint64_t identity = 0;
    int status = omen_cpu_select(t->cpu, &why);

    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    prepare(t);
    status = omen_model_train_file(&t->paths, &t->options, &identity, &o.report, &outcome, &why);
    cmd_progress_clear(&t->progress);
    if (status != OMEN_OK)
        return stop(t, status, &why, &outcome);
    o.file_bytes = outcome.file_bytes;
    o.seconds = cmd_seconds() - started;
    o.is_resumed = t->is_resumed;
    if (t->verbosity >= 0 && !t->json)
        cmd_norms_tell(NAME, t->options.metric, &o.report);
    if (o.report.few_training_rows && t->verbosity >= 0)
        cmd_say(NAME, "warning: too few rows for so many lists, the partition will be poor; try fewer with --lists");
    if (t->json)
        return cmd_report_model(&o, t->options.metric, identity);
    if (t->verbosity >= 0) {
        fprintf(stderr, "%s: a model of %s x %u %s, codec %s, refine %s; %s in %.2f s\n",
                cmd_printable(t->paths.output).text, cmd_group(o.report.n_rows).text, o.report.d,
                omen_metric_name(t->options.metric), omen_codec_name(o.report.codec), omen_refine_name(o.report.refine),
                cmd_human_bytes(o.file_bytes).text, o.seconds);
    }
    return CMD_EXIT_OK;
}

int cmd_train(int argc, char **argv)
{
    struct train t = {.list = NULL};
    int status;

    omen_build_options_init(&t.options);
    status = parse_arguments(&t, argc, argv);
    if (status == CMD_GO_ON)
        status = run(&t);
    omen_paths_finish(&t.inputs);
    return status;
}
