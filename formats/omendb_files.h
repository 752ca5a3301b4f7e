/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: the public interface to files. Vectors in, an index out, results out, each by its path; what is done with
 * them in memory is in omendb.h, which is installed beside this file.
 *
 * A build by path: omen_index_build_file(), or its steps. omen_vectors_open() and omen_vectors_source() give the rows,
 * omen_writer_create() and omen_writer_sink() take the sections, omen_part_open() and omen_part_checkpoint() keep what
 * a killed build continues from, omen_index_build() does the work, and omen_writer_commit() gives the file its name. A
 * search by path:
 * omen_container_open(), omen_container_open_index(), omen_index_search(), omen_results_write().
 *
 * Functions return as those of omendb.h do. None of them prints or exits. */
#ifndef OMENDB_FILES_H
#define OMENDB_FILES_H

#include <stdio.h>

#include "omendb_codes.h"
#include "omendb_columns.h"
#include "omendb_info.h"
#include "omendb_joint.h"
#include "omendb_rows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- vectors ------------------------------------------------------------ */

typedef struct omen_vectors omen_vectors;

typedef struct omen_vectors_options {
    const char *format; /* a name from omen_vectors_formats(); NULL: by extension and content */
    uint32_t d;         /* dimension of raw input; 0 elsewhere, or the dimension the caller insists on */
    uint32_t raw_d;     /* dimension of raw input where d is 0 */
    /* called while a compressed file is unpacked ("unpack"), and a text read ("convert"), with the bytes read; not 0
     * ends that. NULL: nothing is */
    omen_progress_fn progress;
    void *context;
} omen_vectors_options;

/* Opens a vector file, or standard input when path is "-" (spooled to an unlinked temporary file first, so a stream
 * of any size becomes re-readable). What gzip or zstd has compressed is unpacked likewise, and text is converted. Of
 * a file with several arrays (npz, safetensors, hdf5, jsonl) "FILE:NAME" is one. The whole shape is validated:
 * dimensions, length, a last row cut short. Values are checked by the source's read(). options may be NULL. *out is
 * NULL on failure. Returns OMEN_OK, OMEN_ERR_INPUT (not this format, cut short, no rows: why names the file, the row
 * and what to do), OMEN_ERR_ARGUMENT (unknown format name, missing dimension), OMEN_ERR_IO or OMEN_ERR_MEMORY.
 */
OMEN_API int omen_vectors_open(omen_vectors **out, const char *path, const omen_vectors_options *options,
                               omen_detail *why) OMEN_MUST_CHECK;

/* The most files that are opened as one. */
#define OMEN_MAX_FILES 32768u

/* Opens several files, of one dimension and of formats that may differ, as one: their rows follow each other in the
 * order of paths, as if they stood in one file; a file that is named twice gives its rows twice. One of them may be
 * "-". options hold for each file. Files stay mapped, and no descriptor is kept. With one path this is
 * omen_vectors_open(), as which it returns; also OMEN_ERR_ARGUMENT for no path or more than OMEN_MAX_FILES. */
OMEN_API int omen_vectors_open_several(omen_vectors **out, const char *const *paths, size_t n_paths,
                                       const omen_vectors_options *options, omen_detail *why) OMEN_MUST_CHECK;

/* The *n_parts files that omen_vectors_open_several() opened, for omen_build_options.parts; NULL and 0 of one file.
 * They live as long as vectors. */
OMEN_API const omen_source_part *omen_vectors_parts(const omen_vectors *vectors, size_t *n_parts);

/* Closes and frees; NULL is fine. Sources taken from it die with it. */
OMEN_API void omen_vectors_close(omen_vectors *vectors);

/* The rows as the library wants them. Its read() may be called from several threads. */
OMEN_API omen_source omen_vectors_source(omen_vectors *vectors);

/* The format's name, such as "fvecs"; of files of different ones "several formats". */
OMEN_API const char *omen_vectors_format(const omen_vectors *vectors);

/* All format names, separated by ", ", for messages. */
OMEN_API const char *omen_vectors_formats(void);

/* The format that a file name's extension stands for, such as "npy"; NULL for another one. */
OMEN_API const char *omen_vectors_named(const char *path);

/* ---- writing an index --------------------------------------------------- */

typedef struct omen_writer omen_writer;
typedef struct omen_container omen_container;

/* Starts a file that will be called path: bytes go to a temporary name beside it (path + ".tmp") until commit, a
 * new and locked one. Refuses a path that is a directory, a device or the like. *out is NULL on failure. Returns
 * OMEN_OK, OMEN_ERR_ARGUMENT, OMEN_ERR_IO or OMEN_ERR_MEMORY. */
OMEN_API int omen_writer_create(omen_writer **out, const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* The sink that a build writes to. */
OMEN_API omen_sink omen_writer_sink(omen_writer *writer);

/* Writes table and trailer, and gives the file its name: fsync(file), rename to path, fsync(directory). After a
 * failure path is what it was. n_file_bytes, if not NULL, receives the size. Returns OMEN_OK, OMEN_ERR_ARGUMENT (a
 * section is open, or nothing was started), OMEN_ERR_IO or OMEN_ERR_MEMORY; after a failure of the sink, that. */
OMEN_API int omen_writer_commit(omen_writer *writer, uint64_t *n_file_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* Frees; removes the temporary unless it was committed. NULL is fine. */
OMEN_API void omen_writer_destroy(omen_writer *writer);

/* ---- the checkpoint of a build: records that survive the process -------- */

typedef struct omen_part omen_part;

/* Opens or creates the checkpoint of the file that will be called path: path + ".part". Of records that an earlier
 * build left the headers are read; what follows the last good one is cut off. Refuses one that a living process holds
 * (OMEN_ERR_IO) and a file that is no checkpoint (OMEN_ERR_INPUT). fresh: starts with none. *out is NULL on failure.
 * Returns OMEN_OK, OMEN_ERR_INPUT, OMEN_ERR_IO or OMEN_ERR_MEMORY. */
OMEN_API int omen_part_open(omen_part **out, const char *path, bool fresh, omen_detail *why) OMEN_MUST_CHECK;

/* What a build takes. It dies with the part. */
OMEN_API omen_checkpoint omen_part_checkpoint(omen_part *part);

/* The file's name. */
OMEN_API const char *omen_part_path(const omen_part *part);

/* Bytes of the records found or written. */
OMEN_API uint64_t omen_part_bytes(const omen_part *part);

/* Whether this process has written a record. */
OMEN_API bool omen_part_is_written(const omen_part *part);

/* Removes the file. The part still has to be closed. */
OMEN_API void omen_part_remove(omen_part *part);

/* Waits for what is being written, closes and frees. The file stays unless it was removed or holds no record. NULL is
 * fine. */
OMEN_API void omen_part_close(omen_part *part);

/* Refuses when the file system that path will be on has less than n_bytes to give. Returns OMEN_OK, OMEN_ERR_IO (why
 * names what is there and what is needed) or OMEN_ERR_MEMORY. */
OMEN_API int omen_disk_check(const char *path, uint64_t n_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* ---- keys --------------------------------------------------------------- */

/* Reads the keys of n_rows rows from a file, or from standard input when path is "-": text in UTF-8, one a line, or an
 * npy array of integers or fixed strings (S, U), and finishes them (omen_row_keys_finish()). memory_bytes: private
 * memory to stay under; 0: no limit. *out is NULL on failure, and else the caller's to destroy. Returns OMEN_OK,
 * OMEN_ERR_INPUT (not so many keys, one that cannot be one, a duplicate: why names file and line, or row),
 * OMEN_ERR_ARGUMENT, OMEN_ERR_IO, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
OMEN_API int omen_row_keys_read(omen_row_keys **out, const char *path, uint64_t n_rows, bool allow_duplicates,
                                uint64_t memory_bytes, int n_threads, omen_detail *why) OMEN_MUST_CHECK;

/* ---- columns ------------------------------------------------------------ */

/* Where the columns of rows are. */
typedef struct omen_column_paths {
    /* a table: tsv or csv with a header, or JSON Lines, by extension, of another one by its first line; NULL: none. A
     * field without anything, a member that is null or not there, is no value */
    const char *table;
    /* types of its columns, such as "price:float32,zip:text,vector:skip", of int64, float32, float64, text, tags (of
     * JSON Lines: arrays of strings) and skip; those not named are found: int64 where all values are such, else
     * float64, else text. NULL: all are found */
    const char *types;
    const char *const *arrays; /* n_arrays of "NAME=FILE", npy arrays of integers, bools or floats */
    size_t n_arrays;
    /* the column "tags": a sparse matrix (NAME.spmat: int64 rows, columns and entries, int64 first entries of the rows,
     * int32 columns of the entries, float32 values), whose columns are the tags, or a text with a line of words for
     * each row; NULL: none */
    const char *tags;
} omen_column_paths;

/* Reads columns of n_rows rows; "-" is standard input. memory_bytes: private memory to stay under; 0: no limit. *out is
 * NULL on failure, and else the caller's to destroy. Returns OMEN_OK, OMEN_ERR_INPUT (why names file, line and column),
 * OMEN_ERR_ARGUMENT, OMEN_ERR_IO, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
OMEN_API int omen_columns_read(omen_columns **out, const omen_column_paths *paths, uint64_t n_rows,
                               uint64_t memory_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* Reads the keys of n_rows rows from a column of a table, whose types count; arrays and tags are not looked at. A
 * column of integers has int64 keys, one of texts those texts; every row has to have one. A type of skip leaves the
 * column out of the columns only. As omen_row_keys_read(). */
OMEN_API int omen_row_keys_read_column(omen_row_keys **out, const omen_column_paths *table, const char *column,
                                       uint64_t n_rows, bool allow_duplicates, uint64_t memory_bytes, int n_threads,
                                       omen_detail *why) OMEN_MUST_CHECK;

/* ---- a build by path ---------------------------------------------------- */

/* What a build by path reads and writes, and who is told of it. */
typedef struct omen_build_paths {
    size_t struct_bytes;                 /* set it */
    const char *input;                   /* the vectors to index; "-": standard input; NULL: inputs are */
    const omen_vectors_options *vectors; /* how input is read; NULL: by extension and content */
    const char *tune_queries;            /* vectors to measure search effort on; NULL: those of omen_build_options */
    const char *output;                  /* the index */
    bool fresh;                          /* start over: do not continue a checkpoint */
    /* Called once each, if not NULL: when input is open, with its format, and with the plan, before the first byte is
     * written. Nothing has to be undone until then. */
    void (*opened)(void *context, const char *format, const omen_source *source);
    void (*planned)(void *context, const omen_build_plan *plan);
    void *context;
    const char *keys;      /* the keys of the rows, as omen_row_keys_read() reads them; NULL: none */
    bool allow_duplicates; /* several rows may have the same key */
    /* columns of the rows, from files or made before, which are written too; their memory is part of
     * options.memory_bytes. One of the two, or both, may be NULL; the first counts */
    const omen_column_paths *column_paths;
    const omen_columns *columns;
    /* keys is a table, which may be that of column_paths (its types count then), and this column of it has the keys;
     * NULL: it is a file of keys */
    const char *key_column;
    /* where input is NULL: the n_inputs files to index as one, as omen_vectors_open_several() opens them. The index has
     * the bytes that the same rows in one file make */
    const char *const *inputs;
    size_t n_inputs;
    /* the directory of the checkpoint, which then has a name made of output's path there; NULL: it is beside output */
    const char *checkpoint_directory;
    /* called, if not NULL, with what is worth knowing and does not stop the build: that its checkpoint cannot be
     * locked, and so goes with it */
    void (*noted)(void *context, const char *text);
} omen_build_paths;

/* What a build by path leaves. */
typedef struct omen_build_outcome {
    size_t struct_bytes; /* set it */
    uint64_t file_bytes; /* of the index */
    bool can_continue;   /* it failed, and a checkpoint remains that the same call continues */
    bool needs_fresh;    /* the checkpoint is one of another build, or damaged; with fresh the build starts over */
    double recall_most;  /* the highest recall@10 that an effort was measured for; 1 if it is 0.99 or more */
} omen_build_outcome;

/* Builds an index of a file of vectors, or several, into a file. The index is written to output + ".tmp", what a killed
 * build continues from to output + ".part", both locked, or under names of their own where there are no locks; output
 * is what it was until the index is complete and on disk, and is opened once more then. Keys are read before any work,
 * and a plan with no room on the disk is refused then. report, info (of the index) and outcome may be NULL; outcome is
 * set after a failure too. Returns as omen_vectors_open(), omen_row_keys_read(), omen_writer_create(),
 * omen_part_open(), omen_index_build(), omen_writer_commit() and omen_container_open_index(). After OMEN_ERR_INPUT and
 * OMEN_ERR_ARGUMENT, which would come again, no checkpoint of this call is left; after other failures it is. */
OMEN_API int omen_index_build_file(const omen_build_paths *paths, const omen_build_options *options,
                                   omen_build_report *report, omen_index_info *info, omen_build_outcome *outcome,
                                   omen_detail *why) OMEN_MUST_CHECK;

/* ---- reading an index --------------------------------------------------- */

/* Maps a file and checks header, trailer, section table, lengths and bounds (what `verify --quick` promises): no
 * truncation passes, no offset is used unchecked. Time does not depend on the file's size. *out is NULL
 * on failure. Returns OMEN_OK, OMEN_ERR_CORRUPT, OMEN_ERR_UNSUPPORTED (newer version), OMEN_ERR_INPUT (not an index at
 * all), OMEN_ERR_ARGUMENT (what cannot be mapped: "-", a pipe, a socket, a device), OMEN_ERR_IO (a directory too) or
 * OMEN_ERR_MEMORY. */
OMEN_API int omen_container_open(omen_container **out, const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* Unmaps and frees; NULL is fine. */
OMEN_API void omen_container_close(omen_container *container);

/* The sections, in file order; they live as long as the container. Their check() compares with the file's checksums. */
OMEN_API const omen_section *omen_container_sections(const omen_container *container, size_t *n_sections);

/* Opens the index in a container that is open; both are the caller's to close, the index first, also after a failure.
 * A compressed index takes the container's place, unpacked into memory, if it has no more than memory_bytes. checks:
 * what is read of the file, now and by each search, is compared with its checksums. path is for messages. Returns as
 * omen_index_open(), OMEN_ERR_INPUT (vectors, or codes without lists), OMEN_ERR_IO or OMEN_ERR_MEMORY. */
OMEN_API int omen_container_open_index(omen_container **container, omen_index **index, const char *path,
                                       uint64_t memory_bytes, bool checks, omen_detail *why) OMEN_MUST_CHECK;

/* ---- search results ----------------------------------------------------- */

typedef enum {
    OMEN_RESULTS_TSV,
    OMEN_RESULTS_JSONL,
    OMEN_RESULTS_IVECS,
    OMEN_RESULTS_NPY,
    OMEN_RESULTS_CSV,
    OMEN_RESULTS_IBIN,
    OMEN_RESULTS_NPZ,
    OMEN_RESULTS_HDF5
} omen_results_format;

/* "tsv", "jsonl", "ivecs", "npy", "csv", "ibin", "npz" or "hdf5". Returns OMEN_OK or OMEN_ERR_ARGUMENT. */
OMEN_API int omen_results_parse(const char *name, omen_results_format *out) OMEN_MUST_CHECK;

/* The name of format number i, which is also the extension of its files; NULL past the last. */
OMEN_API const char *omen_results_name(size_t i);

/* Writes the results of n_queries queries in blocks, so that a batch need not be held whole.
 *   tsv    one line per neighbour: query, rank, id, distance (rank counts from 1; distance only if asked)
 *   csv    the same with commas
 *   jsonl  one object per query: {"query":0,"rows":[...],"distances":[...]}
 *   ivecs  int32 k, then k int32 ids per query (OMEN_ERR_INPUT for an id beyond int32); distances likewise, to a stream
 *          of their own (fvecs)
 *   ibin   uint32 n_queries, uint32 k, then k int32 ids per query; distances likewise, to a stream of their own (fbin)
 *   npy    int64 array n_queries x k of ids; with distances a structured array of fields ("id", "<i8"), ("distance",
 *          "<f4")
 *   npz    npy without distances, and these as npy to a stream of their own: omen_results_pack() makes one file of both
 *   hdf5   as npz
 *
 * Of a query with fewer than k neighbours (omen_found_count()) tsv, csv and jsonl have those that there are; the
 * others have k, the missing ones as id -1 at distance infinity. */
typedef struct omen_results {
    FILE *stream; /* the caller's */
    omen_results_format format;
    bool with_distances;
    uint64_t n_queries; /* of the whole output */
    uint32_t k;
    bool with_header; /* tsv and csv: names of the fields first */
    FILE *distances;  /* ivecs, ibin, npz and hdf5: the caller's, for distances; NULL: they are left out */
} omen_results;

/* Writes what comes before the first block (the npy header). Returns as omen_results_write(). */
OMEN_API int omen_results_begin(const omen_results *results, omen_detail *why) OMEN_MUST_CHECK;

/* Writes one block of n queries, of which first is the number of the first: ids and distances are n x k; distances may
 * be NULL. Returns OMEN_OK, OMEN_ERR_INPUT or OMEN_ERR_IO (a write failed; errno is named in why). */
OMEN_API int omen_results_write(const omen_results *results, uint64_t first, uint64_t n, const int64_t *ids,
                                const float *distances, omen_detail *why) OMEN_MUST_CHECK;

/* After the last block of npz or hdf5: writes to out the file of the arrays "ids" (hdf5: "neighbors"), or with keys
 * "keys", and "distances" that the streams of results have, from their beginning; they can be read, such as
 * tmpfile()'s. Returns OMEN_OK, OMEN_ERR_INPUT (hdf5, and there is no libhdf5), OMEN_ERR_IO or OMEN_ERR_MEMORY. */
OMEN_API int omen_results_pack(const omen_results *results, bool has_keys, FILE *out, omen_detail *why) OMEN_MUST_CHECK;

/* The same with the keys of an index in the place of row numbers: "keys" in jsonl, the field "key" in structured
 * arrays of npy. Keys of text are fixed strings ("S", UTF-8) in npy, and ivecs does not hold them; nor does ivecs hold
 * an integer beyond int32. Formats with -1 for missing rows refuse an index in which that is a key. index may be NULL:
 * then they are as above. Both functions return OMEN_OK, OMEN_ERR_ARGUMENT (the index has no keys), OMEN_ERR_INPUT,
 * OMEN_ERR_CORRUPT, OMEN_ERR_IO or OMEN_ERR_MEMORY; nothing of a block is written unless all its keys are sound. */
OMEN_API int omen_results_begin_keys(const omen_results *results, const omen_index *index,
                                     omen_detail *why) OMEN_MUST_CHECK;
OMEN_API int omen_results_write_keys(const omen_results *results, const omen_index *index, uint64_t first, uint64_t n,
                                     const int64_t *ids, const float *distances, omen_detail *why) OMEN_MUST_CHECK;

/* The same of what omen_index_search_within() or omen_index_search_self() found. rows: the queries are these rows,
 * which are named by their keys too where index is given; NULL: they are numbered from first on. Formats with the same
 * number of results for every query hold results->k of them (OMEN_ERR_ARGUMENT where there are more). */
OMEN_API int omen_results_write_found(const omen_results *results, const omen_index *index, uint64_t first,
                                      const int64_t *rows, const omen_found *found, omen_detail *why) OMEN_MUST_CHECK;

/* The same of what omen_joint_search() and omen_joint_search_within() found: with_keys writes keys, which all indexes
 * need to have; labels, one of each index, writes "LABEL:row" or "LABEL:key" in their place, row being the number in
 * that index. Labels are texts as keys may be, which formats without text do not hold (OMEN_ERR_INPUT); NULL: joint
 * rows, or keys. */
OMEN_API int omen_results_begin_joint(const omen_results *results, const omen_joint *joint, bool with_keys,
                                      const char *const *labels, omen_detail *why) OMEN_MUST_CHECK;
OMEN_API int omen_results_write_joint(const omen_results *results, const omen_joint *joint, bool with_keys,
                                      const char *const *labels, uint64_t first, uint64_t n, const int64_t *ids,
                                      const float *distances, omen_detail *why) OMEN_MUST_CHECK;
OMEN_API int omen_results_write_found_joint(const omen_results *results, const omen_joint *joint, bool with_keys,
                                            const char *const *labels, uint64_t first, const omen_found *found,
                                            omen_detail *why) OMEN_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
