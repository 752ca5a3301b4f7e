/* SPDX-License-Identifier: Apache-2.0 */
/* Which recall an index can reach, in words. */
#include "cmd/cmd.h"

/* What would raise it. */
static const char *advice(const omen_index *index, const omen_index_info *info, uint32_t k, int n_threads)
{
    if (info->refine == OMEN_REFINE_NONE) {
        return "an index with a refine tier finds more";
    }
    if (omen_index_ceiling(index, k, n_threads, NULL) < 1) {
        return info->refine == OMEN_REFINE_SQ8 ? "its sq8 rows are rounded, and --refine f16 or f32 finds more"
                                               : "its f16 rows are rounded, and --refine f32 finds more";
    }
    return info->codec == OMEN_CODEC_NONE ? "its rows are rounded, and a finer --refine finds more"
                                          : "--exact finds more, and so does an index of more --bytes";
}

bool cmd_reach_tell(const omen_index *index, const omen_index_info *info, uint32_t k, float recall, int n_threads,
                    omen_detail *out)
{
    double most;

    if (omen_index_can_reach(index, k, recall, n_threads, &most)) {
        return false;
    }
    omen_fail(out, OMEN_OK, "the build measured %.3f at most; %s", most, advice(index, info, k, n_threads));
    return true;
}
