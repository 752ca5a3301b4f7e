/* SPDX-License-Identifier: Apache-2.0 */
/* Finding sections by name, and comparing their lengths with what META asks for. */
#include "lib/sections.h"

const omen_section *omen_sections_find(const omen_section_list *list, uint32_t id)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->sections[i].id == id)
            return &list->sections[i];
    return NULL;
}

int omen_section_check(const omen_section *section, omen_detail *why)
{
    const uint64_t n = section->n_bytes / OMEN_CHECK_BYTES + (section->n_bytes % OMEN_CHECK_BYTES != 0);
    return section->check ? section->check(section, 0, n, why) : OMEN_OK;
}

const void *omen_sections_data(const omen_section_list *list, uint32_t id)
{
    return omen_sections_find(list, id)->data; /* analyzer: it was found when the index was opened */
}

int omen_sections_check(const omen_section_list *list, uint32_t id, omen_element element, uint64_t n, uint64_t size)
{
    const char name[5] = {(char)id, (char)(id >> 8), (char)(id >> 16), (char)(id >> 24), 0};
    const omen_section *s = omen_sections_find(list, id);
    if (!s)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section %s is missing", name);
    uint64_t n_bytes;
    if (s->element != element || __builtin_mul_overflow(n, size, &n_bytes) || n_bytes != s->n_bytes)
        return omen_fail(list->why, OMEN_ERR_CORRUPT,
                         "section %s has %llu bytes of type %u, META asks for %llu x %llu of %u", name,
                         (unsigned long long)s->n_bytes, s->element, (unsigned long long)n, (unsigned long long)size,
                         (unsigned)element);
    return OMEN_OK;
}

int omen_sections_check_parts(const omen_section_list *list, const omen_model_part *parts, size_t n)
{
    int status = OMEN_OK;
    for (size_t i = 0; i < n && status == OMEN_OK; i++)
        if (parts[i].id)
            status = omen_sections_check(list, parts[i].id, parts[i].element, parts[i].count,
                                         omen_model_part_size(&parts[i]));
    return status;
}
