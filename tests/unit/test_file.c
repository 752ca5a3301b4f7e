/* SPDX-License-Identifier: Apache-2.0 */
/* formats/file.c: temporaries, names of descriptors, outputs in place; scratch_files.c. What planted files do to the
 * commands is tested in cli/files.bats. */
#include "formats/file.h"
#include "formats/in_use.h"
#include "formats/scratch_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/check.h"

static char directory[] = "/tmp/omendb-test-file-XXXXXX";

static void need(bool good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

/* A path in the test's directory; storage of four calls. */
static const char *in_directory(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static void put(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    need(fd >= 0 && omen_write_all(fd, text, strlen(text)) == 0, path);
    close(fd);
}

static const char *get(const char *path)
{
    static char text[256];
    const int fd = open(path, O_RDONLY);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static void test_commit(void)
{
    const char *path = in_directory("new"), *temporary = in_directory("new.tmp");
    omen_detail why = {""};
    omen_file file;

    put(path, "old");
    CHECK_EQ_INT(omen_file_open(&file, path, OMEN_FILE_ANY, NULL, &why), OMEN_OK);
    CHECK(omen_file_is_own(&file));
    CHECK(exists(temporary));
    CHECK_EQ_INT(omen_pwrite_all(file.fd, "w", 1, 2), 0);
    CHECK_EQ_INT(omen_write_all(file.fd, "ne", 2), 0);
    CHECK(strcmp(get(path), "old") == 0);
    CHECK_EQ_INT(omen_file_commit(&file, &why), OMEN_OK);
    CHECK(strcmp(get(path), "new") == 0);
    CHECK(!exists(temporary));
    omen_file_close(&file);
    CHECK(strcmp(get(path), "new") == 0);

    CHECK_EQ_INT(omen_file_open(&file, path, OMEN_FILE_ANY, NULL, &why), OMEN_OK);
    omen_file_close(&file);
    CHECK(strcmp(get(path), "new") == 0);
    CHECK(!exists(temporary));
    omen_file_close(&file); /* closed already */
    omen_file unused = {.path = NULL};
    omen_file_close(&unused);
    CHECK(fcntl(STDIN_FILENO, F_GETFD) != -1);
}

static void test_attributes(void)
{
    const char *path = in_directory("like");
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000, .tv_nsec = 3}};
    omen_detail why = {""};
    struct stat like, status;
    omen_file file;

    put(path, "x");
    need(chmod(path, 07751) == 0 && utimensat(AT_FDCWD, path, times, 0) == 0 && stat(path, &like) == 0, path);
    CHECK_EQ_INT(omen_file_open(&file, in_directory("copy"), OMEN_FILE_ANY, &like, &why), OMEN_OK);
    need(fstat(file.fd, &status) == 0, "fstat");
    CHECK_EQ_INT(status.st_mode & 07777, 0600);
    CHECK_EQ_INT(omen_write_all(file.fd, "x", 1), 0);
    CHECK_EQ_INT(omen_file_commit(&file, &why), OMEN_OK);
    CHECK_EQ_INT(file.like_error, 0);
    omen_file_close(&file);
    need(stat(in_directory("copy"), &status) == 0, "stat");
    CHECK_EQ_INT(status.st_mode & 07777, 0751);
    CHECK_EQ_INT(status.st_mtim.tv_sec, 2000);
    CHECK_EQ_INT(status.st_mtim.tv_nsec, 3);
}

static void test_descriptor_names(void)
{
    static const struct {
        const char *name;
        int number;
    } names[] = {
        {"/dev/stdin", 0},
        {"/dev/stdout", 1},
        {"/dev/stderr", 2},
        {"/dev/fd/7", 7},
        {"/proc/self/fd/1", 1},
        {"/dev/../dev/fd//1", 1},
        {"/dev/./stdout", 1},
        {"/dev/null", -1},
        {"/dev/fd/", -1},
        {"/dev/fd", -1},
        {"/dev/fd/x", -1},
        {"1", -1},
        {"stdout", -1},
        {"", -1},
        {"/", -1},
        {"/dev/fd/99999999999999", -1},
        {"/nowhere/fd/1", -1},
        {"/proc/1/fd/1", -1},
        {"/proc/self/fd/-1", -1},
    };
    char own[64], name[300];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK_CASE(omen_file_descriptor(names[i].name) == names[i].number, "%s is %d", names[i].name,
                   omen_file_descriptor(names[i].name));
    }
    snprintf(own, sizeof own, "/proc/%ld/fd/1", (long)getpid());
    CHECK_EQ_INT(omen_file_descriptor(own), 1);
    snprintf(own, sizeof own, "/proc/%ld/task/%ld/fd/1", (long)getpid(), (long)getpid());
    CHECK_EQ_INT(omen_file_descriptor(own), 1);
    /* links, to links, relative ones, loops */
    need(symlink("/dev/stdout", in_directory("link")) == 0, "symlink");
    need(symlink("link", in_directory("link2")) == 0, "symlink");
    need(symlink("loop", in_directory("loop")) == 0, "symlink");
    need(symlink("/dev/fd", in_directory("table")) == 0, "symlink");
    CHECK_EQ_INT(omen_file_descriptor(in_directory("link")), 1);
    CHECK_EQ_INT(omen_file_descriptor(in_directory("link2")), 1);
    CHECK_EQ_INT(omen_file_descriptor(in_directory("loop")), -1);
    CHECK_EQ_INT(omen_file_descriptor(in_directory("table/2")), 2);
    CHECK_EQ_INT(omen_file_descriptor(in_directory("nothing")), -1);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    CHECK_EQ_INT(omen_file_descriptor(name), -1);
}

/* At the current offset of a file that others share, whole or in pieces, and by way of a spool. */
static void test_in_place(void)
{
    const char *path = in_directory("shared");
    omen_detail why = {""};
    omen_file file;
    char name[64];

    for (int needs = OMEN_FILE_ANY; needs <= OMEN_FILE_SPOOLED; needs += OMEN_FILE_SPOOLED) {
        put(path, "0123456789");
        const int fd = open(path, O_RDWR);
        need(fd >= 0 && lseek(fd, 3, SEEK_SET) == 3, path);
        snprintf(name, sizeof name, "/dev/fd/%d", fd);
        CHECK_EQ_INT(omen_file_open(&file, name, OMEN_FILE_NAMED, NULL, &why), OMEN_ERR_IO);
        CHECK_STR_CONTAINS(why.text, "not a regular file");
        omen_file_close(&file);
        CHECK_EQ_INT(omen_file_open(&file, name, needs, NULL, &why), OMEN_OK);
        CHECK_EQ_INT(omen_file_is_own(&file), needs == OMEN_FILE_SPOOLED);
        if (omen_file_is_own(&file))
            CHECK_EQ_INT(omen_pwrite_all(file.fd, "ab", 2, 0), 0);
        else
            CHECK_EQ_INT(omen_write_all(file.fd, "ab", 2), 0);
        CHECK_EQ_INT(omen_file_commit(&file, &why), OMEN_OK);
        omen_file_close(&file);
        CHECK_EQ_INT(omen_write_all(fd, "c", 1), 0);
        CHECK(strcmp(get(path), "012abc6789") == 0);
        close(fd);
    }
    CHECK_EQ_INT(omen_file_open(&file, directory, OMEN_FILE_ANY, NULL, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "Is a directory");
    omen_file_close(&file);
    CHECK_EQ_INT(omen_file_open(&file, "", OMEN_FILE_ANY, NULL, &why), OMEN_ERR_ARGUMENT);
    omen_file_close(&file);
    CHECK_EQ_INT(omen_file_open(&file, in_directory("loop"), OMEN_FILE_ANY, NULL, &why), OMEN_ERR_IO);
    omen_file_close(&file);
    CHECK_EQ_INT(omen_file_open(&file, "/dev/fd/444", OMEN_FILE_ANY, NULL, &why), OMEN_ERR_IO);
    omen_file_close(&file);
}

static void test_claim(void)
{
    const char *path = in_directory("claimed");
    omen_detail why = {""};
    char *unique;
    int fd, second;

    CHECK_EQ_INT(omen_file_claim(path, true, 0644, "at", &fd, &unique, &why), OMEN_OK);
    CHECK_EQ_INT(omen_file_leads_to(path, fd), 1);
    CHECK_EQ_INT(omen_file_claim(path, false, 0644, "at", &second, &unique, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "another process is at \"");
    CHECK_EQ_INT(second, -1);
    CHECK_EQ_INT(omen_write_all(fd, "kept", 4), 0);
    close(fd);
    CHECK_EQ_INT(omen_file_claim(path, true, 0644, "at", &fd, &unique, &why), OMEN_OK);
    CHECK(strcmp(get(path), "kept") == 0);
    close(fd);
    /* not kept: another file */
    second = open(path, O_RDONLY);
    CHECK_EQ_INT(omen_file_claim(path, false, 0644, "at", &fd, &unique, &why), OMEN_OK);
    CHECK_EQ_INT(omen_file_leads_to(path, second), 0);
    CHECK_EQ_INT(omen_file_leads_to(path, fd), 1);
    CHECK(strcmp(get(path), "") == 0);
    close(second);
    /* a hard link, whether kept or not */
    close(fd);
    put(path, "precious");
    need(link(path, in_directory("other")) == 0, "link");
    for (int keep = 0; keep < 2; keep++) {
        CHECK_EQ_INT(omen_file_claim(path, keep, 0644, "at", &fd, &unique, &why), OMEN_ERR_IO);
        CHECK_STR_CONTAINS(why.text, "hard link; remove it");
        CHECK(strcmp(get(path), "precious") == 0);
    }
    unlink(in_directory("other"));
    unlink(path);
    CHECK_EQ_INT(omen_file_claim(in_directory("absent/x"), false, 0644, "at", &fd, &unique, &why), OMEN_ERR_IO);
}

/* Processes that claim one name at once, some of which die and leave it: never two at a time. */
static void test_racing_claims(void)
{
    const char *path = in_directory("race"), *witness = in_directory("witness");
    pid_t children[4];
    const int n_rounds = check_quick() ? 20 : 300;

    for (int c = 0; c < 4; c++) {
        children[c] = fork();
        need(children[c] >= 0, "fork");
        for (int i = 0; children[c] == 0 && i < n_rounds; i++) {
            omen_detail why;
            char *unique;
            int fd;
            if (omen_file_claim(path, i % 5 == 4, 0644, "at", &fd, &unique, &why) != OMEN_OK)
                continue;
            const int alone = open(witness, O_CREAT | O_EXCL | O_WRONLY, 0644);
            if (alone < 0 || omen_file_leads_to(path, fd) != 1)
                _exit(1);
            close(alone);
            unlink(witness);
            if (i % 3 == 0)
                unlink(path);
            close(fd);
        }
        if (children[c] == 0)
            _exit(0);
    }
    for (int c = 0; c < 4; c++) {
        int status = 1;
        need(waitpid(children[c], &status, 0) == children[c], "waitpid");
        CHECK_EQ_INT(status, 0);
    }
    unlink(path);
}

static void test_remove_all(void)
{
    omen_file first, second;
    omen_detail why = {""};

    CHECK_EQ_INT(omen_file_open(&first, in_directory("first"), OMEN_FILE_NAMED, NULL, &why), OMEN_OK);
    CHECK_EQ_INT(omen_file_open(&second, in_directory("second"), OMEN_FILE_NAMED, NULL, &why), OMEN_OK);
    CHECK_EQ_INT(omen_file_commit(&second, &why), OMEN_OK);
    omen_temporaries_remove();
    CHECK(!exists(in_directory("first.tmp")));
    CHECK(exists(in_directory("second")));
    CHECK_EQ_INT(omen_file_commit(&first, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "was removed or replaced");
    omen_file_close(&first);
    omen_file_close(&second);
}

/* Scratch files have no name, are zeros, and go. */
static void test_scratch(void)
{
    omen_scratch_files files = {.path = in_directory("x.omen")};
    const omen_scratch scratch = omen_scratch_files_of(&files);
    void *taken[OMEN_SCRATCH_MOST + 1];
    omen_detail why = {""};

    for (size_t i = 0; i < OMEN_SCRATCH_MOST; i++) {
        const size_t n_bytes = i * 70000;

        CHECK_EQ_INT(scratch.take(scratch.self, n_bytes, &taken[i], &why), OMEN_OK);
        for (size_t at = 0; at < n_bytes; at += 999)
            CHECK(((char *)taken[i])[at] == 0);
        memset(taken[i], 17, n_bytes);
        CHECK_STR_CONTAINS(omen_mapping_label(taken[i]), "scratch file of");
    }
    CHECK_EQ_INT(scratch.take(scratch.self, 1, &taken[OMEN_SCRATCH_MOST], &why), OMEN_ERR_MEMORY);
    CHECK(!taken[OMEN_SCRATCH_MOST]);
    CHECK(rmdir(directory) == 0); /* which is empty */
    scratch.give(scratch.self, taken[3]);
    scratch.give(scratch.self, NULL);
    CHECK(!omen_mapping_label(taken[3]));
    CHECK_EQ_INT(scratch.take(scratch.self, 1, &taken[3], &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "cannot create the scratch file of");
    CHECK_STR_CONTAINS(why.text, "No such file or directory");
    omen_scratch_files_close(&files);
    CHECK(!omen_mapping_label(taken[5]));
    need(mkdir(directory, 0700) == 0, directory);
}

/* Where files have to have names they are in TMPDIR, which messages say. */
static void test_scratch_elsewhere(void)
{
    const char *was = getenv("TMPDIR");
    char *kept = was ? strdup(was) : NULL;
    omen_scratch_files files = {.path = "/proc/x.omen"};
    const omen_scratch scratch = omen_scratch_files_of(&files);
    omen_detail why = {""};
    void *taken;

    setenv("TMPDIR", directory, 1);
    CHECK_EQ_INT(scratch.take(scratch.self, 70000, &taken, &why), OMEN_OK);
    CHECK_STR_CONTAINS(omen_mapping_label(taken), "the scratch file of \"/proc/x.omen\" in TMPDIR");
    memset(taken, 17, 70000);
    CHECK(rmdir(directory) == 0);
    CHECK_EQ_INT(scratch.take(scratch.self, 1, &taken, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, directory);
    files.directory = directory;
    CHECK_EQ_INT(scratch.take(scratch.self, 1, &taken, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "cannot create the scratch file of \"/proc/x.omen\" in \"/tmp/omendb-test-");
    need(mkdir(directory, 0700) == 0, directory);
    omen_scratch_files_close(&files);
    if (kept)
        setenv("TMPDIR", kept, 1);
    else
        unsetenv("TMPDIR");
    free(kept);
}

/* More files in use than a table holds: each mapping is known by its file, also of a name that is long or strange. */
static void test_many_in_use(void)
{
    enum { N = 200, PAGE = 4096 };
    const char *mapped = in_directory("mapped");
    char names[20][64], label[OMEN_LABEL_BYTES], name[400];
    void *mappings[N];
    put(mapped, "x");
    need(truncate(mapped, 2 * PAGE) == 0, mapped);
    const int fd = open(mapped, O_RDONLY);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "file %d", i);
        mappings[i] = omen_mapping_open(fd, i % 2 ? PAGE : 0, PAGE, name);
        CHECK(mappings[i] != MAP_FAILED);
    }
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "file %d", i);
        CHECK(strcmp(omen_mapping_label((char *)mappings[i] + PAGE - 1), name) == 0);
    }
    CHECK(!omen_mapping_label(NULL) && !omen_mapping_label(&fd));
    for (int i = 0; i < N; i += 2)
        omen_mapping_close(mappings[i], PAGE);
    for (int i = 0; i < N; i++)
        CHECK_EQ_INT(omen_mapping_label(mappings[i]) != NULL, i % 2);
    for (int i = 1; i < N; i += 2)
        omen_mapping_close(mappings[i], PAGE);
    CHECK(omen_mapping_open(fd, 0, 0, "nothing") == MAP_FAILED);
    CHECK(omen_mapping_open_to_write(fd, PAGE, "read-only") == MAP_FAILED);
    close(fd);
    omen_label_set(label, "-");
    CHECK(strcmp(label, "standard input") == 0);
    omen_label_set(label, "a\nb\x7f");
    CHECK(strcmp(label, "\"a?b?\"") == 0);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    omen_label_set(label, name);
    CHECK(strncmp(label, "\"...nnn", 7) == 0 && strlen(label) == 205);
    /* temporaries beyond the table stay, those in it go, directories behind the files in them */
    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "%s", in_directory("temporary"));
        snprintf(names[i] + strlen(names[i]), sizeof names[i] - strlen(names[i]), "%d%s", i / 2, i % 2 ? "/x" : "");
        if (i % 2)
            put(names[i], "x");
        else
            need(mkdir(names[i], 0700) == 0, names[i]);
        omen_temporary_remember(names[i]);
    }
    omen_temporary_forget(names[3]);
    omen_temporary_forget("never remembered");
    omen_temporary_forget(NULL);
    omen_temporaries_remove();
    for (int i = 0; i < 20; i++)
        CHECK_CASE(exists(names[i]) == (i == 2 || i == 3 || i >= 16), "temporary %d", i);
    for (int i = 19; i >= 0; i--) {
        omen_temporary_forget(names[i]);
        remove(names[i]);
    }
}

/* Names that are longer than the system has them, and standard output. */
static void test_long_names(void)
{
    char *name = malloc(3 * PATH_MAX);
    omen_detail why;
    omen_file file;
    char label[OMEN_FILE_LABEL_BYTES];
    memset(name, 'n', 3 * PATH_MAX - 1);
    name[3 * PATH_MAX - 1] = '\0';
    CHECK_EQ_INT(omen_file_descriptor(name), -1);
    CHECK_EQ_INT(omen_file_open(&file, name, OMEN_FILE_ANY, NULL, &why), OMEN_ERR_IO);
    omen_file_close(&file);
    free(name);
    CHECK_EQ_INT(omen_file_open(&file, "-", OMEN_FILE_NAMED, NULL, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "cannot write standard output: not a regular file");
    omen_file_close(&file);
    for (int needs = OMEN_FILE_ANY; needs <= OMEN_FILE_SPOOLED; needs += OMEN_FILE_SPOOLED) {
        CHECK_EQ_INT(omen_file_open(&file, "-", needs, NULL, &why), OMEN_OK);
        omen_file_label(&file, label);
        CHECK(strcmp(label, needs == OMEN_FILE_ANY ? "standard output" : "the temporary copy of standard output") == 0);
        CHECK_EQ_INT(omen_file_commit(&file, &why), OMEN_OK);
        omen_file_close(&file);
    }
    /* a relative link, and one whose target does not fit behind the directory */
    need(symlink("/dev/fd", in_directory("t")) == 0 && symlink("t/1", in_directory("u")) == 0, "symlink");
    CHECK_EQ_INT(omen_file_descriptor(in_directory("u")), 1);
}

int main(void)
{
    need(mkdtemp(directory) != NULL, directory);
    RUN(test_scratch);
    RUN(test_scratch_elsewhere);
    RUN(test_commit);
    RUN(test_attributes);
    RUN(test_descriptor_names);
    RUN(test_in_place);
    RUN(test_claim);
    RUN(test_racing_claims);
    RUN(test_remove_all);
    RUN(test_many_in_use);
    RUN(test_long_names);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    need(system(command) == 0, "rm");
    return check_finish();
}
