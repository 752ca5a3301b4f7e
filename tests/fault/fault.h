/* SPDX-License-Identifier: Apache-2.0 */
/* Fault injection for a unit test that links fault.c and calls the library itself. */
#ifndef OMEN_FAULT_H
#define OMEN_FAULT_H

typedef enum { FAULT_IO, FAULT_SHORT, FAULT_ALLOC } fault_kind;

/* What is to fail from now on, as OMEN_FAULT has it; NULL: nothing. Calls are counted anew. */
void fault_plan(const char *text);

/* In front of the nth I/O call from now on action is run, as what another process does at that moment; no call fails.
 */
void fault_act(unsigned long n, void (*action)(void));

/* The name of the call in front of which it was run last. */
const char *fault_struck(void);

/* The calls of a kind since then. */
unsigned long fault_count(fault_kind kind);

#endif
