/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

omen_detail detail;

int build(rows_in_memory *rows, const omen_build_options *options, sections_in_memory *out)
{
    const omen_source source = source_of(rows);
    const omen_sink sink = sink_of(out);
    detail.text[0] = '\0';
    rows->n_reads = 0;
    return omen_index_build(&source, options, &sink, NULL, NULL, &detail);
}

const char *case_name(const rows_in_memory *rows, const omen_build_options *o)
{
    static char text[128];
    snprintf(text, sizeof text, "%s %s %s, %llu x %u, %u bytes", omen_metric_name(o->metric), omen_codec_name(o->codec),
             omen_refine_name(o->refine), (unsigned long long)rows->n, rows->d, o->bytes);
    return text;
}

omen_index *make_index(rows_in_memory *rows, const omen_build_options *options, sections_in_memory *sections)
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

void refuse_build(rows_in_memory *rows, const omen_build_options *o, int code, const char *part)
{
    sections_in_memory sections = {0};
    const int status = build(rows, o, &sections);
    CHECK_CASE(status == code, "%s: %d, %s", case_name(rows, o), status, detail.text);
    CHECK_STR_CONTAINS(detail.text, part);
    sections_free(&sections);
}

const struct variant variants[] = {{"scalar", 1}, {"avx2", 2}, {"avx512", 3}, {NULL, 8}, {NULL, 1}, {"scalar", 8}};

bool select_variant(const struct variant *v)
{
    return omen_cpu_select(v->level, NULL) == OMEN_OK;
}

const omen_codec codecs[] = {OMEN_CODEC_PQ, OMEN_CODEC_RABITQ, OMEN_CODEC_NONE, OMEN_CODEC_AUTO};

bool combination(int i, omen_build_options *o)
{
    omen_build_options_init(o);
    o->metric = (omen_metric)(i % 3);
    o->codec = codecs[i / 3 % 4];
    o->refine = (omen_refine)(i / 12);
    return o->codec != OMEN_CODEC_NONE || o->refine != OMEN_REFINE_NONE;
}

void results_free(results *r)
{
    free(r->ids);
    free(r->distances);
}

results search(const omen_index *index, const omen_search_options *options, const float *queries, uint64_t n)
{
    const uint32_t asked = options->k, k = asked < index->meta.n_rows ? asked : (uint32_t)index->meta.n_rows;
    results r = {n, k, malloc(n * asked * sizeof *r.ids), malloc(n * asked * sizeof *r.distances)};
    omen_detail why = {""};
    const int status = omen_index_search(index, options, queries, n, r.ids, r.distances, NULL, &why);
    CHECK_CASE(status == OMEN_OK, "search: %d, %s", status, why.text);
    if (status != OMEN_OK)
        r.n_queries = 0;
    /* in place of the rows that are not there: none, at infinity */
    for (uint64_t q = 0; q < r.n_queries; q++) {
        const uint32_t n_found = omen_found_count(r.ids + q * asked, asked);
        /* a set may have fewer: its test knows */
        CHECK_CASE(n_found == k || options->row_sets, "query %llu finds %u rows, not %u", (unsigned long long)q,
                   n_found, k);
        for (uint64_t i = q * asked + n_found; i < (q + 1) * asked; i++)
            CHECK_CASE(r.ids[i] == OMEN_NO_ROW && r.distances[i] == INFINITY, "in place of no row is %lld at %g",
                       (long long)r.ids[i], (double)r.distances[i]);
        memmove(r.ids + q * k, r.ids + q * asked, k * sizeof *r.ids);
        memmove(r.distances + q * k, r.distances + q * asked, k * sizeof *r.distances);
    }
    return r;
}

double share_found(const int64_t *ids, const int64_t *exact, uint64_t n_queries, uint32_t k)
{
    uint64_t n = 0;
    for (uint64_t q = 0; q < n_queries; q++)
        for (uint32_t i = 0; i < k; i++)
            for (uint32_t j = 0; j < k; j++)
                n += ids[q * k + i] == exact[q * k + j];
    return (double)n / (double)(n_queries * k);
}

bool same_results(const results *a, const results *b)
{
    const size_t n = a->n_queries * a->k;
    return a->n_queries == b->n_queries && a->k == b->k && memcmp(a->ids, b->ids, n * sizeof *a->ids) == 0 &&
           memcmp(a->distances, b->distances, n * sizeof *a->distances) == 0;
}

void check_distinct(const results *r, uint64_t n_rows, const char *what)
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

void check_complete(const results *r, uint64_t n_rows, const char *what)
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

void check_brute(const results *r, omen_metric metric, const rows_in_memory *rows, const float *queries, double slack,
                 const char *what)
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
            options.lists.probes = effort == 1 ? 1 : effort == 2 ? index->meta.n_lists : 0;
            options.rerank = effort == 1 ? 1 : effort == 2 ? n_rows : 0;
            snprintf(what, sizeof what, "%s, k %u, probes %u, rerank %u", case_name(rows, o), options.k,
                     options.lists.probes, options.rerank);
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

void check_case(rows_in_memory *rows, const rows_in_memory *queries, const omen_build_options *options)
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
        CHECK(info.lists.default_probes >= 1 && info.lists.default_probes <= info.lists.n);
        CHECK(info.code_bytes + info.factor_bytes <= o.bytes);
        check_search(index, &o, rows, queries);
    }
    omen_index_close(index);
    sections_free(&first);
    select_variant(&(struct variant){NULL, 0});
}
