/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever the library does with files, in one process, while a call of libc fails (tests/fault/fault.c) or an
 * allocation: the failure is told as what it is, and nothing is kept. tests/fault/fault.py looks at the files that are
 * left; here many more calls fail in the same time.
 *
 *   test_failing_files [N]   of the calls of each piece of work at most N fail, evenly spread (default 10) */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "formats/container.h"
#include "formats/omendb_files.h"
#include "tests/fault/fault.h"
#include "tests/unit/check.h"
#include "tests/unit/file_works.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

static unsigned long n_most = 10;

/* Where the work is done. */
typedef struct {
    const char *name, *lacks; /* of the file systems, as OMEN_FAULT_LACKS has it */
    bool has_leftover;        /* a killed run has left a temporary */
    bool is_dumb;             /* there is no place for reasons */
} place;

static const place places[] = {{"", NULL, false, false},
                               {", without locks", "locks", false, false},
                               {", without mmap and O_DIRECT", "mmap direct", true, false},
                               {", without reasons", NULL, false, true}};

static void prepare(const work *w, const place *p)
{
    char name[64];
    unsetenv("OMEN_FAULT_LACKS");
    work_clean(w);
    if (w->output && p->has_leftover) {
        snprintf(name, sizeof name, "%s.tmp", w->output);
        save_bytes(name, "left", 4);
    }
    if (p->lacks)
        setenv("OMEN_FAULT_LACKS", p->lacks, 1);
    reasons = p->is_dumb ? NULL : &detail;
    detail.text[0] = '\0';
}

static void test_work(const work *w, const place *p)
{
    static const struct {
        const char *format;
        fault_kind kind;
        int code;
    } faults[] = {{"io:%lu:EIO", FAULT_IO, OMEN_ERR_IO},       {"io:%lu+:ENOSPC", FAULT_IO, OMEN_ERR_IO},
                  {"alloc:%lu", FAULT_ALLOC, OMEN_ERR_MEMORY}, {"io:%lu:EINTR", FAULT_IO, OMEN_ERR_IO},
                  {"io:%lu:ENOENT", FAULT_IO, OMEN_ERR_IO},    {"io:%lu:EOPNOTSUPP", FAULT_IO, OMEN_ERR_IO},
                  {"io:%lu:ENODEV", FAULT_IO, OMEN_ERR_IO},    {"io:%lu:EMFILE", FAULT_IO, OMEN_ERR_IO},
                  {"io:%lu:NOTHING", FAULT_IO, OMEN_ERR_IO},   {"short:%lu", FAULT_SHORT, OMEN_OK},
                  {"alloc:%lu+", FAULT_ALLOC, OMEN_ERR_MEMORY}};
    const size_t n_faults = p == places ? sizeof faults / sizeof *faults : 5; /* the others by no other way */
    unsigned long n_refused = 0, n_done = 0;
    for (size_t f = 0; f < n_faults; f++) {
        prepare(w, p);
        fault_plan(NULL);
        const int whole = w->run();
        const unsigned long n = fault_count(faults[f].kind), step = n / n_most + 1;
        CHECK_CASE(whole == OMEN_OK, "%d, %s", whole, detail.text);
        for (unsigned long i = 1 + f % step; i <= n; i += step) {
            char plan[32];
            prepare(w, p);
            snprintf(plan, sizeof plan, faults[f].format, i);
            fault_plan(plan);
            const int status = w->run();
            fault_plan(NULL);
            /* a wait for a stream is not begun again */
            const bool is_interrupted = status == OMEN_ERR_INTERRUPTED && strstr(plan, "EINTR");
            /* and what ends early is empty, or damaged */
            const bool is_short = (status == OMEN_ERR_INPUT || status == OMEN_ERR_CORRUPT) && strstr(plan, "NOTHING");
            CHECK_CASE(status == OMEN_OK || status == faults[f].code || is_interrupted || is_short, "%s: %d, %s", plan,
                       status, detail.text);
            CHECK_CASE(status == OMEN_OK || detail.text[0] != '\0' || !work_tells(w) || p->is_dumb,
                       "%s: %d without a reason", plan, status);
            n_done += status == OMEN_OK;
            n_refused += status != OMEN_OK;
        }
    }
    printf("# %lu done, %lu refused\n", n_done, n_refused);
    CHECK(n_refused > 0);
    prepare(w, places);
}

/* It stops when it is asked to, wherever it is, and goes on, or begins anew, and ends well. */
static void test_stopped(const work *w)
{
    unsigned long n_stopped = 0;
    prepare(w, places);
    n_told = 0;
    CHECK_CASE(w->run() == OMEN_OK, "%s", detail.text);
    const unsigned long n = n_told, step = n / n_most + 1;
    for (unsigned long i = 0; i < n; i += step) {
        prepare(w, places);
        n_told = 0;
        told_most = i;
        const int status = w->run();
        told_most = ULONG_MAX;
        CHECK_CASE(status == OMEN_ERR_INTERRUPTED || status == OMEN_OK, "told %lu times: %d, %s", i, status,
                   detail.text);
        CHECK_CASE(!w->output || w->run() == OMEN_OK, "told %lu times, again: %s", i, detail.text);
        n_stopped += status == OMEN_ERR_INTERRUPTED;
    }
    printf("# told %lu times, stopped %lu times\n", n, n_stopped);
    CHECK(n_stopped > 0 || n == 0);
    prepare(w, places);
}

/* ---- what others do ---- */

static const char *interfered; /* with: the output of the work */
static int others_fd = -1;

static const char *with_end(const char *end)
{
    static char name[64];
    snprintf(name, sizeof name, "%s%s", interfered, end);
    return name;
}

static void remove_temporary(void)
{
    unlink(with_end(".tmp"));
    unlink(with_end(".part"));
}

static void plant_link(void)
{
    remove_temporary();
    CHECK(symlink("precious", with_end(".tmp")) == 0 && symlink("precious", with_end(".part")) == 0);
}

static void plant_file(void)
{
    remove_temporary();
    save_bytes(with_end(".tmp"), "other", 5);
    save_bytes(with_end(".part"), "other", 5);
}

static void plant_directory(void)
{
    remove_temporary();
    CHECK(mkdir(with_end(".tmp"), 0700) == 0 && mkdir(with_end(".part"), 0700) == 0);
}

static void plant_output(void)
{
    mkdir(interfered, 0700);
}

static void lock_temporary(void)
{
    others_fd = open(with_end(".tmp"), O_RDWR | O_CLOEXEC);
    if (others_fd >= 0)
        flock(others_fd, LOCK_EX | LOCK_NB);
}

static void lock_checkpoint(void)
{
    others_fd = open(with_end(".part"), O_RDWR | O_CLOEXEC);
    if (others_fd >= 0)
        flock(others_fd, LOCK_EX | LOCK_NB);
}

/* The inputs have other names from then on. */
static void move_inputs(void)
{
    CHECK(rename("v.fvecs", "gone") == 0 && rename("parts", "elsewhere") == 0);
}

/* The last shard is another file of the same bytes. */
static void replace_shard(void)
{
    char bytes[1 << 15];
    const char *last = work_shards[WORK_SHARDS - 1];
    const int fd = last ? open(last, O_RDONLY | O_CLOEXEC) : -1;
    const ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : 0;
    if (n <= 0) /* there are none yet */
        return;
    close(fd);
    save_bytes("other.shard", bytes, (size_t)n);
    CHECK(rename("other.shard", last) == 0);
}

static const struct {
    const char *name;
    void (*act)(void);
} actions[] = {{"remove", remove_temporary},
               {"link", plant_link},
               {"file", plant_file},
               {"directory", plant_directory},
               {"output", plant_output},
               {"lock", lock_temporary},
               {"lock of the checkpoint", lock_checkpoint},
               {"move inputs", move_inputs},
               {"replace a shard", replace_shard}};

static void clean_planted(void)
{
    rmdir(interfered);
    rmdir(with_end(".tmp"));
    rmdir(with_end(".part"));
    unlink(interfered);
    remove_temporary();
    if (others_fd >= 0)
        close(others_fd);
    others_fd = -1;
    rename("gone", "v.fvecs");
    rename("elsewhere", "parts");
}

/* Another process changes the names of an output, or of the inputs, in front of any call of the work: it ends as it
 * would have, or says what is wrong, and writes to no file but its own. What is planted between the last look at the
 * temporary and its rename gets the output's name: who can do that can as well replace the output afterwards. */
static void test_others(const work *w)
{
    static const char precious[] = "precious";
    unsigned long n_refused = 0, n_done = 0;
    interfered = w->output;
    for (size_t a = 0; a < sizeof actions / sizeof *actions; a++) {
        fault_plan(NULL);
        prepare(w, places);
        CHECK_CASE(w->run() == OMEN_OK, "%s", detail.text);
        const unsigned long n = fault_count(FAULT_IO), step = n / n_most + 1;
        for (unsigned long i = 1 + a % step; i <= n; i += step) {
            char text[sizeof precious] = "";
            struct stat made;
            prepare(w, i % 2 ? places : &places[2]);
            unsetenv("OMEN_FAULT_LACKS");
            save_bytes("precious", precious, sizeof precious);
            fault_act(i, actions[a].act);
            const int status = w->run();
            fault_plan(NULL);
            const bool is_strange =
                status == OMEN_ERR_INPUT && strstr(detail.text, "is in the way: it is no checkpoint");
            CHECK_CASE(status == OMEN_OK || status == OMEN_ERR_IO || is_strange, "%s before call %lu: %d, %s",
                       actions[a].name, i, status, detail.text);
            CHECK_CASE(status == OMEN_OK || detail.text[0] != '\0', "%s before call %lu: no reason", actions[a].name,
                       i);
            CHECK_CASE(status != OMEN_OK || strcmp(fault_struck(), "rename") == 0 ||
                           (stat(w->output, &made) == 0 && made.st_size > 5),
                       "%s before call %lu: nothing was made", actions[a].name, i);
            const int fd = open("precious", O_RDONLY);
            CHECK_CASE(read(fd, text, sizeof text) == sizeof text && strcmp(text, precious) == 0,
                       "%s before call %lu: written over", actions[a].name, i);
            close(fd);
            n_refused += status != OMEN_OK;
            n_done += status == OMEN_OK;
            clean_planted();
        }
    }
    printf("# %lu done, %lu refused\n", n_done, n_refused);
    CHECK(n_done > 0);
}

/* Where room cannot be reserved, zeros are written; where there is none, the disk is not filled with them. */
static void test_room(void)
{
    fault_plan("io:2:EIO"); /* behind the call that opens the file */
    CHECK_CASE(work_fill_scratch() == OMEN_OK, "%s", detail.text);
    static const char *const full[] = {"io:2:ENOSPC", "io:2:EDQUOT", "io:2:EFBIG"};
    static const char *const why[] = {"No space left on device", "Disk quota exceeded", "File too large"};
    for (int i = 0; i < 3; i++) {
        fault_plan(full[i]);
        CHECK_EQ_INT(work_fill_scratch(), OMEN_ERR_IO);
        CHECK_STR_CONTAINS(detail.text, "cannot write the scratch file of \"out.omen\": ");
        CHECK_STR_CONTAINS(detail.text, why[i]);
    }
    /* a directory that makes none without a name */
    static const char *const nameless[] = {"io:1:EOPNOTSUPP", "io:1:EISDIR", "io:1:EINVAL"};
    for (int i = 0; i < 3; i++) {
        fault_plan(nameless[i]);
        CHECK_CASE(work_fill_scratch() == OMEN_OK, "%s", detail.text);
    }
    fault_plan(NULL);
}

/* ---- files that lie ---- */

#define PART_BYTES_MOST (1u << 20)
#define BLOCK           4096u

/* Of a file of records with right checksums, what a word is changed to. */
static const uint32_t lies[] = {0, 1, 2, 0x7fffffff, 0xffffffff};

static uint8_t part[PART_BYTES_MOST];
static size_t n_part;

static void load_part(const char *name)
{
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, part, sizeof part) : -1;
    CHECK_CASE(n > 0 && n < (ssize_t)sizeof part, "%s", name);
    n_part = n > 0 ? (size_t)n : 0;
    close(fd);
}

static void seal(uint8_t *record)
{
    const uint64_t hash = XXH3_64bits(record, 56);
    memcpy(record + 56, &hash, sizeof hash);
}

/* Whether an index that was made is one that a check has nothing to say of. */
static void count_faults(void *context, const char *section, const char *text)
{
    (void)section, (void)text;
    ++*(unsigned *)context;
}

static bool is_sound(const char *name)
{
    omen_container *container = NULL;
    omen_index *index = NULL;
    omen_detail cause;
    unsigned n_faults = 0;
    int status = omen_container_open(&container, name, &cause);
    if (status == OMEN_OK)
        status = omen_container_open_index(&container, &index, name, UINT64_MAX, true, &cause);
    if (status == OMEN_OK)
        status = omen_index_check(index, count_faults, &n_faults);
    omen_index_close(index);
    omen_container_close(container);
    return status == OMEN_OK && n_faults == 0;
}

/* What becomes of the work when one of its files is the part as it is now. */
static void try_part(const work *w, const char *name, const char *what, size_t at, unsigned counts[2])
{
    prepare(w, places);
    unlink(name);
    save_bytes(name, part, n_part);
    const int status = w->run();
    CHECK_CASE(status == OMEN_OK || status == OMEN_ERR_INPUT || status == OMEN_ERR_CORRUPT ||
                   status == OMEN_ERR_UNSUPPORTED || status == OMEN_ERR_ARGUMENT || status == OMEN_ERR_MEMORY,
               "%s, %s %zu: %d, %s", name, what, at, status, detail.text);
    CHECK_CASE(status == OMEN_OK || detail.text[0] != '\0', "%s, %s %zu: %d without a reason", name, what, at, status);
    CHECK_CASE(status != OMEN_OK || is_sound(w->output), "%s, %s %zu: an unsound index", name, what, at);
    counts[status != OMEN_OK]++;
}

/* Each number of the head, of the header of each record, and the first ones and some others of each payload, is another
 * one, and checksums are right: it is refused, or what is made of it is sound. */
static void test_lies(const work *w, const char *name)
{
    static uint8_t kept[PART_BYTES_MOST];
    unsigned counts[2] = {0, 0};
    load_part(name);
    memcpy(kept, part, n_part);
    const size_t n_kept = n_part;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        for (size_t field = 8; field < 16; field += 4) {
            memcpy(part + field, &lies[i], 4);
            seal(part);
            try_part(w, name, "head", field, counts);
            memcpy(part, kept, BLOCK);
        }
    for (size_t at = BLOCK; at + 2 * BLOCK <= n_kept && memcmp(part + at, "OMENREC\n", 8) == 0;) {
        uint64_t n_bytes;
        memcpy(&n_bytes, part + at + 16, sizeof n_bytes);
        const size_t n_words = n_bytes / 4, n_first = n_most * 4, step = n_words / (n_most * 2) + 1;
        for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
            for (size_t field = 8; field < 24; field += 4) {
                memcpy(part + at + field, &lies[i], 4);
                seal(part + at);
                try_part(w, name, "header", at + field, counts);
                memcpy(part, kept, n_kept);
            }
        for (size_t word = 0; word < n_words; word += word < n_first ? 1 : step) {
            const uint32_t lie = lies[(word + at / BLOCK) % (sizeof lies / sizeof *lies)];
            memcpy(part + at + BLOCK + 4 * word, &lie, 4);
            const uint64_t hash = XXH3_64bits(part + at + BLOCK, n_bytes);
            memcpy(part + at + 24, &hash, sizeof hash);
            seal(part + at);
            try_part(w, name, "payload", at + BLOCK + 4 * word, counts);
            memcpy(part, kept, n_kept);
        }
        at += BLOCK + (n_bytes + BLOCK - 1) / BLOCK * BLOCK;
        n_part = at < n_kept ? at : n_kept; /* cut behind this one */
        try_part(w, name, "cut", at, counts);
        n_part = n_kept;
    }
    prepare(w, places);
    unlink(name);
    save_bytes(name, kept, n_kept);
    printf("# %u taken, %u refused\n", counts[0], counts[1]);
    CHECK(counts[0] > 0 && counts[1] > 0);
}

static const work *work_named(const char *name)
{
    const work *w = works;
    while (strcmp(w->name, name) != 0)
        w++;
    return w;
}

/* Shards that are not all, or too many: which they are. */
static void test_missing_shards(void)
{
    static const struct {
        const char *names[3];
        const char *part;
    } cases[] = {{{"0.of.shard"}, "29 of 30 shards are missing: 1, 2, 3, 4, 5"},
                 {{"0.of.shard", "0.shard"}, "have rows in common: they are of two divisions of the input"},
                 {{"1.shard", "0.shard", "1.shard"}, "are the same shard: merge one of them"},
                 {{"29.of.shard", "0.shard"}, "rows 32 to 60 are in no shard"},
                 {{"1.of.shard", "1.shard"}, "rows 0 to 1 are in no shard"},
                 {{"1.shard"}, "1 of 2 shards is missing: 0"}};
    const char *most[WORK_SHARDS];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 0;
        while (n < 3 && cases[i].names[n])
            n++;
        CHECK_EQ_INT(work_merge(cases[i].names, n), OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(detail.text, cases[i].part);
    }
    for (size_t i = 0; i + 1 < WORK_SHARDS; i++)
        most[i] = work_shards[i + (i >= 7)];
    CHECK_EQ_INT(work_merge(most, WORK_SHARDS - 1), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "1 of 30 shards is missing: 7");
    /* the bytes of a merge that may open all at once, and of one of two shards */
    CHECK_EQ_INT(work_merge(work_shards, WORK_SHARDS), OMEN_OK);
    CHECK(system("cmp -s out.omen n.omen") == 0);
    CHECK_EQ_INT(work_merge((const char *const[]){"1.shard", "0.shard"}, 2), OMEN_OK);
    CHECK(system("cmp -s out.omen n.omen") == 0);
}

/* Less memory than a build takes is refused before it begins, and what is kept besides is named. */
static void test_little_memory(void)
{
    static const char *const inputs[] = {"parts/0.fvecs", "parts/1.fvecs"};
    static const omen_column_paths columns = {.table = "t.csv"};
    static const struct {
        bool has_inputs, has_keys, has_columns;
        const char *part;
    } cases[] = {{true, true, true, "and the inputs, keys and columns take"},
                 {true, true, false, "and the inputs, keys"},
                 {true, false, true, "and the inputs, keys and columns take"},
                 {true, false, false, "and the inputs take"},
                 {false, true, true, "and the keys and columns take"},
                 {false, true, false, "and the keys take"},
                 {false, false, true, "and the columns take"},
                 {false, false, false, "memory"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        omen_build_options o;
        omen_build_paths paths = {.struct_bytes = sizeof paths, .output = "out.omen"};
        omen_index_info info = {.struct_bytes = sizeof info};
        omen_build_report report = {.struct_bytes = sizeof report};
        omen_build_outcome outcome = {.struct_bytes = sizeof outcome};
        omen_build_options_init(&o);
        o.n_threads = 1;
        paths.input = cases[i].has_inputs ? NULL : "v.fvecs";
        paths.inputs = cases[i].has_inputs ? inputs : NULL;
        paths.n_inputs = cases[i].has_inputs ? 2 : 0;
        paths.keys = cases[i].has_keys ? "k.txt" : NULL;
        paths.column_paths = cases[i].has_columns ? &columns : NULL;
        for (o.memory_bytes = 1; o.memory_bytes <= 1u << 20; o.memory_bytes <<= 20) {
            CHECK_EQ_INT(omen_index_build_file(&paths, &o, &report, &info, &outcome, &detail), OMEN_ERR_MEMORY);
            CHECK_STR_CONTAINS(detail.text, o.memory_bytes == 1 ? "memory" : cases[i].part);
            CHECK_EQ_INT(omen_index_build_file(&paths, &o, &report, &info, &outcome, NULL), OMEN_ERR_MEMORY);
            CHECK(access("out.omen", F_OK) != 0 && access("out.omen.tmp", F_OK) != 0);
        }
    }
}

/* Where a checkpoint is: in a directory of that name, with a slash or without, of an output of any path; or why not. */
static void test_checkpoint_places(void)
{
    static const struct {
        const char *output, *directory;
        int status;
        const char *part; /* of the reason */
    } cases[] = {{"out.omen", "tmp/", OMEN_OK, ""},
                 {"./out.omen", "tmp", OMEN_OK, ""},
                 {"out.omen", "none", OMEN_ERR_IO, "none"},
                 {"none/out.omen", "tmp", OMEN_ERR_IO, "cannot examine \"none\""},
                 {"none/out.omen", NULL, OMEN_ERR_IO, "none/out.omen"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        omen_build_options o;
        omen_build_paths paths = {.struct_bytes = sizeof paths, .input = "v.fvecs"};
        omen_index_info info = {.struct_bytes = sizeof info};
        omen_build_report report = {.struct_bytes = sizeof report};
        omen_build_outcome outcome = {.struct_bytes = sizeof outcome};
        omen_build_options_init(&o);
        o.n_threads = 1;
        o.lists.n = 2;
        paths.output = cases[i].output;
        paths.checkpoint_directory = cases[i].directory;
        const int status = omen_index_build_file(&paths, &o, &report, &info, &outcome, &detail);
        CHECK_CASE(status == cases[i].status, "case %zu: %d, %s", i, status, detail.text);
        CHECK_STR_CONTAINS(status == OMEN_OK ? "" : detail.text, cases[i].part);
        CHECK_EQ_INT(access(cases[i].output, F_OK) == 0, status == OMEN_OK);
        work_clean(works);
    }
}

int main(int argc, char **argv)
{
    char name[64];

    if (argc > 1)
        n_most = strtoul(argv[1], NULL, 10);
    else if (check_quick())
        n_most = 4;
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0); /* where what is synced takes no time */
    directory_make();
    work_inputs_make();
    if (chdir(directory) != 0)
        return 1;
    for (const work *w = works; w->name; w++) {
        for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
            snprintf(name, sizeof name, "%s%s", w->name, places[p].name);
            RUN_AS(name, test_work(w, &places[p]));
        }
        snprintf(name, sizeof name, "%s, stopped", w->name);
        RUN_AS(name, test_stopped(w));
        if (w->output) {
            snprintf(name, sizeof name, "%s, beside others", w->name);
            RUN_AS(name, test_others(w));
        }
        work_keep(w);
    }
    RUN(test_room);
    RUN_AS("a model that lies", test_lies(work_named("build by a model"), "a.model"));
    RUN_AS("a shard that lies", test_lies(work_named("merge"), "1.shard"));
    prepare(works, places);
    n_told = 0;
    told_most = 400;
    CHECK(works->run() == OMEN_ERR_INTERRUPTED);
    told_most = ULONG_MAX;
    RUN_AS("a checkpoint that lies", test_lies(works, "out.omen.part"));
    work_clean(works);
    RUN(test_missing_shards);
    unlink("out.omen");
    RUN(test_little_memory);
    RUN(test_checkpoint_places);
    if (chdir("/") != 0)
        return 1;
    directory_remove();
    return check_finish();
}
