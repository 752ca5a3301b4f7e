/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the files of query: the rows that files name. */
#ifndef QUERY_ONLY_H
#define QUERY_ONLY_H

#include "cmd/cmd.h"

/* Reads files of row numbers, one a line, blank lines left out: the rows of only less those of except. Either may be
 * NULL, and either "-", standard input. *set is the caller's. Returns OMEN_OK, OMEN_ERR_INPUT (what is no row: why
 * names the line), or as omen_input_open() and omen_row_set_create(). */
int query_only_read(const omen_index *index, const char *only, const char *except, omen_row_set **set,
                    omen_detail *why) OMEN_MUST_CHECK;

#endif
