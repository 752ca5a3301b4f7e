/* SPDX-License-Identifier: Apache-2.0 */
/* Queries on the principal axes of an index, by products of bytes where that suffices. */
#ifndef OMEN_QUERY_AXES_H
#define OMEN_QUERY_AXES_H

#include "lib/index.h"

/* Rounds the axes of an index whose lists, codes and graph are open, and decides for which of these they suffice. Where
 * they do not, prepares the transform. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_query_axes_open(omen_index *index) OMEN_MUST_CHECK;
void omen_query_axes_close(omen_index *index);

/* Projects n lifted queries, as omen_transform_project() does: on all axes for the lists, on the first
 * index->axes.n_graph for the graph. work has omen_query_axes_work_bytes() for n, aligned. */
void omen_query_axes_project(const omen_index *index, bool for_graph, const float *lifted, size_t n, float *out,
                             size_t ld, float *tails, void *work);
size_t omen_query_axes_work_bytes(const omen_index *index, size_t n);

#endif
