/* SPDX-License-Identifier: Apache-2.0 */
/* From input rows to the space of lists and codes: normalise or augment, centre, project on principal axes. */
#ifndef OMEN_TRANSFORM_H
#define OMEN_TRANSFORM_H

#include "lib/model_part.h"
#include "lib/watch.h"

typedef struct omen_transform {
    omen_metric metric;
    uint32_t d;       /* of the input */
    uint32_t d_full;  /* d, or d + 1 for ip */
    uint32_t d_kept;  /* principal axes kept */
    float ip_radius2; /* ip: squared norm that rows are lifted to */
    float *mean;      /* d_full */
    float *basis;     /* d_kept x d_full, orthonormal rows, by falling variance */
    float *panels;    /* basis, packed */
    float *offset;    /* d_kept: basis * mean */
} omen_transform;

/* Fits mean and basis to n sample rows (n x d_full, already lifted; overwritten). Principal components from the
 * covariance (or from the Gram matrix when there are fewer rows than dimensions; then d_kept may be less than asked
 * for), each with its largest component positive. transform->metric, d, d_full and ip_radius2 are set by the caller.
 * Returns OMEN_OK, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_transform_fit(omen_transform *transform, float *rows, size_t n, uint32_t d_kept_max,
                       omen_watch *watch) OMEN_MUST_CHECK;

/* Upper bound, in bytes, of the memory that it needs besides the rows. */
uint64_t omen_transform_fit_bytes(uint64_t n, uint64_t d_full, uint64_t d_kept_max, uint64_t n_threads);

/* The arrays that a transform of its d_full and d_kept consists of. Returns how many. */
size_t omen_transform_parts(omen_transform *transform, omen_model_part parts[OMEN_MODEL_PARTS]);

/* Whether mean, basis and radius, read from a file, are within the limits of docs/FORMAT.md. Does not check that the
 * axes are at right angles, which would take as long as fitting them. */
bool omen_transform_is_sound(const omen_transform *transform) OMEN_MUST_CHECK;

/* Checks that the axes are so nearly at right angles that projection makes no row longer than the limits allow. Returns
 * OMEN_OK, OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY. */
int omen_transform_check_angles(const omen_transform *transform) OMEN_MUST_CHECK;

/* Derives panels and offset from mean and basis, unless they are there. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_transform_prepare(omen_transform *transform) OMEN_MUST_CHECK;

void omen_transform_finish(omen_transform *transform);

/* Squared length of a row, where float32 would lose it too: 0 only of a zero row. */
double omen_norm2(const float *row, size_t d);

/* Lifts n rows (n x d) to n x d_full: cosine rows to unit length, ip rows by a coordinate that brings them to squared
 * norm ip_radius2 (Bachrach et al., RecSys 2014), so that squared Euclidean distance ranks as the metric does; longer
 * ones are cut to it. A zero cosine row stays zero. Queries of ip are scaled to the radius and get coordinate 0.
 * Returns out; under l2, where nothing needs to be done, returns rows and does not touch out. */
const float *omen_transform_lift(const omen_transform *transform, const float *rows, size_t n, bool queries,
                                 float *out);

/* Projects n lifted rows: out is n x ld, ld >= d_kept rounded up to 16. tails[i], if not NULL, is the squared norm of
 * what the projection dropped of row i. */
void omen_transform_project(const omen_transform *transform, const float *lifted, size_t n, float *out, size_t ld,
                            float *tails);

/* The same by the first n_axes of the d_kept axes. */
void omen_transform_project_first(const omen_transform *transform, const float *lifted, size_t n, uint32_t n_axes,
                                  float *out, size_t ld, float *tails);

#endif
