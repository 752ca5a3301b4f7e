/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of several indexes: of joint rows, and whether a key stands in two of the indexes. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/index_keys.h"
#include "lib/joint.h"
#include "lib/matrix.h"
#include "lib/watch.h"

int omen_joint_key_of(const omen_joint *joint, uint64_t row, omen_row_key *out, omen_detail *why)
{
    if (row >= joint->first[joint->n])
        return omen_fail(why, OMEN_ERR_ARGUMENT, "row %llu does not exist", (unsigned long long)row);
    const size_t i = omen_joint_part(joint, row);
    return omen_joint_blame(joint, i, omen_index_key_of(joint->indexes[i], row - joint->first[i], out, why), why);
}

int omen_joint_row_of_key(const omen_joint *joint, const omen_row_key *key, int64_t *row, omen_detail *why)
{
    int status = OMEN_OK;
    *row = OMEN_NO_ROW;
    for (size_t i = 0; i < joint->n && status == OMEN_OK && *row == OMEN_NO_ROW; i++) {
        status = omen_joint_blame(joint, i, omen_index_row_of_key(joint->indexes[i], key, row, why), why);
        if (*row != OMEN_NO_ROW)
            *row += (int64_t)joint->first[i];
    }
    return status;
}

/* ---- keys in two indexes ---- */

/* Where the merge is in the sorted keys of one index. */
typedef struct {
    size_t part;
    uint64_t at, row;
    omen_row_key key;
} cursor;

/* The heap of cursors, the one with the smallest key first. */
typedef struct {
    const omen_joint *joint;
    cursor *cursors;
    size_t n;
    omen_detail *why;
} merging;

static int read_cursor(const merging *m, cursor *c)
{
    const int status = omen_index_key_at(m->joint->indexes[c->part], c->at, &c->row, &c->key, m->why);
    return omen_joint_blame(m->joint, c->part, status, m->why);
}

static bool is_before(const cursor *a, const cursor *b)
{
    const int order = omen_row_key_compare(&a->key, &b->key);
    return order < 0 || (order == 0 && a->part < b->part);
}

/* Brings cursor i of the heap to its place among those below it. */
static void sift(merging *m, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < m->n; child++)
            if (is_before(&m->cursors[child], &m->cursors[least]))
                least = child;
        if (least == i)
            return;
        const cursor c = m->cursors[i];
        m->cursors[i] = m->cursors[least];
        m->cursors[least] = c;
        i = least;
    }
}

/* The cursor with the smallest key but that of the heap's top, of two at least. */
static const cursor *second_of(const merging *m)
{
    return m->n < 3 || is_before(&m->cursors[1], &m->cursors[2]) ? &m->cursors[1] : &m->cursors[2];
}

/* Moves the top to its first key that is not before another one: by growing steps, then by halves. */
static int advance(merging *m, const omen_row_key *to)
{
    cursor *c = m->cursors;
    const uint64_t n_rows = m->joint->indexes[c->part]->meta.n_rows;
    uint64_t low = c->at, step = 1; /* low: before it */
    int status = OMEN_OK;
    while (low + step < n_rows) {
        c->at = low + step;
        status = read_cursor(m, c);
        if (status != OMEN_OK)
            return status;
        if (omen_row_key_compare(&c->key, to) >= 0)
            break;
        low += step;
        step *= 2;
    }
    uint64_t high = low + step < n_rows ? low + step : n_rows;
    while (high - low > 1 && status == OMEN_OK) {
        c->at = low + (high - low) / 2;
        status = read_cursor(m, c);
        if (status == OMEN_OK && omen_row_key_compare(&c->key, to) < 0)
            low = c->at;
        else
            high = c->at;
    }
    c->at = high;
    return status == OMEN_OK && high < n_rows ? read_cursor(m, c) : status;
}

static int tell_clash(const merging *m, const cursor *a, const cursor *b)
{
    const cursor *first = a->part < b->part ? a : b, *second = a->part < b->part ? b : a;
    const omen_row_key *key = &a->key;
    char number[24];
    snprintf(number, sizeof number, key->kind == OMEN_KEYS_INT64 ? "%lld" : "%llu", (long long)key->number);
    const bool is_text = key->kind == OMEN_KEYS_TEXT;
    return omen_fail(m->why, OMEN_ERR_INPUT,
                     "key \"%.*s\" stands in two indexes: row %llu of %.150s and row %llu of %.150s",
                     is_text ? key->n_bytes < 80 ? (int)key->n_bytes : 80 : 24, is_text ? key->text : number,
                     (unsigned long long)first->row, m->joint->names[first->part], (unsigned long long)second->row,
                     m->joint->names[second->part]);
}

static int check_kinds(const omen_joint *joint, omen_detail *why)
{
    const uint32_t kind = joint->indexes[0]->keys.head.kind;
    for (size_t i = 0; i < joint->n; i++) {
        const uint32_t own = joint->indexes[i]->keys.head.kind;
        if (own != kind || kind == OMEN_KEYS_NONE)
            return omen_fail(why, OMEN_ERR_ARGUMENT, "the keys of %.150s are %s, and those of %.150s %s",
                             joint->names[0], omen_key_kind_name((omen_key_kind)kind), joint->names[i],
                             omen_key_kind_name((omen_key_kind)own));
    }
    return OMEN_OK;
}

static int merge_keys(merging *m, omen_watch *watch)
{
    int status = OMEN_OK;
    for (; m->n < m->joint->n && status == OMEN_OK; m->n++) {
        m->cursors[m->n] = (cursor){.part = m->n};
        status = read_cursor(m, &m->cursors[m->n]);
    }
    for (size_t i = m->n; i-- > 0 && status == OMEN_OK;)
        sift(m, i);
    for (uint64_t n = 0; status == OMEN_OK && m->n > 1; n++) {
        const cursor *second = second_of(m);
        if (omen_row_key_compare(&m->cursors->key, &second->key) == 0)
            return tell_clash(m, m->cursors, second);
        const omen_row_key to = second->key;
        status = advance(m, &to);
        if (m->cursors->at >= m->joint->indexes[m->cursors->part]->meta.n_rows)
            m->cursors[0] = m->cursors[--m->n];
        sift(m, 0);
        if (n % 4096 == 0 && status == OMEN_OK && omen_watch_stopped(watch))
            status = OMEN_ERR_INTERRUPTED;
    }
    return status;
}

int omen_joint_check_keys(const omen_joint *joint, omen_progress_fn progress, void *context, omen_detail *why)
{
    omen_watch watch = omen_watch_make(progress, context, "keys");
    int status = check_kinds(joint, why);
    if (status != OMEN_OK)
        return status;
    merging m = {.joint = joint, .cursors = omen_alloc(joint->n, sizeof(cursor)), .why = why};
    if (!m.cursors)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    status = merge_keys(&m, &watch);
    free(m.cursors);
    return status == OMEN_ERR_INTERRUPTED ? omen_fail(why, status, "interrupted") : status;
}
