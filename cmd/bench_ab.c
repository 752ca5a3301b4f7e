/* omendb bench --baseline-binary: this program (A) and another (B) search the same index in turn, A B A B, each time as
 * a process of its own. The median of the search time of one over that of the other has an interval by bootstrap over
 * the pairs, which feel the same noise; only an interval wholly beyond --max-slowdown is a regression. */
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
#define MAX_PAIRS    1000u
#define MAX_ARGUMENT 24

extern char **environ;

/* One effort to compare at. */
struct contest {
    struct bench *b;
    uint32_t k, probes, rerank;
    float target;
    const char *own_path;  /* of this program: /proc/self would be the child */
    char queries_path[64]; /* a file in memory */
    int output_fd;         /* another: what the child wrote */
    double *own, *other;   /* seconds of search of each pair */
    uint32_t n_pairs;
    double own_recall, other_recall; /* by id */
};

/* ---- files in memory ---- */

static int write_whole(int fd, const void *data, size_t n_bytes)
{
    const char *from = data;

    while (n_bytes > 0) {
        ssize_t written = write(fd, from, n_bytes);

        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return OMEN_ERR_IO;
        }
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
    int rc;

    if (rows == NULL) {
        return OMEN_ERR_MEMORY;
    }
    for (uint64_t i = 0; i < b->n_queries; i++) {
        memcpy(rows + i * row_bytes, &b->info.d, 4);
        memcpy(rows + i * row_bytes + 4, b->queries + i * b->info.d, row_bytes - 4);
    }
    *fd = memfd_create("queries.fvecs", MFD_CLOEXEC);
    rc = *fd >= 0 ? write_whole(*fd, rows, b->n_queries * row_bytes) : OMEN_ERR_IO;
    free(rows);
    return rc == OMEN_OK ? rc : omen_fail(why, rc, "cannot hold the queries in memory: %m");
}

/* Recall by id of the ivecs that a child wrote. */
static int recall_of_output(const struct contest *c, double *out, omen_detail *why)
{
    const struct bench *b = c->b;
    const size_t row_bytes = (1 + (size_t)c->k) * 4;
    int32_t *row = malloc(row_bytes);
    int64_t *ids = malloc(b->n_queries * c->k * sizeof *ids);
    double by_distance;
    int rc = row != NULL && ids != NULL ? OMEN_OK : OMEN_ERR_MEMORY;

    for (uint64_t q = 0; rc == OMEN_OK && q < b->n_queries; q++) {
        if (pread(c->output_fd, row, row_bytes, (off_t)(q * row_bytes)) != (ssize_t)row_bytes ||
            row[0] != (int32_t)c->k) {
            rc = omen_fail(why, OMEN_ERR_INPUT, "a program under comparison did not write its results");
            break;
        }
        for (uint32_t i = 0; i < c->k; i++) {
            ids[q * c->k + i] = row[1 + i] >= 0 && (uint64_t)row[1 + i] < b->info.n_rows ? row[1 + i] : 0;
        }
    }
    if (rc == OMEN_OK) {
        rc = bench_recall(b, c->k, ids, NULL, &by_distance, out, why);
    }
    free(row);
    free(ids);
    return rc;
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
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        length += room > 0 ? (size_t)n : 0;
    }
    text[length] = '\0';
}

/* Starts program with its messages going to a pipe; returns an errno code. */
static int start(const char *program, char *const *arguments, int output_fd, int *messages, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    int ends[2], error;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    error = posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
        error = posix_spawn(pid, program, &actions, NULL, arguments, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (error != 0) {
        close(ends[0]);
    }
    *messages = ends[0];
    return error;
}

/* Runs "program query" once; the seconds of its search. */
static int run_query(const struct contest *c, const char *program, double *seconds, omen_detail *why)
{
    char k[16], threads[16], effort[2][32], text[4096];
    char *arguments[MAX_ARGUMENT] = {"omendb", "query", "-q", "--json", "-F", "ivecs",
                                     "-f",     "fvecs", "-k", k,        "-t", threads};
    int n = 12, error, messages = -1, status;
    json_t *object;
    pid_t pid;

    snprintf(k, sizeof k, "%u", c->k);
    snprintf(threads, sizeof threads, "%d", c->b->options->n_threads);
    if (c->target > 0) {
        snprintf(effort[0], sizeof effort[0], "%.7g", (double)c->target);
        arguments[n++] = "--recall";
        arguments[n++] = effort[0];
    } else {
        snprintf(effort[0], sizeof effort[0], "%u", c->probes);
        snprintf(effort[1], sizeof effort[1], "%u", c->rerank);
        arguments[n++] = "--probes";
        arguments[n++] = effort[0];
        arguments[n++] = "--rerank";
        arguments[n++] = effort[1];
    }
    if (c->b->options->cpu != NULL) {
        arguments[n++] = "--cpu";
        arguments[n++] = (char *)c->b->options->cpu;
    }
    if (c->b->options->build.zero_ok) {
        arguments[n++] = "--zero-ok";
    }
    arguments[n++] = "--";
    arguments[n++] = c->b->index_path;
    arguments[n++] = (char *)c->queries_path;
    arguments[n] = NULL;

    if (ftruncate(c->output_fd, 0) != 0 || lseek(c->output_fd, 0, SEEK_SET) != 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot empty the file for results: %m");
    }
    error = start(program, arguments, c->output_fd, &messages, &pid);
    if (error != 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot run \"%s\": %s", program, strerror(error));
    }
    read_pipe(messages, text, sizeof text);
    close(messages);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (cmd_signals_noted() != 0) {
        return OMEN_ERR_INTERRUPTED;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        text[strcspn(text, "\n")] = '\0';
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s query\" failed on the index: %.200s", program,
                         text[0] != '\0' ? text : "it said nothing");
    }
    object = json_loads(text[0] != '\0' ? text : " ", JSON_DISABLE_EOF_CHECK, NULL);
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

/* The ratio of medians (own over other) and its interval. */
static int bootstrap(const struct contest *c, double *ratio, double *low, double *high)
{
    const uint32_t n = c->n_pairs;
    double *own = malloc(n * sizeof *own), *other = malloc(n * sizeof *other);
    double *ratios = malloc(RESAMPLINGS * sizeof *ratios);
    uint64_t state = 0;
    int rc = OMEN_ERR_MEMORY;

    if (own != NULL && other != NULL && ratios != NULL) {
        memcpy(own, c->own, n * sizeof *own);
        memcpy(other, c->other, n * sizeof *other);
        *ratio = median_of(own, n) / median_of(other, n);
        for (uint32_t i = 0; i < RESAMPLINGS; i++) {
            for (uint32_t j = 0; j < n; j++) {
                uint32_t pair = (uint32_t)(next_random(&state) % n);

                own[j] = c->own[pair];
                other[j] = c->other[pair];
            }
            ratios[i] = median_of(own, n) / median_of(other, n);
        }
        bench_summarize(ratios, RESAMPLINGS); /* sorts */
        *low = bench_percentile(ratios, RESAMPLINGS, LOW_SHARE);
        *high = bench_percentile(ratios, RESAMPLINGS, HIGH_SHARE);
        rc = OMEN_OK;
    }
    free(own);
    free(other);
    free(ratios);
    return rc;
}

/* ---- the contest ---- */

static int run_pairs(struct contest *c, omen_detail *why)
{
    const struct bench_options *o = c->b->options;
    const uint32_t n_wanted = o->n_runs > MIN_PAIRS ? o->n_runs : MIN_PAIRS;
    double started, ignored;
    int rc;

    /* The warm-up tells recall. */
    rc = run_query(c, c->own_path, &ignored, why);
    if (rc == OMEN_OK) {
        rc = recall_of_output(c, &c->own_recall, why);
    }
    if (rc == OMEN_OK) {
        rc = run_query(c, o->baseline_binary, &ignored, why);
    }
    if (rc == OMEN_OK) {
        rc = recall_of_output(c, &c->other_recall, why);
    }
    started = cmd_seconds();
    while (rc == OMEN_OK && c->n_pairs < MAX_PAIRS &&
           (c->n_pairs < n_wanted || cmd_seconds() - started < o->min_seconds)) {
        cmd_progress_update(&c->b->progress, "A B A B", c->n_pairs, c->n_pairs < n_wanted ? n_wanted : 0);
        rc = run_query(c, c->own_path, &c->own[c->n_pairs], why);
        if (rc == OMEN_OK) {
            rc = run_query(c, o->baseline_binary, &c->other[c->n_pairs], why);
        }
        c->n_pairs += rc == OMEN_OK;
    }
    cmd_progress_clear(&c->b->progress);
    return rc;
}

static int judge(struct contest *c, FILE *stream, bool *worse, json_t *list)
{
    const struct bench_options *o = c->b->options;
    double ratio, low, high, own_seconds, other_seconds;
    bool slower, poorer;
    char effort[64];
    int rc = bootstrap(c, &ratio, &low, &high);

    if (rc != OMEN_OK) {
        return rc;
    }
    slower = low > 1 + o->max_slowdown;
    poorer = c->other_recall - c->own_recall > o->max_recall_drop + 1e-9;
    own_seconds = median_of(c->own, c->n_pairs);
    other_seconds = median_of(c->other, c->n_pairs);
    if (c->target > 0) {
        snprintf(effort, sizeof effort, "--recall %g", (double)c->target);
    } else {
        snprintf(effort, sizeof effort, "--probes %u --rerank %u", c->probes, c->rerank);
    }
    fprintf(stream,
            "%s k %u %s: %s queries/s at recall %.4f (by id), baseline %s at %.4f; time x %.3f (%.3f to %.3f)\n",
            slower || poorer ? "worse  " : "ok     ", c->k, effort,
            cmd_group_round((double)c->b->n_queries / own_seconds).text, c->own_recall,
            cmd_group_round((double)c->b->n_queries / other_seconds).text, c->other_recall, ratio, low, high);
    if (slower) {
        fprintf(stream, "worse   search time, k %u %s: all of the interval is beyond x %.3f\n", c->k, effort,
                1 + o->max_slowdown);
    }
    if (poorer) {
        fprintf(stream, "worse   recall@%u by id, %s: %.4f, baseline %.4f\n", c->k, effort, c->own_recall,
                c->other_recall);
    }
    *worse = *worse || slower || poorer;
    return json_array_append_new(
               list,
               json_pack("{s:I, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "k", (json_int_t)c->k,
                         "target", c->target > 0 ? json_real(round((double)c->target * 1e6) / 1e6) : json_null(),
                         "probes", c->target > 0 ? json_null() : json_integer(c->probes), "rerank",
                         c->target > 0 ? json_null() : json_integer(c->rerank), "pairs", (json_int_t)c->n_pairs,
                         "seconds", cmd_json_real(own_seconds), "baseline_seconds", cmd_json_real(other_seconds),
                         "recall_by_id", cmd_json_real(c->own_recall), "baseline_recall_by_id",
                         cmd_json_real(c->other_recall), "time_ratio", cmd_json_real(ratio), "time_ratio_low",
                         cmd_json_real(low), "time_ratio_high", cmd_json_real(high), "worse",
                         (int)(slower || poorer))) == 0
               ? OMEN_OK
               : OMEN_ERR_MEMORY;
}

/* Which of the points measured are compared: those asked for by name, else the one of the default recall. */
static bool is_compared(const struct bench *b, const struct bench_point *p)
{
    return b->options->n_recalls == 0 || b->options->recalls_given || fabsf(p->target - OMEN_DEFAULT_RECALL) < 1e-6f;
}

int bench_ab(struct bench *b, FILE *stream, bool *worse, json_t **out, omen_detail *why)
{
    char own_path[4096];
    ssize_t length = readlink(OWN_PROGRAM, own_path, sizeof own_path - 1);
    json_t *list = json_array();
    int queries_fd = -1, output_fd = -1;
    int rc;

    own_path[length > 0 ? length : 0] = '\0';
    rc = length > 0 ? share_queries(b, &queries_fd, why) : omen_fail(why, OMEN_ERR_IO, "cannot find this program: %m");
    if (rc == OMEN_OK) {
        output_fd = memfd_create("results", MFD_CLOEXEC);
        rc = output_fd >= 0 ? OMEN_OK : omen_fail(why, OMEN_ERR_IO, "cannot hold results in memory: %m");
    }
    fprintf(stream, "\nagainst %s, A B A B, search times, %d thread%s; slower by at most %g%%, recall less by %g\n",
            b->options->baseline_binary, b->options->n_threads, b->options->n_threads == 1 ? "" : "s",
            100 * b->options->max_slowdown, b->options->max_recall_drop);
    for (size_t i = 0; rc == OMEN_OK && i < b->n_points; i++) {
        const struct bench_point *p = &b->points[i];
        struct contest c = {.b = b, .k = p->k, .target = p->target, .probes = p->probes, .rerank = p->rerank};

        if (!is_compared(b, p)) {
            continue;
        }
        c.own_path = own_path;
        c.output_fd = output_fd;
        snprintf(c.queries_path, sizeof c.queries_path, "/proc/%ld/fd/%d", (long)getpid(), queries_fd);
        c.own = malloc(MAX_PAIRS * sizeof *c.own);
        c.other = malloc(MAX_PAIRS * sizeof *c.other);
        rc = c.own != NULL && c.other != NULL ? run_pairs(&c, why) : OMEN_ERR_MEMORY;
        if (rc == OMEN_OK) {
            rc = judge(&c, stream, worse, list);
        }
        free(c.own);
        free(c.other);
    }
    if (queries_fd >= 0) {
        close(queries_fd);
    }
    if (output_fd >= 0) {
        close(output_fd);
    }
    *out = rc == OMEN_OK
               ? json_pack("{s:o, s:f, s:f, s:O}", "binary", cmd_json_text(b->options->baseline_binary), "max_slowdown",
                           b->options->max_slowdown, "max_recall_drop", b->options->max_recall_drop, "contests", list)
               : NULL;
    json_decref(list);
    return rc == OMEN_OK && *out == NULL ? OMEN_ERR_MEMORY : rc;
}
