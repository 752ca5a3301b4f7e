/* SPDX-License-Identifier: Apache-2.0 */
/* Private declarations of the program: what the subcommands share. */
#ifndef OMEN_CMD_H
#define OMEN_CMD_H

#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "formats/container.h"
#include "formats/file.h"
#include "formats/in_use.h"
#include "formats/input.h"
#include "formats/input_paths.h"
#include "formats/omz.h"
#include "formats/shards.h"
#include "formats/vectors.h"
#include "formats/vectors_stream.h"
#include "lib/omendb_audit.h"

/* Exit codes, the same for every subcommand. A stop by signal gives CMD_EXIT_SIGNAL + its number (130 for SIGINT). */
enum {
    CMD_EXIT_OK = 0,
    CMD_EXIT_USAGE = 2,
    CMD_EXIT_CORRUPT = 3,
    CMD_EXIT_IO = 4,
    CMD_EXIT_MEMORY = 5,
    CMD_EXIT_MISSING = 6, /* of merge: shards */
    CMD_EXIT_SIGNAL = 128,
    CMD_EXIT_PIPE = CMD_EXIT_SIGNAL + SIGPIPE,
};

/* What an argument parser returns when the work can start; anything else is the exit code. */
#define CMD_GO_ON (-1)

/* Upper limit of --threads: a typing error must not ask OpenMP for a million of them. */
#define CMD_MAX_THREADS 1024u

/* A short text, given back by value. Use: printf("%s", cmd_group(n).text). */
typedef struct cmd_text {
    char text[32];
} cmd_text;

typedef struct cmd_name {
    char text[1024];
} cmd_name;

/* ---- subcommands: argv[0] is the subcommand's name; each returns an exit code ---- */

int cmd_attach(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_build(int argc, char **argv);
int cmd_compress(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_merge(int argc, char **argv);
int cmd_query(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_verify(int argc, char **argv);

/* ---- messages (message.c): one line on stderr, control characters replaced ---- */

/* "omendb COMMAND: text"; command NULL leaves it out. */
void cmd_say(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, and returns CMD_EXIT_USAGE. */
int cmd_misuse(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The exit code of an OMEN_ERR_* code. */
int cmd_exit_code(int code);

/* The cause of a failed call in words: the detail if there is one, reworded, else the text of the code. */
const char *cmd_cause(int code, omen_detail *why);

/* Prints the cause and returns the exit code. */
int cmd_fail(const char *command, int code, omen_detail *why);

/* Puts a text of the library into the words of the command line: "options.zero_ok" is "--zero-ok" (wording.c). */
void cmd_reword(omen_detail *why);

/* ---- threads (threads.c) ---- */

/* From now on, new threads get a stack of sufficient size and share one heap. */
void cmd_threads_init(void);

/* The number of threads to use: wanted (0: cmd_limit_threads()), or fewer if the system grants no more. Starts OpenMP's
 * threads. A wanted number above that of processors is warned of, unless command is NULL. */
int cmd_threads(const char *command, int wanted);

/* ---- files (files.c) ---- */

/* A file that a command reads or writes. */
typedef struct cmd_file {
    const char *role; /* its name on the command line, such as "INPUT" or "--output" */
    const char *path; /* NULL: not given; "-": standard input or output */
    bool is_output;
    bool has_checkpoint; /* path + ".part" is written beside it */
} cmd_file;

/* Refuses, with a message, an output if one of its names - its own, its temporary's or its checkpoint's - leads to an
 * input or is also a name of another output, and two inputs that are the same pipe. Returns CMD_GO_ON or
 * CMD_EXIT_USAGE. */
int cmd_files_check(const char *command, const cmd_file *files, size_t n) OMEN_MUST_CHECK;

/* Makes the value of --tmp, NULL if it was not given, the directory of temporary copies. Returns CMD_GO_ON or an exit
 * code. */
int cmd_tmp_settle(const char *command, const char *directory) OMEN_MUST_CHECK;

/* Adds to the cause that --fresh does without the checkpoint of output, which is beside it or in a directory. */
void cmd_fresh_hint(omen_detail *why, const char *output, const char *directory);

/* Whether a path, which may be NULL, stands for standard input or output: "-". */
bool cmd_is_stream(const char *path);

/* What follows the last dot of a file's name, in lower case: "npy" of "a/b.NPY"; "" of "a.b/c", ".c" and "c.". */
cmd_text cmd_extension(const char *path);

/* Refuses an output of the given format (such as "omen"; what: "an index") if its extension stands for another format
 * that omendb reads or writes. Returns CMD_GO_ON or CMD_EXIT_USAGE. */
int cmd_check_extension(const char *command, const char *output, const char *format, const char *what);

/* ---- opening (inputs.c) ---- */

/* Sets *paths to the files of a command's inputs: those that list, if it is not NULL, names, else the n words, of which
 * each may be a directory, whose files need a name that says their format unless format is given. The caller calls
 * omen_paths_finish() even after a failure. Returns OMEN_OK or as omen_paths_read() and omen_paths_expand(). */
int cmd_find_inputs(omen_paths *paths, const char *list, const char *const *words, size_t n, const char *format,
                    omen_detail *why) OMEN_MUST_CHECK;

/* How many of them are standard input. */
size_t cmd_inputs_streams(const omen_paths *paths);

/* As cmd_files_check(), of n files and of the inputs, whose role is what messages call them. Returns CMD_GO_ON or an
 * exit code. */
int cmd_inputs_check(const char *command, const omen_paths *paths, const char *role, const cmd_file *files,
                     size_t n) OMEN_MUST_CHECK;

/* Opens rows that belong to an index of dimension index_d: raw input without --dim (d = 0) has that dimension. */
int cmd_open_rows(omen_vectors **out, const char *path, const char *format, uint32_t d, uint32_t index_d,
                  omen_detail *why) OMEN_MUST_CHECK;

/* The same as they come, as omen_vectors_stream_open(): *stream is set, or *out. */
int cmd_open_stream(omen_vectors_stream **stream, omen_vectors **out, const char *path, const char *format, uint32_t d,
                    uint32_t index_d, omen_detail *why) OMEN_MUST_CHECK;

/* The same of several files as one. */
int cmd_open_inputs(omen_vectors **out, const omen_paths *paths, const char *format, uint32_t d, uint32_t index_d,
                    omen_detail *why) OMEN_MUST_CHECK;

/* Opens an index file and fills *info. checks: every block that is read, now or by a search, is compared with its
 * checksum. The caller closes container and index, even after a failure. */
int cmd_open_index(omen_container **container, omen_index **index, const char *path, bool checks, omen_index_info *info,
                   omen_detail *why) OMEN_MUST_CHECK;

/* The same for a container that is already open. */
int cmd_read_index(omen_container **container, omen_index **index, const char *path, bool checks, omen_index_info *info,
                   omen_detail *why) OMEN_MUST_CHECK;

/* Whether a file that is no index is one of vectors, or of another program, which *why says then. */
bool cmd_name_vectors(const char *path, omen_detail *why);

/* Puts the name of an index file in front of the cause if code says that the file is corrupt. Returns code. */
int cmd_name_damage(const char *path, int code, omen_detail *why);

/* ---- what an index can reach (reach.c) ---- */

/* Says that most is the highest recall that the build of an index measured, and what would raise it. */
void cmd_reach_tell(const omen_index_info *info, double most, omen_detail *out);

/* ---- text for people (text.c) ---- */

/* A text of unknown origin, such as a file's name, for a terminal or a picture: control characters and bytes that are
 * no UTF-8 are replaced; of a long one the end is kept. Use: printf("%s", cmd_printable(path).text). */
cmd_name cmd_printable(const char *text);

/* The same in place. For signal handlers too. */
void cmd_make_printable(char *text);

/* 1234567 as "1,234,567". */
cmd_text cmd_group(uint64_t value);

/* The same for a value that is rounded to an integer first. */
cmd_text cmd_group_round(double value);

/* A hash of rows in 32 hexadecimal digits. */
cmd_name cmd_row_hash(const omen_row_hash *hash);

/* 52428800 as "52.4 MB". */
cmd_text cmd_human_bytes(uint64_t n_bytes);

/* Names as a choice: "a, b or c", each after prefix; name(i) is the i-th, NULL past the last. */
cmd_name cmd_choice(const char *prefix, const char *(*name)(size_t i));

/* Of the names tried so far, the one that a mistaken word was most likely meant for. Starts zeroed. */
typedef struct cmd_near {
    const char *name; /* NULL: none is near */
    size_t edits;
} cmd_near;

/* Tries one more name for the first length characters of word. A word further off than a third of it is another one. */
void cmd_near_try(cmd_near *near, const char *word, size_t length, const char *name);

/* ---- JSON (json.c) ---- */

/* A JSON string of any bytes (bytes that are not UTF-8 become U+FFFD); NULL without memory. */
json_t *cmd_json_text(const char *text);

/* A JSON number, null if it is not finite; NULL if out of memory. */
json_t *cmd_json_real(double value);

/* A JSON number of 64 bits; a text of digits where it is more than a signed one. NULL if out of memory. */
json_t *cmd_json_u64(uint64_t value);

/* As cmd_row_hash(), null for 0: it is not known. */
json_t *cmd_json_row_hash(const omen_row_hash *hash);

/* Writes object (NULL: out of memory) as one line and releases it. Returns an exit code; prints a message on
 * failure. */
int cmd_json_print(const char *command, json_t *object, FILE *stream);

/* ---- summaries (summary.c): for people on stderr; as JSON, build's on stdout and query's on stderr ---- */

struct cmd_build_outcome {
    const char *input, *output; /* input: NULL of several */
    size_t n_inputs;
    omen_build_report report;
    omen_index_info info;
    uint64_t file_bytes;
    double seconds;     /* from opening the input to the commit */
    bool is_resumed;    /* a checkpoint was continued */
    double recall_most; /* recall@10 at most, as measured; NaN: no limit was met */
    omen_detail reach;  /* the same in words; "" without a limit */
};

/* Of query --certify. NOTHING: no row passes the filter of any query. */
enum { CMD_CERTIFIED_UNASKED, CMD_CERTIFIED_NO, CMD_CERTIFIED_YES, CMD_CERTIFIED_NOTHING };

struct cmd_query_outcome {
    omen_index_info info;
    omen_search_stats stats;
    size_t n_indexes;
    uint32_t k; /* found a query */
    int n_threads;
    bool exact;
    double open_seconds, read_seconds, search_seconds, write_seconds, audit_seconds;
    uint64_t n_in_batch;
    double asked;                  /* the recall */
    float effort_factor;           /* 1 unless something else was asked for or chosen */
    uint64_t n_audited;            /* queries that were also searched exactly; 0: the recall was not measured */
    omen_recall recall;            /* as measured */
    double ceiling, ceiling_known; /* omen_index_ceiling() */
    int certified;                 /* CMD_CERTIFIED_ */
    bool has_filter;
    uint64_t n_short;        /* queries that found fewer than k rows, under a filter */
    uint64_t n_passing;      /* rows that they all found, under a filter */
    omen_way_choice choice;  /* which way was taken, and why */
    omen_detail note;        /* what the results may lack; else empty */
    bool has_within;         /* all rows within a distance were searched for */
    uint64_t n_found, n_cut; /* with it: rows found, queries that found more than the limit */
    uint64_t n_pairs;        /* written, with --pairs */
};

/* A note where the lengths of the sampled rows suggest that another metric was meant. */
void cmd_norms_tell(const char *command, omen_metric metric, const omen_build_report *report);
void cmd_build_summary(const struct cmd_build_outcome *outcome, bool verbose);
int cmd_build_json(const char *command, const struct cmd_build_outcome *outcome);
void cmd_query_summary(const struct cmd_query_outcome *outcome);
int cmd_query_json(const struct cmd_query_outcome *outcome);

/* ---- the same of other work, as JSON on stdout (report.c); all return an exit code ---- */

/* Work that stopped. */
struct cmd_stop {
    const char *why;
    int exit_code;
    uint64_t rows_done, n_rows; /* encoded, of how many; 0 of 0: it did not come so far */
    bool continues;             /* the same command goes on with what is done */
};

/* Returns stop->exit_code unless printing fails. */
int cmd_report_stop(const char *command, const char *output, const struct cmd_stop *stop);

int cmd_report_model(const struct cmd_build_outcome *outcome, omen_metric metric, uint64_t identity);
int cmd_report_shard(const struct cmd_build_outcome *outcome, const omen_shard_info *shard, bool was_there);

/* ---- result files (output.c) ---- */

/* A file, with a stream to write to it, or standard output. Starts zeroed. */
typedef struct cmd_output {
    omen_file file; /* zeroed: standard output */
    FILE *stream;
    const char *path; /* NULL: standard output */
} cmd_output;

/* Starts the file as omen_file_open() does; path NULL is standard output. Returns OMEN_OK, OMEN_ERR_IO or
 * OMEN_ERR_MEMORY; call cmd_output_close() even on failure. */
int cmd_output_open(cmd_output *out, const char *path, const struct stat *like, omen_detail *why) OMEN_MUST_CHECK;

/* Gives the complete file its name. Returns OMEN_OK, OMEN_ERR_IO or OMEN_ERR_MEMORY. Bytes written to the stream's
 * descriptor directly are part of the file too. */
int cmd_output_commit(cmd_output *out, omen_detail *why) OMEN_MUST_CHECK;

/* Closes the file; removes a temporary that was not committed. */
void cmd_output_close(cmd_output *out);

/* ---- time and progress (progress.c) ---- */

/* Seconds of a clock that never steps. */
double cmd_seconds(void);

typedef struct cmd_progress {
    bool live;           /* redraw one line on the terminal */
    bool log;            /* no terminal, but -v: one line per stage */
    double line_seconds; /* no terminal: time between two lines; 0: there are none */
    double last_line;
    double unit;         /* so many of what is counted are one of what people count */
    double started;      /* of all work */
    double stage_began;  /* of the current stage */
    double last_drawn;   /* to draw a few times a second only */
    const char *stage;   /* of the last call; compared by content */
    char stage_name[32]; /* storage of stage */
    int width;           /* of the line on the screen, to blank it */
} cmd_progress;

/* Whether the environment says how often lines come where there is no terminal. */
bool cmd_progress_is_wanted(void);

/* verbosity: -1 for -q, 1 for -v. */
void cmd_progress_init(cmd_progress *progress, int verbosity);

/* An omen_progress_fn; context is a cmd_progress. Returns non-zero once a signal has asked to stop. */
int cmd_progress_update(void *context, const char *stage, uint64_t done, uint64_t total);

/* Blanks the line, so that other text can follow. */
void cmd_progress_clear(cmd_progress *progress);

/* ---- signals (signals.c) ---- */

/* From the start of the program: a mapped file that cannot be read (SIGBUS) ends the process with a line that names it
 * and CMD_EXIT_IO, after the temporaries of formats/in_use.h are removed; SIGPIPE is noted, and the write that raised
 * it fails. command may be NULL. */
void cmd_signals_start(const char *command);

/* Whether the reader of a pipe went away. If so, a failed write prints no message: cmd_fail() returns CMD_EXIT_PIPE,
 * and main() ends the process by SIGPIPE after everything is cleaned up. */
bool cmd_signals_pipe_broke(void);

/* From here SIGINT, SIGTERM and SIGHUP end the process at once with "omendb COMMAND: text" and CMD_EXIT_SIGNAL +
 * number, after the temporaries are removed. */
void cmd_signals_exit(const char *command, const char *text);

/* From here the same signals are only noted, for cmd_progress_update() and cmd_signals_noted(). */
void cmd_signals_note(void);

/* The number of the signal noted, or 0. */
int cmd_signals_noted(void);

/* ---- what groups and jobs allow (limits.c) ---- */

/* Bytes of memory that this process's control groups and its Slurm job have; UINT64_MAX: no limit. */
uint64_t cmd_limit_memory(void);

/* Processors that it may use: by its affinity and by the time that its control groups have, rounded up. */
int cmd_limit_processors(void);

/* Threads to use where none were asked for: the least of these, SLURM_CPUS_PER_TASK and OMP_NUM_THREADS. */
int cmd_limit_threads(void);

/* ---- memory.c ---- */

/* Bytes of memory that this process may use: the least of the machine's and of cmd_limit_memory(). */
uint64_t cmd_memory_bytes(void);

/* What builds stay under unless --memory says otherwise. */
uint64_t cmd_memory_default(void);

/* Settles a value of --memory: 0, not given, becomes the default, and one above cmd_limit_memory() that limit, which is
 * warned of unless command is NULL. */
void cmd_memory_settle(const char *command, uint64_t *n_bytes);

/* Of these, the bytes that the machine has free or can free without swapping. */
uint64_t cmd_memory_free_bytes(void);

/* From now on memory that is given back stays with the process, for work that comes in many equal batches: the system
 * would clear its pages each time. */
void cmd_memory_keep(void);

#endif
