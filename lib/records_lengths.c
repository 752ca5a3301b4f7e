/* SPDX-License-Identifier: Apache-2.0 */
/* How long the records of a build can be, so that no more of a checkpoint is read than a build can have written. */
#include "lib/build_state.h"
#include "lib/matrix.h"
#include "lib/records.h"
#include "lib/refine.h"

/* The most that a record of a training stage has: its arrays with counts as large as options and rows allow. No product
 * overflows. */
static uint64_t most_bytes(omen_record_kind kind, const omen_source *source, const omen_build_options *o,
                           uint32_t n_lists)
{
    const omen_records *r = NULL;
    const uint32_t d_full = source->d + (o->metric == OMEN_METRIC_IP);
    const uint32_t d_kept = (uint32_t)least(d_full, (size_t)BUILD_KEPT_DIMS_A_BYTE * o->bytes);
    omen_model_part parts[OMEN_MODEL_PARTS];
    uint64_t most = 0;
    switch (kind) {
    case OMEN_RECORD_TRANSFORM: {
        omen_transform t = {.d_full = d_full, .d_kept = d_kept};
        size_t n = omen_transform_parts(&t, parts);
        n += omen_refine_parts(NULL, source->d, true, parts + n);
        return sizeof r->transform + omen_model_parts_bytes(parts, n);
    }
    case OMEN_RECORD_PARTITION: {
        omen_partition p = {.n_lists = n_lists, .n_parents = omen_partition_parents(n_lists), .d = d_kept};
        return sizeof r->partition + omen_model_parts_bytes(parts, omen_partition_parts(&p, parts));
    }
    case OMEN_RECORD_QUERIES:
        return sizeof r->queries + OMEN_NEIGHBOURS_QUERIES * (uint64_t)source->d * sizeof(float);
    default: /* OMEN_RECORD_CODEC: the longest of the codecs */
        for (uint32_t codec = 1; codec <= OMEN_N_CODECS; codec++) {
            omen_codec_model m = {
                .kind = codec, .d = d_kept, .n_sub = 2 * o->bytes, .n_active = d_kept, .d_used = d_kept};
            const uint64_t n_bytes = omen_model_parts_bytes(parts, omen_codec_parts(&m, parts));
            most = n_bytes > most ? n_bytes : most;
        }
        return sizeof r->codec + most;
    }
}

static bool is_of_graph(uint32_t kind)
{
    return kind == OMEN_RECORD_LINKS || kind == OMEN_RECORD_EDGES;
}

int omen_records_check_lengths(const omen_source *source, const omen_build_options *o, uint32_t n_lists,
                               const omen_checkpoint *checkpoint, omen_detail *why)
{
    const uint64_t row_bytes =
        sizeof(uint32_t) + OMEN_MAX_FACTORS * sizeof(float) + o->bytes + omen_refine_row_bytes(o->refine, source->d);
    const uint64_t table_bytes = OMEN_RUN_HEAD * sizeof(uint64_t) + 4 * ((uint64_t)n_lists + 1) +
                                 (uint64_t)n_lists * OMEN_MAX_FACTORS * 2 * sizeof(float) +
                                 OMEN_NEIGHBOURS_QUERIES * (uint64_t)OMEN_NEIGHBOURS_MOST * sizeof(uint64_t);
    /* of all runs together, besides their tables; twice, as one may stand for others that are not dropped yet */
    uint64_t rows_left_bytes = 2 * source->n_rows * row_bytes;
    /* of the graph's edges, each twice; twice, as those of another degree may be there still */
    uint64_t edges_left_bytes = source->n_rows * 4 * OMEN_MAX_DEGREE * sizeof(uint32_t);
    bool has_edges = false;
    omen_record record;
    for (uint32_t i = 1; checkpoint->get(checkpoint->self, i, &record); i++) {
        const omen_record_kind expected =
            i < OMEN_RECORD_RUN - OMEN_RECORD_HEAD ? OMEN_RECORD_HEAD + i : OMEN_RECORD_RUN;
        if (expected == OMEN_RECORD_RUN && record.kind == OMEN_RECORD_DROPPED)
            continue;
        if (expected == OMEN_RECORD_RUN && is_of_graph(record.kind)) {
            const uint64_t n_bytes = record.n_bytes - least(record.n_bytes, OMEN_GRAPH_HEAD * sizeof(uint64_t));
            has_edges = true;
            if (n_bytes > edges_left_bytes)
                return omen_records_contradiction(why);
            edges_left_bytes -= n_bytes;
            continue;
        }
        if (record.kind != expected || has_edges)
            return omen_records_contradiction(why);
        if (expected != OMEN_RECORD_RUN) {
            if (record.n_bytes > most_bytes(expected, source, o, n_lists))
                return omen_records_contradiction(why);
            continue;
        }
        const uint64_t rows_bytes = record.n_bytes > table_bytes ? record.n_bytes - table_bytes : 0;
        if (rows_bytes > rows_left_bytes)
            return omen_records_contradiction(why);
        rows_left_bytes -= rows_bytes;
    }
    return OMEN_OK;
}
