/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer of containers refuses, and what it leaves behind. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/container.h"
#include "formats/container_format.h"
#include "tests/unit/check.h"
#include "tests/unit/container_files.h"
#include "tests/unit/scratch.h"

static void test_duplicate_id(void)
{
    const char *path = in_directory("twice.omen");
    omen_writer *writer = NULL;
    omen_detail why = {""}, later = {""};

    CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
    omen_sink sink = omen_writer_sink(writer);
    CHECK_EQ_INT(sink.start(sink.self, IDENTITY, &why), OMEN_OK);
    CHECK_EQ_INT(sink.begin(sink.self, section_id(0), 0, false, &why), OMEN_OK);
    CHECK_EQ_INT(sink.finish(sink.self, &why), OMEN_OK);
    CHECK_EQ_INT(sink.begin(sink.self, section_id(0), 0, false, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "section \"SE00\" is written twice");
    CHECK_EQ_INT(sink.begin(sink.self, section_id(1), 0, false, &later), OMEN_ERR_ARGUMENT);
    CHECK(strcmp(why.text, later.text) == 0);
    CHECK_EQ_INT(omen_writer_commit(writer, NULL, &later), OMEN_ERR_ARGUMENT);
    omen_writer_destroy(writer);
    CHECK(!exists(path) && !exists(in_directory("twice.omen.tmp")));
}

/* Nothing works after the commit, nor after a failure, which every call tells again; also without a place for it. */
static void test_late_calls(void)
{
    const char *path = in_directory("late.omen");
    for (int is_failed = 0; is_failed < 2; is_failed++) {
        omen_writer *writer = NULL;
        omen_section section;
        omen_detail why = {""};
        const char *part = is_failed ? "is written twice" : "already committed";
        CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
        const omen_sink s = omen_writer_sink(writer);
        CHECK_EQ_INT(s.start(s.self, IDENTITY, &why), OMEN_OK);
        CHECK_EQ_INT(s.begin(s.self, section_id(0), 0, false, &why), OMEN_OK);
        CHECK_EQ_INT(s.finish(s.self, &why), OMEN_OK);
        if (is_failed)
            CHECK_EQ_INT(s.begin(s.self, section_id(0), 0, false, NULL), OMEN_ERR_ARGUMENT);
        else
            CHECK_EQ_INT(omen_writer_commit(writer, NULL, &why), OMEN_OK);
        for (int call = 0; call < 6; call++) {
            for (int is_dumb = 0; is_dumb < 2; is_dumb++) {
                omen_detail *out = is_dumb ? NULL : &why;
                why.text[0] = '\0';
                const int status = call == 0   ? s.start(s.self, IDENTITY, out)
                                   : call == 1 ? s.begin(s.self, section_id(1), 0, false, out)
                                   : call == 2 ? s.append(s.self, "x", 1, out)
                                   : call == 3 ? s.finish(s.self, out)
                                   : call == 4 ? s.map(s.self, section_id(0), &section, out)
                                               : omen_writer_commit(writer, NULL, out);
                CHECK_CASE(status == OMEN_ERR_ARGUMENT && (is_dumb || strstr(why.text, part)), "call %d: %d, %s", call,
                           status, why.text);
            }
        }
        omen_writer_destroy(writer);
        CHECK_EQ_INT(exists(path), !is_failed);
        unlink(path);
    }
}

static void test_order(void)
{
    const char *path = in_directory("order.omen");

    for (int misuse = 0; misuse < 9; misuse++) {
        omen_writer *writer = NULL;
        omen_section section;
        omen_detail why = {""};
        int status = 0;
        CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
        omen_sink s = omen_writer_sink(writer);
        if (misuse >= 2)
            CHECK_EQ_INT(s.start(s.self, 1, &why), OMEN_OK);
        if (misuse >= 5)
            CHECK_EQ_INT(s.begin(s.self, section_id(0), 0, false, &why), OMEN_OK);
        switch (misuse) {
        case 0:
            status = s.begin(s.self, section_id(0), 0, false, &why);
            break;
        case 1:
            status = omen_writer_commit(writer, NULL, &why);
            break;
        case 2:
            status = s.start(s.self, 1, &why);
            break;
        case 3:
            status = s.append(s.self, "x", 1, &why);
            break;
        case 4:
            status = s.finish(s.self, &why);
            break;
        case 5:
            status = omen_writer_commit(writer, NULL, &why);
            break;
        case 6:
            status = s.begin(s.self, section_id(1), 0, false, &why);
            break;
        case 7:
            status = s.map(s.self, section_id(0), &section, &why);
            break;
        case 8:
            status = s.finish(s.self, &why) + s.begin(s.self, OMEN_FOURCC('t', 'a', 'i', 'l'), 0, false, &why);
            break;
        }
        CHECK_EQ_INT(status, OMEN_ERR_ARGUMENT);
        CHECK(why.text[0] != '\0');
        omen_writer_destroy(writer);
        CHECK(!exists(path));
    }
}

static void test_too_many_sections(void)
{
    const char *path = in_directory("many.omen");
    omen_writer *writer = NULL;
    omen_detail why = {""};
    int status = OMEN_OK, n = 0;

    for (int wanted = 1024; wanted <= 1025; wanted++) {
        CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
        omen_sink s = omen_writer_sink(writer);
        status = s.start(s.self, 1, &why);
        for (n = 0; n < wanted && status == OMEN_OK; n++) {
            const uint32_t id = OMEN_FOURCC('a' + n % 26, 'a' + n / 26 % 26, 'a' + n / 676, 'x');
            if ((status = s.begin(s.self, id, 0, true, &why)) == OMEN_OK)
                status = s.finish(s.self, &why);
        }
        CHECK_EQ_INT(status, wanted == 1024 ? OMEN_OK : OMEN_ERR_ARGUMENT);
        if (status == OMEN_OK)
            CHECK_EQ_INT(omen_writer_commit(writer, NULL, &why), OMEN_OK);
        omen_writer_destroy(writer);
    }
    CHECK_EQ_INT(open_and_check(path, 2, NULL, &why), OMEN_OK);
}

static void test_failed_write(void)
{
    const char *path = in_directory("full.omen");
    struct rlimit old_limit, limit;
    omen_detail why = {""};
    size_t n_before, n_after;

    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    uint8_t *before = read_file(path, &n_before);
    signal(SIGXFSZ, SIG_IGN);
    need(getrlimit(RLIMIT_FSIZE, &old_limit) == 0, "getrlimit");
    static const size_t caps[] = {0, 100, 4096, 5000, 2 * MIB, 3 * MIB + 5, 6 * MIB}; /* of 6.5 MiB and some */
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        limit = old_limit;
        limit.rlim_cur = caps[i];
        need(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
        const int status = write_container(path, all_lengths, N_ALL, 99999, &why);
        need(setrlimit(RLIMIT_FSIZE, &old_limit) == 0, "setrlimit");
        CHECK_EQ_INT(status, OMEN_ERR_IO);
        CHECK_STR_CONTAINS(why.text, "full.omen.tmp\": File too large");
        CHECK_STR_CONTAINS(why.text, "cannot write \"");
        CHECK(!exists(in_directory("full.omen.tmp")));
        uint8_t *after = read_file(path, &n_after);
        CHECK(n_before == n_after && memcmp(before, after, n_before) == 0);
        free(after);
    }
    signal(SIGXFSZ, SIG_DFL);
    free(before);
}

static void test_second_writer(void)
{
    const char *path = in_directory("busy.omen");
    omen_writer *first = NULL, *second = NULL;
    omen_detail why = {""};

    CHECK_EQ_INT(omen_writer_create(&first, path, &why), OMEN_OK);
    omen_sink sink = omen_writer_sink(first);
    CHECK_EQ_INT(sink.start(sink.self, IDENTITY, &why), OMEN_OK);
    CHECK_EQ_INT(omen_writer_create(&second, path, &why), OMEN_ERR_IO);
    CHECK(!second);
    CHECK_STR_CONTAINS(why.text, "another process is writing \"");
    CHECK(exists(in_directory("busy.omen.tmp")));
    CHECK_EQ_INT(omen_writer_commit(first, NULL, &why), OMEN_OK);
    CHECK_EQ_INT(omen_writer_create(&second, path, &why), OMEN_OK); /* the committed file is nobody's temporary */
    omen_writer_destroy(second);
    omen_writer_destroy(first);
    CHECK_EQ_INT(open_and_check(path, 1, NULL, &why), OMEN_OK);
    CHECK(!exists(in_directory("busy.omen.tmp")));
}

/* What a killed process leaves is taken over, and none of its bytes survive. */
static void test_left_over(void)
{
    const char *path = in_directory("left.omen");
    omen_detail why = {""};
    size_t n, n_clean;

    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    uint8_t *clean = read_file(path, &n_clean);
    uint8_t *junk = malloc(MIB);
    need(junk != NULL, "malloc");
    memset(junk, 0xaa, MIB);
    write_file(in_directory("left.omen.tmp"), junk, MIB);
    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    uint8_t *bytes = read_file(path, &n);
    CHECK(n == n_clean && memcmp(bytes, clean, n) == 0);
    CHECK(!exists(in_directory("left.omen.tmp")));
    free(bytes);
    free(junk);
    free(clean);
}

static void test_refused_targets(void)
{
    omen_writer *writer = NULL;
    omen_detail why = {""};

    CHECK_EQ_INT(omen_writer_create(&writer, directory, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "Is a directory");
    CHECK_EQ_INT(omen_writer_create(&writer, "", &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_writer_create(&writer, "/dev/null", &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "not a regular file");
    CHECK_EQ_INT(omen_writer_create(&writer, in_directory("absent/x.omen"), &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "absent/x.omen.tmp\": No such file");
    CHECK(!writer);

    /* a link planted under the temporary's name must not lead the writer to another file */
    const char *victim = in_directory("victim"), *link = in_directory("linked.omen.tmp");
    write_file(victim, (const uint8_t *)"precious", 8);
    need(symlink(victim, link) == 0, link);
    CHECK_EQ_INT(omen_writer_create(&writer, in_directory("linked.omen"), &why), OMEN_ERR_IO);
    size_t n;
    uint8_t *bytes = read_file(victim, &n);
    CHECK_EQ_INT(n, 8);
    free(bytes);
    CHECK(exists(link));
}

/* The temporary vanishes, or another takes its name: commit must not publish what is not its own. */
static void test_stolen_temporary(void)
{
    const char *path = in_directory("stolen.omen"), *temp = in_directory("stolen.omen.tmp");

    for (int replaced = 0; replaced < 2; replaced++) {
        omen_writer *writer = NULL;
        omen_detail why = {""};
        CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
        omen_sink sink = omen_writer_sink(writer);
        CHECK_EQ_INT(sink.start(sink.self, IDENTITY, &why), OMEN_OK);
        unlink(temp);
        if (replaced)
            write_file(temp, (const uint8_t *)"other", 5);
        CHECK_EQ_INT(omen_writer_commit(writer, NULL, &why), OMEN_ERR_IO);
        CHECK_STR_CONTAINS(why.text, "was removed or replaced");
        omen_writer_destroy(writer);
        CHECK(!exists(path));
        CHECK_EQ_INT(exists(temp), replaced);
    }
}

/* Writers of several processes race for one path: each succeeds or is refused as busy, and what the path shows is whole
 * at any moment. */
static void test_racing_writers(void)
{
    const char *path = in_directory("race.omen");
    pid_t children[4];
    omen_detail why = {""};

    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    fflush(stdout); /* or each child has a copy */
    for (int c = 0; c < 4; c++) {
        children[c] = fork();
        need(children[c] >= 0, "fork");
        if (children[c] == 0) {
            racing = true;
            for (int i = 0; i < 100; i++) {
                const int made = write_container(path, small_lengths, N_SMALL - (size_t)c % 2, 64, &why);
                if (made != OMEN_OK && (made != OMEN_ERR_IO || !strstr(why.text, "another process is writing"))) {
                    printf("# %s\n", why.text);
                    fflush(stdout);
                    _exit(1);
                }
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 100; i++)
        CHECK_EQ_INT(open_and_check(path, 1, NULL, &why), OMEN_OK);
    for (int c = 0; c < 4; c++) {
        int status = -1;
        CHECK(waitpid(children[c], &status, 0) == children[c] && status == 0);
    }
    CHECK_EQ_INT(open_and_check(path, 1, NULL, &why), OMEN_OK);
    CHECK(!exists(in_directory("race.omen.tmp")));
}

static void test_null_is_fine(void)
{
    omen_writer_destroy(NULL);
    omen_container_close(NULL);
    CHECK_EQ_INT(open_only(in_directory("absent"), NULL), OMEN_ERR_IO);
}

int main(void)
{
    directory_make();
    RUN(test_duplicate_id);
    RUN(test_late_calls);
    RUN(test_order);
    RUN(test_too_many_sections);
    RUN(test_failed_write);
    RUN(test_second_writer);
    RUN(test_left_over);
    RUN(test_refused_targets);
    RUN(test_stolen_temporary);
    RUN(test_racing_writers);
    RUN(test_null_is_fine);
    directory_remove();
    return check_finish();
}
