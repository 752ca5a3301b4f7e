/* SPDX-License-Identifier: Apache-2.0 */
/* omendb merge: a model and its shards in, the index out. */
#include "cmd/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "formats/shards.h"

#define NAME        "merge"
#define INTERRUPTED "interrupted; nothing was written"

struct merge {
    omen_build_paths paths;
    const char *model;
    const char *list; /* of the inputs, or of copies; NULL: nothing is compared */
    omen_paths inputs, shards;
    const char *cpu;
    omen_vectors_options vectors;
    omen_build_options options;
    cmd_columns columns;
    cmd_key key;
    int verbosity; /* -1 quiet, 1 verbose */
    bool json;
    cmd_progress progress;
};

/* ---- arguments ---- */

static const cmd_option options[] = {
    {.group = "input and output",
     .letters = "o",
     .name = "output",
     .argument = "FILE",
     CMD_TEXT(struct merge, paths.output),
     .help = "the index; required"},
    {.name = "model",
     .argument = "FILE",
     CMD_TEXT(struct merge, model),
     .help = "the model that the shards were encoded with; required"},
    {.name = "inputs",
     .argument = "LIST",
     .files = CMD_FILES_ANY,
     CMD_TEXT(struct merge, list),
     .help = "compare the model with the inputs first: the files, or copies of them,\n"
             "that LIST names, one path a line (\"-\": standard input has it)"},
    {.letters = "f",
     .name = "format",
     CMD_OPTION_FORMAT(struct merge, vectors.format, "these") ", one of\n",
     .names = omen_vectors_formats},
    {.letters = "d",
     CMD_OPTION_DIM(struct merge, vectors.d),
     .help = "dimensions of a row in these, needed for raw; elsewhere a check"},
    {CMD_OPTION_KEY(struct merge, key, "keys of the rows, which query prints instead of their numbers:\n")},
    {.name = "allow-duplicates",
     CMD_FLAG(struct merge, paths.allow_duplicates),
     .help = "several rows may have the same key (default: an error)"},
    CMD_OPTIONS_COLUMNS(struct merge, columns),
    {.name = "graph",
     CMD_FLAG(struct merge, options.graph.wanted),
     .help = "add a graph over the same rows, a second way to search"},
    {.name = "degree",
     .argument = "N",
     CMD_U32(struct merge, options.graph.degree, OMEN_MIN_DEGREE, OMEN_MAX_DEGREE),
     .usual = OMEN_DEFAULT_DEGREE,
     .help = "neighbours of a row in the graph, %l to %m (default %d)"},

    {.group = "work",
     CMD_OPTION_THREADS(struct merge, options.n_threads,
                        "; the index\n"
                        "does not depend on it")},
    {CMD_OPTION_CPU(struct merge, cpu)},
    {CMD_OPTION_MEMORY(struct merge, options.memory_bytes)},
    {CMD_OPTION_TMP(struct merge, paths.checkpoint_directory, "")},

    {.group = "messages", CMD_OPTION_QUIET(struct merge, verbosity), .help = "no progress, warnings or summary"},
    {CMD_OPTION_VERBOSE(struct merge, verbosity), .help = "say more on stderr"},
    {CMD_OPTION_JSON(struct merge, json), .help = "print a summary as one JSON object on stdout, none on stderr"},
    {CMD_OPTION_HELP},
};

const cmd_syntax cmd_merge_syntax = {
    .command = NAME,
    .usage = "usage: omendb merge [options] --model MODEL -o INDEX SHARD...\n"
             "\n"
             "Joins shards, which are files that omendb build --shard made or directories of them, to the\n"
             "index that omendb build makes of the same rows, byte for byte. The inputs are not read, and\n"
             "need not be there. Shards that are damaged, of another model, missing, or there twice are\n"
             "named, and nothing is written.\n",
    .notes = "exit codes: 0 done, 6 shards are missing; the others as of build\n"
             "\n"
             "examples:\n"
             "  omendb merge --model m.model -o all.omen parts/\n"
             "  omendb merge --model m.model --key names.txt -o all.omen a.shard b.shard\n",
    .column = 23,
    .operands = CMD_FILES_ANY,
    .options = options,
    .n_options = CMD_COUNT(options),
};

static int check_output(struct merge *m)
{
    struct stat info;
    cmd_file files[5 + CMD_COLUMNS_FILES] = {
        {.path = m->json ? "-" : NULL, .is_output = true},
        {.role = "--model", .path = m->model},
        {.role = "--inputs", .path = m->list},
        {.role = "--key", .path = m->paths.keys},
        {.role = "--output", .path = m->paths.output, .is_output = true},
    };
    size_t n_files = 5;

    if (cmd_is_stream(m->paths.output))
        return cmd_misuse(NAME, "an index cannot go to standard output; name a file with --output");
    /* An index is written at any place and read back, which a pipe or a terminal cannot do. */
    if (omen_file_descriptor(m->paths.output) >= 0 ||
        (stat(m->paths.output, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)))
        return cmd_misuse(NAME, "\"%s\" is not a regular file", m->paths.output);
    cmd_columns_list(&m->columns, files, &n_files);
    int status = cmd_inputs_check(NAME, &m->shards, "SHARD", files, n_files);
    if (status == CMD_GO_ON && m->inputs.n > 0)
        status = cmd_inputs_check(NAME, &m->inputs, "INPUT", files, n_files);
    return status == CMD_GO_ON ? cmd_check_extension(NAME, m->paths.output, "omen", "an index") : status;
}

/* The files of shards, and of copies of the inputs. */
static int find_files(struct merge *m, char **words, int n)
{
    omen_detail why = {.text = ""};
    int status = OMEN_OK;

    cmd_signals_exit(NAME, INTERRUPTED);
    for (int i = 0; i < n && status == OMEN_OK; i++)
        status = omen_paths_add_shards(&m->shards, words[i], &why);
    if (status == OMEN_OK && m->list)
        status = cmd_find_inputs(&m->inputs, m->list, NULL, 0, m->vectors.format, &why);
    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    m->paths.inputs = (const char *const *)m->inputs.names;
    m->paths.n_inputs = m->inputs.n;
    if (cmd_is_stream(m->list) + cmd_inputs_streams(&m->inputs) + cmd_is_stream(m->paths.keys) +
            cmd_columns_streams(&m->columns) >
        1)
        return cmd_misuse(NAME, "standard input can be one of --inputs, --key, --columns, --column and --tags only");
    return CMD_GO_ON;
}

static int parse_arguments(struct merge *m, int argc, char **argv)
{
    int status = cmd_options_parse(&cmd_merge_syntax, argc, argv, m);

    if (status == CMD_GO_ON)
        status = cmd_tmp_settle(NAME, m->paths.checkpoint_directory);
    if (status != CMD_GO_ON)
        return status;
    if (argc - optind < 1)
        return cmd_misuse(NAME, "no SHARD given; see \"omendb merge --help\"");
    if (!m->model)
        return cmd_misuse(NAME, "--model is required: the one that the shards were encoded with");
    if (!m->paths.output || m->paths.output[0] == '\0')
        return cmd_misuse(NAME, "--output is required: the index");
    if (!m->list && (m->vectors.format || m->vectors.d))
        return cmd_misuse(NAME, "--format and --dim are of --inputs: the model has its own");
    if (m->options.graph.degree > 0 && !m->options.graph.wanted)
        return cmd_misuse(NAME, "--degree is that of a graph: add --graph, or leave it out");
    if (m->paths.allow_duplicates && !m->key.value)
        return cmd_misuse(NAME, "--allow-duplicates is of the keys: name them with --key");
    status = cmd_columns_check(NAME, &m->columns);
    if (status == CMD_GO_ON)
        status = cmd_key_find(NAME, &m->key, &m->columns);
    if (status != CMD_GO_ON)
        return status;
    m->paths.keys = m->key.path;
    m->paths.key_column = m->key.column;
    status = find_files(m, argv + optind, argc - optind);
    return status == CMD_GO_ON ? check_output(m) : status;
}

/* ---- the work ---- */

static int show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct merge *m = context;

    return cmd_progress_update(&m->progress, stage, done, total);
}

/* Files are made from here on, so signals end the work in order. */
static void note_plan(void *context, const omen_build_plan *plan)
{
    struct merge *m = context;

    cmd_signals_note();
    cmd_progress_clear(&m->progress);
    if (m->verbosity > 0) {
        fprintf(stderr, "plan: memory %s of %s allowed; on disk: index %s\n", cmd_human_bytes(plan->memory_bytes).text,
                cmd_human_bytes(m->options.memory_bytes).text, cmd_human_bytes(plan->index_bytes).text);
    }
}

/* Shards that there are descriptors for stay open; the others are opened for each read. */
static void raise_limit(const struct merge *m)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= m->shards.n + OMEN_MERGE_OTHER_FILES)
        return;
    limit.rlim_cur =
        limit.rlim_max < m->shards.n + OMEN_MERGE_OTHER_FILES ? limit.rlim_max : m->shards.n + OMEN_MERGE_OTHER_FILES;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int tell(const struct merge *m, struct cmd_build_outcome *o)
{
    if (o->recall_most < 1)
        cmd_reach_tell(&o->info, o->recall_most, &o->reach);
    if (o->recall_most < (double)OMEN_DEFAULT_RECALL && m->verbosity >= 0)
        cmd_say(NAME, "warning: recall@10 of %g is out of reach: %s", (double)OMEN_DEFAULT_RECALL, o->reach.text);
    if (m->json)
        return cmd_build_json(NAME, o);
    if (m->verbosity >= 0)
        cmd_build_summary(o, m->verbosity > 0);
    return CMD_EXIT_OK;
}

/* Tells why it stopped, also as JSON. */
static int stop(const struct merge *m, int status, bool lacks_shards, omen_detail *why)
{
    struct cmd_stop told = {.why = INTERRUPTED, .exit_code = cmd_exit_code(status)};

    if (status == OMEN_ERR_INTERRUPTED) {
        cmd_say(NAME, INTERRUPTED);
    } else {
        told.exit_code = cmd_fail(NAME, status, why);
        told.why = cmd_cause(status, why);
    }
    told.exit_code = lacks_shards ? CMD_EXIT_MISSING : told.exit_code;
    return m->json ? cmd_report_stop(NAME, m->paths.output, &told) : told.exit_code;
}

static int run(struct merge *m)
{
    struct cmd_build_outcome o = {
        .n_inputs = m->inputs.n, .output = m->paths.output, .report.struct_bytes = sizeof o.report};
    omen_build_outcome outcome = {.struct_bytes = sizeof outcome};
    omen_detail why = {.text = ""};
    const double started = cmd_seconds();
    bool lacks_shards = false;
    int status = omen_cpu_select(m->cpu, &why);

    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    raise_limit(m);
    cmd_progress_init(&m->progress, m->verbosity);
    cmd_progress_update(&m->progress, "read", 0, 0);
    m->options.n_threads = cmd_threads(m->verbosity < 0 ? NULL : NAME, m->options.n_threads);
    cmd_memory_settle(m->verbosity < 0 ? NULL : NAME, &m->options.memory_bytes);
    m->options.progress = show_progress;
    m->options.progress_context = m;
    m->paths.struct_bytes = sizeof m->paths;
    m->paths.vectors = &m->vectors;
    m->paths.column_paths = cmd_columns_paths(&m->columns);
    m->paths.planned = note_plan;
    m->paths.context = m;
    o.info.struct_bytes = sizeof o.info;
    status = omen_shards_merge_file(&m->paths, &m->options, m->model, (const char *const *)m->shards.names, m->shards.n,
                                    &lacks_shards, &o.report, &o.info, &outcome, &why);
    cmd_progress_clear(&m->progress);
    o.file_bytes = outcome.file_bytes;
    o.recall_most = outcome.recall_most < 1 ? outcome.recall_most : NAN;
    o.seconds = cmd_seconds() - started;
    return status == OMEN_OK ? tell(m, &o) : stop(m, status, lacks_shards, &why);
}

int cmd_merge(int argc, char **argv)
{
    struct merge m = {.list = NULL};
    int status;

    omen_build_options_init(&m.options);
    status = parse_arguments(&m, argc, argv);
    if (status == CMD_GO_ON)
        status = run(&m);
    omen_paths_finish(&m.inputs);
    omen_paths_finish(&m.shards);
    cmd_key_finish(&m.key);
    return status;
}
