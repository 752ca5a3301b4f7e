/* SPDX-License-Identifier: Apache-2.0 */
/* Models that no build makes, at and beyond the limits of docs/FORMAT.md. */
#include <math.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/index_format.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

/* Overwrites values of one section, every stride-th of them from first on. */
static void forge(const sections_in_memory *sections, uint32_t id, size_t first, size_t stride, float value)
{
    for (size_t s = 0; s < sections->n; s++) {
        float *x = (float *)sections->sections[s].data;
        for (size_t i = first; sections->sections[s].id == id && i < sections->sections[s].n_bytes / 4; i += stride)
            x[i] = value;
    }
}

static void restore(const sections_in_memory *to, const sections_in_memory *from)
{
    for (size_t s = 0; s < to->n; s++)
        memcpy((void *)to->sections[s].data, from->sections[s].data, to->sections[s].n_bytes);
}

/* Opens and searches with every level. The same refusal, or the same answer, of numbers and of rows that there are.
 * Returns what it was. */
static int search_forged(const sections_in_memory *sections, const rows_in_memory *queries, const char *what)
{
    static const char *const names[] = {"scalar", "avx2", "avx512", "avx512vnni", "neon"};
    int first_status = 1;
    results first = {0};
    for (size_t l = 0; l < sizeof names / sizeof *names; l++) {
        if (omen_cpu_select(names[l], NULL) != OMEN_OK)
            continue;
        omen_index *index = NULL;
        omen_detail why;
        int status = omen_index_open(&index, sections->sections, sections->n, &why);
        const uint32_t k = 10;
        results r = {queries->n, k, calloc(queries->n * k, sizeof *r.ids), calloc(queries->n * k, sizeof *r.distances)};
        if (status == OMEN_OK) {
            omen_search_options options;
            omen_search_options_init(&options);
            options.k = k;
            options.zero_ok = true;
            options.n_threads = 1;
            options.lists.probes = 5;
            options.rerank = 30;
            status = omen_index_search(index, &options, queries->x, queries->n, r.ids, r.distances, NULL, &why);
            for (size_t i = 0; i < queries->n * k && status == OMEN_OK; i++)
                CHECK_CASE(isfinite(r.distances[i]) && r.ids[i] >= 0 && r.ids[i] < (int64_t)index->meta.n_rows,
                           "%s, %s: row %lld at %g", what, names[l], (long long)r.ids[i], (double)r.distances[i]);
        }
        CHECK_CASE(status == OMEN_OK || status == OMEN_ERR_CORRUPT, "%s, %s: %d", what, names[l], status);
        if (first_status == 1) {
            first_status = status;
            first = r;
        } else {
            CHECK_CASE(status == first_status && same_results(&r, &first), "%s: %s differs", what, names[l]);
            results_free(&r);
        }
        omen_index_close(index);
    }
    results_free(&first);
    CHECK_EQ_INT(omen_cpu_select(NULL, NULL), OMEN_OK);
    return first_status;
}

/* Values at the limits of docs/FORMAT.md are searched, or refused at the first query that they make too long; values
 * beyond are refused when the index is opened. */
static void test_forged_models(void)
{
    static const struct {
        uint32_t id;
        float most; /* at the limit, where one value can be that large; 0: none can */
    } sites[] = {
        {OMEN_SECTION_MEAN, 3.1e18f},  {OMEN_SECTION_CSCL, 1e19f},  {OMEN_SECTION_CSCL, -1e19f},
        {OMEN_SECTION_CODB, 1e18f},    {OMEN_SECTION_CODB, -1e18f}, {OMEN_SECTION_FRNG, 1.4e38f},
        {OMEN_SECTION_FRNG, 1e36f},    {OMEN_SECTION_FRNG, 1e20f},  {OMEN_SECTION_FRNG, 1e-44f},
        {OMEN_SECTION_FRNG, -1.4e38f}, {OMEN_SECTION_FRNG, 0},      {OMEN_SECTION_CODB, 1e-44f},
        {OMEN_SECTION_CSCL, 1e-44f},   {OMEN_SECTION_CSCL, 0},      {OMEN_SECTION_BASE, 0.25f},
        {OMEN_SECTION_BASE, 1},        {OMEN_SECTION_ROTA, 0.2f},   {OMEN_SECTION_BASE, 1.5f},
        {OMEN_SECTION_RCEN, 3.1e18f},
    };
    static const float beyond[] = {1e38f, -1e38f, 3.4e38f, NAN, INFINITY, -INFINITY};
    uint64_t n_searched = 0, n_refused = 0;
    rows_in_memory rows = make_rows(300, 16, CLUSTERED, 1), queries = make_rows(8, 16, CLUSTERED, 1000);
    for (uint32_t j = 0; j < 16; j++) {
        queries.x[j] = 0;
        queries.x[16 + j] = j % 2 ? -7e17f : 7e17f;
        queries.x[32 + j] = 7e17f;
        queries.x[48 + j] = 3e-20f;
    }
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o) || o.codec == OMEN_CODEC_AUTO || o.refine == OMEN_REFINE_F16)
            continue;
        sections_in_memory sections, sound;
        o.lists.n = 20;
        omen_index_close(make_index(&rows, &o, &sections));
        sound = sections;
        for (size_t s = 0; s < sections.n; s++)
            sound.sections[s].data = aligned_copy(sections.sections[s].data, sections.sections[s].n_bytes);
        char what[200];
        snprintf(what, sizeof what, "%s, as built", case_name(&rows, &o));
        CHECK_EQ_INT(search_forged(&sections, &queries, what), OMEN_OK);
        for (size_t site = 0; site < sizeof sites / sizeof *sites; site++) {
            for (size_t stride = 1; stride <= 4; stride++) {
                for (size_t at = 0; at < stride; at++) {
                    snprintf(what, sizeof what, "%s, %.4s %zu + %zu i = %g", case_name(&rows, &o),
                             (const char *)&sites[site].id, at, stride, (double)sites[site].most);
                    forge(&sections, sites[site].id, at, stride == 4 ? 1000000 : stride, sites[site].most);
                    if (search_forged(&sections, &queries, what) == OMEN_OK)
                        n_searched++;
                    else
                        n_refused++;
                    restore(&sections, &sound);
                }
            }
            for (size_t b = 0; b < sizeof beyond / sizeof *beyond; b++) {
                bool is_there = false;
                for (size_t s = 0; s < sections.n; s++)
                    is_there |= sections.sections[s].id == sites[site].id;
                snprintf(what, sizeof what, "%s, %.4s = %g", case_name(&rows, &o), (const char *)&sites[site].id,
                         (double)beyond[b]);
                forge(&sections, sites[site].id, b % 3, 7, beyond[b]);
                const int status = search_forged(&sections, &queries, what);
                const bool may_pass = !is_there || (sites[site].id == OMEN_SECTION_FRNG && fabsf(beyond[b]) < 2e38f);
                CHECK_CASE(status == OMEN_ERR_CORRUPT || may_pass, "%s: %d", what, status);
                restore(&sections, &sound);
            }
        }
        for (size_t s = 0; s < sound.n; s++)
            free((void *)sound.sections[s].data);
        sections_free(&sections);
    }
    printf("# %llu searched, %llu refused\n", (unsigned long long)n_searched, (unsigned long long)n_refused);
    CHECK(n_searched > 500 && n_refused > 500);
    rows_free(&rows);
    rows_free(&queries);
}

static int open_changed(const sections_in_memory *sections, const omen_meta *meta)
{
    sections_in_memory changed = *sections;
    omen_index *index = NULL;
    for (size_t s = 0; s < changed.n; s++)
        if (changed.sections[s].id == OMEN_SECTION_META)
            changed.sections[s].data = meta;
    const int status = omen_index_open(&index, changed.sections, changed.n, &detail);
    omen_index_close(index);
    return status;
}

/* What META says of the refine tier. */
static void test_forged_refine(void)
{
    static const float shares[] = {-0.1f, 1.1f, NAN, INFINITY};
    rows_in_memory rows = make_rows(300, 16, CLUSTERED, 1);
    for (omen_refine refine = OMEN_REFINE_SQ8; refine < OMEN_N_REFINES; refine++) {
        omen_build_options o;
        sections_in_memory sections;
        omen_build_options_init(&o);
        o.refine = refine;
        omen_index *index = make_index(&rows, &o, &sections);
        const omen_meta sound = index->meta;
        omen_meta meta = sound;
        omen_index_close(index);
        CHECK_EQ_INT(open_changed(&sections, &meta), OMEN_OK);
        CHECK(!(meta.flags & OMEN_META_FLAG_CENTRED) == (refine == OMEN_REFINE_F32));
        meta.flags ^= OMEN_META_FLAG_CENTRED; /* a centre of nothing, or rows that lack theirs */
        CHECK_EQ_INT(open_changed(&sections, &meta), OMEN_ERR_CORRUPT);
        meta = sound;
        meta.flags ^= OMEN_META_FLAG_ZERO_OK;
        CHECK_EQ_INT(open_changed(&sections, &meta), refine == OMEN_REFINE_F32 ? OMEN_OK : OMEN_ERR_CORRUPT);
        meta = sound;
        meta.refine = OMEN_N_REFINES;
        CHECK_EQ_INT(open_changed(&sections, &meta), OMEN_ERR_UNSUPPORTED);
        for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
            meta = sound;
            meta.refine_ceiling = shares[i];
            CHECK_EQ_INT(open_changed(&sections, &meta), OMEN_ERR_CORRUPT);
        }
        sections_free(&sections);
    }
    rows_free(&rows);
}

int main(void)
{
    RUN(test_forged_models);
    RUN(test_forged_refine);
    return check_finish();
}
