/* The sections of an index and the META record. Bytes: docs/FORMAT.md, part 2. */
#ifndef OMEN_INDEX_FORMAT_H
#define OMEN_INDEX_FORMAT_H

#include "lib/omendb.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "index sections are mapped as they are: little-endian processors only"
#endif

#define OMEN_SECTION_META OMEN_FOURCC('M', 'E', 'T', 'A') /* omen_meta */
#define OMEN_SECTION_MEAN OMEN_FOURCC('M', 'E', 'A', 'N') /* f32 [d_full] */
#define OMEN_SECTION_BASE OMEN_FOURCC('B', 'A', 'S', 'E') /* f32 [d_kept][d_full] */
#define OMEN_SECTION_CSCL OMEN_FOURCC('C', 'S', 'C', 'L') /* f32 [2][d_kept] */
#define OMEN_SECTION_CENT OMEN_FOURCC('C', 'E', 'N', 'T') /* u8 [n_lists][d_kept] */
#define OMEN_SECTION_LIST OMEN_FOURCC('L', 'I', 'S', 'T') /* u32 [n_lists + 1] */
#define OMEN_SECTION_FRNG OMEN_FOURCC('F', 'R', 'N', 'G') /* f32 [n_lists][n_factors][2] */
#define OMEN_SECTION_SUBS OMEN_FOURCC('S', 'U', 'B', 'S') /* u32 [n_sub + 1], pq */
#define OMEN_SECTION_DIMS OMEN_FOURCC('D', 'I', 'M', 'S') /* u32 [n_active], pq */
#define OMEN_SECTION_CODB OMEN_FOURCC('C', 'O', 'D', 'B') /* f32 [n_active][16], pq */
#define OMEN_SECTION_ROTA OMEN_FOURCC('R', 'O', 'T', 'A') /* f32 [4 n_sub][d_used], rabitq */
#define OMEN_SECTION_CODE OMEN_FOURCC('C', 'O', 'D', 'E') /* u8 [n_blocks][block_bytes] */
#define OMEN_SECTION_REFN OMEN_FOURCC('R', 'E', 'F', 'N') /* u8 [n_rows][refine_row_bytes] */
#define OMEN_SECTION_PERM OMEN_FOURCC('P', 'E', 'R', 'M') /* u32 [n_rows] */
#define OMEN_SECTION_TUNE OMEN_FOURCC('T', 'U', 'N', 'E') /* omen_tune_entry [] */

#define OMEN_META_FLAG_ZERO_OK 1u
#define OMEN_MAX_ROWS          0xfffffff0u /* row numbers are 32 bits */

/* Limits of the values in a model, docs/FORMAT.md. Within them no step of a search overflows. */
#define OMEN_MEAN2_MOST      1.01e37f /* squared length of MEAN: OMEN_NORM2_MOST plus rounding */
#define OMEN_UNIT_SLACK      1e-3f    /* how far from 1 the squared length of an axis may be */
#define OMEN_ANGLE_SLACK     0.1f     /* sum of the inner products of an axis with all others */
#define OMEN_COORDINATE_MOST 1e19f    /* of a centroid */
#define OMEN_LENGTH2_MOST    1e38f    /* squared length of a centroid, a codeword or a refine row */
#define OMEN_F_MOST          1.5e38f  /* of factor f, either sign */
#define OMEN_G_MOST          1e20f    /* of factor g */
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
    float code_scale; /* codes without lists, rabitq: what reconstructions are multiplied by; else 0 */
    uint32_t zero[13];
} omen_meta;

_Static_assert(sizeof(omen_meta) == 128, "META is 128 bytes");

/* Measured on held-out rows: for this k, probing n_probes lists and re-ranking n_rerank candidates reaches recall. */
typedef struct omen_tune_entry {
    uint32_t k, n_probes, n_rerank;
    float recall;
} omen_tune_entry;

#endif
