/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_info.c and info_*.c: what a file holds. */
#ifndef INFO_H
#define INFO_H

#include "cmd/cmd.h"
#include "formats/hdf5_file.h"
#include "formats/lines.h"
#include "formats/shards.h"

/* Without --full no more than this is unpacked, proven or passed over. */
#define INFO_BYTES ((uint64_t)256 << 20)

struct info {
    bool full, json, verbose;
    const char *format;
    uint32_t d;
    cmd_progress progress;
};

/* ---- vectors (info_vectors.c) ---- */

struct info_vectors {
    char format[32], type[32];
    uint64_t n_rows;
    uint32_t d;
    uint64_t n_bytes;
    /* of rows that were looked at, those that cannot be read left out */
    uint64_t n_looked, n_places; /* n_places: 0 where all rows were looked at */
    double least_norm, mean_norm, most_norm;
    double least_value, most_value;
    uint64_t n_zero_values, n_zero_rows;
    uint64_t n_duplicates, n_compared;
    uint64_t n_bad; /* they hold a NaN or the like */
    omen_detail first_bad;
};

/* Opens the vectors and looks at rows of them, with info->full at all. Returns OMEN_OK or a failure. */
int info_vectors_read(struct info *info, const char *path, struct info_vectors *out, omen_detail *why) OMEN_MUST_CHECK;

void info_vectors_print(const struct info_vectors *v);

/* NULL without memory. */
json_t *info_vectors_object(const struct info_vectors *v);

/* ---- an index, or codes without lists (info_index.c) ---- */

struct info_part {
    const char *name;
    uint64_t n_bytes;
};

#define INFO_MOST_PARTS 16u

struct info_index {
    omen_container *container; /* the index keeps it open */
    omen_index *index;         /* NULL: codes */
    omen_codes *codes;
    omen_index_info info;
    uint32_t major, minor;
    uint64_t checksum, identity;
    uint64_t n_bytes;
    size_t n_sections;
    struct info_part parts[INFO_MOST_PARTS];
    size_t n_parts;
    omen_column_range *ranges; /* of each column */
    bool *has_range;
};

/* Opens what a container holds, which is out's from now on, also after a failure. info_index_finish() is due either
 * way. Returns OMEN_OK or a failure. */
int info_index_read(struct info *info, const char *path, omen_container *container, struct info_index *out,
                    omen_detail *why) OMEN_MUST_CHECK;
void info_index_finish(struct info_index *index);

void info_index_print(const struct info *info, const struct info_index *index);

/* NULL without memory. */
json_t *info_index_object(const struct info_index *index);

/* ---- checkpoints, models and shards (info_checkpoint.c) ---- */

struct info_checkpoint {
    omen_part_kind kind;
    uint64_t identity;      /* of a model */
    omen_shard_info shard;  /* of a shard; */
    omen_row_hash row_hash; /* of its rows, if it is complete */
    bool is_of_query;       /* --self; else of a build */
    uint64_t n_bytes;
    uint32_t n_records;
    bool is_proven; /* all records were compared with their checksums */
    omen_checkpoint_info build;
    struct {
        uint64_t index_checksum, k, n_done, n_found;
        bool has_within, pairs;
        double within;
    } query;
};

/* Returns OMEN_OK, OMEN_ERR_INPUT (no checkpoint) or another failure. */
int info_checkpoint_read(struct info *info, const char *path, struct info_checkpoint *out,
                         omen_detail *why) OMEN_MUST_CHECK;

void info_checkpoint_print(const struct info_checkpoint *c);

/* NULL without memory. */
json_t *info_checkpoint_object(const struct info_checkpoint *c);

/* ---- the datasets of HDF5 (info_hdf5.c) ---- */

/* Starts zeroed. */
struct info_hdf5 {
    omen_hdf5_dataset *datasets; /* n of them */
    size_t n, size;
    size_t n_of_rows; /* of two dimensions and numbers */
    bool is_all;      /* none was left out */
    uint64_t n_bytes; /* of the file */
};

/* Finds the datasets of a file, if it is HDF5: *is_it. The caller calls info_hdf5_finish() even after a failure.
 * Returns as omen_input_open_as_is() and omen_hdf5_visit(). */
int info_hdf5_read(const char *path, struct info_hdf5 *h, bool *is_it, omen_detail *why) OMEN_MUST_CHECK;

void info_hdf5_print(const struct info_hdf5 *h);
/* NULL without memory. */
json_t *info_hdf5_object(const struct info_hdf5 *h);
void info_hdf5_finish(struct info_hdf5 *h);

#endif
