/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint records of a build's options and of the results of its training stages. (runs.h writes those of
 * runs.) */
#ifndef OMEN_RECORDS_H
#define OMEN_RECORDS_H

#include "lib/codec.h"
#include "lib/omendb.h"
#include "lib/lists/partition.h"
#include "lib/transform.h"
#include "lib/neighbours.h"

/* What the bytes of an index depend on: a checkpoint with other values cannot be continued. */
typedef enum {
    OMEN_HEAD_VERSION, /* a hash */
    OMEN_HEAD_N_ROWS,
    OMEN_HEAD_D,
    OMEN_HEAD_ELEMENT_BYTES,
    OMEN_HEAD_N_BYTES,
    OMEN_HEAD_STAMP,
    OMEN_HEAD_CONTENT, /* a hash of rows spread over the input */
    OMEN_HEAD_METRIC,
    OMEN_HEAD_CODEC,
    OMEN_HEAD_REFINE,
    OMEN_HEAD_BYTES,
    OMEN_HEAD_N_LISTS,
    OMEN_HEAD_SEED,
    OMEN_HEAD_ZERO_OK,
    OMEN_HEAD_TUNE,  /* a hash of the size and modification time of the tuning queries; 0 without them */
    OMEN_HEAD_MODEL, /* the identity of the model that rows are encoded with; 0: it is trained on them */
    OMEN_N_HEAD,
} omen_head_field;

/* What the head has of each of several inputs. */
typedef struct omen_head_part {
    uint64_t n_rows, n_bytes, stamp;
    uint64_t content; /* a hash of the first and the last row */
} omen_head_part;

#define OMEN_GRAPH_HEAD 3 /* u64 that a record of a graph's edges begins with: degree, first row, rows */

/* The fixed parts at the start of the records. They are kept here since the checkpoint may still be writing them after
 * a call has returned. */
typedef struct omen_records {
    uint64_t head[OMEN_N_HEAD];
    omen_head_part *parts; /* behind the head; NULL where the source is of one */
    uint64_t n_parts;
    struct {
        uint64_t identity;
        uint32_t d, d_full, d_kept;
        float ip_radius2;
        uint32_t refine, has_centre; /* the centre of refine rows */
        float refine_ceilings[OMEN_N_REFINES];
    } transform;
    struct {
        uint32_t n_lists, n_parents, d;
        float pull2;
    } partition;
    struct {
        uint32_t kind, d, n_sub, n_factors, n_active, d_used;
        double errors[OMEN_N_CODECS]; /* of the codecs from 1 on; NaN: not tried */
    } codec;
    struct {
        uint32_t n, d, k, are_rows;
    } queries;
} omen_records;

/* Fills records->head and parts, which starts NULL. Reads a few rows of source. */
int omen_records_describe(omen_records *records, const omen_source *source, const omen_build_options *options,
                          uint32_t n_lists, omen_detail *why) OMEN_MUST_CHECK;

/* Whether the head of some build can have so many bytes, which is little enough to be read before more is known. */
bool omen_records_may_be_head(uint64_t n_bytes);

int omen_records_save_head(omen_records *records, const omen_checkpoint *checkpoint, omen_detail *why) OMEN_MUST_CHECK;

/* Compares records->head and parts, which options has the names of, with the first record of the checkpoint. Returns
 * OMEN_OK, OMEN_ERR_ARGUMENT (different options) or OMEN_ERR_INPUT (different input), both with the difference in why,
 * OMEN_ERR_MEMORY or what the checkpoint returned. Of a source that cannot be read, only what the options say and its
 * number of rows and dimension are compared. */
int omen_records_check_head(const omen_records *records, const omen_source *source, const omen_build_options *options,
                            const omen_checkpoint *checkpoint, omen_detail *why) OMEN_MUST_CHECK;

/* Whether a model's records can encode what records->head says: of the same version, dimension and options. Returns as
 * omen_records_check_head(). */
int omen_records_check_model(const omen_records *records, const omen_checkpoint *model,
                             omen_detail *why) OMEN_MUST_CHECK;

/* Frees parts, once nothing is written any more. */
void omen_records_finish(omen_records *records);

/* Checks that a build of source and options with n_lists lists could have written records of these kinds and lengths.
 * To be called before any record but the head is read. Returns OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_records_check_lengths(const omen_source *source, const omen_build_options *options, uint32_t n_lists,
                               const omen_checkpoint *checkpoint, omen_detail *why) OMEN_MUST_CHECK;

/* Sets *replaced, which the caller frees, to whether each record is a run that a later one stands for, or dropped; it
 * has n entries, as many as there are records. Returns OMEN_OK, OMEN_ERR_MEMORY, OMEN_ERR_CORRUPT or what the
 * checkpoint returned. */
int omen_records_find_replaced(const omen_checkpoint *checkpoint, bool **replaced, uint32_t *n,
                               omen_detail *why) OMEN_MUST_CHECK;

/* Sets the message for a record whose checksum is right and whose contents are impossible. Returns OMEN_ERR_CORRUPT. */
int omen_records_contradiction(omen_detail *why);

/* Save or load the result of a stage. What is saved must not change before the next call of the checkpoint; the caller
 * sets the codec's measured errors in records first. Loading checks that the record fits source, options and what was
 * loaded before, and derives what is not stored; the caller sets transform->metric, and finishes the target even after
 * a failure. Return OMEN_OK, OMEN_ERR_MEMORY, OMEN_ERR_CORRUPT or what the checkpoint returned. */
int omen_records_save_transform(omen_records *records, const omen_transform *transform, const float *refine_centre,
                                uint64_t identity, const omen_checkpoint *checkpoint, omen_detail *why) OMEN_MUST_CHECK;
int omen_records_load_transform(omen_records *records, omen_transform *transform, float **refine_centre,
                                const omen_source *source, const omen_build_options *options,
                                const omen_checkpoint *checkpoint, uint32_t record, omen_detail *why) OMEN_MUST_CHECK;
int omen_records_save_partition(omen_records *records, const omen_partition *partition,
                                const omen_checkpoint *checkpoint, omen_detail *why) OMEN_MUST_CHECK;
int omen_records_load_partition(omen_records *records, omen_partition *partition, uint32_t n_lists, uint32_t d_kept,
                                const omen_checkpoint *checkpoint, uint32_t record, omen_detail *why) OMEN_MUST_CHECK;
int omen_records_save_codec(omen_records *records, const omen_codec_model *model, const omen_checkpoint *checkpoint,
                            omen_detail *why) OMEN_MUST_CHECK;
int omen_records_load_codec(omen_records *records, omen_codec_model *model, const omen_build_options *options,
                            uint32_t d_kept, const omen_checkpoint *checkpoint, uint32_t record,
                            omen_detail *why) OMEN_MUST_CHECK;
int omen_records_save_queries(omen_records *records, const omen_neighbours *truth, const omen_checkpoint *checkpoint,
                              omen_detail *why) OMEN_MUST_CHECK;
int omen_records_load_queries(omen_records *records, omen_neighbours *truth, const omen_source *source,
                              const omen_build_options *options, const omen_checkpoint *checkpoint, uint32_t record,
                              omen_detail *why) OMEN_MUST_CHECK;

#endif
