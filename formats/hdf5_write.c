/* SPDX-License-Identifier: Apache-2.0 */
/* A file of HDF5 whose datasets are one piece each, to be filled in. */
#include "formats/file.h"
#include "formats/hdf5_library.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool add_array(const omen_hdf5_library *h5, hid_t file, omen_hdf5_array *a)
{
    const hsize_t shape[2] = {a->n, a->d};
    const hid_t type = a->value == OMEN_VALUE_F4   ? *h5->H5T_IEEE_F32LE_g
                       : a->value == OMEN_VALUE_U8 ? *h5->H5T_STD_U64LE_g
                                                   : *h5->H5T_STD_I64LE_g;
    const hid_t plan = h5->H5Pcreate(*h5->H5P_CLS_DATASET_CREATE_ID_g);
    const hid_t space = h5->H5Screate_simple(2, shape, NULL);
    hid_t id = -1;
    /* no time is in it: the same results are the same bytes */
    if (plan >= 0 && space >= 0 && h5->H5Pset_alloc_time(plan, H5D_ALLOC_TIME_EARLY) >= 0 &&
        h5->H5Pset_fill_time(plan, H5D_FILL_TIME_NEVER) >= 0 && h5->H5Pset_obj_track_times(plan, false) >= 0)
        id = h5->H5Dcreate2(file, a->name, type, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    const haddr_t at = id >= 0 ? h5->H5Dget_offset(id) : HADDR_UNDEF;
    a->offset = at != HADDR_UNDEF ? at : 0;
    if (id >= 0)
        h5->H5Dclose(id);
    if (space >= 0)
        h5->H5Sclose(space);
    if (plan >= 0)
        h5->H5Pclose(plan);
    return at != HADDR_UNDEF || a->n * a->d == 0;
}

static bool create(const omen_hdf5_library *h5, const char *path, omen_hdf5_array *arrays, size_t n)
{
    const hid_t file = h5->H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    bool is_good = file >= 0;
    for (size_t i = 0; i < n && is_good; i++)
        is_good = add_array(h5, file, &arrays[i]);
    return (file < 0 || h5->H5Fclose(file) >= 0) && is_good;
}

int omen_hdf5_create(int *fd, omen_hdf5_array *arrays, size_t n, omen_detail *why)
{
    const omen_hdf5_library *h5;
    char path[PATH_MAX], opened[64];
    int status = omen_hdf5_lock(&h5, why);

    *fd = -1;
    if (status != OMEN_OK)
        return status;
    status = omen_spool_open_named("the results", path, fd, why);
    if (status == OMEN_OK) {
        omen_temporary_remember(path);
        /* libhdf5 opens files by name: this one leads to no other file, whatever happens to names meanwhile */
        snprintf(opened, sizeof opened, "/proc/self/fd/%d", *fd);
        errno = 0;
        if (!create(h5, opened, arrays, n))
            status = omen_fail(why, OMEN_ERR_IO, "cannot write the temporary copy of the results, %s: %s", opened,
                               errno ? strerror(errno) : "libhdf5 failed");
        unlink(path);
        omen_temporary_forget(path);
    }
    omen_hdf5_unlock();
    return status;
}
