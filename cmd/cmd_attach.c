/* SPDX-License-Identifier: Apache-2.0 */
/* omendb attach: an index in, the same index with keys, columns or a graph out; nothing is trained again. */
#include "cmd/options.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/attach.h"

#define NAME "attach"

struct attach {
    omen_attach work;
    cmd_columns columns;
    cmd_key key;
    const char *tmp;
    int verbosity; /* -1 quiet, 1 verbose */
    cmd_progress progress;
};

/* ---- arguments ---- */

static const cmd_option options[] = {
    {.group = "input and output",
     .letters = "o",
     .name = "output",
     .argument = "FILE",
     CMD_TEXT(struct attach, work.output),
     .help = "the new index (required)"},
    {CMD_OPTION_KEY(struct attach, key, "keys of the rows; those that INDEX has give way to them:\n")},
    {.name = "allow-duplicates",
     CMD_FLAG(struct attach, work.allow_duplicates),
     .help = "several rows may have the same key (default: an error)"},
    CMD_OPTIONS_COLUMNS(struct attach, columns),
    {.name = "drop-columns",
     CMD_FLAG(struct attach, work.drop_columns),
     .help = "leave out columns and tags of INDEX that these files do not have\n"
             "(default: an error)"},

    {.group = "graph",
     .name = "graph",
     CMD_FLAG(struct attach, work.graph),
     .help = "a graph over the rows, as for build; one that INDEX has gives way to it"},
    {.name = "degree",
     .argument = "N",
     CMD_U32(struct attach, work.degree, OMEN_MIN_DEGREE, OMEN_MAX_DEGREE),
     .usual = OMEN_DEFAULT_DEGREE,
     .help = "neighbours of a row in the graph, %l to %m (default %d)"},
    {.name = "tune-queries",
     .argument = "FILE",
     .files = CMD_FILES_VECTORS,
     CMD_TEXT(struct attach, work.tune_queries),
     .help = "measure search effort of the graph on these queries; needed again if INDEX\n"
             "was built with some (default: on its rows)"},

    {.group = "work and messages", CMD_OPTION_THREADS(struct attach, work.n_threads, "")},
    {CMD_OPTION_TMP(struct attach, tmp, "")},
    {CMD_OPTION_QUIET(struct attach, verbosity), .help = "no progress and no summary"},
    {CMD_OPTION_VERBOSE(struct attach, verbosity), .help = "say more on stderr"},
    {CMD_OPTION_HELP},
};

const cmd_syntax cmd_attach_syntax = {
    .command = NAME,
    .usage = "usage: omendb attach [options] -o NEW INDEX\n"
             "\n"
             "Writes an index with the vectors of INDEX and with other keys or columns, or a graph, as a\n"
             "build with these would, without training again; a graph is made of the rows of the refine tier,\n"
             "rounded as they are. Columns, with tags, replace all those of INDEX, and have to name all that\n"
             "stay. INDEX stays as it is.\n",
    .notes = "examples:\n"
             "  omendb attach --key names.txt -o named.omen base.omen\n"
             "  omendb attach --columns prices.tsv --tags words.txt -o shop.omen base.omen\n"
             "  omendb attach --graph -o fast.omen base.omen\n",
    .column = 21,
    .operands = CMD_FILES_INDEX,
    .options = options,
    .n_options = CMD_COUNT(options),
};

static int check_arguments(struct attach *a)
{
    int misused = cmd_columns_check(NAME, &a->columns);

    if (misused == CMD_GO_ON)
        misused = cmd_key_find(NAME, &a->key, &a->columns);
    if (misused != CMD_GO_ON)
        return misused;
    a->work.keys = a->key.path;
    a->work.key_column = a->key.column;
    cmd_file files[4 + CMD_COLUMNS_FILES] = {
        {.role = "INDEX", .path = a->work.input},
        {.role = "--key", .path = a->work.keys},
        {.role = "--tune-queries", .path = a->work.tune_queries},
        {.role = "--output", .path = a->work.output, .is_output = true},
    };
    size_t n_files = 4;
    struct stat info;

    cmd_columns_list(&a->columns, files, &n_files);
    a->work.columns = cmd_columns_paths(&a->columns);
    if (!a->work.output || a->work.output[0] == '\0')
        return cmd_misuse(NAME, "no output given: name the new index with --output");
    if (cmd_is_stream(a->work.output))
        return cmd_misuse(NAME, "an index cannot go to standard output; name a file with --output");
    /* as for build: a directory says so when it is created */
    if (omen_file_descriptor(a->work.output) >= 0 ||
        (stat(a->work.output, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)))
        return cmd_misuse(NAME, "\"%s\" is not a regular file", a->work.output);
    if (a->work.degree > 0 && !a->work.graph)
        return cmd_misuse(NAME, "--degree is that of a graph: add --graph, or leave it out");
    if (a->work.tune_queries && !a->work.graph)
        return cmd_misuse(NAME, "--tune-queries is for a graph: add --graph, or leave it out");
    if (!a->work.keys && !a->work.columns && !a->work.graph)
        return cmd_misuse(NAME, "nothing to attach: name keys with --key, columns with --columns, --column or --tags, "
                                "or add --graph");
    if (a->work.allow_duplicates && !a->work.keys)
        return cmd_misuse(NAME, "--allow-duplicates is of the keys: name them with --key");
    if (a->work.drop_columns && !a->work.columns)
        return cmd_misuse(NAME,
                          "--drop-columns is of what --columns, --column or --tags replace: name a file of theirs");
    if (cmd_is_stream(a->work.keys) + cmd_columns_streams(&a->columns) + cmd_is_stream(a->work.tune_queries) > 1)
        return cmd_misuse(NAME,
                          "standard input can be one of --key, --columns, --column, --tags and --tune-queries only");
    const int status = cmd_files_check(NAME, files, n_files);
    return status == CMD_GO_ON ? cmd_check_extension(NAME, a->work.output, "omen", "an index") : status;
}

static int parse_arguments(struct attach *a, int argc, char **argv)
{
    int status = cmd_options_parse(&cmd_attach_syntax, argc, argv, a);

    if (status == CMD_GO_ON)
        status = cmd_tmp_settle(NAME, a->tmp);
    if (status != CMD_GO_ON)
        return status;
    if (argc - optind < 1)
        return cmd_misuse(NAME, "no INDEX given; see \"omendb attach --help\"");
    if (argc - optind > 1)
        return cmd_misuse(NAME, "one INDEX at a time; \"%s\" is one too many", argv[optind + 1]);
    a->work.input = argv[optind];
    return check_arguments(a);
}

/* ---- the work ---- */

static int show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    return cmd_progress_update(context, stage, done, total);
}

static int run(struct attach *a)
{
    omen_index_info info = {.struct_bytes = sizeof info};
    omen_detail why = {.text = ""};
    uint64_t n_file_bytes = 0;

    cmd_signals_exit(NAME, "interrupted; nothing was written");
    a->work.n_threads = cmd_threads(a->verbosity < 0 ? NULL : NAME, a->work.n_threads);
    a->work.memory_bytes = cmd_memory_free_bytes();
    a->work.progress = show_progress;
    a->work.context = &a->progress;
    cmd_progress_init(&a->progress, a->verbosity);
    cmd_progress_update(&a->progress, "read", 0, 0);
    const int status = omen_attach_make(&a->work, &n_file_bytes, &info, &why);
    cmd_progress_clear(&a->progress);
    if (status != OMEN_OK)
        return cmd_fail(NAME, cmd_name_damage(a->work.input, status, &why), &why);
    if (a->verbosity >= 0) {
        fprintf(stderr, "%s: %s x %u, ", cmd_printable(a->work.output).text, cmd_group(info.n_rows).text, info.d);
        if (info.key_kind != OMEN_KEYS_NONE)
            fprintf(stderr, "keys %s of %.1f bytes a vector, ", omen_key_kind_name(info.key_kind),
                    (double)info.key_bytes / (double)info.n_rows);
        if (info.n_columns > 0)
            fprintf(stderr, "%u columns of %.1f bytes a vector, ", info.n_columns,
                    (double)info.column_bytes / (double)info.n_rows);
        if (a->work.graph)
            fprintf(stderr, "graph of %u neighbours each, ", info.graph.degree);
        fprintf(stderr, "%s bytes (%s)\n", cmd_group(n_file_bytes).text, cmd_human_bytes(n_file_bytes).text);
    }
    return CMD_EXIT_OK;
}

int cmd_attach(int argc, char **argv)
{
    struct attach a = {.verbosity = 0};
    int status = parse_arguments(&a, argc, argv);

    if (status == CMD_GO_ON)
        status = run(&a);
    cmd_key_finish(&a.key);
    return status;
}
