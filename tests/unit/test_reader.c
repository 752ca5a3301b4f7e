/* SPDX-License-Identifier: Apache-2.0 */
/* All that reads an index, while an allocation fails, while a checksum does not hold, and over sections whose fields
 * and bytes lie: a failure is told as what it is, and nothing is read beyond a section, or kept (AddressSanitizer).
 *
 *   test_reader [all]   all: more allocations, words and numbers, which takes ten times as long */
#include <stdlib.h>

#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/omendb_audit.h"
#include "lib/omendb_codes.h"
#include "lib/omendb_columns.h"
#include "lib/omendb_joint.h"
#include "lib/omendb_rows.h"
#include "tests/unit/check.h"
#include "tests/unit/failing_allocations.h"
#include "tests/unit/index_cases.h"

#define N_ROWS 120u
#define DIM    5u

static bool is_thorough;

/* ---- indexes ---- */

typedef struct {
    omen_metric metric;
    omen_codec codec;
    omen_refine refine;
    bool graph, columns, codes_only;
    omen_key_kind keys;
} recipe;

static const recipe recipes[] = {
    {OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_SQ8, true, true, false, OMEN_KEYS_TEXT},
    {OMEN_METRIC_IP, OMEN_CODEC_RABITQ, OMEN_REFINE_F16, false, true, false, OMEN_KEYS_INT64},
    {OMEN_METRIC_COSINE, OMEN_CODEC_NONE, OMEN_REFINE_F32, true, false, false, OMEN_KEYS_UINT64},
    {OMEN_METRIC_L2, OMEN_CODEC_RABITQ, OMEN_REFINE_NONE, false, false, false, OMEN_KEYS_NONE},
    {OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_NONE, false, false, true, OMEN_KEYS_NONE},
    {OMEN_METRIC_L2, OMEN_CODEC_NONE, OMEN_REFINE_SQ8, false, false, true, OMEN_KEYS_NONE},
};
#define N_RECIPES (sizeof recipes / sizeof *recipes)

/* What belongs to the index, and is compared with it. */
static omen_index *good;      /* over copies of its sections */
static omen_index *others[2]; /* of the same rows, with other keys; NULL without keys */
static rows_in_memory rows;
static omen_columns *columns;
static omen_row_keys *keys;

static omen_columns *make_columns(void)
{
    static const char bytes[] = "coatbagred";
    static const uint64_t offsets[] = {0, 4, 7, 10};
    const omen_words words = {3, offsets, bytes};
    omen_columns *made = NULL;
    int64_t integers[N_ROWS];
    double reals[N_ROWS];
    uint32_t codes[N_ROWS], tags[2 * N_ROWS];
    uint64_t nulls[N_ROWS / 64 + 1] = {0}, first[N_ROWS + 1] = {0};
    for (uint32_t i = 0; i < N_ROWS; i++) {
        integers[i] = (int64_t)i * 1000 - 20000;
        reals[i] = i / 8.0;
        codes[i] = i % 7 == 3 ? OMEN_NO_TEXT : i % 3;
        nulls[i / 64] |= (uint64_t)(i % 7 == 3) << i % 64;
        first[i + 1] = first[i];
        for (uint32_t j = 0; j < i % 3; j++)
            tags[first[i + 1]++] = (i + j) % 3;
    }
    CHECK_EQ_INT(omen_columns_create(&made, N_ROWS, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_integers(made, "stock", integers, nulls, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_integers(made, "all", integers, NULL, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_reals(made, "weight", OMEN_COLUMN_FLOAT32, reals, nulls, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_reals(made, "price", OMEN_COLUMN_FLOAT64, reals, NULL, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_texts(made, "label", &words, codes, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_tags(made, "tags", &words, first, tags, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_add_tags(made, "numbers", NULL, first, tags, NULL), OMEN_OK);
    return made;
}

/* Of those of several indexes, the part of that number. */
static omen_row_keys *make_keys(omen_key_kind kind, uint32_t part)
{
    omen_row_keys *made = NULL;
    CHECK_EQ_INT(omen_row_keys_create(&made, kind, N_ROWS, NULL), OMEN_OK);
    for (uint32_t i = 0; i < N_ROWS; i++) {
        char text[16];
        omen_row_key key = {.kind = kind, .number = kind == OMEN_KEYS_TEXT ? 0 : i * 7 % N_ROWS * 3 + part};
        if (kind == OMEN_KEYS_TEXT) {
            key.n_bytes = (uint32_t)snprintf(text, sizeof text, "key %u", i * 7 % N_ROWS * 3 + part);
            key.text = text;
        }
        CHECK_EQ_INT(omen_row_keys_add(made, &key, NULL), OMEN_OK);
    }
    CHECK_EQ_INT(omen_row_keys_finish(made, false, 1, NULL, NULL), OMEN_OK);
    return made;
}

static void make_sections(const recipe *r, uint32_t part, sections_in_memory *out)
{
    const omen_sink sink = sink_of(out);
    omen_build_options o;
    omen_build_options_init(&o);
    o.metric = r->metric;
    o.codec = r->codec;
    o.refine = r->refine;
    o.bytes = 8;
    o.graph.wanted = r->graph;
    o.graph.degree = r->graph ? OMEN_MIN_DEGREE : 0;
    o.codes_only = r->codes_only;
    o.lists.n = r->codes_only ? 1 : 4;
    o.n_threads = 1;
    rows = make_rows(N_ROWS, DIM, CLUSTERED, 3);
    for (uint32_t j = 0; j < DIM && r->metric == OMEN_METRIC_IP; j++)
        rows.x[7 * DIM + j] *= 40; /* far longer than the rest */
    CHECK_CASE(build(&rows, &o, out) == OMEN_OK, "%s", detail.text);
    columns = r->columns ? make_columns() : NULL;
    keys = r->keys != OMEN_KEYS_NONE ? make_keys(r->keys, part) : NULL;
    for (size_t i = 0; i < out->n && columns; i++)
        if (out->sections[i].id == OMEN_SECTION_PERM) {
            CHECK_EQ_INT(omen_columns_write(columns, &out->sections[i], &sink, NULL, NULL, &detail), OMEN_OK);
            break;
        }
    if (keys)
        CHECK_EQ_INT(omen_row_keys_write(keys, &sink, NULL, NULL, &detail), OMEN_OK);
}

static void free_all(sections_in_memory *sections)
{
    if (sections)
        sections_free(sections);
    rows_free(&rows);
    omen_columns_destroy(columns);
    omen_row_keys_destroy(keys);
}

/* ---- all that can be done with an index ---- */

/* The first failure of a series of calls, which go on after it. */
typedef struct {
    int status;
    const char *what;
} outcome;

static void note(outcome *o, int status, const char *what)
{
    if (status != OMEN_OK && o->status == OMEN_OK)
        *o = (outcome){status, what};
}

static void swallow(void *context, const char *section, const char *text)
{
    CHECK(strlen(section) == 4 && text[0] != '\0');
    ++*(unsigned *)context;
}

static void use_columns(const omen_index *index, outcome *o)
{
    static const char *const conditions[] = {"stock < 3000",   "NOT all = -20000", "weight >= 2.5 OR label IS NULL",
                                             "price < 4",      "label LIKE 'co%'", "label >= 'bag' AND label < 'd'",
                                             "tags HAS 'red'", "numbers HAS 2"};
    omen_detail why;
    unsigned n = 0;
    for (uint32_t i = 0; i < 7; i++) {
        omen_column_info info = {.struct_bytes = sizeof info};
        omen_column_range range = {.struct_bytes = sizeof range};
        note(o, omen_index_get_column(index, i, &info), "column");
        note(o, omen_index_get_column_range(index, i, &range, &why), "range");
    }
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        omen_condition *condition = NULL;
        omen_row_set *set = NULL;
        int status = omen_condition_create(index, conditions[i], &condition, &why);
        if (status == OMEN_OK)
            status = omen_conditions_evaluate((const omen_condition *const *)&condition, 1, 1, &set, NULL, NULL, &why);
        note(o, status, conditions[i]);
        omen_row_set_destroy(set);
        omen_condition_destroy(condition);
    }
    note(o, omen_index_check_columns(index, columns, swallow, &n, &why), "check columns");
}

static void use_keys(const omen_index *index, outcome *o)
{
    omen_detail why;
    unsigned n = 0;
    for (uint64_t i = 0; i < N_ROWS; i += 3) {
        omen_row_key key;
        int64_t row = 0;
        int status = omen_index_key_of(index, i, &key, &why);
        if (status == OMEN_OK)
            status = omen_index_row_of_key(index, &key, &row, &why);
        note(o, status, "key");
    }
    note(o, omen_index_check_keys(index, keys, swallow, &n, &why), "check keys");
}

/* The keys of several indexes. */
static void use_joint_keys(const omen_index *index, outcome *o)
{
    const omen_index *const three[] = {others[0], index, others[1]};
    omen_joint *joint = NULL;
    omen_detail why;
    int status = omen_joint_create(&joint, three, NULL, 3, &why);
    if (status == OMEN_OK)
        status = omen_joint_check_keys(joint, NULL, NULL, &why);
    for (uint64_t i = 1; i < 3 * N_ROWS && status == OMEN_OK; i += 29) {
        omen_row_key key;
        int64_t row = 0;
        status = omen_joint_key_of(joint, i, &key, &why);
        if (status == OMEN_OK)
            status = omen_joint_row_of_key(joint, &key, &row, &why);
        if (status == OMEN_OK && row != (int64_t)i)
            status = OMEN_ERR_CORRUPT; /* of an order that lies */
    }
    note(o, status, "keys of three");
    omen_joint_destroy(joint);
}

static void use_rows(const omen_index *index, const omen_index_info *info, outcome *o)
{
    uint64_t wanted[N_ROWS];
    int64_t ids[N_ROWS];
    float row[DIM];
    omen_index_rows *some = NULL;
    omen_row_set *set = NULL;
    omen_detail why;
    for (uint32_t i = 0; i < N_ROWS; i++)
        ids[i] = (int64_t)(wanted[i] = i * 2 % (N_ROWS - 1));
    int status = omen_index_rows_open(&some, index, wanted, 40, &why);
    for (uint64_t i = 0; i < 40 && status == OMEN_OK; i++) {
        const omen_source source = omen_index_rows_source(some);
        status = info->d == DIM ? source.read(source.self, i, 1, row, &why) : OMEN_OK;
    }
    note(o, status, "rows");
    omen_index_rows_close(some);
    some = NULL;
    status = omen_row_set_create(index, ids, 20, false, &set, &why);
    if (status == OMEN_OK)
        status = omen_index_rows_open_set(&some, index, set, &why);
    note(o, status, "rows of a set");
    omen_index_rows_close(some);
    omen_row_set_destroy(set);
}

static void use_searches(const omen_index *index, const omen_index_info *info, outcome *o)
{
    static const omen_search_way ways[] = {OMEN_SEARCH_LISTS, OMEN_SEARCH_GRAPH, OMEN_SEARCH_EXACT};
    const omen_index *const both[] = {good, index};
    int64_t ids[2 * 4], some[20];
    float distances[2 * 4];
    omen_search_options options;
    omen_joint *joint = NULL;
    omen_row_set *set = NULL;
    omen_row_key key;
    omen_detail why;
    for (int64_t i = 0; i < 20; i++)
        some[i] = i * 3;
    note(o, omen_row_set_create(index, some, 20, false, &set, &why), "set of rows");
    const omen_row_set *const sets[] = {set, set};
    for (size_t i = 0; i < 3; i++) {
        if ((ways[i] == OMEN_SEARCH_GRAPH && !info->graph.degree) ||
            (ways[i] == OMEN_SEARCH_EXACT && info->refine == OMEN_REFINE_NONE))
            continue;
        omen_search_options_init(&options);
        options.k = 4;
        options.n_threads = 1;
        options.way = ways[i];
        note(o, omen_index_search(index, &options, rows.x, 2, ids, distances, NULL, &why), "search");
        options.has_within = true;
        options.within = info->metric == OMEN_METRIC_L2 ? 5 : 0.5f;
        options.limit = 50;
        for (int has_sets = 0; has_sets < 2 && ways[i] != OMEN_SEARCH_GRAPH; has_sets++) {
            omen_found *found = NULL;
            options.row_sets = has_sets ? sets : NULL;
            note(o, omen_index_search_within(index, &options, rows.x, 2, &found, NULL, &why), "search within");
            omen_found_destroy(found);
        }
        options.row_sets = set ? sets : NULL;
        options.has_within = false;
        note(o, omen_index_search(index, &options, rows.x, 2, ids, distances, NULL, &why), "search of a set");
    }
    omen_row_set_destroy(set);
    options.row_sets = NULL;
    int status = omen_joint_create(&joint, both, NULL, 2, &why);
    options.way = OMEN_SEARCH_LISTS;
    if (status == OMEN_OK)
        status = omen_joint_search(joint, &options, rows.x, 2, ids, distances, NULL, &why);
    if (status == OMEN_OK && info->key_kind != OMEN_KEYS_NONE)
        status = omen_joint_key_of(joint, N_ROWS + 3, &key, &why);
    note(o, status, "joint");
    omen_joint_destroy(joint);
}

static outcome use_codes(const sections_in_memory *sections)
{
    omen_codes *codes = NULL;
    omen_index_info info = {.struct_bytes = sizeof info};
    omen_codes_quality quality = {.struct_bytes = sizeof quality};
    outcome o = {OMEN_OK, ""};
    omen_detail why;
    unsigned n = 0;
    float row[DIM];
    note(&o, omen_codes_open(&codes, sections->sections, sections->n, &why), "open");
    CHECK((o.status == OMEN_OK) == !!codes);
    if (!codes)
        return o;
    note(&o, omen_codes_get_info(codes, &info), "info");
    note(&o, omen_codes_check(codes, swallow, &n), "check");
    const omen_source back = omen_codes_source(codes), source = source_of(&rows);
    for (uint64_t i = 0; i < back.n_rows && back.d == DIM && back.n_rows == N_ROWS; i++)
        note(&o, back.read(back.self, i, 1, row, &why), "row");
    if (back.d == DIM && back.n_rows == N_ROWS)
        note(&o, omen_codes_measure(codes, &source, 1, 1, NULL, NULL, &quality, &why), "measure");
    omen_codes_close(codes);
    return o;
}

static outcome use(const recipe *r, const sections_in_memory *sections)
{
    omen_index *index = NULL;
    omen_index_info info = {.struct_bytes = sizeof info};
    const omen_source source = source_of(&rows);
    outcome o = {OMEN_OK, ""};
    omen_detail why = {""};
    unsigned n = 0;
    if (r->codes_only)
        return use_codes(sections);
    note(&o, omen_index_open(&index, sections->sections, sections->n, &why), "open");
    CHECK((o.status == OMEN_OK) == !!index && (index || why.text[0] != '\0'));
    if (!index)
        return o;
    note(&o, omen_index_get_info(index, &info), "info");
    if (info.n_rows == N_ROWS && info.d == DIM) {
        if (info.n_columns == 7)
            use_columns(index, &o);
        if (info.key_kind != OMEN_KEYS_NONE && keys)
            use_keys(index, &o);
        if (info.key_kind != OMEN_KEYS_NONE && others[0])
            use_joint_keys(index, &o);
        if (info.refine != OMEN_REFINE_NONE)
            use_rows(index, &info, &o);
        use_searches(index, &info, &o);
    }
    note(&o, omen_index_check(index, swallow, &n), "check");
    if (info.refine != OMEN_REFINE_NONE)
        note(&o, omen_index_check_source(index, &source, swallow, &n, &why), "check source");
    omen_index_close(index);
    return o;
}

/* ---- tests ---- */

/* What an index has not, or is not asked for so, is refused. */
static void test_refused(const recipe *r, const sections_in_memory *sections)
{
    const uint64_t beyond = N_ROWS;
    const omen_row_key other = {.kind = r->keys == OMEN_KEYS_TEXT ? OMEN_KEYS_INT64 : OMEN_KEYS_TEXT};
    omen_column_info column = {.struct_bytes = sizeof column};
    omen_column_range range = {.struct_bytes = sizeof range};
    omen_source source = source_of(&rows);
    omen_index *index = NULL;
    omen_index_rows *all = NULL;
    omen_row_set *set = NULL;
    omen_row_key key;
    omen_detail why;
    unsigned n = 0;
    int64_t row = 0;
    if (r->codes_only) {
        CHECK_EQ_INT(omen_index_open(&index, sections->sections, sections->n, &why), OMEN_ERR_CORRUPT);
        return;
    }
    CHECK_EQ_INT(omen_index_open(&index, sections->sections, sections->n, &why), OMEN_OK);
    CHECK_EQ_INT(omen_index_key_of(index, r->keys == OMEN_KEYS_NONE ? 0 : beyond, &key, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_index_row_of_key(index, &other, &row, &why), OMEN_ERR_ARGUMENT);
    CHECK(row == OMEN_NO_ROW);
    CHECK_EQ_INT(omen_index_get_column(index, r->columns ? 7 : 0, &column), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_index_get_column_range(index, r->columns ? 7 : 0, &range, &why), OMEN_ERR_ARGUMENT);
    column.struct_bytes = range.struct_bytes = 1;
    CHECK_EQ_INT(omen_index_get_column(index, 0, &column), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_index_get_column_range(index, 0, &range, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_index_rows_open(&all, index, &beyond, 1, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_index_rows_open(&all, index, &beyond, (uint64_t)1 << 33, &why), OMEN_ERR_ARGUMENT);
    omen_columns *fewer = NULL;
    CHECK_EQ_INT(omen_columns_create(&fewer, N_ROWS - 1, &why), OMEN_OK);
    CHECK_EQ_INT(omen_index_check_columns(index, fewer, swallow, &n, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "the columns have 119 rows, and the index 120");
    omen_columns_destroy(fewer);
    CHECK_EQ_INT(omen_row_set_create(good, &row, 0, true, &set, &why), OMEN_OK);
    CHECK_EQ_INT(omen_index_rows_open_set(&all, index, set, &why), OMEN_ERR_ARGUMENT);
    CHECK(!all);
    const int status = omen_index_rows_open_set(&all, index, NULL, &why);
    CHECK_EQ_INT(status, r->refine == OMEN_REFINE_NONE ? OMEN_ERR_ARGUMENT : OMEN_OK);
    omen_index_rows_close(all);
    if (r->refine == OMEN_REFINE_NONE) {
        CHECK_EQ_INT(omen_index_check_source(index, &source, swallow, &n, &why), OMEN_ERR_UNSUPPORTED);
    } else {
        rows.fail_at = rows.n_reads + 1;
        CHECK(omen_index_check_source(index, &source, swallow, &n, &why) != OMEN_OK);
        rows.fail_at = 0;
    }
    source.d--;
    CHECK_EQ_INT(omen_index_check_source(index, &source, swallow, &n, &why), OMEN_ERR_CORRUPT);
    omen_row_set_destroy(set);
    omen_index_close(index);
}

/* Sections that are not there, shorter, or of another type. The checksums of an optional one go with it. */
static void test_sections(const recipe *r, const sections_in_memory *sections)
{
    for (size_t i = 0; i < sections->n; i++) {
        const omen_section s = sections->sections[i];
        for (int how = 0; how < 5; how++) {
            sections_in_memory changed = *sections;
            omen_section *c = &changed.sections[i];
            if (how == 0)
                *c = changed.sections[--changed.n];
            else if (how == 1)
                c->element ^= 1;
            else
                c->n_bytes = how == 2 ? 0 : how == 3 ? s.n_bytes / 8 * 4 : s.n_bytes - 1;
            const outcome o = use(r, &changed);
            CHECK_CASE(o.status == OMEN_OK || o.status == OMEN_ERR_CORRUPT || o.status == OMEN_ERR_UNSUPPORTED ||
                           o.status == OMEN_ERR_ARGUMENT,
                       "%.4s, %d: %s gives %d", (const char *)&s.id, how, o.what, o.status);
            /* without it a part that is optional may be as if it had never been there */
            CHECK_CASE(o.status != OMEN_OK || s.optional || s.id == OMEN_SECTION_TUNE || s.id == OMEN_SECTION_APRT,
                       "%.4s, %d: it is taken", (const char *)&s.id, how);
        }
    }
}

/* Rows set apart where there are none, or none that are in order. */
static void test_apart(const recipe *r, const sections_in_memory *sections)
{
    static uint32_t positions[N_ROWS + 1];
    static const struct {
        uint64_t n_bytes;
        uint32_t element, first, second;
        bool is_sound;
    } lists[] = {{8, OMEN_ELEMENT_U32, 3, 7, true},           {8, OMEN_ELEMENT_F32, 3, 7, false},
                 {7, OMEN_ELEMENT_U32, 3, 7, false},          {8, OMEN_ELEMENT_U32, 7, 7, false},
                 {8, OMEN_ELEMENT_U32, 7, 3, false},          {8, OMEN_ELEMENT_U32, 3, N_ROWS, false},
                 {4, OMEN_ELEMENT_U32, UINT32_MAX, 0, false}, {sizeof positions, OMEN_ELEMENT_U32, 3, 7, false}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        sections_in_memory changed = *sections;
        size_t at = 0;
        while (at < changed.n && changed.sections[at].id != OMEN_SECTION_APRT)
            at++;
        changed.n = at == changed.n ? at + 1 : changed.n;
        for (uint32_t j = 0; j <= N_ROWS; j++)
            positions[j] = j;
        positions[0] = lists[i].first;
        positions[1] = lists[i].second;
        changed.sections[at] = (omen_section){
            .id = OMEN_SECTION_APRT, .element = lists[i].element, .data = positions, .n_bytes = lists[i].n_bytes};
        const outcome o = use(r, &changed);
        const bool may_be = r->metric == OMEN_METRIC_IP && lists[i].is_sound;
        CHECK_CASE(o.status == (may_be ? OMEN_OK : OMEN_ERR_CORRUPT), "list %zu: %s gives %d", i, o.what, o.status);
    }
}

static void test_allocations(const recipe *r, const sections_in_memory *sections)
{
    allocations_begin(0);
    const outcome whole = use(r, sections);
    const uint64_t n = allocations_end(), most = is_thorough ? 250 : 40, step = n / most + 1;
    CHECK_CASE(whole.status == OMEN_OK, "%s: %d", whole.what, whole.status);
    for (uint64_t i = 1; i <= n; i += step) {
        allocations_begin(i);
        const outcome o = use(r, sections);
        allocations_end();
        CHECK_CASE(o.status == OMEN_ERR_MEMORY || o.status == OMEN_OK, "allocation %llu of %llu: %s gives %d",
                   (unsigned long long)i, (unsigned long long)n, o.what, o.status);
    }
    printf("# %llu allocations\n", (unsigned long long)n);
}

/* A check that fails from some block of some section on. */
static uint32_t bad_section;
static uint64_t bad_block;

static int check_blocks(const omen_section *section, uint64_t first, uint64_t n, omen_detail *why)
{
    if (section->id != bad_section || first + n <= bad_block)
        return OMEN_OK;
    snprintf(why->text, sizeof why->text, "section %.4s: block %llu", (const char *)&section->id,
             (unsigned long long)bad_block);
    return OMEN_ERR_CORRUPT;
}

static void test_checksums(const recipe *r, sections_in_memory *sections)
{
    for (size_t i = 0; i < sections->n; i++)
        sections->sections[i].check = check_blocks;
    bad_section = 0;
    const outcome whole = use(r, sections);
    CHECK_CASE(whole.status == OMEN_OK, "%s: %d", whole.what, whole.status);
    for (size_t i = 0; i < sections->n; i++) {
        const omen_section *s = &sections->sections[i];
        const bool ends_early = s->n_bytes % OMEN_CHECK_BYTES == 0; /* there is no last block to fail */
        bad_section = s->id;
        for (bad_block = 0; bad_block <= s->n_bytes / OMEN_CHECK_BYTES; bad_block++) {
            const outcome o = use(r, sections);
            CHECK_CASE(o.status == OMEN_ERR_CORRUPT || ends_early, "%.4s, block %llu: %s gives %d",
                       (const char *)&s->id, (unsigned long long)bad_block, o.what, o.status);
        }
    }
    bad_section = 0;
}

/* Checksums hold here, and are asked for: each word of the small sections, and some of the others, is another number.
 */
static void test_fields(const recipe *r, sections_in_memory *sections)
{
    uint64_t n_refused = 0, n_used = 0;
    for (size_t i = 0; i < sections->n; i++) {
        const omen_section *s = &sections->sections[i];
        const uint64_t n_words = s->n_bytes / 4, n_most = is_thorough ? 40 : s->n_bytes <= 128 ? 32 : 6;
        const uint64_t step = n_words > n_most ? n_words / n_most + 1 : 1;
        for (uint64_t j = omen_random(1, i) % step; j < n_words; j += step) {
            uint8_t *word = (uint8_t *)s->data + 4 * j;
            uint32_t before;
            memcpy(&before, word, 4);
            const uint32_t numbers[] = {0,          1,          before + 1,        before - 1,   before ^ 0x100u,
                                        UINT32_MAX, 0x7fc00000, before ^ 1u << 31, before << 16, N_ROWS};
            for (size_t v = is_thorough ? 0 : j % 5; v < sizeof numbers / sizeof *numbers; v += is_thorough ? 1 : 5) {
                memcpy(word, &numbers[v], 4);
                const outcome o = use(r, sections);
                n_refused += o.status != OMEN_OK;
                n_used += o.status == OMEN_OK;
            }
            memcpy(word, &before, 4);
        }
    }
    printf("# %llu refused, %llu used\n", (unsigned long long)n_refused, (unsigned long long)n_used);
    CHECK(n_refused > 0 && n_used > 0);
}

int main(int argc, char **argv)
{
    is_thorough = argc > 1 && strcmp(argv[1], "all") == 0;
    for (size_t i = 0; i < N_RECIPES; i++) {
        sections_in_memory sections = {.n = 0}, other_sections[2] = {{.n = 0}, {.n = 0}};
        char name[64];
        for (uint32_t j = 0; j < 2 && recipes[i].keys != OMEN_KEYS_NONE; j++) {
            make_sections(&recipes[i], 2 * j, &other_sections[j]);
            CHECK_EQ_INT(omen_index_open(&others[j], other_sections[j].sections, other_sections[j].n, &detail),
                         OMEN_OK);
            free_all(NULL);
        }
        make_sections(&recipes[i], 1, &sections);
        sections_in_memory copies = sections;
        for (size_t j = 0; j < copies.n; j++)
            copies.sections[j].data = aligned_copy(sections.sections[j].data, sections.sections[j].n_bytes);
        if (!recipes[i].codes_only)
            CHECK_EQ_INT(omen_index_open(&good, copies.sections, copies.n, &detail), OMEN_OK);
        snprintf(name, sizeof name, "what an index has not, index %zu", i);
        RUN_AS(name, test_refused(&recipes[i], &sections));
        snprintf(name, sizeof name, "other sections, index %zu", i);
        RUN_AS(name, test_sections(&recipes[i], &sections));
        snprintf(name, sizeof name, "rows set apart, index %zu", i);
        RUN_AS(name, test_apart(&recipes[i], &sections));
        snprintf(name, sizeof name, "failing allocations, index %zu", i);
        RUN_AS(name, test_allocations(&recipes[i], &sections));
        snprintf(name, sizeof name, "failing checksums, index %zu", i);
        RUN_AS(name, test_checksums(&recipes[i], &sections));
        snprintf(name, sizeof name, "fields that lie, index %zu", i);
        RUN_AS(name, test_fields(&recipes[i], &sections));
        omen_index_close(good);
        good = NULL;
        for (size_t j = 0; j < 2; j++) {
            omen_index_close(others[j]);
            others[j] = NULL;
            sections_free(&other_sections[j]);
        }
        for (size_t j = 0; j < copies.n; j++)
            free((void *)copies.sections[j].data);
        free_all(&sections);
    }
    return check_finish();
}
