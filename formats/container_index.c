/* SPDX-License-Identifier: Apache-2.0 */
/* From a container to the index in it. */
#include "formats/omz.h"

int omen_container_open_index(omen_container **container, omen_index **index, const char *path, uint64_t memory_bytes,
                              bool checks, omen_detail *why)
{
    const omen_section *sections;
    size_t n_sections;
    int status;

    *index = NULL;
    status = omen_omz_unpack_container(container, path, memory_bytes, why);
    if (status != OMEN_OK)
        return status;
    if (!checks)
        omen_container_trust(*container);
    sections = omen_container_sections(*container, &n_sections);
    if (omen_codes_are(sections, n_sections)) {
        return omen_fail(why, OMEN_ERR_INPUT,
                         "\"%s\" holds codes without lists, not an index; build an index of it first", path);
    }
    return omen_index_open(index, sections, n_sections, why);
}
