/* SPDX-License-Identifier: Apache-2.0 */
/* Shard files: what they say of themselves, whether together they are all rows, and files joined to one checkpoint. */
#include "formats/shard_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define MOST_NAMED 12u /* missing shards that a message names */

void omen_shard_range(uint64_t n_rows, uint64_t number, uint64_t count, omen_shard_info *out)
{
    /* neither is beyond 2^32 */
    out->first = n_rows * number / count;
    out->n = n_rows * (number + 1) / count - out->first;
    out->number = number;
    out->count = count;
    out->n_rows = n_rows;
}

/* ---- files as one checkpoint ---- */

static const omen_piece *find_piece(const omen_splice *s, uint32_t i)
{
    size_t low = 0, high = s->n;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (s->pieces[middle].first <= i)
            low = middle;
        else
            high = middle;
    }
    return &s->pieces[low];
}

static bool splice_get(void *self, uint32_t i, omen_record *out)
{
    const omen_splice *s = self;
    const omen_piece *p = find_piece(s, i);
    const bool grows = s->is_written && p == &s->pieces[s->n - 1];
    return (grows || i - p->first < p->n) && p->records.get(p->records.self, i - p->first + p->skip, out);
}

/* Files that are only read were proven when they were opened. */
static int splice_prove(void *self, uint32_t n, omen_progress_fn progress, void *context, omen_detail *why)
{
    const omen_splice *s = self;
    const omen_piece *last = &s->pieces[s->n - 1];
    return s->is_written ? last->records.prove(last->records.self, n, progress, context, why) : OMEN_OK;
}

static int splice_read(void *self, uint32_t i, uint64_t at, uint64_t n_bytes, void *out, omen_detail *why)
{
    const omen_piece *p = find_piece(self, i);
    return p->records.read(p->records.self, i - p->first + p->skip, at, n_bytes, out, why);
}

static int splice_append(void *self, uint32_t kind, const omen_span *spans, size_t n, uint32_t *number,
                         omen_detail *why)
{
    const omen_splice *s = self;
    const omen_piece *last = &s->pieces[s->n - 1];
    if (!s->is_written)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "these records are only read");
    const int status = last->records.append(last->records.self, kind, spans, n, number, why);
    if (status == OMEN_OK && number)
        *number = *number - last->skip + last->first;
    return status;
}

static int splice_begin(void *self, uint32_t kind, uint64_t n_bytes, uint32_t *number, omen_detail *why)
{
    const omen_splice *s = self;
    const omen_piece *last = &s->pieces[s->n - 1];
    const int status = last->records.begin(last->records.self, kind, n_bytes, number, why);
    if (status == OMEN_OK && number)
        *number = *number - last->skip + last->first;
    return status;
}

static int splice_extend(void *self, const void *data, uint64_t n_bytes, omen_detail *why)
{
    const omen_splice *s = self;
    const omen_piece *last = &s->pieces[s->n - 1];
    return last->records.extend(last->records.self, data, n_bytes, why);
}

static int splice_drop(void *self, uint32_t i, uint32_t n, omen_detail *why)
{
    const omen_splice *s = self;
    const omen_piece *last = &s->pieces[s->n - 1];
    return last->records.drop(last->records.self, i - last->first + last->skip, n, why);
}

static int splice_wait(void *self, omen_detail *why)
{
    const omen_splice *s = self;
    const omen_piece *last = &s->pieces[s->n - 1];
    return s->is_written ? last->records.wait(last->records.self, why) : OMEN_OK;
}

int omen_splice_add(omen_splice *s, omen_part *part, uint32_t skip, uint32_t n, omen_detail *why)
{
    if (s->n == s->size) {
        const size_t size = s->size ? 2 * s->size : 16;
        omen_piece *grown = realloc(s->pieces, size * sizeof *grown);
        if (!grown)
            return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the records of shards");
        s->pieces = grown;
        s->size = size;
    }
    uint32_t first = 0;
    if (s->n > 0)
        first = s->pieces[s->n - 1].first + s->pieces[s->n - 1].n;
    s->pieces[s->n++] = (omen_piece){.records = omen_part_checkpoint(part), .skip = skip, .first = first, .n = n};
    return OMEN_OK;
}

omen_checkpoint omen_splice_checkpoint(omen_splice *splice)
{
    omen_checkpoint out = {
        .self = splice,
        .get = splice_get,
        .prove = splice_prove,
        .read = splice_read,
        .append = splice_append,
        .wait = splice_wait,
    };
    if (splice->is_written) {
        out.begin = splice_begin;
        out.extend = splice_extend;
        out.drop = splice->pieces[splice->n - 1].records.drop ? splice_drop : NULL;
    }
    return out;
}

void omen_splice_finish(omen_splice *splice)
{
    free(splice->pieces);
    *splice = (omen_splice){.pieces = NULL};
}

/* ---- one shard ---- */

static int cut_short(const omen_part *part, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_CORRUPT, "\"%.300s\" is damaged: it is not all of a shard; encode it again",
                     omen_part_path(part));
}

int omen_shard_read_head(omen_part *part, omen_shard_info *out, omen_detail *why)
{
    const omen_checkpoint records = omen_part_checkpoint(part);
    omen_shard_info range;
    omen_record record;
    if (!records.get(records.self, 0, &record) || record.kind != SHARD_RECORD_HEAD || record.n_bytes != sizeof *out)
        return cut_short(part, why);
    int status = records.read(records.self, 0, 0, sizeof *out, out, why);
    if (status != OMEN_OK)
        return status;
    if (out->n_rows > UINT32_MAX || out->count < 1 || out->count > out->n_rows || out->number >= out->count)
        return cut_short(part, why);
    omen_shard_range(out->n_rows, out->number, out->count, &range);
    return range.first == out->first && range.n == out->n ? OMEN_OK : cut_short(part, why);
}

int omen_shard_look(omen_part *part, omen_shard_info *out, omen_row_hash *hash, omen_detail *why)
{
    const omen_checkpoint records = omen_part_checkpoint(part);
    omen_record record;
    int status = omen_shard_read_head(part, out, why);
    if (status != OMEN_OK)
        return status;
    omen_row_hash sum = {0, 0};
    *hash = sum;
    uint64_t row = out->first;
    const uint64_t end = out->first + out->n;
    for (uint32_t i = 1; records.get(records.self, i, &record); i++) {
        uint64_t run[SHARD_RUN_HEAD];
        if (record.kind != OMEN_RECORD_RUN || record.n_bytes < sizeof run)
            return cut_short(part, why);
        status = records.read(records.self, i, 0, sizeof run, run, why);
        if (status != OMEN_OK)
            return status;
        if (run[0] != row || run[1] < 1 || run[1] > end - row)
            return cut_short(part, why);
        row += run[1];
        sum.low += run[2];
        sum.high += run[3];
    }
    if (row != end || !omen_part_is_whole(part))
        return cut_short(part, why);
    *hash = sum;
    return OMEN_OK;
}

/* ---- all shards ---- */

static int open_shard(omen_shard *s, const omen_model *model, const char *model_path, omen_progress_fn progress,
                      void *context, omen_detail *why)
{
    int status = omen_part_open_to_read(&s->part, s->path, why);
    if (status == OMEN_ERR_INPUT || (status == OMEN_OK && omen_part_get_kind(s->part) != OMEN_PART_SHARD))
        return omen_fail(why, OMEN_ERR_INPUT, "\"%.300s\" is no shard", s->path);
    if (status != OMEN_OK)
        return status;
    const omen_checkpoint records = omen_part_checkpoint(s->part);
    const uint32_t n = omen_part_count(s->part);
    status = records.prove(records.self, n, progress, context, why);
    if (status != OMEN_OK)
        return status;
    if (omen_part_count(s->part) != n)
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%.300s\" is damaged: a checksum does not match; encode it again",
                         s->path);
    omen_row_hash hash;
    status = omen_shard_look(s->part, &s->info, &hash, why);
    if (status != OMEN_OK)
        return status;
    if (s->info.identity != model->identity || s->info.n_rows != model->info.n_rows)
        return omen_fail(why, OMEN_ERR_INPUT, "\"%.200s\" was encoded with another model than \"%.200s\"", s->path,
                         model_path);
    return OMEN_OK;
}

static int by_rows(const void *a, const void *b)
{
    const omen_shard *x = a, *y = b;
    return x->info.first != y->info.first ? (x->info.first < y->info.first ? -1 : 1) : strcmp(x->path, y->path);
}

/* Whether all shards are of one count, so that those that are missing have numbers. */
static bool have_numbers(const omen_shard *shards, size_t n)
{
    bool same = n > 0;
    for (size_t i = 1; i < n; i++)
        same = same && shards[i].info.count == shards[0].info.count;
    return same;
}

/* Names the missing shards by number: the shards are sorted, and none is there twice. */
static int tell_missing(const omen_shard *shards, size_t n, omen_detail *why)
{
    const uint64_t count = shards[0].info.count, n_missing = count - n;
    char names[MOST_NAMED * 12 + 16] = "";
    size_t length = 0, at = 0;
    unsigned n_named = 0;
    for (uint64_t number = 0; number < count && n_named < MOST_NAMED; number++) {
        if (at < n && shards[at].info.number == number) {
            at++;
            continue;
        }
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%llu", n_named > 0 ? ", " : "",
                                   (unsigned long long)number);
        n_named++;
    }
    return omen_fail(why, OMEN_ERR_INPUT, "%llu of %llu shards %s missing: %s%s", (unsigned long long)n_missing,
                     (unsigned long long)count, n_missing == 1 ? "is" : "are", names,
                     n_missing > n_named ? " and more" : "");
}

static int tell_gap(uint64_t from, uint64_t to, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_INPUT, "rows %llu to %llu are in no shard", (unsigned long long)from,
                     (unsigned long long)to - 1);
}

/* Whether sorted shards have every row once. */
static int check_tiles(const omen_shard *shards, size_t n, uint64_t n_rows, bool *lacks_shards, omen_detail *why)
{
    uint64_t row = 0, gap_from = 0, gap_to = 0;
    for (size_t i = 0; i < n; i++) {
        const omen_shard_info *s = &shards[i].info;
        if (i > 0 && s->first < row)
            return omen_fail(why, OMEN_ERR_INPUT, "\"%.200s\" and \"%.200s\" %s", shards[i - 1].path, shards[i].path,
                             s->first == shards[i - 1].info.first && s->n == shards[i - 1].info.n
                                 ? "are the same shard: merge one of them"
                                 : "have rows in common: they are of two divisions of the input");
        if (s->first > row && gap_to == 0) {
            gap_from = row;
            gap_to = s->first;
        }
        row = s->first + s->n;
    }
    if (row < n_rows && gap_to == 0) {
        gap_from = row;
        gap_to = n_rows;
    }
    *lacks_shards = gap_to > 0;
    if (gap_to == 0)
        return OMEN_OK;
    return have_numbers(shards, n) ? tell_missing(shards, n, why) : tell_gap(gap_from, gap_to, why);
}

/* How many files may stay open: inputs and the index need some too. */
static size_t most_open(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return OMEN_MERGE_OTHER_FILES;
    return limit.rlim_cur > 2 * OMEN_MERGE_OTHER_FILES ? limit.rlim_cur - OMEN_MERGE_OTHER_FILES : limit.rlim_cur / 2;
}

int omen_shard_open_all(omen_shard *out, const char *const *paths, size_t n, const omen_model *model,
                        const char *model_path, bool *lacks_shards, omen_progress_fn progress, void *context,
                        omen_detail *why)
{
    const size_t n_most = most_open();
    int status = OMEN_OK;
    for (size_t i = 0; i < n; i++)
        out[i].path = paths[i];
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        status = open_shard(&out[i], model, model_path, progress, context, why);
        if (status == OMEN_OK && n > n_most && i >= n_most)
            status = omen_part_rest(out[i].part, why);
    }
    if (status != OMEN_OK)
        return status;
    qsort(out, n, sizeof *out, by_rows);
    return check_tiles(out, n, model->info.n_rows, lacks_shards, why);
}

void omen_shard_close_all(omen_shard *shards, size_t n)
{
    for (size_t i = 0; i < n; i++)
        omen_part_close(shards[i].part);
}
