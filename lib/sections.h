/* SPDX-License-Identifier: Apache-2.0 */
/* The sections that an index is opened over. */
#ifndef OMEN_SECTIONS_H
#define OMEN_SECTIONS_H

#include "lib/model_part.h"

typedef struct omen_section_list {
    const omen_section *sections;
    size_t n;
    bool has_ids; /* PERM has to be there */
    omen_detail *why;
} omen_section_list;

/* The section, or NULL. */
const omen_section *omen_sections_find(const omen_section_list *list, uint32_t id);

/* The data of a section that is there. */
const void *omen_sections_data(const omen_section_list *list, uint32_t id);

/* Whether the section is there and has exactly n elements of size bytes of the given type. Returns OMEN_OK or
 * OMEN_ERR_CORRUPT. */
int omen_sections_check(const omen_section_list *list, uint32_t id, omen_element element, uint64_t n,
                        uint64_t size) OMEN_MUST_CHECK;

/* The same for the sections that hold n parts of a model. */
int omen_sections_check_parts(const omen_section_list *list, const omen_model_part *parts, size_t n) OMEN_MUST_CHECK;

#endif
