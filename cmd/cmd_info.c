/* SPDX-License-Identifier: Apache-2.0 */
/* omendb info: what a file is. */
#include "cmd/info.h"
#include "cmd/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME "info"

/* What was found of one file. Starts zeroed. */
struct file {
    const char *path;
    struct info_vectors vectors;
    struct info_index index;
    struct info_checkpoint checkpoint;
    struct info_hdf5 hdf5;
    bool has_vectors, has_index, has_checkpoint, has_datasets;
    /* of a compressed file */
    bool is_compressed, holds_index;
    uint64_t n_bytes, n_original_bytes, checksum;
    uint32_t major, minor;
};

/* ---- arguments ---- */

static const cmd_option options[] = {
    {.group = "what to look at",
     .name = "full",
     CMD_FLAG(struct info, full),
     .help = "look at all of every file (default: of vectors beyond 256 MiB, 65,536 rows\n"
             "spread over them; no column, compressed file or checkpoint beyond that)"},
    {.letters = "f",
     .name = "format",
     CMD_OPTION_FORMAT(struct info, format, "vectors") ", one of\n",
     .names = omen_vectors_formats},
    {.letters = "d", CMD_OPTION_DIM(struct info, d), .help = "dimensions of a row, needed for raw; elsewhere a check"},

    {.group = "messages",
     .letters = "v",
     .name = "verbose",
     CMD_FLAG(struct info, verbose),
     .help = "list every recall that the build measured an effort for"},
    {CMD_OPTION_JSON(struct info, json), .help = "print one JSON object on stdout"},
    {CMD_OPTION_HELP},
};

const cmd_syntax cmd_info_syntax = {
    .command = NAME,
    .usage = "usage: omendb info [options] FILE...\n"
             "\n"
             "Tells what files hold: vectors (\"-\": standard input), an index, a compressed file, a model, a\n"
             "shard, or the checkpoint of a build or of query --self.\n",
    .notes = "exit codes: 0 all told, 2 a file that is none of these or cannot be used, 3 a corrupt one,\n"
             "4 one that cannot be opened or read; of several the highest, and the others are told\n"
             "\n"
             "examples:\n"
             "  omendb info base.fvecs base.omen\n"
             "  omendb info --full --json embeddings.npy\n",
    .column = 20,
    .operands = CMD_FILES_ANY,
    .options = options,
    .n_options = CMD_COUNT(options),
};

/* ---- one file ---- */

/* What a compressed file says of itself, and of what is inside, if that is small enough. */
static int read_compressed(struct info *info, struct file *f, omen_container *container, omen_detail *why)
{
    omen_omz *omz = NULL;
    int status = omen_omz_open(&omz, container, why);

    f->is_compressed = true;
    f->n_bytes = omen_container_file_bytes(container);
    f->checksum = omen_container_checksum(container);
    omen_container_version(container, &f->major, &f->minor);
    if (status == OMEN_OK) {
        f->n_original_bytes = omen_omz_original_bytes(omz);
        f->holds_index = omen_omz_holds_index(omz);
    }
    omen_omz_close(omz);
    if (status == OMEN_OK && (info->full || f->n_original_bytes <= INFO_BYTES)) {
        if (f->holds_index) {
            status = omen_omz_unpack_container(&container, f->path, cmd_memory_free_bytes(), why);
            f->has_index = status == OMEN_OK;
        } else {
            status = info_vectors_read(info, f->path, &f->vectors, why);
            f->has_vectors = status == OMEN_OK;
        }
    }
    if (f->has_index)
        return info_index_read(info, f->path, container, &f->index, why);
    omen_container_close(container);
    return status;
}

/* Named like a file that only omendb makes. */
static bool is_named_ours(const char *path)
{
    const cmd_text extension = cmd_extension(path);

    return strcmp(extension.text, "omen") == 0 || strcmp(extension.text, "omz") == 0;
}

static int read_file(struct info *info, struct file *f, omen_detail *why)
{
    omen_container *container = NULL;
    struct stat named = {.st_mode = 0};
    int status = OMEN_ERR_INPUT;

    if (!cmd_is_stream(f->path) && stat(f->path, &named) != 0 && errno != ENOENT && errno != ENOTDIR)
        return omen_fail(why, OMEN_ERR_IO, "cannot examine \"%s\": %s", f->path, strerror(errno));
    if (S_ISDIR(named.st_mode))
        return omen_fail(why, OMEN_ERR_IO, "\"%s\" is a directory: name files in it", f->path);
    if (S_ISCHR(named.st_mode) || S_ISBLK(named.st_mode)) /* which may have no end */
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is a device: name a file or a pipe", f->path);
    /* what is no regular file can only be vectors: a stream, or a name of a part of a file */
    if (S_ISREG(named.st_mode) && (named.st_size > 0 || is_named_ours(f->path))) {
        status = omen_container_open(&container, f->path, why);
        if (status == OMEN_OK && omen_omz_is(container))
            return read_compressed(info, f, container, why);
        if (status == OMEN_OK) {
            f->has_index = true;
            return info_index_read(info, f->path, container, &f->index, why);
        }
        if (status == OMEN_ERR_INPUT && is_named_ours(f->path))
            return status;
        if (status == OMEN_ERR_INPUT)
            status = info_checkpoint_read(info, f->path, &f->checkpoint, why);
        f->has_checkpoint = status == OMEN_OK;
    }
    if (status != OMEN_ERR_INPUT)
        return status;
    why->text[0] = '\0'; /* what it is not is of no interest */
    if (S_ISREG(named.st_mode) && named.st_size > 0) {
        status = info_hdf5_read(f->path, &f->hdf5, &f->has_datasets, why);
        if (status != OMEN_OK || (f->has_datasets && (f->hdf5.n_of_rows != 1 || !f->hdf5.is_all)))
            return status;
    }
    status = info_vectors_read(info, f->path, &f->vectors, why);
    f->has_vectors = status == OMEN_OK;
    return status;
}

static void print_file(const struct info *info, const struct file *f)
{
    printf("%s\n", cmd_printable(f->path).text);
    if (f->is_compressed) {
        printf("  packed   %s, %s bytes of %s bytes, version %u.%u, checksum %016llx%s\n",
               f->holds_index ? "an index" : "vectors", cmd_group(f->n_bytes).text, cmd_group(f->n_original_bytes).text,
               f->major, f->minor, (unsigned long long)f->checksum,
               f->has_index || f->has_vectors ? "" : "; --full looks inside");
    }
    if (f->has_datasets)
        info_hdf5_print(&f->hdf5);
    if (f->has_vectors)
        info_vectors_print(&f->vectors);
    if (f->has_index)
        info_index_print(info, &f->index);
    if (f->has_checkpoint)
        info_checkpoint_print(&f->checkpoint);
}

static json_t *compressed_object(const struct file *f)
{
    char version[24], checksum[24];

    snprintf(version, sizeof version, "%u.%u", f->major, f->minor);
    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)f->checksum);
    return json_pack("{s:s, s:s, s:s, s:I, s:I}", "version", version, "checksum", checksum, "holds",
                     f->holds_index ? "index" : "vectors", "bytes", (json_int_t)f->n_bytes, "original_bytes",
                     (json_int_t)f->n_original_bytes);
}

/* error: what went wrong, or NULL. */
static json_t *file_object(const struct file *f, const char *error)
{
    const bool good = !error;

    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "file", cmd_json_text(f->path), "error",
                     error ? cmd_json_text(error) : json_null(), "compressed",
                     good && f->is_compressed ? compressed_object(f) : json_null(), "datasets",
                     good && f->has_datasets ? info_hdf5_object(&f->hdf5) : json_null(), "vectors",
                     good && f->has_vectors ? info_vectors_object(&f->vectors) : json_null(), "index",
                     good && f->has_index ? info_index_object(&f->index) : json_null(), "checkpoint",
                     good && f->has_checkpoint ? info_checkpoint_object(&f->checkpoint) : json_null());
}

/* Tells of one file; a failure goes to standard error, and with --json into the array too. Returns an exit code. */
static int tell_file(struct info *info, const char *path, json_t *files)
{
    struct file f = {.path = path};
    omen_detail why = {.text = ""};
    int status = read_file(info, &f, &why), code = CMD_EXIT_OK;

    if (status != OMEN_OK)
        code = cmd_fail(NAME, status, &why);
    else if (!files)
        print_file(info, &f);
    if (files && json_array_append_new(files, file_object(&f, status == OMEN_OK ? NULL : cmd_cause(status, &why))) != 0)
        code = cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
    info_index_finish(&f.index);
    info_hdf5_finish(&f.hdf5);
    return code;
}

static int check_files(char **paths, size_t n)
{
    cmd_file *files = calloc(n + 1, sizeof *files);

    if (!files)
        return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
    for (size_t i = 0; i < n; i++)
        files[i] = (cmd_file){.role = "FILE", .path = paths[i]};
    files[n] = (cmd_file){.path = "-", .is_output = true};
    const int status = cmd_files_check(NAME, files, n + 1);
    free(files);
    return status;
}

int cmd_info(int argc, char **argv)
{
    struct info info = {.full = false};
    omen_detail why = {.text = ""};
    json_t *files = NULL;
    int n_streams = 0, worst = cmd_options_parse(&cmd_info_syntax, argc, argv, &info);

    if (worst != CMD_GO_ON)
        return worst;
    if (argc - optind < 1)
        return cmd_misuse(NAME, "no FILE given; see \"omendb info --help\"");
    for (int i = optind; i < argc; i++)
        n_streams += cmd_is_stream(argv[i]);
    if (n_streams > 1)
        return cmd_misuse(NAME, "standard input can be one FILE only");
    worst = check_files(argv + optind, (size_t)(argc - optind));
    if (worst != CMD_GO_ON)
        return worst;
    if (info.json && !(files = json_array()))
        return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
    cmd_signals_exit(NAME, "interrupted");
    cmd_progress_init(&info.progress, 0);
    worst = CMD_EXIT_OK;
    for (int i = optind; i < argc; i++) {
        const int status = tell_file(&info, argv[i], files);

        worst = status > worst ? status : worst;
        /* as each is found; if the reader went away, the rest is not needed */
        if (fflush(stdout) != 0) {
            json_decref(files);
            return cmd_fail(NAME, omen_fail(&why, OMEN_ERR_IO, "cannot write to standard output: %m"), &why);
        }
    }
    if (info.json) {
        const int status = cmd_json_print(NAME, json_pack("{s:o}", "files", files), stdout);
        worst = status > worst ? status : worst;
    }
    return worst;
}
