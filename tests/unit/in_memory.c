/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "lib/matrix.h"
#include "lib/index.h"
#include "tests/unit/check.h"
#include "tests/unit/in_memory.h"

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

int read_row_bytes(void *self, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why)
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

omen_source source_of(rows_in_memory *rows)
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

const char *const kind_names[] = {"clustered",  "equal",    "constant columns",
                                  "duplicates", "integers", "far from the origin"};

rows_in_memory make_rows(uint64_t n, uint32_t d, rows_kind kind, uint64_t seed)
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

void rows_free(rows_in_memory *rows)
{
    free(rows->x);
    rows->x = NULL;
}

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

void *aligned_copy(const void *from, size_t n_bytes)
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

omen_sink sink_of(sections_in_memory *sections)
{
    return (omen_sink){sections, sink_start, sink_begin, sink_append, sink_finish, sink_map};
}

void sections_free(sections_in_memory *s)
{
    for (size_t i = 0; i < s->n; i++)
        free((void *)s->sections[i].data);
    free(s->grown);
    *s = (sections_in_memory){0};
}

bool same_sections(const sections_in_memory *a, const sections_in_memory *b)
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
