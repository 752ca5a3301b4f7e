/* SPDX-License-Identifier: Apache-2.0 */
/* A picture by gnuplot, from a script of bench_plot.c.
 *
 * gnuplot runs commands that stand in backquotes, opens pipes for names that begin with | or <, and reads start-up
 * files. So it is started without a shell and without those, reads its script from a file in memory and writes the
 * picture to another one; no name of a file reaches it. The picture is copied from there: an SVG gets its title, a
 * description for those who do not see it, and colours for dark pages on the way. */
#include "cmd/bench.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM     "gnuplot"
#define CURVE_TITLE "<title>gnuplot_plot_" /* of each curve: its number, which says nothing */

extern char **environ;

/* Every other colour in a picture has enough contrast to both grounds. */
static const char dark_style[] = "<style>\n@media (prefers-color-scheme: dark) {\n"
                                 "  rect[fill=\"#ffffff\"] { fill: #0d1117 }\n"
                                 "  [fill=\"black\"] { fill: #e6edf3 }\n"
                                 "  [stroke=\"black\"] { stroke: #e6edf3 }\n"
                                 "  [color=\"black\"] { color: #e6edf3 }\n"
                                 "  .gridline { stroke: #30363d }\n"
                                 "}\n</style>\n";

bool bench_picture_is_svg(const char *path)
{
    const size_t n = strlen(path);

    return n > 4 && strcmp(path + n - 4, ".svg") == 0;
}

static bool is_png(const char *path)
{
    const size_t n = strlen(path);

    return n > 4 && strcmp(path + n - 4, ".png") == 0;
}

/* Sets *out to the program's path, from the absolute directories in PATH; the caller's to free. NULL if it is not
 * there. Returns OMEN_OK or OMEN_ERR_MEMORY. */
static int find_program(char **out)
{
    const char *path = getenv("PATH");

    *out = NULL;
    while (path && !*out) {
        size_t length = strcspn(path, ":");

        if (path[0] == '/' && asprintf(out, "%.*s/" PROGRAM, (int)length, path) < 0) {
            *out = NULL;
            return OMEN_ERR_MEMORY;
        }
        if (*out && access(*out, X_OK) != 0) {
            free(*out);
            *out = NULL;
        }
        path = path[length] == ':' ? path + length + 1 : NULL;
    }
    return OMEN_OK;
}

int bench_plot_check(const char *path, omen_detail *why)
{
    char *program;
    const int status = find_program(&program);
    const bool is_there = program;

    free(program);
    if (status != OMEN_OK)
        return status;
    if (!bench_picture_is_svg(path) && !is_png(path))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "--plot wants a name that ends with .svg or .png, not \"%s\"", path);
    if (!is_there) {
        return omen_fail(
            why, OMEN_ERR_ARGUMENT,
            "--plot needs gnuplot, which is not installed; on Debian and Ubuntu: apt-get install gnuplot-nox");
    }
    return OMEN_OK;
}

/* The environment with the encoding of the script, of which gnuplot would complain elsewhere; the caller frees it. NULL
 * if out of memory. */
static char **make_environment(void)
{
    static char encoding[] = "LC_ALL=C.UTF-8";
    size_t n = 0, n_kept = 0;

    while (environ[n])
        n++;
    char **out = malloc((n + 2) * sizeof *out);
    for (size_t i = 0; i < n && out; i++)
        if (strncmp(environ[i], encoding, strlen("LC_ALL=")) != 0)
            out[n_kept++] = environ[i];
    if (out) {
        out[n_kept] = encoding;
        out[n_kept + 1] = NULL;
    }
    return out;
}

/* Runs gnuplot from one descriptor to another. */
static int run_program(int script_fd, int picture_fd, omen_detail *why)
{
    char *const words[] = {PROGRAM, "--default-settings", NULL};
    char *program, **environment = make_environment();
    posix_spawn_file_actions_t actions;
    int status = find_program(&program);
    pid_t pid;

    if (status != OMEN_OK || !environment) {
        free(program);
        free(environment);
        return OMEN_ERR_MEMORY;
    }
    int error = program ? posix_spawn_file_actions_init(&actions) : ENOENT;
    if (error == 0) {
        posix_spawn_file_actions_adddup2(&actions, script_fd, STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, picture_fd, STDOUT_FILENO);
        error = posix_spawn(&pid, program, &actions, NULL, words, environment);
        posix_spawn_file_actions_destroy(&actions);
    }
    free(program);
    free(environment);
    if (error == ENOMEM)
        return OMEN_ERR_MEMORY;
    if (error != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot run gnuplot: %s", strerror(error));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status))
        return omen_fail(why, OMEN_ERR_IO, "gnuplot was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status) == 0
               ? OMEN_OK
               : omen_fail(why, OMEN_ERR_IO, "gnuplot failed with exit code %d", WEXITSTATUS(status));
}

int bench_memory_file(FILE **out, const char *name, omen_detail *why)
{
    const int fd = memfd_create(name, MFD_CLOEXEC);

    *out = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (*out)
        return OMEN_OK;
    const int status = errno == ENOMEM
                           ? OMEN_ERR_MEMORY
                           : omen_fail(why, OMEN_ERR_IO, "cannot hold the %s of gnuplot in memory: %m", name);
    if (fd >= 0)
        close(fd);
    return status;
}

/* Text between tags. */
static void put_xml(FILE *out, const char *text)
{
    const cmd_name printable = cmd_printable(text);

    for (const char *c = printable.text; *c != '\0'; c++) {
        const char *name = *c == '&' ? "&amp;" : *c == '<' ? "&lt;" : *c == '>' ? "&gt;" : NULL;
        if (name)
            fputs(name, out);
        else
            fputc(*c, out);
    }
}

/* gnuplot's SVG with this title and description. What is not as gnuplot writes it is copied as it is. */
static void put_svg(FILE *out, const char *svg, const struct bench_picture_text *text)
{
    const char *title = strstr(svg, "<title>"), *end = title ? strstr(title, "</desc>") : NULL, *next;

    if (!end) {
        fputs(svg, out);
        return;
    }
    fwrite(svg, 1, (size_t)(title - svg), out);
    fputs("<title>", out);
    put_xml(out, text->title);
    fputs("</title>\n<desc>", out);
    for (size_t i = 0; i < text->n_lines; i++) {
        put_xml(out, text->lines[i]);
        fputc('\n', out);
    }
    fputs("</desc>\n", out);
    fputs(dark_style, out);
    for (svg = end + strlen("</desc>"); (next = strstr(svg, CURVE_TITLE)) && (end = strstr(next, "</title>"));
         svg = end + strlen("</title>")) {
        fwrite(svg, 1, (size_t)(next - svg), out);
    }
    fputs(svg, out);
}

/* The picture that gnuplot left in a file in memory, to path. */
static int copy_picture(FILE *picture, const char *path, const struct bench_picture_text *text, omen_detail *why)
{
    const off_t n = lseek(fileno(picture), 0, SEEK_END);
    cmd_output out = {.stream = NULL};
    char *bytes = n > 0 ? malloc((size_t)n + 1) : NULL;
    int status = OMEN_OK;

    if (n <= 0)
        return omen_fail(why, OMEN_ERR_IO, "gnuplot did not draw \"%s\"", path);
    if (!bytes)
        return OMEN_ERR_MEMORY;
    bytes[n] = '\0';
    if (lseek(fileno(picture), 0, SEEK_SET) != 0 || fread(bytes, 1, (size_t)n, picture) != (size_t)n)
        status = omen_fail(why, OMEN_ERR_IO, "cannot read the picture of gnuplot: %m");
    if (status == OMEN_OK)
        status = cmd_output_open(&out, path, NULL, why);
    if (status == OMEN_OK) {
        if (bench_picture_is_svg(path))
            put_svg(out.stream, bytes, text);
        else
            fwrite(bytes, 1, (size_t)n, out.stream);
        status = ferror(out.stream) ? omen_fail(why, OMEN_ERR_IO, "cannot write to \"%s\": %m", path)
                                    : cmd_output_commit(&out, why);
    }
    cmd_output_close(&out);
    free(bytes);
    return status;
}

int bench_picture_draw(FILE *script, const char *path, const struct bench_picture_text *text, omen_detail *why)
{
    FILE *picture;
    int status = bench_memory_file(&picture, "picture", why);

    if (status != OMEN_OK)
        return status;
    if (fflush(script) != 0 || ferror(script) || lseek(fileno(script), 0, SEEK_SET) != 0)
        status = omen_fail(why, OMEN_ERR_IO, "cannot hold the script of gnuplot in memory: %m");
    else
        status = run_program(fileno(script), fileno(picture), why);
    if (status == OMEN_OK)
        status = copy_picture(picture, path, text, why);
    fclose(picture);
    return status;
}
