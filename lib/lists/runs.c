/* SPDX-License-Identifier: Apache-2.0 */
/* Runs: chunks of encoded rows sorted by list, and their merge.
 *
 * A run in the checkpoint is one record:
 *   u64 row0, u64 n, u64 hash[2], u64 level; u32 first[n_lists + 1]; f32 extremes[n_lists][n_factors][2]; u64 of the
 * truth that the rows bring (neighbours.h); then the parts, each of n items. Rows of a list are in input order within a
 * run, and runs are in input order, so a list is the concatenation of its stretches in all runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/matrix.h"
#include "lib/records.h"
#include "lib/lists/runs.h"
#include "lib/watch.h"

#define WALK_BYTES       (4u << 20)  /* given at a time */
#define WALK_BYTES_A_RUN (64u << 10) /* at least, so that reads stay long */
#define WALK_PLACES      (1u << 18)  /* most entries of the table of places */
#define MOST_LEVELS      5u          /* 64^6 rows are more than there can be */
#define CHECK_ROWS       (1u << 18)  /* row numbers of a run that are looked at together */

static size_t table_bytes(const omen_runs *runs)
{
    return ((size_t)runs->n_lists + 1) * sizeof(uint32_t);
}

static size_t n_extremes(const omen_runs *runs)
{
    return (size_t)runs->n_lists * runs->n_factors * 2;
}

/* What a record of a run of n rows has before its parts. */
static uint64_t before_parts(const omen_runs *runs, uint64_t n)
{
    return sizeof runs->head + table_bytes(runs) + n_extremes(runs) * sizeof(float) +
           omen_neighbours_part_bytes(runs->truth, n);
}

int omen_runs_init(omen_runs *runs, uint32_t n_lists, size_t code_bytes, uint32_t n_factors, size_t refine_bytes,
                   const omen_checkpoint *checkpoint, omen_neighbours *truth)
{
    *runs = (omen_runs){.n_lists = n_lists,
                        .n_factors = n_factors,
                        .code_bytes = code_bytes,
                        .item_bytes = {sizeof(uint32_t), n_factors * sizeof(float) + code_bytes, refine_bytes},
                        .checkpoint = checkpoint,
                        .truth = truth};
    runs->extremes = omen_alloc(n_extremes(runs), sizeof *runs->extremes);
    runs->run_extremes = omen_alloc(n_extremes(runs), sizeof *runs->run_extremes);
    if (!runs->extremes || !runs->run_extremes)
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; i < n_extremes(runs); i += 2) {
        runs->extremes[i] = INFINITY;
        runs->extremes[i + 1] = -INFINITY;
    }
    return OMEN_OK;
}

int omen_runs_reserve(omen_runs *runs, size_t chunk_rows, bool keep)
{
    runs->chunk_rows = chunk_rows;
    runs->keep = keep;
    runs->lists = omen_alloc(chunk_rows, sizeof *runs->lists);
    runs->codes = omen_alloc(chunk_rows, runs->code_bytes);
    runs->factors = omen_alloc(chunk_rows * runs->n_factors, sizeof *runs->factors);
    runs->refine = omen_alloc(chunk_rows, runs->item_bytes[OMEN_RUN_REFINE]);
    return runs->lists && runs->codes && runs->factors && runs->refine ? OMEN_OK : OMEN_ERR_MEMORY;
}

size_t omen_runs_chunk_row_bytes(size_t code_bytes, uint32_t n_factors, size_t refine_bytes)
{
    return 2 * (sizeof(uint32_t) + code_bytes + n_factors * sizeof(float) + refine_bytes);
}

void omen_runs_trim(omen_runs *runs)
{
    free(runs->lists);
    free(runs->codes);
    free(runs->factors);
    free(runs->refine);
    runs->lists = NULL;
    runs->codes = runs->refine = NULL;
    runs->factors = NULL;
}

void omen_runs_finish(omen_runs *runs)
{
    omen_runs_trim(runs);
    for (size_t r = 0; r < runs->n_runs; r++) {
        for (size_t p = 0; p < OMEN_N_RUN_PARTS; p++)
            free(runs->runs[r].parts[p]);
        free(runs->runs[r].first);
    }
    for (size_t p = 0; p < OMEN_N_RUN_PARTS; p++)
        free(runs->spare[p]);
    free(runs->runs);
    free(runs->extremes);
    free(runs->run_extremes);
    memset(runs, 0, sizeof *runs);
}

/* Makes room for one more run and returns it, with an uninitialised table; NULL if out of memory. */
static omen_run *new_run(omen_runs *runs)
{
    if (runs->n_runs == runs->runs_capacity) {
        const size_t capacity = runs->runs_capacity ? 2 * runs->runs_capacity : 16;
        omen_run *grown = realloc(runs->runs, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        runs->runs = grown;
        runs->runs_capacity = capacity;
    }
    omen_run *run = &runs->runs[runs->n_runs];
    *run = (omen_run){.first = omen_alloc((size_t)runs->n_lists + 1, sizeof(uint32_t))};
    if (!run->first)
        return NULL;
    runs->n_runs++;
    return run;
}

static void merge_extremes(omen_runs *runs)
{
    for (size_t i = 0; i < n_extremes(runs); i += 2) {
        const float lo = runs->run_extremes[i], hi = runs->run_extremes[i + 1];
        runs->extremes[i] = lo < runs->extremes[i] ? lo : runs->extremes[i];
        runs->extremes[i + 1] = hi > runs->extremes[i + 1] ? hi : runs->extremes[i + 1];
    }
}

/* ---- adding ---- */

/* Fills run->first, and order with the chunk's rows by list. */
static int sort_rows(const omen_runs *runs, omen_run *run, uint64_t n, uint32_t *order)
{
    uint32_t *at = omen_alloc(runs->n_lists, sizeof *at);
    if (!at)
        return OMEN_ERR_MEMORY;
    memset(run->first, 0, table_bytes(runs));
    for (uint64_t i = 0; i < n; i++)
        run->first[runs->lists[i] + 1]++;
    for (size_t l = 0; l < runs->n_lists; l++)
        run->first[l + 1] += run->first[l];
    memcpy(at, run->first, runs->n_lists * sizeof *at);
    for (uint64_t i = 0; i < n; i++)
        order[at[runs->lists[i]]++] = (uint32_t)i;
    free(at);
    return OMEN_OK;
}

/* Copies the chunk into the sorted parts; order is turned from rows of the chunk into rows of the input. */
static void copy_sorted(omen_runs *runs, const omen_run *run, uint32_t *order)
{
    const size_t n_factors = runs->n_factors, factor_bytes = n_factors * sizeof(float);
    const size_t code_item = runs->item_bytes[OMEN_RUN_CODES], refine_item = runs->item_bytes[OMEN_RUN_REFINE];
#pragma omp parallel for schedule(dynamic, 16)
    for (size_t l = 0; l < runs->n_lists; l++) {
        float *extremes = runs->run_extremes + l * n_factors * 2;
        for (size_t f = 0; f < n_factors; f++) {
            extremes[2 * f] = INFINITY;
            extremes[2 * f + 1] = -INFINITY;
        }
        for (size_t i = run->first[l]; i < run->first[l + 1]; i++) {
            const size_t row = order[i];
            uint8_t *item = run->parts[OMEN_RUN_CODES] + i * code_item;
            for (size_t f = 0; f < n_factors; f++) {
                const float x = runs->factors[row * n_factors + f];
                extremes[2 * f] = x < extremes[2 * f] ? x : extremes[2 * f];
                extremes[2 * f + 1] = x > extremes[2 * f + 1] ? x : extremes[2 * f + 1];
            }
            memcpy(item, runs->factors + row * n_factors, factor_bytes);
            memcpy(item + factor_bytes, runs->codes + row * runs->code_bytes, runs->code_bytes);
            memcpy(run->parts[OMEN_RUN_REFINE] + i * refine_item, runs->refine + row * refine_item, refine_item);
            order[i] = (uint32_t)(run->row0 + row);
        }
    }
}

int omen_runs_add(omen_runs *runs, uint64_t row0, uint64_t n, const omen_row_hash *hash, omen_detail *why)
{
    const omen_checkpoint *c = runs->checkpoint;
    /* the checkpoint may still be writing the run before, out of the same buffers */
    int status = c ? c->wait(c->self, why) : OMEN_OK;
    if (status != OMEN_OK)
        return status;
    omen_run *run = new_run(runs), *last = run && runs->n_runs > 1 ? run - 1 : NULL;
    for (size_t p = 0; p < OMEN_N_RUN_PARTS && run; p++) {
        if (!runs->keep && last && last->parts[p]) { /* its room is used again */
            run->parts[p] = last->parts[p];
            last->parts[p] = NULL;
        } else if (runs->spare[p]) {
            run->parts[p] = runs->spare[p];
            runs->spare[p] = NULL;
        } else {
            run->parts[p] = omen_alloc(runs->chunk_rows, runs->item_bytes[p]);
        }
    }
    uint32_t *order = run ? (uint32_t *)(void *)run->parts[OMEN_RUN_ROWS] : NULL;
    if (!run || !order || !run->parts[OMEN_RUN_CODES] || !run->parts[OMEN_RUN_REFINE] ||
        sort_rows(runs, run, n, order) != OMEN_OK)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a chunk of %llu rows", (unsigned long long)n);
    run->row0 = row0;
    run->n_rows = n;
    run->hash = *hash;
    copy_sorted(runs, run, order);
    merge_extremes(runs);
    omen_neighbours_end_chunk(runs->truth, n);
    if (!c)
        return OMEN_OK;
    runs->head[0] = row0;
    runs->head[1] = n;
    runs->head[2] = hash->low;
    runs->head[3] = hash->high;
    runs->head[4] = 0;
    const omen_span spans[] = {
        {runs->head, sizeof runs->head},
        {run->first, table_bytes(runs)},
        {runs->run_extremes, n_extremes(runs) * sizeof(float)},
        {runs->truth->part, omen_neighbours_part_bytes(runs->truth, n)},
        {run->parts[0], n * runs->item_bytes[0]},
        {run->parts[1], n * runs->item_bytes[1]},
        {run->parts[2], n * runs->item_bytes[2]},
    };
    return c->append(c->self, OMEN_RECORD_RUN, spans, sizeof spans / sizeof *spans, &run->record, why);
}

/* ---- taking over ---- */

int omen_runs_read(const omen_runs *runs, size_t r, omen_run_part part, uint64_t i, uint64_t n, uint8_t *out,
                   omen_detail *why)
{
    const omen_run *run = &runs->runs[r];
    const size_t item_bytes = runs->item_bytes[part];
    if (n == 0)
        return OMEN_OK;
    if (run->parts[part]) {
        memcpy(out, run->parts[part] + i * item_bytes, n * item_bytes);
        return OMEN_OK;
    }
    uint64_t at = before_parts(runs, run->n_rows);
    for (size_t p = 0; p < part; p++)
        at += run->n_rows * runs->item_bytes[p];
    return runs->checkpoint->read(runs->checkpoint->self, run->record, at + i * item_bytes, n * item_bytes, out, why);
}

/* A list with rows has finite extremes in order, one without has none. */
static bool extremes_are_sound(const omen_runs *runs, const omen_run *run)
{
    bool sound = true;
    for (size_t l = 0; l < runs->n_lists; l++) {
        const bool is_empty = run->first[l] == run->first[l + 1];
        for (size_t f = 0; f < runs->n_factors; f++) {
            const float *x = runs->run_extremes + (l * runs->n_factors + f) * 2;
            sound &=
                is_empty ? x[0] == INFINITY && x[1] == -INFINITY : isfinite(x[0]) && isfinite(x[1]) && x[0] <= x[1];
        }
    }
    return sound;
}

/* Whether the row numbers are those of the run, each once, and rise within a list. */
static int check_rows(const omen_runs *runs, size_t r, bool *sound, omen_detail *why)
{
    const omen_run *run = &runs->runs[r];
    const size_t most = CHECK_ROWS < run->n_rows ? CHECK_ROWS : (size_t)run->n_rows;
    uint32_t *rows = omen_alloc(most, sizeof *rows), before = 0;
    uint8_t *seen = omen_alloc_zero(run->n_rows / 8 + 1, 1);
    int status = rows && seen ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint's runs");
    size_t list = 0;
    *sound = true;
    for (uint64_t i0 = 0; i0 < run->n_rows && status == OMEN_OK && *sound; i0 += most) {
        const uint64_t n = run->n_rows - i0 < most ? run->n_rows - i0 : most;
        status = omen_runs_read(runs, r, OMEN_RUN_ROWS, i0, n, (uint8_t *)rows, why);
        for (uint64_t i = i0; i < i0 + n && status == OMEN_OK && *sound; i++) {
            const uint64_t row = (uint64_t)rows[i - i0] - run->row0; /* of the run; wraps beyond its rows */
            while (run->first[list + 1] <= i)
                list++;
            *sound = row < run->n_rows && !(seen[row / 8] >> row % 8 & 1) &&
                     (i == run->first[list] || rows[i - i0] > before);
            if (*sound)
                seen[row / 8] |= (uint8_t)(1u << row % 8);
            before = rows[i - i0];
        }
    }
    free(rows);
    free(seen);
    return status;
}

int omen_runs_restore(omen_runs *runs, uint32_t record, uint64_t record_bytes, uint64_t row0, uint64_t n_rows,
                      omen_detail *why)
{
    const omen_checkpoint *c = runs->checkpoint;
    const size_t extreme_bytes = n_extremes(runs) * sizeof(float);
    uint64_t head[OMEN_RUN_HEAD] = {0};
    int status = OMEN_OK;
    if (record_bytes < sizeof head + table_bytes(runs) + extreme_bytes)
        return omen_records_contradiction(why);
    omen_run *run = new_run(runs);
    if (!run)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint's runs");
    run->record = record;
    status = c->read(c->self, record, 0, sizeof head, head, why);
    if (status == OMEN_OK)
        status = c->read(c->self, record, sizeof head, table_bytes(runs), run->first, why);
    if (status == OMEN_OK)
        status = c->read(c->self, record, sizeof head + table_bytes(runs), extreme_bytes, runs->run_extremes, why);
    if (status != OMEN_OK)
        return status;
    run->row0 = head[0];
    run->n_rows = head[1];
    run->hash = (omen_row_hash){.low = head[2], .high = head[3]};
    run->level = (uint32_t)head[4];
    if (run->row0 != row0 || run->n_rows < 1 || run->n_rows > n_rows - row0 || head[4] > MOST_LEVELS)
        return omen_records_contradiction(why);
    /* no more than 2^32 rows of some 2^19 bytes */
    uint64_t n_bytes = before_parts(runs, run->n_rows);
    for (size_t p = 0; p < OMEN_N_RUN_PARTS; p++)
        n_bytes += run->n_rows * runs->item_bytes[p];
    bool sound = n_bytes == record_bytes && run->first[0] == 0 && run->first[runs->n_lists] == run->n_rows;
    for (size_t l = 0; l < runs->n_lists; l++)
        sound = sound && run->first[l] <= run->first[l + 1];
    sound = sound && extremes_are_sound(runs, run);
    if (sound)
        status = c->read(c->self, record, sizeof head + table_bytes(runs) + extreme_bytes,
                         omen_neighbours_part_bytes(runs->truth, run->n_rows), runs->truth->part, why);
    sound = sound && status == OMEN_OK && omen_neighbours_join(runs->truth, run->row0, run->n_rows);
    if (sound)
        status = check_rows(runs, runs->n_runs - 1, &sound, why);
    if (status != OMEN_OK)
        return status;
    if (!sound)
        return omen_records_contradiction(why);
    merge_extremes(runs);
    return OMEN_OK;
}

omen_row_hash omen_runs_hash(const omen_runs *runs)
{
    omen_row_hash out = {0, 0};
    for (size_t r = 0; r < runs->n_runs; r++)
        omen_row_hash_join(&out, &runs->runs[r].hash);
    return out;
}

/* ---- reading back ---- */

size_t omen_runs_walk_bytes(size_t n_runs, uint64_t n_bytes)
{
    const size_t least = n_runs * WALK_BYTES_A_RUN, room = least > WALK_BYTES ? least : WALK_BYTES;
    return 2 * (n_bytes < room ? n_bytes : room) + WALK_PLACES * sizeof(uint32_t);
}

typedef struct {
    const omen_runs *runs;
    omen_run_part part;
    omen_run_fn fn;
    void *context;
    omen_detail *why;
    uint64_t most; /* items that raw and items hold */
    uint8_t *raw, *items;
    uint32_t *places; /* of each list of the stretch in each run, in items */
    uint64_t *raw_at; /* of each run's items in raw */
} walk;

static uint64_t list_rows(const omen_runs *runs, size_t from, size_t to)
{
    uint64_t n = 0;
    for (size_t r = 0; r < runs->n_runs; r++)
        n += runs->runs[r].first[to] - runs->runs[r].first[from];
    return n;
}

/* A list of more rows than fit: its runs one after the other are in order already. */
static int give_list(walk *w, size_t list)
{
    int status = OMEN_OK;
    for (size_t r = 0; r < w->runs->n_runs; r++) {
        const uint32_t *first = w->runs->runs[r].first + list;
        for (uint64_t i = first[0]; i < first[1] && status == OMEN_OK; i += w->most) {
            const uint64_t n = first[1] - i < w->most ? first[1] - i : w->most;
            status = omen_runs_read(w->runs, r, w->part, i, n, w->items, w->why);
            if (status == OMEN_OK)
                status = w->fn(w->context, w->items, n, w->why);
        }
    }
    return status;
}

/* Lists [from, to), which fit: each run's stretch is read at once, then dealt out to its lists. */
static int give_stretch(walk *w, size_t from, size_t to, uint64_t n)
{
    const omen_runs *runs = w->runs;
    const size_t n_runs = runs->n_runs, item_bytes = runs->item_bytes[w->part];
    int status = OMEN_OK;
    uint32_t place = 0;
    for (size_t l = from; l < to; l++) {
        for (size_t r = 0; r < n_runs; r++) {
            w->places[(l - from) * n_runs + r] = place;
            place += runs->runs[r].first[l + 1] - runs->runs[r].first[l];
        }
    }
    uint64_t at = 0;
    for (size_t r = 0; r < n_runs; r++) {
        w->raw_at[r] = at;
        at += runs->runs[r].first[to] - runs->runs[r].first[from];
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t r = 0; r < n_runs; r++) {
        const uint32_t *first = runs->runs[r].first;
        const uint8_t *in_memory = runs->runs[r].parts[w->part];
        uint8_t *room = w->raw + w->raw_at[r] * item_bytes;
        const uint8_t *raw = in_memory ? in_memory + first[from] * item_bytes : room;
        omen_detail why = {""};
        const int failed =
            in_memory ? OMEN_OK : omen_runs_read(runs, r, w->part, first[from], first[to] - first[from], room, &why);
        if (failed != OMEN_OK) {
#pragma omp critical(omen_runs)
            {
                status = failed;
                if (w->why)
                    *w->why = why;
            }
            continue;
        }
        for (size_t l = from; l < to; l++)
            memcpy(w->items + w->places[(l - from) * n_runs + r] * item_bytes,
                   raw + (first[l] - first[from]) * item_bytes, (first[l + 1] - first[l]) * item_bytes);
    }
    return status == OMEN_OK ? w->fn(w->context, w->items, n, w->why) : status;
}

/* The only run is in list order as it is. */
static int give_only_run(walk *w)
{
    const uint64_t n = w->runs->runs[0].n_rows;
    int status = OMEN_OK;
    for (uint64_t i = 0; i < n && status == OMEN_OK; i += w->most)
        status = w->fn(w->context, w->runs->runs[0].parts[w->part] + i * w->runs->item_bytes[w->part],
                       n - i < w->most ? n - i : w->most, w->why);
    return status;
}

int omen_runs_walk(const omen_runs *runs, omen_run_part part, omen_run_fn fn, void *context, omen_detail *why)
{
    const size_t item_bytes = runs->item_bytes[part];
    const size_t least = runs->n_runs * WALK_BYTES_A_RUN, room = least > WALK_BYTES ? least : WALK_BYTES;
    walk w = {.runs = runs, .part = part, .fn = fn, .context = context, .why = why};
    const uint64_t n_items = list_rows(runs, 0, runs->n_lists);
    w.most = room > item_bytes ? room / item_bytes : 1;
    w.most = w.most > n_items ? n_items : w.most;
    if (runs->n_runs == 1 && runs->runs[0].parts[part])
        return give_only_run(&w);
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a walk is of a run at least */
    const size_t most_lists = WALK_PLACES / runs->n_runs ? WALK_PLACES / runs->n_runs : 1;
    w.raw = omen_alloc(w.most, item_bytes);
    w.items = omen_alloc(w.most, item_bytes);
    w.places = omen_alloc(most_lists * runs->n_runs, sizeof *w.places);
    w.raw_at = omen_alloc(runs->n_runs, sizeof *w.raw_at);
    int status = OMEN_OK;
    if (!w.raw || !w.items || !w.places || !w.raw_at)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the runs in list order");
    for (size_t from = 0, to; from < runs->n_lists && status == OMEN_OK; from = to) {
        uint64_t n = list_rows(runs, from, from + 1), more;
        for (to = from + 1; to < runs->n_lists && to - from < most_lists; to++, n += more) {
            more = list_rows(runs, to, to + 1);
            if (n + more > w.most)
                break;
        }
        status = n > w.most ? give_list(&w, from) : give_stretch(&w, from, to, n);
    }
    free(w.raw);
    free(w.items);
    free(w.places);
    free(w.raw_at);
    return status;
}

/* ---- several runs as one ---- */

typedef struct {
    const omen_checkpoint *to;
    size_t item_bytes;
    omen_watch *watch;
} merge_target;

static int give_on(void *context, const uint8_t *items, uint64_t n, omen_detail *why)
{
    const merge_target *t = context;
    if (omen_watch_stopped(t->watch))
        return omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
    return t->to->extend(t->to->self, items, n * t->item_bytes, why);
}

/* What the record of several runs has before its parts: of the runs themselves, and read from their records. */
typedef struct {
    omen_run run;
    uint64_t head[OMEN_RUN_HEAD];
    float *extremes;
    omen_neighbours truth; /* the keys of these runs alone */
} merged_head;

static void head_finish(merged_head *h)
{
    free(h->run.first);
    free(h->extremes);
    free(h->truth.keys);
    free(h->truth.part);
}

/* Adds what one run has. */
static int add_run(const omen_runs *runs, const omen_run *run, merged_head *h, omen_detail *why)
{
    const omen_checkpoint *c = runs->checkpoint;
    const size_t n = n_extremes(runs);
    const uint64_t at = sizeof runs->head + table_bytes(runs);
    h->run.n_rows += run->n_rows;
    omen_row_hash_join(&h->run.hash, &run->hash);
    for (size_t l = 0; l <= runs->n_lists; l++)
        h->run.first[l] += run->first[l];
    int status = c->read(c->self, run->record, at, n * sizeof(float), h->extremes + n, why);
    for (size_t i = 0; i < n && status == OMEN_OK; i += 2) {
        const float lo = h->extremes[n + i], hi = h->extremes[n + i + 1];
        h->extremes[i] = lo < h->extremes[i] ? lo : h->extremes[i];
        h->extremes[i + 1] = hi > h->extremes[i + 1] ? hi : h->extremes[i + 1];
    }
    if (status == OMEN_OK)
        status = c->read(c->self, run->record, at + n * sizeof(float),
                         omen_neighbours_part_bytes(&h->truth, run->n_rows), h->truth.part, why);
    return status == OMEN_OK && !omen_neighbours_join(&h->truth, run->row0, run->n_rows)
               ? omen_records_contradiction(why)
               : status;
}

static int head_init(const omen_runs *runs, uint32_t level, merged_head *h, omen_detail *why)
{
    const size_t n = n_extremes(runs), n_keys = (size_t)runs->truth->n_queries * runs->truth->k;
    *h = (merged_head){.run = {.row0 = runs->runs[0].row0, .level = level}, .truth = *runs->truth};
    h->truth.keys = omen_alloc(n_keys + 1, sizeof *h->truth.keys);
    h->truth.part = omen_alloc(n_keys + 1, sizeof *h->truth.part);
    h->run.first = omen_alloc_zero((size_t)runs->n_lists + 1, sizeof *h->run.first);
    h->extremes = omen_alloc(2 * n + 1, sizeof *h->extremes);
    if (!h->truth.keys || !h->truth.part || !h->run.first || !h->extremes)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for runs that are merged");
    memset(h->truth.keys, 0xff, n_keys * sizeof *h->truth.keys);
    for (size_t i = 0; i < n; i += 2) {
        h->extremes[i] = INFINITY;
        h->extremes[i + 1] = -INFINITY;
    }
    int status = OMEN_OK;
    for (size_t r = 0; r < runs->n_runs && status == OMEN_OK; r++)
        status = add_run(runs, &runs->runs[r], h, why);
    const size_t each = omen_neighbours_part_keys(&h->truth, h->run.n_rows);
    for (size_t q = 0; q < h->truth.n_queries; q++)
        memcpy(h->truth.part + q * each, h->truth.keys + q * h->truth.k, each * sizeof *h->truth.part);
    const uint64_t head[OMEN_RUN_HEAD] = {h->run.row0, h->run.n_rows, h->run.hash.low, h->run.hash.high, level};
    memcpy(h->head, head, sizeof head);
    return status;
}

/* Writes runs as one record, whose run h gets; none is on its way into the checkpoint any more. */
static int write_merged(const omen_runs *runs, uint32_t level, const omen_checkpoint *to, merged_head *h,
                        omen_watch *watch, omen_detail *why)
{
    int status = head_init(runs, level, h, why);
    if (status != OMEN_OK)
        return status;
    uint64_t n_bytes = before_parts(runs, h->run.n_rows);
    for (size_t p = 0; p < OMEN_N_RUN_PARTS; p++)
        n_bytes += h->run.n_rows * runs->item_bytes[p];
    const omen_span spans[] = {{h->head, sizeof h->head},
                               {h->run.first, table_bytes(runs)},
                               {h->extremes, n_extremes(runs) * sizeof(float)},
                               {h->truth.part, omen_neighbours_part_bytes(&h->truth, h->run.n_rows)}};
    status = to->begin(to->self, OMEN_RECORD_RUN, n_bytes, &h->run.record, why);
    for (size_t i = 0; i < sizeof spans / sizeof *spans && status == OMEN_OK; i++)
        status = to->extend(to->self, spans[i].data, spans[i].n_bytes, why);
    for (size_t p = 0; p < OMEN_N_RUN_PARTS && status == OMEN_OK; p++) {
        merge_target target = {.to = to, .item_bytes = runs->item_bytes[p], .watch = watch};
        if (target.item_bytes > 0)
            status = omen_runs_walk(runs, (omen_run_part)p, give_on, &target, why);
    }
    return status;
}

int omen_runs_write_whole(const omen_runs *runs, const omen_checkpoint *to, omen_watch *watch, omen_detail *why)
{
    const omen_checkpoint *c = runs->checkpoint;
    merged_head h = {.extremes = NULL};
    int status = c->wait(c->self, why);
    if (status == OMEN_OK)
        status = write_merged(runs, 0, to, &h, watch, why);
    head_finish(&h);
    return status;
}

uint64_t omen_runs_most(uint64_t n_chunks)
{
    uint64_t most = 0;
    for (; n_chunks > 0; n_chunks /= OMEN_RUN_FAN)
        most += n_chunks < OMEN_RUN_FAN ? n_chunks : OMEN_RUN_FAN;
    return most;
}

/* Puts the last run in the place of those from number `from` on. */
static void replace_runs(omen_runs *runs, size_t from)
{
    const size_t n = runs->n_runs - 1;
    for (size_t r = from; r < n; r++) {
        for (size_t p = 0; p < OMEN_N_RUN_PARTS; p++) {
            uint8_t *kept = runs->runs[r].parts[p] ? runs->runs[r].parts[p] : runs->spare[p];
            if (kept != runs->spare[p])
                free(runs->spare[p]);
            runs->spare[p] = kept;
        }
        free(runs->runs[r].first);
    }
    runs->runs[from] = runs->runs[n];
    runs->n_runs = from + 1;
}

/* Merges runs from number `from` on, and lets the one that stands for them take their place. */
static int merge_from(omen_runs *runs, size_t from, omen_watch *watch, omen_detail *why)
{
    const omen_checkpoint *c = runs->checkpoint;
    omen_runs some = *runs;
    merged_head h = {.extremes = NULL};
    some.runs += from;
    some.n_runs -= from;
    int status = c->wait(c->self, why);
    if (status == OMEN_OK)
        status = write_merged(&some, some.runs[0].level + 1, c, &h, watch, why);
    omen_run *run = status == OMEN_OK ? new_run(runs) : NULL;
    if (status == OMEN_OK && !run)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for runs that are merged");
    if (status == OMEN_OK) {
        const uint32_t first = runs->runs[from].record;
        free(run->first);
        *run = h.run;
        h.run.first = NULL;
        replace_runs(runs, from);
        /* all records between are of these runs, or dropped before */
        status = c->drop(c->self, first, h.run.record - first, why);
    }
    head_finish(&h);
    return status;
}

int omen_runs_merge_levels(omen_runs *runs, omen_watch *watch, omen_detail *why)
{
    const omen_checkpoint *c = runs->checkpoint;
    int status = OMEN_OK;
    while (status == OMEN_OK && c && c->begin && c->drop && !runs->keep && runs->n_runs >= OMEN_RUN_FAN) {
        const size_t from = runs->n_runs - OMEN_RUN_FAN;
        const uint32_t level = runs->runs[runs->n_runs - 1].level;
        bool are_alike = level < MOST_LEVELS;
        for (size_t r = from; r < runs->n_runs; r++)
            are_alike = are_alike && runs->runs[r].level == level;
        if (!are_alike)
            break;
        status = merge_from(runs, from, watch, why);
    }
    return status;
}
