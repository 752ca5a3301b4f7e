/* SPDX-License-Identifier: Apache-2.0 */
/* Allocations that fail: calls of a test and of the library in it, of which the linker's --wrap makes these. */
#ifndef OMEN_TESTS_FAILING_ALLOCATIONS_H
#define OMEN_TESTS_FAILING_ALLOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Counts allocations from now on; the one of that number, from 1, fails. 0: none. */
void allocations_begin(uint64_t failing);

/* How many there were since; none fails any more. */
uint64_t allocations_end(void);

#endif
