/* SPDX-License-Identifier: Apache-2.0 */
/* Columns and tags of rows: before they are written, and in an open index. Bytes: docs/FORMAT.md, COLS and CVAL. */
#ifndef OMEN_COLUMNS_H
#define OMEN_COLUMNS_H

#include "lib/index.h"
#include "lib/omendb_columns.h"
#include "lib/sections.h"

#define OMEN_POSTING_ROWS   65536u /* positions of a block of postings */
#define OMEN_POSTING_SPARSE 4096u  /* rows of a block that are listed at most; more are bits */
#define OMEN_POSTING_BITS   8192u  /* bytes of these */

typedef struct omen_column_entry {
    uint32_t type, width;
    int64_t minimum;
    uint64_t n_nulls;
    uint64_t n_words; /* of the dictionary */
    uint64_t word_bytes, posting_bytes;
    uint32_t name_bytes;
    uint32_t zero[3];
} omen_column_entry;

_Static_assert(sizeof(omen_column_entry) == 64, "an entry of COLS is 64 bytes");

/* The parts of a column in CVAL, in the order in which they stand there. */
typedef enum {
    OMEN_PART_NULLS,
    OMEN_PART_VALUES,
    OMEN_PART_OFFSETS,
    OMEN_PART_WORDS,
    OMEN_PART_NUMBERS,
    OMEN_PART_LISTS,
    OMEN_PART_POSTINGS,
    OMEN_N_PARTS,
} omen_column_part;

static inline bool omen_column_is_tags(const omen_column_entry *e)
{
    return e->type == OMEN_COLUMN_TAG_WORDS || e->type == OMEN_COLUMN_TAG_NUMBERS;
}

static inline bool omen_column_has_words(const omen_column_entry *e)
{
    return e->type == OMEN_COLUMN_TEXT || e->type == OMEN_COLUMN_TAG_WORDS;
}

static inline uint64_t omen_column_pad(uint64_t n_bytes)
{
    return (n_bytes + 7) / 8 * 8;
}

/* Fills bytes with the lengths of the parts, without padding; the counts of the entry are below 2^60 / n_rows. */
void omen_column_lengths(const omen_column_entry *entry, uint64_t n_rows, uint64_t bytes[OMEN_N_PARTS]);

/* ---- in memory (columns_add.c) ---- */

/* A column in the order of the input. */
typedef struct omen_made_column {
    omen_column_entry entry; /* but for posting_bytes */
    char *name;              /* ends with a zero that name_bytes does not count */
    uint64_t *nulls;         /* NULL: none */
    uint8_t *values;         /* n_rows x width */
    uint64_t *offsets;       /* n_words + 1, of the sorted dictionary */
    char *words;
    uint32_t *numbers;
    uint64_t *first; /* n_rows + 1: the row's places in tags */
    uint32_t *tags;  /* numbers of the dictionary, rising in a row */
} omen_made_column;

struct omen_columns {
    uint64_t n_rows;
    omen_made_column *columns;
    uint32_t n;
    uint64_t n_bytes, n_write_bytes; /* of memory: now, and more of it to write the largest column */
};

/* ---- in an open index (columns_open.c) ---- */

struct omen_column {
    omen_column_entry entry;
    const char *name;
    const uint8_t *parts[OMEN_N_PARTS]; /* NULL where there is none */
    uint64_t at[OMEN_N_PARTS + 1];      /* in CVAL, and its end */
    int is_checked;                     /* all but the postings; set atomically */
    uint64_t *tags_seen;                /* of tags: a bit for each whose postings were checked, set atomically */
    uint64_t n_passes;                  /* over the values, by conditions that an order would answer; atomic */
    struct omen_column_order *order;    /* of the values (columns_order.h), NULL: none yet; set atomically, once */
};

/* Checks COLS and the length of CVAL, and fills in index->columns and what belongs to them. Returns OMEN_OK,
 * OMEN_ERR_CORRUPT, OMEN_ERR_UNSUPPORTED or OMEN_ERR_MEMORY. omen_columns_close() is due either way. */
int omen_columns_open(omen_index *index, const omen_section_list *list) OMEN_MUST_CHECK;
void omen_columns_close(omen_index *index);

/* Call it before reading values or the dictionary of a column; any thread may. Returns OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_column_touch(const omen_index *index, uint32_t i, omen_detail *why) OMEN_MUST_CHECK;

/* The postings of tag number tag of a column that was touched: bytes [*begin, *end) of them, compared with their
 * checksums and checked by the first call, so that they can be walked without further checks. Any thread may call it.
 * Returns OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_column_touch_tag(const omen_index *index, uint32_t i, uint64_t tag, const uint16_t **begin,
                          const uint16_t **end, omen_detail *why) OMEN_MUST_CHECK;

/* The first entry of a touched dictionary that is not less than the word, or, with past, that is greater and does not
 * begin with it; n_words if there is none. */
uint64_t omen_column_bound(const omen_column *column, const char *word, size_t n_bytes, bool past);

/* Whether entry i of a touched dictionary is the word. */
bool omen_column_has_word(const omen_column *column, uint64_t i, const char *word, size_t n_bytes);

/* The contents, as omen_index_check(). */
int omen_columns_check(const omen_index *index, omen_fault_fn fault, void *context) OMEN_MUST_CHECK;

#endif
