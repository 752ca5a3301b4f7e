/* SPDX-License-Identifier: Apache-2.0 */
/* Several indexes that are searched as one. */
#ifndef OMEN_JOINT_H
#define OMEN_JOINT_H

#include "lib/index.h"
#include "lib/omendb_joint.h"

struct omen_list_bias; /* lists_bias.h */

struct omen_joint {
    size_t n;
    const omen_index **indexes;
    char **names;    /* what failures call them */
    uint64_t *first; /* n + 1: index i has the joint rows first[i] .. first[i + 1] - 1 */
    /* n, of the estimates of each; NULL until the first search that needs them. Exchanged atomically */
    struct omen_list_bias *biases;
};

/* The index that has a joint row, which exists. */
static inline size_t omen_joint_part(const omen_joint *joint, uint64_t row)
{
    size_t low = 0, high = joint->n;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (joint->first[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Puts the name of index i before what is said of its damage. Returns status. */
static inline int omen_joint_blame(const omen_joint *joint, size_t i, int status, omen_detail *why)
{
    if (status != OMEN_ERR_CORRUPT || !why)
        return status;
    const omen_detail cause = *why;
    return omen_fail(why, status, "%.190s is damaged: %.300s", joint->names[i],
                     cause.text[0] != '\0' ? cause.text : omen_error_text(status));
}

#endif
