/* SPDX-License-Identifier: Apache-2.0 */
/* A file to compress: mapped, and cut into regions whose bytes are alike. */
#include "formats/omz_parts.h"
#include "formats/vectors_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const omz_shape plain_bytes = {.value = OMEN_VALUE_U1, .record_bytes = 1};

/* Adds a region, and before it one without structure for what lies between. */
static int add_region(omen_omz_input *in, region r, omen_detail *why)
{
    region *grown = realloc(in->regions, (in->n_regions + 2) * sizeof *grown);
    uint64_t end = 0;

    if (!grown)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the regions of %s", in->input.label);
    in->regions = grown;
    if (in->n_regions > 0)
        end = grown[in->n_regions - 1].offset + grown[in->n_regions - 1].n_bytes;
    if (end < r.offset)
        grown[in->n_regions++] = (region){.offset = end, .n_bytes = r.offset - end, .shape = plain_bytes};
    if (r.n_bytes > 0)
        grown[in->n_regions++] = r;
    return OMEN_OK;
}

/* The last dimension of an idx file of images: the length of a line. */
static uint32_t line_width(const omen_vectors *vectors)
{
    const uint8_t *bytes = vectors->input.bytes;

    if (strcmp(vectors->format->name, "idx") != 0 || bytes[3] < 3)
        return 0;
    bytes += 4 * (size_t)bytes[3];
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* A type of a compressed file that packs as well: only its bytes come back. */
static omen_value packed_value(omen_value value)
{
    if (value <= OMEN_VALUE_F8)
        return value;
    return omen_value_bytes(value) == 1 ? OMEN_VALUE_U1 : omen_value_bytes(value) == 2 ? OMEN_VALUE_F2 : OMEN_VALUE_I4;
}

static int regions_of_vectors(omen_omz_input *in, const char *path, const char *format, uint32_t d, omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d};
    omen_vectors vectors = {.input = in->input, .keeps_input = true}; /* a second look at the same mapping */
    const int status = omen_vectors_recognize(&vectors, path, &options, why);

    if (status != OMEN_OK || !vectors.layout) { /* without fixed places: bytes like any others */
        snprintf(in->format, sizeof in->format, "%s", status == OMEN_OK ? omen_vectors_format(&vectors) : "");
        omen_vectors_finish(&vectors);
        return status;
    }
    const omen_layout *layout = vectors.layout;
    const omen_value value = packed_value(layout->value);
    const uint32_t n_packed = omen_value_bytes(value);
    const uint32_t n_value = omen_value_bytes(layout->value), n_head = layout->row_headers ? 4 : 0;
    const omz_shape shape = {
        .value = value,
        .big_endian = layout->big_endian,
        .head_bytes = n_head,
        /* columns of all rows are one long run of values */
        .record_bytes = layout->by_columns ? n_packed : (uint32_t)layout->stride,
        .width = line_width(&vectors),
    };
    snprintf(in->format, sizeof in->format, "%s", omen_vectors_format(&vectors));
    const region rows = {.offset = layout->offset - n_head,
                         .n_bytes = layout->n_rows * (n_head + (uint64_t)layout->d * n_value),
                         .shape = shape};
    omen_vectors_finish(&vectors);
    return add_region(in, rows, why);
}

/* What the bytes of an index's section are. A row of sq8, sq12 or sq16 begins with two numbers of its own. */
static omz_shape shape_of_section(const omen_section *s, const omen_index_info *info)
{
    omz_shape shape = plain_bytes;
    uint64_t record_bytes = 0;

    if ((s->element == OMEN_ELEMENT_F32 || s->element == OMEN_ELEMENT_U32)) {
        shape.value = s->element == OMEN_ELEMENT_F32 ? OMEN_VALUE_F4 : OMEN_VALUE_I4;
        record_bytes = 4;
    } else if (s->id == OMEN_SECTION_REFN) {
        bool has_head =
            info->refine == OMEN_REFINE_SQ8 || info->refine == OMEN_REFINE_SQ12 || info->refine == OMEN_REFINE_SQ16;
        /* planes of sq16's integers are those of binary16 */
        bool has_pairs = info->refine == OMEN_REFINE_F16 || info->refine == OMEN_REFINE_SQ16;

        shape.value = info->refine == OMEN_REFINE_F32 ? OMEN_VALUE_F4 : has_pairs ? OMEN_VALUE_F2 : OMEN_VALUE_U1;
        shape.head_bytes = has_head ? SQ_HEAD_BYTES : 0;
        record_bytes = info->refine_bytes / info->n_rows;
    }
    if (record_bytes == 0 || record_bytes > BLOCK_BYTES || s->n_bytes % record_bytes != 0)
        return plain_bytes;
    shape.record_bytes = (uint32_t)record_bytes;
    return shape;
}

static int regions_of_index(omen_omz_input *in, const char *path, omen_detail *why)
{
    omen_container *container = NULL;
    omen_index *index = NULL;
    omen_index_info info = {.struct_bytes = sizeof info};
    size_t n;
    int status = omen_container_open_fd(&container, in->input.fd, path, why);

    if (status != OMEN_OK)
        return status;
    if (omen_container_file_bytes(container) != in->input.n_bytes) { /* regions have to lie inside the mapping */
        omen_container_close(container);
        return omen_fail(why, OMEN_ERR_IO, "cannot read %s: its length changed meanwhile", in->input.label);
    }
    const omen_section *sections = omen_container_sections(container, &n);
    if (omen_omz_is(container) || omen_codes_are(sections, n))
        status = omen_fail(why, OMEN_ERR_INPUT, "%s is compressed already", in->input.label);
    if (status == OMEN_OK)
        status = omen_index_open(&index, sections, n, why);
    if (status == OMEN_OK)
        status = omen_index_get_info(index, &info);
    snprintf(in->format, sizeof in->format, "index");
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        status = add_region(in,
                            (region){.offset = omen_container_offset(container, i),
                                     .n_bytes = sections[i].n_bytes,
                                     .shape = shape_of_section(&sections[i], &info)},
                            why);
    }
    omen_index_close(index);
    omen_container_close(container);
    return status;
}

int omen_omz_input_open(omen_omz_input **out, const char *path, const char *format, uint32_t d, omen_detail *why)
{
    int status;

    *out = NULL;
    omen_omz_input *in = calloc(1, sizeof *in);
    if (!in)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory to open \"%s\"", path);
    status = omen_vectors_open_input(&in->input, path, &(omen_vectors_options){.format = format, .d = d},
                                     &in->is_unpacked, why);
    if (status == OMEN_OK) {
        status = omen_input_is_container(&in->input) ? regions_of_index(in, path, why)
                                                     : regions_of_vectors(in, path, format, d, why);
    }
    if (status == OMEN_OK) /* what follows the last */
        status = add_region(in, (region){.offset = in->input.n_bytes, .shape = plain_bytes}, why);
    if (status != OMEN_OK) {
        omen_omz_input_close(in);
        return status;
    }
    *out = in;
    return OMEN_OK;
}

void omen_omz_input_close(omen_omz_input *in)
{
    if (in) {
        omen_input_close(&in->input);
        free(in->regions);
        free(in);
    }
}

uint64_t omen_omz_input_bytes(const omen_omz_input *in)
{
    return in->input.n_bytes;
}

bool omen_omz_input_is_unpacked(const omen_omz_input *in)
{
    return in->is_unpacked;
}

const struct stat *omen_omz_input_status(const omen_omz_input *in)
{
    return &in->input.status;
}

const char *omen_omz_input_format(const omen_omz_input *in)
{
    return in->format;
}
