/* SPDX-License-Identifier: Apache-2.0 */
/* omendb info: vectors. Of a large file rows are looked at in places spread evenly over it. */
#include "cmd/info.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PLACES        64u
#define SAMPLE_ROWS   65536u
#define SAMPLE_VALUES (8u << 20)
#define READ_VALUES   (1u << 18) /* at once */
#define LANES         8u
#define UNIT_SLACK    1e-3 /* how far from 1 a norm is that counts as 1 */

/* Rows that are compared: all, or those whose hash ends in so many zeros that there are no more of them. */
#define HASHES_MOST ((uint64_t)1 << 22)

/* The hashes of rows seen, by open addressing; 0 is an empty place. */
struct seen {
    uint64_t *hashes;
    uint64_t n_places, n_kept; /* n_places: a power of two */
    uint64_t mask;             /* a row counts if none of these bits is in its hash */
};

static int seen_init(struct seen *seen, uint64_t n_rows)
{
    uint64_t n = n_rows;

    for (seen->mask = 0; n > HASHES_MOST; n /= 2)
        seen->mask = seen->mask * 2 + 1;
    for (seen->n_places = 64; seen->n_places < 2 * n;)
        seen->n_places *= 2;
    seen->hashes = calloc(seen->n_places, sizeof *seen->hashes);
    return seen->hashes ? OMEN_OK : OMEN_ERR_MEMORY;
}

static void seen_add(struct seen *seen, uint64_t hash, struct info_vectors *v)
{
    if (hash & seen->mask || seen->n_kept >= seen->n_places / 4 * 3)
        return;
    hash += hash == 0;
    v->n_compared++;
    for (uint64_t at = (hash >> 24) & (seen->n_places - 1);; at = (at + 1) & (seen->n_places - 1)) {
        if (seen->hashes[at] == 0) {
            seen->hashes[at] = hash;
            seen->n_kept++;
            return;
        }
        if (seen->hashes[at] == hash) {
            v->n_duplicates++;
            return;
        }
    }
}

/* Counts a row in. */
static void add_row(struct info_vectors *v, const float *row, struct seen *seen)
{
    double squares[LANES] = {0}, norm2 = 0;
    float least = row[0], most = row[0];
    uint64_t n_zeros = 0;
    uint32_t j = 0;

    for (; j + LANES <= v->d; j += LANES)
        for (uint32_t l = 0; l < LANES; l++)
            squares[l] += (double)row[j + l] * (double)row[j + l];
    for (; j < v->d; j++)
        norm2 += (double)row[j] * (double)row[j];
    for (uint32_t l = 0; l < LANES; l++)
        norm2 += squares[l];
    for (j = 0; j < v->d; j++) {
        least = row[j] < least ? row[j] : least;
        most = row[j] > most ? row[j] : most;
        n_zeros += row[j] == 0;
    }
    const double norm = sqrt(norm2);
    v->least_norm = norm < v->least_norm ? norm : v->least_norm;
    v->most_norm = norm > v->most_norm ? norm : v->most_norm;
    v->mean_norm += norm; /* the sum, until the end */
    v->least_value = (double)least < v->least_value ? (double)least : v->least_value;
    v->most_value = (double)most > v->most_value ? (double)most : v->most_value;
    v->n_zero_values += n_zeros;
    v->n_zero_rows += n_zeros == v->d;
    v->n_looked++;
    seen_add(seen, omen_checksum(row, v->d * sizeof *row), v);
}

/* Rows [first, first + n). Where one of them cannot be read, each is tried alone. */
static int look(const omen_source *source, uint64_t first, uint64_t n, float *rows, struct info_vectors *v,
                struct seen *seen, omen_detail *why)
{
    int status = source->read(source->self, first, n, rows, why);

    for (uint64_t i = 0; status == OMEN_OK && i < n; i++)
        add_row(v, rows + i * v->d, seen);
    if (status != OMEN_ERR_INPUT)
        return status;
    status = OMEN_OK;
    for (uint64_t i = 0; status == OMEN_OK && i < n; i++) {
        status = source->read(source->self, first + i, 1, rows, why);
        if (status == OMEN_OK) {
            add_row(v, rows, seen);
        } else if (status == OMEN_ERR_INPUT) {
            if (v->n_bad++ == 0)
                v->first_bad = *why;
            status = OMEN_OK;
        }
    }
    return status;
}

static int look_at_all(struct info *info, const omen_source *source, struct info_vectors *v, omen_detail *why)
{
    const uint64_t n = v->n_rows, most = READ_VALUES / v->d > 0 ? READ_VALUES / v->d : 1;
    uint64_t n_sample = SAMPLE_VALUES / v->d < SAMPLE_ROWS ? SAMPLE_VALUES / v->d : SAMPLE_ROWS;
    struct seen seen = {.hashes = NULL};
    float *rows = malloc(most * v->d * sizeof *rows);
    int status = rows ? OMEN_OK : OMEN_ERR_MEMORY;

    n_sample = info->full || n_sample > n || source->n_bytes <= INFO_BYTES ? n : n_sample;
    v->n_places = n_sample < n ? PLACES : 0;
    if (status == OMEN_OK)
        status = seen_init(&seen, n_sample);
    const uint64_t n_places = v->n_places > 0 ? v->n_places : 1, n_each = n_sample / n_places;
    const uint64_t n_beyond = n - n_each, n_steps = n_places > 1 ? n_places - 1 : 1;
    for (uint64_t place = 0; status == OMEN_OK && place < n_places; place++) {
        /* the first place begins with the first row, the last ends with the last */
        const uint64_t begin = n_beyond / n_steps * place + n_beyond % n_steps * place / n_steps;
        const uint64_t end = begin + n_each;

        for (uint64_t first = begin; status == OMEN_OK && first < end; first += most) {
            const uint64_t n_here = end - first < most ? end - first : most;

            cmd_progress_update(&info->progress, "look", place * n_each + first - begin, n_sample);
            status = look(source, first, n_here, rows, v, &seen, why);
            if (source->release)
                source->release(source->self, first, n_here);
        }
    }
    cmd_progress_clear(&info->progress);
    free(seen.hashes);
    free(rows);
    return status;
}

int info_vectors_read(struct info *info, const char *path, struct info_vectors *v, omen_detail *why)
{
    omen_vectors *vectors = NULL;
    int status = cmd_open_rows(&vectors, path, info->format, info->d, 0, why);

    if (status != OMEN_OK)
        return status;
    const omen_source source = omen_vectors_source(vectors);
    *v = (struct info_vectors){.n_rows = source.n_rows,
                               .d = source.d,
                               .n_bytes = source.n_bytes,
                               .least_norm = INFINITY,
                               .least_value = INFINITY,
                               .most_value = -INFINITY};
    snprintf(v->format, sizeof v->format, "%s", omen_vectors_format(vectors));
    snprintf(v->type, sizeof v->type, "%s", omen_vectors_type(vectors));
    status = look_at_all(info, &source, v, why);
    v->mean_norm /= v->n_looked > 0 ? (double)v->n_looked : 1;
    omen_vectors_close(vectors);
    return status;
}

/* ---- telling ---- */

static bool is_unit(const struct info_vectors *v)
{
    return v->n_looked > 0 && v->least_norm >= 1 - UNIT_SLACK && v->most_norm <= 1 + UNIT_SLACK;
}

static double zero_share(const struct info_vectors *v)
{
    return (double)v->n_zero_values / ((double)v->n_looked * v->d);
}

void info_vectors_print(const struct info_vectors *v)
{
    printf("  vectors  %s, %s x %u, %s, %s bytes (%s)\n", v->format, cmd_group(v->n_rows).text, v->d, v->type,
           cmd_group(v->n_bytes).text, cmd_human_bytes(v->n_bytes).text);
    if (v->n_places > 0) {
        printf("  looked   at %s rows in %s places; --full reads all\n", cmd_group(v->n_looked + v->n_bad).text,
               cmd_group(v->n_places).text);
    } else {
        printf("  looked   at all rows\n");
    }
    if (v->n_looked > 0) {
        printf("  norms    %.6g to %.6g, mean %.6g%s\n", v->least_norm, v->most_norm, v->mean_norm,
               is_unit(v) ? ": unit length" : "");
        printf("  values   %.6g to %.6g, %.3g%% of them 0\n", v->least_value, v->most_value, 100 * zero_share(v));
        printf("  rows     %s all 0, %s of %s equal one before\n", cmd_group(v->n_zero_rows).text,
               cmd_group(v->n_duplicates).text, cmd_group(v->n_compared).text);
    }
    if (v->n_bad > 0) {
        omen_detail first = v->first_bad;

        cmd_reword(&first);
        printf("  unusable %s %s, the first: %s\n", cmd_group(v->n_bad).text, v->n_bad == 1 ? "row" : "rows",
               cmd_printable(first.text).text);
    }
}

json_t *info_vectors_object(const struct info_vectors *v)
{
    const bool any = v->n_looked > 0;

    return json_pack(
        "{s:s, s:I, s:I, s:s, s:I, s:{s:I, s:b}, s:o, s:o, s:o, s:{s:I, s:I}, s:{s:I, s:o}}", "format", v->format,
        "rows", (json_int_t)v->n_rows, "d", (json_int_t)v->d, "type", v->type, "bytes", (json_int_t)v->n_bytes,
        "looked_at", "rows", (json_int_t)(v->n_looked + v->n_bad), "all", (int)(v->n_places == 0), "norms",
        any ? json_pack("{s:f, s:f, s:f, s:b}", "least", v->least_norm, "mean", v->mean_norm, "most", v->most_norm,
                        "unit", (int)is_unit(v))
            : json_null(),
        "values",
        any ? json_pack("{s:f, s:f, s:f}", "least", v->least_value, "most", v->most_value, "zero_share", zero_share(v))
            : json_null(),
        "zero_rows", json_integer((json_int_t)v->n_zero_rows), "duplicates", "rows", (json_int_t)v->n_duplicates,
        "compared", (json_int_t)v->n_compared, "unusable", "rows", (json_int_t)v->n_bad, "first",
        v->n_bad > 0 ? cmd_json_text(v->first_bad.text) : json_null());
}
