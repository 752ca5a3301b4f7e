/* SPDX-License-Identifier: Apache-2.0 */
/* What a search under a filter would do. */
#include "lib/filter.h"
#include "lib/sized.h"

/* Lists that hold a row of the set. */
static uint32_t count_lists(const omen_index *index, const omen_row_set *set)
{
    uint32_t n = 0;
    for (uint32_t l = 0; l < index->meta.n_lists; l++) {
        uint32_t i = index->first[l];
        while (i < index->first[l + 1] && !omen_row_set_has(set, i))
            i++;
        n += i < index->first[l + 1];
    }
    return n;
}

int omen_search_explain(const omen_index *index, const omen_search_options *options, const omen_row_set *set,
                        omen_search_plan *out)
{
    static const char *const names[] = {
        [OMEN_PLAN_NOTHING] = "none", [OMEN_PLAN_ROWS] = "rows", [OMEN_PLAN_LISTS] = "lists"};
    omen_search_plan plan;
    omen_search_options known;
    int status = omen_sized_take(&plan, sizeof plan, out, "omen_search_plan", NULL);
    if (status == OMEN_OK)
        status = omen_sized_take(&known, sizeof known, options, "omen_search_options", NULL);
    if (status != OMEN_OK || set->index != index)
        return OMEN_ERR_ARGUMENT;
    plan = (omen_search_plan){
        .struct_bytes = sizeof plan,
        .name = names[omen_filter_plan(index, &known, set)],
        .n_matches = set->n_matches,
        .n_lists = count_lists(index, set),
    };
    omen_sized_give(out, &plan);
    return OMEN_OK;
}
