/* SPDX-License-Identifier: Apache-2.0 */
/* Which recall an index can reach, in words. */
#include "cmd/cmd.h"

/* What would raise it. */
static const char *advice(const omen_index_info *info)
{
    if (info->refine == OMEN_REFINE_NONE)
        return "an index with a refine tier finds more";
    if (info->codec == OMEN_CODEC_NONE || (info->refine_ceiling > 0 && info->refine_ceiling < 0.995))
        return "its rows are rounded, and one with a finer --refine finds more";
    return "--exact finds more, and so does an index of more --bytes";
}

void cmd_reach_tell(const omen_index_info *info, double most, omen_detail *out)
{
    omen_fail(out, OMEN_OK, "the build measured %.3f at most; %s", most, advice(info));
}
