/* SPDX-License-Identifier: Apache-2.0 */
/* Codes in place of vectors: written, told what they are worth, and turned into rows again. */
#include "cmd/compress.h"

#include <stdio.h>
#include <string.h>

/* Bytes of each part of the written file. */
static int take_account(struct compress *c, const omen_writer *writer, const omen_source *original, omen_detail *why)
{
    struct account *a = &c->account;
    omen_container *container = NULL;
    omen_codes *codes = NULL;
    const omen_section *sections = NULL;
    size_t n = 0;
    int status = omen_writer_open(writer, &container, why);

    if (status == OMEN_OK) {
        sections = omen_container_sections(container, &n);
        status = omen_codes_open(&codes, sections, n, why);
    }
    if (status == OMEN_OK) {
        a->info.struct_bytes = sizeof a->info;
        status = omen_codes_get_info(codes, &a->info);
    }
    if (status == OMEN_OK) {
        a->quality.struct_bytes = sizeof a->quality;
        a->container = omen_container_file_bytes(container);
        for (size_t i = 0; i < n; i++) {
            const uint32_t id = sections[i].id, per_code = a->info.code_bytes, per_factor = a->info.factor_bytes;
            const uint64_t n_bytes = sections[i].n_bytes;

            a->container -= n_bytes;
            if (id == OMEN_SECTION_CODE) {
                a->codes = n_bytes / (per_code + per_factor) * per_code;
                a->factors = n_bytes - a->codes;
            } else if (id == OMEN_SECTION_REFN) {
                a->refine = n_bytes;
            } else if (id == OMEN_SECTION_SUBS || id == OMEN_SECTION_DIMS || id == OMEN_SECTION_CODB) {
                a->codebooks += n_bytes;
            } else if (id == OMEN_SECTION_ROTA || id == OMEN_SECTION_BASE) {
                a->rotation += n_bytes;
            } else {
                a->rest += n_bytes;
            }
        }
        status =
            omen_codes_measure(codes, original, c->seed, c->n_threads, compress_show_progress, c, &a->quality, why);
    }
    omen_codes_close(codes);
    omen_container_close(container);
    return status;
}

/* Codes: an index of one list without row numbers. */
static int write_codes(struct compress *c, const omen_source *source, omen_detail *why)
{
    const bool is_refine = strcmp(c->codec, "sq8") == 0 || strcmp(c->codec, "f16") == 0;
    omen_build_options options;
    omen_writer *writer = NULL;
    omen_sink sink;
    int status;

    omen_build_options_init(&options);
    options.codes_only = true;
    options.lists.n = 1;
    options.seed = c->seed;
    options.n_threads = c->n_threads;
    options.bytes = c->bytes != 0 ? c->bytes : OMEN_DEFAULT_BYTES;
    options.codec = OMEN_CODEC_NONE;
    options.refine = OMEN_REFINE_NONE;
    status = is_refine ? omen_refine_parse(c->codec, &options.refine) : omen_codec_parse(c->codec, &options.codec);
    options.progress = compress_show_progress;
    options.progress_context = c;
    if (status == OMEN_OK)
        status = omen_writer_create_like(&writer, c->output, compress_like(c), why);
    if (status != OMEN_OK)
        return status;
    sink = omen_writer_sink(writer);
    status = omen_index_build(source, &options, &sink, NULL, NULL, why);
    if (status == OMEN_OK)
        status = compress_commit(c, writer, why);
    c->seconds = cmd_seconds() - c->started; /* what follows is the account, not the work */
    if (status == OMEN_OK)
        status = take_account(c, writer, source, why);
    omen_writer_destroy(writer);
    return status;
}

int compress_write_codes(struct compress *c, omen_detail *why)
{
    const omen_vectors_options options = {
        .format = c->format, .d = c->d, .progress = compress_show_progress, .context = c};
    omen_vectors *vectors = NULL;
    int status = omen_vectors_open(&vectors, c->input, &options, why);

    if (status != OMEN_OK)
        return status;
    const omen_source source = omen_vectors_source(vectors);
    c->status = *omen_vectors_status(vectors);
    c->in_bytes = source.n_bytes;
    snprintf(c->content, sizeof c->content, "%s", omen_vectors_format(vectors));
    status = write_codes(c, &source, why);
    omen_vectors_close(vectors);
    return status;
}

/* The rows that codes stand for. */
int compress_unpack_codes(struct compress *c, const omen_container *container, omen_detail *why)
{
    const char *format = c->out_format ? c->out_format : omen_vectors_write_named(c->output);
    cmd_output out = {.stream = NULL};
    omen_codes *codes = NULL;
    omen_detail reason = {.text = ""};
    size_t n;
    const omen_section *sections = omen_container_sections(container, &n);
    int status;

    if (!format) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "\"%s\" does not say how to write the rows; name a format with --output-format: %s", c->output,
                         omen_vectors_write_formats());
    }
    status = omen_codes_open(&codes, sections, n, &reason);
    if (status != OMEN_OK)
        return compress_name_file(c, status, &reason, why);
    const omen_source source = omen_codes_source(codes);
    c->in_bytes = omen_container_file_bytes(container);
    c->out_bytes = source.n_bytes;
    snprintf(c->content, sizeof c->content, "codes");
    status = compress_open_output(c, &out, why);
    if (status == OMEN_OK) {
        status = omen_vectors_write(out.stream, format, &source, compress_show_progress, c, &reason);
        if (status != OMEN_OK)
            compress_name_file(c, status, &reason, why);
    }
    status = compress_finish_output(c, &out, status, why);
    omen_codes_close(codes);
    return status;
}

static void tell_part(const char *name, uint64_t n_bytes, const struct account *a)
{
    if (n_bytes > 0) {
        fprintf(stderr, "  %-10s %14s bytes  %9.2f a vector\n", name, cmd_group(n_bytes).text,
                (double)n_bytes / (double)a->info.n_rows);
    }
}

/* The table of a file of codes: nothing is left out of its sum. */
void compress_tell_account(const struct compress *c)
{
    const struct account *a = &c->account;
    const omen_codes_quality *q = &a->quality;
    const double n_rows = (double)a->info.n_rows, file = (double)c->out_bytes;
    const double hot = a->refine > 0 ? (double)a->refine / n_rows : a->info.code_bytes + a->info.factor_bytes;

    tell_part("codes", a->codes, a);
    tell_part("factors", a->factors, a);
    tell_part("rows", a->refine, a);
    tell_part("codebooks", a->codebooks, a);
    tell_part("rotation", a->rotation, a);
    tell_part("mean, lists", a->rest, a);
    tell_part("container", a->container, a);
    tell_part("file", c->out_bytes, a);
    fprintf(stderr, "  float32 rows are %.1fx the codes and factors, %.2fx the file; the input is %.2fx the file\n",
            4.0 * a->info.d / hot, 4.0 * a->info.d * n_rows / file, (double)c->in_bytes / file);
    fprintf(stderr, "  error      %.5f of the variance (mean squared %.6g a value), %s rows\n", q->relative_error,
            q->mean_squared_error, cmd_group(q->n_error_rows).text);
    fprintf(stderr, "             means of %u neighbouring values, for as many bytes: %.5f, %.1fx as much\n",
            q->group_values, q->group_relative_error,
            q->relative_error > 0 ? q->group_relative_error / q->relative_error : 0);
    fprintf(stderr, "  recall@10  %.4f by codes alone, %.4f with the best %u re-ranked by original rows, %s rows\n",
            q->recall_codes, q->recall_reranked, q->n_rerank, cmd_group(q->n_queries).text);
}

json_t *compress_account_object(const struct compress *c)
{
    const struct account *a = &c->account;
    const omen_codes_quality *q = &a->quality;

    return json_pack(
        "{s:I, s:i, s:s, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:o, s:i, s:o, s:o, s:i}", "n",
        (json_int_t)a->info.n_rows, "d", (int)a->info.d, "codec",
        a->refine > 0 ? omen_refine_name(a->info.refine) : omen_codec_name(a->info.codec), "bytes", "codes",
        (json_int_t)a->codes, "factors", (json_int_t)a->factors, "rows", (json_int_t)a->refine, "codebooks",
        (json_int_t)a->codebooks, "rotation", (json_int_t)a->rotation, "ids", (json_int_t)0, "rest",
        (json_int_t)a->rest, "container", (json_int_t)a->container, "file", (json_int_t)c->out_bytes, "code_ratio",
        cmd_json_real(
            4.0 * a->info.d * (double)a->info.n_rows /
            (a->refine > 0 ? (double)a->refine : (double)a->info.n_rows * (a->info.code_bytes + a->info.factor_bytes))),
        "mean_squared_error", cmd_json_real(q->mean_squared_error), "relative_error", cmd_json_real(q->relative_error),
        "group_values", (int)q->group_values, "recall_codes", cmd_json_real(q->recall_codes), "recall_reranked",
        cmd_json_real(q->recall_reranked), "rerank", (int)q->n_rerank);
}
