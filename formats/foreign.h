/* SPDX-License-Identifier: Apache-2.0 */
/* Files that vectors are kept in and that are not read, known by what they begin with. */
#ifndef OMEN_FOREIGN_H
#define OMEN_FOREIGN_H

#include "formats/input.h"

/* What messages call the kind of file, such as "Parquet"; NULL: none that is known. */
const char *omen_foreign_name(const omen_input *input);

#endif
