/* SPDX-License-Identifier: Apache-2.0 */
/* omendb info: the datasets of a file of HDF5. */
#include "cmd/info.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* An omen_hdf5_visit_fn. */
static int keep(void *context, const omen_hdf5_dataset *dataset)
{
    struct info_hdf5 *h = context;

    if (h->n == h->size) {
        const size_t size = h->size > 0 ? 2 * h->size : 16;
        omen_hdf5_dataset *grown = realloc(h->datasets, size * sizeof *grown);

        if (!grown)
            return OMEN_ERR_MEMORY;
        h->datasets = grown;
        h->size = size;
    }
    h->datasets[h->n++] = *dataset;
    h->n_of_rows += dataset->n_shape == 2 && dataset->is_numeric;
    return OMEN_OK;
}

int info_hdf5_read(const char *path, struct info_hdf5 *h, bool *is_it, omen_detail *why)
{
    omen_hdf5 *file = NULL;
    omen_input input;
    omen_detail cause = {.text = ""};
    int status = omen_input_open_as_is(&input, path, why);

    *is_it = status == OMEN_OK && omen_hdf5_is(input.bytes, input.n_bytes);
    if (status != OMEN_OK)
        return status;
    if (*is_it) {
        h->n_bytes = input.n_bytes;
        status = omen_hdf5_open(&file, &input, &cause);
        if (status == OMEN_OK)
            status = omen_hdf5_visit(file, keep, h, &h->is_all, &cause);
        omen_hdf5_close(file);
        if (status == OMEN_OK && !h->is_all)
            cmd_say("info", "%s: not all of its datasets could be looked at; FILE:NAME is one", input.label);
        if (status != OMEN_OK && status != OMEN_ERR_MEMORY)
            omen_fail(why, status, "%s: %s", input.label, cause.text);
    }
    omen_input_close(&input);
    return status;
}

/* "300 x 24" */
static cmd_name shape_of(const omen_hdf5_dataset *d)
{
    cmd_name out;

    if (d->is_virtual)
        snprintf(out.text, sizeof out.text, "virtual");
    else if (d->n_shape > 2)
        snprintf(out.text, sizeof out.text, "%u dimensions", d->n_shape);
    else if (d->n_shape == 2)
        snprintf(out.text, sizeof out.text, "%s x %" PRIu64, cmd_group(d->shape[0]).text, d->shape[1]);
    else
        snprintf(out.text, sizeof out.text, "%s", d->n_shape == 1 ? cmd_group(d->shape[0]).text : "one value");
    return out;
}

void info_hdf5_print(const struct info_hdf5 *h)
{
    printf("  hdf5     %zu dataset%s, %s bytes (%s)\n", h->n, omen_plural(h->n), cmd_group(h->n_bytes).text,
           cmd_human_bytes(h->n_bytes).text);
    for (size_t i = 0; i < h->n; i++) {
        const omen_hdf5_dataset *d = &h->datasets[i];

        printf("  dataset  %s, %s, %s\n", cmd_printable(d->name).text, shape_of(d).text,
               d->is_virtual   ? "in other files"
               : d->is_numeric ? omen_value_name(d->value)
                               : "of a type that is not read");
    }
}

json_t *info_hdf5_object(const struct info_hdf5 *h)
{
    json_t *list = json_array();

    for (size_t i = 0; i < h->n && list; i++) {
        const omen_hdf5_dataset *d = &h->datasets[i];
        json_t *shape = json_array(), *object;

        for (unsigned j = 0; j < d->n_shape && j < 2 && shape; j++)
            if (json_array_append_new(shape, cmd_json_u64(d->shape[j])) != 0) {
                json_decref(shape);
                shape = NULL;
            }
        object =
            json_pack("{s:o, s:i, s:o, s:o}", "name", cmd_json_text(d->name), "dimensions", (int)d->n_shape, "shape",
                      shape, "type", d->is_numeric ? json_string(omen_value_name(d->value)) : json_null());
        if (json_array_append_new(list, object) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

void info_hdf5_finish(struct info_hdf5 *h)
{
    free(h->datasets);
}
