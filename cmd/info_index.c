/* SPDX-License-Identifier: Apache-2.0 */
/* omendb info: an index, or codes without lists. */
#include "cmd/info.h"

#include <stdlib.h>
#include <string.h>

/* Which part of an index a section belongs to. */
static const struct {
    uint32_t id;
    const char *part;
} parts[] = {
    {OMEN_SECTION_CODE, "codes"},   {OMEN_SECTION_REFN, "refine"},  {OMEN_SECTION_RCEN, "refine"},
    {OMEN_SECTION_PERM, "ids"},     {OMEN_SECTION_CSCL, "lists"},   {OMEN_SECTION_CENT, "lists"},
    {OMEN_SECTION_LIST, "lists"},   {OMEN_SECTION_FRNG, "lists"},   {OMEN_SECTION_META, "model"},
    {OMEN_SECTION_MEAN, "model"},   {OMEN_SECTION_BASE, "model"},   {OMEN_SECTION_SUBS, "model"},
    {OMEN_SECTION_DIMS, "model"},   {OMEN_SECTION_CODB, "model"},   {OMEN_SECTION_ROTA, "model"},
    {OMEN_SECTION_APRT, "model"},   {OMEN_SECTION_TUNE, "efforts"}, {OMEN_SECTION_ATUN, "efforts"},
    {OMEN_SECTION_GTUN, "efforts"}, {OMEN_SECTION_GDIM, "graph"},   {OMEN_SECTION_GSCL, "graph"},
    {OMEN_SECTION_GCOD, "graph"},   {OMEN_SECTION_GADJ, "graph"},   {OMEN_SECTION_GENT, "graph"},
    {OMEN_SECTION_GECD, "graph"},   {OMEN_SECTION_KEYS, "keys"},    {OMEN_SECTION_KEYV, "keys"},
    {OMEN_SECTION_KEYO, "keys"},    {OMEN_SECTION_KEYI, "keys"},    {OMEN_SECTION_COLS, "columns"},
    {OMEN_SECTION_CVAL, "columns"},
};

/* Ways that have a table of efforts. */
static const omen_search_way ways[] = {OMEN_SEARCH_LISTS, OMEN_SEARCH_GRAPH};

#define N_WAYS (sizeof ways / sizeof ways[0])

/* ---- reading ---- */

static const char *part_of(uint32_t id)
{
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].id == id)
            return parts[i].part;
    return "other"; /* of a newer version */
}

static void add_part(struct info_index *out, const char *name, uint64_t n_bytes)
{
    for (size_t i = 0; i < out->n_parts; i++) {
        if (strcmp(out->parts[i].name, name) == 0) {
            out->parts[i].n_bytes += n_bytes;
            return;
        }
    }
    if (out->n_parts < INFO_MOST_PARTS)
        out->parts[out->n_parts++] = (struct info_part){name, n_bytes};
}

/* What the file is made of; what is no section are headers, checksums and padding. */
static void measure_parts(struct info_index *out, const omen_section *sections)
{
    uint64_t n_other = out->n_bytes;

    for (size_t i = 0; i < out->n_sections; i++) {
        add_part(out, part_of(sections[i].id), sections[i].n_bytes);
        n_other -= sections[i].n_bytes;
    }
    add_part(out, "checksums", n_other);
}

/* The ranges of columns that are small enough, or of all. */
static int read_ranges(const struct info *info, struct info_index *out, omen_detail *why)
{
    const uint32_t n = out->info.n_columns;
    int status = OMEN_OK;

    out->ranges = calloc(n > 0 ? n : 1, sizeof *out->ranges);
    out->has_range = calloc(n > 0 ? n : 1, sizeof *out->has_range);
    if (!out->ranges || !out->has_range)
        return OMEN_ERR_MEMORY;
    for (uint32_t i = 0; status == OMEN_OK && i < n; i++) {
        omen_column_info column = {.struct_bytes = sizeof column};

        out->ranges[i].struct_bytes = sizeof out->ranges[i];
        status = omen_index_get_column(out->index, i, &column);
        if (status != OMEN_OK || (!info->full && column.n_bytes > INFO_BYTES))
            continue;
        status = omen_index_get_column_range(out->index, i, &out->ranges[i], why);
        out->has_range[i] = status == OMEN_OK;
    }
    return status;
}

int info_index_read(struct info *info, const char *path, omen_container *container, struct info_index *out,
                    omen_detail *why)
{
    const omen_section *sections = omen_container_sections(container, &out->n_sections);
    int status;

    out->container = container;
    out->n_bytes = omen_container_file_bytes(container);
    out->checksum = omen_container_checksum(container);
    out->identity = omen_container_identity(container);
    omen_container_version(container, &out->major, &out->minor);
    out->info.struct_bytes = sizeof out->info;
    if (omen_codes_are(sections, out->n_sections)) {
        status = omen_codes_open(&out->codes, sections, out->n_sections, why);
        if (status == OMEN_OK)
            status = omen_codes_get_info(out->codes, &out->info);
    } else {
        status = omen_index_open(&out->index, sections, out->n_sections, why);
        if (status == OMEN_OK)
            status = omen_index_get_info(out->index, &out->info);
        if (status == OMEN_OK)
            status = read_ranges(info, out, why);
    }
    if (status == OMEN_OK)
        measure_parts(out, sections);
    return cmd_name_damage(path, status, why);
}

void info_index_finish(struct info_index *index)
{
    omen_index_close(index->index);
    omen_codes_close(index->codes);
    omen_container_close(index->container);
    free(index->ranges);
    free(index->has_range);
}

/* Entry i of a table of efforts; false past the last. */
static bool effort_at(const struct info_index *x, omen_search_way way, size_t i, omen_measured_effort *out)
{
    *out = (omen_measured_effort){.struct_bytes = sizeof *out};
    return x->index && omen_index_get_effort(x->index, way, i, out) == OMEN_OK;
}

/* ---- as lines ---- */

static void print_options(const struct info_index *x)
{
    const omen_index_info *info = &x->info;

    printf("  options  metric %s, codec %s, bytes %u, refine %s, ", omen_metric_name(info->metric),
           omen_codec_name(info->codec), info->bytes, omen_refine_name(info->refine));
    if (x->index)
        printf("lists %s, ", cmd_group(info->lists.n).text);
    printf("seed %llu", (unsigned long long)info->seed);
    if (info->graph.degree > 0)
        printf(", graph, degree %u", info->graph.degree);
    printf("%s\n", info->zero_ok ? ", zero rows accepted" : "");
    printf("  model    %u dimensions kept; code %u and factors %u bytes a vector", info->d_kept, info->code_bytes,
           info->factor_bytes);
    if (info->refine_ceiling == 1)
        printf("; refine rows are exact\n");
    else if (info->refine_ceiling > 0)
        printf("; refine rows keep %.4f of the 10 nearest, by estimate\n", info->refine_ceiling);
    else
        printf("\n");
}

static void print_effort(const omen_measured_effort *e, omen_search_way way)
{
    printf("%.4g (", (double)e->recall);
    if (way == OMEN_SEARCH_GRAPH)
        printf("%s estimates", cmd_group(e->estimates).text);
    else
        printf("%s %s", cmd_group(e->probes).text, e->probes == 1 ? "list" : "lists");
    printf(", %s rows)", cmd_group(e->rerank).text);
}

/* The recalls that the build measured, by k: the lowest and the highest, or each. */
static void print_efforts(const struct info_index *x, bool all)
{
    omen_measured_effort e, next;

    for (size_t w = 0; w < N_WAYS; w++) {
        const char *name = omen_search_way_name(ways[w]);
        uint32_t k = 0;

        for (size_t i = 0; effort_at(x, ways[w], i, &e); i++) {
            const bool is_last = !effort_at(x, ways[w], i + 1, &next) || next.k != e.k;

            if (k == 0)
                printf("  recall   by %s:\n", name);
            if (e.k != k || all) {
                printf("    k %-6u ", e.k);
                print_effort(&e, ways[w]);
                if (all || is_last)
                    printf("\n");
            } else if (is_last) {
                printf(" to ");
                print_effort(&e, ways[w]);
                printf("\n");
            }
            k = e.k;
        }
    }
}

static void print_keys(const omen_index_info *info)
{
    printf("  keys     %s", omen_key_kind_name(info->key_kind));
    if (info->key_kind == OMEN_KEYS_INT64)
        printf(", %lld to %lld", (long long)info->key_least, (long long)info->key_most);
    else if (info->key_kind == OMEN_KEYS_UINT64)
        printf(", %llu to %llu", (unsigned long long)info->key_least, (unsigned long long)info->key_most);
    else
        printf(" of at most %u bytes", info->key_most_bytes);
    printf("%s\n", info->keys_shared ? ", several rows may share one" : "");
}

/* A text of the index, which may be long and hold anything. */
static void print_text(const char *text, uint64_t n_bytes)
{
    char copy[44];

    snprintf(copy, sizeof copy, "%.*s%s", (int)(n_bytes < 40 ? n_bytes : 40), text, n_bytes > 40 ? "..." : "");
    cmd_make_printable(copy);
    printf("\"%s\"", copy);
}

static void print_range(const omen_column_range *r, omen_column_type type)
{
    printf(", ");
    switch (type) {
    case OMEN_COLUMN_INT64:
    case OMEN_COLUMN_TAG_NUMBERS:
        printf("%lld to %lld", (long long)r->integers.least, (long long)r->integers.most);
        break;
    case OMEN_COLUMN_FLOAT32:
    case OMEN_COLUMN_FLOAT64:
        printf("%.9g to %.9g", r->reals.least, r->reals.most);
        break;
    default:
        print_text(r->texts.least, r->texts.least_bytes);
        printf(" to ");
        print_text(r->texts.most, r->texts.most_bytes);
    }
}

static void print_columns(const struct info_index *x)
{
    for (uint32_t i = 0; i < x->info.n_columns; i++) {
        omen_column_info c = {.struct_bytes = sizeof c};
        char name[OMEN_MAX_COLUMN_NAME + 1];

        if (omen_index_get_column(x->index, i, &c) != OMEN_OK)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)c.name_bytes, c.name);
        printf("  %s %-12s %s", i == 0 ? "columns " : "        ", cmd_printable(name).text,
               omen_column_type_name(c.type));
        if (x->has_range[i] && x->ranges[i].has_values)
            print_range(&x->ranges[i], c.type);
        if (c.n_distinct > 0)
            printf(", %s different", cmd_group(c.n_distinct).text);
        if (c.n_nulls > 0)
            printf(", %s without", cmd_group(c.n_nulls).text);
        printf("%s\n", x->has_range[i] ? "" : ", range with --full");
    }
}

void info_index_print(const struct info *info, const struct info_index *x)
{
    printf("  %s    %s x %u, version %u.%u, checksum %016llx, identity %016llx\n", x->index ? "index" : "codes",
           cmd_group(x->info.n_rows).text, x->info.d, x->major, x->minor, (unsigned long long)x->checksum,
           (unsigned long long)x->identity);
    print_options(x);
    printf("  size     %s bytes (%s), %.1f a vector\n", cmd_group(x->n_bytes).text, cmd_human_bytes(x->n_bytes).text,
           (double)x->n_bytes / (double)x->info.n_rows);
    for (size_t i = 0; i < x->n_parts; i++) {
        printf("    %-9s %16s bytes %10.1f a vector\n", x->parts[i].name, cmd_group(x->parts[i].n_bytes).text,
               (double)x->parts[i].n_bytes / (double)x->info.n_rows);
    }
    print_efforts(x, info->verbose);
    if (x->info.key_kind != OMEN_KEYS_NONE)
        print_keys(&x->info);
    print_columns(x);
}

/* ---- as JSON ---- */

/* Adds to an array or object that may be NULL, which it then stays; value NULL: out of memory. */
static json_t *append(json_t *array, json_t *value)
{
    if (!array || json_array_append_new(array, value) != 0) {
        if (!array)
            json_decref(value);
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *sizes_object(const struct info_index *x)
{
    json_t *out = json_object();

    for (size_t i = 0; out && i < x->n_parts; i++) {
        if (json_object_set_new(out, x->parts[i].name, json_integer((json_int_t)x->parts[i].n_bytes)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static json_t *efforts_array(const struct info_index *x, omen_search_way way)
{
    json_t *out = json_array();
    omen_measured_effort e;

    for (size_t i = 0; out && effort_at(x, way, i, &e); i++) {
        json_t *entry = json_pack("{s:I, s:f, s:I}", "k", (json_int_t)e.k, "recall", (double)e.recall, "rerank",
                                  (json_int_t)e.rerank);

        if (entry && json_object_set_new(entry, way == OMEN_SEARCH_GRAPH ? "estimates" : "probes",
                                         json_integer(way == OMEN_SEARCH_GRAPH ? e.estimates : e.probes)) != 0) {
            json_decref(entry);
            entry = NULL;
        }
        out = append(out, entry);
    }
    return out;
}

static json_t *key_number(omen_key_kind kind, uint64_t key)
{
    return kind == OMEN_KEYS_TEXT    ? json_null()
           : kind == OMEN_KEYS_INT64 ? json_integer((json_int_t)key)
                                     : cmd_json_u64(key);
}

static json_t *keys_object(const omen_index_info *info)
{
    if (info->key_kind == OMEN_KEYS_NONE)
        return json_null();
    return json_pack("{s:s, s:o, s:o, s:o, s:b}", "kind", omen_key_kind_name(info->key_kind), "least",
                     key_number(info->key_kind, info->key_least), "most", key_number(info->key_kind, info->key_most),
                     "longest_bytes",
                     info->key_kind == OMEN_KEYS_TEXT ? json_integer((json_int_t)info->key_most_bytes) : json_null(),
                     "shared", (int)info->keys_shared);
}

/* A text of the index, which may hold any bytes; of a long one the beginning. */
static json_t *text_value(const char *text, uint64_t n_bytes)
{
    char *copy = strndup(text, n_bytes < 4096 ? n_bytes : 4096);
    json_t *out = copy ? cmd_json_text(copy) : NULL;

    free(copy);
    return out;
}

static json_t *limit_value(const omen_column_range *r, omen_column_type type, bool most)
{
    switch (type) {
    case OMEN_COLUMN_INT64:
    case OMEN_COLUMN_TAG_NUMBERS:
        return json_integer(most ? r->integers.most : r->integers.least);
    case OMEN_COLUMN_FLOAT32:
    case OMEN_COLUMN_FLOAT64:
        return cmd_json_real(most ? r->reals.most : r->reals.least);
    default:
        return most ? text_value(r->texts.most, r->texts.most_bytes) : text_value(r->texts.least, r->texts.least_bytes);
    }
}

static json_t *columns_array(const struct info_index *x)
{
    json_t *out = json_array();

    for (uint32_t i = 0; out && i < x->info.n_columns; i++) {
        omen_column_info c = {.struct_bytes = sizeof c};
        const bool any = x->has_range[i] && x->ranges[i].has_values;

        if (omen_index_get_column(x->index, i, &c) != OMEN_OK)
            continue;
        const bool has_dictionary =
            c.type != OMEN_COLUMN_INT64 && c.type != OMEN_COLUMN_FLOAT32 && c.type != OMEN_COLUMN_FLOAT64;
        out = append(out, json_pack("{s:o, s:s, s:I, s:o, s:I, s:o, s:o}", "name", text_value(c.name, c.name_bytes),
                                    "type", omen_column_type_name(c.type), "nulls", (json_int_t)c.n_nulls, "distinct",
                                    has_dictionary ? json_integer((json_int_t)c.n_distinct) : json_null(), "bytes",
                                    (json_int_t)c.n_bytes, "least",
                                    any ? limit_value(&x->ranges[i], c.type, false) : json_null(), "most",
                                    any ? limit_value(&x->ranges[i], c.type, true) : json_null()));
    }
    return out;
}

json_t *info_index_object(const struct info_index *x)
{
    const omen_index_info *info = &x->info;
    char version[24], checksum[24], identity[24];

    snprintf(version, sizeof version, "%u.%u", x->major, x->minor);
    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)x->checksum);
    snprintf(identity, sizeof identity, "%016llx", (unsigned long long)x->identity);
    return json_pack("{s:b, s:s, s:s, s:s, s:I, s:I, s:I, s:{s:s, s:s, s:I, s:s, s:o, s:o, s:b, s:o}, s:I, s:o, s:o,"
                     " s:{s:o, s:o}, s:o, s:o}",
                     "searchable", (int)!!x->index, "version", version, "checksum", checksum, "identity", identity,
                     "rows", (json_int_t)info->n_rows, "d", (json_int_t)info->d, "bytes", (json_int_t)x->n_bytes,
                     "options", "metric", omen_metric_name(info->metric), "codec", omen_codec_name(info->codec),
                     "bytes", (json_int_t)info->bytes, "refine", omen_refine_name(info->refine), "lists",
                     x->index ? json_integer((json_int_t)info->lists.n) : json_null(), "seed", cmd_json_u64(info->seed),
                     "zero_ok", (int)info->zero_ok, "degree",
                     info->graph.degree > 0 ? json_integer((json_int_t)info->graph.degree) : json_null(),
                     "dimensions_kept", (json_int_t)info->d_kept, "refine_ceiling",
                     info->refine_ceiling > 0 ? cmd_json_real(info->refine_ceiling) : json_null(), "sizes",
                     sizes_object(x), "efforts", "lists", efforts_array(x, OMEN_SEARCH_LISTS), "graph",
                     efforts_array(x, OMEN_SEARCH_GRAPH), "keys", keys_object(info), "columns", columns_array(x));
}
