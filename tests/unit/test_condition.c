/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions: what is refused, and where; which are the same. That the right rows are selected is compared with SQLite
 * by tests/cli/where_sqlite.py. */
#include <locale.h>
#include <stdlib.h>

#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/column_cases.h"

static column_case table;

static void make_table(void)
{
    static const char bytes[] = "bagcoatshirt";
    static const uint64_t offsets[] = {0, 3, 7, 12};
    const omen_words words = {3, offsets, bytes};
    int64_t integers[100];
    double reals[100];
    uint32_t codes[100], tags[100];
    uint64_t first[101], nulls[2] = {2, 0};
    for (uint32_t i = 0; i < 100; i++) {
        integers[i] = i;
        reals[i] = i / 10.0;
        codes[i] = i % 3;
        tags[i] = i % 3;
        first[i] = i;
    }
    first[100] = 100;
    omen_columns *columns;
    CHECK_EQ_INT(omen_columns_create(&columns, 100, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_integers(columns, "price", integers, NULL, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_integers(columns, "stock", integers, nulls, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_reals(columns, "weight", OMEN_COLUMN_FLOAT32, reals, NULL, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_texts(columns, "label", &words, codes, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_texts(columns, "Größe (cm)", &words, codes, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_tags(columns, "tags", &words, first, tags, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_tags(columns, "numbers", NULL, first, tags, NULL), OMEN_OK);
    table = write_columns(columns, 1);
}

/* Each is refused, with a message that has these parts. */
static void test_refused(void)
{
    static const struct {
        const char *text, *place, *part;
    } cases[] = {
        {"", "character 1:", "it ends where a column should follow"},
        {"price", "character 6:", "it ends where"},
        {"price >", "character 8:", "a number, a 'text' or NULL"},
        {"prise = 1", "character 1:", "did you mean \"price\"?"},
        {"xyzzy = 1", "character 1:", "the columns are price, stock, weight"},
        {"price = 1 AND lable = 'bag'", "character 15:", "did you mean \"label\"?"},
        {"price = 'x'", "character 9:", "holds numbers"},
        {"label = 5", "character 9:", "single quotes"},
        {"label = \"bag\"", "character 9:", "'bag'"},
        {"label LIKE '%bag'", "character 12:", "beginning"},
        {"label LIKE 'b_g%'", "character 12:", "beginning"},
        {"price LIKE '1%'", "character 12:", "LIKE is for texts"},
        {"tags = 'bag'", "character 6:", "tags HAS 'word'"},
        {"'bag' = tags", "character 9:", "tags HAS 'word'"},
        {"numbers IN (1)", "character 9:", "numbers HAS 50"},
        {"tags IS NULL", "character 6:", "HAS"},
        {"tags HAS 5", "character 10:", "single quotes"},
        {"numbers HAS 'x'", "character 13:", "without quotes"},
        {"numbers HAS 1.5", "character 13:", "whole number"},
        {"tags HAS NULL", "character 10:", "'word'"},
        {"label HAS 'bag'", "character 11:", "compare it with ="},
        {"price = 1 2", "character 11:", "AND, OR or the end"},
        {"price = 1)", "character 10:", "AND, OR or the end"},
        {"(price = 1", "character 11:", "it ends where ) should follow"},
        {"price IN (1, 2", "character 15:", ", or )"},
        {"price IN ()", "character 11:", "a number"},
        {"price BETWEEN 1 OR 2", "character 17:", "AND"},
        {"price NOT = 1", "character 11:", "BETWEEN, IN, LIKE or HAS"},
        {"price = 1e", "character 9:", "1e is no number"},
        {"price = 12abc", "character 9:", "12abc is no number"},
        {"price = stock", "character 9:", "stock stands where a number"},
        {"label = 'bag", "character 9:", "no second one"},
        {"price & 1", "character 7:", "part of a condition"},
        {"price = 1; DROP", "character 10:", "part of a condition"},
        {"1 = 2", "character 5:", "a column"},
        {"Größe = 1", "character 1:", "there is no column"},
        {"\"Größe (cm)\" = 'bag' AND x = 1", "character 26:", "there is no column \"x\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status;
        free(select_rows(&table, cases[i].text, &status));
        CHECK_CASE(status == OMEN_ERR_ARGUMENT, "%s gives %d", cases[i].text, status);
        CHECK_CASE(strstr(column_detail.text, cases[i].place) && strstr(column_detail.text, cases[i].part), "%s: %s",
                   cases[i].text, column_detail.text);
    }
}

/* Texts that are long, deep or wide. */
static void test_limits(void)
{
    const size_t size = 3u << 20;
    char *text = malloc(size);
    size_t n = 0;
    for (unsigned depth = 64; depth <= 65; depth++) {
        n = 0;
        for (unsigned i = 0; i < depth; i++)
            n += (size_t)snprintf(text + n, size - n, "NOT (");
        n += (size_t)snprintf(text + n, size - n, "price < 50");
        for (unsigned i = 0; i < depth; i++)
            text[n++] = ')';
        text[n] = '\0';
        CHECK_EQ_INT(count_rows(&table, text), depth == 64 ? 50 : -1);
    }
    CHECK_STR_CONTAINS(column_detail.text, "nested");
    n = (size_t)snprintf(text, size, "price IN (0");
    for (unsigned i = 0; i < 100000; i++)
        n += (size_t)snprintf(text + n, size - n, ",%u", 2 * i);
    snprintf(text + n, size - n, ")");
    CHECK_EQ_INT(count_rows(&table, text), 50);
    n = (size_t)snprintf(text, size, "price = 1");
    for (unsigned i = 0; i < 40000; i++)
        n += (size_t)snprintf(text + n, size - n, " AND price != %u", 2 * i + 2);
    CHECK_EQ_INT(count_rows(&table, text), 1);
    memset(text, ' ', OMEN_MAX_CONDITION + 1);
    text[OMEN_MAX_CONDITION + 1] = '\0';
    CHECK_EQ_INT(count_rows(&table, text), -1);
    CHECK_STR_CONTAINS(column_detail.text, "bytes");
    free(text);
}

/* Whether two conditions have the same key. */
static bool are_same(const char *a, const char *b)
{
    omen_condition *x = NULL, *y = NULL;
    CHECK_EQ_INT(omen_condition_create(table.index, a, &x, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_condition_create(table.index, b, &y, NULL), OMEN_OK);
    const bool same = x && y && strcmp(omen_condition_key(x), omen_condition_key(y)) == 0;
    omen_condition_destroy(x);
    omen_condition_destroy(y);
    return same;
}

static void test_same(void)
{
    static const char *const same[][2] = {
        {"price=5", "5 = PRICE"},
        {"price >= 5 AND price <= 9", "price BETWEEN 5 AND 9"},
        {"price > 4.5", "NOT (price <= 4)"},
        {"label IN ('bag', 'coat')", "label = 'coat' OR label = 'bag' OR label = 'bag'"},
        {"label <> 'bag'", "NOT label = 'bag'"},
        {"label LIKE 'c%'", "label = 'coat'"},
        {"price = 1 AND (label = 'bag' AND tags HAS 'bag')", "(tags HAS 'bag' AND label = 'bag') AND price = 1"},
        {"NOT (price = 1 OR tags HAS 'bag')", "price <> 1 AND NOT tags HAS 'bag'"},
        {"price = 1 AND price = 2", "tags HAS 'nowhere'"},
        {"stock = NULL", "price > 1000000"},
        {"price IS NOT NULL", "price IS NULL OR price >= 0"},
        {"stock < 1000", "stock IS NOT NULL"},
        {"weight = 0.1", "weight BETWEEN 0.1 AND 0.10000000001"},
    };
    static const char *const different[][2] = {
        {"price = 5", "price = 6"},
        {"price = 5", "stock = 5"},
        {"stock < 50", "price < 50"},
        {"tags HAS 'bag'", "NOT tags HAS 'bag'"},
        {"label = 'bag'", "tags HAS 'bag'"},
        {"stock IS NULL", "stock = 1"},
        {"price = 1 AND tags HAS 'bag'", "price = 1 OR tags HAS 'bag'"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        CHECK_CASE(are_same(same[i][0], same[i][1]), "%s, %s", same[i][0], same[i][1]);
    for (size_t i = 0; i < sizeof different / sizeof *different; i++)
        CHECK_CASE(!are_same(different[i][0], different[i][1]), "%s, %s", different[i][0], different[i][1]);
}

static int stop(void *context, const char *stage, uint64_t done, uint64_t total)
{
    CHECK(done <= total && stage[0] != '\0');
    return 1;
}

/* Many at once, one of which cannot be: sets of all, in order; or none, where the caller wants to stop. */
static void test_many(void)
{
    enum { MANY = 200 };
    omen_condition *conditions[MANY];
    omen_row_set *sets[MANY];
    char text[64];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "price < %u", i / 2);
        CHECK_EQ_INT(omen_condition_create(table.index, text, &conditions[i], NULL), OMEN_OK);
    }
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        CHECK_EQ_INT(omen_conditions_evaluate((const omen_condition *const *)conditions, MANY, n_threads, sets, NULL,
                                              NULL, NULL),
                     OMEN_OK);
        for (unsigned i = 0; i < MANY; i++) {
            CHECK_EQ_INT(omen_row_set_count(sets[i]), i / 2);
            omen_row_set_destroy(sets[i]);
        }
    }
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        CHECK_EQ_INT(omen_conditions_evaluate((const omen_condition *const *)conditions, MANY, n_threads, sets, stop,
                                              NULL, &column_detail),
                     OMEN_ERR_INTERRUPTED);
        CHECK_STR_CONTAINS(column_detail.text, "interrupted");
        for (unsigned i = 0; i < MANY; i++)
            CHECK(!sets[i]);
    }
    CHECK_EQ_INT(omen_conditions_evaluate(NULL, 0, 1, NULL, NULL, NULL, NULL), OMEN_OK);
    for (unsigned i = 0; i < MANY; i++)
        omen_condition_destroy(conditions[i]);
}

enum { ORDER_ROWS = 3000, ORDER_TESTS = 1200, ORDER_PASSES = 400 };

/* Columns of every width, some rows without a value. */
static column_case make_values(void)
{
    static const uint64_t spans[] = {1, 200, 60000, 1 << 20, UINT32_MAX, (uint64_t)1 << 50, UINT64_MAX};
    static int64_t integers[ORDER_ROWS];
    static double reals[ORDER_ROWS];
    uint64_t nulls[ORDER_ROWS / 64 + 1], all[ORDER_ROWS / 64 + 1];
    omen_columns *columns;
    CHECK_EQ_INT(omen_columns_create(&columns, ORDER_ROWS, NULL), OMEN_OK);
    memset(all, 0xff, sizeof all);
    for (uint32_t c = 0; c < 7; c++) {
        char name[] = "i0";
        name[1] = (char)('0' + c);
        for (uint32_t i = 0; i < ORDER_ROWS; i++) {
            const uint64_t x = omen_random(c, i);
            integers[i] = (int64_t)(spans[c] < UINT64_MAX ? x % spans[c] : x);
            reals[i] = i % 7 ? (double)(int64_t)x / (1 << 30) : x % 2 ? 0.0 : -0.0;
        }
        for (uint32_t w = 0; w < sizeof nulls / sizeof *nulls; w++)
            nulls[w] = omen_random(100 + c, 2 * w) & omen_random(100 + c, 2 * w + 1);
        CHECK_EQ_INT(omen_columns_add_integers(columns, name, integers, c % 2 ? nulls : NULL, NULL), OMEN_OK);
    }
    CHECK_EQ_INT(omen_columns_add_integers(columns, "i7", integers, all, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_reals(columns, "f8", OMEN_COLUMN_FLOAT32, reals, nulls, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_reals(columns, "f9", OMEN_COLUMN_FLOAT64, reals, NULL, NULL), OMEN_OK);
    return write_columns(columns, 3);
}

/* A value of some row of a column, as text. */
static void draw_value(uint32_t column, uint64_t turn, char *text, size_t size)
{
    static const uint64_t spans[] = {1, 200, 60000, 1 << 20, UINT32_MAX, (uint64_t)1 << 50, UINT64_MAX, UINT64_MAX};
    const uint64_t x = omen_random(column < 7 ? column : 6, omen_random(8, turn) % ORDER_ROWS);
    if (column < 8)
        snprintf(text, size, "%lld", (long long)(spans[column] < UINT64_MAX ? x % spans[column] : x));
    else
        snprintf(text, size, "%.17g", omen_random(9, turn) % 9 ? (double)(int64_t)x / (1 << 30) : 0);
}

/* A test on a column: a range, or some; now and then many values. */
static void draw_condition(uint32_t column, uint64_t turn, char *text, size_t size)
{
    char name[] = "i0", low[64], high[64];
    size_t n = 0;
    name[0] = column < 8 ? 'i' : 'f';
    name[1] = (char)('0' + column);
    draw_value(column, 2 * turn, low, sizeof low);
    draw_value(column, 2 * turn + 1, high, sizeof high);
    if (turn % 5 == 0)
        n = (size_t)snprintf(text, size, "%s %s %s", name, turn % 2 ? "<" : ">=", low);
    else if (turn % 5 == 1)
        n = (size_t)snprintf(text, size, "NOT %s BETWEEN %s AND %s", name, low, high);
    else if (turn % 5 > 2)
        n = (size_t)snprintf(text, size, "%s BETWEEN %s AND %s", name, low, high);
    for (uint64_t i = 0; i < 1 + turn % 37 && turn % 5 == 2; i++) {
        draw_value(column, 40 * turn + i, low, sizeof low);
        n += (size_t)snprintf(text + n, size - n, "%s%s %s %s", i ? " OR " : "", name, turn % 3 ? "=" : "!=", low);
    }
    CHECK(n > 0 && n < size);
}

/* What is selected by the order of a column's values is what a pass over them selects. few: as many rows are a list. */
static void check_order(bool few)
{
    static omen_condition *conditions[ORDER_TESTS];
    static omen_row_set *sets[ORDER_TESTS];
    char text[4096];
    column_case c = make_values();
    if (few) {
        c.index->meta.refine = OMEN_REFINE_F32;
        c.index->meta.d_kept = 10000;
    }
    for (uint32_t column = 0; column < 10; column++) {
        uint64_t passes[ORDER_PASSES];
        for (uint32_t i = 0; i < ORDER_TESTS; i++) {
            draw_condition(column, i, text, sizeof text);
            CHECK_CASE(omen_condition_create(c.index, text, &conditions[i], &column_detail) == OMEN_OK, "%s: %s", text,
                       column_detail.text);
        }
        for (uint32_t i = 0; i < ORDER_PASSES; i++) {
            CHECK_EQ_INT(
                omen_conditions_evaluate((const omen_condition *const *)conditions + i, 1, 1, sets, NULL, NULL, NULL),
                OMEN_OK);
            passes[i] = omen_row_set_checksum(sets[0]);
            omen_row_set_destroy(sets[0]);
        }
        CHECK(!c.index->columns[column].order);
        CHECK_EQ_INT(
            omen_conditions_evaluate((const omen_condition *const *)conditions, ORDER_TESTS, 2, sets, NULL, NULL, NULL),
            OMEN_OK);
        CHECK_CASE(c.index->columns[column].order || column == 0 || column == 7, "column %u",
                   column); /* not of one value */
        for (uint32_t i = 0; i < ORDER_TESTS; i++) {
            CHECK_CASE(i >= ORDER_PASSES || passes[i] == omen_row_set_checksum(sets[i]), "column %u, condition %s",
                       column, omen_condition_key(conditions[i]));
            omen_row_set_destroy(sets[i]);
            omen_condition_destroy(conditions[i]);
        }
    }
    columns_free(&c);
}

/* Tags that few rows have, listed and looked for in those that many have: what a bitmap of the rows says. Postings of
 * three blocks, in lists and in bits. */
static void test_few_tags(void)
{
    enum { ROWS = 140000, TAGS = 6 };
    static const uint64_t one_in[TAGS] = {20000, 500, 30, 10, 2, 1};
    uint64_t *first = omen_alloc(ROWS + 1, sizeof *first), n = 0;
    uint32_t *tags = omen_alloc(ROWS * TAGS, sizeof *tags);
    char text[256];
    int status;
    for (uint64_t i = 0; i < ROWS; i++) {
        first[i] = n;
        for (uint32_t t = 0; t < TAGS; t++)
            if (omen_random(t, i) % one_in[t] == 0)
                tags[n++] = t;
    }
    first[ROWS] = n;
    omen_columns *columns;
    CHECK_EQ_INT(omen_columns_create(&columns, ROWS, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_tags(columns, "t", NULL, first, tags, NULL), OMEN_OK);
    column_case c = write_columns(columns, 3);
    for (uint32_t turn = 0; turn < 2 * TAGS + 60; turn++) {
        size_t length = 0;
        const uint32_t n_tests = turn < 2 * TAGS ? 1 : 2 + turn % 2;
        for (uint32_t i = 0; i < n_tests; i++) {
            const uint64_t x = turn < 2 * TAGS ? turn : omen_random(9, 3 * turn + i);
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%st HAS %u", i ? " AND " : "",
                                       x / TAGS % 2 ? "NOT " : "", (unsigned)(x % TAGS));
        }
        c.index->meta.refine = OMEN_REFINE_NONE; /* no rows are few */
        uint8_t *want = select_rows(&c, text, &status);
        c.index->meta.refine = OMEN_REFINE_F32;
        c.index->meta.d_kept = turn % 3 ? 10000 : 100000000;
        uint8_t *got = select_rows(&c, text, &status);
        CHECK_CASE(want && got && memcmp(want, got, ROWS) == 0, "%s", text);
        free(want);
        free(got);
    }
    columns_free(&c);
    free(first);
    free(tags);
}

static void test_order(void)
{
    check_order(false);
    check_order(true);
}

static void test_numbers(void)
{
    static const struct {
        const char *text;
        omen_number_kind kind;
        double value;
    } cases[] = {{"0", OMEN_NUMBER_INTEGER, 0},
                 {"-9223372036854775808", OMEN_NUMBER_INTEGER, -9223372036854775808.0},
                 {"9223372036854775808", OMEN_NUMBER_REAL, 9223372036854775808.0},
                 {"+7", OMEN_NUMBER_INTEGER, 7},
                 {"1.", OMEN_NUMBER_REAL, 1},
                 {".5", OMEN_NUMBER_REAL, 0.5},
                 {"-.5e-3", OMEN_NUMBER_REAL, -0.0005},
                 {"0.1", OMEN_NUMBER_REAL, 0.1},
                 {"123456789012345678901234567890.5", OMEN_NUMBER_REAL, 123456789012345678901234567890.5},
                 {"2.2250738585072011e-308", OMEN_NUMBER_REAL, 2.2250738585072011e-308},
                 {"1e400", OMEN_NUMBER_REAL, __builtin_inf()},
                 {"74.43", OMEN_NUMBER_REAL, 74.43},
                 {"", OMEN_NUMBER_NONE, 0},
                 {"-", OMEN_NUMBER_NONE, 0},
                 {".", OMEN_NUMBER_NONE, 0},
                 {"1e", OMEN_NUMBER_NONE, 0},
                 {"1e+", OMEN_NUMBER_NONE, 0},
                 {"0x10", OMEN_NUMBER_NONE, 0},
                 {"nan", OMEN_NUMBER_NONE, 0},
                 {"inf", OMEN_NUMBER_NONE, 0},
                 {"1 ", OMEN_NUMBER_NONE, 0},
                 {"1,5", OMEN_NUMBER_NONE, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t integer = 0;
        double real = 0;
        const omen_number_kind kind = omen_number_parse(cases[i].text, strlen(cases[i].text), &integer, &real);
        CHECK_CASE(kind == cases[i].kind && (kind == OMEN_NUMBER_NONE || real == cases[i].value), "%s gives %d, %g",
                   cases[i].text, kind, real);
        CHECK(kind != OMEN_NUMBER_INTEGER || (double)integer == real);
    }
    char *digits = malloc(1000);
    memset(digits, '9', 1000);
    CHECK_EQ_INT(omen_number_parse(digits, 400, &(int64_t){0}, &(double){0}), OMEN_NUMBER_REAL);
    CHECK_EQ_INT(omen_number_parse(digits, 401, &(int64_t){0}, &(double){0}), OMEN_NUMBER_NONE);
    free(digits);
}

int main(void)
{
    setlocale(LC_ALL, "de_DE.UTF-8"); /* where it is installed, commas are points */
    make_table();
    RUN(test_refused);
    RUN(test_limits);
    RUN(test_same);
    RUN(test_many);
    RUN(test_order);
    RUN(test_few_tags);
    RUN(test_numbers);
    columns_free(&table);
    return check_finish();
}
