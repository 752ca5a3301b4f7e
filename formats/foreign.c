/* SPDX-License-Identifier: Apache-2.0 */
/* Files of other programs. A name is given only where more than one sign of it is there, since rows of raw values may
 * begin with anything. */
#include "formats/foreign.h"
#include "formats/zip.h"

#include <string.h>

static bool is_parquet(const unsigned char *bytes, uint64_t n)
{
    return n >= 12 && memcmp(bytes, "PAR1", 4) == 0 && memcmp(bytes + n - 4, "PAR1", 4) == 0;
}

static bool is_arrow(const unsigned char *bytes, uint64_t n)
{
    return n >= 16 && memcmp(bytes, "ARROW1\0\0", 8) == 0;
}

/* Protocol 2 and later: its number first, a first operation that begins something, STOP at the end. */
static bool is_pickle(const unsigned char *bytes, uint64_t n)
{
    static const unsigned char first[] = {0x95, 'c', ']', '(', '}'};
    return n >= 4 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5 && memchr(first, bytes[2], sizeof first) &&
           bytes[n - 1] == '.';
}

/* A zip archive with a member data.pkl in a folder. */
static bool is_torch(const unsigned char *bytes, uint64_t n)
{
    static const char name[] = "/data.pkl";
    const size_t n_name = sizeof name - 1;
    omen_zip zip;
    omen_zip_member m;
    bool is_end = false;
    if (!omen_zip_is(bytes, n) || omen_zip_open(&zip, bytes, n, NULL) != OMEN_OK)
        return false;
    while (omen_zip_next(&zip, &m, &is_end, NULL) == OMEN_OK && !is_end)
        if (m.n_name > n_name && memcmp(m.name + m.n_name - n_name, name, n_name) == 0)
            return true;
    return false;
}

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A list of objects or of lists: two brackets at its beginning, and one at its end. */
static bool is_json(const unsigned char *bytes, uint64_t n)
{
    uint64_t at = 0;
    while (n > 0 && is_blank(bytes[n - 1]))
        n--;
    while (at < n && is_blank(bytes[at]))
        at++;
    if (n - at < 4 || bytes[at++] != '[' || bytes[n - 1] != ']')
        return false;
    while (is_blank(bytes[at]))
        at++;
    return bytes[at] == '{' || bytes[at] == '[';
}

const char *omen_foreign_name(const omen_input *input)
{
    static const struct {
        const char *name;
        bool (*is_it)(const unsigned char *bytes, uint64_t n_bytes);
    } kinds[] = {{"Parquet", is_parquet},
                 {"Arrow", is_arrow},
                 {"pickle", is_pickle},
                 {"a file of PyTorch", is_torch},
                 {"one JSON text", is_json}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].is_it(input->bytes, input->n_bytes))
            return kinds[i].name;
    return NULL;
}
