/* SPDX-License-Identifier: Apache-2.0 */
/* What vectors.c and the files of the format families share: the mapped input, a row layout, the table's entries. */
#ifndef OMEN_VECTORS_INTERNAL_H
#define OMEN_VECTORS_INTERNAL_H

#include <string.h>

#include "formats/input.h"
#include "formats/values.h"
#include "formats/vectors.h"

struct omen_row_spool;

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

typedef struct omen_vector_format omen_vector_format;

/* One format. To add one: a file in formats/vectors/ and an entry in vectors.c. */
struct omen_vector_format {
    const char *name;
    const char *suffixes[6];
    omen_value value;     /* of the formats that hold one type only */
    bool is_told_by_rows; /* open() and probe() look at rows all over the file */
    bool is_bare;         /* values alone, which any content could be: needs its dimension */
    bool has_members;     /* several arrays, of which FILE:NAME names one */
    /* Whether the content alone says that it is most likely this format; NULL: nothing in it gives that away. */
    bool (*probe)(const omen_input *input, const omen_vector_format *format);
    /* Finds the rows of vectors->member (NULL: of the only ones there are) in a file that holds more than rows at fixed
     * places; *d is as for open(). It may put a temporary copy in the place of the input, unless keeps_input is set.
     * Returns as open(), or OMEN_ERR_IO or OMEN_ERR_INTERRUPTED. NULL: there is nothing to be done before open(). */
    int (*prepare)(omen_vectors *vectors, uint32_t *d, omen_detail *reason);
    /* Finds the layout in the first n_bytes of a stream; n_rows is UINT64_MAX where nothing tells it, and the length of
     * the stream is not checked. *n_needed gets the bytes it takes, and while there are fewer, *out is not set; d is as
     * for open(), as which it returns. NULL: rows cannot be told as they come, or are lines. */
    int (*head)(const unsigned char *bytes, uint64_t n_bytes, const omen_vector_format *format, uint32_t d,
                omen_layout *out, uint64_t *n_needed, omen_detail *reason);
    /* Reads a line of a text; number counts from 1. It gives a row, ended by omen_row_spool_end_row(), or is one of
     * names. Returns as open(), or as omen_row_spool_end_row(). */
    int (*take_line)(struct omen_row_spool *spool, const char *line, size_t n_bytes, uint64_t number,
                     omen_detail *reason);
    /* Sets state, n_rows, d, value and has_bytes of vectors, whose input and format are set. d is the dimension the
     * caller gave (0: none). Returns OMEN_OK, OMEN_ERR_INPUT, OMEN_ERR_ARGUMENT or OMEN_ERR_MEMORY with a reason that
     * does not name the file. close() is due whenever state is not NULL. */
    int (*open)(omen_vectors *vectors, uint32_t d, omen_detail *reason);
    /* As those of omen_source, of rows that exist. */
    int (*read)(const omen_vectors *vectors, uint64_t first, uint64_t n, float *out, omen_detail *why);
    int (*read_bytes)(const omen_vectors *vectors, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why);
    void (*release)(const omen_vectors *vectors, uint64_t first, uint64_t n);
    void (*close)(omen_vectors *vectors);
    /* Writes float32 rows, as omen_vectors_write(); NULL: it cannot be written. */
    int (*write)(FILE *stream, const omen_source *source, omen_progress_fn progress, void *context, omen_detail *why);
};

struct omen_vectors {
    omen_input input;
    const char *member;           /* the name behind FILE: while it is opened; or NULL */
    uint64_t part_offset, n_part; /* of prepare(): the bytes that open() looks at; 0, 0: all */
    omen_layout found;            /* of prepare(): for an open() that does not look itself */
    bool keeps_input;             /* rows have to be found in the input itself */
    bool is_partial;              /* of the input only the beginning and the end are there yet */
    omen_progress_fn progress;    /* of the options, while it is opened */
    void *context;
    const omen_vector_format *format;
    void *state; /* of the format alone */
    uint64_t n_rows;
    uint32_t d;
    omen_value value;
    bool has_bytes;            /* read_bytes() gives the rows */
    const omen_layout *layout; /* where the rows lie in the input; NULL: at no fixed places */
};

/* The functions of the table, in vecs.c, npy.c, bin.c, idx.c and raw.c. */
int omen_vecs_open(omen_vectors *vectors, uint32_t d, omen_detail *reason);
bool omen_vecs_probe(const omen_input *input, const omen_vector_format *format);
int omen_vecs_write(FILE *stream, const omen_source *source, omen_progress_fn progress, void *context,
                    omen_detail *why);
int omen_npz_prepare(omen_vectors *vectors, uint32_t *d, omen_detail *reason);
bool omen_npz_probe(const omen_input *input, const omen_vector_format *format);
int omen_npy_open(omen_vectors *vectors, uint32_t d, omen_detail *reason);
bool omen_npy_probe(const omen_input *input, const omen_vector_format *format);
int omen_npy_write(FILE *stream, const omen_source *source, omen_progress_fn progress, void *context, omen_detail *why);
int omen_bin_open(omen_vectors *vectors, uint32_t d, omen_detail *reason);
bool omen_bin_probe(const omen_input *input, const omen_vector_format *format);
int omen_bin_write(FILE *stream, const omen_source *source, omen_progress_fn progress, void *context, omen_detail *why);
int omen_idx_open(omen_vectors *vectors, uint32_t d, omen_detail *reason);
bool omen_idx_probe(const omen_input *input, const omen_vector_format *format);
int omen_text_take_line(struct omen_row_spool *spool, const char *line, size_t n_bytes, uint64_t number,
                        omen_detail *reason);
bool omen_text_probe(const omen_input *input, const omen_vector_format *format);
int omen_jsonl_take_line(struct omen_row_spool *spool, const char *line, size_t n_bytes, uint64_t number,
                         omen_detail *reason);
bool omen_jsonl_probe(const omen_input *input, const omen_vector_format *format);
int omen_hdf5_prepare(omen_vectors *vectors, uint32_t *d, omen_detail *reason);
int omen_hdf5_rows_open(omen_vectors *vectors, uint32_t d, omen_detail *reason);
bool omen_hdf5_probe(const omen_input *input, const omen_vector_format *format);
int omen_safetensors_open(omen_vectors *vectors, uint32_t d, omen_detail *reason);
bool omen_safetensors_probe(const omen_input *input, const omen_vector_format *format);
int omen_raw_open(omen_vectors *vectors, uint32_t d, omen_detail *reason);
int omen_raw_write(FILE *stream, const omen_source *source, omen_progress_fn progress, void *context, omen_detail *why);
int omen_vecs_head(const unsigned char *bytes, uint64_t n_bytes, const omen_vector_format *format, uint32_t d,
                   omen_layout *out, uint64_t *n_needed, omen_detail *reason);
int omen_npy_head(const unsigned char *bytes, uint64_t n_bytes, const omen_vector_format *format, uint32_t d,
                  omen_layout *out, uint64_t *n_needed, omen_detail *reason);
int omen_bin_head(const unsigned char *bytes, uint64_t n_bytes, const omen_vector_format *format, uint32_t d,
                  omen_layout *out, uint64_t *n_needed, omen_detail *reason);
int omen_raw_head(const unsigned char *bytes, uint64_t n_bytes, const omen_vector_format *format, uint32_t d,
                  omen_layout *out, uint64_t *n_needed, omen_detail *reason);
int omen_npy_read(const omen_vectors *vectors, uint64_t first, uint64_t n, float *out, omen_detail *why);

/* What npy's open() finds: the layout of an array of numbers with two dimensions. */
int omen_npy_find_layout(const omen_input *input, const omen_vector_format *format, uint32_t d, omen_layout *out,
                         omen_detail *reason);

/* Those that fixed places share, in layout.c; open() finds the layout by a function of the format, whose result and
 * reason are those of open(). */
typedef int (*omen_layout_fn)(const omen_input *input, const omen_vector_format *format, uint32_t d, omen_layout *out,
                              omen_detail *reason);
int omen_layout_open(omen_vectors *vectors, omen_layout_fn find, uint32_t d, omen_detail *reason);
/* The end of open(): sets what it sets from a layout. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_layout_keep(omen_vectors *vectors, const omen_layout *found, omen_detail *reason);
int omen_layout_read(const omen_vectors *vectors, uint64_t first, uint64_t n, float *out, omen_detail *why);
/* As omen_layout_read(), of rows of which the first, number first, has its values at from. */
int omen_layout_read_at(const omen_vectors *vectors, const unsigned char *from, uint64_t first, uint64_t n, float *out,
                        omen_detail *why);
int omen_layout_read_bytes(const omen_vectors *vectors, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why);
void omen_layout_release(const omen_vectors *vectors, uint64_t first, uint64_t n);
void omen_layout_close(omen_vectors *vectors);

/* Closes the format's state; the input stays. */
void omen_vectors_finish(omen_vectors *vectors);

/* Opens what omen_vectors_recognize() takes: as omen_input_open(), but what is compressed only by the looks of its
 * first bytes stays as it is. path is one of a file, without a member. *is_unpacked: it was compressed. */
int omen_vectors_open_input(omen_input *input, const char *path, const omen_vectors_options *options, bool *is_unpacked,
                            omen_detail *why);

/* The format of that name, and the one that the extension of the first length characters of path stands for; NULL:
 * there is none. */
const omen_vector_format *omen_vectors_format_by_name(const char *name);
const omen_vector_format *omen_vectors_format_by_suffix(const char *path, size_t length);

/* Formats other than except that the content fits. Returns their number, the last in *found, and all names separated by
 * " or " in names. */
int omen_vectors_formats_by_content(const omen_input *input, const omen_vector_format *except,
                                    const omen_vector_format **found, char names[80]);

/* As omen_vectors_open(), of an input that was begun (omen_input_begin()), and of which n_begun bytes were read if it
 * is a stream. It is closed after a failure. */
int omen_vectors_open_begun(omen_vectors **out, const omen_input *input, const void *begun, size_t n_begun,
                            const char *path, const omen_vectors_options *options, omen_detail *why);

/* Chooses the format of vectors->input, which is open, and sets format and what its open() sets; path, without a
 * member, may tell it by its extension. As omen_vectors_open(); omen_vectors_finish() is due either way. */
int omen_vectors_recognize(omen_vectors *vectors, const char *path, const omen_vectors_options *options,
                           omen_detail *why);

/* Checks the shape a header claims (n x d values from offset to the end of the file, nothing after them) against the
 * limits and the file's size. Uses n_rows, d, value, offset and by_columns of layout; sets stride. Returns OMEN_OK or
 * OMEN_ERR_INPUT. d is a separate argument because a header may claim more than fits in 32 bits. */
int omen_layout_check(const omen_input *input, uint64_t d, omen_layout *layout, omen_detail *reason);

/* The same without the file's size. */
int omen_layout_check_shape(uint64_t d, omen_layout *layout, omen_detail *reason);

/* Names the first value that is not finite in rows of which the first is row number first. Returns OMEN_ERR_INPUT. */
int omen_values_fault(const omen_vectors *vectors, uint64_t first, const float *rows, omen_detail *why);

/* Refuses an integer that is no float32. Returns OMEN_ERR_INPUT. */
int omen_inexact_fault(const omen_vectors *vectors, uint64_t row, uint64_t column, omen_detail *why);

static inline uint32_t omen_load_le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint32_t omen_load_be32(const unsigned char *p)
{
    return (uint32_t)p[3] | (uint32_t)p[2] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[0] << 24;
}

#endif
