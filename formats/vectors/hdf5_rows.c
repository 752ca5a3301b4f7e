/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of HDF5: a dataset of two dimensions, read where it lies if it is one piece, else from a temporary copy. */
#include "formats/file.h"
#include "formats/hdf5_file.h"
#include "formats/vectors_internal.h"

#include <unistd.h>

/* Copies the values to a temporary file. */
static int unpack(omen_vectors *vectors, omen_hdf5 *file, const omen_hdf5_dataset *dataset, int *fd,
                  omen_detail *reason)
{
    if (vectors->keeps_input)
        return omen_fail(reason, OMEN_ERR_INPUT, "the dataset is in chunks, which may be compressed already");
    int status = omen_spool_open(vectors->input.label, fd, reason);
    omen_detail cause = {""};
    if (status != OMEN_OK)
        return status;
    status = omen_hdf5_unpack(file, dataset, *fd, vectors->progress, vectors->context, &cause);
    if (status == OMEN_OK)
        return OMEN_OK;
    close(*fd);
    *fd = -1;
    if (status == OMEN_ERR_IO)
        return omen_fail(reason, status, "cannot write the temporary copy of %s: %s", vectors->input.label, cause.text);
    if (status == OMEN_ERR_INPUT)
        return omen_fail(reason, status, "dataset \"%.100s\": %s", dataset->name, cause.text);
    return omen_fail(reason, status, "%s", cause.text);
}

int omen_hdf5_prepare(omen_vectors *vectors, uint32_t *d, omen_detail *reason)
{
    omen_hdf5 *file;
    omen_hdf5_dataset dataset;
    omen_layout *layout = &vectors->found;
    bool is_apart = false;
    int fd = -1, status = omen_hdf5_open(&file, &vectors->input, reason);

    if (status != OMEN_OK)
        return status;
    status = omen_hdf5_find(file, vectors->member, &dataset, reason);
    if (status == OMEN_OK) {
        *layout = (omen_layout){.value = dataset.value, .big_endian = dataset.big_endian, .n_rows = dataset.shape[0]};
        status = omen_layout_check_shape(dataset.shape[1], layout, reason);
    }
    if (status == OMEN_OK)
        status = omen_hdf5_locate(file, &dataset, &layout->offset, &is_apart, reason);
    if (status == OMEN_OK && is_apart)
        status = unpack(vectors, file, &dataset, &fd, reason);
    omen_hdf5_close(file);
    if (status == OMEN_OK && is_apart)
        status = omen_input_replace(&vectors->input, fd, false, reason);
    return status;
}

int omen_hdf5_rows_open(omen_vectors *vectors, uint32_t d, omen_detail *reason)
{
    return omen_layout_keep(vectors, &vectors->found, reason);
}

bool omen_hdf5_probe(const omen_input *input, const omen_vector_format *format)
{
    return omen_hdf5_is(input->bytes, input->n_bytes);
}
