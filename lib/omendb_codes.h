/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: codes without lists, which omendb.h says the rest of. */
#ifndef OMENDB_CODES_H
#define OMENDB_CODES_H

#include "omendb.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An index of one list whose rows are in input order, without row numbers (omen_build_options.codes_only), to
 * reconstruct the rows from. */
typedef struct omen_codes omen_codes;

/* Whether sections are such codes, by which of them there are; nothing of them is read. */
OMEN_API bool omen_codes_are(const omen_section *sections, size_t n_sections);

/* Opens codes over sections that stay the caller's and must outlive them. *out is the caller's to close, NULL on
 * failure. Returns as omen_index_open(). */
OMEN_API int omen_codes_open(omen_codes **out, const omen_section *sections, size_t n_sections,
                             omen_detail *why) OMEN_MUST_CHECK;

/* NULL is fine. */
OMEN_API void omen_codes_close(omen_codes *codes);

/* As omen_index_check(). */
OMEN_API int omen_codes_check(const omen_codes *codes, omen_fault_fn fault, void *context) OMEN_MUST_CHECK;

/* As omen_index_get_info(); there are no ids. */
OMEN_API int omen_codes_get_info(const omen_codes *codes, omen_index_info *out) OMEN_MUST_CHECK;

/* The rows that the codes stand for, in the order of the input. It dies with the codes. Its read() may return
 * OMEN_ERR_CORRUPT and OMEN_ERR_MEMORY. */
OMEN_API omen_source omen_codes_source(omen_codes *codes);

/* Measured on rows spread over the input. The neighbours of a row do not include itself. */
typedef struct omen_codes_quality {
    size_t struct_bytes; /* set it */
    uint64_t n_error_rows, n_queries;
    double mean_squared_error;   /* of one value */
    double relative_error;       /* sum of squared errors over that of squared distances from the mean row */
    uint32_t group_values;       /* for comparison: so many neighbouring values share a byte, their mean */
    double group_relative_error; /* of rows made of those means, not rounded */
    double recall_codes;         /* recall@10 by distances to reconstructed rows; NaN with fewer than 11 rows */
    double recall_reranked;      /* the same with the n_rerank best re-ranked by their original rows */
    uint32_t n_rerank;
} omen_codes_quality;

/* Compares codes with the rows they were made from. progress may be NULL. Returns OMEN_OK, OMEN_ERR_ARGUMENT,
 * OMEN_ERR_MEMORY, OMEN_ERR_INTERRUPTED or what original returned. */
OMEN_API int omen_codes_measure(const omen_codes *codes, const omen_source *original, uint64_t seed, int n_threads,
                                omen_progress_fn progress, void *context, omen_codes_quality *out,
                                omen_detail *why) OMEN_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
