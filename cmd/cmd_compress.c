/* omendb compress: a file of vectors or an index to a smaller file, and back. */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME   "compress"
#define SUFFIX ".omz"

struct compress {
    const char *input;
    const char *output;   /* as asked for, else default_output; "-": standard output */
    char *default_output; /* owned */
    const char *format;
    uint32_t d;
    int level, n_threads;
    int verbosity; /* -1 quiet, 1 verbose */
    bool decompress, force, remove, json, to_stdout;
    cmd_progress progress;
    /* what became of it */
    uint64_t in_bytes, out_bytes;
    double seconds;
    char content[32];
};

static void print_usage(void)
{
    printf("usage: omendb compress [options] INPUT\n"
           "       omendb compress -d [options] INPUT.omz\n"
           "\n"
           "Compresses a file of vectors or an index to INPUT.omz, in blocks that are independent of one\n"
           "another; -d gives it back bit for bit. build and query read a compressed file like its\n"
           "original. INPUT \"-\" is standard input. The input is kept.\n"
           "\n"
           "what to do:\n"
           "  -d, --decompress     give the original back\n"
           "  -1 ... -19           level of zstd: faster ... smaller (default -%d)\n"
           "      --format NAME    format of INPUT (default: by extension and content), one of\n"
           "                       %s\n"
           "      --dim N          dimensions of a row, needed for raw; elsewhere a check\n"
           "\n"
           "files:\n"
           "  -o, --output FILE    default: INPUT.omz, with -d INPUT without .omz; \"-\": standard output,\n"
           "                       which is the default when INPUT is standard input\n"
           "  -c, --stdout         write to standard output\n"
           "  -f, --force          replace an output that exists; write to a terminal\n"
           "      --rm             remove INPUT when the output is on disk and verified\n"
           "\n"
           "work:\n"
           "  -t, --threads N      threads (default: the processors this process may use); the output\n"
           "                       does not depend on it\n"
           "\n"
           "messages:\n"
           "  -q, --quiet          no progress and no summary\n"
           "  -v, --verbose        say more on stderr\n"
           "      --json           print a summary as one JSON object on stdout, none on stderr\n"
           "  -h, --help           print this help\n"
           "\n"
           "examples:\n"
           "  omendb compress embeddings.npy                   writes embeddings.npy.omz\n"
           "  omendb compress -d embeddings.npy.omz            and back\n"
           "  omendb compress -c base.omen | ssh host 'cat >base.omen.omz'\n",
           OMEN_OMZ_LEVEL_DEFAULT, omen_vectors_formats());
}

/* ---- arguments ---- */

enum { OPT_FORMAT = 256, OPT_DIM, OPT_RM, OPT_JSON };

static const char short_options[] = ":do:cft:qvh0123456789";

static const struct option long_options[] = {
    {"decompress", no_argument, NULL, 'd'},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"dim", required_argument, NULL, OPT_DIM},
    {"output", required_argument, NULL, 'o'},
    {"stdout", no_argument, NULL, 'c'},
    {"force", no_argument, NULL, 'f'},
    {"rm", no_argument, NULL, OPT_RM},
    {"threads", required_argument, NULL, 't'},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Takes one option; false if its value is bad, which has been told. */
static bool take_option(struct compress *c, int option, const char *value)
{
    switch (option) {
    case 'd':
        c->decompress = true;
        return true;
    case 'o':
        c->output = value;
        return true;
    case 'c':
        c->output = "-";
        return true;
    case 'f':
        c->force = true;
        return true;
    case 't':
        return cmd_parse_threads(NAME, value, &c->n_threads);
    case OPT_FORMAT:
        c->format = value;
        return true;
    case OPT_DIM:
        return cmd_parse_dim(NAME, value, &c->d);
    case OPT_RM:
        c->remove = true;
        return true;
    case 'q':
        c->verbosity = -1;
        return true;
    case 'v':
        c->verbosity = 1;
        return true;
    default: /* OPT_JSON */
        c->json = true;
        return true;
    }
}

static int parse_arguments(struct compress *c, int argc, char **argv)
{
    int option, level = -1;

    opterr = 0;
    while ((option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
        if (option >= '0' && option <= '9') { /* -1 and -9 are -19 too, as zstd has it */
            level = (level < 0 ? 0 : level) * 10 + option - '0';
            level = level > 1000 ? 1000 : level;
            continue;
        }
        if (option == 'h') {
            print_usage();
            return CMD_EXIT_OK;
        }
        if (option == '?' || option == ':') {
            return cmd_bad_option(NAME, option, argv, long_options);
        }
        if (!take_option(c, option, optarg)) {
            return CMD_EXIT_USAGE;
        }
    }
    if (level != -1 && (level < 1 || level > OMEN_OMZ_LEVEL_MOST)) {
        return cmd_misuse(NAME, "the level is -1 to -%d", OMEN_OMZ_LEVEL_MOST);
    }
    c->level = level == -1 ? OMEN_OMZ_LEVEL_DEFAULT : level;
    if (argc - optind < 1) {
        return cmd_misuse(NAME, "no INPUT given; see \"omendb compress --help\"");
    }
    if (argc - optind > 1) {
        return cmd_misuse(NAME, "one INPUT at a time; \"%s\" is one too many", argv[optind + 1]);
    }
    c->input = argv[optind];
    return CMD_GO_ON;
}

/* Settles the output and refuses what would destroy something. */
static int choose_output(struct compress *c)
{
    const bool from_stdin = strcmp(c->input, "-") == 0;
    const size_t length = strlen(c->input), n_suffix = strlen(SUFFIX);
    const bool has_suffix = length > n_suffix && strcmp(c->input + length - n_suffix, SUFFIX) == 0;
    struct stat status;

    if (c->output == NULL && from_stdin) {
        c->output = "-";
    } else if (c->output == NULL) {
        if (c->decompress && !has_suffix) {
            return cmd_misuse(NAME, "\"%s\" does not end in " SUFFIX "; name the output with --output", c->input);
        }
        if (asprintf(&c->default_output, "%.*s%s", (int)(c->decompress ? length - n_suffix : length), c->input,
                     c->decompress ? "" : SUFFIX) < 0) {
            c->default_output = NULL;
            return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
        }
        c->output = c->default_output;
    }
    c->to_stdout = strcmp(c->output, "-") == 0;
    if (c->to_stdout) {
        if (c->json) {
            return cmd_misuse(NAME, "--json and the output cannot both go to standard output");
        }
        if (c->remove) {
            return cmd_misuse(NAME, "--rm needs an output file: what went to standard output cannot be verified");
        }
        if (!c->force && isatty(STDOUT_FILENO)) {
            return cmd_misuse(NAME, "standard output is a terminal; name a file with --output, or insist with --force");
        }
        return CMD_GO_ON;
    }
    if (c->output[0] == '\0') {
        return cmd_misuse(NAME, "--output wants a file name");
    }
    if (c->remove && from_stdin) {
        return cmd_misuse(NAME, "--rm needs an input file");
    }
    if (cmd_would_overwrite(c->output, c->input)) {
        return cmd_misuse(NAME, "writing \"%s\" would overwrite the input; name another file with --output", c->output);
    }
    if (stat(c->output, &status) == 0) {
        if (!S_ISREG(status.st_mode)) {
            return cmd_misuse(NAME, "\"%s\" is not a regular file", c->output);
        }
        if (!c->force) {
            return cmd_misuse(NAME, "\"%s\" exists; replace it with --force", c->output);
        }
    }
    return CMD_GO_ON;
}

/* ---- the work ---- */

static int show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct compress *c = context;

    return cmd_progress_update(&c->progress, stage, done, total);
}

/* Copies a finished file to standard output. */
static int copy_to_stdout(const char *path, omen_detail *why)
{
    char buffer[1 << 16];
    FILE *file = fopen(path, "r");
    size_t n;

    if (file == NULL) {
        return omen_fail(why, OMEN_ERR_IO, "cannot open \"%s\": %s", path, strerror(errno));
    }
    while ((n = fread(buffer, 1, sizeof buffer, file)) > 0 && fwrite(buffer, 1, n, stdout) == n) {
    }
    const bool failed = ferror(file) || ferror(stdout);
    fclose(file);
    return failed ? omen_fail(why, OMEN_ERR_IO, "cannot write to standard output: %s", strerror(errno)) : OMEN_OK;
}

/* Writes the container to path. */
static int write_container(struct compress *c, const omen_omz_input *input, const char *path, omen_detail *why)
{
    omen_writer *writer = NULL;
    omen_sink sink;
    int rc = omen_writer_create(&writer, path, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    sink = omen_writer_sink(writer);
    rc = omen_omz_compress(input, c->level, c->n_threads, &sink, show_progress, c, why);
    if (rc == OMEN_OK) {
        rc = omen_writer_commit(writer, &c->out_bytes, why);
    }
    omen_writer_destroy(writer);
    return rc;
}

/* A container begins with what is known last, so on its way to a pipe it passes through a temporary file. */
static int compress_to_stdout(struct compress *c, const omen_omz_input *input, omen_detail *why)
{
    const char *parent = getenv("TMPDIR");
    char *directory = NULL, *path = NULL;
    int rc = OMEN_ERR_MEMORY;

    parent = parent != NULL && parent[0] != '\0' ? parent : "/tmp";
    if (asprintf(&directory, "%s/omendb-XXXXXX", parent) < 0) {
        return rc;
    }
    if (mkdtemp(directory) == NULL) {
        rc = omen_fail(why, OMEN_ERR_IO, "cannot create a temporary directory in \"%s\": %s", parent, strerror(errno));
        free(directory);
        return rc;
    }
    if (asprintf(&path, "%s/out", directory) >= 0) {
        rc = write_container(c, input, path, why);
        if (rc == OMEN_OK) {
            rc = copy_to_stdout(path, why);
        }
        unlink(path);
        free(path);
    }
    rmdir(directory);
    free(directory);
    return rc;
}

static int compress(struct compress *c, omen_detail *why)
{
    omen_omz_input *input = NULL;
    int rc = omen_omz_input_open(&input, c->input, c->format, c->d, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    c->in_bytes = omen_omz_input_bytes(input);
    snprintf(c->content, sizeof c->content, "%s", omen_omz_input_format(input));
    rc = c->to_stdout ? compress_to_stdout(c, input, why) : write_container(c, input, c->output, why);
    omen_omz_input_close(input);
    return rc;
}

/* Standard input becomes a file that can be mapped; *path is its name, valid while *fd is open. */
static int spool(char path[32], int *fd, omen_detail *why)
{
    static char buffer[1 << 16];
    FILE *file = tmpfile();
    size_t n;

    *fd = -1;
    if (file == NULL) {
        return omen_fail(why, OMEN_ERR_IO, "cannot create a temporary copy of standard input: %s", strerror(errno));
    }
    while ((n = fread(buffer, 1, sizeof buffer, stdin)) > 0 && fwrite(buffer, 1, n, file) == n) {
    }
    if (ferror(stdin) || ferror(file) || fflush(file) != 0 || (*fd = dup(fileno(file))) < 0) {
        const int error = errno;
        fclose(file);
        return omen_fail(why, OMEN_ERR_IO, "cannot copy standard input: %s", strerror(error));
    }
    fclose(file);
    snprintf(path, 32, "/proc/self/fd/%d", *fd);
    return OMEN_OK;
}

static int unpack(struct compress *c, const omen_container *container, omen_detail *why)
{
    cmd_output out = {.stream = NULL};
    omen_omz *omz = NULL;
    omen_detail reason = {.text = ""};
    int rc = omen_omz_open(&omz, container, &reason);

    if (rc != OMEN_OK) {
        return omen_fail(why, rc, "\"%s\": %s", c->input, reason.text);
    }
    c->in_bytes = omen_container_file_bytes(container);
    c->out_bytes = omen_omz_original_bytes(omz);
    snprintf(c->content, sizeof c->content, "%s", omen_omz_holds_index(omz) ? "index" : "vectors");
    rc = cmd_output_open(&out, c->to_stdout ? NULL : c->output, why);
    if (rc == OMEN_OK) {
        rc = omen_omz_unpack_to(omz, fileno(out.stream), c->n_threads, show_progress, c, &reason);
        if (rc == OMEN_ERR_IO) {
            omen_fail(why, rc, "\"%s\": %s", c->output, reason.text);
        } else if (rc != OMEN_OK) {
            omen_fail(why, rc, "\"%s\": %s", c->input, reason.text);
        }
    }
    if (rc == OMEN_OK) {
        rc = cmd_output_finish(&out, why);
    }
    if (rc != OMEN_OK) {
        cmd_output_abandon(&out);
    }
    omen_omz_close(omz);
    return rc;
}

static int decompress(struct compress *c, omen_detail *why)
{
    omen_container *container = NULL;
    char spooled[32];
    const char *path = c->input;
    int fd = -1, rc = OMEN_OK;

    if (strcmp(c->input, "-") == 0) {
        rc = spool(spooled, &fd, why);
        path = spooled;
    }
    if (rc == OMEN_OK) {
        rc = omen_container_open(&container, path, why);
    }
    if (rc == OMEN_OK) {
        rc = unpack(c, container, why);
    }
    omen_container_close(container);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

/* Mode and times of the input, as far as this user may set them. */
static void copy_attributes(const struct compress *c)
{
    struct stat status;

    if (strcmp(c->input, "-") == 0 || c->to_stdout || stat(c->input, &status) != 0 || !S_ISREG(status.st_mode)) {
        return;
    }
    const struct timespec times[2] = {status.st_atim, status.st_mtim};
    if (chmod(c->output, status.st_mode & 07777) != 0 || utimensat(AT_FDCWD, c->output, times, 0) != 0) {
        cmd_say(NAME, "warning: mode and time of \"%s\" could not be copied: %s", c->input, strerror(errno));
    }
}

/* Reads a written container back whole: every block, against the checksum of its original bytes. */
static int read_back(const struct compress *c, omen_detail *why)
{
    omen_container *container = NULL;
    omen_omz *omz = NULL;
    int rc = omen_container_open(&container, c->output, why);

    if (rc == OMEN_OK) {
        rc = omen_container_check(container, c->n_threads, NULL, NULL, NULL);
    }
    if (rc == OMEN_OK) {
        rc = omen_omz_open(&omz, container, why);
    }
    if (rc == OMEN_OK && omen_omz_original_bytes(omz) != c->in_bytes) {
        rc = OMEN_ERR_CORRUPT;
    }
    if (rc == OMEN_OK) {
        rc = omen_omz_check(omz, c->n_threads, NULL, NULL);
    }
    omen_omz_close(omz);
    omen_container_close(container);
    return rc == OMEN_OK ? rc : omen_fail(why, rc, "\"%s\" is not as it was written; the input is kept", c->output);
}

static int tell(const struct compress *c)
{
    const double ratio = c->decompress ? (double)c->out_bytes / c->in_bytes : (double)c->in_bytes / c->out_bytes;
    const double rate = (c->decompress ? c->out_bytes : c->in_bytes) / c->seconds / 1e6;

    if (c->json) {
        return cmd_json_print(NAME,
                              json_pack("{s:o, s:o, s:s, s:I, s:I, s:o, s:o, s:o}", "input", cmd_json_text(c->input),
                                        "output", cmd_json_text(c->output), "content", c->content, "input_bytes",
                                        (json_int_t)c->in_bytes, "output_bytes", (json_int_t)c->out_bytes, "ratio",
                                        cmd_json_real(ratio), "seconds", cmd_json_real(c->seconds), "mb_per_second",
                                        cmd_json_real(rate)),
                              stdout);
    }
    if (c->verbosity >= 0) {
        fprintf(stderr, "%s: %s, %s -> %s bytes (ratio %.3f), %.2f s, %.0f MB/s\n", c->input, c->content,
                cmd_group(c->in_bytes).text, cmd_group(c->out_bytes).text, ratio, c->seconds, rate);
    }
    return CMD_EXIT_OK;
}

int cmd_compress(int argc, char **argv)
{
    struct compress c = {.input = NULL};
    omen_detail why = {.text = ""};
    double started;
    int rc = parse_arguments(&c, argc, argv);

    if (rc == CMD_GO_ON) {
        rc = choose_output(&c);
    }
    if (rc != CMD_GO_ON) {
        free(c.default_output);
        return rc;
    }
    cmd_progress_init(&c.progress, c.verbosity);
    cmd_signals_note();
    started = cmd_seconds();
    rc = c.decompress ? decompress(&c, &why) : compress(&c, &why);
    c.seconds = cmd_seconds() - started;
    cmd_progress_clear(&c.progress);
    if (rc == OMEN_OK) {
        copy_attributes(&c);
    }
    if (rc == OMEN_OK && c.remove && !c.decompress) {
        rc = read_back(&c, &why);
    }
    if (rc == OMEN_OK && c.remove && unlink(c.input) != 0) {
        rc = omen_fail(&why, OMEN_ERR_IO, "cannot remove \"%s\": %s", c.input, strerror(errno));
    }
    if (rc == OMEN_ERR_INTERRUPTED) {
        cmd_say(NAME, "interrupted; nothing was written");
        rc = cmd_exit_code(rc);
    } else {
        rc = rc == OMEN_OK ? tell(&c) : cmd_fail(NAME, rc, &why);
    }
    free(c.default_output);
    return rc;
}
