/* SPDX-License-Identifier: Apache-2.0 */
/* Zip archives: the record at the end, the directory that it leads to, and of each member the header before its bytes,
 * which has to agree with the directory. Every offset and length is checked against what there is. */
#include "formats/zip.h"

#include <inttypes.h>
#include <string.h>

#define END_BYTES      22u
#define LOCATOR_BYTES  20u
#define END_64_BYTES   56u
#define ENTRY_BYTES    46u
#define LOCAL_BYTES    30u
#define MOST_COMMENT   0xffffu
#define FLAG_ENCRYPTED 1u
#define EXTRA_ZIP64    1u
#define UNKNOWN_16     0xffffu     /* the number is in a record of zip64 */
#define UNKNOWN_32     0xffffffffu /* likewise */

static uint64_t load(const unsigned char *from, unsigned n_bytes)
{
    uint64_t value = 0;
    while (n_bytes > 0)
        value = value << 8 | from[--n_bytes];
    return value;
}

static bool is_mark(const unsigned char *from, char c, char d)
{
    return from[0] == 'P' && from[1] == 'K' && from[2] == (unsigned char)c && from[3] == (unsigned char)d;
}

bool omen_zip_is(const unsigned char *bytes, uint64_t n_bytes)
{
    return n_bytes >= END_BYTES && (is_mark(bytes, 3, 4) || is_mark(bytes, 5, 6));
}

static int fail_directory(omen_detail *reason)
{
    return omen_fail(reason, OMEN_ERR_INPUT, "it is damaged or cut short: the directory of the zip archive is unsound");
}

int omen_zip_open(omen_zip *out, const unsigned char *bytes, uint64_t n_bytes, omen_detail *reason)
{
    if (!omen_zip_is(bytes, n_bytes))
        return omen_fail(reason, OMEN_ERR_INPUT, "it is no zip archive");
    uint64_t end = n_bytes - END_BYTES;
    const uint64_t least = end > MOST_COMMENT ? end - MOST_COMMENT : 0;
    while (end > least && !(is_mark(bytes + end, 5, 6) && load(bytes + end + 20, 2) == n_bytes - END_BYTES - end))
        end--;
    if (!is_mark(bytes + end, 5, 6) || load(bytes + end + 20, 2) != n_bytes - END_BYTES - end)
        return omen_fail(reason, OMEN_ERR_INPUT, "it is cut short: the zip archive has no end");
    uint64_t n = load(bytes + end + 10, 2), size = load(bytes + end + 12, 4), offset = load(bytes + end + 16, 4);
    uint64_t disk = load(bytes + end + 4, 2), limit = end;
    if (n == UNKNOWN_16 || size == UNKNOWN_32 || offset == UNKNOWN_32) {
        const unsigned char *locator = bytes + end - LOCATOR_BYTES;
        if (end >= LOCATOR_BYTES && is_mark(locator, 6, 7)) {
            const uint64_t at = load(locator + 8, 8);
            limit = end - LOCATOR_BYTES;
            if (at > limit || limit - at < END_64_BYTES || !is_mark(bytes + at, 6, 6))
                return fail_directory(reason);
            limit = at;
            disk = load(bytes + at + 16, 4);
            n = load(bytes + at + 32, 8);
            size = load(bytes + at + 40, 8);
            offset = load(bytes + at + 48, 8);
        }
    }
    if (disk != 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "it is a part of a zip archive in several files");
    if (offset > limit || size > limit - offset || n > size / ENTRY_BYTES)
        return fail_directory(reason);
    *out = (omen_zip){.bytes = bytes, .n_bytes = n_bytes, .at = offset, .end = offset + size, .n_left = n};
    return OMEN_OK;
}

/* Takes from the field of zip64 what the entry itself has no room for, in its order. */
static bool load_extra(const unsigned char *extra, uint64_t n_extra, uint64_t *numbers[3])
{
    while (n_extra >= 4) {
        const uint64_t n = load(extra + 2, 2);
        if (n > n_extra - 4)
            return false;
        if (load(extra, 2) == EXTRA_ZIP64) {
            const unsigned char *at = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*numbers[i] != UNKNOWN_32)
                    continue;
                if (at + 8 > extra + 4 + n)
                    return false;
                *numbers[i] = load(at, 8);
                at += 8;
            }
            return true;
        }
        extra += 4 + n;
        n_extra -= 4 + n;
    }
    return true;
}

/* Finds the bytes of a member whose local header is at offset. */
static bool find_bytes(const omen_zip *zip, omen_zip_member *m, uint64_t offset)
{
    if (offset > zip->n_bytes || zip->n_bytes - offset < LOCAL_BYTES)
        return false;
    const unsigned char *local = zip->bytes + offset;
    const uint64_t n_name = load(local + 26, 2), n_extra = load(local + 28, 2);
    const uint64_t left = zip->n_bytes - offset - LOCAL_BYTES;
    if (!is_mark(local, 3, 4) || n_name != m->n_name || n_name + n_extra > left ||
        memcmp(local + LOCAL_BYTES, m->name, n_name) != 0)
        return false;
    m->offset = offset + LOCAL_BYTES + n_name + n_extra;
    return m->n_packed <= zip->n_bytes - m->offset && (m->method != OMEN_ZIP_STORED || m->n_packed == m->n_bytes);
}

int omen_zip_next(omen_zip *zip, omen_zip_member *out, bool *is_end, omen_detail *reason)
{
    *is_end = zip->n_left == 0;
    if (*is_end)
        return OMEN_OK;
    const unsigned char *entry = zip->bytes + zip->at;
    if (zip->end - zip->at < ENTRY_BYTES || !is_mark(entry, 1, 2))
        return fail_directory(reason);
    const uint64_t n_name = load(entry + 28, 2), n_extra = load(entry + 30, 2), n_comment = load(entry + 32, 2);
    const uint64_t n_entry = ENTRY_BYTES + n_name + n_extra + n_comment;
    if (zip->end - zip->at < n_entry)
        return fail_directory(reason);
    uint64_t offset = load(entry + 42, 4);
    *out = (omen_zip_member){.name = (const char *)entry + ENTRY_BYTES,
                             .n_name = (uint32_t)n_name,
                             .method = (unsigned)load(entry + 10, 2),
                             .is_encrypted = load(entry + 8, 2) & FLAG_ENCRYPTED,
                             .checksum = (uint32_t)load(entry + 16, 4),
                             .n_packed = load(entry + 20, 4),
                             .n_bytes = load(entry + 24, 4)};
    uint64_t *numbers[3] = {&out->n_bytes, &out->n_packed, &offset};
    if (!load_extra(entry + ENTRY_BYTES + n_name, n_extra, numbers) || !find_bytes(zip, out, offset))
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the zip archive is damaged: member \"%.*s\" is not where it should be",
                         (int)(n_name < 80 ? n_name : 80), out->name);
    zip->at += n_entry;
    zip->n_left--;
    return OMEN_OK;
}
