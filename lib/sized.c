/* SPDX-License-Identifier: Apache-2.0 */
/* Structs that may grow. */
#include <string.h>

#include "lib/sized.h"

static size_t size_of(const void *program)
{
    size_t n_bytes;
    memcpy(&n_bytes, program, sizeof n_bytes);
    return n_bytes;
}

int omen_sized_take(void *out, size_t n_bytes, const void *program, const char *name, omen_detail *why)
{
    const size_t given = size_of(program);
    memset(out, 0, n_bytes);
    if (given < sizeof given)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%s.struct_bytes is not set", name);
    if (given > n_bytes)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "%s has %zu bytes, and this library (" OMEN_VERSION
                         ") knows %zu of them: the program was compiled for a newer one",
                         name, given, n_bytes);
    memcpy(out, program, given);
    memcpy(out, &n_bytes, sizeof n_bytes);
    return OMEN_OK;
}

void omen_sized_init(void *program, size_t struct_bytes, const void *defaults, size_t n_bytes)
{
    memset(program, 0, struct_bytes);
    memcpy(program, defaults, struct_bytes < n_bytes ? struct_bytes : n_bytes);
    memcpy(program, &struct_bytes, sizeof struct_bytes);
}

void omen_sized_give(void *program, const void *from)
{
    const size_t known = sizeof(size_t), given = size_of(program);
    memcpy((char *)program + known, (const char *)from + known, given - known);
}
