/* SPDX-License-Identifier: Apache-2.0 */
/* Inverted lists: centroids by hierarchical k-means, and the assignment of rows to them through the hierarchy. */
#ifndef OMEN_PARTITION_H
#define OMEN_PARTITION_H

#include "lib/model_part.h"
#include "lib/watch.h"

/* Lists are numbered parent by parent, so the children of a parent are consecutive. Small partitions have one parent.
 */
typedef struct omen_partition {
    uint32_t n_lists, n_parents, d;
    uint32_t *first_child; /* n_parents + 1 */
    float *parents;        /* n_parents x d */
    float *ahead;          /* n_parents: beyond a row's nearest parent, those whose distance, squared, is larger by no
                              more than so many times are looked at; FLT_MAX: no limit */
    float *centroids;      /* n_lists x d, the values that centroid_codes stand for */
    uint8_t *codes;        /* n_lists x d */
    float *scales;         /* d lows, then d steps: centroid = low + step * code */
    /* what a build knows of outliers, see build_outliers.c; squared distances, FLT_MAX: no limit */
    float *limits; /* n_lists: rows are coded as if they were no farther from the centroid */
    float pull2;   /* to which the rows that it was trained on were pulled */
    /* derived for matrix products */
    float *parent_panels, *parent_half_norms, *child_panels, *half_norms;
    size_t *panels_at; /* where a parent's children begin in child_panels */
} omen_partition;

/* Trains on n rows (n x d). lists, of n, gets the list that each row was in when the centroids moved for the last time;
 * a few rows would be in others now. Returns OMEN_OK, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. The result depends on
 * rows, n_lists and seed only. */
int omen_partition_train(omen_partition *partition, const float *rows, size_t n, uint32_t d, uint32_t n_lists,
                         uint64_t seed, uint32_t *lists, omen_watch *watch) OMEN_MUST_CHECK;

/* Number of parents in a partition of n_lists lists. */
uint32_t omen_partition_parents(uint32_t n_lists) OMEN_MUST_CHECK;

/* The arrays that a partition of its n_lists, n_parents and d consists of. Returns how many. */
size_t omen_partition_parts(omen_partition *partition, omen_model_part parts[OMEN_MODEL_PARTS]);

/* Whether scales, and the squared lengths of n centroids, read from a file, are within the limits of docs/FORMAT.md. */
bool omen_scales_are_sound(const float *scales, uint32_t d) OMEN_MUST_CHECK;
bool omen_half_norms_are_sound(const float *half_norms, size_t n) OMEN_MUST_CHECK;

/* Derives everything else from first_child, parents, codes and scales. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_partition_restore(omen_partition *partition) OMEN_MUST_CHECK;

void omen_partition_finish(omen_partition *partition);

#define OMEN_ASSIGN_ROWS 512u

/* Size in bytes of the scratch memory for assigning up to OMEN_ASSIGN_ROWS rows. */
size_t omen_partition_scratch_bytes(const omen_partition *partition);

/* The nearest list of each of n <= OMEN_ASSIGN_ROWS rows (ld floats apart): the nearest child of its nearest
 * parents, eight at most, ties to the lower list. */
void omen_partition_assign(const omen_partition *partition, const float *rows, size_t n, size_t ld, uint32_t *lists,
                           void *scratch);

/* The same for any number of rows without gaps, by all threads. Returns OMEN_OK, OMEN_ERR_MEMORY or
 * OMEN_ERR_INTERRUPTED. */
int omen_partition_assign_all(const omen_partition *partition, const float *rows, size_t n, uint32_t *lists,
                              omen_watch *watch) OMEN_MUST_CHECK;

/* centroid = low + step * code for n_lists x d codes. */
void omen_centroids_decode(const uint8_t *codes, const float *scales, uint32_t n_lists, uint32_t d, float *centroids);

/* Plain k-means (Lloyd) of n rows (n x d) from k rows drawn one per stratum; empty clusters take half of the largest.
 * clusters gets each row's cluster as of the last pass. Deterministic for any number of threads. */
int omen_kmeans(const float *rows, size_t n, uint32_t d, uint32_t k, unsigned n_passes, uint64_t seed, float *centroids,
                uint32_t *clusters, omen_watch *watch) OMEN_MUST_CHECK;

#endif
