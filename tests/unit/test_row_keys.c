/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of rows: made, written, found again; sections that lie; rows of an index as a source. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "lib/index_keys.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

#define N_ROWS 300u

/* The keys of a test: of integers the numbers, of text these in a few forms. */
typedef struct {
    omen_key_kind kind;
    uint64_t n;
    omen_row_key *keys;
    char (*texts)[40];
} key_list;

/* n keys of which n_distinct differ, in no order. Numbers lie all over their range if they are wide. */
static key_list make_keys(omen_key_kind kind, uint64_t n, uint64_t n_distinct, bool wide)
{
    key_list list = {kind, n, calloc(n, sizeof *list.keys), calloc(n, sizeof *list.texts)};
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t number = i * 7919 % n % n_distinct, far = omen_random(5, number);
        list.keys[i] = (omen_row_key){.kind = kind, .number = wide ? far : number - 7};
        if (kind == OMEN_KEYS_UINT64 && !wide)
            list.keys[i].number = number;
        if (kind != OMEN_KEYS_TEXT)
            continue;
        list.keys[i].number = 0;
        /* beginnings of one another, the same first eight bytes, bytes above 0x7f */
        const char *form = number % 3 == 0 ? "k%llu" : number % 3 == 1 ? "same beginning %llu" : "\xc3\xa9%llu";
        if (wide)
            form = "%llx";
        snprintf(list.texts[i], sizeof *list.texts, form, (unsigned long long)(wide ? far : number));
        list.keys[i].text = list.texts[i];
        list.keys[i].n_bytes = (uint32_t)strlen(list.texts[i]);
    }
    return list;
}

static void keys_free(key_list *list)
{
    free(list->keys);
    free(list->texts);
}

/* Added and finished; NULL if that failed, which is told by detail. */
static omen_row_keys *finished(const key_list *list, bool allow_duplicates, int n_threads)
{
    omen_row_keys *keys = NULL;
    int status = omen_row_keys_create(&keys, list->kind, list->n, &detail);
    for (uint64_t i = 0; i < list->n && status == OMEN_OK; i++)
        status = omen_row_keys_add(keys, &list->keys[i], &detail);
    if (status == OMEN_OK)
        status = omen_row_keys_finish(keys, allow_duplicates, n_threads, NULL, &detail);
    if (status == OMEN_OK)
        return keys;
    omen_row_keys_destroy(keys);
    return NULL;
}

/* An index of N_ROWS rows with these keys, closed again: its sections. */
static void make_sections(const key_list *list, bool allow_duplicates, sections_in_memory *out)
{
    rows_in_memory rows = make_rows(N_ROWS, 13, CLUSTERED, 1);
    omen_build_options o;
    omen_build_options_init(&o);
    o.codec = OMEN_CODEC_NONE;
    o.lists.n = 4;
    omen_index_close(make_index(&rows, &o, out));
    omen_row_keys *keys = finished(list, allow_duplicates, 1);
    const omen_sink sink = sink_of(out);
    CHECK(keys);
    if (keys)
        CHECK_EQ_INT(omen_row_keys_write(keys, &sink, NULL, NULL, &detail), OMEN_OK);
    omen_row_keys_destroy(keys);
    rows_free(&rows);
}

static void count_fault(void *context, const char *section, const char *text)
{
    (void)text;
    CHECK_CASE(strncmp(section, "KEY", 3) == 0, "%s", section);
    ++*(int *)context;
}

/* ---- found again ---- */

static void check_found(const omen_index *index, const key_list *list, bool are_distinct)
{
    int n_faults = 0;
    for (uint64_t i = 0; i < list->n; i++) {
        omen_row_key key;
        int64_t row;
        CHECK_EQ_INT(omen_index_key_of(index, i, &key, &detail), OMEN_OK);
        CHECK_CASE(omen_row_key_compare(&key, &list->keys[i]) == 0, "row %llu", (unsigned long long)i);
        CHECK_EQ_INT(omen_index_row_of_key(index, &list->keys[i], &row, &detail), OMEN_OK);
        uint64_t first = 0;
        while (omen_row_key_compare(&list->keys[first], &list->keys[i]) != 0)
            first++;
        CHECK_CASE((uint64_t)row == first, "key of row %llu is found in row %lld", (unsigned long long)i,
                   (long long)row);
        CHECK(!are_distinct || first == i);
        /* the rows of one key, one after the other */
        uint64_t next = i + 1;
        while (next < list->n && omen_row_key_compare(&list->keys[next], &list->keys[i]) != 0)
            next++;
        CHECK_EQ_INT(omen_index_row_of_key_from(index, &list->keys[i], i, &row, &detail), OMEN_OK);
        CHECK_EQ_INT(row, (int64_t)i);
        CHECK_EQ_INT(omen_index_row_of_key_from(index, &list->keys[i], i + 1, &row, &detail), OMEN_OK);
        CHECK_EQ_INT(row, next < list->n ? (int64_t)next : OMEN_NO_ROW);
    }
    CHECK_EQ_INT(omen_index_check(index, count_fault, &n_faults), OMEN_OK);
    CHECK_EQ_INT(n_faults, 0);
}

static void test_found(void)
{
    for (int i = 0; i < 12; i++) {
        const omen_key_kind kind = (omen_key_kind)(OMEN_KEYS_INT64 + i / 2 % 3);
        const bool wide = i % 2, are_distinct = i < 6;
        key_list list = make_keys(kind, N_ROWS, are_distinct ? N_ROWS : 100, wide);
        sections_in_memory sections;
        omen_index *index = NULL;
        omen_index_info info = {.struct_bytes = sizeof info};
        make_sections(&list, !are_distinct, &sections);
        CHECK_EQ_INT(omen_index_open(&index, sections.sections, sections.n, &detail), OMEN_OK);
        if (index) {
            check_found(index, &list, are_distinct);
            CHECK_EQ_INT(omen_index_get_info(index, &info), OMEN_OK);
            CHECK_EQ_INT(info.key_kind, kind);
            CHECK(info.key_bytes >= 64 + 5 * N_ROWS);
            const char *const absent[] = {"a", "k", "k99999", "zzz"};
            for (size_t a = 0; a < 4; a++) {
                int64_t row = 0;
                const omen_row_key key = {.kind = kind,
                                          .text = absent[a],
                                          .n_bytes = (uint32_t)strlen(absent[a]),
                                          .number = 1000 + ((uint64_t)a << 62)};
                CHECK_EQ_INT(omen_index_row_of_key(index, &key, &row, &detail), OMEN_OK);
                CHECK_EQ_INT(row, OMEN_NO_ROW);
                CHECK_EQ_INT(omen_index_row_of_key_from(index, &key, 1, &row, &detail), OMEN_OK);
                CHECK_EQ_INT(row, OMEN_NO_ROW);
            }
            const omen_row_key other = {.kind = kind % 3 + 1};
            CHECK_EQ_INT(omen_index_row_of_key(index, &other, &(int64_t){0}, &detail), OMEN_ERR_ARGUMENT);
            CHECK_EQ_INT(omen_index_key_of(index, N_ROWS, &(omen_row_key){0}, &detail), OMEN_ERR_ARGUMENT);
        }
        omen_index_close(index);
        sections_free(&sections);
        keys_free(&list);
    }
}

/* Each thread count gives the same bytes; and so large a set that threads share the work. */
static void test_threads(void)
{
    for (omen_key_kind kind = OMEN_KEYS_INT64; kind <= OMEN_KEYS_TEXT; kind++) {
        key_list list = make_keys(kind, 20011, 20011, kind == OMEN_KEYS_UINT64);
        sections_in_memory first = {0};
        for (int n_threads = 1; n_threads <= 4; n_threads++) {
            sections_in_memory made = {0};
            omen_row_keys *keys = finished(&list, false, n_threads);
            const omen_sink sink = sink_of(&made);
            CHECK_EQ_INT(sink.start(sink.self, 1, NULL), OMEN_OK);
            CHECK(keys && omen_row_keys_write(keys, &sink, NULL, NULL, &detail) == OMEN_OK);
            CHECK(n_threads == 1 || same_sections(&made, &first));
            if (n_threads == 1)
                first = made;
            else
                sections_free(&made);
            omen_row_keys_destroy(keys);
        }
        sections_free(&first);
        keys_free(&list);
    }
}

/* ---- what no key may be ---- */

static void test_texts(void)
{
    static const struct {
        const char *text;
        size_t n_bytes;
        const char *fault; /* NULL: none */
    } cases[] = {
        {"a", 1, NULL},
        {" x\"\\,;'", 7, NULL},
        {"\xc2\xa0", 2, NULL},
        {"a\xc2\x9b", 3, "byte 2 of a key, 0xc2, is a control character"},
        {"\xc2\x80", 2, "control character"},
        {"\xe2\x82\xac", 3, NULL},
        {"\xf4\x8f\xbf\xbf", 4, NULL},
        {"", 0, "empty"},
        {"a\0b", 3, "byte 2 of a key, 0x00, is a control character"},
        {"a\tb", 3, "control character"},
        {"a\nb", 3, "control character"},
        {"\x7f", 1, "control character"},
        {"ab\x80", 3, "byte 3 of a key, 0x80, is not UTF-8"},
        {"\xc3", 1, "not UTF-8"},
        {"\xc0\x80", 2, "not UTF-8"},         /* longer than it has to be */
        {"\xe0\x9f\xbf", 3, "not UTF-8"},     /* likewise */
        {"\xed\xa0\x80", 3, "not UTF-8"},     /* half of a surrogate pair */
        {"\xf4\x90\x80\x80", 4, "not UTF-8"}, /* beyond U+10FFFF */
        {"\xf8\x88\x80\x80\x80", 5, "not UTF-8"},
        {"\xe2\x82", 2, "not UTF-8"},
    };
    char longest[OMEN_MAX_KEY_BYTES + 1];
    omen_row_key key;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int status = omen_row_key_parse(OMEN_KEYS_TEXT, cases[i].text, cases[i].n_bytes, &key, &detail);
        CHECK_CASE(status == (cases[i].fault ? OMEN_ERR_INPUT : OMEN_OK), "case %zu: %d", i, status);
        if (cases[i].fault)
            CHECK_STR_CONTAINS(detail.text, cases[i].fault);
    }
    memset(longest, 'x', sizeof longest);
    CHECK_EQ_INT(omen_row_key_parse(OMEN_KEYS_TEXT, longest, OMEN_MAX_KEY_BYTES, &key, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_key_parse(OMEN_KEYS_TEXT, longest, sizeof longest, &key, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "4097 bytes");
}

static void test_numbers(void)
{
    static const struct {
        const char *text;
        bool is_int64, is_uint64;
        uint64_t number;
    } cases[] = {
        {"0", true, true, 0},
        {"007", true, true, 7},
        {"-1", true, false, UINT64_MAX},
        {"9223372036854775807", true, true, INT64_MAX},
        {"9223372036854775808", false, true, (uint64_t)INT64_MAX + 1},
        {"-9223372036854775808", true, false, (uint64_t)INT64_MAX + 1},
        {"-9223372036854775809", false, false, 0},
        {"18446744073709551615", false, true, UINT64_MAX},
        {"18446744073709551616", false, false, 0},
        {"", false, false, 0},
        {"-", false, false, 0},
        {"+1", false, false, 0},
        {"1 ", false, false, 0},
        {"1e3", false, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (omen_key_kind kind = OMEN_KEYS_INT64; kind <= OMEN_KEYS_UINT64; kind++) {
            const bool is_one = kind == OMEN_KEYS_INT64 ? cases[i].is_int64 : cases[i].is_uint64;
            omen_row_key key;
            const int status = omen_row_key_parse(kind, cases[i].text, strlen(cases[i].text), &key, &detail);
            CHECK_CASE(status == (is_one ? OMEN_OK : OMEN_ERR_INPUT), "%s: %d", cases[i].text, status);
            CHECK_CASE(!is_one || key.number == cases[i].number, "%s: %" PRIu64, cases[i].text, key.number);
        }
    }
}

static void test_misuse(void)
{
    key_list list = make_keys(OMEN_KEYS_TEXT, 10, 8, false);
    sections_in_memory sections = {0};
    const omen_sink sink = sink_of(&sections);
    omen_row_keys *keys;
    uint64_t twins[2];
    CHECK_EQ_INT(omen_row_keys_create(&keys, OMEN_KEYS_NONE, 10, &detail), OMEN_ERR_ARGUMENT);
    CHECK(!keys);
    CHECK_EQ_INT(omen_row_keys_create(&keys, OMEN_KEYS_TEXT, 0, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_row_keys_create(&keys, OMEN_KEYS_TEXT, (uint64_t)1 << 32, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_row_keys_create(&keys, OMEN_KEYS_TEXT, 10, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_keys_add(keys, &(omen_row_key){.kind = OMEN_KEYS_INT64}, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_row_keys_finish(keys, true, 1, NULL, &detail), OMEN_ERR_ARGUMENT);
    for (uint64_t i = 0; i < 10; i++)
        CHECK_EQ_INT(omen_row_keys_add(keys, &list.keys[i], &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_keys_add(keys, &list.keys[0], &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_row_keys_write(keys, &sink, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    /* the first row that has the key of another, and that one */
    uint64_t second = 1, first = 0;
    while (omen_row_key_compare(&list.keys[first], &list.keys[second]) != 0)
        if (++first == second)
            second++, first = 0;
    CHECK_EQ_INT(omen_row_keys_finish(keys, false, 1, twins, &detail), OMEN_ERR_INPUT);
    CHECK(twins[0] == first && twins[1] == second);
    CHECK_EQ_INT(omen_row_keys_write(keys, &sink, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_row_keys_finish(keys, true, 1, NULL, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_keys_finish(keys, true, 1, NULL, &detail), OMEN_ERR_ARGUMENT);
    omen_row_keys_destroy(keys);
    omen_row_keys_destroy(NULL);
    keys_free(&list);
}

/* Each call of the sink fails in turn. */
static void test_failing_sink(void)
{
    key_list list = make_keys(OMEN_KEYS_TEXT, N_ROWS, N_ROWS, false);
    omen_row_keys *keys = finished(&list, false, 1);
    uint64_t n_failed = 0;
    for (int status = SINK_CODE; status != OMEN_OK && keys; n_failed += status != OMEN_OK) {
        sections_in_memory sections = {.fail_at = 0};
        const omen_sink sink = sink_of(&sections);
        CHECK_EQ_INT(sink.start(sink.self, 1, NULL), OMEN_OK);
        sections.fail_at = n_failed + 2;
        status = omen_row_keys_write(keys, &sink, NULL, NULL, &detail);
        CHECK(status == OMEN_OK || status == SINK_CODE);
        sections_free(&sections);
    }
    CHECK_EQ_INT(n_failed, 12);
    omen_row_keys_destroy(keys);
    keys_free(&list);
}

/* ---- sections that lie ---- */

/* Opens, reads every key and looks every one up. Whatever the sections say, nothing but a key comes of it, or a
 * refusal; and what the full check calls sound is found again. Returns whether it is sound. */
static bool try_keys(const sections_in_memory *sections, uint32_t *n_opened)
{
    omen_index *index = NULL;
    int n_faults = 0, status = omen_index_open(&index, sections->sections, sections->n, &detail);
    CHECK_CASE(status == OMEN_OK || status == OMEN_ERR_CORRUPT || status == OMEN_ERR_UNSUPPORTED, "open: %d", status);
    if (status != OMEN_OK)
        return false;
    ++*n_opened;
    const int checked = omen_index_check(index, count_fault, &n_faults);
    CHECK(checked == (n_faults > 0 ? OMEN_ERR_CORRUPT : OMEN_OK));
    for (uint64_t i = 0; i < N_ROWS; i++) {
        omen_row_key key;
        int64_t row = OMEN_NO_ROW;
        status = omen_index_key_of(index, i, &key, &detail);
        CHECK_CASE(status == OMEN_OK || (status == OMEN_ERR_CORRUPT && checked != OMEN_OK), "key: %d", status);
        if (status != OMEN_OK)
            continue;
        if (key.kind == OMEN_KEYS_TEXT)
            CHECK_EQ_INT(omen_row_key_check_text(key.text, key.n_bytes, &detail), OMEN_OK);
        status = omen_index_row_of_key(index, &key, &row, &detail);
        CHECK_CASE(status == OMEN_OK || (status == OMEN_ERR_CORRUPT && checked != OMEN_OK), "row: %d", status);
        CHECK(checked != OMEN_OK || (row >= 0 && row <= (int64_t)i));
    }
    omen_index_close(index);
    return checked == OMEN_OK;
}

static omen_section *section_of(sections_in_memory *sections, uint32_t id)
{
    for (size_t s = 0; s < sections->n; s++)
        if (sections->sections[s].id == id)
            return &sections->sections[s];
    return NULL;
}

static void test_forged(void)
{
    static const uint32_t ids[] = {OMEN_SECTION_KEYS, OMEN_SECTION_KEYV, OMEN_SECTION_KEYO, OMEN_SECTION_KEYI};
    uint32_t n_opened = 0, n_sound = 0, n_tries = 0;
    for (omen_key_kind kind = OMEN_KEYS_INT64; kind <= OMEN_KEYS_TEXT; kind++) {
        key_list list = make_keys(kind, N_ROWS, 280, kind == OMEN_KEYS_UINT64);
        sections_in_memory sections;
        make_sections(&list, true, &sections);
        CHECK(try_keys(&sections, &n_opened));
        for (uint64_t turn = 0; turn < 600; turn++) {
            omen_section *section = section_of(&sections, ids[turn % 4]);
            if (!section)
                continue;
            uint8_t *bytes = (uint8_t *)section->data, before[4];
            const uint64_t at = omen_random((uint64_t)kind, 3 * turn) % (section->n_bytes - 3);
            const uint64_t how = omen_random((uint64_t)kind, 3 * turn + 1);
            memcpy(before, bytes + at, 4);
            if (how % 3 == 0)
                bytes[at] ^= (uint8_t)(1u << how / 3 % 8);
            else if (how % 3 == 1)
                bytes[at] = (uint8_t)(how / 3);
            else
                memcpy(bytes + at, &(uint32_t){(uint32_t)(how / 3)}, 4);
            const bool is_changed = memcmp(before, bytes + at, 4) != 0;
            const bool is_sound = try_keys(&sections, &n_opened);
            n_tries += is_changed;
            n_sound += is_changed && is_sound;
            memcpy(bytes + at, before, 4);
        }
        for (size_t i = 0; i < 4; i++) {
            sections_in_memory changed = sections;
            omen_section *section = section_of(&changed, ids[i]);
            if (!section)
                continue;
            const omen_section sound = *section;
            *section = changed.sections[--changed.n]; /* missing */
            CHECK_CASE(!try_keys(&changed, &n_opened), "without %.4s", (const char *)&ids[i]);
            changed = sections;
            section = section_of(&changed, ids[i]);
            section->n_bytes--; /* cut */
            section->data = aligned_copy(sound.data, section->n_bytes);
            CHECK_CASE(!try_keys(&changed, &n_opened), "%.4s cut", (const char *)&ids[i]);
            free((void *)section->data);
            *section = sound;
            section->element ^= 1;
            CHECK_CASE(!try_keys(&changed, &n_opened), "%.4s of another type", (const char *)&ids[i]);
        }
        sections_free(&sections);
        keys_free(&list);
    }
    /* another key in its place in the order, a text with another letter: no fault that anything could see but checksums
     */
    printf("# %u of %u changed ones are sound, %u are opened\n", n_sound, n_tries, n_opened);
    CHECK(n_opened > 500 && n_sound < n_tries / 4);
}

static void swallow_fault(void *context, const char *section, const char *text)
{
    snprintf(context, 200, "%s: %s", section, text);
}

/* Opens sections in which a lie was put, and expects the key of a row, and the full check, to tell it. */
static void expect_fault(const sections_in_memory *sections, uint64_t row, const char *key_fault, const char *fault)
{
    omen_index *index = NULL;
    omen_row_key key;
    char told[200] = "";
    CHECK_EQ_INT(omen_index_open(&index, sections->sections, sections->n, &detail), OMEN_OK);
    if (!index)
        return;
    CHECK_EQ_INT(omen_index_key_of(index, row, &key, &detail), key_fault ? OMEN_ERR_CORRUPT : OMEN_OK);
    if (key_fault)
        CHECK_STR_CONTAINS(detail.text, key_fault);
    CHECK_EQ_INT(omen_index_check(index, swallow_fault, told), OMEN_ERR_CORRUPT);
    CHECK_STR_CONTAINS(told, fault);
    omen_index_close(index);
}

/* One lie each, and what it is called. */
static void test_lies(void)
{
    key_list list = make_keys(OMEN_KEYS_TEXT, N_ROWS, 280, false);
    sections_in_memory sections;
    make_sections(&list, true, &sections);
    omen_keys_head *head = (omen_keys_head *)section_of(&sections, OMEN_SECTION_KEYS)->data;
    uint8_t *offsets = (uint8_t *)section_of(&sections, OMEN_SECTION_KEYO)->data, kept[2];
    uint32_t *order = (uint32_t *)section_of(&sections, OMEN_SECTION_KEYI)->data;
    CHECK(head->width == 2);

    head->flags = 0;
    expect_fault(&sections, 0, NULL, "KEYI: a key stands twice");
    head->flags = OMEN_KEYS_FLAG_SHARED;
    head->longest++;
    expect_fault(&sections, 0, NULL, "KEYS: its lengths");
    head->longest--;

    memcpy(kept, offsets + 2 * N_ROWS, 2);
    memcpy(offsets + 2 * N_ROWS, &(uint16_t){(uint16_t)(head->most + 1)}, 2); /* a byte beyond the text */
    expect_fault(&sections, N_ROWS - 1, "section KEYO: row 299", "KEYO: row 299: the place of its key is impossible");
    memcpy(offsets + 2 * N_ROWS, kept, 2);
    memcpy(kept, offsets + 2 * 7, 2);
    memcpy(offsets + 2 * 7, offsets + 2 * 3, 2); /* before the one before */
    expect_fault(&sections, 6, "section KEYO: row 6", "KEYO: row 6");
    expect_fault(&sections, 7, "section KEYO: row 7", "KEYO: row 6"); /* longer than the longest */
    memcpy(offsets + 2 * 7, kept, 2);

    const uint32_t row = order[9];
    order[9] = order[8];
    expect_fault(&sections, 0, NULL, "KEYI: the keys are not in order");
    order[9] = N_ROWS;
    expect_fault(&sections, 0, NULL, "KEYI: row 300: there is no such row");
    order[9] = row;

    char *text = (char *)section_of(&sections, OMEN_SECTION_KEYV)->data;
    const char letter = text[0];
    text[0] = '\n';
    expect_fault(&sections, 0, "section KEYV: row 0: byte 1 of a key, 0x0a, is a control character", "KEYV: row 0");
    text[0] = letter;
    sections_free(&sections);
    keys_free(&list);
}

/* ---- rows as queries ---- */

static void test_rows(void)
{
    static const uint64_t wanted[] = {0, 299, 7, 7, 150, 0};
    const size_t n = sizeof wanted / sizeof *wanted;
    rows_in_memory rows = make_rows(N_ROWS, 13, CLUSTERED, 1);
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        sections_in_memory sections;
        float got[6 * 13];
        /* those without codes are the fastest, but have a refine tier in any case */
        if (!combination(i, &o) || (o.codec != OMEN_CODEC_NONE && o.refine != OMEN_REFINE_NONE))
            continue;
        o.lists.n = 4;
        omen_index *index = make_index(&rows, &o, &sections);
        omen_index_rows *found = NULL;
        const int status = omen_index_rows_open(&found, index, wanted, n, &detail);
        CHECK_EQ_INT(status, index->meta.refine == OMEN_REFINE_NONE ? OMEN_ERR_ARGUMENT : OMEN_OK);
        if (status == OMEN_OK) {
            const omen_source source = omen_index_rows_source(found);
            CHECK(source.n_rows == n && source.d == 13);
            CHECK_EQ_INT(source.read(source.self, 0, n, got, &detail), OMEN_OK);
            for (size_t w = 0; w < n; w++) {
                const float *row = rows.x + wanted[w] * 13;
                double length = 0, error = 0;
                for (size_t j = 0; j < 13; j++)
                    length += (double)row[j] * row[j];
                const double scale = o.metric == OMEN_METRIC_COSINE ? sqrt(length) : 1;
                for (size_t j = 0; j < 13; j++)
                    error = fmax(error, fabs(got[w * 13 + j] * scale - row[j]));
                CHECK_CASE(error <= (index->meta.refine == OMEN_REFINE_F32 && scale == 1 ? 0 : 0.01 * sqrt(length)),
                           "%s: row %llu is off by %g", case_name(&rows, &o), (unsigned long long)wanted[w], error);
            }
            CHECK_EQ_INT(omen_index_rows_open(&(omen_index_rows *){NULL}, index, &(uint64_t){N_ROWS}, 1, &detail),
                         OMEN_ERR_ARGUMENT);
        }
        omen_index_rows_close(found);
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
}

int main(void)
{
    RUN(test_found);
    RUN(test_threads);
    RUN(test_texts);
    RUN(test_numbers);
    RUN(test_misuse);
    RUN(test_failing_sink);
    RUN(test_forged);
    RUN(test_lies);
    RUN(test_rows);
    return check_finish();
}
