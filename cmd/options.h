/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of a subcommand, described by one table: parsing and --help come from it. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <getopt.h> /* optind */
#include <stddef.h>

#include "cmd/cmd.h"

typedef struct cmd_option cmd_option;

/* Takes an option: its value, or for an option without one its letter, the one given, or "". self is
 * what cmd_options_parse() fills in. False if the value is bad, which has been told. */
typedef bool cmd_take_fn(const char *command, const cmd_option *option, const char *value, void *self);

/* Kinds of files, for completion on the command line. */
enum {
    CMD_FILES_NONE = 0,
    CMD_FILES_INDEX = 1,
    CMD_FILES_VECTORS = 2,
    CMD_FILES_TABLE = 4, /* of columns */
    CMD_FILES_ANY = 8,
};

/* One option. */
struct cmd_option {
    const char *group;    /* heading of --help that begins here; NULL: the one before goes on */
    const char *letters;  /* "o" for -o; NULL: none. Of several, each is this option */
    const char *name;     /* "output" for --output; NULL: none */
    const char *argument; /* what --help calls its value; NULL: it takes none */
    const char *shown;    /* what --help shows instead of letter, name and argument; NULL: these */
    /* What --help says, in lines; NULL: it is not listed. %l, %m and %d stand for least, most and usual. */
    const char *help;
    const char *(*names)(void);      /* of the values, printed after help; may be NULL */
    const char *(*values)(size_t i); /* those that it may have; NULL past the last. NULL: any */
    cmd_take_fn *take;               /* NULL: --help, or a line of --help that is no option */
    size_t offset;                   /* for take: where in self the value goes */
    uint64_t least, most, usual;
    int files;        /* CMD_FILES_: which its value names; CMD_FILES_NONE: any, if the argument is a FILE */
    bool takes_words; /* each word that follows, up to the next option, is a value too */
};

/* What a subcommand's command line is. */
typedef struct cmd_syntax {
    const char *command;
    const char *usage;         /* the beginning of --help */
    void (*print_lists)(void); /* prints what stands between the options and notes, after a blank line; may be NULL */
    const char *notes;         /* its end, after a blank line */
    int column;                /* of --help, where the text of options begins */
    int operands;              /* CMD_FILES_: the files that may follow */
    const cmd_option *options;
    size_t n_options;
} cmd_syntax;

/* A subcommand. */
typedef struct cmd_command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
    const cmd_syntax *syntax; /* NULL: it takes names of commands */
} cmd_command;

extern const cmd_syntax cmd_attach_syntax, cmd_bench_syntax, cmd_build_syntax, cmd_completion_syntax,
    cmd_compress_syntax, cmd_info_syntax, cmd_merge_syntax, cmd_query_syntax, cmd_train_syntax, cmd_verify_syntax;

/* omendb completion, which is told of all commands. */
int cmd_completion_print(int argc, char **argv, const cmd_command *commands, size_t n_commands);

#define CMD_MAX_OPTIONS 64u

/* The number of options in a table, which has to be in the limit. */
#define CMD_COUNT(table)                                                                                               \
    (sizeof(table) / sizeof((table)[0]) +                                                                              \
     0 * sizeof(char[sizeof(table) / sizeof((table)[0]) <= CMD_MAX_OPTIONS ? 1 : -1]))

/* Takes all options. Returns CMD_GO_ON, with optind at the first word that is no option; CMD_EXIT_OK after --help; or
 * CMD_EXIT_USAGE for an option that is unknown or abbreviated, lacks its value, has one too many or a bad one, which
 * has been told. */
int cmd_options_parse(const cmd_syntax *syntax, int argc, char **argv, void *self) OMEN_MUST_CHECK;

/* ---- how values are taken (option_values.c); each of these macros gives the members take and offset ---- */

/* The place of a field that has to be of the given type: of another, an array has -1 elements. */
#define CMD_OFFSET(type, field, kind)                                                                                  \
    (offsetof(type, field) +                                                                                           \
     0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((type *)NULL)->field), kind) ? 1 : -1]))
#define CMD_TAKE(function, type, field, kind) .take = (function), .offset = CMD_OFFSET(type, field, kind)

#define CMD_TEXT(type, field)   CMD_TAKE(cmd_take_text, type, field, const char *) /* as it is, not copied */
#define CMD_FLAG(type, field)   CMD_TAKE(cmd_take_flag, type, field, bool)
#define CMD_SIZE(type, field)   CMD_TAKE(cmd_take_size, type, field, uint64_t) /* bytes */
#define CMD_SHARE(type, field)  CMD_TAKE(cmd_take_share, type, field, float)   /* over 0 up to 1 */
#define CMD_FACTOR(type, field) CMD_TAKE(cmd_take_factor, type, field, float)  /* over 0 */
/* decimal integers from low to high */
#define CMD_INT(type, field, low, high) CMD_TAKE(cmd_take_int, type, field, int), .least = (low), .most = (high)
#define CMD_U32(type, field, low, high) CMD_TAKE(cmd_take_u32, type, field, uint32_t), .least = (low), .most = (high)
#define CMD_U64(type, field, low, high) CMD_TAKE(cmd_take_u64, type, field, uint64_t), .least = (low), .most = (high)
#define CMD_METRIC(type, field)         CMD_TAKE(cmd_take_metric, type, field, omen_metric), .values = cmd_metric_at
#define CMD_CODEC(type, field)          CMD_TAKE(cmd_take_codec, type, field, omen_codec), .values = cmd_codec_at
#define CMD_WAY(type, field)            CMD_TAKE(cmd_take_way, type, field, omen_search_way), .values = cmd_way_at
#define CMD_REFINE(type, field)         CMD_TAKE(cmd_take_refine, type, field, omen_refine), .values = cmd_refine_at

cmd_take_fn cmd_take_text, cmd_take_flag, cmd_take_size, cmd_take_share, cmd_take_factor, cmd_take_int, cmd_take_u32,
    cmd_take_u64, cmd_take_metric, cmd_take_codec, cmd_take_refine, cmd_take_way;
cmd_take_fn cmd_take_quiet, cmd_take_verbose; /* an int: -1 and 1 */

/* Names of choices, for cmd_option.values. */
const char *cmd_metric_at(size_t i);
const char *cmd_codec_at(size_t i);
const char *cmd_refine_at(size_t i);
const char *cmd_way_at(size_t i);
const char *cmd_cpu_at(size_t i);

/* Tells that a value is none of option->values, and which it may have been meant for. Returns false. */
bool cmd_refuse_value(const char *command, const cmd_option *option, const char *value);

/* ---- columns of rows (columns.c) ---- */

#define CMD_MAX_ARRAYS 64u

/* Where columns are, from the command line. Starts zeroed. */
typedef struct cmd_columns {
    omen_column_paths paths; /* without the arrays, until cmd_columns_paths() */
    const char *arrays[CMD_MAX_ARRAYS];
    size_t n_arrays;
} cmd_columns;

/* A file more that is read. */
cmd_take_fn cmd_take_column;

/* Whether there is a file. */
bool cmd_columns_are_given(const cmd_columns *columns);

/* Refuses types of a table that is not there. Returns CMD_GO_ON or CMD_EXIT_USAGE. */
int cmd_columns_check(const char *command, const cmd_columns *columns) OMEN_MUST_CHECK;

/* The paths; NULL if there are none. */
const omen_column_paths *cmd_columns_paths(cmd_columns *columns);

/* Adds the files of columns to those that cmd_files_check() takes, which have room for CMD_COLUMNS_FILES more. */
#define CMD_COLUMNS_FILES (CMD_MAX_ARRAYS + 2)
void cmd_columns_list(const cmd_columns *columns, cmd_file *files, size_t *n);

/* How many of them are standard input. */
size_t cmd_columns_streams(const cmd_columns *columns);

/* ---- keys of rows (columns.c) ---- */

/* Where they are, from the command line. Starts zeroed. */
typedef struct cmd_key {
    const char *value;  /* of --key; NULL: not given */
    char *path;         /* of the file, once it is found; owned */
    const char *column; /* of that file, which is a table then; or NULL */
} cmd_key;

/* Finds the file in the value: a file of that name, else what stands before the last colon, and if that is nothing the
 * table of columns. The caller calls cmd_key_finish() even after a failure. Returns CMD_GO_ON or an exit code. */
int cmd_key_find(const char *command, cmd_key *key, const cmd_columns *columns) OMEN_MUST_CHECK;
void cmd_key_finish(cmd_key *key);

#define CMD_OPTION_KEY(type, field, more)                                                                              \
    .name = "key", .argument = "FILE[:COLUMN]", CMD_TEXT(type, field.value),                                           \
    .help = more "text, one a line, npy of integers or fixed strings, or\n"                                            \
                 "a column of a table; \":COLUMN\" is one of --columns"

/* The rows of a table of options; type is the struct that has the field. */
#define CMD_OPTIONS_COLUMNS(type, field)                                                                               \
    {.name = "columns",                                                                                                \
     .argument = "FILE",                                                                                               \
     .files = CMD_FILES_TABLE,                                                                                         \
     CMD_TEXT(type, field.paths.table),                                                                                \
     .help = "attributes of the rows, for --where of query: tsv or csv with a\n"                                       \
             "header, or jsonl, a row a line"},                                                                        \
        {.name = "column-types",                                                                                       \
         .argument = "LIST",                                                                                           \
         CMD_TEXT(type, field.paths.types),                                                                            \
         .help = "types of columns, such as price:float32,zip:text,vector:skip, of\n"                                  \
                 "int64, float32, float64, text, tags (jsonl) and skip (default:\n"                                    \
                 "what all values of a column are)"},                                                                  \
        {.name = "column",                                                                                             \
         .argument = "NAME=FILE",                                                                                      \
         CMD_TAKE(cmd_take_column, type, field, cmd_columns),                                                          \
         .help = "one more column, an npy array; any number of times"},                                                \
    {                                                                                                                  \
        .name = "tags", .argument = "FILE", CMD_TEXT(type, field.paths.tags),                                          \
        .help = "tags of the rows: spmat, or text with a line of words a row"                                          \
    }

/* ---- which rows a search may find (query_filter.c) ---- */

/* The rows of a table of options; type is the struct that has the field, a struct query_filter_options. */
#define CMD_OPTIONS_FILTER(type, field)                                                                                \
    {.group = "filters",                                                                                               \
     .name = "only",                                                                                                   \
     .argument = "FILE",                                                                                               \
     CMD_TEXT(type, field.only),                                                                                       \
     .help = "find only rows that FILE (\"-\": standard input) has, one a line, by their\n"                            \
             "keys, if INDEX has them, else or with --rows by their numbers"},                                         \
        {.name = "except", .argument = "FILE", CMD_TEXT(type, field.except), .help = "find all rows but these"},       \
        {.name = "where",                                                                                              \
         .argument = "TEXT",                                                                                           \
         CMD_TEXT(type, field.where.text),                                                                             \
         .help = "find only rows whose columns meet a condition, such as\n"                                            \
                 "\"price >= 10 AND label IN ('bag', 'coat')\", for every query"},                                     \
        {.name = "where-file",                                                                                         \
         .argument = "FILE",                                                                                           \
         CMD_TEXT(type, field.where.file),                                                                             \
         .help = "a condition a line, line i for query i; an empty line is none"},                                     \
    {                                                                                                                  \
        .name = "where-tags", .argument = "FILE", CMD_TEXT(type, field.where.tags),                                    \
        .help = "a sparse matrix (spmat): query i wants all tags of row i"                                             \
    }

/* ---- what the bytes of an index depend on: rows of a table; type is the struct, field the omen_build_options ---- */

#define CMD_OPTIONS_INDEX(type, field)                                                                                 \
    {.group = "index",                                                                                                 \
     .letters = "m",                                                                                                   \
     .name = "metric",                                                                                                 \
     .argument = "NAME",                                                                                               \
     CMD_METRIC(type, field.metric),                                                                                   \
     .help = "l2, ip or cosine (default l2)"},                                                                         \
        {.letters = "b",                                                                                               \
         .name = "bytes",                                                                                              \
         .argument = "N",                                                                                              \
         CMD_U32(type, field.bytes, OMEN_MIN_BYTES, OMEN_MAX_BYTES),                                                   \
         .usual = OMEN_DEFAULT_BYTES,                                                                                  \
         .help = "hot bytes a vector, code and factors together, %l to %m\n"                                           \
                 "(default %d)"},                                                                                      \
        {.letters = "c",                                                                                               \
         .name = "codec",                                                                                              \
         .argument = "NAME",                                                                                           \
         CMD_CODEC(type, field.codec),                                                                                 \
         .help = "auto, pq, rabitq or none (default auto: the smaller measured error,\n"                               \
                 "that of pq counted twice under ip)"},                                                                \
        {.letters = "r",                                                                                               \
         .name = "refine",                                                                                             \
         .argument = "NAME",                                                                                           \
         CMD_REFINE(type, field.refine),                                                                               \
         .help = "rows for re-ranking: auto, sq8, sq12, sq16, f16, f32 or none (default\n"                             \
                 "auto: the smallest that keeps 0.999 of the nearest rows, by estimate)"},                             \
    {                                                                                                                  \
        .letters = "l", .name = "lists", .argument = "N", CMD_U32(type, field.lists.n, 1, UINT32_MAX),                 \
        .help = "inverted lists (default: from the number of rows)"                                                    \
    }

/* ---- options that several subcommands have; what is left to say is their help or the rest of it ---- */

#define CMD_OPTION_FORMAT(type, field, of)                                                                             \
    .argument = "NAME", CMD_TEXT(type, field), .help = "format of " of " (default: by extension and content)"
#define CMD_OPTION_DIM(type, field) .name = "dim", .argument = "N", CMD_U32(type, field, 1, OMEN_MAX_DIM)
#define CMD_OPTION_THREADS(type, field, more)                                                                          \
    .letters = "t", .name = "threads", .argument = "N", CMD_INT(type, field, 1, CMD_MAX_THREADS),                      \
    .help = "threads (default: the processors this process may use)" more
#define CMD_OPTION_CPU(type, field)                                                                                    \
    .name = "cpu", .argument = "LEVEL", .values = cmd_cpu_at, CMD_TEXT(type, field),                                   \
    .help = "SIMD level: scalar, avx2, avx512, avx512vnni or neon (default: the best)"
#define CMD_OPTION_SEED(type, field, of)                                                                               \
    .name = "seed", .argument = "N", CMD_U64(type, field, 0, UINT64_MAX),                                              \
    .help = "seed of all random choices" of " (default 0)"
#define CMD_OPTION_QUIET(type, field)   .letters = "q", .name = "quiet", CMD_TAKE(cmd_take_quiet, type, field, int)
#define CMD_OPTION_VERBOSE(type, field) .letters = "v", .name = "verbose", CMD_TAKE(cmd_take_verbose, type, field, int)
#define CMD_OPTION_JSON(type, field)    .name = "json", CMD_FLAG(type, field)
#define CMD_OPTION_MEMORY(type, field)                                                                                 \
    .letters = "M", .name = "memory", .argument = "SIZE", CMD_SIZE(type, field),                                       \
    .help = "private memory to stay under, such as 512M or 4G (default: three\n"                                       \
            "quarters of what the machine, its cgroup or its Slurm job has, the\n"                                     \
            "least of these); refused at once when it cannot do"
#define CMD_OPTION_TMP(type, field, more)                                                                              \
    .name = "tmp", .argument = "DIR", CMD_TEXT(type, field),                                                           \
    .help = "directory for temporary copies of inputs" more " (default:\n"                                             \
            "TMPDIR, or /tmp)"
#define CMD_OPTION_INPUTS(type, field, of)                                                                             \
    .name = "inputs", .argument = "LIST", .files = CMD_FILES_ANY, CMD_TEXT(type, field),                               \
    .help = "instead of " of ": the files that LIST names, one path a line (\"-\":\n"                                  \
            "standard input has it)"
#define CMD_OPTION_HELP .letters = "h", .name = "help", .help = "print this help"

/* ---- values (option_values.c); option is how a message calls the option ---- */

/* Reads a decimal integer in [low, high]. Otherwise prints a message that names the option and returns false. */
bool cmd_parse_integer(const char *command, const char *option, const char *text, uint64_t low, uint64_t high,
                       uint64_t *out) OMEN_MUST_CHECK;

/* A number over 0 and up to 1. */
bool cmd_parse_share(const char *command, const char *option, const char *text, float *out) OMEN_MUST_CHECK;

#endif
