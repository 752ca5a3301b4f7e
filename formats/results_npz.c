/* SPDX-License-Identifier: Apache-2.0 */
/* The archive that npz is: arrays that are complete files of npy, stored one after the other, as zip64 throughout. */
#include "formats/deflate.h"
#include "formats/results.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COPY_BYTES   65536u
#define MEMBERS_MOST 2u
#define VERSION      45u     /* of the format, the first with zip64 */
#define DAY_ONE      0x0021u /* 1980-01-01: the same results are the same bytes */
#define UNKNOWN_32   0xffffffffu
#define LOCAL_BYTES  30u
#define ENTRY_BYTES  46u
#define END_64_BYTES 56u

/* A record of the archive while it is made. */
typedef struct {
    unsigned char bytes[128];
    size_t n;
} record;

typedef struct {
    char name[16];
    uint32_t checksum;
    uint64_t n_bytes, offset;
} member;

static void add(record *r, uint64_t value, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++)
        r->bytes[r->n++] = (unsigned char)(value >> 8 * i);
}

static void add_mark(record *r, char c, char d)
{
    add(r, 'P', 1);
    add(r, 'K', 1);
    add(r, (unsigned char)c, 1);
    add(r, (unsigned char)d, 1);
}

static void add_name(record *r, const member *m)
{
    memcpy(r->bytes + r->n, m->name, strlen(m->name));
    r->n += strlen(m->name);
}

static int fail_write(omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_IO, "cannot write the results: %s", strerror(errno ? errno : EIO));
}

static int put(FILE *out, const record *r, omen_detail *why)
{
    errno = 0;
    return fwrite(r->bytes, 1, r->n, out) == r->n ? OMEN_OK : fail_write(why);
}

/* What the two headers of a member share, from the version to its name's length. */
static void add_common(record *r, const member *m)
{
    add(r, VERSION, 2);
    add(r, 0, 2); /* flags */
    add(r, 0, 2); /* stored */
    add(r, 0, 2);
    add(r, DAY_ONE, 2);
    add(r, m->checksum, 4);
    add(r, UNKNOWN_32, 4);
    add(r, UNKNOWN_32, 4);
    add(r, strlen(m->name), 2);
}

static int put_local(FILE *out, const member *m, omen_detail *why)
{
    record r = {.n = 0};
    add_mark(&r, 3, 4);
    add_common(&r, m);
    add(&r, 20, 2);
    add_name(&r, m);
    add(&r, 1, 2); /* zip64 */
    add(&r, 16, 2);
    add(&r, m->n_bytes, 8);
    add(&r, m->n_bytes, 8);
    return put(out, &r, why);
}

static int put_entry(FILE *out, const member *m, omen_detail *why)
{
    record r = {.n = 0};
    add_mark(&r, 1, 2);
    add(&r, VERSION, 2);
    add_common(&r, m);
    add(&r, 28, 2);
    add(&r, 0, 8); /* comment, disk, attributes */
    add(&r, 0, 2);
    add(&r, UNKNOWN_32, 4);
    add_name(&r, m);
    add(&r, 1, 2); /* zip64 */
    add(&r, 24, 2);
    add(&r, m->n_bytes, 8);
    add(&r, m->n_bytes, 8);
    add(&r, m->offset, 8);
    return put(out, &r, why);
}

static int put_end(FILE *out, uint64_t directory, uint64_t n_directory_bytes, uint64_t n, omen_detail *why)
{
    record r = {.n = 0};
    add_mark(&r, 6, 6);
    add(&r, END_64_BYTES - 12, 8);
    add(&r, VERSION, 2);
    add(&r, VERSION, 2);
    add(&r, 0, 8); /* disks */
    add(&r, n, 8);
    add(&r, n, 8);
    add(&r, n_directory_bytes, 8);
    add(&r, directory, 8);
    int status = put(out, &r, why);
    r.n = 0;
    add_mark(&r, 6, 7);
    add(&r, 0, 4);
    add(&r, directory + n_directory_bytes, 8);
    add(&r, 1, 4);
    add_mark(&r, 5, 6);
    add(&r, 0, 4);
    add(&r, n, 2);
    add(&r, n, 2);
    add(&r, UNKNOWN_32, 4);
    add(&r, UNKNOWN_32, 4);
    add(&r, 0, 2);
    return status == OMEN_OK ? put(out, &r, why) : status;
}

/* Reads a part from its beginning, to find length and checksum, or, with out, to copy it. */
static int read_part(FILE *part, FILE *out, unsigned char *bytes, member *m, omen_detail *why)
{
    uint64_t n_bytes = 0;
    uint32_t checksum = 0;
    size_t n;
    errno = 0;
    if (fflush(part) != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot write the temporary copy of the results: %s",
                         strerror(errno ? errno : EIO));
    rewind(part);
    while ((n = fread(bytes, 1, COPY_BYTES, part)) > 0) {
        checksum = omen_crc32_more(checksum, bytes, n);
        n_bytes += n;
        if (out && fwrite(bytes, 1, n, out) != n)
            return fail_write(why);
    }
    if (ferror(part) || (out && (n_bytes != m->n_bytes || checksum != m->checksum)))
        return omen_fail(why, OMEN_ERR_IO, "cannot read the temporary copy of the results: %s",
                         strerror(errno ? errno : EIO));
    m->n_bytes = n_bytes;
    m->checksum = checksum;
    return OMEN_OK;
}

int omen_results_pack(const omen_results *results, bool has_keys, FILE *out, omen_detail *why)
{
    if (results->format == OMEN_RESULTS_HDF5)
        return omen_results_pack_hdf5(results, has_keys, out, why);
    member members[MEMBERS_MOST] = {{.name = "ids.npy"}, {.name = "distances.npy"}};
    FILE *const parts[MEMBERS_MOST] = {results->stream, results->distances};
    unsigned char *bytes = malloc(COPY_BYTES);
    uint64_t at = 0, n_directory_bytes = 0;
    unsigned n = 0;
    int status = bytes ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the results");

    if (has_keys)
        memcpy(members[0].name, "keys.npy", sizeof "keys.npy");
    for (; n < MEMBERS_MOST && parts[n] && status == OMEN_OK; n++) {
        member *m = &members[n];
        m->offset = at;
        status = read_part(parts[n], NULL, bytes, m, why);
        if (status == OMEN_OK)
            status = put_local(out, m, why);
        if (status == OMEN_OK)
            status = read_part(parts[n], out, bytes, m, why);
        at += LOCAL_BYTES + strlen(m->name) + 20 + m->n_bytes;
    }
    for (unsigned i = 0; i < n && status == OMEN_OK; i++) {
        status = put_entry(out, &members[i], why);
        n_directory_bytes += ENTRY_BYTES + strlen(members[i].name) + 28;
    }
    free(bytes);
    return status == OMEN_OK ? put_end(out, at, n_directory_bytes, n, why) : status;
}
