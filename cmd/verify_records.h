/* SPDX-License-Identifier: Apache-2.0 */
/* omendb verify of a model or a shard. */
#ifndef VERIFY_RECORDS_H
#define VERIFY_RECORDS_H

#include "cmd/cmd.h"

/* What to check, and what was found. */
struct verify_records {
    const char *path;
    bool is_quick;            /* lengths and heads, without checksums */
    const omen_paths *source; /* of which it has to be; none: nothing is compared */
    const char *format;       /* of these */
    uint32_t d;               /* of these, or 0 */
    const char *model;        /* path of the one that it has to be of, or be; NULL: nothing is encoded again */
    int n_threads;
    cmd_progress *progress;
    omen_fault_fn fault; /* gets differences from the source, and from the model */
    void *context;
    const char **verdict; /* what these are, set before fault is called */

    bool is_shard, is_model;    /* neither: what it is could not be read, or it is a checkpoint */
    omen_checkpoint_info build; /* of a model */
    uint64_t identity;          /* of a model */
    omen_shard_info shard;
    omen_row_hash row_hash; /* of a shard */
    uint64_t n_bytes;
    uint32_t n_records;
};

/* Returns OMEN_OK, OMEN_ERR_INPUT (neither a model nor a shard), OMEN_ERR_CORRUPT and others as opening does.
 * *is_source: the failure is one of the source or of the other model, not of this file. */
int verify_records_check(struct verify_records *v, bool *is_source, omen_detail *why) OMEN_MUST_CHECK;

/* What it is, as "model of ..." */
void verify_records_print(const struct verify_records *v);

#endif
