/* omendb compress: a file of vectors or an index to a smaller file, and back. */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME        "compress"
#define SUFFIX      ".omz"
#define INTERRUPTED "interrupted; nothing was written"

/* Where the bytes of a file of codes are, and what the codes are worth. */
struct account {
    omen_index_info info;
    omen_codes_quality quality;
    uint64_t codes, factors, refine, codebooks, rotation, rest, container; /* bytes; their sum is the file */
};

struct compress {
    const char *input;
    const char *output;   /* as asked for, else default_output; "-": standard output */
    char *default_output; /* owned */
    const char *format;
    uint32_t d;
    int level, n_threads;
    /* codes: --bytes or --codec was given */
    bool lossy;
    uint32_t bytes;
    uint64_t seed;
    const char *codec;      /* auto, pq, rabitq, sq8, f16 */
    const char *out_format; /* of reconstructed rows */
    int verbosity;          /* -1 quiet, 1 verbose */
    bool decompress, force, remove, json, to_stdout, is_long;
    cmd_progress progress;
    /* what became of it */
    uint64_t in_bytes, out_bytes;
    double started, seconds;
    char content[32];
    omen_source source;     /* of lossy compression */
    struct account account; /* lossy */
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
           "  -b, --bytes N        codes of N bytes a vector, %u to %u, from which -d reconstructs rows\n"
           "                       nearly (default without --codec: every bit is kept)\n"
           "      --codec NAME     kind of codes: auto, pq, rabitq, sq8 or f16 (default auto: pq or rabitq,\n"
           "                       the smaller measured error)\n"
           "      --seed N         seed of all random choices of codes (default 0)\n"
           "  -F, --output-format NAME\n"
           "                       format of reconstructed rows (default: by extension of the output), one\n"
           "                       of %s\n"
           "  -1 ... -19           level of zstd: faster ... smaller (default -%d)\n"
           "      --long           find repetitions up to 32 MiB apart (takes about 100 MB a thread)\n"
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
           "  omendb compress -b 32 -o small.omz embeddings.npy\n"
           "  omendb compress -c base.omen | ssh host 'cat >base.omen.omz'\n",
           OMEN_MIN_BYTES, OMEN_MAX_BYTES, omen_rows_formats(), OMEN_OMZ_LEVEL_DEFAULT, omen_vectors_formats());
}

/* ---- arguments ---- */

enum { OPT_FORMAT = 256, OPT_DIM, OPT_RM, OPT_JSON, OPT_CODEC, OPT_SEED, OPT_LONG };

static const char short_options[] = ":do:cfb:F:t:qvh0123456789";

static const struct option long_options[] = {
    {"decompress", no_argument, NULL, 'd'},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"dim", required_argument, NULL, OPT_DIM},
    {"output", required_argument, NULL, 'o'},
    {"stdout", no_argument, NULL, 'c'},
    {"force", no_argument, NULL, 'f'},
    {"bytes", required_argument, NULL, 'b'},
    {"codec", required_argument, NULL, OPT_CODEC},
    {"seed", required_argument, NULL, OPT_SEED},
    {"output-format", required_argument, NULL, 'F'},
    {"long", no_argument, NULL, OPT_LONG},
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
    uint64_t number;

    switch (option) {
    case 'b':
        if (!cmd_parse_integer(NAME, "--bytes", value, OMEN_MIN_BYTES, OMEN_MAX_BYTES, &number)) {
            return false;
        }
        c->bytes = (uint32_t)number;
        c->lossy = true;
        return true;
    case OPT_CODEC:
        if (strcmp(value, "auto") != 0 && strcmp(value, "pq") != 0 && strcmp(value, "rabitq") != 0 &&
            strcmp(value, "sq8") != 0 && strcmp(value, "f16") != 0) {
            cmd_say(NAME, "--codec must be auto, pq, rabitq, sq8 or f16, not \"%s\"", value);
            return false;
        }
        c->codec = value;
        c->lossy = true;
        return true;
    case OPT_SEED:
        return cmd_parse_integer(NAME, "--seed", value, 0, UINT64_MAX, &c->seed);
    case 'F':
        c->out_format = value;
        return true;
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
    case OPT_LONG:
        c->is_long = true;
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

    while ((option = cmd_next_option(NAME, argc, argv, short_options, long_options)) != -1) {
        if (option >= '0' && option <= '9') { /* -1 and -9 are -19 too, as zstd has it */
            level = (level < 0 ? 0 : level) * 10 + option - '0';
            level = level > 1000 ? 1000 : level;
            continue;
        }
        if (option == 'h') {
            print_usage();
            return CMD_EXIT_OK;
        }
        if (option == CMD_BAD_OPTION) {
            return CMD_EXIT_USAGE;
        }
        if (!take_option(c, option, optarg)) {
            return CMD_EXIT_USAGE;
        }
    }
    if (level != -1 && (level < 1 || level > OMEN_OMZ_LEVEL_MOST)) {
        return cmd_misuse(NAME, "the level is -1 to -%d", OMEN_OMZ_LEVEL_MOST);
    }
    c->level = level == -1 ? OMEN_OMZ_LEVEL_DEFAULT : level;
    if (c->lossy && (c->decompress || level != -1 || c->is_long)) {
        return cmd_misuse(NAME, c->decompress ? "--bytes and --codec are for compressing"
                                              : "levels are for compressing without loss; codes are of --bytes");
    }
    if (c->lossy && c->bytes != 0 && (strcmp(c->codec, "sq8") == 0 || strcmp(c->codec, "f16") == 0)) {
        return cmd_misuse(NAME, "--bytes is for pq and rabitq; %s takes what it takes", c->codec);
    }
    if (c->is_long && c->decompress) {
        return cmd_misuse(NAME, "--long is for compressing");
    }
    if (c->out_format != NULL && !c->decompress) {
        return cmd_misuse(NAME, "--output-format is for --decompress");
    }
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
    if (!c->decompress && cmd_check_extension(NAME, c->output, "omz", "a compressed file") != CMD_GO_ON) {
        return CMD_EXIT_USAGE;
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
    const omen_omz_options options = {
        .level = c->level, .is_long = c->is_long, .n_threads = c->n_threads, .progress = show_progress, .context = c};
    rc = omen_omz_compress(input, &options, &sink, why);
    if (rc == OMEN_OK) {
        rc = omen_writer_commit(writer, &c->out_bytes, why);
    }
    omen_writer_destroy(writer);
    return rc;
}

static int write_codes(struct compress *c, const omen_source *source, const char *path, omen_detail *why);

/* A container begins with what is known last, so on its way to a pipe it passes through a temporary file. */
static int through_temporary(struct compress *c, const omen_omz_input *input, omen_detail *why)
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
    omen_temporary_remember(directory);
    if (asprintf(&path, "%s/out", directory) >= 0) {
        omen_temporary_remember(path);
        rc = c->lossy ? write_codes(c, &c->source, path, why) : write_container(c, input, path, why);
        if (rc == OMEN_OK) {
            rc = copy_to_stdout(path, why);
        }
        unlink(path);
        omen_temporary_forget(path);
        free(path);
    }
    rmdir(directory);
    omen_temporary_forget(directory);
    free(directory);
    return rc;
}

/* Bytes of each part of the written file. */
static int take_account(struct compress *c, const char *path, const omen_source *original, omen_detail *why)
{
    struct account *a = &c->account;
    omen_container *container = NULL;
    omen_codes *codes = NULL;
    const omen_section *sections = NULL;
    size_t n = 0;
    int rc = omen_container_open(&container, path, why);

    if (rc == OMEN_OK) {
        sections = omen_container_sections(container, &n);
        rc = omen_codes_open(&codes, sections, n, why);
    }
    if (rc == OMEN_OK) {
        omen_codes_get_info(codes, &a->info);
        a->container = omen_container_file_bytes(container);
        for (size_t i = 0; i < n; i++) {
            const uint32_t id = sections[i].id, per_code = a->info.code_bytes, per_factor = a->info.factor_bytes;
            const uint64_t n_bytes = sections[i].n_bytes;

            a->container -= n_bytes;
            if (id == OMEN_FOURCC('C', 'O', 'D', 'E')) {
                a->codes = n_bytes / (per_code + per_factor) * per_code;
                a->factors = n_bytes - a->codes;
            } else if (id == OMEN_FOURCC('R', 'E', 'F', 'N')) {
                a->refine = n_bytes;
            } else if (id == OMEN_FOURCC('S', 'U', 'B', 'S') || id == OMEN_FOURCC('D', 'I', 'M', 'S') ||
                       id == OMEN_FOURCC('C', 'O', 'D', 'B')) {
                a->codebooks += n_bytes;
            } else if (id == OMEN_FOURCC('R', 'O', 'T', 'A') || id == OMEN_FOURCC('B', 'A', 'S', 'E')) {
                a->rotation += n_bytes;
            } else {
                a->rest += n_bytes;
            }
        }
        rc = omen_codes_measure(codes, original, c->seed, c->n_threads, &a->quality, why);
    }
    omen_codes_close(codes);
    omen_container_close(container);
    return rc;
}

/* Codes: an index of one list without row numbers. */
static int write_codes(struct compress *c, const omen_source *source, const char *path, omen_detail *why)
{
    const bool is_refine = strcmp(c->codec, "sq8") == 0 || strcmp(c->codec, "f16") == 0;
    omen_build_options options;
    omen_writer *writer = NULL;
    omen_sink sink;
    int rc;

    omen_build_options_init(&options);
    options.codes_only = true;
    options.n_lists = 1;
    options.seed = c->seed;
    options.n_threads = c->n_threads;
    options.bytes = c->bytes != 0 ? c->bytes : OMEN_DEFAULT_BYTES;
    options.codec = OMEN_CODEC_NONE;
    options.refine = OMEN_REFINE_NONE;
    rc = is_refine ? omen_refine_parse(c->codec, &options.refine) : omen_codec_parse(c->codec, &options.codec);
    options.progress = show_progress;
    options.progress_context = c;
    if (rc == OMEN_OK) {
        rc = omen_writer_create(&writer, path, why);
    }
    if (rc != OMEN_OK) {
        return rc;
    }
    sink = omen_writer_sink(writer);
    rc = omen_index_build(source, &options, &sink, NULL, NULL, why);
    if (rc == OMEN_OK) {
        rc = omen_writer_commit(writer, &c->out_bytes, why);
    }
    omen_writer_destroy(writer);
    c->seconds = cmd_seconds() - c->started; /* what follows is the account, not the work */
    return rc == OMEN_OK ? take_account(c, path, source, why) : rc;
}

static int compress_lossy(struct compress *c, omen_detail *why)
{
    const omen_vectors_options options = {.format = c->format, .d = c->d};
    omen_vectors *vectors = NULL;
    int rc = omen_vectors_open(&vectors, c->input, &options, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    cmd_signals_note();
    c->source = omen_vectors_source(vectors);
    c->in_bytes = c->source.n_bytes;
    snprintf(c->content, sizeof c->content, "%s", omen_vectors_format(vectors));
    rc = c->to_stdout ? through_temporary(c, NULL, why) : write_codes(c, &c->source, c->output, why);
    omen_vectors_close(vectors);
    return rc;
}

static int compress(struct compress *c, omen_detail *why)
{
    omen_omz_input *input = NULL;
    int rc = omen_omz_input_open(&input, c->input, c->format, c->d, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    cmd_signals_note();
    c->in_bytes = omen_omz_input_bytes(input);
    snprintf(c->content, sizeof c->content, "%s", omen_omz_input_format(input));
    rc = c->to_stdout ? through_temporary(c, input, why) : write_container(c, input, c->output, why);
    omen_omz_input_close(input);
    return rc;
}

/* Standard input becomes a file that can be mapped; path is its name, valid while *fd is open. */
static int spool(char path[32], int *fd, omen_detail *why)
{
    int rc;

    *fd = dup(STDIN_FILENO);
    if (*fd < 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot read standard input: %s", strerror(errno));
    }
    rc = omen_stream_spool(fd, "standard input", why);
    snprintf(path, 32, "/proc/self/fd/%d", *fd);
    return rc;
}

/* The original comes back as it was: no other format is asked for, and the output's name stands for no other than the
 * original is and the input's name without .omz says. */
static int check_original(const struct compress *c, bool is_index, omen_detail *why)
{
    const char *named = omen_vectors_named(c->output), *original = NULL;
    const char *kind = is_index ? "an index" : "vectors";
    const size_t length = strlen(c->input), n_suffix = strlen(SUFFIX);
    bool has_suffix;
    char *inner;

    if (c->out_format != NULL) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "\"%s\" holds %s without loss, which come back in their own format: --output-format is for "
                         "codes",
                         c->input, kind);
    }
    if (c->to_stdout) {
        return OMEN_OK;
    }
    if (is_index ? named != NULL : strcmp(cmd_extension(c->output).text, "omen") == 0) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "\"%s\" holds %s, and \"%s\" is named like another format", c->input,
                         kind, c->output);
    }
    has_suffix = length > n_suffix && strcmp(c->input + length - n_suffix, SUFFIX) == 0;
    inner = strndup(c->input, has_suffix ? length - n_suffix : 0);
    if (inner == NULL) {
        return OMEN_ERR_MEMORY;
    }
    original = omen_vectors_named(inner);
    free(inner);
    if (named != NULL && original != NULL && strcmp(named, original) != 0) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "\"%s\" is named like %s, and what comes back is %s: without loss nothing is converted",
                         c->output, named, original);
    }
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
    rc = check_original(c, omen_omz_holds_index(omz), why);
    if (rc == OMEN_OK) {
        rc = cmd_output_open(&out, c->to_stdout ? NULL : c->output, why);
    }
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

/* The rows that codes stand for. */
static int unpack_codes(struct compress *c, const omen_container *container, omen_detail *why)
{
    const char *format = c->out_format != NULL ? c->out_format : omen_rows_format(c->output);
    cmd_output out = {.stream = NULL};
    omen_codes *codes = NULL;
    omen_detail reason = {.text = ""};
    size_t n;
    const omen_section *sections = omen_container_sections(container, &n);
    int rc;

    if (format == NULL) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "\"%s\" does not say how to write the rows; name a format with --output-format: %s", c->output,
                         omen_rows_formats());
    }
    rc = omen_codes_open(&codes, sections, n, &reason);
    if (rc != OMEN_OK) {
        return omen_fail(why, rc, "\"%s\": %s", c->input, reason.text);
    }
    const omen_source source = omen_codes_source(codes);
    c->in_bytes = omen_container_file_bytes(container);
    c->out_bytes = source.n_bytes;
    snprintf(c->content, sizeof c->content, "codes");
    rc = cmd_output_open(&out, c->to_stdout ? NULL : c->output, why);
    if (rc == OMEN_OK) {
        rc = omen_rows_write(out.stream, format, &source, show_progress, c, why);
    }
    if (rc == OMEN_OK) {
        rc = cmd_output_finish(&out, why);
    }
    if (rc != OMEN_OK) {
        cmd_output_abandon(&out);
    }
    omen_codes_close(codes);
    return rc;
}

static int decompress(struct compress *c, omen_detail *why)
{
    size_t n;
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
    cmd_signals_note();
    if (rc == OMEN_OK) {
        const omen_section *sections = omen_container_sections(container, &n);
        rc = omen_codes_are(sections, n) ? unpack_codes(c, container, why) : unpack(c, container, why);
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
    if (c->lossy) {
        omen_container_close(container);
        return rc == OMEN_OK ? rc : omen_fail(why, rc, "\"%s\" is not as it was written; the input is kept", c->output);
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

static void tell_part(const char *name, uint64_t n_bytes, const struct account *a)
{
    if (n_bytes > 0) {
        fprintf(stderr, "  %-10s %14s bytes  %9.2f a vector\n", name, cmd_group(n_bytes).text,
                (double)n_bytes / a->info.n_rows);
    }
}

/* The table of a file of codes: nothing is left out of its sum. */
static void tell_account(const struct compress *c)
{
    const struct account *a = &c->account;
    const omen_codes_quality *q = &a->quality;
    const double hot = a->refine > 0 ? (double)a->refine / a->info.n_rows : a->info.code_bytes + a->info.factor_bytes;

    tell_part("codes", a->codes, a);
    tell_part("factors", a->factors, a);
    tell_part("rows", a->refine, a);
    tell_part("codebooks", a->codebooks, a);
    tell_part("rotation", a->rotation, a);
    tell_part("mean, lists", a->rest, a);
    tell_part("container", a->container, a);
    tell_part("file", c->out_bytes, a);
    fprintf(stderr, "  float32 rows are %.1fx the codes and factors, %.2fx the file; the input is %.2fx the file\n",
            4.0 * a->info.d / hot, 4.0 * a->info.d * a->info.n_rows / c->out_bytes, (double)c->in_bytes / c->out_bytes);
    fprintf(stderr, "  error      %.5f of the variance (mean squared %.6g a value), %s rows\n", q->relative_error,
            q->mean_squared_error, cmd_group(q->n_error_rows).text);
    fprintf(stderr, "             means of %u neighbouring values, for as many bytes: %.5f, %.1fx as much\n",
            q->group_values, q->group_relative_error,
            q->relative_error > 0 ? q->group_relative_error / q->relative_error : 0);
    fprintf(stderr, "  recall@10  %.4f by codes alone, %.4f with the best %u re-ranked by original rows, %s rows\n",
            q->recall_codes, q->recall_reranked, q->n_rerank, cmd_group(q->n_queries).text);
}

static json_t *account_object(const struct compress *c)
{
    const struct account *a = &c->account;
    const omen_codes_quality *q = &a->quality;

    return json_pack(
        "{s:I, s:i, s:s, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:o, s:i, s:o, s:o, s:i}", "n",
        (json_int_t)a->info.n_rows, "d", (int)a->info.d, "codec",
        a->refine > 0 ? omen_refine_name(a->info.refine) : omen_codec_name(a->info.codec), "bytes", "codes",
        (json_int_t)a->codes, "factors", (json_int_t)a->factors, "rows", (json_int_t)a->refine, "codebooks",
        (json_int_t)a->codebooks, "rotation", (json_int_t)a->rotation, "ids", (json_int_t)0, "rest",
        (json_int_t)a->rest, "container", (json_int_t)a->container, "file", (json_int_t)c->out_bytes, "code_ratio",
        cmd_json_real(
            4.0 * a->info.d * a->info.n_rows /
            (a->refine > 0 ? (double)a->refine : (double)a->info.n_rows * (a->info.code_bytes + a->info.factor_bytes))),
        "mean_squared_error", cmd_json_real(q->mean_squared_error), "relative_error", cmd_json_real(q->relative_error),
        "group_values", (int)q->group_values, "recall_codes", cmd_json_real(q->recall_codes), "recall_reranked",
        cmd_json_real(q->recall_reranked), "rerank", (int)q->n_rerank);
}

static int tell(const struct compress *c)
{
    const double ratio = c->decompress ? (double)c->out_bytes / c->in_bytes : (double)c->in_bytes / c->out_bytes;
    const double rate = (c->decompress ? c->out_bytes : c->in_bytes) / c->seconds / 1e6;

    if (c->json) {
        return cmd_json_print(NAME,
                              json_pack("{s:o, s:o, s:s, s:I, s:I, s:o, s:o, s:o, s:o}", "input",
                                        cmd_json_text(c->input), "output", cmd_json_text(c->output), "content",
                                        c->content, "input_bytes", (json_int_t)c->in_bytes, "output_bytes",
                                        (json_int_t)c->out_bytes, "ratio", cmd_json_real(ratio), "seconds",
                                        cmd_json_real(c->seconds), "mb_per_second", cmd_json_real(rate), "codes",
                                        c->lossy ? account_object(c) : json_null()),
                              stdout);
    }
    if (c->verbosity >= 0) {
        fprintf(stderr, "%s: %s, %s -> %s bytes (ratio %.3f), %.2f s, %.0f MB/s\n", cmd_printable(c->input).text,
                c->content, cmd_group(c->in_bytes).text, cmd_group(c->out_bytes).text, ratio, c->seconds, rate);
        if (c->lossy) {
            tell_account(c);
        }
    }
    return CMD_EXIT_OK;
}

int cmd_compress(int argc, char **argv)
{
    struct compress c = {.input = NULL, .codec = "auto"};
    omen_detail why = {.text = ""};
    int rc = parse_arguments(&c, argc, argv);

    if (rc == CMD_GO_ON) {
        rc = choose_output(&c);
    }
    if (rc != CMD_GO_ON) {
        free(c.default_output);
        return rc;
    }
    cmd_progress_init(&c.progress, c.verbosity);
    /* nothing exists yet while standard input is read, so a signal may end the process there */
    cmd_signals_exit(NAME, INTERRUPTED);
    c.started = cmd_seconds();
    rc = c.decompress ? decompress(&c, &why) : c.lossy ? compress_lossy(&c, &why) : compress(&c, &why);
    if (!c.lossy) {
        c.seconds = cmd_seconds() - c.started;
    }
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
        cmd_say(NAME, INTERRUPTED);
        rc = cmd_exit_code(rc);
    } else {
        rc = rc == OMEN_OK ? tell(&c) : cmd_fail(NAME, rc, &why);
    }
    free(c.default_output);
    return rc;
}
