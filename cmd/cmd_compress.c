/* omendb compress: a file of vectors or an index to a smaller file, and back. */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
    struct stat status; /* of the input */
    int like_error;     /* errno of what of it the output did not get */
    uint64_t in_bytes, out_bytes;
    double started, seconds;
    char content[32];
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

/* Takes one option; false, after a message, if its value is bad. */
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
        if (option >= '0' && option <= '9') { /* -1 followed by -9 means -19, as in zstd */
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

/* Settles the output. */
static int choose_output(struct compress *c)
{
    const bool from_stdin = strcmp(c->input, "-") == 0;
    const size_t length = strlen(c->input), n_suffix = strlen(SUFFIX);
    const bool has_suffix = length > n_suffix && strcmp(c->input + length - n_suffix, SUFFIX) == 0;

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
    return CMD_GO_ON;
}

/* Refuses to write over what is read, and without --force over what is there. */
static int check_files(const struct compress *c)
{
    const cmd_file files[] = {
        {.role = "INPUT", .path = c->input},
        {.role = "--output", .path = c->output, .is_output = true},
        {.path = c->json ? "-" : NULL, .is_output = true},
    };
    struct stat status;
    const int rc = cmd_files_check(NAME, files, sizeof files / sizeof files[0]);

    if (rc != CMD_GO_ON || c->to_stdout) {
        return rc;
    }
    if (!c->decompress && cmd_check_extension(NAME, c->output, "omz", "a compressed file") != CMD_GO_ON) {
        return CMD_EXIT_USAGE;
    }
    bool exists = lstat(c->output, &status) == 0;
    if (exists && S_ISLNK(status.st_mode) && stat(c->output, &status) != 0) {
        lstat(c->output, &status); /* a link to nothing is there all the same */
    }
    if (exists && S_ISDIR(status.st_mode)) {
        return cmd_misuse(NAME, "\"%s\" is not a regular file", c->output);
    }
    /* what has no contents to lose needs no --force */
    const bool is_kept = omen_file_descriptor(c->output) >= 0 ||
                         (exists && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode) || S_ISSOCK(status.st_mode)));
    if (c->remove && (is_kept || (exists && S_ISBLK(status.st_mode)))) {
        return cmd_misuse(NAME, "--rm needs an output file: what went to \"%s\" cannot be verified", c->output);
    }
    if (exists && !is_kept && !c->force) {
        return cmd_misuse(NAME, "\"%s\" exists; replace it with --force", c->output);
    }
    return CMD_GO_ON;
}

/* ---- the work ---- */

static int show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct compress *c = context;

    return cmd_progress_update(&c->progress, stage, done, total);
}

/* Whose permission bits and times the output gets; NULL: of nothing, for what has no name. */
static const struct stat *like(const struct compress *c)
{
    return strcmp(c->input, "-") != 0 && S_ISREG(c->status.st_mode) ? &c->status : NULL;
}

/* Reads a written container back whole: every block, against the checksum of its original bytes. */
static int read_back(const struct compress *c, const omen_writer *writer, omen_detail *why)
{
    omen_container *container = NULL;
    omen_omz *omz = NULL;
    int rc = omen_writer_open(writer, &container, why);

    if (rc == OMEN_OK) {
        rc = omen_container_check(container, c->n_threads, NULL, NULL, NULL);
    }
    if (rc == OMEN_OK && !c->lossy) {
        rc = omen_omz_open(&omz, container, why);
    }
    if (rc == OMEN_OK && !c->lossy) {
        rc = omen_omz_original_bytes(omz) == c->in_bytes ? omen_omz_check(omz, c->n_threads, NULL, NULL)
                                                         : OMEN_ERR_CORRUPT;
    }
    omen_omz_close(omz);
    omen_container_close(container);
    return rc == OMEN_OK && omen_writer_has_name(writer)
               ? OMEN_OK
               : omen_fail(why, rc != OMEN_OK ? rc : OMEN_ERR_IO, "\"%s\" is not as it was written; the input is kept",
                           c->output);
}

/* Gives the complete container its name. */
static int commit(struct compress *c, omen_writer *writer, omen_detail *why)
{
    int rc = omen_writer_commit(writer, &c->out_bytes, why);

    c->like_error = omen_writer_like_error(writer);
    if (rc == OMEN_OK && c->remove) {
        rc = read_back(c, writer, why);
    }
    return rc;
}

static int write_container(struct compress *c, const omen_omz_input *input, omen_detail *why)
{
    omen_writer *writer = NULL;
    omen_sink sink;
    int rc = omen_writer_create_like(&writer, c->output, like(c), why);

    if (rc != OMEN_OK) {
        return rc;
    }
    sink = omen_writer_sink(writer);
    const omen_omz_options options = {
        .level = c->level, .is_long = c->is_long, .n_threads = c->n_threads, .progress = show_progress, .context = c};
    rc = omen_omz_compress(input, &options, &sink, why);
    if (rc == OMEN_OK) {
        rc = commit(c, writer, why);
    }
    omen_writer_destroy(writer);
    return rc;
}

/* Bytes of each part of the written file. */
static int take_account(struct compress *c, const omen_writer *writer, const omen_source *original, omen_detail *why)
{
    struct account *a = &c->account;
    omen_container *container = NULL;
    omen_codes *codes = NULL;
    const omen_section *sections = NULL;
    size_t n = 0;
    int rc = omen_writer_open(writer, &container, why);

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
        rc = omen_codes_measure(codes, original, c->seed, c->n_threads, show_progress, c, &a->quality, why);
    }
    omen_codes_close(codes);
    omen_container_close(container);
    return rc;
}

/* Codes: an index of one list without row numbers. */
static int write_codes(struct compress *c, const omen_source *source, omen_detail *why)
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
        rc = omen_writer_create_like(&writer, c->output, like(c), why);
    }
    if (rc != OMEN_OK) {
        return rc;
    }
    sink = omen_writer_sink(writer);
    rc = omen_index_build(source, &options, &sink, NULL, NULL, why);
    if (rc == OMEN_OK) {
        rc = commit(c, writer, why);
    }
    c->seconds = cmd_seconds() - c->started; /* what follows is the account, not the work */
    if (rc == OMEN_OK) {
        rc = take_account(c, writer, source, why);
    }
    omen_writer_destroy(writer);
    return rc;
}

static int compress_lossy(struct compress *c, omen_detail *why)
{
    const omen_vectors_options options = {.format = c->format, .d = c->d};
    omen_vectors *vectors = NULL;
    int rc = omen_vectors_open(&vectors, c->input, &options, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    const omen_source source = omen_vectors_source(vectors);
    c->status = *omen_vectors_status(vectors);
    c->in_bytes = source.n_bytes;
    snprintf(c->content, sizeof c->content, "%s", omen_vectors_format(vectors));
    rc = write_codes(c, &source, why);
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
    c->status = *omen_omz_input_status(input);
    c->in_bytes = omen_omz_input_bytes(input);
    snprintf(c->content, sizeof c->content, "%s", omen_omz_input_format(input));
    rc = write_container(c, input, why);
    omen_omz_input_close(input);
    return rc;
}

/* Opens a compressed file. A stream is copied, since it has to be mapped. */
static int open_packed(struct compress *c, omen_container **container, omen_detail *why)
{
    const bool is_standard = strcmp(c->input, "-") == 0;
    int fd = is_standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(c->input, O_RDONLY | O_CLOEXEC | O_NOCTTY),
        rc = OMEN_OK;
    char label[300] = "standard input";

    if (!is_standard) {
        snprintf(label, sizeof label, "\"%.290s\"", c->input);
    }
    if (fd < 0 || fstat(fd, &c->status) != 0) {
        rc = omen_fail(why, OMEN_ERR_IO, "cannot open %s: %s", label, strerror(errno));
    } else if (is_standard || (!S_ISREG(c->status.st_mode) && !S_ISDIR(c->status.st_mode))) {
        rc = omen_stream_spool(&fd, label, why);
    }
    if (rc == OMEN_OK) {
        rc = omen_container_open_fd(container, fd, is_standard ? label : c->input, why);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

/* Refuses to unpack into a file what its file system has no room for. */
static int check_room(const struct compress *c, const cmd_output *out, omen_detail *why)
{
    return c->to_stdout || !omen_file_is_own(&out->file) ? OMEN_OK : omen_disk_check(c->output, c->out_bytes, why);
}

/* Says which file a failure of unpacking was of. */
static int name_file(const struct compress *c, int rc, const omen_detail *reason, omen_detail *why)
{
    const char *name = rc == OMEN_ERR_IO ? c->output : c->input;

    if (strcmp(name, "-") == 0) {
        return omen_fail(why, rc, "standard %s: %s", rc == OMEN_ERR_IO ? "output" : "input", reason->text);
    }
    return omen_fail(why, rc, "\"%s\": %s", name, reason->text);
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
        return name_file(c, rc, &reason, why);
    }
    c->in_bytes = omen_container_file_bytes(container);
    c->out_bytes = omen_omz_original_bytes(omz);
    snprintf(c->content, sizeof c->content, "%s", omen_omz_holds_index(omz) ? "index" : "vectors");
    rc = check_original(c, omen_omz_holds_index(omz), why);
    if (rc == OMEN_OK) {
        rc = cmd_output_open(&out, c->to_stdout ? NULL : c->output, like(c), why);
    }
    if (rc == OMEN_OK) {
        rc = check_room(c, &out, why);
    }
    if (rc == OMEN_OK) {
        rc = omen_omz_unpack_to(omz, fileno(out.stream), omen_file_is_own(&out.file), c->n_threads, show_progress, c,
                                &reason);
        if (rc != OMEN_OK) {
            name_file(c, rc, &reason, why);
        }
    }
    if (rc == OMEN_OK) {
        rc = cmd_output_commit(&out, why);
    }
    c->like_error = out.file.like_error;
    cmd_output_close(&out);
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
        return name_file(c, rc, &reason, why);
    }
    const omen_source source = omen_codes_source(codes);
    c->in_bytes = omen_container_file_bytes(container);
    c->out_bytes = source.n_bytes;
    snprintf(c->content, sizeof c->content, "codes");
    rc = cmd_output_open(&out, c->to_stdout ? NULL : c->output, like(c), why);
    if (rc == OMEN_OK) {
        rc = check_room(c, &out, why);
    }
    if (rc == OMEN_OK) {
        rc = omen_rows_write(out.stream, format, &source, show_progress, c, &reason);
        if (rc != OMEN_OK) {
            name_file(c, rc, &reason, why);
        }
    }
    if (rc == OMEN_OK) {
        rc = cmd_output_commit(&out, why);
    }
    c->like_error = out.file.like_error;
    cmd_output_close(&out);
    omen_codes_close(codes);
    return rc;
}

static int decompress(struct compress *c, omen_detail *why)
{
    size_t n;
    omen_container *container = NULL;
    int rc = open_packed(c, &container, why);

    if (rc == OMEN_OK) {
        const omen_section *sections = omen_container_sections(container, &n);
        rc = omen_codes_are(sections, n) ? unpack_codes(c, container, why) : unpack(c, container, why);
    }
    omen_container_close(container);
    return rc;
}

/* Removes the input, if the name still leads to what was read. */
static int remove_input(const struct compress *c, omen_detail *why)
{
    struct stat status;

    if (stat(c->input, &status) != 0 ||
        (status.st_dev == c->status.st_dev && status.st_ino == c->status.st_ino &&
         status.st_size == c->status.st_size && status.st_mtim.tv_sec == c->status.st_mtim.tv_sec &&
         status.st_mtim.tv_nsec == c->status.st_mtim.tv_nsec)) {
        return unlink(c->input) == 0
                   ? OMEN_OK
                   : omen_fail(why, OMEN_ERR_IO, "cannot remove \"%s\": %s", c->input, strerror(errno));
    }
    return omen_fail(why, OMEN_ERR_IO, "\"%s\" was changed or replaced meanwhile; it is kept", c->input);
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
    if (rc == CMD_GO_ON) {
        rc = check_files(&c);
    }
    if (rc != CMD_GO_ON) {
        free(c.default_output);
        return rc;
    }
    cmd_progress_init(&c.progress, c.verbosity);
    /* what is half-made goes with the process, which a signal ends at once */
    cmd_signals_exit(NAME, INTERRUPTED);
    c.started = cmd_seconds();
    if (c.lossy || c.remove) { /* lossless packing has its own threads; only reading back needs OpenMP's */
        c.n_threads = cmd_threads(c.n_threads);
    }
    rc = c.decompress ? decompress(&c, &why) : c.lossy ? compress_lossy(&c, &why) : compress(&c, &why);
    if (rc == OMEN_OK) {
        cmd_signals_note(); /* it is there: what is left takes no time */
    }
    if (!c.lossy) {
        c.seconds = cmd_seconds() - c.started;
    }
    cmd_progress_clear(&c.progress);
    if (rc == OMEN_OK && c.like_error != 0) {
        cmd_say(NAME, "warning: mode and time of \"%s\" could not be copied: %s", c.input, strerror(c.like_error));
    }
    if (rc == OMEN_OK && c.remove) {
        rc = remove_input(&c, &why);
    }
    rc = rc == OMEN_OK ? tell(&c) : cmd_fail(NAME, rc, &why);
    free(c.default_output);
    return rc;
}
