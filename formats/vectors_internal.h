/* What vectors.c and the files of the format families share: the mapped input, a row layout, the table's entries. */
#ifndef OMEN_VECTORS_INTERNAL_H
#define OMEN_VECTORS_INTERNAL_H

#include <string.h>

#include "formats/input.h"
#include "formats/values.h"
#include "formats/vectors.h"

/* Where the rows are. Row r starts at offset + r * stride, or, by columns, column c at offset + c * stride. An open
 * function that fills it has checked that all of it lies inside the file. */
typedef struct omen_layout {
    omen_value value;
    bool big_endian;
    bool row_headers; /* each row follows an int32 that repeats d */
    bool by_columns;
    uint64_t n_rows;
    uint32_t d;
    uint64_t offset, stride;
} omen_layout;

typedef struct omen_kind omen_kind;

/* One format. open() gets the dimension the caller gave (0: none) and returns OMEN_OK, OMEN_ERR_INPUT or
 * OMEN_ERR_ARGUMENT with a reason that does not name the file. probe() tells from the content alone whether this is
 * most likely the format; NULL for one that nothing in the content gives away. */
struct omen_kind {
    const char *name;
    const char *suffixes[6];
    omen_value value; /* of the formats that hold one type only */
    int (*open)(const omen_input *input, const omen_kind *kind, uint32_t d, omen_layout *out, omen_detail *reason);
    bool (*probe)(const omen_input *input, const omen_kind *kind);
};

struct omen_vectors {
    omen_input input;
    omen_layout layout;
    const omen_kind *kind;
};

/* The open and probe functions of the table, in vecs.c, npy.c, bin.c, idx.c and raw.c. */
int omen_vecs_open(const omen_input *input, const omen_kind *kind, uint32_t d, omen_layout *out, omen_detail *reason);
bool omen_vecs_probe(const omen_input *input, const omen_kind *kind);
int omen_npy_open(const omen_input *input, const omen_kind *kind, uint32_t d, omen_layout *out, omen_detail *reason);
bool omen_npy_probe(const omen_input *input, const omen_kind *kind);
int omen_bin_open(const omen_input *input, const omen_kind *kind, uint32_t d, omen_layout *out, omen_detail *reason);
bool omen_bin_probe(const omen_input *input, const omen_kind *kind);
int omen_idx_open(const omen_input *input, const omen_kind *kind, uint32_t d, omen_layout *out, omen_detail *reason);
bool omen_idx_probe(const omen_input *input, const omen_kind *kind);
int omen_raw_open(const omen_input *input, const omen_kind *kind, uint32_t d, omen_layout *out, omen_detail *reason);

/* Chooses the format of vectors->input, which is open, and sets kind and layout; path may tell it by its extension. As
 * omen_vectors_open(). */
int omen_vectors_recognize(omen_vectors *vectors, const char *path, const omen_vectors_options *options,
                           omen_detail *why);

/* Checks the shape a header claims (n x d values from offset to the end of the file, nothing after them) against the
 * limits and the file's size. Uses n_rows, d, value, offset and by_columns of layout; sets stride. Returns OMEN_OK or
 * OMEN_ERR_INPUT. d is passed apart from the layout because a header may claim more than 32 bits hold. */
int omen_layout_check(const omen_input *input, uint64_t d, omen_layout *layout, omen_detail *reason);

/* Names the first value that is not finite in rows of which the first is row number first. Returns OMEN_ERR_INPUT. */
int omen_values_fault(const omen_vectors *vectors, uint64_t first, const float *rows, omen_detail *why);

/* The reader of layouts by columns, in npy.c. */
int omen_columns_read(const omen_vectors *vectors, uint64_t first, uint64_t n, float *out, omen_detail *why);

static inline uint32_t omen_load_le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint32_t omen_load_be32(const unsigned char *p)
{
    return (uint32_t)p[3] | (uint32_t)p[2] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[0] << 24;
}

#endif
