/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of vectors and indexes, and commands of the program, for targets and their seeds. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/options.h"
#include "lib/matrix.h"
#include "tests/fuzz/fuzz.h"

#define ROWS_MOST 512u
#define DIMS_MOST 64u

void fuzz_make_vectors(const char *name, uint32_t n, uint32_t d)
{
    static uint8_t bytes[ROWS_MOST * (4 + 4 * DIMS_MOST)];
    uint8_t *to = bytes;

    FUZZ_REQUIRE(n <= ROWS_MOST && d <= DIMS_MOST, "%u x %u", n, d);
    for (uint32_t i = 0; i < n; i++, to += 4) {
        memcpy(to, &d, 4);
        for (uint32_t j = 0; j < d; j++, to += 4) {
            const float value = (float)(omen_random(5, i * d + j) % 64) / 8 + (float)(i % 5 * (j % 3));

            memcpy(to + 4, &value, 4);
        }
    }
    fuzz_write(name, bytes, (size_t)(to - bytes));
}

/* As many lines as rows. */
static void make_lines(const char *name, const char *header, uint32_t n, void (*put)(char *to, uint32_t i))
{
    static char text[ROWS_MOST * 64];
    char *to = stpcpy(text, header);

    for (uint32_t i = 0; i < n; i++) {
        put(to, i);
        to += strlen(to);
    }
    fuzz_write(name, text, (size_t)(to - text));
}

static void put_key(char *to, uint32_t i)
{
    sprintf(to, "%s%u\n", i % 2 ? "key-" : "Schlüssel ", i * 7 % 101);
}

static void put_columns(char *to, uint32_t i)
{
    if (i % 7 == 3)
        sprintf(to, "%u\t\t\t\n", i);
    else
        sprintf(to, "%u\t%g\t%s\t%d\n", i, i / 8.0, i % 3 ? "bag" : "coat", (int)i * 1000 - 20000);
}

static void put_tags(char *to, uint32_t i)
{
    sprintf(to, "%s%s%s\n", i % 2 ? "red " : "", i % 3 ? "blue " : "", i % 5 ? "" : "green");
}

void fuzz_make_index(const char *name, const fuzz_recipe *recipe)
{
    static const omen_column_paths columns = {.table = "columns.tsv", .tags = "tags.txt"};
    const omen_build_paths paths = {.struct_bytes = sizeof paths,
                                    .input = "made.fvecs",
                                    .output = name,
                                    .keys = recipe->keys ? "keys.txt" : NULL,
                                    .column_paths = recipe->columns ? &columns : NULL};
    omen_build_options options;
    omen_detail why = {""};
    int status;

    omen_build_options_init(&options);
    options.metric = recipe->metric;
    options.codec = recipe->codec;
    options.refine = recipe->refine;
    options.bytes = 8;
    options.graph.wanted = recipe->graph;
    options.graph.degree = recipe->graph ? 8 : 0;
    options.codes_only = recipe->codes_only;
    options.lists.n = recipe->codes_only ? 1 : 0;
    options.n_threads = 1;
    fuzz_make_vectors("made.fvecs", recipe->n, recipe->d);
    make_lines("keys.txt", "", recipe->n, put_key);
    make_lines("columns.tsv", "price\tweight\tlabel\tstock\n", recipe->n, put_columns);
    make_lines("tags.txt", "", recipe->n, put_tags);
    if (recipe->codes_only) {
        omen_vectors *vectors = NULL;
        omen_writer *writer = NULL;

        status = omen_vectors_open(&vectors, "made.fvecs", NULL, &why);
        if (status == OMEN_OK)
            status = omen_writer_create(&writer, name, &why);
        if (status == OMEN_OK) {
            const omen_source source = omen_vectors_source(vectors);
            const omen_sink sink = omen_writer_sink(writer);

            status = omen_index_build(&source, &options, &sink, NULL, NULL, &why);
        }
        if (status == OMEN_OK)
            status = omen_writer_commit(writer, NULL, &why);
        omen_writer_destroy(writer);
        omen_vectors_close(vectors);
    } else {
        status = omen_index_build_file(&paths, &options, NULL, NULL, NULL, &why);
    }
    FUZZ_REQUIRE(status == OMEN_OK, "%s: %s", name, why.text);
}

/* ---- commands ---- */

int fuzz_run_command(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"attach", cmd_attach}, {"build", cmd_build}, {"compress", cmd_compress}, {"info", cmd_info},
                    {"merge", cmd_merge},   {"query", cmd_query}, {"train", cmd_train},       {"verify", cmd_verify}};

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, argv[0]) == 0) {
            optind = 0; /* getopt_long() begins anew */
            const int code = commands[i].run(argc, argv);

            fflush(stdout);
            FUZZ_REQUIRE(code >= 0 && code <= CMD_EXIT_MISSING, "%s exits %d", argv[0], code);
            return code;
        }
    }
    return CMD_EXIT_USAGE;
}

int fuzz_command(const char *text)
{
    char *copy = strdup(text), *rest = copy, *words[64];
    int n = 0;

    while (n < 63 && (words[n] = strsep(&rest, " ")))
        n++;
    words[n] = NULL;
    const int code = fuzz_run_command(n, words);

    free(copy);
    return code;
}
