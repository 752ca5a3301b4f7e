/* SPDX-License-Identifier: Apache-2.0 */
/* What a command writes is not what it reads, and is not named like something else: looks at the names of outputs
 * before any work. */
#include "cmd/cmd.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/checkpoint.h"
#include "formats/truth.h"

/* Names that an output has while it is made; the first is its own. */
static const char *const suffixes[] = {"", ".tmp", ".part"};

#define N_SUFFIXES (sizeof suffixes / sizeof suffixes[0])

/* The same file: also by way of links, and in place of a file, of a device that holds data. */
static bool is_same(const struct stat *a, const struct stat *b)
{
    return S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode) ? a->st_rdev == b->st_rdev
                                                      : a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool stat_file(const cmd_file *file, const char *suffix, struct stat *out)
{
    char name[PATH_MAX];

    if (cmd_is_stream(file->path))
        return suffix[0] == '\0' && fstat(file->is_output ? STDOUT_FILENO : STDIN_FILENO, out) == 0;
    /* what is read may be a part of a file; a longer name leads to no file */
    const size_t n = file->is_output ? strlen(file->path) : omen_vectors_file_bytes(file->path);
    return n < sizeof name && snprintf(name, sizeof name, "%.*s%s", (int)n, file->path, suffix) < (int)sizeof name &&
           stat(name, out) == 0;
}

static size_t count_suffixes(const cmd_file *file)
{
    return file->has_checkpoint ? N_SUFFIXES : N_SUFFIXES - 1;
}

/* Fills in the directory of a name that may lead to nothing yet and the last part of the name. */
static bool stat_directory(const cmd_file *file, const char *suffix, struct stat *directory, char last[PATH_MAX])
{
    char name[PATH_MAX];

    if (cmd_is_stream(file->path) || snprintf(name, sizeof name, "%s", file->path) >= (int)sizeof name)
        return false;
    char *slash = strrchr(name, '/');
    snprintf(last, PATH_MAX, "%s%s", slash ? slash + 1 : name, suffix);
    if (slash)
        slash[1] = '\0';
    return stat(slash ? name : ".", directory) == 0;
}

/* Whether a name of one output will be a name of the other. Terminals and /dev/null may have any number. */
static bool is_same_output(const cmd_file *a, const char *a_suffix, const cmd_file *b, const char *b_suffix)
{
    char a_last[PATH_MAX], b_last[PATH_MAX];
    struct stat a_status, b_status;

    if (stat_file(a, a_suffix, &a_status) && stat_file(b, b_suffix, &b_status))
        return !S_ISCHR(a_status.st_mode) && is_same(&a_status, &b_status);
    return stat_directory(a, a_suffix, &a_status, a_last) && stat_directory(b, b_suffix, &b_status, b_last) &&
           is_same(&a_status, &b_status) && strcmp(a_last, b_last) == 0;
}

/* A file as messages call it. */
static void put_label(const cmd_file *file, char label[300])
{
    if (cmd_is_stream(file->path))
        snprintf(label, 300, "%s", file->is_output ? "standard output" : "standard input");
    else
        snprintf(label, 300, "%s \"%.200s\"", file->role, file->path);
}

static int refuse(const char *command, const cmd_file *output, const char *suffix, const cmd_file *other)
{
    char output_label[300], other_label[300], way[300] = "";

    put_label(output, output_label);
    put_label(other, other_label);
    if (suffix[0] != '\0')
        snprintf(way, sizeof way, " by way of \"%.200s%s\"", output->path, suffix);
    return cmd_misuse(command, "writing %s%s would overwrite the %s %s; name another file", output_label, way,
                      other->is_output ? "output" : "input", other_label);
}

/* An index is none, which its own message says. */
static bool may_be_pipe(const cmd_file *file)
{
    return file->path && !file->is_output && strcmp(file->role, "INDEX") != 0;
}

/* Two inputs that are one pipe or socket: whichever is read first leaves nothing to the other. */
static int check_pipes(const char *command, const cmd_file *files, size_t n)
{
    struct stat one, other;
    char label[300], other_label[300];

    for (size_t i = 1; i < n; i++) {
        if (!may_be_pipe(&files[i]) || !stat_file(&files[i], "", &one) ||
            !(S_ISFIFO(one.st_mode) || S_ISSOCK(one.st_mode)))
            continue;
        for (size_t j = 0; j < i; j++) {
            if (!may_be_pipe(&files[j]) || !stat_file(&files[j], "", &other) || !is_same(&one, &other))
                continue;
            put_label(&files[j], other_label);
            put_label(&files[i], label);
            return cmd_misuse(command, "%s and %s are the same pipe, which can be read once only", other_label, label);
        }
    }
    return CMD_GO_ON;
}

int cmd_files_check(const char *command, const cmd_file *files, size_t n)
{
    struct stat input, output;

    for (size_t i = 0; i < n; i++) {
        for (size_t s = 0; files[i].path && files[i].is_output && s < count_suffixes(&files[i]); s++) {
            const bool is_there = stat_file(&files[i], suffixes[s], &output);

            for (size_t j = 0; j < n; j++) {
                if (!files[j].path || j == i)
                    continue;
                if (!files[j].is_output) {
                    if (is_there && stat_file(&files[j], "", &input) &&
                        (S_ISREG(input.st_mode) || S_ISBLK(input.st_mode)) && is_same(&input, &output)) {
                        return refuse(command, &files[i], suffixes[s], &files[j]);
                    }
                    continue;
                }
                for (size_t t = 0; j > i && t < count_suffixes(&files[j]); t++)
                    if (is_same_output(&files[i], suffixes[s], &files[j], suffixes[t]))
                        return refuse(command, &files[i], suffixes[s], &files[j]);
            }
        }
    }
    return check_pipes(command, files, n);
}

bool cmd_is_stream(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

cmd_text cmd_extension(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    cmd_text out = {""};

    if (dot && dot != name)
        snprintf(out.text, sizeof out.text, "%s", dot + 1);
    for (char *c = out.text; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    return out;
}

/* The format that a file's name stands for, of all that omendb reads or writes; NULL for none of them. */
static const char *named_format(const char *path)
{
    static const char *const others[] = {"omen", "omz", "model", "shard", "json", "svg", "png"};
    const char *(*const tables[])(size_t) = {omen_results_name, omen_truth_name};
    const cmd_text extension = cmd_extension(path);

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(extension.text, others[i]) == 0)
            return others[i];
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (size_t i = 0; tables[t](i); i++)
            if (strcmp(extension.text, tables[t](i)) == 0)
                return tables[t](i);
    }
    return omen_vectors_named(path);
}

int cmd_check_extension(const char *command, const char *output, const char *format, const char *what)
{
    const char *named = named_format(output);

    if (!named || strcmp(named, format) == 0)
        return CMD_GO_ON;
    return cmd_misuse(command,
                      "\"%s\" is named like %s, and would hold %s: choose another name, such as one that ends with .%s",
                      output, named, what, format);
}

int cmd_tmp_settle(const char *command, const char *directory)
{
    struct stat info;
    omen_detail why;

    if (!directory)
        return CMD_GO_ON;
    if (stat(directory, &info) != 0)
        return cmd_fail(command,
                        omen_fail(&why, OMEN_ERR_IO, "cannot use \"%.300s\" of --tmp: %s", directory, strerror(errno)),
                        &why);
    if (!S_ISDIR(info.st_mode))
        return cmd_misuse(command, "--tmp wants a directory, and \"%.300s\" is none", directory);
    return setenv("TMPDIR", directory, 1) == 0 ? CMD_GO_ON : cmd_fail(command, OMEN_ERR_MEMORY, NULL);
}

void cmd_fresh_hint(omen_detail *why, const char *output, const char *directory)
{
    const size_t n = strlen(why->text);
    omen_detail unused;
    char *name;

    if (omen_part_name(output, directory, &name, &unused) == OMEN_OK)
        snprintf(why->text + n, sizeof why->text - n, "; --fresh starts over (\"%.200s\")", name);
    free(name);
}
