/* SPDX-License-Identifier: Apache-2.0 */
/* Results on their way from the order of the lists to the order of the rows: a distribution sort by row, over a
 * temporary file. Writing is in blocks at its end; reading back takes the memory of a part, one in PARTS_MOST of all
 * entries where there are many rows. */
#include "cmd/query_spool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/file.h"

#define PARTS_MOST    512u   /* each has a block in memory: 32 MiB in all */
#define PART_ROWS     16384u /* at least */
#define BLOCK_ENTRIES 5461u  /* of 12 bytes: 64 KiB */
#define BLOCK_BYTES   (BLOCK_ENTRIES * (uint64_t)sizeof(struct query_entry))

struct query_part {
    struct query_entry *last; /* BLOCK_ENTRIES, of which n_last are filled; NULL: none yet */
    uint32_t n_last;
    uint64_t *blocks; /* their numbers in the file, n_blocks of them */
    uint64_t n_blocks, size;
};

int query_spool_init(struct query_spool *spool, uint64_t n_rows)
{
    const uint64_t n_parts = (n_rows + PART_ROWS - 1) / PART_ROWS;

    spool->n_rows = n_rows;
    spool->n_parts = n_parts < PARTS_MOST ? (uint32_t)n_parts : PARTS_MOST;
    spool->rows_per_part = (n_rows + spool->n_parts - 1) / spool->n_parts;
    spool->parts = calloc(spool->n_parts, sizeof *spool->parts);
    return spool->parts ? OMEN_OK : OMEN_ERR_MEMORY;
}

static int fail_call(const char *verb, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_IO, "cannot %s the temporary copy of the results: %s", verb, strerror(errno));
}

/* Moves the last block of a part to the file. */
static int write_block(struct query_spool *spool, struct query_part *part, omen_detail *why)
{
    int status = spool->has_file ? OMEN_OK : omen_spool_open("the results", &spool->fd, why);

    if (status != OMEN_OK)
        return status;
    spool->has_file = true;
    if (part->n_blocks == part->size) {
        const uint64_t size = part->size > 0 ? 2 * part->size : 8;
        uint64_t *grown = realloc(part->blocks, size * sizeof *grown);

        if (!grown)
            return OMEN_ERR_MEMORY;
        part->blocks = grown;
        part->size = size;
    }
    if (omen_pwrite_all(spool->fd, part->last, BLOCK_BYTES, spool->n_blocks * BLOCK_BYTES) != 0)
        return fail_call("write", why);
    part->blocks[part->n_blocks++] = spool->n_blocks++;
    part->n_last = 0;
    return OMEN_OK;
}

int query_spool_add(struct query_spool *spool, struct query_entry entry, omen_detail *why)
{
    struct query_part *part = &spool->parts[entry.row / spool->rows_per_part];
    int status = OMEN_OK;

    if (!part->last)
        part->last = malloc(BLOCK_BYTES);
    if (!part->last)
        return OMEN_ERR_MEMORY;
    if (part->n_last == BLOCK_ENTRIES)
        status = write_block(spool, part, why);
    if (status == OMEN_OK)
        part->last[part->n_last++] = entry;
    return status;
}

static int read_block(const struct query_spool *spool, uint64_t block, struct query_entry *to, omen_detail *why)
{
    for (uint64_t done = 0; done < BLOCK_BYTES;) {
        const ssize_t n = pread(spool->fd, (char *)to + done, BLOCK_BYTES - done, (off_t)(block * BLOCK_BYTES + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO;
        if (n <= 0)
            return fail_call("read", why);
        done += (uint64_t)n;
    }
    return OMEN_OK;
}

int query_spool_read(const struct query_spool *spool, uint32_t number, struct query_entry **entries, uint64_t *n,
                     omen_detail *why)
{
    const struct query_part *part = &spool->parts[number];
    int status = OMEN_OK;

    *n = part->n_blocks * BLOCK_ENTRIES + part->n_last;
    *entries = malloc(*n * sizeof **entries + 1);
    if (!*entries)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < part->n_blocks && status == OMEN_OK; i++)
        status = read_block(spool, part->blocks[i], *entries + i * BLOCK_ENTRIES, why);
    if (part->n_last > 0)
        memcpy(*entries + part->n_blocks * BLOCK_ENTRIES, part->last, part->n_last * sizeof **entries);
    return status;
}

void query_spool_finish(struct query_spool *spool)
{
    for (uint32_t i = 0; spool->parts && i < spool->n_parts; i++) {
        free(spool->parts[i].last);
        free(spool->parts[i].blocks);
    }
    free(spool->parts);
    if (spool->has_file)
        close(spool->fd);
}
