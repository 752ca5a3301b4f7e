/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of an index and the META record. Bytes: docs/FORMAT.md, part 2. */
#ifndef OMEN_INDEX_FORMAT_H
#define OMEN_INDEX_FORMAT_H

#include "lib/omendb.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "index sections are mapped as they are: little-endian processors only"
#endif

#define OMEN_MAX_INDEX_SECTIONS 32u /* more than there are kinds of */

#define OMEN_META_FLAG_ZERO_OK 1u
#define OMEN_META_FLAG_CENTRED 2u          /* refine rows less RCEN */
#define OMEN_MAX_ROWS          0xfffffff0u /* row numbers are 32 bits */

/* Limits of the values in a model, docs/FORMAT.md. Within them no step of a search overflows. */
#define OMEN_MEAN2_MOST      1.01e37f /* squared length of MEAN: OMEN_NORM2_MOST plus rounding */
#define OMEN_UNIT_SLACK      1e-3f    /* how far from 1 the squared length of an axis may be */
#define OMEN_ANGLE_SLACK     0.1f     /* sum of the inner products of an axis with all others */
#define OMEN_COORDINATE_MOST 1e19f    /* of a centroid */
#define OMEN_LENGTH2_MOST    1e38f    /* squared length of a centroid, a codeword or a refine row */
#define OMEN_F_MOST          1.5e38f  /* of factor f, either sign */
#define OMEN_G_MOST          1e20f    /* of factor g */
#define OMEN_REACH_MOST      1e9f     /* of an entry of TUNE */
#define OMEN_PROJECTED2_MOST 5e37f    /* squared length of a projected query: orthonormal axes make none longer */

typedef struct omen_meta {
    uint64_t n_rows;
    uint32_t d, d_full, d_kept;
    uint32_t metric, codec, refine;
    uint32_t n_lists;
    uint32_t n_sub, n_factors; /* 0 for codec none */
    uint32_t n_active, d_used; /* pq, rabitq */
    uint32_t bytes;            /* hot bytes a vector, as asked for */
    uint64_t seed;
    float ip_radius2;
    uint32_t flags;
    float code_scale;     /* codes without lists, rabitq: what reconstructions are multiplied by; else 0 */
    float refine_ceiling; /* share of the 10 nearest that the refine tier's rounding keeps, estimated; 0: unknown */
    uint32_t zero[12];
} omen_meta;

_Static_assert(sizeof(omen_meta) == 128, "META is 128 bytes");

/* Measured on held-out rows: for this k, reach and margin (docs/FORMAT.md) find recall of the neighbours and take
 * n_lists and n_rows on average. */
typedef struct omen_tune_entry {
    uint32_t k;
    float recall, reach, margin;
    uint32_t n_lists, n_rows;
} omen_tune_entry;

_Static_assert(sizeof(omen_tune_entry) == 24, "an entry of TUNE is 24 bytes");

/* The same of the graph: for this k, a reach finds recall of the neighbours, and takes a pool of so many rows, n_rows
 * re-ranked and n_estimates on average. */
typedef struct omen_graph_tune {
    uint32_t k;
    float recall, reach;
    uint32_t pool, n_rows, n_estimates;
} omen_graph_tune;

_Static_assert(sizeof(omen_graph_tune) == 24, "an entry of GTUN is 24 bytes");

#define OMEN_KEYS_FLAG_SHARED 1u /* several rows may have the same key */

/* The section KEYS. */
typedef struct omen_keys_head {
    uint32_t kind, flags;
    uint64_t n_rows;
    uint64_t least, most; /* keys of integers; text: 0, and the bytes of all keys */
    uint32_t width;       /* bytes of an integer, or of an offset */
    uint32_t longest;     /* text: bytes of the longest key */
    uint32_t zero[6];
} omen_keys_head;

_Static_assert(sizeof(omen_keys_head) == 64, "KEYS is 64 bytes");

#endif
