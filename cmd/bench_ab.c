/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench --baseline-binary: this program (A) and another (B) search the same index in pairs, each time as a
 * process of its own, in random order. The ratio of the medians of search time has an interval by
 * bootstrap over the pairs. A regression is reported if both hold:
 *
 *   - the whole interval is beyond --max-slowdown;
 *   - so many pairs are beyond it that two equally fast programs, for which each pair is at best a fair coin, would
 * have as many in less than FALSE_ALARMS of all runs. This holds for any noise, where the interval alone promises
 * little.
 *
 * While the interval has the limit in it the number of pairs doubles, up to MAX_PAIRS. */
#include "cmd/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN_PROGRAM "/proc/self/exe"

/* Where the interval's ends are, and of how many resamplings. */
#define LOW_SHARE   0.025
#define HIGH_SHARE  0.975
#define RESAMPLINGS 2000u

/* An interval of fewer pairs means nothing, whatever --runs says. */
#define MIN_PAIRS    20u
#define MAX_PAIRS    160u
#define MAX_ARGUMENT 40

/* Share of runs of two equally fast programs that may end in a regression; and how many looks at the pairs there are at
 * most, which share it: MIN_PAIRS and its doublings. */
#define FALSE_ALARMS 0.0005
#define MAX_LOOKS    4

extern char **environ;

/* One effort to compare at. */
struct contest {
    struct bench *b;
    uint32_t k;
    struct bench_effort effort;
    const char *own_path;            /* of this program: /proc/self would be the child */
    char queries_path[64];           /* a file in memory */
    char listed_path[64];            /* another: the rows of --only less those of --except; "" without */
    int output_fd;                   /* another: what the child wrote */
    double *own, *other;             /* seconds of search of each pair */
    uint32_t n_pairs, n_slower;      /* slower: beyond --max-slowdown */
    double own_recall, other_recall; /* by id */
    double ratio, low, high;         /* own time over other, and its interval */
    double false_alarms;             /* of one look */
    uint64_t lot;                    /* state of the generator that draws who is first */
};

/* ---- files in memory ---- */

static int write_whole(int fd, const void *data, size_t n_bytes)
{
    const char *from = data;

    while (n_bytes > 0) {
        ssize_t written = write(fd, from, n_bytes);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return OMEN_ERR_IO;
        from += written;
        n_bytes -= (size_t)written;
    }
    return OMEN_OK;
}

/* The queries as fvecs, which both programs read alike, whatever they came from. */
static int share_queries(const struct bench *b, int *fd, omen_detail *why)
{
    const size_t row_bytes = (1 + (size_t)b->info.d) * 4;
    char *rows = malloc(b->n_queries * row_bytes);
    int status;

    if (!rows)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < b->n_queries; i++) {
        memcpy(rows + i * row_bytes, &b->info.d, 4);
        memcpy(rows + i * row_bytes + 4, b->queries + i * b->info.d, row_bytes - 4);
    }
    *fd = memfd_create("queries.fvecs", MFD_CLOEXEC);
    status = *fd >= 0 ? write_whole(*fd, rows, b->n_queries * row_bytes) : OMEN_ERR_IO;
    free(rows);
    return status == OMEN_OK ? status : omen_fail(why, status, "cannot hold the queries in memory: %m");
}

/* The rows that --only and --except leave, by their numbers: the file may have been a stream, and its rows be named by
 * keys. */
static int share_listed(const struct bench *b, int *fd, omen_detail *why)
{
    uint64_t *numbers, n;
    FILE *file;
    int status = bench_filter_rows(b, b->filter.rows.listed, &numbers, &n, why);

    if (status != OMEN_OK)
        return status;
    *fd = memfd_create("rows", MFD_CLOEXEC);
    const int copy = *fd >= 0 ? fcntl(*fd, F_DUPFD_CLOEXEC, 0) : -1;
    file = copy >= 0 ? fdopen(copy, "w") : NULL;
    for (uint64_t i = 0; file && i < n; i++)
        fprintf(file, "%llu\n", (unsigned long long)numbers[i]);
    status = file && !ferror(file) ? OMEN_OK : OMEN_ERR_IO;
    if (file && fclose(file) != 0)
        status = OMEN_ERR_IO;
    else if (!file && copy >= 0)
        close(copy);
    free(numbers);
    return status == OMEN_OK ? status : omen_fail(why, status, "cannot hold the rows of a filter in memory: %m");
}

/* Recall by id of the ivecs that a child wrote. */
static int recall_of_output(const struct contest *c, double *out, omen_detail *why)
{
    const struct bench *b = c->b;
    const size_t row_bytes = (1 + (size_t)c->k) * 4;
    int32_t *row = malloc(row_bytes);
    int64_t *ids = malloc(b->n_queries * c->k * sizeof *ids);
    double by_distance;
    int status = row && ids ? OMEN_OK : OMEN_ERR_MEMORY;

    for (uint64_t q = 0; status == OMEN_OK && q < b->n_queries; q++) {
        if (pread(c->output_fd, row, row_bytes, (off_t)(q * row_bytes)) != (ssize_t)row_bytes ||
            row[0] != (int32_t)c->k) {
            status = omen_fail(why, OMEN_ERR_INPUT, "a program under comparison did not write its results");
            break;
        }
        for (uint32_t i = 0; i < c->k; i++) {
            ids[q * c->k + i] = row[1 + i];
            if (row[1 + i] == OMEN_NO_ROW && b->filter.is_given)
                continue; /* no more rows pass */
            if (row[1 + i] < 0 || (uint64_t)row[1 + i] >= b->info.n_rows) {
                status = omen_fail(why, OMEN_ERR_INPUT,
                                   "a program under comparison found row %d, which the index has not", row[1 + i]);
            }
        }
    }
    if (status == OMEN_OK)
        status = bench_recall(b, c->k, ids, NULL, &by_distance, out, why);
    free(row);
    free(ids);
    return status;
}

/* ---- one process ---- */

/* Reads all that comes, keeping what fits. */
static void read_pipe(int fd, char *text, size_t size)
{
    char scrap[512];
    size_t length = 0;
    ssize_t n;

    for (;;) {
        size_t room = size - 1 - length;

        n = read(fd, room > 0 ? text + length : scrap, room > 0 ? room : sizeof scrap);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        length += room > 0 ? (size_t)n : 0;
    }
    text[length] = '\0';
}

/* Starts program with its messages going to a pipe; returns an errno code. */
static int start(const char *program, char *const *arguments, int output_fd, int *messages, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    int ends[2], error;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
        error = posix_spawn(pid, program, &actions, NULL, arguments, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (error != 0)
        close(ends[0]);
    *messages = ends[0];
    return error;
}

/* The words of "omendb query" and their storage. */
struct command {
    char k[16], threads[16], effort[2][32];
    char *words[MAX_ARGUMENT];
};

/* Adds the filter as query takes it; returns where the next word goes. */
static char **add_filter(char **word, const struct contest *c)
{
    const struct query_where_options *where = &c->b->options->filter.where;
    const char *const values[] = {c->listed_path[0] != '\0' ? c->listed_path : NULL, where->text, where->file,
                                  where->tags};
    static const char *const names[] = {"--only", "--where", "--where-file", "--where-tags"};

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (!values[i])
            continue;
        *word++ = (char *)names[i];
        *word++ = (char *)values[i];
    }
    return word;
}

static void command_init(struct command *command, const struct contest *c)
{
    static char *const first[] = {"omendb", "query", "-q", "--json", "-F", "ivecs", "-f", "fvecs"};
    const struct bench_options *o = c->b->options;
    char **word = command->words;

    memcpy(word, first, sizeof first);
    word += sizeof first / sizeof first[0];
    snprintf(command->k, sizeof command->k, "%u", c->k);
    snprintf(command->threads, sizeof command->threads, "%d", o->n_threads);
    *word++ = "-k";
    *word++ = command->k;
    *word++ = "-t";
    *word++ = command->threads;
    if (c->effort.target > 0) {
        snprintf(command->effort[0], sizeof command->effort[0], "%.7g", (double)c->effort.target);
        *word++ = "--recall";
        *word++ = command->effort[0];
    } else {
        snprintf(command->effort[0], sizeof command->effort[0], "%u", c->effort.probes);
        snprintf(command->effort[1], sizeof command->effort[1], "%u", c->effort.rerank);
        *word++ = "--probes";
        *word++ = command->effort[0];
        *word++ = "--rerank";
        *word++ = command->effort[1];
    }
    if (c->b->info.graph.degree > 0) { /* else a program without graphs refuses what there is no need to say */
        *word++ = "--way";
        *word++ = (char *)omen_search_way_name(c->effort.way);
    }
    if (o->cpu) {
        *word++ = "--cpu";
        *word++ = (char *)o->cpu;
    }
    if (o->build.zero_ok)
        *word++ = "--zero-ok";
    if (c->b->info.key_kind != OMEN_KEYS_NONE) /* else keys are written, and read in --only */
        *word++ = "--rows";
    word = add_filter(word, c);
    *word++ = "--";
    *word++ = c->b->index_path;
    *word++ = (char *)c->queries_path;
    *word = NULL;
}

/* Runs "program query" once; the seconds of its search. */
static int run_query(const struct contest *c, const char *program, double *seconds, omen_detail *why)
{
    struct command command;
    char text[4096];
    int error, messages = -1, status;
    const char *json;
    json_t *object;
    pid_t pid = -1;

    command_init(&command, c);
    if (ftruncate(c->output_fd, 0) != 0 || lseek(c->output_fd, 0, SEEK_SET) != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot empty the file for results: %m");
    error = start(program, command.words, c->output_fd, &messages, &pid);
    if (error != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot run \"%s\": %s", program, strerror(error));
    read_pipe(messages, text, sizeof text);
    close(messages);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (cmd_signals_noted() != 0)
        return OMEN_ERR_INTERRUPTED;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        text[strcspn(text, "\n")] = '\0';
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s query\" failed on the index: %.200s", program,
                         text[0] != '\0' ? text : "it said nothing");
    }
    json = strchr(text, '{'); /* warnings may come first */
    object = json_loads(json ? json : "", JSON_DISABLE_EOF_CHECK, NULL);
    *seconds = bench_json_number(object, "seconds.search");
    json_decref(object);
    return *seconds > 0 ? OMEN_OK
                        : omen_fail(why, OMEN_ERR_INPUT, "\"%s query --json\" does not tell seconds.search", program);
}

/* ---- statistics ---- */

static double median_of(double *values, uint32_t n)
{
    return bench_summarize(values, n).median;
}

/* splitmix64: the interval of the same times is the same every time. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The ratio of medians and its interval. */
static int bootstrap(struct contest *c)
{
    const uint32_t n = c->n_pairs;
    double *own = malloc(n * sizeof *own), *other = malloc(n * sizeof *other);
    double *ratios = malloc(RESAMPLINGS * sizeof *ratios);
    uint64_t state = 0;
    int status = OMEN_ERR_MEMORY;

    if (own && other && ratios) {
        memcpy(own, c->own, n * sizeof *own);
        memcpy(other, c->other, n * sizeof *other);
        c->ratio = median_of(own, n) / median_of(other, n);
        for (uint32_t i = 0; i < RESAMPLINGS; i++) {
            for (uint32_t j = 0; j < n; j++) {
                uint32_t pair = (uint32_t)(next_random(&state) % n);

                own[j] = c->own[pair];
                other[j] = c->other[pair];
            }
            ratios[i] = median_of(own, n) / median_of(other, n);
        }
        bench_summarize(ratios, RESAMPLINGS); /* sorts */
        c->low = bench_percentile(ratios, RESAMPLINGS, LOW_SHARE);
        c->high = bench_percentile(ratios, RESAMPLINGS, HIGH_SHARE);
        status = OMEN_OK;
    }
    free(own);
    free(other);
    free(ratios);
    return status;
}

/* ---- the contest ---- */

/* The warm-up tells recall. */
static int warm_up(struct contest *c, omen_detail *why)
{
    double ignored;
    int status = run_query(c, c->own_path, &ignored, why);

    if (status == OMEN_OK)
        status = recall_of_output(c, &c->own_recall, why);
    if (status == OMEN_OK)
        status = run_query(c, c->b->options->baseline_binary, &ignored, why);
    if (status == OMEN_OK)
        status = recall_of_output(c, &c->other_recall, why);
    return status;
}

/* One search by either program. */
static int run_pair(struct contest *c, omen_detail *why)
{
    const struct bench_options *o = c->b->options;
    const bool own_first = next_random(&c->lot) >> 63;
    double *own = &c->own[c->n_pairs], *other = &c->other[c->n_pairs];
    int status = run_query(c, own_first ? c->own_path : o->baseline_binary, own_first ? own : other, why);

    if (status == OMEN_OK)
        status = run_query(c, own_first ? o->baseline_binary : c->own_path, own_first ? other : own, why);
    if (status == OMEN_OK) {
        c->n_slower += *own > (1 + o->max_slowdown) * *other;
        c->n_pairs++;
    }
    return status;
}

/* How likely n fair coins show at least this many heads. */
static double coin_tail(uint32_t n, uint32_t n_heads)
{
    double sum = 0;

    for (uint32_t i = n_heads; i <= n; i++)
        sum += exp(lgamma(n + 1.0) - lgamma(i + 1.0) - lgamma(n - i + 1.0) - n * M_LN2);
    return sum;
}

static bool is_slower(const struct contest *c)
{
    return c->low > 1 + c->b->options->max_slowdown && coin_tail(c->n_pairs, c->n_slower) < c->false_alarms;
}

/* Pairs until the interval is on one side of the limit, or MAX_PAIRS. */
static int run_pairs(struct contest *c, omen_detail *why)
{
    const double limit = 1 + c->b->options->max_slowdown;
    uint32_t n_wanted = MIN_PAIRS;
    bool decided = false;
    int status = warm_up(c, why);

    while (status == OMEN_OK && !decided && n_wanted <= MAX_PAIRS) {
        while (status == OMEN_OK && c->n_pairs < n_wanted) {
            cmd_progress_update(&c->b->progress, "A B A B", c->n_pairs, n_wanted);
            status = run_pair(c, why);
        }
        if (status == OMEN_OK)
            status = bootstrap(c);
        decided = status == OMEN_OK && (c->high <= limit || is_slower(c));
        n_wanted *= 2;
    }
    cmd_progress_clear(&c->b->progress);
    return status;
}

static int judge(struct contest *c, FILE *stream, bool *worse, json_t *list)
{
    const struct bench_options *o = c->b->options;
    const bool slower = is_slower(c);
    double own_seconds, other_seconds;
    bool poorer;
    char effort[64];

    poorer = c->other_recall - c->own_recall > o->max_recall_drop + 1e-9;
    own_seconds = median_of(c->own, c->n_pairs);
    other_seconds = median_of(c->other, c->n_pairs);
    bench_effort_text(effort, sizeof effort, &c->effort);
    fprintf(stream,
            "%s k %u %s: %s queries/s at recall %.4f (by id), baseline %s at %.4f; time x %.3f (%.3f to %.3f), "
            "%u pairs\n",
            slower || poorer ? "worse  " : "ok     ", c->k, effort,
            cmd_group_round((double)c->b->n_queries / own_seconds).text, c->own_recall,
            cmd_group_round((double)c->b->n_queries / other_seconds).text, c->other_recall, c->ratio, c->low, c->high,
            c->n_pairs);
    if (slower) {
        fprintf(stream, "worse   search time, k %u %s: %u of %u pairs are beyond x %.3f\n", c->k, effort, c->n_slower,
                c->n_pairs, 1 + o->max_slowdown);
    }
    if (poorer) {
        fprintf(stream, "worse   recall@%u by id, %s: %.4f, baseline %.4f\n", c->k, effort, c->own_recall,
                c->other_recall);
    }
    *worse = *worse || slower || poorer;
    return json_array_append_new(
               list,
               json_pack("{s:I, s:s, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "k",
                         (json_int_t)c->k, "way", omen_search_way_name(c->effort.way), "target",
                         c->effort.target > 0 ? json_real(round((double)c->effort.target * 1e6) / 1e6) : json_null(),
                         "probes", c->effort.target > 0 ? json_null() : json_integer(c->effort.probes), "rerank",
                         c->effort.target > 0 ? json_null() : json_integer(c->effort.rerank), "pairs",
                         (json_int_t)c->n_pairs, "pairs_slower", (json_int_t)c->n_slower, "seconds",
                         cmd_json_real(own_seconds), "baseline_seconds", cmd_json_real(other_seconds), "recall_by_id",
                         cmd_json_real(c->own_recall), "baseline_recall_by_id", cmd_json_real(c->other_recall),
                         "time_ratio", cmd_json_real(c->ratio), "time_ratio_low", cmd_json_real(c->low),
                         "time_ratio_high", cmd_json_real(c->high), "worse", (int)(slower || poorer))) == 0
               ? OMEN_OK
               : OMEN_ERR_MEMORY;
}

/* Which of the points measured are compared: those asked for by name, else the one of the default recall. */
static bool is_compared(const struct bench *b, const struct bench_point *p)
{
    return b->options->n_recalls == 0 || b->options->recalls_given ||
           fabsf(p->effort.target - OMEN_DEFAULT_RECALL) < 1e-6f;
}

int bench_ab_check(const struct bench *b, omen_detail *why)
{
    const char *path = b->options->baseline_binary;

    return access(path, X_OK) == 0 ? OMEN_OK : omen_fail(why, OMEN_ERR_IO, "cannot run \"%s\": %m", path);
}

int bench_ab(struct bench *b, FILE *stream, bool *worse, json_t **out, omen_detail *why)
{
    char own_path[4096];
    uint32_t n_contests = 0;
    ssize_t length = readlink(OWN_PROGRAM, own_path, sizeof own_path - 1);
    json_t *list = json_array();
    int queries_fd = -1, output_fd = -1, listed_fd = -1;
    int status;

    own_path[length > 0 ? length : 0] = '\0';
    status =
        length > 0 ? share_queries(b, &queries_fd, why) : omen_fail(why, OMEN_ERR_IO, "cannot find this program: %m");
    if (status == OMEN_OK && b->filter.rows.listed)
        status = share_listed(b, &listed_fd, why);
    if (status == OMEN_OK) {
        output_fd = memfd_create("results", MFD_CLOEXEC);
        status = output_fd >= 0 ? OMEN_OK : omen_fail(why, OMEN_ERR_IO, "cannot hold results in memory: %m");
    }
    fprintf(stream, "\nagainst %s, A B A B: slower by at most %g%%, recall less by %g\n",
            cmd_printable(b->options->baseline_binary).text, 100 * b->options->max_slowdown,
            b->options->max_recall_drop);
    bench_print_context(b, stream);
    for (size_t i = 0; i < b->n_points; i++)
        n_contests += is_compared(b, &b->points[i]);
    for (size_t i = 0; status == OMEN_OK && i < b->n_points; i++) {
        const struct bench_point *p = &b->points[i];
        struct contest c = {.b = b, .k = p->k, .effort = p->effort};

        if (!is_compared(b, p))
            continue;
        c.false_alarms = FALSE_ALARMS / (MAX_LOOKS * n_contests);
        c.own_path = own_path;
        c.output_fd = output_fd;
        snprintf(c.queries_path, sizeof c.queries_path, "/proc/%ld/fd/%d", (long)getpid(), queries_fd);
        if (listed_fd >= 0)
            snprintf(c.listed_path, sizeof c.listed_path, "/proc/%ld/fd/%d", (long)getpid(), listed_fd);
        c.own = malloc(MAX_PAIRS * sizeof *c.own);
        c.other = malloc(MAX_PAIRS * sizeof *c.other);
        status = c.own && c.other ? run_pairs(&c, why) : OMEN_ERR_MEMORY;
        if (status == OMEN_OK)
            status = judge(&c, stream, worse, list);
        free(c.own);
        free(c.other);
    }
    if (queries_fd >= 0)
        close(queries_fd);
    if (output_fd >= 0)
        close(output_fd);
    if (listed_fd >= 0)
        close(listed_fd);
    *out = status == OMEN_OK
               ? json_pack("{s:o, s:f, s:f, s:O}", "binary", cmd_json_text(b->options->baseline_binary), "max_slowdown",
                           b->options->max_slowdown, "max_recall_drop", b->options->max_recall_drop, "contests", list)
               : NULL;
    json_decref(list);
    return status == OMEN_OK && !*out ? OMEN_ERR_MEMORY : status;
}
