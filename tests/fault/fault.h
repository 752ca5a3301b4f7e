/* SPDX-License-Identifier: Apache-2.0 */
/* Fault injection for a unit test that links fault.c and calls the library itself. */
#ifndef OMEN_FAULT_H
#define OMEN_FAULT_H

typedef enum { FAULT_IO, FAULT_SHORT, FAULT_ALLOC } fault_kind;

/* What is to fail from now on, as OMEN_FAULT has it; NULL: nothing. Calls are counted anew. */
void fault_plan(const char *text);

/* The calls of a kind since then. */
unsigned long fault_count(fault_kind kind);

#endif
