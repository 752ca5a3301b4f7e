/* SPDX-License-Identifier: Apache-2.0 */
/* Rows from memory, an index of them, and the nearest of a query. Usage: nearest INDEX, the file to write.
 * cc nearest.c $(pkg-config --cflags --libs omendb) -o nearest */
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
        fprintf(stderr, "nearest: %s\n", why->text[0] ? why->text : omen_error_text(code));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "nearest.omen";
    const omen_source source = {
        .n_rows = N, .d = D, .element_bytes = sizeof(float), .n_bytes = sizeof rows, .read = read_rows};
    omen_build_options build;
    omen_search_options search;
    omen_writer *writer;
    omen_container *container;
    omen_index *index;
    int64_t ids[K];
    float distances[K];
    omen_detail why = {""};

    for (int i = 0; i < N * D; i++)
        rows[i / D][i % D] = (float)(i / D % 100 * (i % D + 1) % 101 + i / D / 100);

    omen_build_options_init(&build);
    check(omen_writer_create(&writer, path, &why), &why);
    const omen_sink sink = omen_writer_sink(writer);
    check(omen_index_build(&source, &build, &sink, NULL, NULL, &why), &why);
    check(omen_writer_commit(writer, NULL, &why), &why);
    omen_writer_destroy(writer);

    omen_search_options_init(&search);
    search.k = K;
    check(omen_container_open(&container, path, &why), &why);
    check(omen_container_open_index(&container, &index, path, UINT64_MAX, true, &why), &why);
    check(omen_index_search(index, &search, rows[42], 1, ids, distances, NULL, &why), &why);
    for (int i = 0; i < K; i++)
        printf("%lld %g\n", (long long)ids[i], distances[i]);
    omen_index_close(index);
    omen_container_close(container);
}
