/* SPDX-License-Identifier: Apache-2.0 */
/* npz, a zip archive of npy arrays: one of them is read, where it lies if it is stored, else from a temporary copy. */
#include "formats/deflate.h"
#include "formats/file.h"
#include "formats/npy_header.h"
#include "formats/vectors_internal.h"
#include "formats/zip.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define SUFFIX       ".npy"
#define SUFFIX_BYTES 4u
#define HEAD_BYTES   4096u /* of a member, in which the header of an array of numbers ends */
#define LIST_BYTES   300u

/* The name of an array is that of its member without ".npy". False for other members. */
static bool name_bytes(const omen_zip_member *m, uint32_t *n)
{
    if (m->n_name <= SUFFIX_BYTES || memcmp(m->name + m->n_name - SUFFIX_BYTES, SUFFIX, SUFFIX_BYTES) != 0)
        return false;
    *n = m->n_name - SUFFIX_BYTES;
    return true;
}

static bool is_readable(const omen_zip_member *m)
{
    return !m->is_encrypted && (m->method == OMEN_ZIP_STORED || m->method == OMEN_ZIP_DEFLATED);
}

static int refuse_member(const omen_zip_member *m, omen_detail *reason)
{
    const int n_name = (int)(m->n_name < 60 ? m->n_name : 60);

    if (m->is_encrypted)
        return omen_fail(reason, OMEN_ERR_INPUT, "member %.*s is encrypted, which is not read", n_name, m->name);
    return omen_fail(reason, OMEN_ERR_INPUT,
                     "member %.*s is compressed by method %u, which is not read: only stored "
                     "and deflated ones are",
                     n_name, m->name, (unsigned)m->method);
}

/* Reads the header of an array. False, with OMEN_OK, for what is no array that could be read. */
static int read_header(const omen_input *input, const omen_zip_member *m, omen_npy_header *out, bool *is_array,
                       omen_detail *reason)
{
    unsigned char head[HEAD_BYTES];
    const unsigned char *bytes = input->bytes + m->offset;
    unsigned n = sizeof head;
    omen_detail ignored;
    int status = OMEN_OK;

    *is_array = false;
    if (!is_readable(m))
        return OMEN_OK;
    if (m->method == OMEN_ZIP_DEFLATED) {
        status = omen_inflate_head(bytes, m->n_packed, head, &n, reason);
        bytes = head;
    } else {
        n = m->n_packed < sizeof head ? (unsigned)m->n_packed : (unsigned)sizeof head;
    }
    *is_array = status == OMEN_OK && omen_npy_header_read(bytes, n, out, &ignored) == OMEN_OK;
    return status == OMEN_ERR_MEMORY ? status : OMEN_OK;
}

/* Adds an array to a list of them for a message. */
static void list_array(char list[LIST_BYTES], const omen_zip_member *m, uint32_t n_name, const omen_npy_header *header)
{
    const size_t used = strlen(list);
    char what[80];

    if (used + 1 >= LIST_BYTES)
        return;
    if (header->is_structured) /* nothing else was read then */
        snprintf(what, sizeof what, "structured");
    else if (header->n_shape == 1)
        snprintf(what, sizeof what, "%" PRIu64 ", %.20s", header->shape[0], header->descr);
    else if (header->n_shape == 2)
        snprintf(what, sizeof what, "%" PRIu64 " x %" PRIu64 ", %.20s", header->shape[0], header->shape[1],
                 header->descr);
    else
        snprintf(what, sizeof what, "%u dimensions, %.20s", header->n_shape, header->descr);
    snprintf(list + used, LIST_BYTES - used, "%s%.*s (%s)", used > 0 ? ", " : "", (int)(n_name < 60 ? n_name : 60),
             m->name, what);
}

/* Finds the array that is named, or the only one of two dimensions. */
static int find_member(const omen_vectors *vectors, omen_zip_member *found, omen_detail *reason)
{
    omen_zip zip;
    omen_zip_member m, unread = {0};
    omen_npy_header header;
    const char *wanted = vectors->member;
    char list[LIST_BYTES] = "";
    unsigned n_found = 0, n_arrays = 0, n_unread = 0;
    bool is_end = false;
    int status = omen_zip_open(&zip, vectors->input.bytes, vectors->input.n_bytes, reason);

    while (status == OMEN_OK) {
        uint32_t n_name;
        bool is_array;
        status = omen_zip_next(&zip, &m, &is_end, reason);
        if (status != OMEN_OK || is_end)
            break;
        if (!name_bytes(&m, &n_name))
            continue;
        if (wanted && (strlen(wanted) == n_name || strlen(wanted) == m.n_name) &&
            memcmp(wanted, m.name, strlen(wanted)) == 0) {
            *found = m;
            n_found++;
        }
        if (!is_readable(&m) && n_unread++ == 0)
            unread = m;
        status = read_header(&vectors->input, &m, &header, &is_array, reason);
        if (status != OMEN_OK || !is_array)
            continue;
        list_array(list, &m, n_name, &header);
        n_arrays++;
        if (!wanted && header.n_shape == 2) {
            *found = m;
            n_found++;
        }
    }
    if (status != OMEN_OK || n_found == 1)
        return status;
    if (n_arrays == 0 && n_unread > 0)
        return refuse_member(&unread, reason);
    if (n_arrays == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "the zip archive holds no arrays of NumPy");
    if (wanted)
        return omen_fail(reason, OMEN_ERR_INPUT, "it has %s array \"%.100s\"; there %s %s",
                         n_found == 0 ? "no" : "more than one", wanted, n_arrays == 1 ? "is" : "are", list);
    return omen_fail(reason, OMEN_ERR_INPUT, "%s, so name one, as FILE:NAME, of %s",
                     n_found == 0 ? "no array has two dimensions" : "several arrays have two dimensions", list);
}

/* Unpacks a member to a temporary file, which takes the input's place. */
static int unpack(omen_vectors *vectors, const omen_zip_member *m, omen_detail *reason)
{
    omen_inflate work = {.form = OMEN_INFLATE_RAW,
                         .from = vectors->input.bytes + m->offset,
                         .n_from = m->n_packed,
                         .total = m->n_packed,
                         .most_bytes = m->n_bytes,
                         .progress = vectors->progress,
                         .context = vectors->context};
    if (vectors->keeps_input)
        return omen_fail(reason, OMEN_ERR_INPUT, "its arrays are compressed already");
    int status = omen_spool_open(vectors->input.label, &work.fd, reason);
    if (status != OMEN_OK)
        return status;
    omen_detail cause = {""};
    status = omen_spool_check_room(work.fd, m->n_bytes, &cause);
    if (status == OMEN_OK)
        status = omen_inflate_run(&work, &cause);
    if (status == OMEN_ERR_IO)
        omen_fail(reason, status, "cannot write the temporary copy of %s: %s", vectors->input.label, cause.text);
    else if (status != OMEN_OK)
        omen_fail(reason, status, "%s", cause.text);
    if (status == OMEN_OK && (work.n_written != m->n_bytes || work.checksum != m->checksum))
        status = omen_fail(reason, OMEN_ERR_INPUT, "the array is damaged: its checksum or length is not the one given");
    if (status == OMEN_OK)
        return omen_input_replace(&vectors->input, work.fd, false, reason);
    close(work.fd);
    return status;
}

int omen_npz_prepare(omen_vectors *vectors, uint32_t *d, omen_detail *reason)
{
    omen_zip_member m;
    int status = find_member(vectors, &m, reason);

    if (status != OMEN_OK)
        return status;
    if (!is_readable(&m))
        return refuse_member(&m, reason);
    if (m.method == OMEN_ZIP_DEFLATED)
        return unpack(vectors, &m, reason);
    if (m.n_bytes == 0 || omen_crc32(vectors->input.bytes + m.offset, m.n_bytes) != m.checksum)
        return omen_fail(reason, OMEN_ERR_INPUT, "the array is damaged: its checksum is not the one given");
    vectors->part_offset = m.offset;
    vectors->n_part = m.n_bytes;
    return OMEN_OK;
}

/* An archive of which a member is called like an array. */
bool omen_npz_probe(const omen_input *input, const omen_vector_format *format)
{
    omen_zip zip;
    omen_zip_member m;
    uint32_t n_name;
    bool is_end = false, is_array = false;
    if (!omen_zip_is(input->bytes, input->n_bytes) ||
        omen_zip_open(&zip, input->bytes, input->n_bytes, NULL) != OMEN_OK)
        return false;
    while (!is_array && omen_zip_next(&zip, &m, &is_end, NULL) == OMEN_OK && !is_end)
        is_array = name_bytes(&m, &n_name);
    return is_array;
}
