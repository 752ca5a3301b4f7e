/* SPDX-License-Identifier: Apache-2.0 */
/* Failures of source, sink and caller at every call of a build. */
#include <math.h>
#include <stdlib.h>

#include "lib/build_state.h"
#include "lib/index.h"
#include "lib/index_format.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

typedef struct {
    uint64_t stop_at, n_calls;
} stopper;

static int stop_at_call(void *context, const char *stage, uint64_t done, uint64_t total)
{
    stopper *s = context;
    CHECK(stage && *stage != '\0');
    CHECK_CASE(done <= total, "%s: %llu of %llu", stage, (unsigned long long)done, (unsigned long long)total);
    return ++s->n_calls == s->stop_at;
}

/* The builds that failures are tried on: small, and one with a hierarchy of lists. */
static rows_in_memory failing_case(int i, omen_build_options *o)
{
    omen_build_options_init(o);
    o->metric = (omen_metric)(i % 3);
    o->codec = codecs[i % 4];
    o->lists.n = i == 3 ? 300 : 4;
    o->n_threads = i == 1 ? 3 : 1;
    o->graph.wanted = i % 2 == 1;
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

int main(void)
{
    RUN(test_interrupted);
    RUN(test_failing_sink);
    RUN(test_failing_source);
    return check_finish();
}
