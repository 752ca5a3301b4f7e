/* SPDX-License-Identifier: Apache-2.0 */
/* Columns: what is written comes back, whatever its type and width; what lies is found, or does no harm. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/column_cases.h"

#define N 1000u /* rows, but where more are needed */

static omen_columns *make(uint64_t n)
{
    omen_columns *columns = NULL;
    CHECK_EQ_INT(omen_columns_create(&columns, n, NULL), OMEN_OK);
    return columns;
}

/* ---- numbers ---- */

/* The rows of a condition are those with an expected byte of 1. */
static void expect_rows(const column_case *c, const char *condition, const uint8_t *want)
{
    int status;
    uint8_t *got = select_rows(c, condition, &status);
    CHECK_CASE(status == OMEN_OK, "%s: %s", condition, column_detail.text);
    CHECK_CASE(got && memcmp(got, want, c->n_rows) == 0, "%s", condition);
    free(got);
}

/* Integers of every width, with and without nulls, and every way to ask for them. */
static void test_integers(void)
{
    for (uint32_t width = 1; width <= 8; width++) {
        int64_t values[N];
        uint64_t nulls[N / 64 + 1] = {0};
        uint8_t want[N];
        char text[400];
        const uint64_t span = width < 8 ? ((uint64_t)1 << 8 * width) - 1 : UINT64_MAX;
        const int64_t base = width < 8 ? -(int64_t)(span / 3) : INT64_MIN;
        for (uint32_t i = 0; i < N; i++) {
            const uint64_t above = i == 0 ? 0 : i == 1 ? span : omen_random(width, i / 2) & span;
            values[i] = (int64_t)((uint64_t)base + above);
            if (width % 2 && omen_random(77, i) % 4 == 0 && i > 1)
                nulls[i / 64] |= (uint64_t)1 << i % 64;
        }
        omen_columns *columns = make(N);
        CHECK_EQ_INT(omen_columns_add_integers(columns, "x", values, nulls, NULL), OMEN_OK);
        column_case c = write_columns(columns, width);
        omen_column_info info = {.struct_bytes = sizeof info};
        CHECK_EQ_INT(omen_index_get_column(c.index, 0, &info), OMEN_OK);
        CHECK_EQ_INT(info.n_bytes, (width % 2 ? (N + 63) / 64 * 8 : 0) + omen_column_pad(N * width));
        for (uint32_t turn = 0; turn < 40; turn++) {
            int64_t low = values[omen_random(5, turn) % N], high = values[omen_random(6, turn) % N];
            low = turn == 0 ? INT64_MIN : turn == 1 ? base : low;
            high = turn == 0 || turn == 2 ? INT64_MAX : high;
            const bool inside = turn % 3;
            for (uint32_t i = 0; i < N; i++)
                want[i] = !(nulls[i / 64] >> i % 64 & 1) && (values[i] >= low && values[i] <= high) == inside;
            snprintf(text, sizeof text, "x %s BETWEEN %lld AND %lld", inside ? "" : "NOT", (long long)low,
                     (long long)high);
            expect_rows(&c, text, want);
        }
        /* many values, which are looked up in a table or by search; the widest apart begin a range each */
        size_t length = (size_t)snprintf(text, sizeof text, "x IN (");
        memset(want, 0, sizeof want);
        for (uint32_t v = 0; v < 12; v++) {
            const int64_t value = values[37 * v];
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%lld", v ? "," : "", (long long)value);
            for (uint32_t i = 0; i < N; i++)
                want[i] |= !(nulls[i / 64] >> i % 64 & 1) && values[i] == value;
        }
        snprintf(text + length, sizeof text - length, ")");
        expect_rows(&c, text, want);
        for (uint32_t i = 0; i < N; i++)
            want[i] = nulls[i / 64] >> i % 64 & 1;
        expect_rows(&c, "x IS NULL", want);
        columns_free(&c);
    }
}

static void test_reals(void)
{
    double values[N];
    uint8_t want[N];
    for (uint32_t i = 0; i < N; i++)
        values[i] = i % 7 == 0 ? NAN : i % 7 == 1 ? -0.0 : i % 7 == 2 ? INFINITY : (double)i / 10 - 50;
    omen_columns *columns = make(N);
    CHECK_EQ_INT(omen_columns_add_reals(columns, "wide", OMEN_COLUMN_FLOAT64, values, NULL, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_reals(columns, "rounded", OMEN_COLUMN_FLOAT32, values, NULL, NULL), OMEN_OK);
    for (uint32_t i = 0; i < N; i++)
        values[i] = i / 4.0; /* float32 holds them */
    CHECK_EQ_INT(omen_columns_add_reals(columns, "exact", OMEN_COLUMN_FLOAT64, values, NULL, NULL), OMEN_OK);
    column_case c = write_columns(columns, 3);
    CHECK_EQ_INT(c.index->columns[0].entry.width, 8);
    CHECK_EQ_INT(c.index->columns[1].entry.width, 4);
    CHECK_EQ_INT(c.index->columns[2].entry.width, 4);
    /* row 5 is -49.5, row 13 -48.7, which float32 has not */
    for (uint32_t i = 0; i < N; i++)
        want[i] = i == 13;
    expect_rows(&c, "wide = -48.7", want);
    expect_rows(&c, "rounded = -48.7", want);
    for (uint32_t i = 0; i < N; i++)
        want[i] = i % 7 == 1;
    want[500] |= 500 % 7 > 2; /* 0.0 */
    expect_rows(&c, "wide = 0", want);
    expect_rows(&c, "rounded IN (-0.0)", want);
    for (uint32_t i = 0; i < N; i++)
        want[i] = i % 7 == 2;
    expect_rows(&c, "wide > 1e308", want);
    CHECK_EQ_INT(count_rows(&c, "exact = 0.25"), 1);
    CHECK_EQ_INT(count_rows(&c, "exact = 0.1"), 0);
    CHECK_EQ_INT(count_rows(&c, "exact < 0.1"), 1);
    CHECK_EQ_INT(count_rows(&c, "wide IS NULL"), (N + 6) / 7);
    columns_free(&c);
    columns = make(1);
    values[0] = 1e39;
    omen_detail why;
    CHECK_EQ_INT(omen_columns_add_reals(columns, "x", OMEN_COLUMN_FLOAT32, values, NULL, &why), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(why.text, "row 0 of column \"x\"");
    CHECK_EQ_INT(omen_columns_count(columns), 0);
    omen_columns_destroy(columns);
}

/* ---- texts and tags ---- */

static void test_texts(void)
{
    /* out of order, one twice, an empty one, none at the end */
    static const char bytes[] = "pearappleappleplumapp";
    static const uint64_t offsets[] = {0, 4, 9, 14, 18, 21, 21};
    const omen_words words = {6, offsets, bytes};
    uint32_t codes[N];
    for (uint32_t i = 0; i < N; i++)
        codes[i] = i % 9 < 6 ? i % 9 : OMEN_NO_TEXT;
    omen_columns *columns = make(N);
    CHECK_EQ_INT(omen_columns_add_texts(columns, "fruit", &words, codes, NULL), OMEN_OK);
    column_case c = write_columns(columns, 4);
    CHECK_EQ_INT(c.index->columns[0].entry.n_words, 5);
    uint8_t want[N];
    for (uint32_t i = 0; i < N; i++)
        want[i] = codes[i] == 1 || codes[i] == 2;
    expect_rows(&c, "fruit = 'apple'", want);
    for (uint32_t i = 0; i < N; i++)
        want[i] = codes[i] == 1 || codes[i] == 2 || codes[i] == 4;
    expect_rows(&c, "fruit LIKE 'app%'", want);
    for (uint32_t i = 0; i < N; i++)
        want[i] = codes[i] == 5 || codes[i] == 4;
    expect_rows(&c, "fruit < 'apple'", want);
    for (uint32_t i = 0; i < N; i++)
        want[i] = codes[i] != OMEN_NO_TEXT;
    expect_rows(&c, "fruit <> 'grape'", want);
    columns_free(&c);
}

/* Lists of positions and bits, in several blocks, the last of which is not full. */
static void test_tags(void)
{
    const uint64_t n = 2 * OMEN_POSTING_ROWS + 777;
    static const char bytes[] = "allhalfnonerare";
    static const uint64_t offsets[] = {0, 3, 7, 11, 15};
    const omen_words words = {4, offsets, bytes};
    uint64_t *first = calloc(n + 1, sizeof *first);
    uint32_t *tags = malloc(5 * n * sizeof *tags);
    uint8_t *want = calloc(n, 1);
    uint64_t n_tags = 0;
    for (uint64_t i = 0; i < n; i++) {
        first[i] = n_tags;
        tags[n_tags++] = 0;
        if (i % 50000 == 7)
            tags[n_tags++] = 3;
        if (omen_random(9, i) % 16 == 0) { /* about 4096 of a block: some have more, some fewer */
            tags[n_tags++] = 1;
            tags[n_tags++] = 1;
        }
    }
    first[n] = n_tags;
    for (int numbered = 0; numbered < 2; numbered++) {
        omen_columns *columns = make(n);
        CHECK_EQ_INT(omen_columns_add_tags(columns, "t", numbered ? NULL : &words, first, tags, NULL), OMEN_OK);
        column_case c = write_columns(columns, 11);
        for (uint64_t i = 0; i < n; i++)
            want[i] = omen_random(9, i) % 16 == 0;
        expect_rows(&c, numbered ? "t HAS 1" : "t HAS 'half'", want);
        for (uint64_t i = 0; i < n; i++)
            want[i] = omen_random(9, i) % 16 != 0 && i % 50000 == 7;
        expect_rows(&c, numbered ? "t HAS 3 AND NOT t HAS 1" : "t HAS 'rare' AND t NOT HAS 'half'", want);
        CHECK_EQ_INT(count_rows(&c, numbered ? "t HAS 0" : "t HAS 'all'"), n);
        CHECK_EQ_INT(count_rows(&c, numbered ? "NOT t HAS 0" : "NOT t HAS 'all'"), 0);
        CHECK_EQ_INT(count_rows(&c, numbered ? "t HAS 4" : "t HAS 'none'"), 0);
        CHECK_EQ_INT(count_rows(&c, numbered ? "NOT t HAS 4" : "NOT t HAS 'none'"), n);
        columns_free(&c);
    }
    /* numbers that are far apart */
    for (uint64_t i = 0; i <= 300; i++) {
        first[i] = i;
        tags[i] = i % 3 == 0 ? UINT32_MAX : i % 3 == 1 ? 7 : 4000000000u;
    }
    omen_columns *columns = make(300);
    CHECK_EQ_INT(omen_columns_add_tags(columns, "t", NULL, first, tags, NULL), OMEN_OK);
    column_case c = write_columns(columns, 12);
    CHECK_EQ_INT(count_rows(&c, "t HAS 4294967295"), 100);
    CHECK_EQ_INT(count_rows(&c, "t HAS 4000000000 OR t HAS 7"), 200);
    CHECK_EQ_INT(count_rows(&c, "t HAS 4294967296 OR t HAS -1 OR t HAS 8"), 0);
    columns_free(&c);
    free(first);
    free(tags);
    free(want);
}

/* ---- what lies ---- */

static omen_columns *make_all(uint64_t n)
{
    static const char bytes[] = "abcdef";
    static const uint64_t offsets[] = {0, 1, 3, 6};
    const omen_words words = {3, offsets, bytes};
    int64_t integers[300];
    double reals[300];
    uint32_t codes[300], tags[600];
    uint64_t nulls[5] = {0}, first[301];
    for (uint32_t i = 0; i < n; i++) {
        integers[i] = 1000 * (int64_t)i;
        reals[i] = i / 3.0;
        codes[i] = i % 3;
        first[i] = 2 * i;
        tags[2 * i] = i % 3;
        tags[2 * i + 1] = i % 2;
    }
    nulls[0] = 0x10;
    first[n] = 2 * n;
    omen_columns *columns = make(n);
    CHECK_EQ_INT(omen_columns_add_integers(columns, "i", integers, nulls, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_reals(columns, "r", OMEN_COLUMN_FLOAT64, reals, NULL, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_texts(columns, "t", &words, codes, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_tags(columns, "w", &words, first, tags, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_tags(columns, "n", NULL, first, tags, NULL), OMEN_OK);
    return columns;
}

static void note_fault(void *context, const char *section, const char *text)
{
    ++*(uint64_t *)context;
    CHECK(strcmp(section, "CVAL") == 0 && text[0] != '\0');
}

/* Any change of either section: refused, or answered within bounds; what the full check lets pass is answered. */
static void test_damaged(void)
{
    static const char *const conditions[] = {"i > 5000",
                                             "i IS NULL",
                                             "r <= 50.5",
                                             "t LIKE 'b%'",
                                             "t IN ('a','def')",
                                             "w HAS 'def'",
                                             "NOT w HAS 'a' OR n HAS 1",
                                             "n HAS 2"};
    static const uint32_t words[] = {0, 1, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 4096, 65536};
    column_case c = write_columns(make_all(300), 21);
    uint64_t n_refused = 0, n_faults = 0, n_sound = 0;
    for (uint64_t turn = 0; turn < 6000; turn++) {
        const omen_section *section = &c.sections.sections[turn % 3 != 0];
        uint8_t *bytes = (uint8_t *)section->data;
        const uint64_t at = omen_random(1, turn) % section->n_bytes / 4 * 4, how = omen_random(2, turn);
        const uint64_t n = section->n_bytes - at < 4 ? section->n_bytes - at : 4;
        uint8_t before[4];
        memcpy(before, bytes + at, n);
        if (how % 3 == 0)
            memcpy(bytes + at, &words[how / 3 % 8], n);
        else
            bytes[at + how / 3 % n] ^= (uint8_t)(1u << how / 64 % 8);
        const int status = open_columns(&c);
        if (status == OMEN_OK) {
            uint64_t faults = 0;
            const int checked = omen_columns_check(c.index, note_fault, &faults);
            CHECK((checked == OMEN_OK) == (faults == 0));
            n_faults += faults > 0;
            n_sound += faults == 0;
            for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
                int found;
                free(select_rows(&c, conditions[i], &found));
                /* a name that was changed is no column */
                CHECK_CASE(found == OMEN_OK || found == OMEN_ERR_ARGUMENT || (found == OMEN_ERR_CORRUPT && faults > 0),
                           "%s gives %d: %s", conditions[i], found, column_detail.text);
            }
        } else {
            CHECK(status == OMEN_ERR_CORRUPT || status == OMEN_ERR_UNSUPPORTED);
            n_refused++;
        }
        memcpy(bytes + at, before, n);
    }
    CHECK_CASE(n_refused > 300 && n_faults > 1000 && n_sound > 300, "%llu refused, %llu with faults, %llu sound",
               (unsigned long long)n_refused, (unsigned long long)n_faults, (unsigned long long)n_sound);
    /* one section without the other, and either cut short */
    for (int i = 0; i < 2; i++) {
        omen_section *section = &c.sections.sections[i];
        section->n_bytes--;
        CHECK_EQ_INT(open_columns(&c), OMEN_ERR_CORRUPT);
        section->n_bytes++;
        section->id++;
        CHECK_EQ_INT(open_columns(&c), OMEN_ERR_CORRUPT);
        section->id--;
    }
    CHECK_EQ_INT(open_columns(&c), OMEN_OK);
    columns_free(&c);
}

/* ---- what fails ---- */

static void test_refused(void)
{
    static const uint64_t falling[] = {0, 3, 2}, one[] = {0, 1};
    const omen_words bad_words = {2, falling, "abc"}, words = {1, one, "a"};
    const uint32_t codes[] = {0, 1}, tags[] = {0, 0, 1};
    const uint64_t first[] = {0, 1, 3}, bad_first[] = {0, 2, 1};
    const int64_t values[] = {1, 2};
    char name[300];
    omen_detail why;
    omen_columns *columns = NULL;
    CHECK_EQ_INT(omen_columns_create(&columns, 0, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_columns_create(&columns, (uint64_t)1 << 32, &why), OMEN_ERR_ARGUMENT);
    columns = make(2);
    CHECK_EQ_INT(omen_columns_add_integers(columns, "", values, NULL, &why), OMEN_ERR_ARGUMENT);
    memset(name, 'x', 256);
    name[256] = '\0';
    CHECK_EQ_INT(omen_columns_add_integers(columns, name, values, NULL, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_columns_add_texts(columns, "t", &bad_words, codes, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_columns_add_texts(columns, "t", &words, codes, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "row 1");
    CHECK_EQ_INT(omen_columns_add_tags(columns, "t", &words, first, tags, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_columns_add_tags(columns, "t", NULL, bad_first, tags, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_columns_count(columns), 0);
    for (uint32_t i = 0; i < OMEN_MAX_COLUMNS; i++) {
        snprintf(name, sizeof name, "c%u", i);
        CHECK_EQ_INT(omen_columns_add_integers(columns, name, values, NULL, &why), OMEN_OK);
        CHECK(strcmp(omen_columns_name(columns, i), name) == 0);
        CHECK(!omen_columns_name(columns, i + 1));
    }
    CHECK_EQ_INT(omen_columns_add_integers(columns, "more", values, NULL, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_columns_add_integers(columns, "c7", values, NULL, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "two columns are called \"c7\"");
    column_case c = write_columns(columns, 1);
    CHECK_EQ_INT(count_rows(&c, "c1023 = 2"), 1);
    columns_free(&c);
}

static int stop_after(void *context, const char *stage, uint64_t done, uint64_t total)
{
    uint64_t *n_left = context;
    return --*n_left == 0;
}

/* Every call of the sink may fail; PERM may be wrong; the caller may stop it at any look. */
static void test_failures(void)
{
    uint32_t rows[300];
    omen_detail why;
    for (uint32_t i = 0; i < 300; i++)
        rows[i] = 299 - i;
    const omen_section perm = {.id = OMEN_SECTION_PERM, .data = rows, .n_bytes = sizeof rows};
    omen_columns *columns = make_all(300);
    for (uint64_t fail_at = 2, status = 1; status; fail_at++) {
        sections_in_memory sections = {.fail_at = fail_at};
        const omen_sink sink = sink_of(&sections);
        CHECK_EQ_INT(sink.start(sink.self, 1, NULL), OMEN_OK);
        const int found = omen_columns_write(columns, &perm, &sink, NULL, NULL, &why);
        CHECK(found == SINK_CODE || (found == OMEN_OK && fail_at > 6));
        status = found == SINK_CODE;
        sections_free(&sections);
    }
    sections_in_memory sections = {.n = 0};
    const omen_sink sink = sink_of(&sections);
    rows[5] = rows[6];
    CHECK_EQ_INT(omen_columns_write(columns, &perm, &sink, NULL, NULL, &why), OMEN_ERR_CORRUPT);
    rows[5] = 300;
    CHECK_EQ_INT(omen_columns_write(columns, &perm, &sink, NULL, NULL, &why), OMEN_ERR_CORRUPT);
    const omen_section shorter = {.id = OMEN_SECTION_PERM, .data = rows, .n_bytes = 4 * 299};
    CHECK_EQ_INT(omen_columns_write(columns, &shorter, &sink, NULL, NULL, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(sections.n, 0);
    for (uint32_t i = 0; i < 300; i++)
        rows[i] = i;
    for (uint64_t stop_at = 1, status = 1; status; stop_at++) {
        uint64_t n_left = stop_at;
        sections_in_memory stopped = {.n = 0};
        const omen_sink to = sink_of(&stopped);
        CHECK_EQ_INT(to.start(to.self, 1, NULL), OMEN_OK);
        const int found = omen_columns_write(columns, &perm, &to, stop_after, &n_left, &why);
        CHECK(found == OMEN_ERR_INTERRUPTED || (found == OMEN_OK && stop_at > 4));
        status = found == OMEN_ERR_INTERRUPTED;
        sections_free(&stopped);
    }
    omen_columns_destroy(columns);
    omen_columns_destroy(NULL);
}

int main(void)
{
    RUN(test_integers);
    RUN(test_reals);
    RUN(test_texts);
    RUN(test_tags);
    RUN(test_damaged);
    RUN(test_refused);
    RUN(test_failures);
    return check_finish();
}
