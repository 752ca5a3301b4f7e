/* SPDX-License-Identifier: Apache-2.0 */
/* Private to hdf5*.c: the functions of libhdf5, found when it is loaded. */
#ifndef OMEN_HDF5_LIBRARY_H
#define OMEN_HDF5_LIBRARY_H

#include <hdf5.h>

#include "formats/hdf5_file.h"

/* In constants of hdf5.h these are calls, of functions that are not linked. */
#undef H5CHECK
#undef H5OPEN
#define H5CHECK
#define H5OPEN

/* clang-format off */
#define OMEN_HDF5_FUNCTIONS(X) \
    X(H5open) X(H5dont_atexit) X(H5get_libversion) X(H5Eset_auto2) X(H5PLset_loading_state) X(H5Lunregister) \
    X(H5Pcreate) X(H5Pclose) X(H5Pset_fapl_core) X(H5Pset_file_image) X(H5Pset_file_image_callbacks) \
    X(H5Pset_fclose_degree) X(H5Pget_layout) X(H5Pget_external_count) X(H5Pget_chunk) X(H5Pget_nfilters) \
    X(H5Pget_filter2) X(H5Pset_alloc_time) X(H5Pset_fill_time) X(H5Pset_obj_track_times) \
    X(H5Fopen) X(H5Fcreate) X(H5Fclose) X(H5Oopen) X(H5Oclose) X(H5Iget_type) X(H5Literate) \
    X(H5Dget_space) X(H5Dget_type) X(H5Dget_create_plist) X(H5Dget_offset) X(H5Dget_storage_size) \
    X(H5Dget_chunk_storage_size) X(H5Dread_chunk) X(H5Dread) X(H5Dcreate2) X(H5Dclose) \
    X(H5Screate_simple) X(H5Sget_simple_extent_ndims) X(H5Sget_simple_extent_dims) X(H5Sclose) \
    X(H5Tget_class) X(H5Tget_size) X(H5Tget_order) X(H5Tget_sign) X(H5Tget_precision) X(H5Tget_offset) \
    X(H5Tget_fields) X(H5Tget_norm) X(H5Tget_ebias) X(H5Tclose)
#define OMEN_HDF5_CONSTANTS(X) \
    X(H5P_CLS_FILE_ACCESS_ID_g) X(H5P_CLS_DATASET_CREATE_ID_g) X(H5T_STD_I64LE_g) X(H5T_STD_U64LE_g) X(H5T_IEEE_F32LE_g)
/* clang-format on */

typedef struct omen_hdf5_library {
#define OMEN_HDF5_FUNCTION(name) __typeof__(name) *name;
#define OMEN_HDF5_CONSTANT(name) const hid_t *name;
    OMEN_HDF5_FUNCTIONS(OMEN_HDF5_FUNCTION)
    OMEN_HDF5_CONSTANTS(OMEN_HDF5_CONSTANT)
#undef OMEN_HDF5_FUNCTION
#undef OMEN_HDF5_CONSTANT
} omen_hdf5_library;

struct omen_hdf5 {
    const omen_hdf5_library *h5;
    const omen_input *input;
    hid_t id;
};

/* Loads it once. *out NULL: the reason says why. Returns OMEN_OK, OMEN_ERR_INPUT or OMEN_ERR_MEMORY. From then on until
 * omen_hdf5_unlock() no other thread uses it. */
int omen_hdf5_lock(const omen_hdf5_library **out, omen_detail *reason) OMEN_MUST_CHECK;
void omen_hdf5_unlock(void);

#endif
