/* SPDX-License-Identifier: Apache-2.0 */
/* What queries find within a distance, while it is being found: keys, as many as there are. */
#include <stdlib.h>
#include <string.h>

#include "lib/keys.h"
#include "lib/matrix.h"
#include "lib/range.h"

#define SIZE_LEAST 16u

static int grow(omen_range *r)
{
    const uint64_t size = r->size ? 2 * r->size : SIZE_LEAST;
    uint64_t *grown = omen_alloc(size, sizeof *grown);
    if (!grown)
        return OMEN_ERR_MEMORY;
    if (r->n)
        memcpy(grown, r->keys, r->n * sizeof *grown);
    free(r->keys);
    r->keys = grown;
    r->size = size;
    return OMEN_OK;
}

int omen_range_add(omen_range *r, uint64_t key, uint64_t limit)
{
    if (r->n == r->size) {
        if (limit && r->n / 2 > limit) { /* one more than the limit tells that there are more */
            omen_keys_select(r->keys, r->n, limit + 1);
            r->n = limit + 1;
        } else if (grow(r) != OMEN_OK) {
            return OMEN_ERR_MEMORY;
        }
    }
    r->keys[r->n++] = key;
    return OMEN_OK;
}

int omen_range_add_new(omen_range *r, uint64_t *keys, uint64_t n, uint64_t limit)
{
    uint64_t n_new = 0, at = 0;
    int status = OMEN_OK;
    if (n == 0)
        return OMEN_OK;
    omen_keys_sort(r->keys, r->n);
    omen_keys_sort(keys, n);
    for (uint64_t i = 0; i < n; i++) {
        while (at < r->n && r->keys[at] < keys[i])
            at++;
        if (at == r->n || r->keys[at] != keys[i])
            keys[n_new++] = keys[i];
    }
    for (uint64_t i = 0; i < n_new && status == OMEN_OK; i++)
        status = omen_range_add(r, keys[i], limit);
    return status;
}

bool omen_range_finish(omen_range *r, uint64_t limit)
{
    const bool is_cut = limit && r->n > limit;
    if (is_cut) {
        omen_keys_select(r->keys, r->n, limit);
        r->n = limit;
    }
    omen_keys_sort(r->keys, r->n);
    return is_cut;
}

void omen_ranges_free(omen_range *ranges, uint64_t n)
{
    for (uint64_t i = 0; ranges && i < n; i++)
        free(ranges[i].keys);
    free(ranges);
}
