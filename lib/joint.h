/* SPDX-License-Identifier: Apache-2.0 */
/* Several indexes that are searched as one. */
#ifndef OMEN_JOINT_H
#define OMEN_JOINT_H

#include "lib/index.h"
#include "lib/omendb_joint.h"

/* One of several indexes, and those that share its model. */
typedef struct omen_joint_model {
    size_t owner; /* the first index of the same model */
    size_t next;  /* the next one; SIZE_MAX: there is none */
    /* of the owner: */
    size_t last;
    uint64_t n_rows;         /* of all of them */
    uint32_t *sums;          /* n_lists + 1, the sums of their first; NULL: it is the only one */
    float f_step_max, g_max; /* the largest */
} omen_joint_model;

/* Fills models, n and zeroed, whose sums are the caller's to free, also after a failure. Returns OMEN_OK or
 * OMEN_ERR_MEMORY. */
int omen_joint_find_models(omen_joint_model *models, const omen_index *const *indexes, size_t n) OMEN_MUST_CHECK;

struct omen_joint {
    size_t n;
    const omen_index **indexes;
    char **names;             /* what failures call them */
    omen_joint_model *models; /* n */
    uint64_t *first;          /* n + 1: index i has the joint rows first[i] .. first[i + 1] - 1 */
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
