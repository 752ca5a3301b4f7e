/* SPDX-License-Identifier: Apache-2.0 */
/* Containers written to the scratch directory, opened and checked. */
#ifndef OMEN_CONTAINER_FILES_H
#define OMEN_CONTAINER_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/container.h"
#include "lib/omendb.h"

#define MIB      ((size_t)1 << 20)
#define IDENTITY 0x0123456789abcdefu

extern bool racing; /* other processes write the same path */

typedef struct damage_log {
    int n;
    char section[8][8];
    uint64_t first[8], n_bytes[8];
    char text[8][256];
} damage_log;

#define N_ALL 8
extern const size_t all_lengths[N_ALL];
#define N_SMALL 4
extern const size_t small_lengths[N_SMALL];

/* A path in the test's directory; valid until eight more were asked for. */
const char *in_directory(const char *name);

bool exists(const char *path);

/* Something to stop on: the rest of a test would only repeat the complaint. */
void need(bool good, const char *what);

uint8_t *read_file(const char *path, size_t *n_bytes);

void write_file(const char *path, const uint8_t *bytes, size_t n_bytes);

uint8_t byte_at(size_t section, size_t i);

uint8_t *make_payload(size_t section, size_t n_bytes);

uint32_t section_id(size_t i);

/* Writes sections of the given lengths; each is appended in steps of step bytes, every third is optional. */
int write_container(const char *path, const size_t *lengths, size_t n, size_t step, omen_detail *why);

void log_damage(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text);

/* Opens and fully checks: what `verify` does. */
int open_and_check(const char *path, int n_threads, damage_log *log, omen_detail *why);

int open_only(const char *path, omen_detail *why);

#endif
