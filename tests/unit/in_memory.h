/* SPDX-License-Identifier: Apache-2.0 */
/* What a library test works on instead of files: a source of made-up rows and a sink for sections, either of which can
 * be told to fail at a call. Sections are kept in buffers of exactly their size, so that AddressSanitizer sees a read
 * beyond one. */
#ifndef OMEN_IN_MEMORY_H
#define OMEN_IN_MEMORY_H

#include "lib/omendb.h"

/* ---- rows ---- */

typedef struct {
    uint64_t n;
    uint32_t d;
    float *x;
    /* the read call that fails, from 1; 0 for none */
    uint64_t fail_at, n_reads, n_byte_reads;
} rows_in_memory;

omen_source source_of(rows_in_memory *rows);

/* For omen_source.read_bytes: rows of whole numbers from 0 to 255, as bytes. */
int read_row_bytes(void *self, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why);

typedef enum { CLUSTERED, EQUAL, CONSTANT_COLUMNS, DUPLICATES, INTEGERS, FAR_AWAY, N_KINDS } rows_kind;
extern const char *const kind_names[];

/* Rows around 40 centres; another seed gives other rows around the same centres. */
rows_in_memory make_rows(uint64_t n, uint32_t d, rows_kind kind, uint64_t seed);

void rows_free(rows_in_memory *rows);

/* ---- sections ---- */

#define MAX_SECTIONS 32
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

omen_sink sink_of(sections_in_memory *sections);

/* As sections are aligned; the caller frees it. */
void *aligned_copy(const void *from, size_t n_bytes);

void sections_free(sections_in_memory *s);

/* Prints which section is not the same. */
bool same_sections(const sections_in_memory *a, const sections_in_memory *b);

#endif
