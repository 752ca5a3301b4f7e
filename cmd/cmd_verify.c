/* SPDX-License-Identifier: Apache-2.0 */
/* omendb verify: is every byte of an index what the build wrote, and does it hold its source? */
#include "cmd/options.h"
#include "cmd/verify_records.h"

#include <stdio.h>
#include <string.h>

#include "formats/key_source.h"

#define NAME "verify"

enum mode { MODE_QUICK, MODE_FULL, MODE_SOURCE };

static const char *const mode_names[] = {"quick", "full", "source"};

struct verify {
    enum mode mode;
    omen_paths source;  /* MODE_SOURCE only */
    const char *list;   /* that names it; NULL: --source does */
    const char *model;  /* of shards; NULL: they are not encoded again */
    const char *format; /* of the source */
    uint32_t d;
    cmd_columns columns; /* to compare with */
    cmd_key key;         /* likewise */
    int n_threads;
    bool json, quiet;
    cmd_progress progress;
};

/* One index while it is verified. */
struct check {
    const struct verify *options;
    cmd_progress *progress;
    const char *path;
    const char *verdict; /* what a fault line says */
    uint64_t n_faults;
    json_t *faults; /* NULL without --json */
    bool no_memory; /* for a JSON fault */
    omen_index_info info;
    size_t n_sections;
    uint64_t file_bytes;     /* 0: could not be opened */
    uint64_t original_bytes; /* of a compressed file, else 0 */
    bool holds_vectors;      /* a compressed file of vectors, not an index */
    bool is_records;         /* a model or a shard, not an index: */
    struct verify_records records;
};

/* ---- arguments ---- */

static bool take_quick(const char *command, const cmd_option *option, const char *value, void *self)
{
    ((struct verify *)self)->mode = MODE_QUICK;
    return true;
}

static bool take_full(const char *command, const cmd_option *option, const char *value, void *self)
{
    ((struct verify *)self)->mode = MODE_FULL;
    return true;
}

/* One more input of the source. */
static bool take_source(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct verify *v = self;
    omen_detail why = {.text = ""};
    const int status = omen_paths_add(&v->source, value, strlen(value), &why);

    if (status != OMEN_OK)
        cmd_fail(command, status, &why);
    return status == OMEN_OK;
}

static const cmd_option options[] = {
    {.group = "what to check",
     .name = "quick",
     .take = take_quick,
     .help = "header, trailer, section table, lengths and bounds: instant on any size,\n"
             "finds every truncation"},
    {.name = "full", .take = take_full, .help = "also the checksum of every block, then the structure (default)"},
    {.name = "source",
     .argument = "FILE",
     .files = CMD_FILES_VECTORS,
     .take = take_source,
     .help = "also that the index holds the vectors in FILE (\"-\": standard input; or\n"
             "a directory), or in several, in the order given; without a refine tier\n"
             "only the numbers of rows and dimensions can be compared"},
    {.name = "inputs",
     .argument = "LIST",
     .files = CMD_FILES_ANY,
     CMD_TEXT(struct verify, list),
     .help = "the same of the files that LIST names, one path a line"},
    {.name = "model",
     .argument = "FILE",
     CMD_TEXT(struct verify, model),
     .help = "also that shards were encoded with this model, and that a model is this\n"
             "one, of which an index says nothing; with a source, all of the shards'\n"
             "rows are encoded again, and have to become the same bytes"},
    {.letters = "f",
     .name = "format",
     CMD_OPTION_FORMAT(struct verify, format, "the source") ", one of\n",
     .names = omen_vectors_formats},
    {.letters = "d",
     CMD_OPTION_DIM(struct verify, d),
     .help = "dimensions of a source row (default for raw: those of the index)"},

    {.group = "that columns, all of them, and keys are those of these files",
     .name = "columns",
     .argument = "FILE",
     CMD_TEXT(struct verify, columns.paths.table),
     .help = "the table that they were built from: tsv or csv with a header, or jsonl,\n"
             "a row a line"},
    {.name = "column-types",
     .argument = "LIST",
     CMD_TEXT(struct verify, columns.paths.types),
     .help = "the types that were given for the table, such as price:float32"},
    {.name = "column",
     .argument = "NAME=FILE",
     CMD_TAKE(cmd_take_column, struct verify, columns, cmd_columns),
     .help = "a column that was built from an npy array; any number of times"},
    {.name = "tags",
     .argument = "FILE",
     CMD_TEXT(struct verify, columns.paths.tags),
     .help = "the tags: spmat, or text with a line of words a row"},
    {CMD_OPTION_KEY(struct verify, key, "the keys of the rows, as for build:\n")},

    {.group = "work and messages", CMD_OPTION_THREADS(struct verify, n_threads, "")},
    {CMD_OPTION_JSON(struct verify, json), .help = "print one JSON object on stdout"},
    {.letters = "q", .name = "quiet", CMD_FLAG(struct verify, quiet), .help = "print faults only"},
    {CMD_OPTION_HELP},
};

const cmd_syntax cmd_verify_syntax = {
    .command = NAME,
    .usage = "usage: omendb verify [options] INDEX...\n"
             "\n"
             "Checks index files, models and shards, and prints one line for each that is sound, or one for\n"
             "each fault.\n",
    .notes = "exit codes: 0 all sound, 2 no index (a file of vectors, a pipe, a device), 3 an index is\n"
             "corrupt or differs from its source, 4 a file cannot be opened or read; of several the highest\n"
             "\n"
             "examples:\n"
             "  omendb verify --quick *.omen\n"
             "  omendb verify --source base.fvecs base.omen\n"
             "  omendb verify --columns shop.tsv --key :sku shop.omen\n"
             "  omendb verify --model m.model --inputs list.txt parts/*.shard\n",
    .column = 21,
    .operands = CMD_FILES_INDEX,
    .options = options,
    .n_options = CMD_COUNT(options),
};

/* Of --columns, --column, --tags and --key, how many are standard input. */
static size_t n_other_streams(const struct verify *v)
{
    return cmd_columns_streams(&v->columns) + cmd_is_stream(v->key.path);
}

static int fail_streams(void)
{
    return cmd_misuse(NAME, "standard input can be one of --source, --columns, --column, --tags and --key only");
}

/* Finds the files of the source, of which standard input is read once. */
static int find_source(struct verify *v, int n_indexes)
{
    omen_detail why = {.text = ""};
    const int status =
        v->list ? omen_paths_read(&v->source, v->list, &why) : omen_paths_expand(&v->source, v->format, &why);
    const size_t n_streams = cmd_inputs_streams(&v->source);

    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    if (cmd_is_stream(v->list) + n_streams + n_other_streams(v) > 1)
        return fail_streams();
    if (n_streams > 0 && n_indexes > 1)
        return cmd_misuse(NAME, "standard input can be the source of one INDEX only");
    return CMD_GO_ON;
}

static int parse_arguments(struct verify *v, int argc, char **argv)
{
    const int status = cmd_options_parse(&cmd_verify_syntax, argc, argv, v);

    if (status != CMD_GO_ON)
        return status;
    if (argc - optind < 1)
        return cmd_misuse(NAME, "no INDEX given; see \"omendb verify --help\"");
    int misused = cmd_columns_check(NAME, &v->columns);
    if (misused == CMD_GO_ON)
        misused = cmd_key_find(NAME, &v->key, &v->columns);
    if (misused != CMD_GO_ON)
        return misused;
    if (v->mode == MODE_QUICK && (cmd_columns_are_given(&v->columns) || v->key.value))
        return cmd_misuse(NAME, "--columns, --column, --tags and --key need the full check; drop --quick");
    if (n_other_streams(v) > 1)
        return fail_streams();
    if (n_other_streams(v) > 0 && argc - optind > 1)
        return cmd_misuse(NAME, "standard input can be compared with one INDEX only");
    if (v->source.n == 0 && !v->list) {
        if (v->format || v->d != 0)
            return cmd_misuse(NAME, "--format and --dim describe the source: name it with --source");
        return CMD_GO_ON;
    }
    if (v->source.n > 0 && v->list)
        return cmd_misuse(NAME, "--source and --inputs both name the source: choose one");
    if (v->mode == MODE_QUICK)
        return cmd_misuse(NAME, "--%s needs the full check; drop --quick", v->list ? "inputs" : "source");
    v->mode = MODE_SOURCE;
    return find_source(v, argc - optind);
}

/* The verdicts must not go into a file that is verified. */
static int check_files(const struct verify *v, char **paths, int n)
{
    int status = CMD_GO_ON;

    for (int i = 0; i < n && status == CMD_GO_ON; i++) {
        cmd_file files[5 + CMD_COLUMNS_FILES] = {
            {.role = "--model", .path = v->model}, {.role = "INDEX", .path = paths[i]},
            {.role = "--inputs", .path = v->list}, {.role = "--key", .path = v->key.path},
            {.path = "-", .is_output = true},
        };
        size_t n_files = 5;

        cmd_columns_list(&v->columns, files, &n_files);
        status = cmd_inputs_check(NAME, &v->source, "--source", files, n_files);
    }
    return status;
}

/* ---- faults ---- */

/* A fault, as a line or as an object. section may be NULL; without a byte range n_bytes is 0. */
static void add_fault(struct check *check, const char *section, uint64_t first, uint64_t n_bytes, const char *text)
{
    check->n_faults++;
    if (check->faults) {
        json_t *fault =
            json_pack("{s:o, s:o, s:o, s:o}", "section", section ? cmd_json_text(section) : json_null(), "first",
                      n_bytes > 0 ? json_integer((json_int_t)first) : json_null(), "bytes",
                      n_bytes > 0 ? json_integer((json_int_t)n_bytes) : json_null(), "text", cmd_json_text(text));

        if (json_array_append_new(check->faults, fault) != 0)
            check->no_memory = true;
        return;
    }
    cmd_progress_clear(check->progress);
    printf("%s: %s: ", cmd_printable(check->path).text, check->verdict);
    if (section)
        printf("section %s%s", section, n_bytes > 0 ? ", " : ": ");
    if (n_bytes > 0)
        printf("bytes %llu-%llu: ", (unsigned long long)first, (unsigned long long)(first + n_bytes));
    printf("%s\n", cmd_printable(text).text);
}

/* Shows which step of the work goes on; that takes no part in it. */
static void show_step(struct check *check, const char *step)
{
    cmd_progress_update(check->progress, step, 0, 0);
}

static void on_damage(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text)
{
    add_fault(context, section, first, n_bytes, text);
}

static void on_fault(void *context, const char *section, const char *text)
{
    add_fault(context, section, 0, 0, text);
}

/* The line begins with the file's name already: drops "PATH" is damaged: and the like. */
static const char *without_path(const char *path, const char *text)
{
    static const char *const openings[] = {"is ", "damaged: "};
    size_t length = strlen(path);

    if (text[0] != '"' || strncmp(text + 1, path, length) != 0 || strncmp(text + 1 + length, "\" ", 2) != 0)
        return text;
    text += length + 3;
    for (size_t i = 0; i < sizeof openings / sizeof openings[0]; i++)
        if (strncmp(text, openings[i], strlen(openings[i])) == 0)
            text += strlen(openings[i]);
    return text;
}

/* ---- the work ---- */

/* What a comparison with other files came to, as an OMEN_ code; a fault of these files goes to stderr and, as the exit
 * code to use, to source_exit. n_before: faults of the index before it. */
static int settle(struct check *check, uint64_t n_before, int status, int *source_exit, omen_detail *why)
{
    cmd_progress_clear(check->progress);
    if (status == OMEN_OK || (status == OMEN_ERR_CORRUPT && check->n_faults > n_before))
        return status;
    *source_exit = cmd_fail(NAME, status, why);
    return OMEN_OK;
}

/* Compares with the source, as settle() has it. */
static int check_source(struct check *check, const omen_index *index, int *source_exit, omen_detail *why)
{
    const struct verify *v = check->options;
    omen_vectors *vectors = NULL;
    omen_source source;
    uint64_t n_before = check->n_faults;
    int status;

    show_step(check, "source");
    status = cmd_open_inputs(&vectors, &v->source, v->format, v->d, check->info.d, why);
    if (status == OMEN_OK) {
        source = omen_vectors_source(vectors);
        check->verdict = "differs from its source";
        status = omen_index_check_source(index, &source, on_fault, check, why);
    }
    omen_vectors_close(vectors);
    if (status == OMEN_ERR_UNSUPPORTED && check->info.refine == OMEN_REFINE_NONE) {
        cmd_progress_clear(check->progress);
        if (!v->quiet)
            cmd_say(NAME, "%s has no refine tier: only rows and dimensions were counted", check->path);
        return check->n_faults > n_before ? OMEN_ERR_CORRUPT : OMEN_OK;
    }
    return settle(check, n_before, status, source_exit, why);
}

/* Compares with the files of columns, likewise. */
static int check_columns(struct check *check, const omen_index *index, int *source_exit, omen_detail *why)
{
    cmd_columns files = check->options->columns;
    const uint64_t n_before = check->n_faults;
    omen_columns *columns = NULL;

    show_step(check, "columns");
    int status =
        omen_columns_read(&columns, cmd_columns_paths(&files), check->info.n_rows, cmd_memory_free_bytes(), why);

    if (status == OMEN_OK) {
        check->verdict = "differs from its columns";
        status = omen_index_check_columns(index, columns, on_fault, check, why);
    }
    omen_columns_destroy(columns);
    return settle(check, n_before, status, source_exit, why);
}

/* Compares with the file of keys, likewise. Whether rows share keys follows from the keys. */
static int check_keys(struct check *check, const omen_index *index, int *source_exit, omen_detail *why)
{
    cmd_columns files = check->options->columns;
    const omen_key_source source = {.path = check->options->key.path,
                                    .column = check->options->key.column,
                                    .columns = cmd_columns_paths(&files),
                                    .allow_duplicates = true};
    const uint64_t n_before = check->n_faults;
    omen_row_keys *keys = NULL;

    show_step(check, "keys");
    int status = omen_row_keys_read_of(&keys, &source, check->info.n_rows, cmd_memory_free_bytes(),
                                       check->options->n_threads, why);

    if (status == OMEN_OK) {
        check->verdict = "differs from its keys";
        status = omen_index_check_keys(index, keys, on_fault, check, why);
    }
    omen_row_keys_destroy(keys);
    return settle(check, n_before, status, source_exit, why);
}

/* Tells of all that a file is to be compared with and has nothing of. what: the vectors or codes that it holds; NULL:
 * its source was seen to. */
static int check_others(struct check *check, const char *what)
{
    const struct verify *v = check->options;
    const uint64_t n_before = check->n_faults;
    char text[100];

    if (what && v->mode == MODE_SOURCE) {
        snprintf(text, sizeof text, "it holds %s, not an index of the source", what);
        add_fault(check, NULL, 0, 0, text);
    }
    if (cmd_columns_are_given(&v->columns)) {
        check->verdict = "differs from its columns";
        add_fault(check, NULL, 0, 0, "it has no columns");
    }
    if (v->key.value) {
        check->verdict = "differs from its keys";
        add_fault(check, NULL, 0, 0, "it has no keys");
    }
    return check->n_faults > n_before ? OMEN_ERR_CORRUPT : OMEN_OK;
}

/* A compressed file: every block, and the index inside, if it is one, which takes the container's place. */
static int check_compressed(struct check *check, omen_container **container, omen_detail *why)
{
    const struct verify *v = check->options;
    omen_omz *omz = NULL;
    int status = omen_omz_open(&omz, *container, why);

    if (status == OMEN_OK) {
        check->original_bytes = omen_omz_original_bytes(omz);
        check->holds_vectors = !omen_omz_holds_index(omz);
        if (v->mode != MODE_QUICK)
            status = omen_omz_check(omz, v->n_threads, on_damage, check);
    }
    omen_omz_close(omz);
    if (status == OMEN_OK && !check->holds_vectors && v->mode != MODE_QUICK)
        status = omen_omz_unpack_container(container, check->path, cmd_memory_free_bytes(), why);
    return status;
}

/* Codes without lists: that they open, which checks every count and bound, and what that leaves. */
static int check_codes(struct check *check, const omen_section *sections, size_t n_sections, omen_detail *why)
{
    omen_codes *codes = NULL;
    int status = omen_codes_open(&codes, sections, n_sections, why);

    if (status == OMEN_OK) {
        check->info.struct_bytes = sizeof check->info;
        status = omen_codes_get_info(codes, &check->info);
        if (status == OMEN_OK && check->options->mode != MODE_QUICK)
            status = omen_codes_check(codes, on_fault, check);
        if (status == OMEN_OK)
            status = check_others(check, "codes");
    }
    omen_codes_close(codes);
    return status;
}

/* A model or a shard, that is no index. */
static int check_records(struct check *check, int *source_exit, omen_detail *why)
{
    const struct verify *v = check->options;
    struct verify_records *r = &check->records;
    bool is_source;

    *r = (struct verify_records){.path = check->path,
                                 .is_quick = v->mode == MODE_QUICK,
                                 .source = &v->source,
                                 .format = v->format,
                                 .d = v->d,
                                 .model = v->model,
                                 .n_threads = v->n_threads,
                                 .progress = check->progress,
                                 .fault = on_fault,
                                 .context = check,
                                 .verdict = &check->verdict};
    int status = verify_records_check(r, &is_source, why);
    check->is_records = status != OMEN_ERR_INPUT || is_source;
    if (!check->is_records)
        return status;
    check->file_bytes = r->n_bytes;
    check->info.n_rows = r->is_shard ? r->shard.n : r->build.n_rows;
    check->info.d = r->build.d;
    if (is_source && check->n_faults == 0) {
        *source_exit = cmd_fail(NAME, status, why);
        status = OMEN_OK;
    }
    return status == OMEN_OK ? check_others(check, NULL) : status;
}

/* All that the mode asks for. Returns an exit code. */
static int check_index(struct check *check)
{
    const struct verify *v = check->options;
    omen_detail why = {.text = ""};
    omen_container *container = NULL;
    omen_index *index = NULL;
    const omen_section *sections;
    size_t n_sections;
    int source_exit = CMD_EXIT_OK;
    int status;

    show_step(check, "checksums");
    status = omen_container_open(&container, check->path, &why);
    if (status == OMEN_ERR_INPUT) {
        omen_detail other = {.text = ""};
        const int code = check_records(check, &source_exit, &other);
        if (check->is_records) {
            status = code;
            why = other;
            goto out;
        }
    }
    if (status == OMEN_OK && v->model) {
        status = omen_fail(&why, OMEN_ERR_ARGUMENT,
                           "\"%.300s\" is neither a model nor a shard, and --model is compared with these only; "
                           "--source compares an index with its rows",
                           check->path);
        goto out;
    }
    if (status == OMEN_OK) {
        check->file_bytes = omen_container_file_bytes(container);
        omen_container_sections(container, &check->n_sections);
        /* Before the structure is trusted, so that damage is reported as damage, with its place. */
        if (v->mode != MODE_QUICK) {
            omen_detail unreadable = {.text = ""};
            status = omen_container_check(container, v->n_threads, on_damage, check, &unreadable);
            if (status == OMEN_ERR_IO)
                status = omen_fail(&why, status, "\"%s\": %.400s", check->path, unreadable.text);
        }
    }
    if (status == OMEN_OK && omen_omz_is(container)) {
        status = check_compressed(check, &container, &why);
        if (check->holds_vectors && status == OMEN_OK)
            status = check_others(check, "vectors");
        if (check->holds_vectors || v->mode == MODE_QUICK || status != OMEN_OK)
            goto out;
    }
    if (status == OMEN_OK) {
        sections = omen_container_sections(container, &n_sections);
        if (omen_codes_are(sections, n_sections) && !omen_omz_is(container)) {
            status = check_codes(check, sections, n_sections, &why);
            goto out;
        }
        status = omen_index_open(&index, sections, n_sections, &why);
    }
    if (status == OMEN_OK) {
        check->info.struct_bytes = sizeof check->info;
        status = omen_index_get_info(index, &check->info);
        show_step(check, "contents");
        if (status == OMEN_OK && v->mode != MODE_QUICK)
            status = omen_index_check(index, on_fault, check);
    }
    if (status == OMEN_OK && v->mode == MODE_SOURCE)
        status = check_source(check, index, &source_exit, &why);
    if (status == OMEN_OK && source_exit == CMD_EXIT_OK && cmd_columns_are_given(&v->columns))
        status = check_columns(check, index, &source_exit, &why);
    if (status == OMEN_OK && source_exit == CMD_EXIT_OK && v->key.value)
        status = check_keys(check, index, &source_exit, &why);
out:
    omen_index_close(index);
    omen_container_close(container);
    cmd_progress_clear(check->progress);

    switch (status) {
    case OMEN_OK:
        return source_exit;
    case OMEN_ERR_IO:
    case OMEN_ERR_MEMORY:
    case OMEN_ERR_ARGUMENT: /* nothing that could be an index: whether it holds one is not known */
        return cmd_fail(NAME, status, &why);
    case OMEN_ERR_INPUT:
        if (check->file_bytes == 0 && cmd_name_vectors(check->path, &why))
            return cmd_fail(NAME, status, &why);
        /* fall through */
    default:
        if (check->n_faults == 0) {
            check->verdict = status == OMEN_ERR_UNSUPPORTED ? "unsupported" : "corrupt";
            add_fault(check, NULL, 0, 0, without_path(check->path, cmd_cause(status, &why)));
        }
        return CMD_EXIT_CORRUPT;
    }
}

static json_t *index_object(const struct check *check, int exit_code)
{
    bool known = check->info.d > 0;

    if (check->no_memory)
        return NULL;
    const struct verify_records *r = &check->records;
    return json_pack("{s:o, s:s?, s:o, s:b, s:s, s:o, s:o, s:o, s:o, s:O}", "file", cmd_json_text(check->path), "kind",
                     !check->is_records ? "index"
                     : r->is_shard      ? "shard"
                     : r->is_model      ? "model"
                                        : NULL,
                     "row_hash", cmd_json_row_hash(&r->row_hash), "sound", exit_code == CMD_EXIT_OK, "mode",
                     mode_names[check->options->mode], "rows",
                     known || check->info.n_rows > 0 ? json_integer((json_int_t)check->info.n_rows) : json_null(), "d",
                     known ? json_integer((json_int_t)check->info.d) : json_null(), "sections",
                     check->file_bytes > 0 && !check->is_records ? json_integer((json_int_t)check->n_sections)
                                                                 : json_null(),
                     "bytes", check->file_bytes > 0 ? json_integer((json_int_t)check->file_bytes) : json_null(),
                     "faults", check->faults);
}

/* Verifies one file and tells the verdict. Returns an exit code. */
static int verify_file(struct verify *v, const char *path, json_t *indexes)
{
    struct check check = {.options = v, .progress = &v->progress, .path = path, .verdict = "corrupt"};
    int status;

    if (indexes && (check.faults = json_array()) == NULL)
        return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
    status = check_index(&check);
    if (indexes) {
        if (json_array_append_new(indexes, index_object(&check, status)) != 0)
            status = cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
        json_decref(check.faults);
    } else if (status == CMD_EXIT_OK && !v->quiet && check.is_records) {
        printf("%s: sound (", cmd_printable(path).text);
        verify_records_print(&check.records);
        printf("%u %s, %s bytes, %s)\n", check.records.n_records, check.records.n_records == 1 ? "record" : "records",
               cmd_group(check.file_bytes).text, mode_names[v->mode]);
    } else if (status == CMD_EXIT_OK && !v->quiet && check.original_bytes > 0 && check.info.d == 0) {
        printf("%s: sound (compressed, %s bytes of %s bytes %s, %s)\n", cmd_printable(path).text,
               cmd_group(check.file_bytes).text, cmd_group(check.original_bytes).text,
               check.holds_vectors ? "of vectors" : "of an index", mode_names[v->mode]);
    } else if (status == CMD_EXIT_OK && !v->quiet) {
        printf("%s: sound (%s x %u, ", cmd_printable(path).text, cmd_group(check.info.n_rows).text, check.info.d);
        if (check.info.key_kind != OMEN_KEYS_NONE)
            printf("%s keys, ", omen_key_kind_name(check.info.key_kind));
        if (check.info.n_columns > 0)
            printf("%u %s, ", check.info.n_columns, check.info.n_columns == 1 ? "column" : "columns");
        printf("%zu sections, %s bytes, %s)\n", check.n_sections, cmd_group(check.file_bytes).text,
               mode_names[v->mode]);
    }
    return status;
}

/* Verifies n files. Returns an exit code, of several the highest. */
static int run(struct verify *v, char **paths, int n)
{
    omen_detail why = {.text = ""};
    json_t *indexes = NULL;
    int worst = CMD_EXIT_OK;
    int status = omen_cpu_select(NULL, &why);

    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    if (v->json && (indexes = json_array()) == NULL)
        return cmd_fail(NAME, OMEN_ERR_MEMORY, NULL);
    v->n_threads = cmd_threads(v->quiet ? NULL : NAME, v->n_threads);
    cmd_progress_init(&v->progress, v->quiet ? -1 : 0);
    for (int i = 0; i < n; i++) {
        status = verify_file(v, paths[i], indexes);
        worst = status > worst ? status : worst;
        /* as each is found; if the reader went away, the rest is not needed */
        if (fflush(stdout) != 0) {
            json_decref(indexes);
            return cmd_fail(NAME, omen_fail(&why, OMEN_ERR_IO, "cannot write to standard output: %m"), &why);
        }
    }
    if (v->json) {
        status = cmd_json_print(NAME, json_pack("{s:o}", "indexes", indexes), stdout);
        worst = status > worst ? status : worst;
    }
    return worst;
}

int cmd_verify(int argc, char **argv)
{
    struct verify v = {.mode = MODE_FULL};
    int status = parse_arguments(&v, argc, argv);

    if (status == CMD_GO_ON)
        status = check_files(&v, argv + optind, argc - optind);
    if (status == CMD_GO_ON)
        status = run(&v, argv + optind, argc - optind);
    omen_paths_finish(&v.source);
    cmd_key_finish(&v.key);
    return status;
}
