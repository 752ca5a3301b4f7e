/* SPDX-License-Identifier: Apache-2.0 */
/* Included before each file that tests/static.sh analyzes: what analyzers do not see across files. */
#include "lib/omendb.h"

/* It returns its code: a failure is never OMEN_OK. */
#define omen_fail(detail, code, ...) ((omen_fail)(detail, code, __VA_ARGS__), (code))
