/* SPDX-License-Identifier: Apache-2.0 */
/* The way through the lists of several indexes at once. */
#ifndef OMEN_LISTS_JOINT_H
#define OMEN_LISTS_JOINT_H

#include "lib/joint.h"
#include "lib/ways.h"

/* Searches all of them as job says, which has no filters and no ranges: job->k is at most the number of all rows, and
 * keys get joint rows. Returns as a way does, and why names the index at fault. */
int omen_search_lists_joint(const omen_joint *joint, const omen_search_job *job) OMEN_MUST_CHECK;

#endif
