/* SPDX-License-Identifier: Apache-2.0 */
/* One block of a compressed file: chooses its filters and packs its streams.
 *
 * The heads of the records go to a stream of their own; the values are brought to little-endian, narrowed where that
 * loses no bit, and arranged; each stream is a zstd frame, or stored as it is where zstd does not shrink it: the low
 * bytes of a mantissa are noise. Which arrangement is best is tried on a sample of each block.
 */
#include "formats/omz_block.h"

#include <stdlib.h>
#include <string.h>

#include "formats/container_format.h"

#include <zstd.h>

#define BLOCK_HEADER_BYTES  4u
#define STREAM_HEADER_BYTES 8u
#define STORED_PLAIN        0x80000000u /* in the stored length: the stream is no zstd frame */
#define MAX_STREAMS         9u
#define ZSTD_RATIO_MOST     32768u /* a frame's blocks hold 128 KiB each in at least 4 bytes */
#define SAMPLE_BYTES        (64u << 10)
#define SAMPLE_PIECES       4u
#define BOTH_WAYS_LEVEL     3  /* from here every stream is packed with and without search for repetitions */
#define THOROUGH_LEVEL      10 /* from here no stream is stored plain on the word of a sample */

/* Byte 0 of a block. */
enum { NARROW_SINGLE = 1, NARROW_BYTE = 2, NARROW_HALF = 4, NARROW_DECIMAL = 8 };

/* Byte 1. */
enum { ARRANGE_PLAIN, ARRANGE_PLANES, ARRANGE_SIGN_PLANES, ARRANGE_DELTA, ARRANGE_DECIMAL };

typedef struct filter {
    uint8_t narrow, arrange;
    uint16_t argument; /* the distance of a delta, the digits of decimals */
} filter;

/* Numbers repeat by chance only: zstd that looks for matches of them is slower and finds chance ones, which cost more
 * than they save. So there are two ways to pack: entropy, with the least search that zstd can be set to, and compress,
 * with the search of the level. */
struct omz_coder {
    ZSTD_CCtx *entropy, *compress;
    ZSTD_DCtx *expand;
    size_t n_bytes;
    int level;
    uint8_t *values, *narrowed, *arranged, *trial, *sample;
};

omz_coder *omz_coder_create(size_t n_block_bytes, int level, bool is_long)
{
    omz_coder *coder = calloc(1, sizeof *coder);
    if (!coder)
        return NULL;
    coder->n_bytes = n_block_bytes;
    coder->level = level;
    coder->values = malloc(n_block_bytes + 64);
    coder->narrowed = malloc(n_block_bytes + 64);
    /* decimals: three planes and the exceptions are more than the values when all are exceptions, which are few */
    coder->arranged = malloc(2 * n_block_bytes + 64);
    bool good = coder->values && coder->narrowed && coder->arranged;
    if (level > 0) {
        coder->trial = malloc(ZSTD_compressBound(2 * SAMPLE_BYTES));
        coder->sample = malloc(SAMPLE_BYTES);
        coder->compress = ZSTD_createCCtx();
        coder->entropy = ZSTD_createCCtx();
        good = good && coder->trial && coder->sample && coder->compress && coder->entropy &&
               !ZSTD_isError(ZSTD_CCtx_setParameter(coder->entropy, ZSTD_c_compressionLevel, 1)) &&
               !ZSTD_isError(ZSTD_CCtx_setParameter(coder->entropy, ZSTD_c_strategy, ZSTD_fast)) &&
               !ZSTD_isError(ZSTD_CCtx_setParameter(coder->entropy, ZSTD_c_hashLog, 6)) &&
               !ZSTD_isError(ZSTD_CCtx_setParameter(coder->entropy, ZSTD_c_minMatch, 7)) &&
               !ZSTD_isError(ZSTD_CCtx_setParameter(coder->compress, ZSTD_c_compressionLevel, level)) &&
               !ZSTD_isError(ZSTD_CCtx_setParameter(coder->compress, ZSTD_c_enableLongDistanceMatching, is_long));
    } else {
        coder->expand = ZSTD_createDCtx();
        good = good && coder->expand;
    }
    if (!good) {
        omz_coder_destroy(coder);
        return NULL;
    }
    return coder;
}

void omz_coder_destroy(omz_coder *coder)
{
    if (!coder)
        return;
    ZSTD_freeCCtx(coder->entropy);
    ZSTD_freeCCtx(coder->compress);
    ZSTD_freeDCtx(coder->expand);
    free(coder->values);
    free(coder->narrowed);
    free(coder->arranged);
    free(coder->trial);
    free(coder->sample);
    free(coder);
}

/* ---- filters as a whole ---- */

/* Bytes of a value after narrowing. */
static uint32_t narrowed_bytes(const omz_shape *shape, uint8_t narrow)
{
    if (narrow & NARROW_BYTE)
        return 1;
    if (narrow & NARROW_HALF)
        return 2;
    return narrow & (NARROW_SINGLE | NARROW_DECIMAL) ? 4 : omen_value_bytes(shape->value);
}

/* Whether a reader may apply it: the steps fit the type and one another. */
static bool filter_is_valid(const omz_shape *shape, const filter *f)
{
    const bool is_double = shape->value == OMEN_VALUE_F8, is_single = shape->value == OMEN_VALUE_F4;
    const bool single = is_single || (f->narrow & NARROW_SINGLE) != 0;
    const uint8_t second = f->narrow & (NARROW_BYTE | NARROW_HALF | NARROW_DECIMAL);
    const bool second_fits = second == 0 || (second == NARROW_BYTE && (single || shape->value == OMEN_VALUE_I4)) ||
                             (second == NARROW_HALF && single) || (second == NARROW_DECIMAL && single);
    if (f->narrow > 15 || ((f->narrow & NARROW_SINGLE) && !is_double) || !second_fits)
        return false;
    if ((second == NARROW_DECIMAL) != (f->arrange == ARRANGE_DECIMAL))
        return false;
    const uint32_t bytes = narrowed_bytes(shape, f->narrow);
    switch (f->arrange) {
    case ARRANGE_PLAIN:
        return f->argument == 0;
    case ARRANGE_PLANES:
    case ARRANGE_SIGN_PLANES:
        return f->argument == 0 && bytes > 1;
    case ARRANGE_DELTA:
        return f->argument > 0 && bytes == 1;
    case ARRANGE_DECIMAL:
        return f->argument >= OMZ_DIGITS_LEAST && f->argument <= OMZ_DIGITS_MOST;
    default:
        return false;
    }
}

/* Streams that the values are in, and the length of each but the exceptions of decimals, which come last. */
static size_t count_streams(const omz_shape *shape, const filter *f)
{
    switch (f->arrange) {
    case ARRANGE_PLANES:
    case ARRANGE_SIGN_PLANES:
        return narrowed_bytes(shape, f->narrow);
    case ARRANGE_DECIMAL:
        return 4;
    default:
        return 1;
    }
}

/* ---- encoding ---- */

size_t omz_block_bound(size_t n_bytes)
{
    /* a stream may be packed twice, one behind the other; few decimals with exceptions may be longer than the values */
    return BLOCK_HEADER_BYTES + MAX_STREAMS * STREAM_HEADER_BYTES + 2 * ZSTD_compressBound(n_bytes + 128);
}

/* Arranges n_bytes of narrowed values. Returns the streams' bytes, which lie back to back: values itself when plain. */
static const uint8_t *arrange(const filter *f, uint32_t value_bytes, const uint8_t *values, size_t n_bytes, uint8_t *to,
                              size_t *n_arranged)
{
    *n_arranged = n_bytes;
    switch (f->arrange) {
    case ARRANGE_PLANES:
    case ARRANGE_SIGN_PLANES:
        omz_split_planes(value_bytes, f->arrange == ARRANGE_SIGN_PLANES, values, n_bytes / value_bytes, to);
        return to;
    case ARRANGE_DELTA:
        omz_split_delta(f->argument, values, n_bytes, to);
        return to;
    case ARRANGE_DECIMAL:
        *n_arranged = omz_split_decimals(f->argument, values, n_bytes / 4, to);
        return to;
    default:
        return values;
    }
}

/* A stream is a frame only where that saves an eighth of a percent: reading it plain is faster. */
static bool is_worth_it(size_t n_frame, size_t n_bytes)
{
    return !ZSTD_isError(n_frame) && n_frame + n_bytes / 800 + 8 < n_bytes;
}

/* Compressed length of the sample under the filter, and the streams that zstd did not shrink as bits. */
static size_t try_filter(omz_coder *coder, ZSTD_CCtx *way, const omz_shape *shape, const filter *f,
                         const uint8_t *values, size_t n_bytes, uint32_t *plain)
{
    const uint32_t value_bytes = narrowed_bytes(shape, f->narrow);
    const size_t n_streams = count_streams(shape, f), n_each = n_streams == 1 ? n_bytes : n_bytes / value_bytes;
    size_t n_arranged, total = 0, at = 0;
    const uint8_t *from = arrange(f, value_bytes, values, n_bytes, coder->arranged, &n_arranged);
    *plain = 0;
    if (n_arranged == 0)
        return SIZE_MAX;
    for (size_t s = 0; s < n_streams; s++) {
        const size_t n = f->arrange == ARRANGE_DECIMAL && s == 3 ? n_arranged - at : n_each;
        const size_t n_frame = ZSTD_compress2(way, coder->trial, ZSTD_compressBound(2 * SAMPLE_BYTES), from + at, n);
        if (is_worth_it(n_frame, n)) {
            total += n_frame;
        } else {
            total += n;
            *plain |= 1u << s;
        }
        at += n;
    }
    return total;
}

/* The arrangements worth trying for values of a narrowed block. */
static size_t list_filters(const omz_shape *shape, uint8_t narrow, unsigned digits, filter out[4])
{
    const uint32_t bytes = narrowed_bytes(shape, narrow);
    size_t n = 0;
    out[n++] = (filter){narrow, ARRANGE_PLAIN, 0};
    if (bytes == 1) {
        out[n++] = (filter){narrow, ARRANGE_DELTA, 1};
        if (shape->width > 1 && shape->width <= UINT16_MAX)
            out[n++] = (filter){narrow, ARRANGE_DELTA, (uint16_t)shape->width};
        return n;
    }
    if (shape->value == OMEN_VALUE_I4)
        out[n++] = (filter){narrow, ARRANGE_PLANES, 0};
    out[n++] = (filter){narrow, ARRANGE_SIGN_PLANES, 0};
    if (digits > 0)
        out[n++] = (filter){narrow | NARROW_DECIMAL, ARRANGE_DECIMAL, (uint16_t)digits};
    return n;
}

/* SAMPLE_BYTES in a few pieces from all over the values, or all of them. */
static const uint8_t *take_sample(omz_coder *coder, const uint8_t *values, size_t n_bytes, uint32_t value_bytes)
{
    const size_t n_piece = SAMPLE_BYTES / SAMPLE_PIECES, step = n_bytes / SAMPLE_PIECES / value_bytes * value_bytes;
    if (n_bytes <= SAMPLE_BYTES)
        return values;
    for (size_t i = 0; i < SAMPLE_PIECES; i++)
        memcpy(coder->sample + i * n_piece, values + i * step, n_piece);
    return coder->sample;
}

/* What a sample says is best for a block. */
typedef struct choice {
    filter filter;
    bool search;    /* for repetitions */
    uint32_t plain; /* streams that zstd does not shrink, as bits */
} choice;

static choice choose_filter(omz_coder *coder, const omz_shape *shape, uint8_t narrow, const uint8_t *values,
                            size_t n_bytes)
{
    const uint32_t value_bytes = narrowed_bytes(shape, narrow);
    const bool may_be_decimal = value_bytes == 4 && shape->value >= OMEN_VALUE_F4;
    const unsigned digits = may_be_decimal ? omz_count_digits(values, n_bytes / 4) : 0;
    filter filters[4];
    choice best = {{narrow, ARRANGE_PLAIN, 0}, false, 0};
    const size_t n_filters = list_filters(shape, narrow, digits, filters);
    const size_t n_sample = n_bytes < SAMPLE_BYTES ? n_bytes : SAMPLE_BYTES;
    const uint8_t *sample = take_sample(coder, values, n_bytes, value_bytes);
    size_t least = SIZE_MAX, plain_least;
    uint32_t plain;
    for (size_t i = 0; i < n_filters; i++) {
        const size_t n = try_filter(coder, coder->entropy, shape, &filters[i], sample, n_sample, &plain);
        if (n < least) {
            least = n;
            best = (choice){filters[i], false, plain};
        }
    }
    /* repetitions of whole rows are best found with the rows whole */
    plain_least = try_filter(coder, coder->compress, shape, &filters[0], sample, n_sample, &plain);
    if (plain_least < least - least / 64)
        best = (choice){filters[0], true, plain};
    return best;
}

/* Packs from into out both ways or one, and keeps the smaller. Returns the length, or an error of zstd. */
static size_t pack_stream(omz_coder *coder, const uint8_t *from, size_t n_bytes, bool search, uint8_t *out)
{
    const size_t bound = ZSTD_compressBound(n_bytes);
    if (coder->level < BOTH_WAYS_LEVEL)
        return ZSTD_compress2(search ? coder->compress : coder->entropy, out, bound, from, n_bytes);
    const size_t n_found = ZSTD_compress2(coder->compress, out, bound, from, n_bytes);
    if (ZSTD_isError(n_found))
        return n_found;
    /* behind the first attempt, and to its place if it is smaller */
    const size_t n = ZSTD_compress2(coder->entropy, out + n_found, bound, from, n_bytes);
    if (ZSTD_isError(n) || n >= n_found)
        return ZSTD_isError(n) ? n : n_found;
    memmove(out, out + n_found, n);
    return n;
}

/* Writes one stream. Returns its length, 0 on an error of zstd, which is lack of memory. */
static size_t put_stream(omz_coder *coder, const uint8_t *from, size_t n_bytes, bool search, bool plain, uint8_t *out)
{
    uint8_t *body = out + STREAM_HEADER_BYTES;
    size_t n_stored = n_bytes;
    if (!plain && n_bytes > 0) {
        const size_t n = pack_stream(coder, from, n_bytes, search, body);
        if (ZSTD_isError(n))
            return 0;
        plain = !is_worth_it(n, n_bytes);
        n_stored = plain ? n_bytes : n;
    } else {
        plain = true;
    }
    if (plain)
        memcpy(body, from, n_bytes);
    container_store_u32(out, (uint32_t)n_bytes);
    container_store_u32(out + 4, (uint32_t)n_stored | (plain ? STORED_PLAIN : 0));
    return STREAM_HEADER_BYTES + n_stored;
}

/* Narrows *values where no bit is lost. Returns the steps taken. */
static uint8_t narrow_values(omz_coder *coder, const omz_shape *shape, const uint8_t **values, size_t *n_bytes)
{
    const omen_value value = shape->value;
    uint8_t narrow = 0;
    bool single = value == OMEN_VALUE_F4;
    /* the second step must not overwrite what it reads */
    uint8_t *to = coder->narrowed;
    if (value == OMEN_VALUE_F8 && omz_narrow_single(*values, *n_bytes / 8, to)) {
        narrow |= NARROW_SINGLE;
        single = true;
        *values = to;
        *n_bytes /= 2;
        to += *n_bytes;
    }
    if ((single || value == OMEN_VALUE_I4) && omz_narrow_byte(single, *values, *n_bytes / 4, to)) {
        *values = to;
        *n_bytes /= 4;
        return narrow | NARROW_BYTE;
    }
    if (single && omz_narrow_half(*values, *n_bytes / 4, to)) {
        *values = to;
        *n_bytes /= 2;
        return narrow | NARROW_HALF;
    }
    return narrow;
}

size_t omz_block_encode(omz_coder *coder, const omz_shape *shape, const uint8_t *raw, size_t n_bytes, uint8_t *out)
{
    const size_t n_records = n_bytes / shape->record_bytes, n_heads = n_records * shape->head_bytes;
    const uint32_t value_bytes = omen_value_bytes(shape->value);
    const uint8_t *values = raw;
    size_t n_values = n_bytes - n_heads, at = BLOCK_HEADER_BYTES, n;

    if (n_heads > 0) {
        omz_split_heads(shape, raw, n_records, coder->arranged, coder->values);
        n = put_stream(coder, coder->arranged, n_heads, true, false, out + at);
        if (n == 0)
            return 0;
        at += n;
        values = coder->values;
    }
    if (shape->big_endian && value_bytes > 1) {
        omz_swap_bytes(value_bytes, values, n_values, coder->values);
        values = coder->values;
    }
    const uint8_t narrow = narrow_values(coder, shape, &values, &n_values);
    choice chosen = choose_filter(coder, shape, narrow, values, n_values);
    filter f = chosen.filter;
    size_t n_arranged;
    const uint8_t *from = arrange(&f, narrowed_bytes(shape, f.narrow), values, n_values, coder->arranged, &n_arranged);
    if (n_arranged == 0) { /* the sample had more decimals than the block */
        f = (filter){narrow, ARRANGE_SIGN_PLANES, 0};
        chosen.plain = 0;
        from = arrange(&f, narrowed_bytes(shape, f.narrow), values, n_values, coder->arranged, &n_arranged);
    }
    if (coder->level >= THOROUGH_LEVEL)
        chosen.plain = 0;
    const size_t n_streams = count_streams(shape, &f);
    const size_t n_each = n_streams == 1 ? n_values : n_values / narrowed_bytes(shape, f.narrow);
    out[0] = f.narrow;
    out[1] = f.arrange;
    container_store_u16(out + 2, f.argument);
    for (size_t s = 0, done = 0; s < n_streams; s++) {
        const size_t n_stream = f.arrange == ARRANGE_DECIMAL && s == 3 ? n_arranged - done : n_each;
        n = put_stream(coder, from + done, n_stream, chosen.search, (chosen.plain >> s & 1) != 0, out + at);
        if (n == 0)
            return 0;
        at += n;
        done += n_stream;
    }
    return at;
}

/* ---- decoding ---- */

typedef struct stream {
    const uint8_t *body;
    size_t n_stored, n_bytes;
    bool plain;
} stream;

/* Reads the headers of a block. False if they contradict the shape or the lengths. */
static bool parse_block(const omz_shape *shape, const uint8_t *stored, size_t n_stored, size_t n_bytes, filter *f,
                        stream streams[MAX_STREAMS], size_t *n_streams)
{
    const size_t n_records = n_bytes / shape->record_bytes, n_heads = n_records * shape->head_bytes;
    const size_t n_values = (n_bytes - n_heads) / omen_value_bytes(shape->value);
    size_t at = BLOCK_HEADER_BYTES, n = 0;

    if (n_stored < BLOCK_HEADER_BYTES)
        return false;
    *f = (filter){stored[0], stored[1], container_load_u16(stored + 2)};
    if (!filter_is_valid(shape, f))
        return false;
    const size_t n_value_streams = count_streams(shape, f), value_bytes = narrowed_bytes(shape, f->narrow);
    *n_streams = (n_heads > 0) + n_value_streams;
    for (; n < *n_streams; n++) {
        stream *s = &streams[n];
        if (n_stored - at < STREAM_HEADER_BYTES)
            return false;
        const uint32_t length = container_load_u32(stored + at + 4);
        s->n_bytes = container_load_u32(stored + at);
        s->plain = (length & STORED_PLAIN) != 0;
        s->n_stored = length & ~STORED_PLAIN;
        at += STREAM_HEADER_BYTES;
        s->body = stored + at;
        if (s->n_stored > n_stored - at)
            return false;
        at += s->n_stored;
        if (s->plain ? s->n_stored != s->n_bytes
                     : s->n_bytes / ZSTD_RATIO_MOST > s->n_stored ||
                           ZSTD_getFrameContentSize(s->body, s->n_stored) != s->n_bytes)
            return false;
        const size_t value_stream = n - (n_heads > 0);
        const bool is_head = n_heads > 0 && n == 0;
        if (is_head ? s->n_bytes != n_heads
            : f->arrange == ARRANGE_DECIMAL && value_stream == 3
                ? s->n_bytes % 4 != 0 || s->n_bytes / 4 > n_values
                : s->n_bytes != (n_value_streams == 1 ? n_values * value_bytes : n_values))
            return false;
    }
    return at == n_stored;
}

bool omz_block_check(const omz_shape *shape, const uint8_t *stored, size_t n_stored, size_t n_bytes)
{
    stream streams[MAX_STREAMS];
    size_t n_streams;
    filter f;
    return parse_block(shape, stored, n_stored, n_bytes, &f, streams, &n_streams);
}

static bool get_stream(omz_coder *coder, const stream *s, uint8_t *to)
{
    if (s->plain) {
        memcpy(to, s->body, s->n_bytes);
        return true;
    }
    return ZSTD_decompressDCtx(coder->expand, to, s->n_bytes, s->body, s->n_stored) == s->n_bytes;
}

/* Undoes the arrangement: from the streams in coder->arranged to narrowed values. */
static bool unarrange(omz_coder *coder, const filter *f, uint32_t value_bytes, size_t n_arranged, size_t n,
                      uint8_t *values)
{
    switch (f->arrange) {
    case ARRANGE_PLANES:
    case ARRANGE_SIGN_PLANES:
        omz_join_planes(value_bytes, f->arrange == ARRANGE_SIGN_PLANES, coder->arranged, n, values);
        return true;
    case ARRANGE_DECIMAL:
        return omz_join_decimals(f->argument, coder->arranged, n_arranged, n, values);
    case ARRANGE_DELTA:
        omz_join_delta(f->argument, values, n);
        return true;
    default:
        return true;
    }
}

bool omz_block_decode(omz_coder *coder, const omz_shape *shape, const uint8_t *stored, size_t n_stored, uint8_t *raw,
                      size_t n_bytes)
{
    const uint32_t value_bytes = omen_value_bytes(shape->value);
    const size_t n_records = n_bytes / shape->record_bytes, n_heads = n_records * shape->head_bytes;
    const size_t n = (n_bytes - n_heads) / value_bytes;
    stream streams[MAX_STREAMS];
    size_t n_streams, n_arranged = 0;
    filter f;

    if (n_bytes > coder->n_bytes || !parse_block(shape, stored, n_stored, n_bytes, &f, streams, &n_streams))
        return false;
    const stream *value_streams = streams + (n_heads > 0);
    const bool is_swapped = shape->big_endian && value_bytes > 1;
    const bool second = (f.narrow & (NARROW_BYTE | NARROW_HALF)) != 0;
    /* each step writes to the place the next one reads; the last one, where it can, to raw itself */
    uint8_t *wide = n_heads > 0 ? coder->values : raw;
    uint8_t *single = f.narrow & NARROW_SINGLE ? coder->narrowed + n_bytes / 2 : wide;
    uint8_t *narrow = second ? coder->narrowed : single;
    const bool in_one = f.arrange == ARRANGE_PLAIN || f.arrange == ARRANGE_DELTA;
    for (size_t s = n_heads > 0; s < n_streams; s++) {
        if (!get_stream(coder, &streams[s], in_one ? narrow : coder->arranged + n_arranged))
            return false;
        n_arranged += streams[s].n_bytes;
    }
    if (!unarrange(coder, &f, narrowed_bytes(shape, f.narrow), n_arranged, n, narrow))
        return false;
    if (f.narrow & NARROW_BYTE)
        omz_widen_byte(shape->value != OMEN_VALUE_I4, narrow, n, single);
    else if (f.narrow & NARROW_HALF)
        omz_widen_half(narrow, n, single);
    if (f.narrow & NARROW_SINGLE)
        omz_widen_single(single, n, wide);
    if (is_swapped)
        omz_swap_bytes(value_bytes, wide, n * value_bytes, wide);
    if (n_heads > 0) {
        if (!get_stream(coder, &value_streams[-1], coder->arranged))
            return false;
        omz_join_heads(shape, coder->arranged, coder->values, n_records, raw);
    }
    return true;
}
