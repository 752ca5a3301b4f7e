/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a build and its stages. Private to lib/build*.c. */
#ifndef OMEN_BUILD_STATE_H
#define OMEN_BUILD_STATE_H

#include "lib/codec.h"
#include "lib/index.h"
#include "lib/lists/partition.h"
#include "lib/records.h"
#include "lib/lists/runs.h"
#include "lib/transform.h"

#define BUILD_ROWS_A_LIST      39u    /* fewer training rows leave centroids unsettled */
#define BUILD_CODEC_SAMPLE     16384u /* rows that codecs are trained on */
#define BUILD_PROJECT_ROWS     256u   /* rows transformed at once */
#define BUILD_KEPT_DIMS_A_BYTE 8u     /* transform dimensions kept for each hot byte */
#define BUILD_BLOCKS_AT_ONCE   2048u  /* code blocks written at a time */

typedef enum {
    OMEN_STAGE_SAMPLE,    /* choose and read the training rows */
    OMEN_STAGE_TRANSFORM, /* PCA */
    OMEN_STAGE_PARTITION, /* centroids */
    OMEN_STAGE_CODEC,     /* codebooks */
    OMEN_STAGE_ENCODE,    /* the pass over all rows */
    OMEN_STAGE_ORDER,     /* codes and refine rows into list order, written */
    OMEN_STAGE_GRAPH,     /* graph codes and edges, if they are asked for */
    OMEN_STAGE_CALIBRATE, /* default search effort, measured */
    OMEN_N_STAGES,        /* at most OMEN_MAX_STAGES */
} omen_stage;

typedef struct {
    const omen_source *source;
    const omen_build_options *options;
    const omen_sink *sink;
    const omen_checkpoint *checkpoint; /* NULL: none */
    omen_build_plan plan;
    omen_records records;
    omen_stage first_stage; /* the first stage that is not in the checkpoint */
    bool has_queries;       /* the checkpoint has those of truth */
    omen_build_report *report;
    omen_detail *why;
    int n_threads;
    uint32_t n_lists;
    omen_meta meta;
    uint64_t identity;
    omen_transform transform;
    omen_partition partition;
    omen_codec_model model;
    /* the training sample: as read, then transformed (n_sample x d_kept) */
    size_t n_sample;
    float *sample, *transformed;
    omen_neighbours truth;
    omen_runs runs;
    uint64_t n_encoded;                         /* rows before this one are in runs, or in another shard */
    uint64_t end;                               /* rows to encode end here */
    uint32_t sections[OMEN_MAX_INDEX_SECTIONS]; /* ids of those begun */
    size_t n_sections;
    float code_scale;                      /* codes_only, of a codec with a gain; else 0 */
    omen_refine refine;                    /* never AUTO once the transform stage is over */
    float *refine_centre;                  /* d; NULL: none */
    float refine_ceilings[OMEN_N_REFINES]; /* by tier: share of the 10 nearest that it keeps; 0: not measured */
    /* one entry a list */
    uint32_t *first;
    float *ranges;
    /* positions of rows set apart, ascending */
    uint32_t *apart;
    size_t n_apart, apart_size;
} omen_build_state;

/* ---- build_plan.c ---- */

/* Checks options against the source. Returns OMEN_OK, OMEN_ERR_ARGUMENT or OMEN_ERR_INPUT. */
int omen_build_check(const omen_source *source, const omen_build_options *o, omen_detail *why);

/* Default number of lists of an index of n rows. */
uint32_t omen_build_lists(uint64_t n, uint32_t d, uint32_t bytes);

/* ---- build_train.c ---- */

/* Checks that a row can be indexed; row is its number, for messages. Returns OMEN_OK or OMEN_ERR_INPUT. */
int omen_build_check_row(const omen_build_state *b, const float *values, uint64_t row, omen_detail *why);

/* Number of rows in the training sample, and of those that PCA uses. */
size_t omen_build_sample_rows(uint64_t n, uint32_t n_lists);
size_t omen_build_pca_rows(size_t n_sample, size_t d_full);

/* The training stages, in order: read the sample; fit the transform; project the sample (n_sample x d_kept); train the
 * codec, or choose one. Each returns OMEN_OK or a failure with why set. */
int omen_build_read_sample(omen_build_state *b);
int omen_build_fit_transform(omen_build_state *b);
int omen_build_project_sample(omen_build_state *b);
int omen_build_train_codec(omen_build_state *b);

/* ---- build_refine.c ---- */

/* Rows of the sample that the refine tier is chosen by. */
size_t omen_build_study_rows(size_t n_sample, size_t d);

/* Sets refine, refine_centre and refine_ceilings, from the sample as read. Returns as the training stages. */
int omen_build_choose_refine(omen_build_state *b);

/* Sets refine_ceilings of the tier and centre that a model of other rows has, from the sample. Returns likewise. */
int omen_build_measure_refine(omen_build_state *b);

/* How the rows will be stored. */
static inline omen_refine_space omen_build_refine_space(const omen_build_state *b)
{
    return (omen_refine_space){.tier = b->refine,
                               .metric = b->options->metric,
                               .d = b->transform.d,
                               .has_zero_rows = b->options->zero_ok,
                               .centre = b->refine_centre};
}

/* ---- build_outliers.c ---- */

/* Sets the radius that rows of ip are lifted to: the longest length in the sample, or the longest but a few outliers.
 * Returns as the training stages. */
int omen_build_fit_radius(omen_build_state *b);

/* Pulls what lies far from the most of n lifted rows (n x d) nearer to them, before the transform is fitted. Returns
 * OMEN_OK, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_build_pull_far(const omen_build_state *b, float *rows, size_t n, size_t d, omen_watch *watch);

/* The partition stage: trains it on the projected sample, whose outliers it pulls nearer, and finds the limit of each
 * list. Or, with a partition from the checkpoint, pulls the sample as then. Return as the training stages. */
int omen_build_train_partition(omen_build_state *b);
int omen_build_pull_sample(omen_build_state *b);

/* Reads the rows that calibration will search for, or the queries given for it. Returns as the training stages. */
int omen_build_read_queries(omen_build_state *b);

/* ---- build_encode.c ---- */

/* Rows encoded in one block. */
size_t omen_build_block_rows(size_t d);

/* Tells that all rows to encode before row are encoded. Returns OMEN_OK or OMEN_ERR_INTERRUPTED. */
int omen_build_encode_progress(omen_build_state *b, uint64_t row);

/* Encodes the rows that no record holds yet, chunk by chunk; or, with options.again, all of them, and compares. Returns
 * as the training stages. */
int omen_build_encode(omen_build_state *b);

/* ---- build_order.c ---- */

/* Writes all sections but the table of efforts: model, then rows in list order. Returns as the training stages. */
int omen_build_order(omen_build_state *b);

/* Measures the default efforts on the sections written, and writes their table. Returns as the training stages. */
int omen_build_calibrate(omen_build_state *b);

/* The same of the graph alone, of an index whose rows the source has from the refine tier, which has lost some recall.
 */
int omen_build_calibrate_graph(omen_build_state *b, const omen_index *index, double lost);

/* Begins a section, and remembers it for what reads the sections back; or writes a whole one. */
int omen_build_begin_section(omen_build_state *b, uint32_t id, omen_element element, bool optional);
int omen_build_write_section(omen_build_state *b, uint32_t id, omen_element element, bool optional, const void *data,
                             uint64_t n_bytes);

/* Opens what has been written so far; *out is NULL after a failure. */
int omen_build_open_index(omen_build_state *b, omen_index **out);

/* ---- build_graph.c ---- */

/* Neighbours of a row in the graph that is asked for. */
static inline uint32_t omen_build_degree(const omen_build_state *b)
{
    return b->options->graph.degree ? b->options->graph.degree : OMEN_DEFAULT_DEGREE;
}

/* Writes the sections of the graph. Returns as the training stages. */
int omen_build_graph(omen_build_state *b);

/* ---- build_state.c ---- */

/* The stage's name, such as "encode". */
const char *omen_stage_name(omen_stage stage);

int omen_build_no_memory(omen_build_state *b);

/* A row as messages call it: by the part that it is of, where the source has parts. */
typedef struct omen_row_label {
    char text[352];
} omen_row_label;
omen_row_label omen_build_row_label(const omen_build_state *b, uint64_t row);

/* A watch that calls the progress function of the build's caller. */
omen_watch omen_build_watch(const omen_build_state *b, omen_stage stage);

/* Returns status; sets a message for out of memory and for a stop, where the failing call set none. */
int omen_build_status(omen_build_state *b, int status);

/* Reports a stage's progress to the caller. Returns OMEN_OK or OMEN_ERR_INTERRUPTED. */
int omen_build_progress(omen_build_state *b, omen_stage stage, uint64_t done, uint64_t total);

static inline size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

#endif
