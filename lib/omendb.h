/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: the public interface of the library (libomendb).
 *
 * Memory in, memory out: nothing here opens a file, prints or exits. Rows come
 * from an omen_source, index sections go to an omen_sink; formats/ implements
 * both for files. Every function that can fail returns OMEN_OK (0) or a
 * negative OMEN_ERR_* code, and, where it takes an omen_detail, one sentence
 * about the cause in it (no trailing newline; empty when there is nothing to add).
 *
 * Vectors are row-major float32 arrays. n counts rows, d dimensions, k wanted
 * neighbours. Row numbers count from 0. Distances are smaller for nearer rows:
 *   l2      squared Euclidean distance
 *   ip      the negated inner product
 *   cosine  1 - cosine similarity
 *
 * Structs that may grow begin with struct_bytes, the sizeof of the struct in the program, so that a program compiled
 * against an older header goes on working with a newer library: the library reads and writes no more than that. The
 * _init functions set it; of a struct without one the program sets it (omen_search_stats stats = {.struct_bytes =
 * sizeof stats};). New fields are added at the end, and 0 in them means what was done before them. A function that is
 * given a struct with struct_bytes of 0, or larger than what it knows, returns OMEN_ERR_ARGUMENT. Structs without a
 * struct_bytes never change while the library's file is called libomendb.so.0.
 *
 * What belongs to one way through an index is in a struct within such a struct, named after the way (options.lists).
 * Those never grow: another way has its own, at the end.
 */
#ifndef OMENDB_H
#define OMENDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OMEN_VERSION    "1.0.0-rc1"
#define OMEN_MAX_DIM    65536u
#define OMEN_NORM2_MOST 1e37f /* largest squared norm of a vector: sums of a few such stay within float32 */
#define OMEN_MUST_CHECK __attribute__((warn_unused_result))
#define OMEN_API        __attribute__((visibility("default"))) /* what libomendb.so exports: omendb.map lists it too */

#ifdef __cplusplus
extern "C" {
#endif

enum {
    OMEN_OK = 0,
    OMEN_ERR_ARGUMENT = -1,    /* an option or argument out of range */
    OMEN_ERR_INPUT = -2,       /* the vectors given are unusable */
    OMEN_ERR_CORRUPT = -3,     /* an index contradicts itself or its checksums */
    OMEN_ERR_IO = -4,          /* a system call on a file failed */
    OMEN_ERR_MEMORY = -5,      /* an allocation failed or a cap was reached */
    OMEN_ERR_UNSUPPORTED = -6, /* a well-formed file of a newer version or unknown kind */
    OMEN_ERR_INTERRUPTED = -7, /* a progress callback asked to stop */
};

/* A short fixed text for an OMEN_ERR_* code ("corrupt index"). Never NULL. */
OMEN_API const char *omen_error_text(int code);

/* Filled by a failing call with one sentence that names the row, section, file or system call at fault. */
typedef struct omen_detail {
    char text[512];
} omen_detail;

/* Formats into detail->text, truncating; detail may be NULL. Returns code, so: return omen_fail(why, OMEN_ERR_INPUT,
 * "row %d ..."). */
OMEN_API int omen_fail(omen_detail *detail, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- names of choices -------------------------------------------------- */

typedef enum { OMEN_METRIC_L2 = 0, OMEN_METRIC_IP = 1, OMEN_METRIC_COSINE = 2 } omen_metric;
typedef enum { OMEN_CODEC_NONE = 0, OMEN_CODEC_PQ = 1, OMEN_CODEC_RABITQ = 2, OMEN_CODEC_AUTO = 255 } omen_codec;
typedef enum {
    OMEN_REFINE_NONE = 0,
    OMEN_REFINE_SQ8 = 1,
    OMEN_REFINE_F16 = 2,
    OMEN_REFINE_F32 = 3,
    OMEN_REFINE_SQ12 = 4,
    OMEN_REFINE_SQ16 = 5,
    OMEN_REFINE_AUTO = 255,
} omen_refine;
#define OMEN_N_REFINES 6u /* tiers, of these numbers */

/* Names as the command line and JSON write them. The _name functions return "?" for an unknown value; the _parse
 * functions return OMEN_OK or, for an unknown name, OMEN_ERR_ARGUMENT: *out is what it was then. */
OMEN_API const char *omen_metric_name(omen_metric metric);
OMEN_API const char *omen_codec_name(omen_codec codec);
OMEN_API const char *omen_refine_name(omen_refine refine);
OMEN_API int omen_metric_parse(const char *name, omen_metric *out) OMEN_MUST_CHECK;
OMEN_API int omen_codec_parse(const char *name, omen_codec *out) OMEN_MUST_CHECK;
OMEN_API int omen_refine_parse(const char *name, omen_refine *out) OMEN_MUST_CHECK;

/* ---- processor --------------------------------------------------------- */

/* Chooses the kernels: "scalar", "avx2", "avx512", "avx512vnni" or "neon" caps the SIMD level, NULL takes the best this
 * processor runs, which is what is used without this call. Returns OMEN_OK or OMEN_ERR_ARGUMENT (unknown level, or one
 * this processor or build has not). Any thread may call it at any time; work begins with the level that it finds.
 * Results and index bytes do not depend on the level. */
OMEN_API int omen_cpu_select(const char *level, omen_detail *why) OMEN_MUST_CHECK;

/* The level in use, such as "avx2". */
OMEN_API const char *omen_cpu_level(void);

/* Processors in this process's affinity mask; at least 1. */
OMEN_API int omen_cpu_count(void);

/* ---- rows in ----------------------------------------------------------- */

/* A finite, re-readable array of n_rows x d vectors. read() writes rows [first, first + n) as float32 to out
 * (n x d floats) and may be called from several threads at once. It returns OMEN_OK, OMEN_ERR_INPUT (a NaN or infinite
 * value, a damaged row: detail names the row) or OMEN_ERR_IO. */
typedef struct omen_source {
    void *self;
    uint64_t n_rows;
    uint32_t d;
    uint32_t element_bytes; /* of one stored value: 1, 2, 4 or 8 */
    uint64_t n_bytes;       /* of the whole input as stored */
    uint64_t stamp;         /* changes whenever the input does, such as its modification time; 0: unknown */
    int (*read)(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why);
    /* the same rows without conversion, if all values are unsigned bytes; else NULL */
    int (*read_bytes)(void *self, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why);
    /* rows [first, first + n) will not be read for a while: the memory that caches them may be freed. May be NULL */
    void (*release)(void *self, uint64_t first, uint64_t n);
    const char *name; /* for messages, such as "a.npy" in quotes; may be NULL */
} omen_source;

/* What a source is made of, where that is several inputs: rows that follow those of the part before. */
typedef struct omen_source_part {
    const char *name; /* for messages, such as "part-0.npy" in quotes */
    uint64_t n_rows, n_bytes, stamp;
} omen_source_part;

/* ---- sections: how an index is stored ---------------------------------- */

#define OMEN_FOURCC(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* Element types as the file numbers them. */
typedef enum {
    OMEN_ELEMENT_BYTES = 0,
    OMEN_ELEMENT_U8 = 1,
    OMEN_ELEMENT_U16 = 2,
    OMEN_ELEMENT_U32 = 3,
    OMEN_ELEMENT_U64 = 4,
    OMEN_ELEMENT_F16 = 5,
    OMEN_ELEMENT_F32 = 6,
} omen_element;

/* The sections of an index: docs/FORMAT.md, part 2; those of a graph are in lib/index_format.h. */
#define OMEN_SECTION_META OMEN_FOURCC('M', 'E', 'T', 'A') /* u8 [128] */
#define OMEN_SECTION_MEAN OMEN_FOURCC('M', 'E', 'A', 'N') /* f32 [d_full] */
#define OMEN_SECTION_BASE OMEN_FOURCC('B', 'A', 'S', 'E') /* f32 [d_kept][d_full] */
#define OMEN_SECTION_CSCL OMEN_FOURCC('C', 'S', 'C', 'L') /* f32 [2][d_kept] */
#define OMEN_SECTION_CENT OMEN_FOURCC('C', 'E', 'N', 'T') /* u8 [n_lists][d_kept] */
#define OMEN_SECTION_LIST OMEN_FOURCC('L', 'I', 'S', 'T') /* u32 [n_lists + 1] */
#define OMEN_SECTION_FRNG OMEN_FOURCC('F', 'R', 'N', 'G') /* f32 [n_lists][n_factors][2] */
#define OMEN_SECTION_SUBS OMEN_FOURCC('S', 'U', 'B', 'S') /* u32 [n_sub + 1], pq */
#define OMEN_SECTION_DIMS OMEN_FOURCC('D', 'I', 'M', 'S') /* u32 [n_active], pq */
#define OMEN_SECTION_CODB OMEN_FOURCC('C', 'O', 'D', 'B') /* f32 [n_active][16], pq */
#define OMEN_SECTION_ROTA OMEN_FOURCC('R', 'O', 'T', 'A') /* f32 [4 n_sub][d_used], rabitq */
#define OMEN_SECTION_CODE OMEN_FOURCC('C', 'O', 'D', 'E') /* u8 [n_blocks][block_bytes] */
#define OMEN_SECTION_RCEN OMEN_FOURCC('R', 'C', 'E', 'N') /* f32 [d], where refine rows are centred */
#define OMEN_SECTION_REFN OMEN_FOURCC('R', 'E', 'F', 'N') /* u8 [n_rows][refine_row_bytes] */
#define OMEN_SECTION_PERM OMEN_FOURCC('P', 'E', 'R', 'M') /* u32 [n_rows] */
#define OMEN_SECTION_APRT OMEN_FOURCC('A', 'P', 'R', 'T') /* u32 [], ip */
#define OMEN_SECTION_TUNE OMEN_FOURCC('T', 'U', 'N', 'E') /* u8 [][24] */
#define OMEN_SECTION_ATUN OMEN_FOURCC('A', 'T', 'U', 'N') /* u8 [][28], optional */
#define OMEN_SECTION_GDIM OMEN_FOURCC('G', 'D', 'I', 'M') /* u32 [120]; this and the next are optional: a graph */
#define OMEN_SECTION_GSCL OMEN_FOURCC('G', 'S', 'C', 'L') /* f32 [d_kept][2] */
#define OMEN_SECTION_GCOD OMEN_FOURCC('G', 'C', 'O', 'D') /* u8 [n_rows][64] */
#define OMEN_SECTION_GADJ OMEN_FOURCC('G', 'A', 'D', 'J') /* u32 [n_rows][degree] */
#define OMEN_SECTION_GENT OMEN_FOURCC('G', 'E', 'N', 'T') /* u32 [n_entries] */
#define OMEN_SECTION_GECD OMEN_FOURCC('G', 'E', 'C', 'D') /* u8 [n_entries][64] */
#define OMEN_SECTION_GTUN OMEN_FOURCC('G', 'T', 'U', 'N') /* u8 [][24] */
#define OMEN_SECTION_KEYS OMEN_FOURCC('K', 'E', 'Y', 'S') /* u8 [64]; this and the next are optional */
#define OMEN_SECTION_KEYV OMEN_FOURCC('K', 'E', 'Y', 'V') /* u8 [n_rows][width], or the text of all keys */
#define OMEN_SECTION_KEYO OMEN_FOURCC('K', 'E', 'Y', 'O') /* u8 [n_rows + 1][width], text */
#define OMEN_SECTION_KEYI OMEN_FOURCC('K', 'E', 'Y', 'I') /* u32 [n_rows] */
#define OMEN_SECTION_COLS OMEN_FOURCC('C', 'O', 'L', 'S') /* bytes, optional: which columns there are */
#define OMEN_SECTION_CVAL OMEN_FOURCC('C', 'V', 'A', 'L') /* bytes, optional: their values */

/* One section in memory. data is 64-byte aligned. A reader that does not know a mandatory section must refuse the
 * file; an unknown optional one is skipped. */
typedef struct omen_section omen_section;
struct omen_section {
    uint32_t id; /* OMEN_FOURCC */
    uint32_t element;
    bool optional;
    const void *data;
    uint64_t n_bytes;
    /* data is a mapping of a file, of which the library may tell the system what it will read (madvise) */
    bool is_file_mapping;
    /* Compares blocks [first, first + n) of OMEN_CHECK_BYTES (the last may be shorter) with their checksums. May be
     * called from several threads at once. Returns OMEN_OK or OMEN_ERR_CORRUPT (why names section and bytes). NULL:
     * the data need no check. A reader checks each block once, before it first uses it. */
    int (*check)(const omen_section *section, uint64_t first, uint64_t n, omen_detail *why);
    const void *checker; /* of check() */
};

#define OMEN_CHECK_BYTES 4096u

/* Returns XXH3-64 of n bytes with seed 0 and the default secret, which is what files are checked by. */
OMEN_API uint64_t omen_checksum(const void *data, size_t n);

/* Compares all of a section with its checksums, if it has any. Returns OMEN_OK or OMEN_ERR_CORRUPT. */
OMEN_API int omen_section_check(const omen_section *section, omen_detail *why) OMEN_MUST_CHECK;

/* Where a build writes. Calls come from one thread, in this order: start, then for each section begin, append any
 * number of times, finish. map() gives a finished section back, readable until the sink is destroyed. Each returns
 * OMEN_OK or a negative code with the cause in why. */
typedef struct omen_sink {
    void *self;
    /* identity: a hash of input and options that ties the sections of one file together */
    int (*start)(void *self, uint64_t identity, omen_detail *why);
    int (*begin)(void *self, uint32_t id, uint32_t element, bool optional, omen_detail *why);
    int (*append)(void *self, const void *data, uint64_t n_bytes, omen_detail *why);
    int (*finish)(void *self, omen_detail *why);
    int (*map)(void *self, uint32_t id, omen_section *out, omen_detail *why);
} omen_sink;

/* Called from the thread that began the work, many times a second, so it should be quick; a non-zero return stops the
 * work with OMEN_ERR_INTERRUPTED, soon. */
typedef int (*omen_progress_fn)(void *context, const char *stage, uint64_t done, uint64_t total);

#define OMEN_PROGRESS_PARTS 1024u /* of a query: a search tells how many of these are done, of how many */

/* ---- checkpoints: how a build survives being killed --------------------- */

/* Kinds of records, in the order in which a build makes them. */
typedef enum {
    OMEN_RECORD_DROPPED, /* one that others stand for */
    OMEN_RECORD_HEAD,    /* what was asked for, and of which input */
    OMEN_RECORD_TRANSFORM,
    OMEN_RECORD_PARTITION,
    OMEN_RECORD_CODEC,
    OMEN_RECORD_QUERIES, /* what efforts are measured on */
    OMEN_RECORD_RUN,     /* encoded rows: a chunk, or several that it stands for; any number of times */
    OMEN_RECORD_LINKS,   /* a graph's edges in one direction, of some rows; any number of times */
    OMEN_RECORD_EDGES,   /* and in both */
} omen_record_kind;

typedef struct omen_record {
    uint32_t kind;
    uint64_t n_bytes;
} omen_record;

typedef struct omen_span {
    const void *data;
    uint64_t n_bytes;
} omen_span;

/* A list of records that grows at its end and outlives the process. Calls but read() come from one thread.
 *   get     fills *out with the kind and length of record i, from its header; false if there is no record i
 *   prove   compares records 0 .. n - 1 with their checksums, and drops the first that differs and all after it. Until
 *           then the contents of a record that was found must not be trusted, and no more of it may be read than this
 *           build could have written. progress is called as by a build, for every MiB
 *   read    copies bytes [at, at + n_bytes) of record i; the range must lie inside the record
 *   append  starts to write a record made of n spans; their memory must not change before the next append() or wait().
 *           One record is written at a time, so append() returns the failure of the one before. number, if not NULL,
 *           gets the number of the record. A later process sees a record whole or not at all
 *   wait    returns when the last record is durable
 * May be NULL:
 *   begin   begins a record of n_bytes, which extend() gets piece by piece; it is there when all have come. What is not
 *           complete when another begins is forgotten. number as of append()
 *   extend  writes the next bytes of it, before it returns
 *   drop    records i .. i + n - 1 are not needed any more: they become some of kind OMEN_RECORD_DROPPED, when all that
 *           was written before is durable, and their space is given back. NULL: they would take as much as before */
typedef struct omen_checkpoint {
    void *self;
    bool (*get)(void *self, uint32_t i, omen_record *out);
    int (*prove)(void *self, uint32_t n, omen_progress_fn progress, void *context, omen_detail *why);
    int (*read)(void *self, uint32_t i, uint64_t at, uint64_t n_bytes, void *out, omen_detail *why);
    int (*append)(void *self, uint32_t kind, const omen_span *spans, size_t n, uint32_t *number, omen_detail *why);
    int (*wait)(void *self, omen_detail *why);
    int (*begin)(void *self, uint32_t kind, uint64_t n_bytes, uint32_t *number, omen_detail *why);
    int (*extend)(void *self, const void *data, uint64_t n_bytes, omen_detail *why);
    int (*drop)(void *self, uint32_t i, uint32_t n, omen_detail *why);
} omen_checkpoint;

/* Room for arrays that the system may write to a disk and read back. One thread takes and gives.
 *   take  sets *out to n_bytes zeros, aligned as malloc() does
 *   give  gives back what take() returned; NULL is fine */
typedef struct omen_scratch {
    void *self;
    int (*take)(void *self, uint64_t n_bytes, void **out, omen_detail *why);
    void (*give)(void *self, void *memory);
} omen_scratch;

/* ---- build ------------------------------------------------------------- */

#define OMEN_DEFAULT_BYTES 32u
#define OMEN_MIN_BYTES     4u
#define OMEN_MAX_BYTES     256u

#define OMEN_DEFAULT_DEGREE 32u /* neighbours of a row in a graph */
#define OMEN_MIN_DEGREE     8u
#define OMEN_MAX_DEGREE     128u

/* How much of a build is done. */
typedef enum {
    OMEN_BUILD_ALL,
    OMEN_BUILD_MODEL, /* the models only, into the checkpoint */
    OMEN_BUILD_SHARD, /* with the models that the checkpoint has, a range of rows is encoded into it */
    OMEN_BUILD_MERGE, /* the checkpoint has models and all rows, of which the index is made */
} omen_build_extent;

typedef struct omen_build_options {
    size_t struct_bytes;
    omen_metric metric;
    omen_codec codec;
    omen_refine refine;
    uint32_t bytes; /* hot bytes a vector, code plus factors; OMEN_MIN_BYTES..OMEN_MAX_BYTES */
    struct {
        uint32_t n; /* 0: from the number of rows */
    } lists;
    uint64_t seed;
    const omen_source *tune_queries; /* measure search effort on these; NULL: on rows of the source */
    int n_threads;                   /* 0: omen_cpu_count() */
    bool zero_ok;                    /* cosine: accept zero rows, with similarity 0 to everything */
    bool codes_only;                 /* l2: one list, rows in input order, no row numbers: see omen_codes */
    uint64_t memory_bytes;           /* limit of private memory; 0: none */
    uint64_t chunk_rows;             /* rows encoded between checkpoints; 0: from their size and memory_bytes */
    omen_progress_fn progress;       /* may be NULL */
    /* called once if a checkpoint is continued, with the stage that comes next and its first row; of a graph, with the
     * number of rows whose edges are there. May be NULL */
    void (*resumed)(void *context, const char *stage, uint64_t row, uint64_t n_rows);
    void *progress_context;
    struct {
        bool wanted;     /* add a graph, a second way to search, which takes a refine tier */
        uint32_t degree; /* neighbours of a row, OMEN_MIN_DEGREE to OMEN_MAX_DEGREE; 0: OMEN_DEFAULT_DEGREE */
    } graph;
    /* the n_parts parts of the source, so that messages name the one that a row is of, or that changed since a
     * checkpoint was begun; 0: it is of one */
    const omen_source_part *parts;
    size_t n_parts;
    /* other than ALL takes a checkpoint, MODEL and SHARD no sink; shard: rows [first, first + n) of the source, which
     * whole, unless it is NULL, gets as one record when all are encoded */
    omen_build_extent extent;
    struct {
        uint64_t first, n;
        const omen_checkpoint *whole;
    } shard;
    const omen_checkpoint *model; /* of ALL: records of one that has these options; NULL: it is trained on the rows */
    const omen_scratch *scratch;  /* where a graph is made that memory_bytes has no room for; NULL: it has to have */
    /* of SHARD: encodes the rows in its checkpoint again; OMEN_ERR_CORRUPT where they differ, byte for byte */
    bool again;
} omen_build_options;

/* The defaults: l2, codec auto, refine auto, 32 bytes, everything else 0. Written omen_build_options_init(&options):
 * the macro adds the size that the program's struct has, which nothing else could know. */
OMEN_API void omen_build_options_init(omen_build_options *options, size_t struct_bytes);
#define omen_build_options_init(options) (omen_build_options_init)(options, sizeof(omen_build_options))

#define OMEN_MAX_STAGES 16u /* room in a report: there are fewer, of either */
#define OMEN_MAX_CODECS 16u

#define OMEN_NEAR_COPIES_MOST 0.75

typedef struct omen_build_report {
    size_t struct_bytes; /* set it */
    uint64_t n_rows;
    uint64_t n_encoded; /* rows encoded; fewer than n_rows if the build failed. With a checkpoint, rows that it holds */
    uint32_t d;
    omen_codec codec; /* never AUTO */
    int n_threads;
    /* the stages begun, in the order in which they ran; after a build that succeeded, all. Names, such as "encode", are
     * the library's and stay */
    uint32_t n_stages;
    struct {
        const char *name;
        double seconds;
    } stages[OMEN_MAX_STAGES];
    /* of each codec there is: mean squared error of its distance estimates relative to the mean squared distance,
     * measured on training rows; NaN for one that was not tried */
    uint32_t n_codec_errors;
    struct {
        omen_codec codec;
        double error;
    } codec_errors[OMEN_MAX_CODECS];
    /* share of the rows drawn to measure search effort that have a near copy: a nearest neighbour less than a quarter
     * as far away as the tenth. If more than OMEN_NEAR_COPIES_MOST have one, the effort that was measured says little
     * about other queries. Rows that equal ten others are left out of the measurement. NaN: not measured */
    double near_copies;
    bool few_training_rows; /* fewer than 39 rows a list: the partition will be poor */
    omen_refine refine;     /* never AUTO */
    /* by tier: the share of the 10 nearest rows that are still the nearest after its rounding, estimated from rows of
     * the sample; 0 for tiers that were not measured */
    double refine_ceilings[OMEN_N_REFINES];
    /* lengths of the rows of the sample that the models were trained on, or would be without options.model; all 0 where
     * a checkpoint made that needless */
    struct {
        uint64_t n_rows;
        double least, most;
        bool are_unit; /* all within 0.001 of 1: l2 and ip then rank as cosine does */
        double spread; /* ip: the length that a tenth of the rows exceed over that which nine tenths do; 0: none */
    } norms;
    uint64_t row_hash[2]; /* of the rows encoded: low and high of omen_source_hash() */
} omen_build_report;

/* What a build will need, in bytes: upper estimates. */
typedef struct omen_build_plan {
    size_t struct_bytes;   /* set it */
    uint64_t memory_bytes; /* private memory at its peak */
    uint64_t chunk_rows, n_chunks;
    bool keeps_runs;           /* encoded rows stay in memory until they are written; else they are read back */
    uint64_t checkpoint_bytes; /* on disk while the build runs */
    uint64_t index_bytes;      /* of all sections */
    uint64_t scratch_bytes;    /* of options.scratch, while a graph is made; 0: it is made in memory */
} omen_build_plan;

/* Fills *out for a build with or without a checkpoint; reads no row. Returns OMEN_OK, OMEN_ERR_MEMORY
 * (options->memory_bytes is less than the least that would do, which why names), OMEN_ERR_ARGUMENT (options that cannot
 * be, or a struct_bytes) or OMEN_ERR_INPUT (no rows, or too many rows or dimensions). */
OMEN_API int omen_build_plan_make(const omen_source *source, const omen_build_options *options, bool has_checkpoint,
                                  omen_build_plan *out, omen_detail *why) OMEN_MUST_CHECK;

/* Builds an index of all rows of source into sink. None of the three is closed. checkpoint may be NULL: then encoded
 * rows stay in memory until they are written. Records of an earlier build in it are continued, if source and options
 * are the same. report may be NULL. Returns OMEN_OK, OMEN_ERR_ARGUMENT, OMEN_ERR_INPUT, OMEN_ERR_MEMORY,
 * OMEN_ERR_CORRUPT (of the checkpoint), OMEN_ERR_INTERRUPTED (with a checkpoint, after the chunk under way), or what
 * source, sink or checkpoint returned. The bytes that reach the sink depend on the rows and on metric, codec, refine,
 * bytes, lists, graph, seed, tune_queries and zero_ok only. */
OMEN_API int omen_index_build(const omen_source *source, const omen_build_options *options, const omen_sink *sink,
                              const omen_checkpoint *checkpoint, omen_build_report *report,
                              omen_detail *why) OMEN_MUST_CHECK;

/* Adds a graph to an index that is being copied into sink: n_sections sections, those of all its rows and no others,
 * have been written there, and are read back. The first writes the graph, the second, given the sections of the graph
 * and TUNE besides, what effort it takes: the order of a build. Of the options count graph.degree, n_threads,
 * memory_bytes, progress and tune_queries. The bytes are those of a build with a graph and these queries, where the
 * refine tier has the rows exactly and they are not under cosine; else the efforts may differ, by what the tier has
 * rounded. Returns OMEN_OK, OMEN_ERR_ARGUMENT (this index can have no graph), OMEN_ERR_MEMORY,
 * OMEN_ERR_CORRUPT, OMEN_ERR_INTERRUPTED or what the sink returned. */
OMEN_API int omen_graph_add(const uint32_t *sections, size_t n_sections, const omen_build_options *options,
                            const omen_sink *sink, omen_detail *why) OMEN_MUST_CHECK;
OMEN_API int omen_graph_measure_efforts(const uint32_t *sections, size_t n_sections, const omen_build_options *options,
                                        const omen_sink *sink, omen_detail *why) OMEN_MUST_CHECK;

/* ---- keys: what the owner of the rows calls them ------------------------ */

typedef enum {
    OMEN_KEYS_NONE = 0,
    OMEN_KEYS_INT64 = 1,
    OMEN_KEYS_UINT64 = 2,
    OMEN_KEYS_TEXT = 3, /* UTF-8 without control characters, 1 to OMEN_MAX_KEY_BYTES bytes */
} omen_key_kind;
#define OMEN_MAX_KEY_BYTES 4096u

/* "int64", "uint64" or "text"; "none". */
OMEN_API const char *omen_key_kind_name(omen_key_kind kind);

/* ---- an open index ----------------------------------------------------- */

typedef struct omen_index omen_index;

/* What an index is and where its bytes are. Sizes in bytes of the whole index. */
typedef struct omen_index_info {
    size_t struct_bytes; /* set it */
    uint64_t n_rows;
    uint32_t d;
    uint32_t d_kept; /* dimensions kept by the transform */
    omen_metric metric;
    omen_codec codec;
    omen_refine refine;
    uint32_t code_bytes, factor_bytes; /* hot bytes of one vector */
    uint32_t bytes;                    /* as asked for; at least code_bytes + factor_bytes */
    uint64_t seed;
    bool zero_ok;            /* cosine: zero rows were accepted */
    uint64_t centroid_bytes; /* centroids, list offsets, per-list factor ranges */
    uint64_t model_bytes;    /* mean, basis, codebooks */
    uint64_t refine_bytes;
    uint64_t id_bytes;
    /* default_: on average, as measured, for k = 10 at OMEN_DEFAULT_RECALL */
    uint32_t default_rerank; /* rows */
    struct {
        uint32_t n, default_probes;
    } lists;
    /* share of the 10 nearest rows that are still the nearest after the refine tier's rounding, as the build estimated
     * it; 1: nothing is rounded; 0: unknown */
    double refine_ceiling;
    omen_key_kind key_kind;
    uint32_t key_most_bytes; /* of text: the longest */
    uint64_t key_bytes;      /* keys, and what they are found by */
    uint32_t n_columns;      /* attributes of the rows, tags too */
    uint64_t column_bytes;
    struct {
        uint32_t degree; /* neighbours of a row, at most; 0: there is no graph */
        uint64_t bytes;  /* codes, neighbours and entries */
    } graph;
    uint64_t key_least, key_most; /* of integers: the smallest and the largest key, int64 in two's complement */
    bool keys_shared;             /* several rows may have the same key */
} omen_index_info;

/* Opens an index over sections that stay owned by the caller and must outlive it. Checks every count, length and
 * bound that a search relies on; does not read the large sections. *out is NULL on failure. Returns OMEN_OK,
 * OMEN_ERR_CORRUPT, OMEN_ERR_UNSUPPORTED or OMEN_ERR_MEMORY. */
OMEN_API int omen_index_open(omen_index **out, const omen_section *sections, size_t n_sections,
                             omen_detail *why) OMEN_MUST_CHECK;

/* Whether the sections of an index, or of codes, are there and of the lengths that META gives; reads no data but that
 * of META. Returns as omen_index_open(). */
OMEN_API int omen_index_check_lengths(const omen_section *sections, size_t n_sections,
                                      omen_detail *why) OMEN_MUST_CHECK;

/* Frees the index (not the sections). NULL is fine. */
OMEN_API void omen_index_close(omen_index *index);

/* Fills *out. Returns OMEN_OK or OMEN_ERR_ARGUMENT (out->struct_bytes). */
OMEN_API int omen_index_get_info(const omen_index *index, omen_index_info *out) OMEN_MUST_CHECK;

/* ---- sets of rows: what a filter selects -------------------------------- */

/* Some of the rows of one index. It does not change, so threads may share it, and must not outlive the index. */
typedef struct omen_row_set omen_row_set;

/* The rows with the n_ids numbers ids, in any order and more than once if need be; with except, all rows but these.
 * *out is the caller's, NULL on failure. Returns OMEN_OK, OMEN_ERR_ARGUMENT (a row that does not exist),
 * OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY. */
OMEN_API int omen_row_set_create(const omen_index *index, const int64_t *ids, uint64_t n_ids, bool except,
                                 omen_row_set **out, omen_detail *why) OMEN_MUST_CHECK;

/* NULL is fine. */
OMEN_API void omen_row_set_destroy(omen_row_set *set);

/* The rows that both have. *out is the caller's, NULL on failure. Returns OMEN_OK, OMEN_ERR_ARGUMENT (sets of two
 * indexes) or OMEN_ERR_MEMORY. */
OMEN_API int omen_row_set_intersect(const omen_row_set *a, const omen_row_set *b, omen_row_set **out,
                                    omen_detail *why) OMEN_MUST_CHECK;

/* How many rows it has. */
OMEN_API uint64_t omen_row_set_count(const omen_row_set *set);

/* A hash of which rows of its index it has. */
OMEN_API uint64_t omen_row_set_checksum(const omen_row_set *set);

/* ---- search ------------------------------------------------------------ */

#define OMEN_DEFAULT_RECALL 0.95f

/* Ways through an index; names as for metrics, above. */
typedef enum { OMEN_SEARCH_AUTO, OMEN_SEARCH_LISTS, OMEN_SEARCH_GRAPH, OMEN_SEARCH_EXACT } omen_search_way;
OMEN_API const char *omen_search_way_name(omen_search_way way);
OMEN_API int omen_search_way_parse(const char *name, omen_search_way *out) OMEN_MUST_CHECK;

typedef struct omen_search_options {
    size_t struct_bytes;
    uint32_t k;
    /* the recall@k wanted, in (0, 1]; 0: OMEN_DEFAULT_RECALL. The index's table turns it into effort, which each query
     * takes as far as its own neighbours are */
    float recall;
    struct {
        uint32_t probes; /* the same number of lists for every query; 0: what recall needs */
    } lists;
    uint32_t rerank;      /* as many candidates re-ranked by the refine tier; 0: what recall needs */
    bool exact;           /* compare with every row of the refine tier */
    bool zero_ok;         /* cosine: accept a zero query, at distance 1 from everything */
    uint64_t first_query; /* the number of the first of these queries among the caller's, for messages */
    /* memory has no room for the refine tier: where it is a file mapping, prefetch only the rows needed */
    bool refine_cold;
    int n_threads;             /* 0: omen_cpu_count() */
    omen_progress_fn progress; /* told OMEN_PROGRESS_PARTS for each query; may be NULL */
    void *progress_context;
    /* multiplies the effort that the recall takes: more lists and more candidates for every query; 0: 1 */
    float effort_factor;
    /* n_queries sets of rows: query i finds only rows of row_sets[i], all rows where that is NULL. Equal pointers are
     * the same filter, which is prepared once. NULL: no query has a filter */
    const omen_row_set *const *row_sets;
    omen_search_way way; /* 0: as omen_index_choose_way() says */
    /* omen_index_search_within() and omen_index_search_self(): all rows at most `within` away, in the metric's own
     * distance, are wanted instead of the k nearest; k and rerank have no meaning then */
    bool has_within;
    float within;
    uint64_t limit; /* with has_within: the most rows that a query finds, the nearest of them; 0: all */
} omen_search_options;

/* The defaults: k 10, everything else 0. Written omen_search_options_init(&options), as above. */
OMEN_API void omen_search_options_init(omen_search_options *options, size_t struct_bytes);
#define omen_search_options_init(options) (omen_search_options_init)(options, sizeof(omen_search_options))

typedef struct omen_search_stats {
    size_t struct_bytes; /* set it */
    uint64_t n_queries;
    uint64_t codes_scanned, rows_reranked; /* totals over all queries */
    /* rerank, probes: as asked for; else what a query took on average when this recall was measured; 0 when exact */
    uint32_t rerank;
    struct {
        uint32_t probes;
        uint64_t probed; /* total over all queries */
    } lists;
    omen_search_way way; /* that was taken: never OMEN_SEARCH_AUTO */
    struct {
        uint64_t estimates; /* total over all queries: rows measured by their graph codes */
    } graph;
    /* queries under a filter, of each index: no row passes, rows compared one by one, lists, the graph */
    struct {
        uint64_t nothing, rows, lists, graph;
    } filtered;
} omen_search_stats;

/* The way that a search takes. */
typedef struct omen_way_choice {
    size_t struct_bytes;           /* set it */
    omen_search_way way;           /* never OMEN_SEARCH_AUTO */
    const char *reason;            /* a few words, which stay the library's */
    double lists_cost, graph_cost; /* weighted counts of what a query takes; 0: unknown, or the recall is not reached */
    /* whether this way reaches the recall, as omen_index_can_reach() */
    bool can_reach;
    double recall_most;
} omen_way_choice;

/* Chooses the way for n_queries queries: the one asked for; else lists, unless the graph was measured to reach the
 * recall at less cost. Lists share work between queries, so that may depend on n_queries: who searches a batch in
 * parts, and wants the same answers whatever these are, sets options->way to what is chosen for all. Returns OMEN_OK or
 * OMEN_ERR_ARGUMENT (there is no such way, other options exclude it, or a struct_bytes). */
OMEN_API int omen_index_choose_way(const omen_index *index, const omen_search_options *options, uint64_t n_queries,
                                   omen_way_choice *out, omen_detail *why) OMEN_MUST_CHECK;

/* In the place of a row number: the query has no more neighbours, or there is no such row. */
#define OMEN_NO_ROW (-1)

/* How many neighbours a query has: the number of ids, of the k that a search gave it, before the first OMEN_NO_ROW. */
OMEN_API uint32_t omen_found_count(const int64_t *ids, uint32_t k);

/* Finds the k nearest rows of each query, nearest first, ties by lower id, no id twice. A query finds fewer if the
 * index has fewer than k rows: OMEN_NO_ROW, at distance INFINITY, fills what is left of its k places.
 *   queries    n_queries x d float32, finite
 *   ids        n_queries x k row numbers, written
 *   distances  n_queries x k float32, written; may be NULL. Without a refine tier they are estimates.
 *   stats      added to; may be NULL
 * Returns OMEN_OK, OMEN_ERR_ARGUMENT (k = 0; has_within; exact without a refine tier; as omen_index_choose_way(); a set
 * of another index), OMEN_ERR_INPUT (a query whose squared norm is over OMEN_NORM2_MOST, or is no number; a zero query
 * under cosine without zero_ok), OMEN_ERR_CORRUPT, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. Results do not depend on
 * threads, SIMD level or, as long as the way is the same, how queries are batched. The index keeps working memory for
 * the next search, as much as a thread's part of the last one took, or of a larger one before, unless that is over
 * 64 MiB, for up to 64 threads. */
OMEN_API int omen_index_search(const omen_index *index, const omen_search_options *options, const float *queries,
                               uint64_t n_queries, int64_t *ids, float *distances, omen_search_stats *stats,
                               omen_detail *why) OMEN_MUST_CHECK;

/* What queries found, each as much as there is: nearest first, ties by lower row number. The library makes it. */
typedef struct omen_found {
    uint64_t n_queries;
    uint64_t *first;  /* n_queries + 1: query i has ids and distances first[i] .. first[i + 1] - 1 */
    int64_t *ids;     /* row numbers */
    float *distances; /* the metric's own; estimates without a refine tier */
    bool *is_cut;     /* n_queries: there were more than options.limit */
} omen_found;

/* NULL is fine. */
OMEN_API void omen_found_destroy(omen_found *found);

/* Finds all rows that are at most options->within away from each query, which options->has_within has to say. Rows in
 * no list that is searched are missed, as few as recall asks for; with exact, none is. *out is the caller's to destroy,
 * NULL on failure. Returns as omen_index_search() does, and OMEN_ERR_ARGUMENT where has_within is not set, within is no
 * number, or rerank is set. */
OMEN_API int omen_index_search_within(const omen_index *index, const omen_search_options *options, const float *queries,
                                      uint64_t n_queries, omen_found **out, omen_search_stats *stats,
                                      omen_detail *why) OMEN_MUST_CHECK;

/* Measures queries against rows of the caller's choice, by the refine tier, as omen_index_search() does.
 *   queries    n_queries x d float32, finite
 *   ids        n_queries x k row numbers, or OMEN_NO_ROW, at distance INFINITY
 *   distances  n_queries x k float32, written
 *   n_threads  0: omen_cpu_count()
 * Returns OMEN_OK, OMEN_ERR_ARGUMENT (no refine tier; a row that does not exist), OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY.
 */
OMEN_API int omen_index_distances(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k,
                                  const int64_t *ids, int n_threads, float *distances,
                                  omen_detail *why) OMEN_MUST_CHECK;

/* Exact search without an index: the k nearest rows of source under metric, as omen_index_search() would give them with
 * a refine tier of float32. A zero row or query under cosine has similarity 0 to everything.
 *   queries    n_queries x d of the source
 *   n_threads  0: omen_cpu_count()
 *   ids        n_queries x k row numbers, written
 *   distances  n_queries x k float32, written; may be NULL
 *   progress   as in omen_search_options
 * Returns OMEN_OK, OMEN_ERR_ARGUMENT (k = 0; no rows, or too many), OMEN_ERR_MEMORY, OMEN_ERR_INTERRUPTED or what the
 * source returned. */
OMEN_API int omen_source_search(const omen_source *source, omen_metric metric, uint32_t k, const float *queries,
                                uint64_t n_queries, int n_threads, int64_t *ids, float *distances,
                                omen_progress_fn progress, void *context, omen_detail *why) OMEN_MUST_CHECK;

/* ---- verification ------------------------------------------------------ */

/* Called for each fault found, with the section at fault (a four-letter name) and a sentence. */
typedef void (*omen_fault_fn)(void *context, const char *section, const char *text);

/* Reads every section and checks what omen_index_open() leaves: list offsets monotone and complete, ids a permutation,
 * factors and refine rows finite and in range; keys and columns what docs/FORMAT.md says. Returns OMEN_OK,
 * OMEN_ERR_CORRUPT (each fault told to fault(), which must not be NULL) or OMEN_ERR_MEMORY. */
OMEN_API int omen_index_check(const omen_index *index, omen_fault_fn fault, void *context) OMEN_MUST_CHECK;

/* Compares the index with the vectors it claims to hold: n and d agree and every stored refine row is its source row
 * within the codec's bound. Returns as omen_index_check(), or OMEN_ERR_UNSUPPORTED without a refine tier (n and d are
 * compared first), or what the source returned. */
OMEN_API int omen_index_check_source(const omen_index *index, const omen_source *source, omen_fault_fn fault,
                                     void *context, omen_detail *why) OMEN_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
