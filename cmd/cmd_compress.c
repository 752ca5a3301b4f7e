/* SPDX-License-Identifier: Apache-2.0 */
/* omendb compress: a file of vectors or an index to a smaller file, and back. */
#include "cmd/compress.h"
#include "cmd/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME        "compress"
#define INTERRUPTED "interrupted; nothing was written"

/* ---- arguments ---- */

static bool take_bytes(const char *command, const cmd_option *option, const char *value, void *self)
{
    ((struct compress *)self)->lossy = true;
    return cmd_take_u32(command, option, value, self);
}

static const char *codec_at(size_t i)
{
    static const char *const names[] = {"auto", "pq", "rabitq", "sq8", "f16"};

    return i < sizeof names / sizeof names[0] ? names[i] : NULL;
}

static bool take_codec(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct compress *c = self;
    const char *name;

    for (size_t i = 0; (name = codec_at(i)) != NULL; i++) {
        if (strcmp(name, value) == 0) {
            c->codec = name;
            c->lossy = true;
            return true;
        }
    }
    return cmd_refuse_value(command, option, value);
}

/* The next digit of the level: -1 and -9 are -19 too, as zstd has it. */
static bool take_level(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct compress *c = self;
    const int level = (c->level < 0 ? 0 : c->level) * 10 + value[0] - '0';

    c->level = level > 1000 ? 1000 : level;
    return true;
}

static bool take_stdout(const char *command, const cmd_option *option, const char *value, void *self)
{
    ((struct compress *)self)->output = "-";
    return true;
}

static const cmd_option options[] = {
    {.group = "what to do",
     .letters = "d",
     .name = "decompress",
     CMD_FLAG(struct compress, decompress),
     .help = "give the original back"},
    {.letters = "b",
     .name = "bytes",
     .argument = "N",
     .take = take_bytes,
     .least = OMEN_MIN_BYTES,
     .most = OMEN_MAX_BYTES,
     .offset = CMD_OFFSET(struct compress, bytes, uint32_t),
     .help = "codes of N bytes a vector, %l to %m, from which -d reconstructs rows\n"
             "nearly (default without --codec: every bit is kept)"},
    {.name = "codec",
     .argument = "NAME",
     .take = take_codec,
     .values = codec_at,
     .help = "kind of codes: auto, pq, rabitq, sq8 or f16 (default auto: pq or rabitq,\n"
             "the smaller measured error)"},
    {CMD_OPTION_SEED(struct compress, seed, " of codes")},
    {.letters = "F",
     .name = "output-format",
     .argument = "NAME",
     CMD_TEXT(struct compress, out_format),
     .help = "format of reconstructed rows (default: by extension of the output), one\n"
             "of ",
     .names = omen_vectors_write_formats},
    {.letters = "0123456789",
     .shown = "-1 ... -19",
     .take = take_level,
     .usual = OMEN_OMZ_LEVEL_DEFAULT,
     .help = "level of zstd: faster ... smaller (default -%d)"},
    {.name = "long",
     CMD_FLAG(struct compress, is_long),
     .help = "find repetitions up to 32 MiB apart (takes about 100 MB a thread)"},
    {.name = "format", CMD_OPTION_FORMAT(struct compress, format, "INPUT") ", one of\n", .names = omen_vectors_formats},
    {CMD_OPTION_DIM(struct compress, d), .help = "dimensions of a row, needed for raw; elsewhere a check"},

    {.group = "files",
     .letters = "o",
     .name = "output",
     .argument = "FILE",
     CMD_TEXT(struct compress, output),
     .help = "default: INPUT.omz, with -d INPUT without .omz; \"-\": standard output,\n"
             "which is the default when INPUT is standard input"},
    {.letters = "c", .name = "stdout", .take = take_stdout, .help = "write to standard output"},
    {.letters = "f",
     .name = "force",
     CMD_FLAG(struct compress, force),
     .help = "replace an output that exists; write to a terminal"},
    {.name = "rm", CMD_FLAG(struct compress, remove), .help = "remove INPUT when the output is on disk and verified"},

    {.group = "work",
     CMD_OPTION_THREADS(struct compress, n_threads,
                        "; the output\n"
                        "does not depend on it")},

    {.group = "messages", CMD_OPTION_QUIET(struct compress, verbosity), .help = "no progress and no summary"},
    {CMD_OPTION_VERBOSE(struct compress, verbosity), .help = "say more on stderr"},
    {CMD_OPTION_JSON(struct compress, json), .help = "print a summary as one JSON object on stdout, none on stderr"},
    {CMD_OPTION_HELP},
};

const cmd_syntax cmd_compress_syntax = {
    .command = NAME,
    .usage = "usage: omendb compress [options] INPUT\n"
             "       omendb compress -d [options] INPUT.omz\n"
             "\n"
             "Compresses a file of vectors or an index to INPUT.omz, in blocks that are independent of one\n"
             "another; -d gives it back bit for bit. build and query read a compressed file like its\n"
             "original. INPUT \"-\" is standard input. The input is kept.\n",
    .notes = "examples:\n"
             "  omendb compress embeddings.npy                   writes embeddings.npy.omz\n"
             "  omendb compress -d embeddings.npy.omz            and back\n"
             "  omendb compress -b 32 -o small.omz embeddings.npy\n"
             "  omendb compress -c base.omen | ssh host 'cat >base.omen.omz'\n",
    .column = 23,
    .operands = CMD_FILES_INDEX | CMD_FILES_VECTORS,
    .options = options,
    .n_options = CMD_COUNT(options),
};

static int parse_arguments(struct compress *c, int argc, char **argv)
{
    const int status = cmd_options_parse(&cmd_compress_syntax, argc, argv, c);

    if (status != CMD_GO_ON)
        return status;
    const bool has_level = c->level >= 0;
    if (has_level && (c->level < 1 || c->level > OMEN_OMZ_LEVEL_MOST))
        return cmd_misuse(NAME, "the level is -1 to -%d", OMEN_OMZ_LEVEL_MOST);
    c->level = has_level ? c->level : OMEN_OMZ_LEVEL_DEFAULT;
    if (c->lossy && (c->decompress || has_level || c->is_long)) {
        return cmd_misuse(NAME, c->decompress ? "--bytes and --codec are for compressing"
                                              : "levels are for compressing without loss; codes are of --bytes");
    }
    if (c->lossy && c->bytes != 0 && (strcmp(c->codec, "sq8") == 0 || strcmp(c->codec, "f16") == 0))
        return cmd_misuse(NAME, "--bytes is for pq and rabitq; %s takes what it takes", c->codec);
    if (c->is_long && c->decompress)
        return cmd_misuse(NAME, "--long is for compressing");
    if (c->out_format && !c->decompress)
        return cmd_misuse(NAME, "--output-format is for --decompress");
    if (argc - optind < 1)
        return cmd_misuse(NAME, "no INPUT given; see \"omendb compress --help\"");
    if (argc - optind > 1)
        return cmd_misuse(NAME, "one INPUT at a time; \"%s\" is one too many", argv[optind + 1]);
    c->input = argv[optind];
    return CMD_GO_ON;
}

/* Settles the output. */
static int choose_output(struct compress *c)
{
    const bool from_stdin = cmd_is_stream(c->input);
    const size_t length = strlen(c->input), n_suffix = strlen(COMPRESS_SUFFIX);
    const bool has_suffix = length > n_suffix && strcmp(c->input + length - n_suffix, COMPRESS_SUFFIX) == 0;

    if (!from_stdin && omen_vectors_file_bytes(c->input) < length) {
        if (!c->lossy)
            return cmd_misuse(
                NAME, "\"%s\": without loss a file is compressed as a whole; --codec makes codes of a part", c->input);
        if (!c->output || c->remove)
            return cmd_misuse(NAME, c->remove ? "--rm would remove more than the part of the file that is read"
                                              : "name the output with --output");
    }
    if (!c->output && from_stdin) {
        c->output = "-";
    } else if (!c->output) {
        if (c->decompress && !has_suffix) {
            return cmd_misuse(NAME, "\"%s\" does not end in " COMPRESS_SUFFIX "; name the output with --output",
                              c->input);
        }
        const size_t n_kept = c->decompress ? length - n_suffix : omen_vectors_stem(c->input);
        if (asprintf(&c->default_output, "%.*s%s", (int)n_kept, c->input, c->decompress ? "" : COMPRESS_SUFFIX) < 0) {
            c->default_output = NULL;
            return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
        }
        c->output = c->default_output;
    }
    c->to_stdout = cmd_is_stream(c->output);
    if (c->to_stdout) {
        if (c->json)
            return cmd_misuse(NAME, "--json and the output cannot both go to standard output");
        if (c->remove)
            return cmd_misuse(NAME, "--rm needs an output file: what went to standard output cannot be verified");
        if (!c->force && isatty(STDOUT_FILENO))
            return cmd_misuse(NAME, "standard output is a terminal; name a file with --output, or insist with --force");
        return CMD_GO_ON;
    }
    if (c->output[0] == '\0')
        return cmd_misuse(NAME, "--output wants a file name");
    if (c->remove && from_stdin)
        return cmd_misuse(NAME, "--rm needs an input file");
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
    struct stat info;
    const int status = cmd_files_check(NAME, files, sizeof files / sizeof files[0]);

    if (status != CMD_GO_ON || c->to_stdout)
        return status;
    if (!c->decompress && cmd_check_extension(NAME, c->output, "omz", "a compressed file") != CMD_GO_ON)
        return CMD_EXIT_USAGE;
    bool exists = lstat(c->output, &info) == 0;
    if (exists && S_ISLNK(info.st_mode) && stat(c->output, &info) != 0)
        lstat(c->output, &info); /* a link to nothing is there all the same */
    if (exists && S_ISDIR(info.st_mode))
        return cmd_misuse(NAME, "\"%s\" is not a regular file", c->output);
    /* what has no contents to lose needs no --force */
    const bool is_kept = omen_file_descriptor(c->output) >= 0 ||
                         (exists && (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode) || S_ISSOCK(info.st_mode)));
    if (c->remove && (is_kept || (exists && S_ISBLK(info.st_mode))))
        return cmd_misuse(NAME, "--rm needs an output file: what went to \"%s\" cannot be verified", c->output);
    if (exists && !is_kept && !c->force)
        return cmd_misuse(NAME, "\"%s\" exists; replace it with --force", c->output);
    return CMD_GO_ON;
}

/* ---- the work ---- */

/* Opens a compressed file. A stream is copied, since it has to be mapped. */
static int open_packed(struct compress *c, omen_container **container, omen_detail *why)
{
    const bool is_standard = cmd_is_stream(c->input);
    int fd = is_standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(c->input, O_RDONLY | O_CLOEXEC | O_NOCTTY),
        status = OMEN_OK;
    char label[300] = "standard input";

    if (!is_standard)
        snprintf(label, sizeof label, "\"%.290s\"", c->input);
    if (fd < 0 || fstat(fd, &c->status) != 0)
        status = omen_fail(why, OMEN_ERR_IO, "cannot open %s: %s", label, strerror(errno));
    else if (is_standard || (!S_ISREG(c->status.st_mode) && !S_ISDIR(c->status.st_mode)))
        status = omen_stream_spool(&fd, label, NULL, 0, why);
    if (status == OMEN_OK)
        status = omen_container_open_fd(container, fd, is_standard ? label : c->input, why);
    if (fd >= 0)
        close(fd);
    return status;
}

static int decompress(struct compress *c, omen_detail *why)
{
    size_t n;
    omen_container *container = NULL;
    int status = open_packed(c, &container, why);

    if (status == OMEN_OK) {
        const omen_section *sections = omen_container_sections(container, &n);
        status = omen_codes_are(sections, n) ? compress_unpack_codes(c, container, why)
                                             : compress_unpack_original(c, container, why);
    }
    omen_container_close(container);
    return status;
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

static int tell(const struct compress *c)
{
    const double in = (double)c->in_bytes, out = (double)c->out_bytes;
    const double ratio = c->decompress ? out / in : in / out;
    const double rate = (c->decompress ? out : in) / c->seconds / 1e6;

    if (c->json) {
        return cmd_json_print(NAME,
                              json_pack("{s:o, s:o, s:s, s:I, s:I, s:o, s:o, s:o, s:o}", "input",
                                        cmd_json_text(c->input), "output", cmd_json_text(c->output), "content",
                                        c->content, "input_bytes", (json_int_t)c->in_bytes, "output_bytes",
                                        (json_int_t)c->out_bytes, "ratio", cmd_json_real(ratio), "seconds",
                                        cmd_json_real(c->seconds), "mb_per_second", cmd_json_real(rate), "codes",
                                        c->lossy ? compress_account_object(c) : json_null()),
                              stdout);
    }
    if (c->verbosity >= 0) {
        fprintf(stderr, "%s: %s, %s -> %s bytes (ratio %.3f), %.2f s, %.0f MB/s\n", cmd_printable(c->input).text,
                c->content, cmd_group(c->in_bytes).text, cmd_group(c->out_bytes).text, ratio, c->seconds, rate);
        if (c->lossy)
            compress_tell_account(c);
    }
    return CMD_EXIT_OK;
}

int cmd_compress(int argc, char **argv)
{
    struct compress c = {.level = -1, .codec = "auto"};
    omen_detail why = {.text = ""};
    int status = parse_arguments(&c, argc, argv);

    if (status == CMD_GO_ON)
        status = choose_output(&c);
    if (status == CMD_GO_ON)
        status = check_files(&c);
    if (status != CMD_GO_ON) {
        free(c.default_output);
        return status;
    }
    cmd_progress_init(&c.progress, c.verbosity);
    cmd_progress_update(&c.progress, "read", 0, 0);
    /* what is half-made goes with the process, which a signal ends at once */
    cmd_signals_exit(NAME, INTERRUPTED);
    c.started = cmd_seconds();
    if (c.lossy || c.remove) /* lossless packing has its own threads; only reading back needs OpenMP's */
        c.n_threads = cmd_threads(c.verbosity < 0 ? NULL : NAME, c.n_threads);
    status = c.decompress ? decompress(&c, &why)
             : c.lossy    ? compress_write_codes(&c, &why)
                          : compress_write_original(&c, &why);
    if (status == OMEN_OK)
        cmd_signals_note(); /* it is there: what is left takes no time */
    if (!c.lossy)
        c.seconds = cmd_seconds() - c.started;
    cmd_progress_clear(&c.progress);
    if (status == OMEN_OK && c.like_error != 0)
        cmd_say(NAME, "warning: mode and time of \"%s\" could not be copied: %s", c.input, strerror(c.like_error));
    if (status == OMEN_OK && c.remove)
        status = remove_input(&c, &why);
    status = status == OMEN_OK ? tell(&c) : cmd_fail(NAME, status, &why);
    free(c.default_output);
    return status;
}
