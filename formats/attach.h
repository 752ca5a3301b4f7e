/* SPDX-License-Identifier: Apache-2.0 */
/* A new index with the vectors of another one, and with keys, columns or a graph. */
#ifndef OMEN_ATTACH_H
#define OMEN_ATTACH_H

#include "formats/omendb_files.h"

/* What is read, what is made, and who is told of it. */
typedef struct omen_attach {
    const char *input;                /* the index; a compressed one is unpacked to memory */
    const char *output;               /* the new one */
    const char *keys;                 /* as omen_row_keys_read() reads them; NULL: those of the index stay */
    const char *key_column;           /* as in omen_build_paths */
    bool allow_duplicates;            /* several rows may have the same key */
    const omen_column_paths *columns; /* as omen_columns_read() reads them; NULL: those of the index stay */
    bool drop_columns;                /* those of the index that these do not have are left out */
    bool graph;                       /* a graph over its rows, in the place of one that it has */
    uint32_t degree;                  /* of the graph; 0: OMEN_DEFAULT_DEGREE */
    const char *tune_queries;         /* vectors that efforts of the graph are measured on; NULL: rows of the index */
    uint64_t memory_bytes;            /* to unpack, for keys, columns and graph; 0: no limit */
    int n_threads;
    omen_progress_fn progress; /* may be NULL */
    void *context;
} omen_attach;

/* Copies the sections of the index, whose checksums it compares, but for those that are replaced, and writes the others
 * in their place: the bytes that a build with these keys and columns would have made (of a graph, what omen_graph_add()
 * says). Columns of the index that those read do not have, such as tags, are refused (OMEN_ERR_INPUT), unless
 * drop_columns is set. output is what it was until the new index is complete and on disk, and is opened once more then.
 * n_file_bytes and info (its struct_bytes set) are of the new index. Returns as omen_container_open_index(),
 * omen_row_keys_read(), omen_columns_read(), omen_graph_add(), omen_vectors_open(),
 * omen_writer_create() and omen_writer_commit(), or OMEN_ERR_INTERRUPTED. */
int omen_attach_make(const omen_attach *attach, uint64_t *n_file_bytes, omen_index_info *info,
                     omen_detail *why) OMEN_MUST_CHECK;

#endif
