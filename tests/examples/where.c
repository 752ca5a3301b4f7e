/* SPDX-License-Identifier: Apache-2.0 */
/* Rows with columns, and the nearest of those that meet a condition. Usage: where INDEX CONDITION; the file to write.
 * cc where.c $(pkg-config --cflags --libs omendb) -o where */
#include <omendb_files.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1000, D = 16, K = 5 };

static float rows[N][D];

static int read_rows(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    memcpy(out, rows[first], n * sizeof rows[0]);
    return OMEN_OK;
}

static void check(int code, const omen_detail *why)
{
    if (code != OMEN_OK) {
        fprintf(stderr, "where: %s\n", why->text[0] ? why->text : omen_error_text(code));
        exit(1);
    }
}

/* A number and a text of each row. */
static omen_columns *make_columns(omen_detail *why)
{
    static const uint64_t offsets[] = {0, 3, 7};
    const omen_words words = {2, offsets, "oddeven"};
    static int64_t prices[N];
    static uint32_t codes[N];
    omen_columns *columns;

    for (int i = 0; i < N; i++) {
        prices[i] = i / 2;
        codes[i] = i % 2 == 0;
    }
    check(omen_columns_create(&columns, N, why), why);
    check(omen_columns_add_integers(columns, "price", prices, NULL, why), why);
    check(omen_columns_add_texts(columns, "kind", &words, codes, why), why);
    return columns;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "where.omen";
    const char *text = argc > 2 ? argv[2] : "price < 100 AND kind = 'even'";
    const omen_source source = {
        .n_rows = N, .d = D, .element_bytes = sizeof(float), .n_bytes = sizeof rows, .read = read_rows};
    omen_build_options build;
    omen_search_options search;
    omen_writer *writer;
    omen_section perm;
    omen_container *container;
    omen_index *index;
    omen_condition *condition;
    omen_row_set *set;
    int64_t ids[K];
    omen_detail why = {""};

    for (int i = 0; i < N * D; i++)
        rows[i / D][i % D] = (float)(i / D % 100 * (i % D + 1) % 101 + i / D / 100);

    /* the index, and behind its sections the columns, in the order that PERM tells */
    omen_columns *columns = make_columns(&why);
    omen_build_options_init(&build);
    check(omen_writer_create(&writer, path, &why), &why);
    const omen_sink sink = omen_writer_sink(writer);
    check(omen_index_build(&source, &build, &sink, NULL, NULL, &why), &why);
    check(sink.map(sink.self, OMEN_SECTION_PERM, &perm, &why), &why);
    check(omen_columns_write(columns, &perm, &sink, NULL, NULL, &why), &why);
    check(omen_writer_commit(writer, NULL, &why), &why);
    omen_writer_destroy(writer);
    omen_columns_destroy(columns);

    /* the rows that meet the condition, and the nearest of these */
    check(omen_container_open(&container, path, &why), &why);
    check(omen_container_open_index(&container, &index, path, UINT64_MAX, true, &why), &why);
    check(omen_condition_create(index, text, &condition, &why), &why);
    const omen_condition *const conditions[] = {condition};
    check(omen_conditions_evaluate(conditions, 1, 0, &set, NULL, NULL, &why), &why);
    const omen_row_set *const sets[] = {set};
    omen_search_options_init(&search);
    search.k = K;
    search.row_sets = sets;
    check(omen_index_search(index, &search, rows[43], 1, ids, NULL, NULL, &why), &why);
    for (uint32_t i = 0; i < omen_found_count(ids, K); i++)
        printf("%lld\n", (long long)ids[i]);
    omen_row_set_destroy(set);
    omen_condition_destroy(condition);
    omen_index_close(index);
    omen_container_close(container);
}
