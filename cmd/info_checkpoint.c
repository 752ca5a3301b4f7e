/* SPDX-License-Identifier: Apache-2.0 */
/* omendb info: the checkpoint of a build, or of query --self; a model, a shard. */
#include "cmd/info.h"
#include "cmd/query_checkpoint.h"

#include <string.h>

static double float_of_bits(uint64_t bits)
{
    const uint32_t narrow = (uint32_t)bits;
    float value;

    memcpy(&value, &narrow, sizeof value);
    return (double)value;
}

static int read_query(const omen_checkpoint *records, struct info_checkpoint *out, omen_detail *why)
{
    uint64_t head[QUERY_N_HEAD];
    struct query_counts counts = {.n_done = 0};
    int status = query_checkpoint_look(records, head, &counts, why);

    if (status != OMEN_OK)
        return status;
    out->query.index_checksum = head[QUERY_HEAD_INDEX];
    out->query.k = head[QUERY_HEAD_K];
    out->query.has_within = head[QUERY_HEAD_HAS_WITHIN] != 0;
    out->query.within = float_of_bits(head[QUERY_HEAD_WITHIN]);
    out->query.pairs = head[QUERY_HEAD_PAIRS] != 0;
    out->query.n_done = counts.n_done;
    out->query.n_found = out->query.has_within ? counts.n_found : counts.n_passing;
    return OMEN_OK;
}

/* A model or a shard under its own name is complete, or damaged; under that of a checkpoint it may end anywhere. */
static bool is_complete(const char *path, const struct info_checkpoint *c)
{
    return c->kind != OMEN_PART_CHECKPOINT && strcmp(cmd_extension(path).text, "part") != 0;
}

/* Compares the records with their checksums; of a large file the first, which says what it is of. */
static int prove(struct info *info, const char *path, const omen_part *part, const omen_checkpoint *records,
                 struct info_checkpoint *out, omen_detail *why)
{
    const uint32_t n_found = omen_part_count(part);
    omen_record first;

    if (!out->is_proven && records->get(records->self, 0, &first) && first.n_bytes > INFO_BYTES)
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is damaged: its first record cannot be so long", path);
    const int status =
        records->prove(records->self, out->is_proven ? UINT32_MAX : 1, cmd_progress_update, &info->progress, why);
    cmd_progress_clear(&info->progress);
    out->n_records = omen_part_count(part);
    if (status == OMEN_OK && is_complete(path, out) && out->n_records < n_found)
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is damaged: a checksum does not match", path);
    return status;
}

/* What the records are of. */
static int read_records(const char *path, omen_part *part, const omen_checkpoint *records, struct info_checkpoint *out,
                        omen_detail *why)
{
    out->is_of_query = query_checkpoint_is(records);
    if (out->kind == OMEN_PART_SHARD)
        return is_complete(path, out) ? omen_shard_look(part, &out->shard, &out->row_hash, why)
                                      : omen_shard_read_head(part, &out->shard, why);
    return out->is_of_query ? read_query(records, out, why) : omen_checkpoint_get_info(records, &out->build, why);
}

/* Opens it as the commands that encode with it do. */
static int check_model(struct info *info, const char *path, omen_detail *why)
{
    omen_model model = {.part = NULL};
    const int status = omen_model_open(&model, path, cmd_progress_update, &info->progress, why);

    omen_model_close(&model);
    return status;
}

int info_checkpoint_read(struct info *info, const char *path, struct info_checkpoint *out, omen_detail *why)
{
    omen_part *part = NULL;
    int status = omen_part_open_to_read(&part, path, why);

    if (status != OMEN_OK)
        return status;
    *out = (struct info_checkpoint){.build.struct_bytes = sizeof out->build};
    const omen_checkpoint records = omen_part_checkpoint(part);
    out->n_bytes = omen_part_bytes(part);
    out->is_proven = info->full || out->n_bytes <= INFO_BYTES;
    out->kind = omen_part_get_kind(part);
    out->identity = omen_model_identity(part);
    status = prove(info, path, part, &records, out, why);
    if (status == OMEN_OK && (out->n_records > 0 || is_complete(path, out))) {
        if (out->kind == OMEN_PART_MODEL && out->is_proven && is_complete(path, out))
            status = check_model(info, path, why);
        if (status == OMEN_OK)
            status = read_records(path, part, &records, out, why);
        if (status != OMEN_OK) {
            omen_detail cause = *why;
            const char *text = cmd_cause(status, &cause);

            status = omen_fail(why, status == OMEN_ERR_ARGUMENT ? OMEN_ERR_CORRUPT : status,
                               strstr(text, path) ? "%.0s%.400s" : "\"%.200s\": %.280s", path, text);
        }
    }
    omen_part_close(part);
    return status;
}

/* ---- telling ---- */

static void print_build(const struct info_checkpoint *c)
{
    const omen_checkpoint_info *b = &c->build;

    printf("  input    %s x %u\n", cmd_group(b->n_rows).text, b->d);
    printf("  options  metric %s, codec %s, bytes %u, refine %s, lists %s, seed %llu%s%s\n",
           omen_metric_name(b->metric), omen_codec_name(b->codec), b->bytes, omen_refine_name(b->refine),
           cmd_group(b->n_lists).text, (unsigned long long)b->seed, b->zero_ok ? ", zero rows accepted" : "",
           b->has_tune_queries ? ", efforts measured on queries that were given" : "");
    if (c->kind == OMEN_PART_MODEL)
        printf("  identity %016llx\n", (unsigned long long)c->identity);
    else if (c->is_proven)
        printf("  encoded  %s rows\n", cmd_group(b->n_encoded).text);
}

static void print_query(const struct info_checkpoint *c)
{
    printf("  index    of checksum %016llx\n", (unsigned long long)c->query.index_checksum);
    if (c->query.has_within)
        printf("  asked    all rows within %.9g%s\n", c->query.within, c->query.pairs ? ", as pairs" : "");
    else
        printf("  asked    k %llu\n", (unsigned long long)c->query.k);
    if (c->is_proven) {
        printf("  done     %s rows have searched, and found %s\n", cmd_group(c->query.n_done).text,
               cmd_group(c->query.n_found).text);
    }
}

static void print_shard(const struct info_checkpoint *c)
{
    const omen_shard_info *s = &c->shard;

    printf("  rows     %s to %s of %s: shard %llu of %llu\n", cmd_group(s->first).text,
           cmd_group(s->first + s->n - 1).text, cmd_group(s->n_rows).text, (unsigned long long)s->number,
           (unsigned long long)s->count);
    printf("  model    of identity %016llx\n", (unsigned long long)s->identity);
    if (c->row_hash.low != 0 || c->row_hash.high != 0)
        printf("  hash     of its rows %s\n", cmd_row_hash(&c->row_hash).text);
}

static const char *kind_name(const struct info_checkpoint *c)
{
    return c->kind == OMEN_PART_MODEL ? "model" : c->kind == OMEN_PART_SHARD ? "shard" : "checkpoint";
}

void info_checkpoint_print(const struct info_checkpoint *c)
{
    if (c->n_records == 0) {
        printf("  %s without records, %s bytes\n", kind_name(c), cmd_group(c->n_bytes).text);
        return;
    }
    printf("  %s%s, %u %s, %s bytes (%s)\n", kind_name(c),
           c->kind != OMEN_PART_CHECKPOINT ? ""
           : c->is_of_query                ? " of query --self"
                                           : " of build",
           c->n_records, c->n_records == 1 ? "record" : "records", cmd_group(c->n_bytes).text,
           cmd_human_bytes(c->n_bytes).text);
    if (c->kind == OMEN_PART_SHARD)
        print_shard(c);
    else if (c->is_of_query)
        print_query(c);
    else
        print_build(c);
    if (!c->is_proven)
        printf("  looked   at the first record; --full reads all\n");
}

static json_t *build_object(const struct info_checkpoint *c)
{
    const omen_checkpoint_info *b = &c->build;

    return json_pack("{s:I, s:I, s:s, s:s, s:s, s:I, s:I, s:o, s:b, s:b, s:o}", "rows", (json_int_t)b->n_rows, "d",
                     (json_int_t)b->d, "metric", omen_metric_name(b->metric), "codec", omen_codec_name(b->codec),
                     "refine", omen_refine_name(b->refine), "bytes", (json_int_t)b->bytes, "lists",
                     (json_int_t)b->n_lists, "seed", cmd_json_u64(b->seed), "zero_ok", (int)b->zero_ok, "tune_queries",
                     (int)b->has_tune_queries, "encoded",
                     c->is_proven ? json_integer((json_int_t)b->n_encoded) : json_null());
}

static json_t *query_object(const struct info_checkpoint *c)
{
    char checksum[24];

    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)c->query.index_checksum);
    return json_pack("{s:s, s:o, s:o, s:b, s:o, s:o}", "index_checksum", checksum, "k",
                     c->query.has_within ? json_null() : cmd_json_u64(c->query.k), "within",
                     c->query.has_within ? cmd_json_real(c->query.within) : json_null(), "pairs", (int)c->query.pairs,
                     "done", c->is_proven ? cmd_json_u64(c->query.n_done) : json_null(), "found",
                     c->is_proven ? cmd_json_u64(c->query.n_found) : json_null());
}

static json_t *shard_object(const struct info_checkpoint *c)
{
    const omen_shard_info *s = &c->shard;
    char identity[24];

    snprintf(identity, sizeof identity, "%016llx", (unsigned long long)s->identity);
    return json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I}", "model", identity, "row_hash",
                     cmd_json_row_hash(&c->row_hash), "first", (json_int_t)s->first, "rows", (json_int_t)s->n, "number",
                     (json_int_t)s->number, "count", (json_int_t)s->count, "rows_of_all", (json_int_t)s->n_rows);
}

json_t *info_checkpoint_object(const struct info_checkpoint *c)
{
    const bool is_shard = c->n_records > 0 && c->kind == OMEN_PART_SHARD;
    const bool is_of_build = c->n_records > 0 && !c->is_of_query && !is_shard;

    const bool is_model = is_of_build && c->kind == OMEN_PART_MODEL;
    char identity[24];

    snprintf(identity, sizeof identity, "%016llx", (unsigned long long)c->identity);
    return json_pack("{s:s, s:o, s:I, s:I, s:o, s:o, s:o}", "kind", kind_name(c), "identity",
                     is_model ? json_string(identity) : json_null(), "bytes", (json_int_t)c->n_bytes, "records",
                     (json_int_t)c->n_records, "build", is_of_build ? build_object(c) : json_null(), "query_self",
                     c->is_of_query ? query_object(c) : json_null(), "shard", is_shard ? shard_object(c) : json_null());
}
