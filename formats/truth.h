/* SPDX-License-Identifier: Apache-2.0 */
/* Ground truth: the true nearest rows of each query, in the formats in which it is published. */
#ifndef OMEN_TRUTH_H
#define OMEN_TRUTH_H

#include <stdio.h>

#include "lib/omendb.h"

/* A format: a row of the table in truth.c. */
typedef struct omen_truth_format omen_truth_format;

/* ids is n x k, nearest first; OMEN_NO_ROW follows the last neighbour of a query that has fewer. */
typedef struct omen_truth {
    uint64_t n;
    uint32_t k;
    int32_t *ids;
} omen_truth;

/* The name of format number i, which is also the extension of its files; NULL past the last. */
const char *omen_truth_name(size_t i);

/* The format that a file name's extension stands for; NULL for another one. */
const omen_truth_format *omen_truth_named(const char *path);

/* Reads a file of one of these formats, for n_queries queries, or any number of them if that is 0.
 *   ivecs  per query the int32 k, then k int32 ids (TEXMEX)
 *   ibin   uint32 n, uint32 k, n x k int32 ids, and perhaps n x k float32 distances, which are skipped (big-ann)
 * A name that ends in .ivecs is ivecs; any other file is ibin if its length fits, else ivecs. Ids are at least 0, or -1
 * in all places after a query's last neighbour. Returns OMEN_OK, OMEN_ERR_INPUT (why names the query), OMEN_ERR_IO or
 * OMEN_ERR_MEMORY. Call omen_truth_finish() even on failure. */
int omen_truth_read(omen_truth *out, const char *path, uint64_t n_queries, omen_detail *why) OMEN_MUST_CHECK;

/* Frees what a read filled. */
void omen_truth_finish(omen_truth *truth);

/* Writes n x k ids to the caller's stream; distances (n x k or NULL) go to ibin only, infinity where there is no
 * neighbour. Returns OMEN_OK, OMEN_ERR_INPUT (an id beyond int32) or OMEN_ERR_IO. */
int omen_truth_write(FILE *stream, const omen_truth_format *format, uint64_t n, uint32_t k, const int64_t *ids,
                     const float *distances, omen_detail *why) OMEN_MUST_CHECK;

#endif
