/* What vectors.c and the files of the format families share: the mapped input, a row layout, the table's entries. */
#ifndef OMEN_VECTORS_INTERNAL_H
#define OMEN_VECTORS_INTERNAL_H

#include <string.h>

#include "formats/in_use.h"
#include "formats/vectors.h"

/* How one value is stored. Those from F2 on can hold a NaN or an infinity. */
typedef enum {
    OMEN_VALUE_U1,
    OMEN_VALUE_I1,
    OMEN_VALUE_I4,
    OMEN_VALUE_F2,
    OMEN_VALUE_F4,
    OMEN_VALUE_F8,
} omen_value;

/* A whole file, mapped. It is opened by name only once, since the name may lead to another file at any moment. */
typedef struct omen_input {
    char label[OMEN_LABEL_BYTES]; /* for messages: the quoted path (cut at the front if long) or "standard input" */
    int fd;                       /* what is mapped: the file, or the copy of a stream */
    struct stat status;           /* of the file or stream that the name led to */
    const unsigned char *bytes;
    uint64_t n_bytes;
    uint64_t stamp; /* modification time of a named file in ns, else 0 */
} omen_input;

/* Where the rows are. Row r starts at offset + r * stride, or, by columns, column c at offset + c * stride. The open
 * function that fills it must have checked that all rows lie inside the file. */
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
 * OMEN_ERR_ARGUMENT with a reason that does not name the file. probe() tells from the content alone whether the file
 * most likely has this format; NULL if the content of a format has nothing typical. */
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

/* Maps a file, or a copy of standard input ("-") or another stream. Returns OMEN_OK, OMEN_ERR_INPUT, OMEN_ERR_ARGUMENT,
 * OMEN_ERR_IO, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED; call omen_input_close() after OMEN_OK. */
int omen_input_open(omen_input *input, const char *path, omen_detail *why);
void omen_input_close(omen_input *input);

/* Whether the input begins like an index or a compressed file. */
bool omen_input_is_container(const omen_input *input);

/* Chooses the format of vectors->input, which is open, also by the extension of path, and sets kind and layout. Returns
 * as omen_vectors_open(). */
int omen_vectors_recognize(omen_vectors *vectors, const char *path, const omen_vectors_options *options,
                           omen_detail *why);

/* Checks a file of vectors of which only the beginning and the last row have been written yet. Returns OMEN_OK, or
 * an OMEN_ERR_* code if it cannot be one. */
typedef int (*omen_head_fn)(void *context, int fd, omen_detail *why);

/* In omz.c: unpacks a compressed file of vectors, or reconstructs the rows of codes (then *is_fbin: it is fbin), into
 * an unlinked temporary file. The beginning and end of the file are written first and passed to check; if that
 * fails, its result is returned. *fd is -1 if the input is an index. */
int omen_omz_unpack_input(const omen_input *input, const char *path, omen_head_fn check, void *context, int *fd,
                          bool *is_fbin, omen_detail *why);

/* Bytes of one stored value. */
uint32_t omen_value_bytes(omen_value value);

/* Checks the shape a header claims (n x d values from offset to the end of the file, nothing after them) against the
 * limits and the file's size. Uses n_rows, d, value, offset and by_columns of layout; sets stride. Returns OMEN_OK or
 * OMEN_ERR_INPUT. d is a separate argument because a header may claim more than fits in 32 bits. */
int omen_layout_check(const omen_input *input, uint64_t d, omen_layout *layout, omen_detail *reason);

/* Converts n stored values to float32. */
void omen_values_convert(omen_value value, bool big_endian, const unsigned char *from, size_t n, float *restrict out);

/* False when one of n values is a NaN or infinite. */
bool omen_values_finite(const float *values, size_t n);

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
