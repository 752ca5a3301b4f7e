/* SPDX-License-Identifier: Apache-2.0 */
/* Model files: the records of a build up to the queries of its calibration, and the names of its inputs. */
#include "formats/shard_files.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#define N_NAMES 2u /* before the inputs: format, tuning queries */

/* Of the record, before the names, of which each ends with a zero byte. */
typedef struct {
    uint32_t d, n_names;
} inputs_head;

/* ---- writing ---- */

/* Text that grows. */
typedef struct {
    char *bytes;
    size_t n, size;
} text;

static int add_text(text *t, const char *name, omen_detail *why)
{
    const size_t n = strlen(name);
    if (t->size - t->n <= n) {
        const size_t size = 2 * (t->size + n) + 1024;
        char *grown = realloc(t->bytes, size);
        if (!grown)
            return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the names of inputs");
        t->bytes = grown;
        t->size = size;
    }
    memcpy(t->bytes + t->n, name, n); /* analyzer: bytes is NULL only while size is 0, and then it has just grown */
    t->n += n;
    t->bytes[t->n] = '\0';
    return OMEN_OK;
}

/* A path that holds in other working directories too. */
static int add_path(text *t, const char *directory, const char *path, omen_detail *why)
{
    int status = OMEN_OK;
    if (path[0] != '/') {
        status = add_text(t, directory, why);
        if (status == OMEN_OK)
            status = add_text(t, "/", why);
    }
    if (status == OMEN_OK)
        status = add_text(t, path, why);
    t->n++; /* the zero byte */
    return status;
}

int omen_model_write_inputs(const omen_checkpoint *records, const omen_build_paths *paths, omen_detail *why)
{
    const omen_vectors_options *vectors = paths->vectors;
    const char *const *inputs = paths->input ? &paths->input : paths->inputs;
    const size_t n_inputs = paths->input ? 1 : paths->n_inputs;
    const inputs_head head = {.d = vectors ? vectors->d : 0, .n_names = (uint32_t)(N_NAMES + n_inputs)};
    text names = {.bytes = NULL};
    char directory[PATH_MAX];
    if (!getcwd(directory, sizeof directory))
        return omen_fail(why, OMEN_ERR_IO, "cannot find the working directory: %s", strerror(errno));
    int status = add_text(&names, vectors && vectors->format ? vectors->format : "", why);
    names.n++;
    if (status == OMEN_OK && paths->tune_queries)
        status = add_path(&names, directory, paths->tune_queries, why);
    else if (status == OMEN_OK) {
        status = add_text(&names, "", why);
        names.n++;
    }
    for (size_t i = 0; i < n_inputs && status == OMEN_OK; i++)
        status = add_path(&names, directory, inputs[i], why);
    if (status == OMEN_OK) {
        const omen_span spans[] = {{&head, sizeof head}, {names.bytes, names.n}};
        status = records->append(records->self, SHARD_RECORD_INPUTS, spans, 2, NULL, why);
    }
    /* also after a failure: what is being written must not be freed */
    const int written = records->wait(records->self, status == OMEN_OK ? why : NULL);
    free(names.bytes);
    return status == OMEN_OK ? written : status;
}

/* ---- reading ---- */

static int damaged(const char *path, const char *what, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_CORRUPT, "\"%.300s\" is damaged: %s", path, what);
}

/* Takes the next name of the text. */
static const char *next_name(const char **at)
{
    const char *name = *at;
    *at += strlen(name) + 1;
    return name;
}

/* Reads the names; nothing of the record is believed. */
static int read_inputs(omen_model *m, const char *path, omen_detail *why)
{
    static const char fault[] = "it names no inputs";
    inputs_head head;
    omen_record record;
    size_t n_ends = 0;
    if (!m->records.get(m->records.self, SHARD_MODEL_RECORDS, &record) || record.kind != SHARD_RECORD_INPUTS ||
        record.n_bytes <= sizeof head || record.n_bytes > sizeof head + (uint64_t)PATH_MAX * (N_NAMES + OMEN_MAX_FILES))
        return damaged(path, fault, why);
    const size_t n_bytes = (size_t)record.n_bytes - sizeof head;
    int status = m->records.read(m->records.self, SHARD_MODEL_RECORDS, 0, sizeof head, &head, why);
    if (status != OMEN_OK)
        return status;
    if (head.n_names <= N_NAMES || head.n_names > N_NAMES + OMEN_MAX_FILES || head.d > OMEN_MAX_DIM)
        return damaged(path, fault, why);
    m->text = malloc(n_bytes);
    m->inputs = calloc(head.n_names, sizeof *m->inputs);
    if (!m->text || !m->inputs)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the model \"%.300s\"", path);
    status = m->records.read(m->records.self, SHARD_MODEL_RECORDS, sizeof head, n_bytes, m->text, why);
    if (status != OMEN_OK)
        return status;
    for (size_t i = 0; i < n_bytes; i++)
        n_ends += m->text[i] == '\0';
    if (n_ends != head.n_names || m->text[n_bytes - 1] != '\0')
        return damaged(path, fault, why);
    const char *at = m->text;
    m->d = head.d;
    m->format = next_name(&at);
    m->format = m->format[0] ? m->format : NULL;
    m->tune_queries = next_name(&at);
    m->tune_queries = m->tune_queries[0] ? m->tune_queries : NULL;
    m->n_inputs = head.n_names - N_NAMES;
    for (size_t i = 0; i < m->n_inputs; i++)
        m->inputs[i] = next_name(&at);
    return OMEN_OK;
}

/* Options that no build has make the model a damaged one; the build checks the others. */
static bool info_is_sound(const omen_model *m)
{
    omen_metric metric;
    omen_codec codec;
    omen_refine refine;
    const omen_checkpoint_info *i = &m->info;
    return omen_metric_parse(omen_metric_name(i->metric), &metric) == OMEN_OK && metric == i->metric &&
           omen_codec_parse(omen_codec_name(i->codec), &codec) == OMEN_OK && codec == i->codec &&
           omen_refine_parse(omen_refine_name(i->refine), &refine) == OMEN_OK && refine == i->refine &&
           i->n_lists > 0 && i->n_rows > 0 && i->d > 0 && i->n_runs == 0 && i->has_tune_queries == !!m->tune_queries;
}

/* A hash of kinds, lengths and checksums of the records that a build has too. */
uint64_t omen_model_identity(omen_part *part)
{
    const omen_checkpoint records = omen_part_checkpoint(part);
    uint64_t hash = SHARD_MODEL_RECORDS;
    omen_record record;
    for (uint32_t i = 0; i < SHARD_MODEL_RECORDS && records.get(records.self, i, &record); i++) {
        const uint64_t facts[] = {record.kind, record.n_bytes, omen_part_record_hash(part, i)};
        hash = XXH3_64bits_withSeed(facts, sizeof facts, hash);
    }
    return hash;
}

static int read_model(omen_model *m, const char *path, omen_progress_fn progress, void *context, omen_detail *why)
{
    omen_record record;
    int status;
    if (omen_part_get_kind(m->part) != OMEN_PART_MODEL)
        return omen_fail(why, OMEN_ERR_INPUT, "\"%.300s\" is no model: omendb train makes one", path);
    const uint32_t n = omen_part_count(m->part);
    if (n != SHARD_MODEL_RECORDS + 1 || !omen_part_is_whole(m->part))
        return damaged(path, "it is not as long as it was", why);
    m->records = omen_part_checkpoint(m->part);
    for (uint32_t i = 0; i < SHARD_MODEL_RECORDS; i++)
        if (!m->records.get(m->records.self, i, &record) || record.kind != OMEN_RECORD_HEAD + i)
            return damaged(path, "its records are not those of a model", why);
    m->identity = omen_model_identity(m->part);
    status = m->records.prove(m->records.self, n, progress, context, why);
    if (status != OMEN_OK)
        return status;
    if (omen_part_count(m->part) != n)
        return damaged(path, "a checksum does not match", why);
    status = read_inputs(m, path, why);
    if (status != OMEN_OK)
        return status;
    m->info.struct_bytes = sizeof m->info;
    status = omen_checkpoint_get_info(&m->records, &m->info, why);
    if (status == OMEN_ERR_UNSUPPORTED)
        return omen_fail(why, status, "\"%.300s\" is a model of another version of omendb", path);
    if (status == OMEN_OK && !info_is_sound(m))
        return damaged(path, "its options cannot be", why);
    return status;
}

int omen_model_open(omen_model *model, const char *path, omen_progress_fn progress, void *context, omen_detail *why)
{
    int status = omen_part_open_to_read(&model->part, path, why);
    if (status == OMEN_ERR_INPUT)
        return omen_fail(why, status, "\"%.300s\" is no model: omendb train makes one", path);
    return status == OMEN_OK ? read_model(model, path, progress, context, why) : status;
}

void omen_model_close(omen_model *model)
{
    omen_part_close(model->part);
    free(model->text);
    free(model->inputs);
    *model = (omen_model){.part = NULL};
}
