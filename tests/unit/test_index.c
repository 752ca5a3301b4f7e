/* The library as a whole, in memory: build, open, search. The same bytes and results for any threads and SIMD level;
 * exact search against a brute force in float64; failures of source, sink and caller at every call; damaged sections.
 *
 * Sections are kept in buffers of exactly their size, so that AddressSanitizer sees a read beyond one. */
#include <math.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/index_format.h"
#include "lib/matrix.h"
#include "lib/omendb.h"
#include "tests/unit/check.h"

/* ---- rows --------------------------------------------------------------- */

typedef struct {
    uint64_t n;
    uint32_t d;
    float *x;
    /* the read call that fails, from 1; 0 for none */
    uint64_t fail_at, n_reads, n_byte_reads;
} rows_in_memory;

static int read_rows(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    rows_in_memory *rows = self;
    uint64_t call;
#pragma omp atomic capture
    call = ++rows->n_reads;
    if (call == rows->fail_at)
        return omen_fail(why, OMEN_ERR_IO, "read call %llu failed", (unsigned long long)call);
    if (first + n > rows->n)
        return omen_fail(why, OMEN_ERR_INPUT, "rows %llu + %llu of %llu", (unsigned long long)first,
                         (unsigned long long)n, (unsigned long long)rows->n);
    memcpy(out, rows->x + first * rows->d, n * rows->d * sizeof *out);
    return OMEN_OK;
}

static int read_row_bytes(void *self, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why)
{
    rows_in_memory *rows = self;
    if (first + n > rows->n)
        return omen_fail(why, OMEN_ERR_INPUT, "no such rows");
#pragma omp atomic
    rows->n_byte_reads++;
    for (uint64_t i = 0; i < n * rows->d; i++)
        out[i] = (uint8_t)rows->x[first * rows->d + i];
    return OMEN_OK;
}

static omen_source source_of(rows_in_memory *rows)
{
    return (omen_source){.self = rows,
                         .n_rows = rows->n,
                         .d = rows->d,
                         .element_bytes = 4,
                         .n_bytes = rows->n * rows->d * 4,
                         .read = read_rows};
}

static double normal(uint64_t seed, uint64_t i)
{
    const double u = 1 - omen_random_unit(seed, 2 * i), v = omen_random_unit(seed, 2 * i + 1);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

typedef enum { CLUSTERED, EQUAL, CONSTANT_COLUMNS, DUPLICATES, INTEGERS, FAR_AWAY, N_KINDS } rows_kind;
static const char *const kind_names[] = {"clustered",  "equal",    "constant columns",
                                         "duplicates", "integers", "far from the origin"};

/* Rows around 40 centres; another seed gives other rows around the same centres. */
static rows_in_memory make_rows(uint64_t n, uint32_t d, rows_kind kind, uint64_t seed)
{
    rows_in_memory rows = {.n = n, .d = d, .x = malloc(n * d * sizeof(float))};
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t as = kind == EQUAL ? 0 : kind == DUPLICATES ? i % 10 : i;
        const uint64_t centre = omen_random(seed, as) % 40;
        for (uint64_t j = 0; j < d; j++) {
            const uint64_t at = as * d + j;
            float x = (float)(2 * normal(99, centre * d + j) + normal(seed + 1, at));
            if (kind == CONSTANT_COLUMNS && j % 3 != 1)
                x = (float)j;
            else if (kind == INTEGERS)
                x = (float)(omen_random(seed + 2, at) % 20);
            else if (kind == FAR_AWAY)
                x += 3000;
            rows.x[i * d + j] = x;
        }
    }
    return rows;
}

static void rows_free(rows_in_memory *rows)
{
    free(rows->x);
    rows->x = NULL;
}

/* ---- sections ----------------------------------------------------------- */

#define MAX_SECTIONS 20
enum { SINK_CODE = -77 }; /* no code of the library's */

typedef struct {
    size_t n;
    omen_section sections[MAX_SECTIONS];
    uint64_t identity;
    /* of the open section */
    uint8_t *grown;
    size_t capacity;
    bool is_open, is_started;
    /* the call that fails, from 1; 0 for none */
    uint64_t fail_at, n_calls;
} sections_in_memory;

static int sink_call(sections_in_memory *s, omen_detail *why)
{
    return ++s->n_calls == s->fail_at
               ? omen_fail(why, SINK_CODE, "sink call %llu failed", (unsigned long long)s->n_calls)
               : OMEN_OK;
}

static int sink_start(void *self, uint64_t identity, omen_detail *why)
{
    sections_in_memory *s = self;
    CHECK(!s->is_started);
    s->is_started = true;
    s->identity = identity;
    return sink_call(s, why);
}

static int sink_begin(void *self, uint32_t id, uint32_t element, bool optional, omen_detail *why)
{
    sections_in_memory *s = self;
    CHECK(s->is_started && !s->is_open && s->n < MAX_SECTIONS);
    s->is_open = true;
    s->sections[s->n] = (omen_section){.id = id, .element = element, .optional = optional};
    s->capacity = 0;
    return sink_call(s, why);
}

static int sink_append(void *self, const void *data, uint64_t n_bytes, omen_detail *why)
{
    sections_in_memory *s = self;
    omen_section *section = &s->sections[s->n];
    CHECK(s->is_open);
    if (section->n_bytes + n_bytes > s->capacity) {
        s->capacity = 2 * (section->n_bytes + n_bytes);
        s->grown = realloc(s->grown, s->capacity);
    }
    if (n_bytes)
        memcpy(s->grown + section->n_bytes, data, n_bytes);
    section->n_bytes += n_bytes;
    return sink_call(s, why);
}

static void *aligned_copy(const void *from, size_t n_bytes)
{
    void *to;
    if (posix_memalign(&to, 64, n_bytes ? n_bytes : 1) != 0)
        abort();
    if (n_bytes)
        memcpy(to, from, n_bytes);
    return to;
}

static int sink_finish(void *self, omen_detail *why)
{
    sections_in_memory *s = self;
    omen_section *section = &s->sections[s->n++];
    CHECK(s->is_open);
    s->is_open = false;
    section->data = aligned_copy(s->grown, section->n_bytes);
    free(s->grown);
    s->grown = NULL;
    return sink_call(s, why);
}

static int sink_map(void *self, uint32_t id, omen_section *out, omen_detail *why)
{
    sections_in_memory *s = self;
    for (size_t i = 0; i < s->n; i++) {
        if (s->sections[i].id == id) {
            *out = s->sections[i];
            return sink_call(s, why);
        }
    }
    return omen_fail(why, OMEN_ERR_ARGUMENT, "no section %.4s", (const char *)&id);
}

static void sections_free(sections_in_memory *s)
{
    for (size_t i = 0; i < s->n; i++)
        free((void *)s->sections[i].data);
    free(s->grown);
    *s = (sections_in_memory){0};
}

static bool same_sections(const sections_in_memory *a, const sections_in_memory *b)
{
    bool same = a->n == b->n && a->identity == b->identity;
    for (size_t i = 0; i < a->n && same; i++) {
        const omen_section *x = &a->sections[i], *y = &b->sections[i];
        same = x->id == y->id && x->element == y->element && x->optional == y->optional && x->n_bytes == y->n_bytes &&
               memcmp(x->data, y->data, x->n_bytes) == 0;
        if (!same)
            printf("# section %.4s differs\n", (const char *)&x->id);
    }
    return same;
}

/* ---- build and open ----------------------------------------------------- */

static omen_detail detail;

static int build(rows_in_memory *rows, const omen_build_options *options, sections_in_memory *out)
{
    const omen_source source = source_of(rows);
    const omen_sink sink = {out, sink_start, sink_begin, sink_append, sink_finish, sink_map};
    detail.text[0] = '\0';
    rows->n_reads = 0;
    return omen_index_build(&source, options, &sink, NULL, NULL, &detail);
}

static const char *case_name(const rows_in_memory *rows, const omen_build_options *o)
{
    static char text[128];
    snprintf(text, sizeof text, "%s %s %s, %llu x %u, %u bytes", omen_metric_name(o->metric), omen_codec_name(o->codec),
             omen_refine_name(o->refine), (unsigned long long)rows->n, rows->d, o->bytes);
    return text;
}

/* The built and opened index; NULL after a told fault. */
static omen_index *make_index(rows_in_memory *rows, const omen_build_options *options, sections_in_memory *sections)
{
    omen_index *index = NULL;
    *sections = (sections_in_memory){0};
    int status = build(rows, options, sections);
    CHECK_CASE(status == OMEN_OK, "build %s: %d, %s", case_name(rows, options), status, detail.text);
    if (status == OMEN_OK) {
        status = omen_index_open(&index, sections->sections, sections->n, &detail);
        CHECK_CASE(status == OMEN_OK, "open %s: %d, %s", case_name(rows, options), status, detail.text);
    }
    return index;
}

/* Every variant gives the same bytes and results. Calibration makes builds of many rows slow, so a case builds with one
 * variant and some of the others, the more the smaller it is; the next case begins with the next variant. */
static const struct variant {
    const char *level;
    int n_threads;
} variants[] = {{"scalar", 1}, {"avx2", 2}, {"avx512", 3}, {NULL, 8}, {NULL, 1}, {"scalar", 8}};
#define N_VARIANTS (sizeof variants / sizeof *variants)

/* False where this processor or build has not the level. */
static bool select_variant(const struct variant *v)
{
    return omen_cpu_select(v->level, NULL) == OMEN_OK;
}

/* ---- results ------------------------------------------------------------ */

typedef struct {
    uint64_t n_queries;
    uint32_t k; /* per query */
    int64_t *ids;
    float *distances;
} results;

static void results_free(results *r)
{
    free(r->ids);
    free(r->distances);
}

static results search(const omen_index *index, const omen_search_options *options, const float *queries, uint64_t n)
{
    const uint32_t k = options->k < index->meta.n_rows ? options->k : (uint32_t)index->meta.n_rows;
    results r = {n, k, malloc(n * k * sizeof *r.ids), malloc(n * k * sizeof *r.distances)};
    omen_detail why = {""};
    const int status = omen_index_search(index, options, queries, n, r.ids, r.distances, NULL, &why);
    CHECK_CASE(status == OMEN_OK, "search: %d, %s", status, why.text);
    if (status != OMEN_OK)
        r.n_queries = 0;
    return r;
}

static bool same_results(const results *a, const results *b)
{
    const size_t n = a->n_queries * a->k;
    return a->n_queries == b->n_queries && a->k == b->k && memcmp(a->ids, b->ids, n * sizeof *a->ids) == 0 &&
           memcmp(a->distances, b->distances, n * sizeof *a->distances) == 0;
}

/* k rows that exist, none twice. */
static void check_distinct(const results *r, uint64_t n_rows, const char *what)
{
    uint8_t *seen = malloc(n_rows);
    for (uint64_t q = 0; q < r->n_queries; q++) {
        memset(seen, 0, n_rows);
        for (uint64_t i = q * r->k; i < (q + 1) * r->k; i++) {
            const bool exists = r->ids[i] >= 0 && (uint64_t)r->ids[i] < n_rows;
            CHECK_CASE(exists && !seen[r->ids[i]], "%s: query %llu, rank %llu is row %lld", what, (unsigned long long)q,
                       (unsigned long long)(i - q * r->k), (long long)r->ids[i]);
            if (exists)
                seen[r->ids[i]] = 1;
        }
    }
    free(seen);
}

/* The same, by distance and then id. */
static void check_complete(const results *r, uint64_t n_rows, const char *what)
{
    check_distinct(r, n_rows, what);
    for (uint64_t q = 0; q < r->n_queries; q++) {
        for (uint64_t i = q * r->k; i < (q + 1) * r->k; i++) {
            CHECK_CASE(!isnan(r->distances[i]), "%s: a distance is NaN", what);
            if (i > q * r->k)
                CHECK_CASE(r->distances[i - 1] < r->distances[i] ||
                               (r->distances[i - 1] == r->distances[i] && r->ids[i - 1] < r->ids[i]),
                           "%s: query %llu, rank %llu: row %lld at %.9g comes after row %lld at %.9g", what,
                           (unsigned long long)q, (unsigned long long)(i - q * r->k), (long long)r->ids[i],
                           (double)r->distances[i], (long long)r->ids[i - 1], (double)r->distances[i - 1]);
        }
    }
}

static double true_distance(omen_metric metric, const float *q, const float *x, uint32_t d)
{
    double l2 = 0, ip = 0, qq = 0, xx = 0;
    for (uint32_t j = 0; j < d; j++) {
        const double a = (double)q[j], b = (double)x[j];
        l2 += (a - b) * (a - b);
        ip += a * b;
        qq += a * a;
        xx += b * b;
    }
    return metric == OMEN_METRIC_L2   ? l2
           : metric == OMEN_METRIC_IP ? -ip
           : qq > 0 && xx > 0         ? 1 - ip / sqrt(qq * xx)
                                      : 1;
}

static int by_double(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Each rank's row is as near as the brute force's row of that rank, and its distance is told right, up to the rounding
 * of float32 sums. slack: what the refine tier's rounding adds, relative to a typical distance. */
static void check_brute(const results *r, omen_metric metric, const rows_in_memory *rows, const float *queries,
                        double slack, const char *what)
{
    double *truth = malloc(rows->n * sizeof *truth);
    for (uint64_t q = 0; q < r->n_queries; q++) {
        const float *query = queries + q * rows->d;
        double scale = 1e-30;
        for (uint64_t i = 0; i < rows->n; i++) {
            truth[i] = true_distance(metric, query, rows->x + i * rows->d, rows->d);
            scale += fabs(truth[i]) / (double)rows->n;
        }
        if (metric == OMEN_METRIC_COSINE)
            scale = 1;
        qsort(truth, rows->n, sizeof *truth, by_double);
        for (uint64_t i = 0; i < r->k; i++) {
            const int64_t id = r->ids[q * r->k + i];
            if (id < 0 || (uint64_t)id >= rows->n)
                continue; /* told by check_complete() */
            const double own = true_distance(metric, query, rows->x + (uint64_t)id * rows->d, rows->d);
            const double told = (double)r->distances[q * r->k + i], most = (1e-5 + slack) * scale;
            CHECK_CASE(fabs(own - truth[i]) <= most && fabs(told - own) <= most,
                       "%s: query %llu, rank %llu: row %lld at %g, told %g; the brute force has %g", what,
                       (unsigned long long)q, (unsigned long long)i, (long long)id, own, told, truth[i]);
        }
    }
    free(truth);
}

/* ---- identical, complete, exact ----------------------------------------- */

/* All that must hold of one index, whatever it was made of. */
static void check_search(const omen_index *index, const omen_build_options *o, const rows_in_memory *rows,
                         const rows_in_memory *queries)
{
    char what[200];
    const uint32_t n_rows = (uint32_t)rows->n, ks[] = {1, 10, n_rows + 5};
    omen_search_options options;
    omen_search_options_init(&options);
    for (size_t ki = 0; ki < 3; ki++) {
        for (uint32_t effort = 0; effort < 3; effort++) {
            if (ki == 2 && rows->n > 1000 && effort != 1)
                continue;
            options.k = ks[ki];
            options.probes = effort == 1 ? 1 : effort == 2 ? index->meta.n_lists : 0;
            options.rerank = effort == 1 ? 1 : effort == 2 ? n_rows : 0;
            snprintf(what, sizeof what, "%s, k %u, probes %u, rerank %u", case_name(rows, o), options.k, options.probes,
                     options.rerank);
            select_variant(&variants[0]);
            options.n_threads = 1;
            results want = search(index, &options, queries->x, queries->n);
            CHECK_EQ_INT(want.k, options.k < n_rows ? options.k : n_rows);
            check_complete(&want, rows->n, what);
            for (size_t v = 1; v < N_VARIANTS && (ki == 1 || rows->n < 1000); v++) {
                if (!select_variant(&variants[v]))
                    continue;
                options.n_threads = variants[v].n_threads;
                options.refine_cold = v % 2 == 1; /* how rows are read does not show */
                results got = search(index, &options, queries->x, queries->n);
                options.refine_cold = false;
                CHECK_CASE(same_results(&want, &got), "%s: %s, %d threads", what,
                           variants[v].level ? variants[v].level : "best level", options.n_threads);
                results_free(&got);
            }
            for (uint64_t q = 0; q < queries->n && q < 7; q++) {
                options.n_threads = 2;
                results one = search(index, &options, queries->x + q * rows->d, 1);
                results part = {1, want.k, want.ids + q * want.k, want.distances + q * want.k};
                CHECK_CASE(same_results(&part, &one), "%s: query %llu alone", what, (unsigned long long)q);
                results_free(&one);
            }
            if (effort == 2 && o->refine != OMEN_REFINE_NONE) {
                options.exact = true;
                for (size_t v = 0; v < N_VARIANTS; v++) {
                    if (!select_variant(&variants[v]))
                        continue;
                    options.n_threads = variants[v].n_threads;
                    results exact = search(index, &options, queries->x, queries->n);
                    CHECK_CASE(same_results(&want, &exact), "%s: exact search, %s, %d threads", what,
                               variants[v].level ? variants[v].level : "best level", options.n_threads);
                    if (v == 0 && o->refine == OMEN_REFINE_F32)
                        check_brute(&exact, o->metric, rows, queries->x, 0, what);
                    results_free(&exact);
                }
                options.exact = false;
            }
            results_free(&want);
        }
    }
}

static void fault_told(void *context, const char *section, const char *text)
{
    check_faultf(__FILE__, __LINE__, "%s: %s: %s", (const char *)context, section, text);
}

static void check_case(rows_in_memory *rows, const rows_in_memory *queries, const omen_build_options *options)
{
    static size_t n_cases;
    const size_t n_others = rows->n < 10 ? 5 : rows->n <= 100 ? 3 : rows->n < 1000 ? 2 : 1;
    omen_build_options o = *options;
    sections_in_memory first, other;
    char what[128];
    size_t v = n_cases++ % N_VARIANTS;
    if (!select_variant(&variants[v]))
        select_variant(&variants[0]);
    o.n_threads = variants[v].n_threads;
    omen_index *index = make_index(rows, &o, &first);
    snprintf(what, sizeof what, "%s", case_name(rows, &o));
    for (size_t i = 0; i < n_others && index; i++) {
        v = (v + 1) % N_VARIANTS;
        if (!select_variant(&variants[v]))
            continue;
        o.n_threads = variants[v].n_threads;
        other = (sections_in_memory){0};
        CHECK_EQ_INT(build(rows, &o, &other), OMEN_OK);
        CHECK_CASE(same_sections(&first, &other), "%s: %s, %d threads", what,
                   variants[v].level ? variants[v].level : "best level", o.n_threads);
        sections_free(&other);
    }
    if (index) {
        const omen_source source = source_of(rows);
        CHECK_EQ_INT(omen_index_check(index, fault_told, what), OMEN_OK);
        CHECK_EQ_INT(omen_index_check_source(index, &source, fault_told, what, &detail),
                     o.refine == OMEN_REFINE_NONE ? OMEN_ERR_UNSUPPORTED : OMEN_OK);
        omen_index_info info = {.struct_bytes = sizeof info};
        CHECK(omen_index_get_info(index, &info) == OMEN_OK);
        CHECK(info.n_rows == rows->n && info.d == rows->d && info.metric == o.metric && info.refine == o.refine);
        CHECK(info.default_probes >= 1 && info.default_probes <= info.n_lists);
        CHECK(info.code_bytes + info.factor_bytes <= o.bytes);
        check_search(index, &o, rows, queries);
    }
    omen_index_close(index);
    sections_free(&first);
    select_variant(&(struct variant){NULL, 0});
}

static const omen_codec codecs[] = {OMEN_CODEC_PQ, OMEN_CODEC_RABITQ, OMEN_CODEC_NONE, OMEN_CODEC_AUTO};

/* Combination number i of metric, codec and refine tier; false for the one that leaves nothing to search. */
static bool combination(int i, omen_build_options *o)
{
    omen_build_options_init(o);
    o->metric = (omen_metric)(i % 3);
    o->codec = codecs[i / 3 % 4];
    o->refine = (omen_refine)(i / 12);
    return o->codec != OMEN_CODEC_NONE || o->refine != OMEN_REFINE_NONE;
}

static void test_small(void)
{
    static const uint64_t ns[] = {1, 3, 7, 100};
    static const uint32_t ds[] = {1, 2, 13, 40};
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o))
            continue;
        for (size_t ni = 0; ni < 4; ni++) {
            for (size_t di = ns[ni] < 5 ? (size_t)i % 2 : 0; di < 4; di += ns[ni] < 5 ? 2 : 1) {
                rows_in_memory rows = make_rows(ns[ni], ds[di], CLUSTERED, 1);
                rows_in_memory queries = make_rows(9, ds[di], CLUSTERED, 1000);
                o.n_lists = ns[ni] == 100 && i % 2 ? 9 : 0;
                check_case(&rows, &queries, &o);
                rows_free(&rows);
                rows_free(&queries);
            }
        }
    }
}

/* Share of the exact neighbours that the default effort finds. */
static double recall_of(const omen_index *index, const rows_in_memory *queries, uint32_t k)
{
    omen_search_options options;
    omen_search_options_init(&options);
    options.k = k;
    results found = search(index, &options, queries->x, queries->n);
    options.exact = true;
    results exact = search(index, &options, queries->x, queries->n);
    uint64_t hits = 0;
    for (uint64_t q = 0; q < exact.n_queries; q++)
        for (uint32_t a = 0; a < k; a++)
            for (uint32_t b = 0; b < k; b++)
                hits += found.ids[q * k + a] == exact.ids[q * k + b];
    const double recall = (double)hits / (double)(queries->n * k);
    results_free(&found);
    results_free(&exact);
    return recall;
}

/* 3,000 rows: every metric with every codec, dimensions and refine tiers in turn. */
static void test_large(void)
{
    static const uint32_t ds[] = {40, 13, 2, 1};
    for (int i = 0; i < 12; i++) {
        omen_build_options o;
        CHECK(combination(i + 12 * (1 + i % 3), &o)); /* sq8, f16, f32 */
        if (i % 4 == 3 && o.codec != OMEN_CODEC_NONE)
            o.refine = OMEN_REFINE_NONE;
        rows_in_memory rows = make_rows(3000, ds[i / 2 % 4], CLUSTERED, 1);
        rows_in_memory queries = make_rows(40, rows.d, CLUSTERED, 1000);
        check_case(&rows, &queries, &o);
        rows_free(&rows);
        rows_free(&queries);
    }
}

static void test_recall(void)
{
    rows_in_memory rows = make_rows(3000, 40, CLUSTERED, 1), queries = make_rows(200, 40, CLUSTERED, 1000);
    for (int i = 0; i < 12; i++) {
        omen_build_options o;
        CHECK(combination(i + 12, &o));
        if (o.codec == OMEN_CODEC_AUTO && o.metric != OMEN_METRIC_L2)
            continue;
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        if (index) {
            const double recall = recall_of(index, &queries, 10);
            printf("# %s: recall@10 %.3f\n", case_name(&rows, &o), recall);
            CHECK_CASE(recall >= 0.9, "%s: recall@10 %.3f", case_name(&rows, &o), recall);
        }
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
    rows_free(&queries);
}

/* Rows that leave some part of the build nothing to work with. */
static void test_odd_rows(void)
{
    static const uint64_t ns[] = {7, 100, 250};
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o))
            continue;
        for (rows_kind kind = EQUAL; kind < N_KINDS; kind++) {
            const uint64_t n = ns[(i + (int)kind) % 3];
            rows_in_memory rows = make_rows(n, 13, kind, 1), queries = make_rows(9, 13, kind, 1000);
            const int faults_before = check_faults;
            o.n_lists = n == 250 ? 20 : 0;
            check_case(&rows, &queries, &o);
            if (check_faults != faults_before)
                printf("# rows: %s\n", kind_names[kind]);
            rows_free(&rows);
            rows_free(&queries);
        }
    }
}

/* Few hot bytes, many, more than there are dimensions; more lists than one level of the hierarchy has. */
static void test_options(void)
{
    static const struct {
        omen_codec codec;
        uint32_t bytes, n_lists, d;
    } cases[] = {{OMEN_CODEC_PQ, 4, 0, 40},       {OMEN_CODEC_RABITQ, 4, 0, 40}, {OMEN_CODEC_PQ, 256, 0, 40},
                 {OMEN_CODEC_RABITQ, 256, 0, 40}, {OMEN_CODEC_PQ, 5, 300, 13},   {OMEN_CODEC_RABITQ, 19, 300, 13},
                 {OMEN_CODEC_NONE, 32, 300, 13},  {OMEN_CODEC_PQ, 16, 1200, 13}, {OMEN_CODEC_AUTO, 32, 1, 13},
                 {OMEN_CODEC_RABITQ, 132, 0, 40}, {OMEN_CODEC_PQ, 256, 0, 600},  {OMEN_CODEC_RABITQ, 256, 0, 600},
                 {OMEN_CODEC_RABITQ, 8, 0, 600},  {OMEN_CODEC_PQ, 32, 1200, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        omen_build_options o;
        omen_build_options_init(&o);
        o.metric = (omen_metric)(i % 3);
        o.refine = i % 2 ? OMEN_REFINE_F32 : OMEN_REFINE_SQ8;
        o.codec = cases[i].codec;
        o.bytes = cases[i].bytes;
        o.n_lists = cases[i].n_lists;
        rows_in_memory rows = make_rows(cases[i].n_lists > 400 ? 1200 : 400, cases[i].d, CLUSTERED, 1);
        rows_in_memory queries = make_rows(9, rows.d, CLUSTERED, 1000);
        check_case(&rows, &queries, &o);
        rows_free(&rows);
        rows_free(&queries);
    }
}

/* ---- refusals ----------------------------------------------------------- */

static void refuse_build(rows_in_memory *rows, const omen_build_options *o, int code, const char *part)
{
    sections_in_memory sections = {0};
    const int status = build(rows, o, &sections);
    CHECK_CASE(status == code, "%s: %d, %s", case_name(rows, o), status, detail.text);
    CHECK_STR_CONTAINS(detail.text, part);
    sections_free(&sections);
}

static void test_zero_rows(void)
{
    rows_in_memory rows = make_rows(3000, 13, CLUSTERED, 1);
    memset(rows.x + 700 * 13, 0, 13 * sizeof(float));
    memset(rows.x + 2900 * 13, 0, 13 * sizeof(float));
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o) || o.metric != OMEN_METRIC_COSINE || o.codec == OMEN_CODEC_AUTO || i % 4 == 3)
            continue;
        for (size_t v = 0; v < N_VARIANTS; v++) {
            o.n_threads = variants[v].n_threads;
            if (i == 2 || v == 3) /* the first row at fault is the one told, however many threads meet others first */
                refuse_build(&rows, &o, OMEN_ERR_INPUT, "row 700 is a zero vector");
        }
        o.zero_ok = true;
        rows.n = 1000; /* one zero row is left */
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        if (index == NULL)
            break;
        omen_search_options options;
        omen_search_options_init(&options);
        options.k = 1000;
        options.probes = index->meta.n_lists;
        results r = search(index, &options, rows.x, 3);
        check_complete(&r, rows.n, case_name(&rows, &o));
        for (uint64_t j = 0; j < r.n_queries * r.k; j++)
            if (o.refine != OMEN_REFINE_NONE && r.ids[j] == 700)
                CHECK_CASE(r.distances[j] == 1, "%s: a zero row at %g", case_name(&rows, &o), (double)r.distances[j]);
        results_free(&r);
        /* a zero query: refused, or 1 from every row */
        int64_t ids[5];
        float distances[5];
        options.k = 5;
        CHECK_EQ_INT(omen_index_search(index, &options, rows.x + 699 * 13, 2, ids, distances, NULL, &detail),
                     OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(detail.text, "query 1 is a zero vector");
        options.zero_ok = true;
        for (int exact = 0; exact <= (o.refine != OMEN_REFINE_NONE); exact++) {
            options.exact = exact;
            r = search(index, &options, rows.x + 700 * 13, 1);
            for (uint64_t j = 0; j < r.n_queries * 5; j++)
                CHECK_CASE(r.ids[j] == (int64_t)j && r.distances[j] == 1, "%s: a zero query finds %lld at %g",
                           case_name(&rows, &o), (long long)r.ids[j], (double)r.distances[j]);
            results_free(&r);
        }
        omen_index_close(index);
        sections_free(&sections);
        rows.n = 3000;
    }
    rows_free(&rows);
}

/* Whole numbers from 0 to 255 are searched as bytes where the source has bytes, and nobody can tell. */
static void test_bytes(void)
{
    static const uint32_t dims[] = {1, 3, 4, 37, 128, 784};
    for (size_t turn = 0; turn < sizeof dims / sizeof *dims; turn++) {
        const uint32_t d = dims[turn], k = 20, n_queries = 33;
        rows_in_memory rows = make_rows(4500, d, INTEGERS, turn);
        for (uint64_t i = 0; i < rows.n * d; i++)
            rows.x[i] = i / d % 3 ? (float)(omen_random(turn, i) % 256) : rows.x[i] > 9 ? 255 : 0;
        omen_source source = source_of(&rows);
        int64_t *want = malloc(2 * n_queries * k * sizeof *want), *ids = want + n_queries * k;
        float *want_distances = malloc(2 * n_queries * k * sizeof(float));
        float *distances = want_distances + n_queries * k;
        CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_L2, k, rows.x, n_queries, 2, want, want_distances, NULL,
                                        NULL, NULL),
                     OMEN_OK);
        source.read_bytes = read_row_bytes;
        rows.n_byte_reads = 0;
        CHECK_EQ_INT(
            omen_source_search(&source, OMEN_METRIC_L2, k, rows.x, n_queries, 2, ids, distances, NULL, NULL, NULL),
            OMEN_OK);
        CHECK(rows.n_byte_reads > 0);
        CHECK_CASE(memcmp(want, ids, n_queries * k * sizeof *ids) == 0, "ids of %u dimensions", d);
        CHECK_CASE(memcmp(want_distances, distances, n_queries * k * sizeof(float)) == 0, "distances, d %u", d);
        /* of queries that are not bytes, or under another metric, nobody asks for bytes */
        rows.n_byte_reads = 0;
        CHECK_EQ_INT(
            omen_source_search(&source, OMEN_METRIC_IP, k, rows.x, n_queries, 2, ids, distances, NULL, NULL, NULL),
            OMEN_OK);
        static const float others[] = {0.5f, -1, 256, 1e30f};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            float *query = malloc(d * sizeof *query);
            memcpy(query, rows.x, d * sizeof *query);
            query[d - 1] = others[i];
            CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_L2, k, query, 1, 1, ids, NULL, NULL, NULL, NULL),
                         OMEN_OK);
            free(query);
        }
        CHECK_EQ_INT(rows.n_byte_reads, 0);

        /* 96 queries of an index are searched as bytes, 24 as floats. Rows with more than a byte holds are not bytes;
         * one of these would be taken for the neighbour of another query */
        for (int beyond = 0; beyond < 2; beyond++) {
            omen_build_options o;
            omen_build_options_init(&o);
            for (uint32_t j = 0; j < d && beyond; j++) {
                rows.x[4200 * d + j] = j % 2 ? 255 : 1;
                rows.x[4000 * d + j] = rows.x[4200 * d + j] + (j % 2 ? 1 : 0);
            }
            sections_in_memory sections;
            omen_index *index = make_index(&rows, &o, &sections);
            if (index == NULL)
                break;
            omen_search_options options;
            omen_search_options_init(&options);
            options.exact = true;
            options.k = k;
            results all = search(index, &options, rows.x + 4150 * d, 96);
            for (uint64_t q = 0; q < 96; q += 24) {
                results some = search(index, &options, rows.x + (4150 + q) * d, 24);
                results part = {24, k, all.ids + q * k, all.distances + q * k};
                CHECK_CASE(same_results(&some, &part), "exact search of queries from %llu, %u dimensions",
                           (unsigned long long)q, d);
                results_free(&some);
            }
            results_free(&all);
            omen_index_close(index);
            sections_free(&sections);
        }
        free(want_distances);
        free(want);
        rows_free(&rows);
    }
}

/* Rows far from the origin and near to each other, many equally far from a query: exact to the last tie. */
static void test_near_bytes(void)
{
    const uint32_t d = 784, k = 20;
    rows_in_memory rows = make_rows(2000, d, EQUAL, 1);
    for (uint64_t i = 0; i < rows.n * d; i++)
        rows.x[i] = 250 + (float)(i % d < 40 ? omen_random(1, i) % 3 : 0);
    omen_source source = source_of(&rows);
    source.read_bytes = read_row_bytes;
    int64_t ids[3 * 20];
    CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_L2, k, rows.x, 3, 2, ids, NULL, NULL, NULL, NULL), OMEN_OK);
    for (uint32_t q = 0; q < 3; q++) {
        uint64_t *keys = malloc(rows.n * sizeof *keys);
        for (uint64_t i = 0; i < rows.n; i++) {
            uint64_t distance = 0;
            for (uint32_t j = 0; j < d; j++) {
                const int apart = (int)rows.x[i * d + j] - (int)rows.x[q * d + j];
                distance += (uint64_t)(apart * apart);
            }
            keys[i] = distance << 32 | i;
        }
        omen_keys_sort(keys, rows.n);
        for (uint32_t i = 0; i < k; i++)
            CHECK_CASE((uint64_t)ids[q * k + i] == (keys[i] & UINT32_MAX), "query %u, neighbour %u: %lld, not %llu", q,
                       i, (long long)ids[q * k + i], (unsigned long long)(keys[i] & UINT32_MAX));
        free(keys);
    }
    rows_free(&rows);
}

static void test_bad_options(void)
{
    rows_in_memory rows = make_rows(20, 3, CLUSTERED, 1);
    omen_build_options o;
    omen_build_options_init(&o);
    o.n_lists = 21;
    refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "21 lists are more than the 20 rows");
    o.n_lists = 20;
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    omen_search_options options;
    omen_search_options_init(&options);
    int64_t ids[10];
    options.k = 0;
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 1, ids, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    options.k = 10;
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 1, ids, NULL, NULL, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 0, ids, NULL, NULL, NULL), OMEN_OK);
    omen_index_close(index);
    omen_index_close(NULL);
    sections_free(&sections);

    omen_build_options_init(&o);
    o.refine = OMEN_REFINE_NONE;
    index = make_index(&rows, &o, &sections);
    options.exact = true;
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 1, ids, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    omen_index_close(index);
    sections_free(&sections);
    o.codec = OMEN_CODEC_NONE;
    refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "nothing to search");
    for (int i = 0; i < 2; i++) {
        omen_build_options_init(&o);
        o.bytes = i ? OMEN_MIN_BYTES - 1 : OMEN_MAX_BYTES + 1;
        refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "bytes a vector");
    }
    omen_build_options_init(&o);
    rows.n = 0;
    refuse_build(&rows, &o, OMEN_ERR_INPUT, "at least one row");
    rows_free(&rows);
}

/* A finite row may still be too long for float32 sums: refused by number, for every metric, not "out of memory". */
static void test_long_rows(void)
{
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o))
            continue;
        rows_in_memory rows = make_rows(100, 5, CLUSTERED, 1);
        rows.x[62 * 5 + 2] = 1e30f;
        refuse_build(&rows, &o, OMEN_ERR_INPUT, "row 62 is too long");
        rows_free(&rows);
    }
}

/* Queries are finite, and no more is asked of them. One too long for float32 sums may be refused by number; what is not
 * refused is answered in full. */
static void test_long_queries(void)
{
    rows_in_memory rows = make_rows(300, 5, CLUSTERED, 1);
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o) || o.codec == OMEN_CODEC_AUTO)
            continue;
        o.n_lists = i % 2 ? 100 : 280;
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        static const float sizes[] = {1e15f, 1e19f, 1e20f, 3e38f, -3e38f, 1e-30f, 1e-45f};
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes && index; s++) {
            float queries[15] = {0};
            for (int j = 0; j < 15; j++)
                queries[j] = j % 5 < (j / 5 + 1) ? sizes[s] : j % 2;
            for (int exact = 0; exact <= (o.refine != OMEN_REFINE_NONE); exact++) {
                for (uint32_t k = 10; k <= 300; k += 290) {
                    const omen_search_options options = {
                        .struct_bytes = sizeof options, .k = k, .exact = exact, .zero_ok = true};
                    results r = {3, k, malloc(3 * k * sizeof *r.ids), malloc(3 * k * sizeof *r.distances)};
                    char what[200];
                    snprintf(what, sizeof what, "%s: %s search for %g", case_name(&rows, &o), exact ? "exact" : "list",
                             (double)sizes[s]);
                    const int status =
                        omen_index_search(index, &options, queries, 3, r.ids, r.distances, NULL, &detail);
                    if (status == OMEN_OK) {
                        check_distinct(&r, rows.n, what);
                    } else {
                        CHECK_CASE(status == OMEN_ERR_INPUT && fabsf(sizes[s]) > 1e18f, "%s: %d", what, status);
                        CHECK_STR_CONTAINS(detail.text, "query 0");
                    }
                    results_free(&r);
                }
            }
        }
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
}

/* ---- failures ----------------------------------------------------------- */

typedef struct {
    uint64_t stop_at, n_calls;
} stopper;

static int stop_at_call(void *context, const char *stage, uint64_t done, uint64_t total)
{
    stopper *s = context;
    CHECK(stage != NULL && *stage != '\0');
    CHECK_CASE(done <= total, "%s: %llu of %llu", stage, (unsigned long long)done, (unsigned long long)total);
    return ++s->n_calls == s->stop_at;
}

/* The builds that failures are tried on: small, and one with a hierarchy of lists. */
static rows_in_memory failing_case(int i, omen_build_options *o)
{
    omen_build_options_init(o);
    o->metric = (omen_metric)(i % 3);
    o->codec = codecs[i % 4];
    o->n_lists = i == 3 ? 300 : 4;
    o->n_threads = i == 1 ? 3 : 1;
    return make_rows(i == 3 ? 1500 : 600, 5, CLUSTERED, 1);
}

static void test_interrupted(void)
{
    for (int i = 0; i < 4; i++) {
        omen_build_options o;
        rows_in_memory rows = failing_case(i, &o);
        stopper s = {0, 0};
        int status = OMEN_ERR_INTERRUPTED;
        o.progress = stop_at_call;
        o.progress_context = &s;
        for (uint64_t stop_at = 1; status == OMEN_ERR_INTERRUPTED; stop_at += 1 + stop_at / 16) {
            sections_in_memory sections = {0};
            s = (stopper){stop_at, 0};
            status = build(&rows, &o, &sections);
            CHECK_CASE(status == (s.n_calls < stop_at ? OMEN_OK : OMEN_ERR_INTERRUPTED), "case %d, call %llu: %d, %s",
                       i, (unsigned long long)stop_at, status, detail.text);
            if (status != OMEN_OK)
                CHECK_EQ_INT(s.n_calls, stop_at); /* it is not asked again */
            sections_free(&sections);
        }
        CHECK_CASE(s.n_calls > OMEN_N_STAGES, "%llu calls", (unsigned long long)s.n_calls);
        rows_free(&rows);
    }
}

static void test_failing_sink(void)
{
    for (int i = 0; i < 4; i++) {
        omen_build_options o;
        rows_in_memory rows = failing_case(i, &o);
        int status = SINK_CODE;
        uint64_t fail_at = 1;
        for (; status == SINK_CODE; fail_at++) {
            sections_in_memory sections = {.fail_at = fail_at};
            status = build(&rows, &o, &sections);
            if (sections.n_calls >= fail_at) {
                CHECK_CASE(status == SINK_CODE, "case %d, call %llu: %d", i, (unsigned long long)fail_at, status);
                CHECK_STR_CONTAINS(detail.text, "sink call");
                CHECK_EQ_INT(sections.n_calls, fail_at); /* nothing is asked of it after */
            }
            sections_free(&sections);
        }
        CHECK_EQ_INT(status, OMEN_OK);
        CHECK(fail_at > 20);
        rows_free(&rows);
    }
}

static void test_failing_source(void)
{
    for (int i = 0; i < 4; i++) {
        omen_build_options o;
        rows_in_memory rows = failing_case(i, &o);
        sections_in_memory sections = {0};
        CHECK_EQ_INT(build(&rows, &o, &sections), OMEN_OK);
        sections_free(&sections);
        const uint64_t n_reads = rows.n_reads;
        CHECK(n_reads > rows.n); /* the sample is every row here, then come the blocks */
        /* the first and last of the sample, of the blocks and of what follows, and some between */
        for (uint64_t fail_at = 1; fail_at <= n_reads;) {
            rows.fail_at = fail_at;
            refuse_build(&rows, &o, OMEN_ERR_IO, "read call");
            const bool is_edge = fail_at < 3 || (fail_at + 2 > rows.n && fail_at < rows.n + 5) || fail_at + 3 > n_reads;
            fail_at += is_edge || n_reads < 100 ? 1 : n_reads / 16;
        }
        rows_free(&rows);
    }
}

/* ---- damage ------------------------------------------------------------- */

/* Opens and, if it opens, searches; either is fine. True when it was searched. */
static bool try_damaged(const sections_in_memory *sections, const float *queries, uint32_t d, uint64_t turn)
{
    omen_index *index;
    omen_detail why;
    const int status = omen_index_open(&index, sections->sections, sections->n, &why);
    CHECK_CASE(status == OMEN_OK ? index != NULL
                                 : index == NULL && (status == OMEN_ERR_CORRUPT || status == OMEN_ERR_UNSUPPORTED ||
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
    const size_t n_found = 3 * (options.k < index->meta.n_rows ? options.k : index->meta.n_rows);
    int64_t *ids = malloc(n_found * sizeof *ids);
    float *distances = malloc(n_found * sizeof *distances);
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
    static const uint32_t ids[] = {OMEN_SECTION_META, OMEN_SECTION_LIST, OMEN_SECTION_TUNE, OMEN_SECTION_SUBS,
                                   OMEN_SECTION_DIMS, OMEN_SECTION_META, OMEN_SECTION_MEAN, OMEN_SECTION_BASE,
                                   OMEN_SECTION_CSCL, OMEN_SECTION_CENT, OMEN_SECTION_FRNG, OMEN_SECTION_CODB,
                                   OMEN_SECTION_ROTA, OMEN_SECTION_CODE, OMEN_SECTION_REFN, OMEN_SECTION_PERM};
    rows_in_memory rows = make_rows(300, 13, CLUSTERED, 1), queries = make_rows(3, 13, CLUSTERED, 1000);
    uint64_t n_searched = 0, n_refused = 0;
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o) || o.codec == OMEN_CODEC_AUTO)
            continue;
        sections_in_memory sections;
        o.n_lists = 20;
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

/* ---- models that no build makes ------------------------------------------ */

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
            options.probes = 5;
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
        o.n_lists = 20;
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

/* Sections that are missing, cut, twice there, of another type or of a newer version. */
static void test_other_sections(void)
{
    rows_in_memory rows = make_rows(300, 13, CLUSTERED, 1), queries = make_rows(3, 13, CLUSTERED, 1000);
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o))
            continue;
        sections_in_memory sections;
        o.n_lists = 7;
        omen_index_close(make_index(&rows, &o, &sections));
        omen_index *index;
        for (size_t s = 0; s < sections.n; s++) {
            sections_in_memory changed = sections;
            const uint32_t id = sections.sections[s].id;
            changed.sections[s] = changed.sections[--changed.n];
            CHECK_CASE(try_damaged(&changed, queries.x, rows.d, s) == (id == OMEN_SECTION_TUNE), "%s without %.4s",
                       case_name(&rows, &o), (const char *)&id);
            changed = sections;
            changed.sections[s].n_bytes -= 1;
            changed.sections[s].data = aligned_copy(sections.sections[s].data, changed.sections[s].n_bytes);
            CHECK_CASE(!try_damaged(&changed, queries.x, rows.d, s), "%s with %.4s cut", case_name(&rows, &o),
                       (const char *)&id);
            free((void *)changed.sections[s].data);
            changed = sections;
            changed.sections[s].element ^= 1;
            CHECK_CASE(id == OMEN_SECTION_TUNE || !try_damaged(&changed, queries.x, rows.d, s),
                       "%s with %.4s of another type", case_name(&rows, &o), (const char *)&id);
        }
        sections_in_memory more = sections;
        more.sections[more.n++] = (omen_section){.id = OMEN_FOURCC('N', 'E', 'W', '!'), .data = rows.x, .n_bytes = 4};
        CHECK_EQ_INT(omen_index_open(&index, more.sections, more.n, &detail), OMEN_ERR_UNSUPPORTED);
        CHECK_STR_CONTAINS(detail.text, "NEW!");
        more.sections[more.n - 1].optional = true;
        CHECK(try_damaged(&more, queries.x, rows.d, 1));
        CHECK_EQ_INT(omen_index_open(&index, NULL, 0, &detail), OMEN_ERR_CORRUPT);
        CHECK(index == NULL);
        sections_free(&sections);
    }
    rows_free(&rows);
    rows_free(&queries);
}

/* Another seed, another row, another option: another identity. */
static void test_identity(void)
{
    rows_in_memory rows = make_rows(50, 4, CLUSTERED, 1);
    omen_build_options o, changed;
    sections_in_memory first, other;
    omen_build_options_init(&o);
    omen_index_close(make_index(&rows, &o, &first));
    for (int i = 0; i < 8; i++) {
        changed = o;
        changed.metric = i == 0 ? OMEN_METRIC_IP : o.metric;
        changed.codec = i == 1 ? OMEN_CODEC_PQ : o.codec;
        changed.refine = i == 2 ? OMEN_REFINE_F16 : o.refine;
        changed.bytes += i == 3;
        changed.n_lists = i == 4 ? 3 : 0;
        changed.seed += i == 5;
        changed.zero_ok = i == 6;
        rows.x[17] += i == 7;
        omen_index_close(make_index(&rows, &changed, &other));
        CHECK_CASE(first.identity != other.identity, "change %d", i);
        sections_free(&other);
    }
    sections_free(&first);
    rows_free(&rows);
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
    for (omen_refine refine = OMEN_REFINE_SQ8; refine <= OMEN_REFINE_F32; refine++) {
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

int main(void)
{
    RUN(test_small);
    RUN(test_large);
    RUN(test_odd_rows);
    RUN(test_options);
    RUN(test_recall);
    RUN(test_zero_rows);
    RUN(test_bytes);
    RUN(test_near_bytes);
    RUN(test_bad_options);
    RUN(test_long_rows);
    RUN(test_long_queries);
    RUN(test_interrupted);
    RUN(test_failing_sink);
    RUN(test_failing_source);
    RUN(test_damaged);
    RUN(test_forged_models);
    RUN(test_other_sections);
    RUN(test_identity);
    RUN(test_check);
    return check_finish();
}
