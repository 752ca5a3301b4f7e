/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5, by libhdf5, which is loaded when the first such file is met: programs that meet none do not need it. A build
 * without it has these functions too, and they fail. */
#ifndef OMEN_HDF5_FILE_H
#define OMEN_HDF5_FILE_H

#include "formats/input.h"
#include "formats/values.h"

/* An open file. Only one is at a time; others wait for it, since libhdf5 is not made for threads. */
typedef struct omen_hdf5 omen_hdf5;

#define OMEN_HDF5_NAME_BYTES 256u

typedef struct omen_hdf5_dataset {
    char name[OMEN_HDF5_NAME_BYTES]; /* from the root, without the first slash */
    bool is_virtual;                 /* a view of other datasets, also in other files; no more is known of it: */
    unsigned n_shape;                /* dimensions */
    uint64_t shape[2];               /* the first two */
    bool is_numeric;                 /* of a type that is read: */
    omen_value value;
    bool big_endian;
} omen_hdf5_dataset;

/* Called for a dataset; anything but OMEN_OK ends the visit with it. */
typedef int (*omen_hdf5_visit_fn)(void *context, const omen_hdf5_dataset *dataset);

/* Whether bytes begin like such a file. */
bool omen_hdf5_is(const unsigned char *bytes, uint64_t n_bytes);

/* The same of what a path of n_path bytes leads to. False where that is not a regular file: it is not opened then,
 * since a stream may be opened only once. */
bool omen_hdf5_is_file(const char *path, size_t n_path);

/* Opens a file that is mapped; no other is touched, whatever it links to. Reasons do not name it, here and below.
 * Returns OMEN_OK, OMEN_ERR_INPUT (damaged; a build without HDF5) or OMEN_ERR_MEMORY. */
int omen_hdf5_open(omen_hdf5 **out, const omen_input *input, omen_detail *reason) OMEN_MUST_CHECK;

/* NULL is fine. */
void omen_hdf5_close(omen_hdf5 *file);

/* Visits datasets in the order of their names. Not *is_all: some are damaged, virtual, behind thousands of others,
 * in groups within many groups, or of longer names. Returns OMEN_OK, OMEN_ERR_INPUT or what visit returned. */
int omen_hdf5_visit(omen_hdf5 *file, omen_hdf5_visit_fn visit, void *context, bool *is_all,
                    omen_detail *reason) OMEN_MUST_CHECK;

/* Finds the dataset of that name, or, with NULL, the only one of two dimensions and numbers. Returns OMEN_OK, or
 * OMEN_ERR_INPUT with a list of those there are. */
int omen_hdf5_find(omen_hdf5 *file, const char *name, omen_hdf5_dataset *out, omen_detail *reason) OMEN_MUST_CHECK;

/* Where the values of a dataset of two dimensions lie in the file: *offset, or, if *is_apart, in chunks or the like, of
 * which omen_hdf5_unpack() writes them, row by row, to fd. progress as omen_vectors_options. Returns OMEN_OK,
 * OMEN_ERR_INPUT, OMEN_ERR_IO, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_hdf5_locate(omen_hdf5 *file, const omen_hdf5_dataset *dataset, uint64_t *offset, bool *is_apart,
                     omen_detail *reason) OMEN_MUST_CHECK;
int omen_hdf5_unpack(omen_hdf5 *file, const omen_hdf5_dataset *dataset, int fd, omen_progress_fn progress,
                     void *context, omen_detail *reason) OMEN_MUST_CHECK;

/* A dataset to be written. */
typedef struct omen_hdf5_array {
    const char *name;
    omen_value value; /* OMEN_VALUE_I8, OMEN_VALUE_U8 or OMEN_VALUE_F4 */
    uint64_t n;       /* rows */
    uint64_t d;
    uint64_t offset; /* is set: where its values belong in the file */
} omen_hdf5_array;

/* Makes an unlinked file in TMPDIR with these datasets, of which the values are holes; *fd is -1 if there is none.
 * Returns OMEN_OK, OMEN_ERR_INPUT (a build without HDF5) or as omen_spool_open(). */
int omen_hdf5_create(int *fd, omen_hdf5_array *arrays, size_t n, omen_detail *why) OMEN_MUST_CHECK;

/* Whether files can be read and written: OMEN_OK, or OMEN_ERR_INPUT without libhdf5. */
int omen_hdf5_check(omen_detail *reason) OMEN_MUST_CHECK;

#endif
