/* SPDX-License-Identifier: Apache-2.0 */
/* Distances between coarse rows, and the choice of edges by them. All distances are whole numbers that a float holds
 * exactly: d8 times 254^2 is less than 2^24. */
#include <stdlib.h>
#include <string.h>

#include "lib/graph.h"
#include "lib/kernels.h"
#include "lib/matrix.h"

#define ALPHA 1.10f /* a candidate is dropped if it is so many times nearer, squared, to a neighbour already chosen */

int omen_graph_panels_init(omen_graph_panels *p, uint32_t d8)
{
    p->values = omen_alloc((size_t)OMEN_GRAPH_PACKED * d8, 1);
    p->terms = omen_alloc(OMEN_GRAPH_PACKED, sizeof *p->terms);
    p->distances = omen_alloc(OMEN_GRAPH_PACKED, sizeof *p->distances);
    return p->values && p->terms && p->distances ? OMEN_OK : OMEN_ERR_MEMORY;
}

void omen_graph_panels_finish(omen_graph_panels *p)
{
    free(p->values);
    free(p->terms);
    free(p->distances);
}

/* The squared distance of a and b is 2 s - row_term - column_term for s = <a + 128, -b>, row_term = -|a|^2 and
 * column_term = -|b|^2 - 256 (sum of b). */
void omen_graph_pack(omen_graph_panels *p, const uint8_t *coarse, uint32_t d8, const uint32_t *positions, size_t n)
{
    const size_t padded = omen_round_up(n, OMEN_PANEL);
    for (size_t i = 0; i < padded; i++) {
        int8_t *column = p->values + i / OMEN_PANEL * d8 * OMEN_PANEL + i % OMEN_PANEL * 4;
        const uint8_t *row = coarse + (size_t)(positions && i < n ? positions[i] : i) * d8;
        int32_t sum = 0, norm2 = 0;
        for (size_t k = 0; k < d8; k += 4) {
            int8_t four[4] = {0};
            for (size_t t = 0; t < 4 && i < n; t++) {
                four[t] = (int8_t)(128 - row[k + t]);
                sum -= four[t];
                norm2 += four[t] * four[t];
            }
            memcpy(column + k * OMEN_PANEL, four, 4);
        }
        p->terms[i] = -norm2 - 256 * sum;
    }
}

void omen_graph_distances(const omen_graph_panels *p, uint32_t d8, const uint8_t *rows, const int32_t *norms, size_t m,
                          size_t n, float *out)
{
    omen_kernels_get()->matmul_u8(rows, d8, m, p->values, (n + OMEN_PANEL - 1) / OMEN_PANEL, d8, norms, p->terms, out,
                                  OMEN_GRAPH_PACKED);
}

uint32_t omen_graph_prune(const omen_graph_build *b, omen_graph_panels *panels, const uint64_t *keys, uint32_t n,
                          uint32_t most, uint32_t *out)
{
    uint32_t positions[OMEN_GRAPH_PACKED] = {0};
    float own[OMEN_GRAPH_PACKED]; /* distance from the row itself; negative once it is dropped */
    uint32_t n_chosen = 0;
    for (uint32_t i = 0; i < n; i++) {
        positions[i] = (uint32_t)keys[i];
        own[i] = omen_key_distance(keys[i]);
    }
    omen_graph_pack(panels, b->coarse, b->d8, positions, n);
    for (uint32_t i = 0; i < n && n_chosen < most; i++) {
        const uint32_t position = positions[i];
        const int32_t norm = -b->norms[position];
        if (own[i] < 0)
            continue;
        out[n_chosen++] = position;
        if (n_chosen == most)
            break;
        omen_graph_distances(panels, b->d8, b->coarse + (size_t)position * b->d8, &norm, 1, n, panels->distances);
        for (uint32_t j = i + 1; j < n; j++)
            own[j] = ALPHA * panels->distances[j] <= own[j] ? -1 : own[j];
    }
    return n_chosen;
}
