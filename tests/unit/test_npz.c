/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of several members: which array is read, and what is said where none is. */
#include "formats/deflate.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

typedef struct {
    const char *name, *header; /* of npy; NULL: no array */
    unsigned method, flags;
} archived;

static void add_archive(blob *b, const archived *members, unsigned n)
{
    size_t starts[16];
    for (int central = 0; central < 2; central++) {
        const size_t at = b->n;
        for (unsigned i = 0; i < n; i++) {
            blob content = {0};
            if (members[i].header) {
                add_npy(&content, 1, members[i].header);
                add_rows(&content, "f4", false, 2, 2);
            } else {
                add(&content, "something else", 14);
            }
            if (!central)
                starts[i] = b->n;
            add(b, central ? "PK\1\2\x14\0\x14\0" : "PK\3\4\x14\0", central ? 8 : 6);
            add_value(b, members[i].flags, 2, false);
            add_value(b, members[i].method, 2, false);
            add_u32(b, 0); /* time, date */
            add_u32(b, omen_crc32(content.bytes, content.n));
            add_u32(b, (uint32_t)content.n);
            add_u32(b, (uint32_t)content.n);
            add_value(b, strlen(members[i].name), 2, false);
            add_value(b, 0, 2, false);
            if (central) {
                add(b, "\0\0\0\0\0\0\0\0\0\0", 10);
                add_u32(b, (uint32_t)starts[i]);
            }
            add(b, members[i].name, strlen(members[i].name));
            if (!central)
                add(b, content.bytes, content.n);
        }
        if (central) {
            const size_t n_directory = b->n - at;
            add(b, "PK\5\6\0\0\0\0", 8);
            add_value(b, n, 2, false);
            add_value(b, n, 2, false);
            add_u32(b, (uint32_t)n_directory);
            add_u32(b, (uint32_t)at);
            add_value(b, 0, 2, false);
        }
    }
}

#define NPY(shape) "{'descr': '<f4', 'fortran_order': False, 'shape': (" shape "), }\n"

/* Which array is read, and what is said where none is. */
static void test_archives(void)
{
    static const char structured[] =
        "{'descr': [('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape': (2,), }\n";
    static const struct {
        const char *wanted, *part; /* part NULL: it is read */
        unsigned n;
        archived members[4];
    } cases[] = {
        {"", NULL, 2, {{"v.npy", NPY("2, 2"), 0, 0}, {"notes.txt", NULL, 0, 0}}},
        {"", NULL, 2, {{"v.npy", NPY("2, 2"), 0, 0}, {"w.npy", NPY("4,"), 0, 0}}},
        {"", NULL, 2, {{"v.npy", NPY("2, 2"), 0, 0}, {"w.npy", NULL, 0, 0}}},
        {"", NULL, 2, {{"v.npy", NPY("2, 2"), 0, 0}, {"w.npy", NPY("2, 2"), 12, 0}}},
        {":w", NULL, 2, {{"v.npy", NPY("2, 2"), 0, 0}, {"w.npy", NPY("2, 2"), 0, 0}}},
        {":w.npy", NULL, 2, {{"v.npy", NPY("2, 2"), 0, 0}, {"w.npy", NPY("2, 2"), 0, 0}}},
        {"", "several arrays have two dimensions", 2, {{"v.npy", NPY("2, 2"), 0, 0}, {"w.npy", NPY("2, 2"), 0, 0}}},
        {"", "no array has two dimensions", 2, {{"v.npy", NPY("4,"), 0, 0}, {"w.npy", NPY("1, 2, 2"), 0, 0}}},
        {":x", "it has no array \"x\"; there is v (2 x 2, <f4)", 1, {{"v.npy", NPY("2, 2"), 0, 0}}},
        {":x",
         "there are v (4, <f4), w (3 dimensions, <f4)",
         2,
         {{"v.npy", NPY("4,"), 0, 0}, {"w.npy", NPY("1, 2, 2"), 0, 0}}},
        {":v", "more than one array \"v\"", 2, {{"v.npy", NPY("2, 2"), 0, 0}, {"v.npy", NPY("2, 2"), 0, 0}}},
        {"", "holds no arrays of NumPy", 2, {{".npy", NPY("2, 2"), 0, 0}, {"notes.txt", NULL, 0, 0}}},
        {":v", "member v.npy is encrypted", 2, {{"v.npy", NPY("2, 2"), 0, 1}, {"w.npy", NPY("2, 2"), 0, 0}}},
        {"", "member v.npy is encrypted", 2, {{"n.txt", NULL, 0, 0}, {"v.npy", NPY("2, 2"), 0, 1}}},
        {"", "member v.npy is compressed by method 12, which", 1, {{"v.npy", NPY("2, 2"), 12, 0}}},
        {":x", "member v.npy is compressed by method 14, which", 1, {{"v.npy", NPY("2, 2"), 14, 0}}},
        {":v",
         "member v.npy is compressed by method 12, which",
         2,
         {{"v.npy", NPY("2, 2"), 12, 0}, {"w.npy", NPY("2, 2"), 0, 0}}},
        {":x", "there is v (structured)", 1, {{"v.npy", structured, 0, 0}}},
        {":x",
         "there are the_array_of_a_rather_long_name",
         4,
         {{"the_array_of_a_rather_long_name_that_is_longer_than_what_is_told_of_it_1.npy", NPY("2, 2"), 0, 0},
          {"the_array_of_a_rather_long_name_that_is_longer_than_what_is_told_of_it_2.npy", NPY("2, 2"), 0, 0},
          {"the_array_of_a_rather_long_name_that_is_longer_than_what_is_told_of_it_3.npy", NPY("2, 2"), 0, 0},
          {"the_array_of_a_rather_long_name_that_is_longer_than_what_is_told_of_it_4.npy", NPY("2, 2"), 0, 0}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = {0};
        char name[32];
        add_archive(&b, cases[i].members, cases[i].n);
        save("a.npz", &b);
        snprintf(name, sizeof name, "a.npz%s", cases[i].wanted);
        omen_vectors *vectors;
        const int status = omen_vectors_open(&vectors, path_of(name), NULL, &detail);
        if (status == OMEN_OK) {
            const omen_source source = omen_vectors_source(vectors);
            float row[2];
            CHECK(source.n_rows == 2 && source.d == 2);
            CHECK_CASE(source.read(source.self, 1, 1, row, &detail) == OMEN_OK && row[1] == value_at(1, 1),
                       "archive %zu", i);
        }
        omen_vectors_close(vectors);
        CHECK_CASE(status == (cases[i].part ? OMEN_ERR_INPUT : OMEN_OK), "archive %zu: %d, %s", i, status, detail.text);
        CHECK_CASE(!cases[i].part || strstr(detail.text, cases[i].part), "archive %zu: %s", i, detail.text);
    }
}

int main(void)
{
    directory_make();
    RUN(test_archives);
    directory_remove();
    return check_finish();
}
