/* SPDX-License-Identifier: Apache-2.0 */
/* Which recall an index can reach, in words. */
#include "cmd/cmd.h"

/* What would raise it. */
static const char *advice(const omen_index *index, const omen_index_info *info, uint32_t k, int n_threads)
{
    if (info->refine == OMEN_REFINE_NONE) {
        return "an index with a refine tier finds more";
    }
    if (info->codec == OMEN_CODEC_NONE || omen_index_ceiling(index, k, n_threads, NULL) < 1) {
        return "its rows are rounded, and one with a finer --refine finds more";
    }
    return "--exact finds more, and so does an index of more --bytes";
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
