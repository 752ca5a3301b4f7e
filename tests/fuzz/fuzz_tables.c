/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of rows: tables, arrays and tags, keys, and conditions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/index.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/column_cases.h"

#define N_ROWS 5u

static void no_fault(void *context, const char *section, const char *text)
{
    FUZZ_REQUIRE(false, "%s: %s: %s", (const char *)context, section, text);
}

/* Lines up to `most`, as a reader counts them, to ask for as many rows. */
static uint64_t count_lines(const uint8_t *data, size_t n_bytes, uint64_t most)
{
    uint64_t n = n_bytes > 0 && data[n_bytes - 1] != '\n';

    for (size_t i = 0; i < n_bytes; i++)
        n += data[i] == '\n';
    return n < 1 ? 1 : n < most ? n : most;
}

/* ---- columns ---- */

/* Written to sections, opened and compared. */
static void check_columns(omen_columns *columns)
{
    omen_detail why = {""};
    sections_in_memory sections = {.n = 0};
    const uint64_t n_rows = omen_columns_row_count(columns);
    omen_index index = {.meta = {.n_rows = n_rows, .n_lists = 1}};
    uint32_t *rows = malloc(n_rows * sizeof *rows), first[2] = {0, (uint32_t)n_rows};
    const omen_section perm = {.id = OMEN_SECTION_PERM, .data = rows, .n_bytes = n_rows * 4};
    const omen_sink sink = sink_of(&sections);

    FUZZ_REQUIRE(rows, "%llu rows", (unsigned long long)n_rows);
    for (uint64_t i = 0; i < n_rows; i++)
        rows[i] = (uint32_t)(n_rows - 1 - i);
    index.first = first;
    index.ids = rows;
    index.perm.section = perm;
    int status = sink.start(sink.self, 1, &why);

    if (status == OMEN_OK)
        status = omen_columns_write(columns, &perm, &sink, NULL, NULL, &why);
    FUZZ_REQUIRE(status == OMEN_OK, "%s", why.text);
    const omen_section_list list = {sections.sections, sections.n, true, &why};

    FUZZ_REQUIRE(omen_columns_open(&index, &list) == OMEN_OK, "%s", why.text);
    FUZZ_REQUIRE(omen_index_check_columns(&index, columns, no_fault, "columns", &why) == OMEN_OK, "%s", why.text);
    for (uint32_t i = 0; i < omen_columns_count(columns); i++) {
        omen_column_range range = {.struct_bytes = sizeof range};

        FUZZ_REQUIRE(omen_index_get_column_range(&index, i, &range, &why) == OMEN_OK, "%s", why.text);
    }
    omen_columns_close(&index);
    sections_free(&sections);
    free(rows);
}

/* A byte chooses the kind of file; what stands before a zero byte are types. */
void fuzz_columns(const uint8_t *data, size_t n_bytes)
{
    static const char *const names[] = {"t.tsv", "t.csv", "t.jsonl", "t.txt"};
    static const char *const arrays[] = {"a=a.npy"};
    omen_column_paths paths = {.table = NULL};
    omen_columns *columns = NULL;
    omen_detail why = {""};
    char *types = NULL;

    if (n_bytes < 1)
        return;
    const unsigned kind = data[0] % 7;
    uint64_t n_rows = N_ROWS;

    data++, n_bytes--;
    if (kind < 4) {
        const uint8_t *end = memchr(data, 0, n_bytes);
        const size_t n_types = end ? (size_t)(end - data) : 0;

        if (end) {
            types = fuzz_text(data, n_types);
            data += n_types + 1, n_bytes -= n_types + 1;
        }
        n_rows = count_lines(data, n_bytes, 1000);
        if (kind != 2 && n_rows > 1)
            n_rows--;
        paths = (omen_column_paths){.table = names[kind], .types = types};
        fuzz_write(names[kind], data, n_bytes);
    } else if (kind == 4) {
        paths = (omen_column_paths){.arrays = arrays, .n_arrays = 1};
        fuzz_write("a.npy", data, n_bytes);
    } else {
        paths.tags = kind == 5 ? "t.txt" : "t.spmat";
        n_rows = kind == 5 ? count_lines(data, n_bytes, 1000) : N_ROWS;
        fuzz_write(paths.tags, data, n_bytes);
    }
    fuzz_limit_memory_of_file(data, n_bytes);
    const int status = omen_columns_read(&columns, &paths, n_rows, 0, &why);

    FUZZ_REQUIRE((status == OMEN_OK) == !!columns && (columns || why.text[0] != '\0'), "%d", status);
    if (columns && omen_columns_count(columns) > 0)
        check_columns(columns);
    omen_columns_destroy(columns);
    fuzz_lift_limit();
    free(types);
}

void fuzz_columns_seeds(void)
{
    static const char table[] = "\0price:float32,zip:text,n:skip\0price\tzip\tn\tlabel\n1\t0042\t3\tbag\n2.5\t\t4\t\n";
    static const char csv[] = "\1a,\"b \"\"c\"\"\",d\n1,x,9223372036854775807\n-2,\"y\nz\",0.1\n,,\n";
    static const char jsonl[] =
        "\2{\"a\":1,\"t\":[\"x\",\"y\"],\"n\":null}\n{\"a\":2.5,\"t\":[]}\n{\"s\":\"\\u00fc\"}\n";
    static const char text[] = "\3a b\n1 2\n";
    static const char tags[] = "\5red blue\n\nblue green red\n";
    uint8_t npy[1 + 128 + 40] = "\4\x93NUMPY\1\0\x76", spmat[1 + 24 + 48 + 12 + 12] = {6};
    const int64_t head[] = {N_ROWS, 4, 3, 0, 1, 2, 2, 3, 3};
    const int32_t codes[] = {0, 3, 1};

    fuzz_seed(table, sizeof table - 1);
    fuzz_seed(csv, sizeof csv - 1);
    fuzz_seed(jsonl, sizeof jsonl - 1);
    fuzz_seed(text, sizeof text - 1);
    fuzz_seed(tags, sizeof tags - 1);
    static const char *const types[] = {"<i8", "<f8", "<f4", "|b1", "<i2", "<u4"};
    static const size_t widths[] = {8, 8, 4, 1, 2, 4};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char header[119];

        snprintf(header, sizeof header, "%-117s\n", "");
        const int n =
            snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (5,), }", types[i]);
        header[n] = ' ';
        memcpy(npy + 11, header, 118);
        npy[128] = '\n';
        for (size_t j = 0; j < N_ROWS * widths[i]; j++)
            npy[129 + j] = j % widths[i] == 0;
        fuzz_seed(npy, 129 + N_ROWS * widths[i]);
    }
    memcpy(spmat + 1, head, sizeof head);
    memcpy(spmat + 1 + sizeof head, codes, sizeof codes);
    fuzz_seed(spmat, sizeof spmat);
}

/* ---- keys ---- */

void fuzz_keys(const uint8_t *data, size_t n_bytes)
{
    static const char *const names[] = {"k.txt", "k.npy", "k.csv", "k.jsonl"};
    const omen_column_paths table = {.table = NULL};
    omen_row_keys *keys = NULL;
    omen_detail why = {""};
    sections_in_memory sections = {.n = 0};
    int status;

    (void)table;
    if (n_bytes < 1)
        return;
    const unsigned kind = data[0] % 4;
    const bool allows = data[0] & 8;

    data++, n_bytes--;
    fuzz_write(names[kind], data, n_bytes);
    const uint64_t n_lines = count_lines(data, n_bytes, 1000);
    const uint64_t n_rows = kind == 1 ? N_ROWS : kind == 2 && n_lines > 1 ? n_lines - 1 : n_lines;

    fuzz_limit_memory_of_file(data, n_bytes);
    if (kind < 2) {
        status = omen_row_keys_read(&keys, names[kind], n_rows, allows, 0, 1, &why);
    } else {
        const omen_column_paths paths = {.table = names[kind]};

        status = omen_row_keys_read_column(&keys, &paths, "id", n_rows, allows, 0, 1, &why);
    }
    FUZZ_REQUIRE((status == OMEN_OK) == !!keys && (keys || why.text[0] != '\0'), "%d", status);
    if (keys) {
        const omen_sink sink = sink_of(&sections);

        status = sink.start(sink.self, 1, &why);
        if (status == OMEN_OK)
            status = omen_row_keys_write(keys, &sink, NULL, NULL, &why);
        FUZZ_REQUIRE(status == OMEN_OK && sections.n >= 3, "%s", why.text);
    }
    sections_free(&sections);
    omen_row_keys_destroy(keys);
    fuzz_lift_limit();
}

void fuzz_keys_seeds(void)
{
    uint8_t npy[1 + 128 + 80] = "\1\x93NUMPY\1\0\x76";
    static const char *const types[] = {"<i8", "<u8", "|S3", "<U2", "<i4"};
    static const size_t widths[] = {8, 8, 3, 8, 4};

    fuzz_seed("\0a\nb\n\xc3\xbc\n", 8);
    fuzz_seed("\10a\nb\na\n", 7);
    fuzz_seed("\2id,x\n1,2\n-3,4\n", 15);
    fuzz_seed("\3{\"id\":\"a\"}\n{\"id\":\"b\"}\n", 23);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char header[119];
        const int n =
            snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (5,), }", types[i]);

        memset(npy + 11, ' ', 117);
        memcpy(npy + 11, header, (size_t)n);
        npy[128] = '\n';
        for (size_t j = 0; j < N_ROWS * widths[i]; j++)
            npy[129 + j] = j % widths[i] == 0 ? (uint8_t)('a' + j / widths[i]) : 0;
        fuzz_seed(npy, 129 + N_ROWS * widths[i]);
    }
}

/* ---- conditions ---- */

static omen_container *container;
static omen_index *index_with_columns;

static void open_index(void)
{
    const fuzz_recipe recipe = {.n = 70, .d = 2, .refine = OMEN_REFINE_SQ8, .columns = true};
    omen_detail why = {""};

    fuzz_make_index("columns.omen", &recipe);
    fuzz_keep("columns.omen");
    FUZZ_REQUIRE(omen_container_open(&container, "columns.omen", &why) == OMEN_OK &&
                     omen_container_open_index(&container, &index_with_columns, "columns.omen", UINT64_MAX, true,
                                               &why) == OMEN_OK,
                 "%s", why.text);
}

/* The hash of the rows that a text selects, and how many they are; false if it is no condition. */
static bool select_hash(const char *text, uint64_t *hash, uint64_t *n, char **key)
{
    omen_condition *condition = NULL;
    omen_row_set *set = NULL;
    omen_detail why = {""};
    const int status = omen_condition_create(index_with_columns, text, &condition, &why);

    FUZZ_REQUIRE(status == OMEN_OK || (status == OMEN_ERR_ARGUMENT && !condition && why.text[0] != '\0'), "%d: %s",
                 status, why.text);
    if (status != OMEN_OK)
        return false;
    FUZZ_REQUIRE(omen_conditions_evaluate((const omen_condition *const *)&condition, 1, 1, &set, NULL, NULL, &why) ==
                     OMEN_OK,
                 "%s", why.text);
    *hash = omen_row_set_checksum(set);
    *n = omen_row_set_count(set);
    *key = strdup(omen_condition_key(condition));
    omen_row_set_destroy(set);
    omen_condition_destroy(condition);
    return true;
}

/* A text in others that select the same rows, or all but these and those for which it is neither true nor false. */
void fuzz_conditions(const uint8_t *data, size_t n_bytes)
{
    static const char *const forms[] = {"(%s)", "NOT NOT (%s)", "(%s) AND (%s)", "(%s) OR (%s)", "NOT (%s)"};
    uint64_t hash, n, other_hash, n_other;
    char *key = NULL, *other_key = NULL, *text;

    if (!index_with_columns)
        open_index();
    text = fuzz_text(data, n_bytes);
    char *form = malloc(2 * n_bytes + 32);

    FUZZ_REQUIRE(form, "%zu bytes", n_bytes);
    fuzz_limit_memory(16 * n_bytes);
    if (select_hash(text, &hash, &n, &key)) {
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            sprintf(form, forms[i], text, text);
#pragma GCC diagnostic pop
            if (!select_hash(form, &other_hash, &n_other, &other_key))
                continue; /* too deep now */
            if (i < 4)
                FUZZ_REQUIRE(other_hash == hash && n_other == n, "%s selects %llu rows, not %llu", form,
                             (unsigned long long)n_other, (unsigned long long)n);
            else
                FUZZ_REQUIRE(n_other <= 70 - n, "%s selects %llu rows", form, (unsigned long long)n_other);
            FUZZ_REQUIRE(strcmp(key, other_key) != 0 || other_hash == hash, "%s has the same key", form);
            free(other_key);
        }
        free(key);
    }
    fuzz_lift_limit();
    free(form);
    free(text);
}

void fuzz_conditions_seeds(void)
{
    static const char *const seeds[] = {
        "price > 10 AND weight <= 3.5",     "label = 'bag' OR label IN ('coat', 'x''y')",
        "NOT stock BETWEEN -5 AND 3000",    "tags HAS 'red' AND NOT tags HAS 'blue'",
        "weight IS NULL OR \"price\" <> 7", "label LIKE 'ba%'",
        "3 < price AND TRUE = price",       "stock IN (1, NULL, -2e3) OR label NOT LIKE 'c%'",
        "(price = 1 OR (price = 2))",       "label NOT IN ('bag') AND stock IS NOT NULL"};

    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
        fuzz_seed(seeds[i], strlen(seeds[i]));
}
