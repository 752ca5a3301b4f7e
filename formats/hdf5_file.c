/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5: what a file holds, and where. libhdf5 is asked for descriptions and stored bytes only: values are read where
 * they lie, and chunks unpacked here (hdf5_chunks.c), so that a file can ask for no more memory than its own size
 * justifies. */
#include "formats/hdf5_library.h"
#include "formats/vectors_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MOST 16u   /* groups within groups */
#define LINKS_MOST 4096u /* that are looked at */
#define LIST_BYTES 300u
#define MORE       ", ..." /* ends a list that is cut */

/* libhdf5 looks for a file of the name that it is told, also where it has what it needs: this can be none. */
#define NO_PATH "/dev/null/none"

/* ---- a file in memory ------------------------------------------------------ */

/* libhdf5 wants a copy of its own, which is the map itself: nothing writes to a file that is opened for reading. */
static void *image_malloc(size_t size, H5FD_file_image_op_t op, void *self)
{
    const omen_hdf5 *file = self;
    return size == file->input->n_bytes ? (void *)file->input->bytes : NULL;
}

static void *image_memcpy(void *to, const void *from, size_t size, H5FD_file_image_op_t op, void *self)
{
    return to == from ? to : NULL;
}

static void *image_realloc(void *bytes, size_t size, H5FD_file_image_op_t op, void *self)
{
    return NULL;
}

static herr_t image_free(void *bytes, H5FD_file_image_op_t op, void *self)
{
    return 0;
}

static void *image_copy_self(void *self)
{
    return self;
}

static herr_t image_free_self(void *self)
{
    return 0;
}

static bool open_file(omen_hdf5 *file)
{
    const omen_hdf5_library *h5 = file->h5;
    H5FD_file_image_callbacks_t callbacks = {.image_malloc = image_malloc,
                                             .image_memcpy = image_memcpy,
                                             .image_realloc = image_realloc,
                                             .image_free = image_free,
                                             .udata_copy = image_copy_self,
                                             .udata_free = image_free_self,
                                             .udata = file};
    const hid_t access = h5->H5Pcreate(*h5->H5P_CLS_FILE_ACCESS_ID_g);
    file->id = -1;
    if (access >= 0 && h5->H5Pset_fapl_core(access, 1 << 16, 0) >= 0 &&
        h5->H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
        h5->H5Pset_file_image_callbacks(access, &callbacks) >= 0 &&
        h5->H5Pset_file_image(access, (void *)file->input->bytes, file->input->n_bytes) >= 0)
        file->id = h5->H5Fopen(NO_PATH, H5F_ACC_RDONLY, access);
    if (access >= 0)
        h5->H5Pclose(access);
    return file->id >= 0;
}

int omen_hdf5_open(omen_hdf5 **out, const omen_input *input, omen_detail *reason)
{
    const omen_hdf5_library *h5;
    const int status = omen_hdf5_lock(&h5, reason);

    *out = NULL;
    if (status != OMEN_OK)
        return status;
    omen_hdf5 *file = calloc(1, sizeof *file);
    if (file)
        *file = (omen_hdf5){.h5 = h5, .input = input};
    if (file && open_file(file)) {
        *out = file;
        return OMEN_OK;
    }
    omen_hdf5_unlock();
    if (!file)
        return omen_fail(reason, OMEN_ERR_MEMORY, "no memory to open the vectors");
    free(file);
    return omen_fail(reason, OMEN_ERR_INPUT, "it is damaged, cut short or newer than libhdf5");
}

void omen_hdf5_close(omen_hdf5 *file)
{
    if (!file)
        return;
    file->h5->H5Fclose(file->id);
    omen_hdf5_unlock();
    free(file);
}

/* ---- what it holds ---------------------------------------------------------- */

/* An IEEE number of so many bits, or bfloat16. False, here and below: it is damaged. */
static bool find_float(const omen_hdf5_library *h5, hid_t type, size_t n_bytes, omen_hdf5_dataset *out)
{
    static const struct {
        size_t sign, exponent, exponent_bits, mantissa_bits, bias;
        omen_value value;
    } kinds[] = {{15, 10, 5, 10, 15, OMEN_VALUE_F2},
                 {31, 23, 8, 23, 127, OMEN_VALUE_F4},
                 {63, 52, 11, 52, 1023, OMEN_VALUE_F8},
                 {15, 7, 8, 7, 127, OMEN_VALUE_BF2}};
    size_t sign, exponent, exponent_bits, mantissa, mantissa_bits;
    if (h5->H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) < 0)
        return false;
    const H5T_norm_t norm = h5->H5Tget_norm(type);
    const size_t bias = h5->H5Tget_ebias(type);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (omen_value_bytes(kinds[i].value) == n_bytes && sign == kinds[i].sign && exponent == kinds[i].exponent &&
            exponent_bits == kinds[i].exponent_bits && mantissa_bits == kinds[i].mantissa_bits &&
            bias == kinds[i].bias && mantissa == 0 && norm == H5T_NORM_IMPLIED) {
            out->is_numeric = true;
            out->value = kinds[i].value;
        }
    return norm != H5T_NORM_ERROR && bias != 0;
}

static bool find_integer(const omen_hdf5_library *h5, hid_t type, size_t n_bytes, omen_hdf5_dataset *out)
{
    static const omen_value values[2][4] = {{OMEN_VALUE_U1, OMEN_VALUE_U2, OMEN_VALUE_U4, OMEN_VALUE_U8},
                                            {OMEN_VALUE_I1, OMEN_VALUE_I2, OMEN_VALUE_I4, OMEN_VALUE_I8}};
    const H5T_sign_t sign = h5->H5Tget_sign(type);
    for (size_t i = 0; i < 4; i++)
        if (n_bytes == (size_t)1 << i) {
            out->is_numeric = true;
            out->value = values[sign == H5T_SGN_2][i];
        }
    return sign != H5T_SGN_ERROR;
}

/* Finds the type of values, if it is one that is read. */
static bool find_type(const omen_hdf5_library *h5, hid_t type, omen_hdf5_dataset *out)
{
    const H5T_class_t kind = h5->H5Tget_class(type);
    const size_t n_bytes = h5->H5Tget_size(type);
    if (kind != H5T_FLOAT && kind != H5T_INTEGER)
        return kind != H5T_NO_CLASS && n_bytes > 0;
    const size_t n_bits = h5->H5Tget_precision(type);
    const int offset = h5->H5Tget_offset(type);
    const H5T_order_t order = h5->H5Tget_order(type);
    if (n_bytes == 0 || n_bits == 0 || offset < 0 || order == H5T_ORDER_ERROR)
        return false;
    out->big_endian = order == H5T_ORDER_BE;
    if (n_bits != 8 * n_bytes || (order != H5T_ORDER_LE && order != H5T_ORDER_BE))
        return true;
    return (kind == H5T_FLOAT ? find_float : find_integer)(h5, type, n_bytes, out);
}

/* Whether a dataset is a view of others. False: it is damaged. */
static bool find_virtual(const omen_hdf5_library *h5, hid_t id, bool *out)
{
    const hid_t plan = h5->H5Dget_create_plist(id);
    const H5D_layout_t layout = plan >= 0 ? h5->H5Pget_layout(plan) : H5D_LAYOUT_ERROR;
    *out = layout == H5D_VIRTUAL;
    if (plan >= 0)
        h5->H5Pclose(plan);
    return layout != H5D_LAYOUT_ERROR;
}

/* Describes the dataset id. False: it is damaged. Of a view the shape is not asked for: libhdf5 would open the files
 * that it names to find it. */
static bool describe(const omen_hdf5_library *h5, hid_t id, const char *name, omen_hdf5_dataset *out)
{
    hsize_t shape[H5S_MAX_RANK] = {0};
    bool is_virtual;
    const bool is_known = find_virtual(h5, id, &is_virtual);
    *out = (omen_hdf5_dataset){.is_virtual = is_virtual};
    snprintf(out->name, sizeof out->name, "%s", name);
    if (!is_known || is_virtual)
        return is_known;
    const hid_t space = h5->H5Dget_space(id), type = h5->H5Dget_type(id);
    const int n = space >= 0 ? h5->H5Sget_simple_extent_ndims(space) : -1;
    const bool is_good =
        type >= 0 && n >= 0 && h5->H5Sget_simple_extent_dims(space, shape, NULL) == n && find_type(h5, type, out);
    if (is_good) {
        out->n_shape = (unsigned)n;
        out->shape[0] = shape[0];
        out->shape[1] = shape[1];
    }
    if (space >= 0)
        h5->H5Sclose(space);
    if (type >= 0)
        h5->H5Tclose(type);
    return is_good;
}

typedef struct {
    const omen_hdf5_library *h5;
    omen_hdf5_visit_fn visit;
    void *context;
    int status;
    unsigned depth, n_links;
    bool is_all; /* nothing was left out */
    char path[OMEN_HDF5_NAME_BYTES];
} walk;

/* For each link of a group: a dataset is visited, a group walked; links that only name others are left out. */
static herr_t walk_link(hid_t group, const char *name, const H5L_info_t *info, void *self)
{
    walk *w = self;
    const size_t n_path = strlen(w->path);
    omen_hdf5_dataset dataset;
    if (++w->n_links > LINKS_MOST) {
        w->is_all = false;
        return 1;
    }
    if (info->type != H5L_TYPE_HARD)
        return 0;
    const hid_t id =
        n_path + strlen(name) + 2 <= sizeof w->path ? w->h5->H5Oopen(group, name, H5P_DEFAULT) : H5I_INVALID_HID;
    if (id < 0) {
        w->is_all = false;
        return 0;
    }
    const H5I_type_t kind = w->h5->H5Iget_type(id);
    herr_t result = 0;
    snprintf(w->path + n_path, sizeof w->path - n_path, "%s%s", n_path > 0 ? "/" : "", name);
    if (kind == H5I_DATASET && describe(w->h5, id, w->path, &dataset)) {
        w->is_all = w->is_all && !dataset.is_virtual;
        w->status = w->visit(w->context, &dataset);
    } else if (kind == H5I_DATASET || kind == H5I_BADID || (kind == H5I_GROUP && w->depth == DEPTH_MOST)) {
        w->is_all = false;
    } else if (kind == H5I_GROUP) {
        w->depth++;
        result = w->h5->H5Literate(id, H5_INDEX_NAME, H5_ITER_INC, NULL, walk_link, w);
        w->depth--;
        w->is_all = w->is_all && result >= 0;
        result = result < 0 ? 0 : result; /* a damaged group holds nothing that could be read */
    }
    w->path[n_path] = '\0';
    w->h5->H5Oclose(id);
    return w->status != OMEN_OK ? 1 : result;
}

int omen_hdf5_visit(omen_hdf5 *file, omen_hdf5_visit_fn visit, void *context, bool *is_all, omen_detail *reason)
{
    walk w = {.h5 = file->h5, .visit = visit, .context = context, .status = OMEN_OK, .is_all = true};
    const herr_t result = file->h5->H5Literate(file->id, H5_INDEX_NAME, H5_ITER_INC, NULL, walk_link, &w);
    *is_all = w.is_all;
    if (w.status != OMEN_OK)
        return w.status;
    return result < 0 ? omen_fail(reason, OMEN_ERR_INPUT, "it is damaged: its datasets cannot be listed") : OMEN_OK;
}

/* What a file is searched for, and the list for a message. */
typedef struct {
    char list[LIST_BYTES];
    bool is_cut; /* the list */
    unsigned n, n_found;
    omen_hdf5_dataset found;
} search;

static int add_dataset(void *self, const omen_hdf5_dataset *dataset)
{
    search *s = self;
    const size_t used = strlen(s->list);
    char shape[64], item[160];
    if (dataset->is_virtual)
        snprintf(shape, sizeof shape, "virtual");
    else if (dataset->n_shape == 2)
        snprintf(shape, sizeof shape, "%" PRIu64 " x %" PRIu64, dataset->shape[0], dataset->shape[1]);
    else if (dataset->n_shape == 1)
        snprintf(shape, sizeof shape, "%" PRIu64, dataset->shape[0]);
    else
        snprintf(shape, sizeof shape, "%u dimensions", dataset->n_shape);
    snprintf(item, sizeof item, "%s%.60s (%s, %s)", used > 0 ? ", " : "", dataset->name, shape,
             dataset->is_virtual   ? "in other files"
             : dataset->is_numeric ? omen_value_name(dataset->value)
                                   : "no numbers");
    s->is_cut = s->is_cut || used + strlen(item) + sizeof MORE > sizeof s->list;
    if (!s->is_cut)
        strcpy(s->list + used, item);
    s->n++;
    if (dataset->n_shape == 2 && dataset->is_numeric) {
        s->n_found++;
        s->found = *dataset;
    }
    return OMEN_OK;
}

/* Opens a dataset by its name. -1: there is none. */
static hid_t open_dataset(const omen_hdf5 *file, const char *name)
{
    const hid_t id = file->h5->H5Oopen(file->id, name, H5P_DEFAULT);
    if (id >= 0 && file->h5->H5Iget_type(id) == H5I_DATASET)
        return id;
    if (id >= 0)
        file->h5->H5Oclose(id);
    return -1;
}

static int fail_elsewhere(const omen_hdf5_dataset *dataset, omen_detail *reason)
{
    return omen_fail(reason, OMEN_ERR_INPUT, "the values of dataset \"%.100s\" are in other files, which are not read",
                     dataset->name);
}

static int check_kind(const omen_hdf5_dataset *dataset, omen_detail *reason)
{
    if (dataset->is_virtual)
        return fail_elsewhere(dataset, reason);
    if (dataset->n_shape != 2)
        return omen_fail(reason, OMEN_ERR_INPUT, "dataset \"%.100s\" has %u dimension%s; rows of values need 2",
                         dataset->name, dataset->n_shape, dataset->n_shape == 1 ? "" : "s");
    if (!dataset->is_numeric)
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "dataset \"%.100s\" holds no numbers that are read: integers and floats of 16, 32 or 64 bits",
                         dataset->name);
    return OMEN_OK;
}

int omen_hdf5_find(omen_hdf5 *file, const char *name, omen_hdf5_dataset *out, omen_detail *reason)
{
    search s = {.n = 0};
    const hid_t id = name && strlen(name) < sizeof out->name ? open_dataset(file, name) : -1;
    if (id >= 0) {
        const bool is_good = describe(file->h5, id, name, out);
        file->h5->H5Oclose(id);
        return is_good ? check_kind(out, reason)
                       : omen_fail(reason, OMEN_ERR_INPUT, "dataset \"%.100s\" is damaged", name);
    }
    bool is_all;
    const int status = omen_hdf5_visit(file, add_dataset, &s, &is_all, reason);
    if (status != OMEN_OK)
        return status;
    if (s.n == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "it holds no datasets%s", is_all ? "" : " that can be looked at");
    if (s.is_cut || !is_all)
        strcat(s.list, MORE);
    if (name)
        return omen_fail(reason, OMEN_ERR_INPUT, "it has no dataset \"%.100s\"; there %s %s", name,
                         s.n == 1 ? "is" : "are", s.list);
    if (s.n_found == 0 && is_all)
        return omen_fail(reason, OMEN_ERR_INPUT, "no dataset of numbers has two dimensions; there %s %s",
                         s.n == 1 ? "is" : "are", s.list);
    if (s.n_found != 1 || !is_all)
        return omen_fail(reason, OMEN_ERR_INPUT, "%s, so name one, as FILE:NAME, of %s",
                         s.n_found > 1 ? "several datasets have two dimensions"
                                       : "not all of its datasets could be looked at",
                         s.list);
    *out = s.found;
    return OMEN_OK;
}

/* ---- where its values are ---------------------------------------------------- */

/* Of a dataset that is one piece. */
static int locate_piece(const omen_hdf5 *file, hid_t id, const char *name, uint64_t n_bytes, uint64_t *offset,
                        omen_detail *reason)
{
    const haddr_t at = file->h5->H5Dget_offset(id);
    if (at == HADDR_UNDEF)
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "dataset \"%.100s\" has a shape but no values: nothing was written to it", name);
    if (at > file->input->n_bytes || n_bytes > file->input->n_bytes - at)
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "dataset \"%.100s\" has %" PRIu64 " bytes from byte %" PRIu64 " on, and the file has %" PRIu64,
                         name, n_bytes, (uint64_t)at, file->input->n_bytes);
    *offset = at;
    return OMEN_OK;
}

int omen_hdf5_locate(omen_hdf5 *file, const omen_hdf5_dataset *dataset, uint64_t *offset, bool *is_apart,
                     omen_detail *reason)
{
    const omen_hdf5_library *h5 = file->h5;
    const uint64_t n_bytes = dataset->shape[0] * dataset->shape[1] * omen_value_bytes(dataset->value);
    const hid_t id = open_dataset(file, dataset->name);
    const hid_t plan = id >= 0 ? h5->H5Dget_create_plist(id) : -1;
    const H5D_layout_t layout = plan >= 0 ? h5->H5Pget_layout(plan) : H5D_LAYOUT_ERROR;
    int status = OMEN_OK;

    *offset = 0;
    *is_apart = layout == H5D_CHUNKED || layout == H5D_COMPACT;
    if (layout == H5D_LAYOUT_ERROR)
        status = omen_fail(reason, OMEN_ERR_INPUT, "dataset \"%.100s\" is damaged", dataset->name);
    else if (h5->H5Pget_external_count(plan) != 0 || (layout != H5D_CONTIGUOUS && !*is_apart))
        status = fail_elsewhere(dataset, reason);
    else if (layout == H5D_CONTIGUOUS)
        status = locate_piece(file, id, dataset->name, n_bytes, offset, reason);
    if (plan >= 0)
        h5->H5Pclose(plan);
    if (id >= 0)
        h5->H5Oclose(id);
    return status;
}
