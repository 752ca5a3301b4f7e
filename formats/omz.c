/* Compressed files: blocks of about 1 MiB, each filtered, then compressed by zstd in parts.
 *
 * A filter moves like next to like: the bytes of equal weight of all numbers (planes), or equal columns of all rows.
 * Which one, is tried on a sample of the block. A part that zstd does not shrink, as the low bytes of measured numbers,
 * is stored as it is, which makes both directions fast.
 *
 * Nothing about a block is believed: lengths are compared with the table and the buffers before they are used, and the
 * result with its checksum. */
#include "formats/omz.h"
#include "formats/container_format.h"
#include "formats/rows.h"
#include "formats/vectors_internal.h"

#include <errno.h>
#include <omp.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#define SECTION_HEAD  OMEN_FOURCC('Z', 'H', 'E', 'D')
#define SECTION_DATA  OMEN_FOURCC('Z', 'D', 'A', 'T')
#define SECTION_TABLE OMEN_FOURCC('Z', 'T', 'A', 'B')

#define OMZ_SUFFIX    ".omz"
#define BLOCK_BYTES   (1u << 20) /* of the original in a block, unless one record is longer */
#define BLOCK_MOST    (2u << 20)
#define SAMPLE_BYTES  (24u << 10) /* of a block that filters are tried on */
#define STORED        0x80000000u /* in the length of a part: not compressed */
#define PARTS_MOST    9u
#define GAIN_LEAST    64u /* a part is stored if compression saves less than 1 / 64 */
#define BLOCKS_A_TURN 8u  /* a thread's, between two appends */

/* Sections: HEAD is one record of 32 bytes, TABLE one of 40 for each block. */
enum { HEAD_BYTES = 32, HEAD_ORIGINAL = 0, HEAD_N_BLOCKS = 8, HEAD_KIND = 16, HEAD_ZERO = 20 };
enum { KIND_VECTORS = 0, KIND_INDEX = 1 };
enum {
    ENTRY_BYTES_ = 40,
    BLOCK_OFFSET = 0,
    BLOCK_STORED = 8,
    BLOCK_RAW = 12,
    BLOCK_STRIDE = 16,
    BLOCK_LEAD = 20,
    BLOCK_ELEMENT = 24,
    BLOCK_FILTER = 25,
    BLOCK_DIGITS = 26,
    BLOCK_ZERO = 27,
    BLOCK_HASH = 32,
};

typedef enum {
    FILTER_NONE,    /* as it is */
    FILTER_COLUMNS, /* bytes by column of the records */
    FILTER_PLANES,  /* leads; then all elements' bytes of equal weight, the highest first */
    FILTER_ROTATED, /* the same of floats with the sign moved to the low end, so that the exponent is one byte */
    FILTER_DELTA,   /* planes of the differences to the element before */
    FILTER_U8,      /* floats that are whole numbers of 0 to 255, as bytes */
    FILTER_U8_COLUMNS,
    FILTER_F16,     /* floats that binary16 holds exactly, as its planes */
    FILTER_DECIMAL, /* floats that were printed with so many digits: planes of decade and whole number */
    N_FILTERS,
} filter;

/* A stretch of a file whose bytes are alike: records of stride bytes, each of lead bytes and then elements. */
typedef struct {
    uint64_t offset, n_bytes; /* whole records */
    uint32_t stride, lead;
    uint8_t element_bytes; /* 1, 2, 4 or 8 */
    bool is_float;         /* elements of 4 bytes are IEEE 754 numbers, little-endian */
} region;

typedef struct {
    uint64_t offset; /* of the stored bytes in DATA */
    uint64_t raw_offset;
    uint32_t stored, raw, stride, lead;
    uint8_t element, filter, digits;
    uint64_t hash;
} block;

/* 0, or an errno. */
static int write_all(int fd, const uint8_t *bytes, size_t n, bool at_offset, uint64_t offset)
{
    while (n > 0) {
        const ssize_t written = at_offset ? pwrite(fd, bytes, n, (off_t)offset) : write(fd, bytes, n);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            errno = written == 0 ? ENOSPC : errno;
            return errno;
        }
        bytes += written;
        n -= (size_t)written;
        offset += (uint64_t)written;
    }
    return 0;
}

/* ---- filters ---- */

static size_t n_records(const block *b)
{
    return b->raw / b->stride;
}

static size_t n_elements(const block *b)
{
    return n_records(b) * ((b->stride - b->lead) / b->element);
}

/* Lengths of the parts of a filtered block; returns how many. */
static size_t part_sizes(const block *b, size_t sizes[PARTS_MOST])
{
    const size_t leads = n_records(b) * b->lead, n = n_elements(b);
    size_t n_parts = 0;

    if (b->filter == FILTER_NONE || b->filter == FILTER_COLUMNS) {
        sizes[n_parts++] = b->raw;
        return n_parts;
    }
    if (leads > 0) {
        sizes[n_parts++] = leads;
    }
    const size_t planes = b->filter == FILTER_U8 || b->filter == FILTER_U8_COLUMNS ? 1
                          : b->filter == FILTER_F16                                ? 2
                                                                                   : b->element;
    for (size_t p = 0; p < planes; p++) {
        sizes[n_parts++] = n;
    }
    return n_parts;
}

static void transpose(const uint8_t *from, size_t n_rows, size_t n_columns, uint8_t *restrict to)
{
    for (size_t r0 = 0; r0 < n_rows; r0 += 64) {
        const size_t r1 = n_rows - r0 < 64 ? n_rows : r0 + 64;
        for (size_t c = 0; c < n_columns; c++) {
            for (size_t r = r0; r < r1; r++) {
                to[c * n_rows + r] = from[r * n_columns + c];
            }
        }
    }
}

static void untranspose(const uint8_t *from, size_t n_rows, size_t n_columns, uint8_t *restrict to)
{
    for (size_t r0 = 0; r0 < n_rows; r0 += 64) {
        const size_t r1 = n_rows - r0 < 64 ? n_rows : r0 + 64;
        for (size_t c = 0; c < n_columns; c++) {
            for (size_t r = r0; r < r1; r++) {
                to[r * n_columns + c] = from[c * n_rows + r];
            }
        }
    }
}

static void split4(const uint32_t *x, size_t n, uint8_t *restrict p3, uint8_t *restrict p2, uint8_t *restrict p1,
                   uint8_t *restrict p0)
{
    for (size_t i = 0; i < n; i++) {
        p3[i] = (uint8_t)(x[i] >> 24);
        p2[i] = (uint8_t)(x[i] >> 16);
        p1[i] = (uint8_t)(x[i] >> 8);
        p0[i] = (uint8_t)x[i];
    }
}

static void merge4(const uint8_t *p3, const uint8_t *p2, const uint8_t *p1, const uint8_t *p0, size_t n,
                   uint32_t *restrict x)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (uint32_t)p3[i] << 24 | (uint32_t)p2[i] << 16 | (uint32_t)p1[i] << 8 | p0[i];
    }
}

/* Planes of elements of any size, the highest byte of little-endian numbers first. */
static void split_planes(const uint8_t *from, size_t n, size_t element, uint8_t *to)
{
    if (element == 4) {
        split4((const uint32_t *)(const void *)from, n, to, to + n, to + 2 * n, to + 3 * n);
        return;
    }
    for (size_t p = 0; p < element; p++) {
        uint8_t *restrict plane = to + p * n;
        for (size_t i = 0; i < n; i++) {
            plane[i] = from[i * element + element - 1 - p];
        }
    }
}

static void merge_planes(const uint8_t *from, size_t n, size_t element, uint8_t *to)
{
    if (element == 4) {
        merge4(from, from + n, from + 2 * n, from + 3 * n, n, (uint32_t *)(void *)to);
        return;
    }
    for (size_t p = 0; p < element; p++) {
        const uint8_t *plane = from + p * n;
        for (size_t i = 0; i < n; i++) {
            to[i * element + element - 1 - p] = plane[i];
        }
    }
}

/* The binary16 number that is exactly the binary32 number of these bits, if there is one and it is no NaN. */
static bool half_of(uint32_t bits, uint16_t *half)
{
    const uint32_t sign = bits >> 16 & 0x8000, mantissa = bits & 0x7fffff;
    const int exponent = (int)(bits >> 23 & 255) - 127;

    if ((bits & 0x7fffffff) == 0) {
        *half = (uint16_t)sign;
        return true;
    }
    if (exponent >= -14 && exponent <= 15) {
        *half = (uint16_t)(sign | (uint32_t)(exponent + 15) << 10 | mantissa >> 13);
        return (mantissa & 0x1fff) == 0;
    }
    if (exponent >= -24 && exponent < -14) { /* subnormal there */
        const uint32_t whole = 0x800000 | mantissa, shift = (uint32_t)(-1 - exponent);
        *half = (uint16_t)(sign | whole >> shift);
        return (whole & ((1u << shift) - 1)) == 0;
    }
    *half = (uint16_t)(sign | 0x7c00);
    return exponent == 128 && mantissa == 0;
}

/* Whether the floats are whole numbers of 0 to 255, bit for bit. */
static bool fits_u8(const uint32_t *x, size_t n)
{
    uint32_t different = 0;
    for (size_t i = 0; i < n; i++) {
        float value;
        memcpy(&value, x + i, sizeof value);
        const float back = (float)(value >= 0 && value <= 255 ? (int32_t)value : 0);
        uint32_t bits;
        memcpy(&bits, &back, sizeof bits);
        different |= bits ^ x[i];
    }
    return different == 0;
}

/* Numbers that were printed with a fixed count of digits, and read as floats: m / 10^k with m below 10^digits (the idea
 * of ALP, Afroozeh et al., SIGMOD 2024, here with k from the decade that the number is in). A word holds m in its lower
 * 24 bits, then the sign, then the decade. */
#define DIGITS_LEAST 3u
#define DIGITS_MOST  7u
#define N_DECADES    12u
static const float decades[N_DECADES] = {100, 10, 1, 1e-1f, 1e-2f, 1e-3f, 1e-4f, 1e-5f, 1e-6f, 1e-7f, 1e-8f, 1e-9f};
static const double powers[] = {1,   1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7, 1e8,
                                1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16};

/* What m is multiplied by in each decade; 0 for those that are none. */
static void decimal_scales(uint8_t digits, double scales[128])
{
    memset(scales, 0, 128 * sizeof *scales);
    for (size_t s = 0; s <= N_DECADES; s++) {
        scales[s] = 1 / powers[digits - DIGITS_LEAST + s];
    }
}

static uint32_t bits_of_decimal(uint32_t word, const double scales[128])
{
    const float value = (float)((double)(word & 0xffffff) * scales[word >> 25]);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits | (word >> 24 & 1) << 31;
}

/* Floats to words; false where one does not come back. */
static bool make_decimals(uint32_t *x, size_t n, uint8_t digits)
{
    double scales[128];
    uint32_t different = 0;

    decimal_scales(digits, scales);
    for (size_t i = 0; i < n; i++) {
        const uint32_t magnitude = x[i] & 0x7fffffff;
        float value;
        memcpy(&value, &magnitude, sizeof value);
        uint32_t decade = 0;
        for (size_t s = 0; s < N_DECADES; s++) {
            decade += value < decades[s];
        }
        const double scaled = (double)value * powers[digits - DIGITS_LEAST + decade];
        const uint32_t m = scaled < 0x1p24 - 1 ? (uint32_t)(int32_t)(scaled + 0.5) : 0;
        const uint32_t word = decade << 25 | x[i] >> 31 << 24 | m;
        different |= bits_of_decimal(word, scales) ^ x[i];
        x[i] = word;
    }
    return different == 0;
}

static void unmake_decimals(uint32_t *x, size_t n, uint8_t digits)
{
    double scales[128];

    decimal_scales(digits, scales);
    for (size_t i = 0; i < n; i++) {
        x[i] = bits_of_decimal(x[i], scales);
    }
}

/* Planes of the floats as binary16; false where one is none. */
static bool split_halves(const uint32_t *x, size_t n, uint8_t *high, uint8_t *low)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        if (!half_of(x[i], &half)) {
            return false;
        }
        high[i] = (uint8_t)(half >> 8);
        low[i] = (uint8_t)half;
    }
    return true;
}

static void merge_halves(const uint8_t *high, const uint8_t *low, size_t n, float *x)
{
    uint8_t halves[2 * 1024];

    for (size_t i0 = 0; i0 < n; i0 += 1024) {
        const size_t count = n - i0 < 1024 ? n - i0 : 1024;
        for (size_t i = 0; i < count; i++) {
            halves[2 * i] = low[i0 + i];
            halves[2 * i + 1] = high[i0 + i];
        }
        omen_values_convert(OMEN_VALUE_F2, false, halves, count, x + i0);
    }
}

/* Buffers of one thread, each of BLOCK_MOST bytes and a little. */
typedef struct {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    uint8_t *elements; /* without the leads */
    uint8_t *filtered;
    uint8_t *packed; /* of trials */
    uint8_t *raw;
} worker;

#define WORKER_BYTES (BLOCK_MOST + 4096u + 16 * PARTS_MOST)

static void worker_finish(worker *w)
{
    ZSTD_freeCCtx(w->compressor);
    ZSTD_freeDCtx(w->decompressor);
    free(w->elements);
    free(w->filtered);
    free(w->packed);
    free(w->raw);
}

static bool worker_init(worker *w, bool compress)
{
    *w = (worker){.elements = aligned_alloc(64, (WORKER_BYTES + 63) / 64 * 64),
                  .filtered = malloc(WORKER_BYTES),
                  .raw = compress ? NULL : aligned_alloc(64, (WORKER_BYTES + 63) / 64 * 64)};
    if (compress) {
        w->compressor = ZSTD_createCCtx();
        w->packed = malloc(ZSTD_compressBound(WORKER_BYTES));
    } else {
        w->decompressor = ZSTD_createDCtx();
    }
    return w->elements != NULL && w->filtered != NULL &&
           (compress ? w->compressor != NULL && w->packed != NULL : w->decompressor != NULL && w->raw != NULL);
}

/* Elements of all records, side by side. */
static const uint8_t *gather(const block *b, const uint8_t *raw, uint8_t *elements)
{
    const size_t width = b->stride - b->lead;

    for (size_t r = 0; r < n_records(b); r++) {
        memcpy(elements + r * width, raw + r * b->stride + b->lead, width);
    }
    return elements;
}

/* Fills w->filtered from the block's bytes. False: the filter does not fit them. */
static bool apply_filter(const block *b, const uint8_t *raw, worker *w)
{
    const size_t n = n_elements(b), leads = n_records(b) * b->lead;
    uint8_t *to = w->filtered;

    if (b->filter == FILTER_NONE) {
        memcpy(to, raw, b->raw);
        return true;
    }
    if (b->filter == FILTER_COLUMNS) {
        transpose(raw, n_records(b), b->stride, to);
        return true;
    }
    for (size_t r = 0; r < n_records(b) && b->lead > 0; r++) {
        memcpy(to + r * b->lead, raw + r * b->stride, b->lead);
    }
    to += leads;
    const uint8_t *elements = gather(b, raw, w->elements);
    uint32_t *x = (uint32_t *)(void *)w->elements;
    switch (b->filter) {
    case FILTER_PLANES:
        split_planes(elements, n, b->element, to);
        return true;
    case FILTER_ROTATED:
        for (size_t i = 0; i < n; i++) {
            x[i] = x[i] << 1 | x[i] >> 31;
        }
        split_planes(elements, n, 4, to);
        return true;
    case FILTER_DELTA:
        for (size_t i = n; i-- > 1;) {
            x[i] -= x[i - 1];
        }
        split_planes(elements, n, 4, to);
        return true;
    case FILTER_DECIMAL:
        if (!make_decimals(x, n, b->digits)) {
            return false;
        }
        split_planes(elements, n, 4, to);
        return true;
    case FILTER_F16:
        return split_halves(x, n, to, to + n);
    default: /* FILTER_U8, FILTER_U8_COLUMNS */
        if (!fits_u8(x, n)) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            float value;
            memcpy(&value, x + i, sizeof value);
            w->elements[i] = (uint8_t)value; /* behind what is still to be read */
        }
        if (b->filter == FILTER_U8) {
            memcpy(to, w->elements, n);
        } else {
            transpose(w->elements, n_records(b), n / n_records(b), to);
        }
        return true;
    }
}

/* The way back: from w->filtered to raw. */
static void undo_filter(const block *b, worker *w, uint8_t *raw)
{
    const size_t n = n_elements(b), leads = n_records(b) * b->lead, width = b->stride - b->lead;
    const uint8_t *from = w->filtered + leads;
    uint8_t *elements = b->lead > 0 || ((uintptr_t)raw & 3) != 0 ? w->elements : raw;
    uint32_t *x = (uint32_t *)(void *)elements;

    switch (b->filter) {
    case FILTER_NONE:
        memcpy(raw, w->filtered, b->raw);
        return;
    case FILTER_COLUMNS:
        untranspose(w->filtered, n_records(b), b->stride, raw);
        return;
    case FILTER_PLANES:
        merge_planes(from, n, b->element, elements);
        break;
    case FILTER_ROTATED:
        merge_planes(from, n, 4, elements);
        for (size_t i = 0; i < n; i++) {
            x[i] = x[i] >> 1 | x[i] << 31;
        }
        break;
    case FILTER_DELTA:
        merge_planes(from, n, 4, elements);
        for (size_t i = 1; i < n; i++) {
            x[i] += x[i - 1];
        }
        break;
    case FILTER_DECIMAL:
        merge_planes(from, n, 4, elements);
        unmake_decimals(x, n, b->digits);
        break;
    case FILTER_F16:
        merge_halves(from, from + n, n, (float *)(void *)elements);
        break;
    default: { /* FILTER_U8, FILTER_U8_COLUMNS */
        const size_t rows = n_records(b), columns = n / rows;
        float *values = (float *)(void *)elements;
        for (size_t r = 0; r < rows && b->filter == FILTER_U8_COLUMNS; r++) {
            for (size_t c = 0; c < columns; c++) {
                values[r * columns + c] = from[c * rows + r];
            }
        }
        for (size_t i = 0; i < n && b->filter == FILTER_U8; i++) {
            values[i] = from[i];
        }
    }
    }
    if (elements == raw) {
        return;
    }
    for (size_t r = 0; r < n_records(b); r++) {
        memcpy(raw + r * b->stride, w->filtered + r * b->lead, b->lead);
        memcpy(raw + r * b->stride + b->lead, elements + r * width, width);
    }
}

/* ---- compressing a block ---- */

/* Compresses the filtered block into out; parts of which skip is true are stored at once. Sets b->stored and tells in
 * stored which parts did not shrink. */
static void pack_parts(block *b, const worker *w, int level, const bool skip[PARTS_MOST], uint8_t *out,
                       bool stored[PARTS_MOST])
{
    size_t sizes[PARTS_MOST], at = 0, from = 0;
    const size_t n_parts = part_sizes(b, sizes);

    for (size_t p = 0; p < n_parts; p++) {
        const size_t n = sizes[p];
        size_t packed = n;
        if (!skip[p] && n > 0) {
            packed =
                ZSTD_compressCCtx(w->compressor, out + at + 4, ZSTD_compressBound(n), w->filtered + from, n, level);
        }
        stored[p] = ZSTD_isError(packed) || packed + n / GAIN_LEAST >= n;
        if (stored[p]) {
            memcpy(out + at + 4, w->filtered + from, n);
            packed = n;
        }
        container_store_u32(out + at, (uint32_t)packed | (stored[p] ? STORED : 0));
        at += 4 + packed;
        from += n;
    }
    b->stored = (uint32_t)at;
}

/* Filters worth a trial for such a block. */
static size_t filters_for(const region *like, filter out[N_FILTERS])
{
    size_t n = 0;

    out[n++] = FILTER_NONE;
    if (like->element_bytes == 1 && like->stride > 1) {
        out[n++] = FILTER_COLUMNS;
    }
    if (like->element_bytes > 1) {
        out[n++] = FILTER_PLANES;
    }
    if (like->element_bytes == 4 && like->is_float) {
        out[n++] = FILTER_ROTATED;
        out[n++] = FILTER_DECIMAL;
        out[n++] = FILTER_F16;
        out[n++] = FILTER_U8;
        out[n++] = FILTER_U8_COLUMNS;
    } else if (like->element_bytes == 4) {
        out[n++] = FILTER_DELTA;
    }
    return n;
}

/* Compresses one block into out, which has room for WORKER_BYTES. */
static void pack_block(block *b, const region *like, const uint8_t *raw, int level, worker *w, uint8_t *out)
{
    static const bool no_skip[PARTS_MOST];
    filter filters[N_FILTERS];
    bool skips[N_FILTERS][PARTS_MOST], unused[PARTS_MOST];
    uint32_t sizes[N_FILTERS];
    size_t n = filters_for(like, filters);

    b->hash = container_hash(raw, b->raw);
    for (size_t f = 0; f < n && n > 1; f++) {
        /* records from the middle: a file's beginning may be unlike the rest */
        const size_t whole = n_records(b), some = SAMPLE_BYTES / b->stride < 1       ? 1
                                                  : SAMPLE_BYTES / b->stride < whole ? SAMPLE_BYTES / b->stride
                                                                                     : whole;
        block sample = *b;
        sample.raw = (uint32_t)(some * b->stride);
        const uint8_t *from = raw + (whole - some) / 2 * b->stride;
        sample.filter = filters[f];
        sample.digits = filters[f] == FILTER_DECIMAL ? DIGITS_LEAST : 0;
        sizes[f] = UINT32_MAX;
        bool fits = apply_filter(&sample, from, w);
        while (!fits && sample.filter == FILTER_DECIMAL && sample.digits < DIGITS_MOST) {
            sample.digits++;
            fits = apply_filter(&sample, from, w);
        }
        if (fits) {
            b->digits = sample.digits > b->digits ? sample.digits : b->digits;
            pack_parts(&sample, w, level, no_skip, w->packed, skips[f]);
            sizes[f] = sample.stored;
        }
    }
    if (n == 1) {
        sizes[0] = 0;
        skips[0][0] = false;
    }
    for (;;) {
        size_t best = 0;
        for (size_t f = 1; f < n; f++) {
            best = sizes[f] < sizes[best] ? f : best;
        }
        b->filter = (uint8_t)filters[best];
        bool fits = apply_filter(b, raw, w);
        while (!fits && b->filter == FILTER_DECIMAL && b->digits < DIGITS_MOST) {
            b->digits++; /* the sample had a number less precise than the rest */
            fits = apply_filter(b, raw, w);
        }
        if (fits) {
            b->digits = b->filter == FILTER_DECIMAL ? b->digits : 0;
            pack_parts(b, w, level, skips[best], w->packed, unused);
            memcpy(out, w->packed, b->stored);
            return;
        }
        sizes[best] = UINT32_MAX; /* fits the sample only; FILTER_NONE always fits */
    }
}

/* ---- compressing a file ---- */

/* What a file is made of. */
struct omen_omz_input {
    omen_input input;
    char format[16];
    region *regions; /* they cover it */
    size_t n_regions;
};

/* Adds a region, and before it one without structure for what lies between. */
static int add_region(omen_omz_input *in, region r, omen_detail *why)
{
    region *grown = realloc(in->regions, (in->n_regions + 2) * sizeof *grown);
    uint64_t end = 0;

    if (grown == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the regions of %s", in->input.label);
    }
    in->regions = grown;
    if (in->n_regions > 0) {
        end = grown[in->n_regions - 1].offset + grown[in->n_regions - 1].n_bytes;
    }
    if (end < r.offset) {
        grown[in->n_regions++] = (region){.offset = end, .n_bytes = r.offset - end, .stride = 1, .element_bytes = 1};
    }
    if (r.n_bytes > 0) {
        grown[in->n_regions++] = r;
    }
    return OMEN_OK;
}

static int regions_of_vectors(omen_omz_input *in, const char *path, const char *format, uint32_t d, omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d};
    omen_vectors *vectors = NULL;
    int rc = omen_vectors_open(&vectors, path, &options, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    const omen_layout *layout = &vectors->layout;
    const uint32_t element = omen_value_bytes(layout->value), lead = layout->row_headers ? 4 : 0;
    const bool is_float = layout->value == OMEN_VALUE_F4 && !layout->big_endian;
    /* columns of all rows are one long run of elements */
    const uint64_t stride = layout->by_columns ? element : layout->stride;
    snprintf(in->format, sizeof in->format, "%s", omen_vectors_format(vectors));
    rc = add_region(
        in,
        (region){.offset = layout->offset - lead,
                 .n_bytes = layout->by_columns ? layout->n_rows * layout->d * element : layout->n_rows * layout->stride,
                 .stride = (uint32_t)stride,
                 .lead = lead,
                 .element_bytes = (uint8_t)element,
                 .is_float = is_float},
        why);
    omen_vectors_close(vectors);
    return rc;
}

/* Sections of an index whose bytes have a structure: numbers, or rows of bytes. */
static int regions_of_index(omen_omz_input *in, const char *path, omen_detail *why)
{
    omen_container *container = NULL;
    size_t n;
    uint64_t n_rows = 0;
    int rc = omen_container_open(&container, path, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    const omen_section *sections = omen_container_sections(container, &n);
    if (omen_omz_is(container)) {
        rc = omen_fail(why, OMEN_ERR_INPUT, "%s is compressed already", in->input.label);
    }
    for (size_t i = 0; i < n; i++) {
        n_rows = sections[i].id == OMEN_FOURCC('P', 'E', 'R', 'M') ? sections[i].n_bytes / 4 : n_rows;
    }
    snprintf(in->format, sizeof in->format, "index");
    for (size_t i = 0; i < n && rc == OMEN_OK; i++) {
        const omen_section *s = &sections[i];
        const uint64_t offset = omen_container_offset(container, i);
        region r = {.offset = offset, .n_bytes = s->n_bytes, .stride = 1, .element_bytes = 1};
        if ((s->element == OMEN_ELEMENT_F32 || s->element == OMEN_ELEMENT_U32) && s->n_bytes % 4 == 0) {
            r.stride = r.element_bytes = 4;
            r.is_float = s->element == OMEN_ELEMENT_F32;
        } else if (s->id == OMEN_FOURCC('R', 'E', 'F', 'N') && n_rows > 0 && s->n_bytes / n_rows <= BLOCK_BYTES &&
                   s->n_bytes % n_rows == 0) {
            r.stride = (uint32_t)(s->n_bytes / n_rows);
        }
        rc = add_region(in, r, why);
    }
    omen_container_close(container);
    return rc;
}

int omen_omz_input_open(omen_omz_input **out, const char *path, const char *format, uint32_t d, omen_detail *why)
{
    char number[32];
    int fd = -1, rc;

    *out = NULL;
    omen_omz_input *in = calloc(1, sizeof *in);
    if (in == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory to open \"%s\"", path);
    }
    rc = omen_input_open(&in->input, path, why);
    /* what is no regular file was copied: the copy is opened once more to look inside */
    if (rc == OMEN_OK && in->input.stamp == 0) {
        rc = omen_temporary_open(in->input.label, &fd, why);
        if (rc == OMEN_OK && write_all(fd, in->input.bytes, in->input.n_bytes, false, 0) != 0) {
            rc = omen_fail(why, OMEN_ERR_IO, "cannot write the temporary copy of %s: %s", in->input.label,
                           strerror(errno));
        }
        snprintf(number, sizeof number, "/proc/self/fd/%d", fd);
        path = number;
    }
    if (rc == OMEN_OK) {
        rc = omen_input_is_container(&in->input) ? regions_of_index(in, path, why)
                                                 : regions_of_vectors(in, path, format, d, why);
    }
    if (rc == OMEN_OK) { /* what follows the last */
        rc = add_region(in, (region){.offset = in->input.n_bytes, .stride = 1}, why);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (rc != OMEN_OK) {
        omen_omz_input_close(in);
        return rc;
    }
    *out = in;
    return OMEN_OK;
}

void omen_omz_input_close(omen_omz_input *in)
{
    if (in != NULL) {
        omen_input_close(&in->input);
        free(in->regions);
        free(in);
    }
}

uint64_t omen_omz_input_bytes(const omen_omz_input *in)
{
    return in->input.n_bytes;
}

const char *omen_omz_input_format(const omen_omz_input *in)
{
    return in->format;
}

/* The number of blocks of a region, and the bytes of all but its last. */
static uint64_t cut_region(const region *like, uint64_t *block_bytes)
{
    const uint64_t records = BLOCK_BYTES / like->stride;

    *block_bytes = (records > 0 ? records : 1) * like->stride;
    return (like->n_bytes + *block_bytes - 1) / *block_bytes;
}

typedef struct {
    block *blocks;
    const region **regions; /* of each block */
    uint64_t n;
} block_list;

static int list_blocks(const omen_omz_input *in, block_list *list, omen_detail *why)
{
    uint64_t n = 0, block_bytes;

    for (size_t r = 0; r < in->n_regions; r++) {
        n += cut_region(&in->regions[r], &block_bytes);
    }
    *list =
        (block_list){.blocks = calloc(n + 1, sizeof *list->blocks), .regions = calloc(n + 1, sizeof *list->regions)};
    if (list->blocks == NULL || list->regions == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a table of %llu blocks", (unsigned long long)n);
    }
    for (size_t r = 0; r < in->n_regions; r++) {
        const region *like = &in->regions[r];
        cut_region(like, &block_bytes);
        for (uint64_t at = 0; at < like->n_bytes; at += block_bytes) {
            const uint64_t left = like->n_bytes - at;
            list->regions[list->n] = like;
            list->blocks[list->n++] = (block){.raw_offset = like->offset + at,
                                              .raw = (uint32_t)(left < block_bytes ? left : block_bytes),
                                              .stride = like->stride,
                                              .lead = like->lead,
                                              .element = like->element_bytes};
        }
    }
    return OMEN_OK;
}

static void store_block(const block *b, uint8_t out[ENTRY_BYTES_])
{
    memset(out, 0, ENTRY_BYTES_);
    container_store_u64(out + BLOCK_OFFSET, b->offset);
    container_store_u32(out + BLOCK_STORED, b->stored);
    container_store_u32(out + BLOCK_RAW, b->raw);
    container_store_u32(out + BLOCK_STRIDE, b->stride);
    container_store_u32(out + BLOCK_LEAD, b->lead);
    out[BLOCK_ELEMENT] = b->element;
    out[BLOCK_FILTER] = b->filter;
    out[BLOCK_DIGITS] = b->digits;
    container_store_u64(out + BLOCK_HASH, b->hash);
}

static int append_table(const block_list *list, const omen_sink *sink, omen_detail *why)
{
    uint8_t record[ENTRY_BYTES_];
    int rc = sink->begin(sink->self, SECTION_TABLE, OMEN_ELEMENT_BYTES, false, why);

    for (uint64_t i = 0; i < list->n && rc == OMEN_OK; i++) {
        store_block(&list->blocks[i], record);
        rc = sink->append(sink->self, record, sizeof record, why);
    }
    return rc == OMEN_OK ? sink->finish(sink->self, why) : rc;
}

/* A turn: a few blocks for each thread, then their bytes in order. */
static int append_blocks(const block_list *list, const uint8_t *bytes, int level, int n_threads, const omen_sink *sink,
                         omen_progress_fn progress, void *context, omen_detail *why)
{
    const uint64_t a_turn = (uint64_t)n_threads * BLOCKS_A_TURN;
    uint8_t *slots = malloc(a_turn * WORKER_BYTES);
    worker *workers = calloc((size_t)n_threads, sizeof *workers);
    bool ready = slots != NULL && workers != NULL;
    uint64_t offset = 0;
    int rc = OMEN_OK;

    for (int t = 0; t < n_threads && ready; t++) {
        ready = worker_init(&workers[t], true);
    }
    if (!ready) {
        rc = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the buffers of %d threads", n_threads);
    }
    for (uint64_t first = 0; first < list->n && rc == OMEN_OK; first += a_turn) {
        const uint64_t n = list->n - first < a_turn ? list->n - first : a_turn;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 1)
        for (uint64_t i = 0; i < n; i++) {
            block *b = &list->blocks[first + i];
            pack_block(b, list->regions[first + i], bytes + b->raw_offset, level, &workers[omp_get_thread_num()],
                       slots + i * WORKER_BYTES);
        }
        for (uint64_t i = 0; i < n && rc == OMEN_OK; i++) {
            block *b = &list->blocks[first + i];
            b->offset = offset;
            offset += b->stored;
            rc = sink->append(sink->self, slots + i * WORKER_BYTES, b->stored, why);
        }
        if (rc == OMEN_OK && progress != NULL && progress(context, "compress", first + n, list->n) != 0) {
            rc = omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
        }
    }
    for (int t = 0; t < n_threads && workers != NULL; t++) {
        worker_finish(&workers[t]);
    }
    free(workers);
    free(slots);
    return rc;
}

int omen_omz_compress(const omen_omz_input *in, int level, int n_threads, const omen_sink *sink,
                      omen_progress_fn progress, void *context, omen_detail *why)
{
    const uint8_t *bytes = in->input.bytes;
    const uint64_t n_bytes = in->input.n_bytes;
    uint8_t head[HEAD_BYTES] = {0};
    block_list list = {0};
    int rc = list_blocks(in, &list, why);

    n_threads = n_threads > 0 ? n_threads : omen_cpu_count();
    if (rc == OMEN_OK) {
        /* the identity ties sections together; the blocks have checksums of their contents */
        rc = sink->start(sink->self, container_hash(bytes, n_bytes < BLOCK_BYTES ? n_bytes : BLOCK_BYTES) ^ n_bytes,
                         why);
    }
    if (rc == OMEN_OK) {
        container_store_u64(head + HEAD_ORIGINAL, n_bytes);
        container_store_u64(head + HEAD_N_BLOCKS, list.n);
        container_store_u32(head + HEAD_KIND, omen_input_is_container(&in->input) ? KIND_INDEX : KIND_VECTORS);
        rc = sink->begin(sink->self, SECTION_HEAD, OMEN_ELEMENT_BYTES, false, why);
    }
    if (rc == OMEN_OK) {
        rc = sink->append(sink->self, head, sizeof head, why);
    }
    if (rc == OMEN_OK) {
        rc = sink->finish(sink->self, why);
    }
    if (rc == OMEN_OK) {
        rc = sink->begin(sink->self, SECTION_DATA, OMEN_ELEMENT_BYTES, false, why);
    }
    if (rc == OMEN_OK) {
        rc = append_blocks(&list, bytes, level, n_threads, sink, progress, context, why);
    }
    if (rc == OMEN_OK) {
        rc = sink->finish(sink->self, why);
    }
    if (rc == OMEN_OK) {
        rc = append_table(&list, sink, why);
    }
    free(list.blocks);
    free(list.regions);
    return rc;
}

/* ---- reading ---- */

struct omen_omz {
    const uint8_t *data;
    uint64_t n_data_bytes, original_bytes, n_blocks;
    bool is_index;
    block *blocks;
};

static const omen_section *find_section(const omen_container *container, uint32_t id)
{
    size_t n;
    const omen_section *sections = omen_container_sections(container, &n);

    for (size_t i = 0; i < n; i++) {
        if (sections[i].id == id) {
            return &sections[i];
        }
    }
    return NULL;
}

bool omen_omz_is(const omen_container *container)
{
    return find_section(container, SECTION_HEAD) != NULL;
}

static int fail_block(uint64_t i, const char *what, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_CORRUPT, "block %llu is damaged: %s", (unsigned long long)i, what);
}

/* Whether the parts' lengths add up to what the block stores, and what zstd says it unpacks to is what the filter
 * wants: only then memory is touched for it. */
static bool parts_are_sound(const omen_omz *omz, const block *b)
{
    const uint8_t *from = omz->data + b->offset;
    size_t sizes[PARTS_MOST];
    const size_t n_parts = part_sizes(b, sizes);
    uint64_t at = 0;

    for (size_t p = 0; p < n_parts; p++) {
        if (b->stored - at < 4) {
            return false;
        }
        const uint32_t length = container_load_u32(from + at) & ~STORED;
        const bool stored = (container_load_u32(from + at) & STORED) != 0;
        at += 4;
        if (length > b->stored - at ||
            (stored ? length != sizes[p] : ZSTD_getFrameContentSize(from + at, length) != sizes[p])) {
            return false;
        }
        at += length;
    }
    return at == b->stored;
}

static bool shape_is_sound(const block *b)
{
    const bool of_floats = b->filter >= FILTER_ROTATED;

    return b->raw > 0 && b->raw <= BLOCK_MOST && b->stride > 0 && b->raw % b->stride == 0 && b->lead < b->stride &&
           (b->element == 1 || b->element == 2 || b->element == 4 || b->element == 8) &&
           (b->stride - b->lead) % b->element == 0 && b->filter < N_FILTERS && (!of_floats || b->element == 4) &&
           (b->filter == FILTER_DECIMAL ? b->digits >= DIGITS_LEAST && b->digits <= DIGITS_MOST : b->digits == 0);
}

int omen_omz_open(omen_omz **out, const omen_container *container, omen_detail *why)
{
    const omen_section *head = find_section(container, SECTION_HEAD), *data = find_section(container, SECTION_DATA),
                       *table = find_section(container, SECTION_TABLE);
    uint64_t offset = 0, raw_offset = 0;

    *out = NULL;
    if (head == NULL) {
        return omen_fail(why, OMEN_ERR_INPUT, "it is an index, not a compressed file");
    }
    if (data == NULL || table == NULL || head->n_bytes != HEAD_BYTES) {
        return omen_fail(why, OMEN_ERR_CORRUPT, "sections of a compressed file are missing or of a wrong length");
    }
    omen_omz *omz = calloc(1, sizeof *omz);
    const uint64_t n_blocks = container_load_u64((const uint8_t *)head->data + HEAD_N_BLOCKS);
    const uint32_t kind = container_load_u32((const uint8_t *)head->data + HEAD_KIND);
    if (omz == NULL || n_blocks != table->n_bytes / ENTRY_BYTES_ || table->n_bytes % ENTRY_BYTES_ != 0 ||
        kind > KIND_INDEX || !container_is_zero((const uint8_t *)head->data + HEAD_ZERO, HEAD_BYTES - HEAD_ZERO)) {
        free(omz);
        return omz == NULL ? omen_fail(why, OMEN_ERR_MEMORY, "out of memory")
                           : omen_fail(why, OMEN_ERR_CORRUPT, "its head and its table of blocks disagree");
    }
    *omz = (omen_omz){.data = data->data,
                      .n_data_bytes = data->n_bytes,
                      .original_bytes = container_load_u64((const uint8_t *)head->data + HEAD_ORIGINAL),
                      .n_blocks = n_blocks,
                      .is_index = kind == KIND_INDEX,
                      .blocks = calloc(n_blocks + 1, sizeof *omz->blocks)};
    int rc = omz->blocks == NULL ? omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the table of blocks") : OMEN_OK;
    for (uint64_t i = 0; i < n_blocks && rc == OMEN_OK; i++) {
        const uint8_t *from = (const uint8_t *)table->data + i * ENTRY_BYTES_;
        block *b = &omz->blocks[i];
        *b = (block){.offset = container_load_u64(from + BLOCK_OFFSET),
                     .raw_offset = raw_offset,
                     .stored = container_load_u32(from + BLOCK_STORED),
                     .raw = container_load_u32(from + BLOCK_RAW),
                     .stride = container_load_u32(from + BLOCK_STRIDE),
                     .lead = container_load_u32(from + BLOCK_LEAD),
                     .element = from[BLOCK_ELEMENT],
                     .filter = from[BLOCK_FILTER],
                     .digits = from[BLOCK_DIGITS],
                     .hash = container_load_u64(from + BLOCK_HASH)};
        if (b->offset != offset || b->stored > omz->n_data_bytes - offset || !shape_is_sound(b) ||
            !container_is_zero(from + BLOCK_ZERO, BLOCK_HASH - BLOCK_ZERO) || !parts_are_sound(omz, b)) {
            rc = fail_block(i, "its entry contradicts the file", why);
        }
        offset += b->stored;
        raw_offset += b->raw;
    }
    if (rc == OMEN_OK && (offset != omz->n_data_bytes || raw_offset != omz->original_bytes)) {
        rc = omen_fail(why, OMEN_ERR_CORRUPT, "the blocks hold %llu bytes of the original, and %llu are stated",
                       (unsigned long long)raw_offset, (unsigned long long)omz->original_bytes);
    }
    if (rc != OMEN_OK) {
        omen_omz_close(omz);
        return rc;
    }
    *out = omz;
    return OMEN_OK;
}

void omen_omz_close(omen_omz *omz)
{
    if (omz != NULL) {
        free(omz->blocks);
        free(omz);
    }
}

bool omen_omz_holds_index(const omen_omz *omz)
{
    return omz->is_index;
}

uint64_t omen_omz_original_bytes(const omen_omz *omz)
{
    return omz->original_bytes;
}

/* False: it is damaged. */
static bool unpack_block(const omen_omz *omz, const block *b, worker *w, uint8_t *raw)
{
    const uint8_t *from = omz->data + b->offset;
    size_t sizes[PARTS_MOST], to = 0;
    const size_t n_parts = part_sizes(b, sizes);

    for (size_t p = 0; p < n_parts; p++) {
        const uint32_t word = container_load_u32(from), length = word & ~STORED;
        from += 4;
        if ((word & STORED) != 0) {
            memcpy(w->filtered + to, from, length);
        } else if (ZSTD_decompressDCtx(w->decompressor, w->filtered + to, sizes[p], from, length) != sizes[p]) {
            return false;
        }
        from += length;
        to += sizes[p];
    }
    undo_filter(b, w, raw);
    return container_hash(raw, b->raw) == b->hash;
}

/* Where unpacked blocks go: memory, a file, or nowhere. */
typedef struct {
    uint8_t *memory;
    int fd; /* -1: none */
    bool seeks;
    omen_damage_fn damage; /* told of every damaged block; NULL: stop at the first */
    void *damage_context;
    omen_progress_fn progress;
    void *context;
} target;

static int unpack_blocks(const omen_omz *omz, const target *to, int n_threads, omen_detail *why)
{
    uint64_t done = 0, damaged = UINT64_MAX; /* the first damaged block is told */
    int rc = OMEN_OK, error = 0;

    n_threads = n_threads > 0 ? n_threads : omen_cpu_count();
#pragma omp parallel num_threads(n_threads)
    {
        worker w;
        const bool ready = worker_init(&w, false);
#pragma omp for ordered schedule(dynamic, 1)
        for (uint64_t i = 0; i < omz->n_blocks; i++) {
            const block *b = &omz->blocks[i];
            bool stop, good = true;
            int failed = 0;
#pragma omp critical(omen_omz)
            stop = rc != OMEN_OK && to->damage == NULL;
            uint8_t *raw = to->memory != NULL ? to->memory + b->raw_offset : w.raw;
            if (!stop && ready) {
                good = unpack_block(omz, b, &w, raw);
                if (good && to->fd >= 0 && to->seeks) {
                    failed = write_all(to->fd, raw, b->raw, true, b->raw_offset);
                }
            }
#pragma omp ordered
            {
                if (!stop && ready && good && to->fd >= 0 && !to->seeks && rc == OMEN_OK) {
                    failed = write_all(to->fd, raw, b->raw, false, 0);
                }
                if (!good && to->damage != NULL) {
                    to->damage(to->damage_context, "ZDAT", b->offset, b->stored, "a block does not unpack");
                }
#pragma omp critical(omen_omz)
                {
                    if (!ready) {
                        rc = OMEN_ERR_MEMORY;
                    } else if (!good && damaged == UINT64_MAX) {
                        damaged = i;
                        rc = OMEN_ERR_CORRUPT;
                    } else if (failed != 0) {
                        error = failed;
                        rc = OMEN_ERR_IO;
                    }
                    done++;
                    if (rc == OMEN_OK && to->progress != NULL && omp_get_thread_num() == 0 &&
                        to->progress(to->context, "unpack", done, omz->n_blocks) != 0) {
                        rc = OMEN_ERR_INTERRUPTED;
                    }
                }
            }
        }
        worker_finish(&w);
    }
    switch (rc) {
    case OMEN_OK:
        return OMEN_OK;
    case OMEN_ERR_CORRUPT:
        return fail_block(damaged, "its checksum does not match", why);
    case OMEN_ERR_IO:
        return omen_fail(why, rc, "cannot write: %s", strerror(error));
    case OMEN_ERR_MEMORY:
        return omen_fail(why, rc, "out of memory for the buffers of %d threads", n_threads);
    default:
        return omen_fail(why, rc, "interrupted");
    }
}

int omen_omz_unpack(const omen_omz *omz, uint8_t *out, int n_threads, omen_progress_fn progress, void *context,
                    omen_detail *why)
{
    const target to = {.memory = out, .fd = -1, .progress = progress, .context = context};
    return unpack_blocks(omz, &to, n_threads, why);
}

int omen_omz_unpack_to(const omen_omz *omz, int fd, int n_threads, omen_progress_fn progress, void *context,
                       omen_detail *why)
{
    const target to = {.fd = fd, .seeks = lseek(fd, 0, SEEK_CUR) == 0, .progress = progress, .context = context};
    return unpack_blocks(omz, &to, n_threads, why);
}

int omen_omz_check(const omen_omz *omz, int n_threads, omen_damage_fn damage, void *context)
{
    const target to = {.fd = -1, .damage = damage, .damage_context = context};
    return unpack_blocks(omz, &to, n_threads, NULL);
}

int omen_omz_unpack_container(omen_container **container, const char *path, omen_detail *why)
{
    char number[32];
    omen_omz *omz = NULL;
    omen_container *inner = NULL;
    omen_detail reason = {""};
    int rc, fd;

    if (!omen_omz_is(*container)) {
        return OMEN_OK;
    }
    rc = omen_omz_open(&omz, *container, &reason);
    if (rc == OMEN_OK && !omz->is_index) {
        rc = omen_fail(&reason, OMEN_ERR_INPUT, "it is a compressed file of vectors, not an index");
    }
    fd = rc == OMEN_OK ? memfd_create("omendb", MFD_CLOEXEC) : -1;
    if (rc == OMEN_OK && fd < 0) {
        rc = omen_fail(&reason, OMEN_ERR_MEMORY, "no memory to unpack into: %s", strerror(errno));
    }
    if (rc == OMEN_OK) {
        rc = omen_omz_unpack_to(omz, fd, 0, NULL, NULL, &reason);
    }
    omen_omz_close(omz);
    if (rc == OMEN_OK) {
        snprintf(number, sizeof number, "/proc/self/fd/%d", fd);
        rc = omen_container_open(&inner, number, &reason);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (rc != OMEN_OK) {
        return omen_fail(why, rc, "\"%s\": %s", path, reason.text);
    }
    omen_container_close(*container);
    *container = inner;
    return OMEN_OK;
}

/* Codes as the rows they stand for. */
static int reconstruct(const omen_container *container, int fd, omen_detail *why)
{
    omen_codes *codes = NULL;
    size_t n;
    const omen_section *sections = omen_container_sections(container, &n);
    int rc = omen_codes_open(&codes, sections, n, why);
    const int copy = rc == OMEN_OK ? dup(fd) : -1;
    FILE *stream = copy >= 0 ? fdopen(copy, "w") : NULL;

    if (rc == OMEN_OK && stream == NULL) {
        rc = omen_fail(why, OMEN_ERR_IO, "cannot write a temporary copy: %s", strerror(errno));
        if (copy >= 0) {
            close(copy);
        }
    }
    if (rc == OMEN_OK) {
        const omen_source source = omen_codes_source(codes);
        rc = omen_rows_write(stream, "fbin", &source, NULL, NULL, why);
    }
    if (stream != NULL && fclose(stream) != 0 && rc == OMEN_OK) {
        rc = omen_fail(why, OMEN_ERR_IO, "cannot write a temporary copy: %s", strerror(errno));
    }
    omen_codes_close(codes);
    return rc;
}

int omen_omz_unpack_input(const omen_input *input, const char *path, int *fd, bool *is_fbin, omen_detail *why)
{
    omen_container *container = NULL;
    omen_omz *omz = NULL;
    omen_detail reason = {""};
    size_t n = 0;
    const omen_section *sections = NULL;
    const size_t length = strlen(path), n_suffix = strlen(OMZ_SUFFIX);
    const bool is_named_so = length > n_suffix && strcmp(path + length - n_suffix, OMZ_SUFFIX) == 0;
    int rc = strcmp(path, "-") == 0 ? OMEN_ERR_INPUT : omen_container_open(&container, path, why);

    *fd = -1;
    *is_fbin = false;
    if (rc == OMEN_OK) {
        sections = omen_container_sections(container, &n);
        *is_fbin = omen_codes_are(sections, n);
    }
    if (rc != OMEN_OK || (!omen_omz_is(container) && !*is_fbin)) {
        omen_container_close(container);
        return is_named_so ? rc : OMEN_OK; /* damage is told of what should be compressed vectors only */
    }
    if (!*is_fbin) {
        rc = omen_omz_open(&omz, container, &reason);
    }
    if (rc == OMEN_OK && omz != NULL && omz->is_index) { /* told by the caller as what it is */
        omen_omz_close(omz);
        omen_container_close(container);
        return OMEN_OK;
    }
    if (rc == OMEN_OK) {
        rc = omen_temporary_open(input->label, fd, &reason);
    }
    if (rc == OMEN_OK) {
        rc = *is_fbin ? reconstruct(container, *fd, &reason) : omen_omz_unpack_to(omz, *fd, 0, NULL, NULL, &reason);
    }
    omen_omz_close(omz);
    omen_container_close(container);
    return rc == OMEN_OK ? OMEN_OK : omen_fail(why, rc, "%s: %s", input->label, reason.text);
}
