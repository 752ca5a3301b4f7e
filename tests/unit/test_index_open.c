/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: sections that are damaged, missing or of another kind, and what is left to the full check. */
#include <math.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/index_format.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

/* Opens and, if it opens, searches; either is fine. True when it was searched. */
static bool try_damaged(const sections_in_memory *sections, const float *queries, uint32_t d, uint64_t turn)
{
    omen_index *index;
    omen_detail why;
    const int status = omen_index_open(&index, sections->sections, sections->n, &why);
    CHECK_CASE(status == OMEN_OK ? index != NULL
                                 : !index && (status == OMEN_ERR_CORRUPT || status == OMEN_ERR_UNSUPPORTED ||
                                              status == OMEN_ERR_MEMORY),
               "open gives %d", status);
    if (status != OMEN_OK)
        return false;
    CHECK_EQ_INT(index->meta.d, d); /* else the queries would be too short */
    omen_search_options options;
    omen_search_options_init(&options);
    options.zero_ok = true;
    options.n_threads = 1;
    options.k = turn % 3 == 0 ? 1 : turn % 3 == 1 ? 10 : 400;
    options.exact = turn % 5 == 0 && index->meta.refine != OMEN_REFINE_NONE;
    int64_t *ids = malloc(3 * options.k * sizeof *ids);
    float *distances = malloc(3 * options.k * sizeof *distances);
    const int searched = omen_index_search(index, &options, queries, 3, ids, distances, NULL, &why);
    CHECK_CASE(searched == OMEN_OK || searched == OMEN_ERR_CORRUPT || searched == OMEN_ERR_INPUT, "search gives %d",
               searched);
    free(distances);
    free(ids);
    omen_index_close(index);
    return true;
}

static void test_damaged(void)
{
    /* the small tables are damaged more often than the mass of the rows */
    static const uint32_t ids[] = {OMEN_SECTION_META, OMEN_SECTION_LIST, OMEN_SECTION_TUNE, OMEN_SECTION_ATUN,
                                   OMEN_SECTION_SUBS, OMEN_SECTION_DIMS, OMEN_SECTION_META, OMEN_SECTION_MEAN,
                                   OMEN_SECTION_BASE, OMEN_SECTION_CSCL, OMEN_SECTION_CENT, OMEN_SECTION_FRNG,
                                   OMEN_SECTION_CODB, OMEN_SECTION_ROTA, OMEN_SECTION_CODE, OMEN_SECTION_REFN,
                                   OMEN_SECTION_PERM};
    rows_in_memory rows = make_rows(300, 13, CLUSTERED, 1), queries = make_rows(3, 13, CLUSTERED, 1000);
    uint64_t n_searched = 0, n_refused = 0;
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o) || o.codec == OMEN_CODEC_AUTO)
            continue;
        sections_in_memory sections;
        o.lists.n = 20;
        omen_index_close(make_index(&rows, &o, &sections));
        for (uint64_t turn = 0; turn < 400; turn++) {
            const uint32_t id = ids[omen_random((uint64_t)i, 4 * turn) % (sizeof ids / sizeof *ids)];
            for (size_t s = 0; s < sections.n; s++) {
                omen_section *section = &sections.sections[s];
                if (section->id != id)
                    continue;
                uint8_t *bytes = (uint8_t *)section->data;
                const uint64_t at = omen_random((uint64_t)i, 4 * turn + 1) % section->n_bytes;
                const uint64_t how = omen_random((uint64_t)i, 4 * turn + 2);
                const uint64_t word = at / 4 * 4;
                uint8_t before[4];
                memcpy(before, bytes + word, 4);
                if (how % 4 == 0) /* one bit */
                    bytes[at] ^= (uint8_t)(1u << how / 4 % 8);
                else if (how % 4 == 1) /* one byte */
                    bytes[at] = (uint8_t)(how / 4);
                else /* a word: for floats near the largest, for counts large or off by a little */
                    memcpy(bytes + word,
                           &(uint32_t){how % 4 == 2 ? (uint32_t)(how / 4)
                                                    : 0x7f7fffff ^ (uint32_t)(how / 4 % 2) << 31 ^
                                                          (uint32_t)(how / 8 % 8) << 20},
                           4);
                if (try_damaged(&sections, queries.x, rows.d, turn))
                    n_searched++;
                else
                    n_refused++;
                memcpy(bytes + word, before, 4);
            }
        }
        sections_free(&sections);
    }
    printf("# %llu refused, %llu searched\n", (unsigned long long)n_refused, (unsigned long long)n_searched);
    CHECK(n_refused > 1000 && n_searched > 1000);
    rows_free(&rows);
    rows_free(&queries);
}

/* Sections that are missing, cut, twice there, of another type or of a newer version. */
static void test_other_sections(void)
{
    rows_in_memory rows = make_rows(300, 13, CLUSTERED, 1), queries = make_rows(3, 13, CLUSTERED, 1000);
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o))
            continue;
        sections_in_memory sections;
        o.lists.n = 7;
        omen_index_close(make_index(&rows, &o, &sections));
        omen_index *index;
        for (size_t s = 0; s < sections.n; s++) {
            sections_in_memory changed = sections;
            const uint32_t id = sections.sections[s].id;
            changed.sections[s] = changed.sections[--changed.n];
            const bool may_lack = id == OMEN_SECTION_TUNE || id == OMEN_SECTION_ATUN;
            CHECK_CASE(try_damaged(&changed, queries.x, rows.d, s) == may_lack, "%s without %.4s", case_name(&rows, &o),
                       (const char *)&id);
            changed = sections;
            changed.sections[s].n_bytes -= 1;
            changed.sections[s].data = aligned_copy(sections.sections[s].data, changed.sections[s].n_bytes);
            CHECK_CASE(!try_damaged(&changed, queries.x, rows.d, s), "%s with %.4s cut", case_name(&rows, &o),
                       (const char *)&id);
            free((void *)changed.sections[s].data);
            changed = sections;
            changed.sections[s].element ^= 1;
            CHECK_CASE(!try_damaged(&changed, queries.x, rows.d, s), "%s with %.4s of another type",
                       case_name(&rows, &o), (const char *)&id);
        }
        sections_in_memory more = sections;
        more.sections[more.n++] = (omen_section){.id = OMEN_FOURCC('N', 'E', 'W', '!'), .data = rows.x, .n_bytes = 4};
        CHECK_EQ_INT(omen_index_open(&index, more.sections, more.n, &detail), OMEN_ERR_UNSUPPORTED);
        CHECK_STR_CONTAINS(detail.text, "NEW!");
        more.sections[more.n - 1].optional = true;
        CHECK(try_damaged(&more, queries.x, rows.d, 1));
        CHECK_EQ_INT(omen_index_open(&index, NULL, 0, &detail), OMEN_ERR_CORRUPT);
        CHECK(!index);
        sections_free(&sections);
    }
    rows_free(&rows);
    rows_free(&queries);
}

static void swallow(void *context, const char *section, const char *text)
{
    (void)text;
    snprintf(context, 8, "%s", section);
}

/* What omen_index_open() leaves to omen_index_check(). */
static void test_check(void)
{
    rows_in_memory rows = make_rows(300, 13, CLUSTERED, 1);
    const omen_source source = source_of(&rows);
    for (omen_refine refine = OMEN_REFINE_SQ8; refine < OMEN_N_REFINES; refine++) {
        omen_build_options o;
        sections_in_memory sections;
        char at_fault[8] = "";
        omen_build_options_init(&o);
        o.refine = refine;
        omen_index *index = make_index(&rows, &o, &sections);
        uint32_t *perm = (uint32_t *)index->ids;
        const uint32_t kept = perm[5];
        const uint32_t wrong[] = {300, UINT32_MAX, perm[4], perm[200]};
        for (int i = 0; i < 4; i++) {
            perm[5] = wrong[i];
            CHECK_EQ_INT(omen_index_check(index, swallow, at_fault), OMEN_ERR_CORRUPT);
            CHECK(strcmp(at_fault, "PERM") == 0);
            const int status = omen_index_check_source(index, &source, swallow, at_fault, &detail);
            CHECK_CASE(status == OMEN_ERR_CORRUPT, "%s, wrong id %u: %d", omen_refine_name(refine), wrong[i], status);
        }
        perm[5] = kept;
        uint8_t *row = (uint8_t *)index->refine_rows + 20 * index->refine_row_bytes;
        const uint8_t byte = row[index->refine_row_bytes - 1];
        row[index->refine_row_bytes - 1] = 0x7f; /* f16 and f32: NaN with what is below, or another value */
        CHECK_EQ_INT(omen_index_check_source(index, &source, swallow, at_fault, &detail), OMEN_ERR_CORRUPT);
        CHECK(strcmp(at_fault, "REFN") == 0);
        row[index->refine_row_bytes - 1] = byte;
        CHECK_EQ_INT(omen_index_check_source(index, &source, swallow, at_fault, &detail), OMEN_OK);
        /* the last lanes of the last block belong to no row */
        uint8_t *block = (uint8_t *)index->blocks + 9 * index->block_bytes;
        block[31] = 1;
        CHECK_EQ_INT(omen_index_check(index, swallow, at_fault), OMEN_ERR_CORRUPT);
        CHECK(strcmp(at_fault, "CODE") == 0);
        block[31] = 0;
        CHECK_EQ_INT(omen_index_check(index, swallow, at_fault), OMEN_OK);

        rows_in_memory fewer = rows;
        fewer.n = 299;
        const omen_source other = source_of(&fewer);
        CHECK_EQ_INT(omen_index_check_source(index, &other, swallow, at_fault, &detail), OMEN_ERR_CORRUPT);
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
}

/* Values of the tables of efforts that would make a search do nothing, or all there is, for ever. */
static void test_efforts(void)
{
    static const struct {
        size_t at; /* of an entry; 24: its lack */
        float value;
    } wrong[] = {{4, -0.1f}, {4, 1.1f}, {8, -1},  {8, 2e9f},  {8, NAN},  {12, -1},       {12, 2e19f},
                 {12, NAN},  {24, 0},   {24, -1}, {24, 2e9f}, {24, NAN}, {24, INFINITY}, {24, 1e-10f}};
    rows_in_memory rows = make_rows(300, 13, CLUSTERED, 1);
    omen_build_options o;
    omen_build_options_init(&o);
    static const uint32_t ids[] = {OMEN_SECTION_TUNE, OMEN_SECTION_ATUN};
    for (int t = 0; t < 2; t++) {
        const uint32_t id = ids[t];
        sections_in_memory sections;
        omen_index_close(make_index(&rows, &o, &sections));
        size_t s = 0;
        while (sections.sections[s].id != id)
            s++;
        char *table = (char *)sections.sections[s].data;
        const size_t n = sections.sections[s].n_bytes / (id == OMEN_SECTION_TUNE ? 24 : 28), last = n - 1;
        CHECK(n > 1);
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            if (id == OMEN_SECTION_TUNE && wrong[i].at == 24)
                continue;
            float *value = (float *)(table + (wrong[i].at == 24 ? 24 * n + 4 * last : 24 * last + wrong[i].at));
            const float kept = *value;
            omen_index *index;
            *value = wrong[i].value;
            CHECK_CASE(omen_index_open(&index, sections.sections, sections.n, &detail) == OMEN_ERR_CORRUPT,
                       "%.4s, %g at %zu", (const char *)&id, (double)wrong[i].value, wrong[i].at);
            CHECK_STR_CONTAINS(detail.text, wrong[i].at == 24 ? "impossible lack" : "impossible entry");
            *value = kept;
        }
        sections_free(&sections);
    }
    rows_free(&rows);
}

int main(void)
{
    RUN(test_damaged);
    RUN(test_other_sections);
    RUN(test_efforts);
    RUN(test_check);
    return check_finish();
}
