/* SPDX-License-Identifier: Apache-2.0 */
/* Structs that may grow: between a program's idea of one and the library's (see the top of omendb.h). */
#ifndef OMEN_SIZED_H
#define OMEN_SIZED_H

#include "lib/omendb.h"

/* Copies a program's struct, which begins with its struct_bytes, over the n_bytes that the library knows of it; what
 * the program does not know is 0. name is the struct's, for messages. Returns OMEN_OK, or OMEN_ERR_ARGUMENT where
 * struct_bytes was not set or is larger than n_bytes. */
int omen_sized_take(void *out, size_t n_bytes, const void *program, const char *name, omen_detail *why) OMEN_MUST_CHECK;

/* Fills the first struct_bytes bytes of a program's options with defaults, of which n_bytes are known, and sets its
 * struct_bytes. */
void omen_sized_init(void *program, size_t struct_bytes, const void *defaults, size_t n_bytes);

/* Copies back as much as the program knows. */
void omen_sized_give(void *program, const void *from);

#endif
