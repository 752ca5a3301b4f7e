/* SPDX-License-Identifier: Apache-2.0 */
/* Containers as files, whatever their sections are; compressed files; codes without lists. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/container.h"
#include "formats/omz.h"
#include "tests/fuzz/fuzz.h"

/* ---- containers ---- */

static void note_damage(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text)
{
    (void)first, (void)n_bytes;
    FUZZ_REQUIRE(strlen(section) == 4 && text[0] != '\0', "damage without a place");
    ++*(unsigned *)context;
}

/* The first byte says which checksums are made right. Opening promises that lengths and places are; a check, that all
 * bytes are those that were written. */
void fuzz_container(const uint8_t *data, size_t n_bytes)
{
    omen_container *container = NULL;
    omen_detail why = {""};
    unsigned n_damaged = 0;

    if (n_bytes < 1)
        return;
    uint8_t *file = (uint8_t *)fuzz_text(data + 1, n_bytes - 1);

    if (data[0] % 4)
        fuzz_seal(file, n_bytes - 1);
    fuzz_write("x.omen", file, n_bytes - 1);
    fuzz_limit_memory_of_file(file, n_bytes - 1); /* verify takes any file of vectors too */
    const int status = omen_container_open(&container, "x.omen", &why);

    FUZZ_REQUIRE((status == OMEN_OK) == !!container && (container || why.text[0] != '\0'), "%d", status);
    if (container) {
        size_t n;
        const omen_section *sections = omen_container_sections(container, &n);
        int n_failed = 0;

        for (size_t i = 0; i < n; i++) {
            const uint64_t offset = omen_container_offset(container, i);

            FUZZ_REQUIRE(offset % 4096 == 0 && offset + sections[i].n_bytes <= n_bytes - 1, "section %zu", i);
            n_failed += omen_section_check(&sections[i], &why) != OMEN_OK;
        }
        const int status_of_all = omen_container_check(container, 1, note_damage, &n_damaged, &why);

        FUZZ_REQUIRE((status_of_all == OMEN_OK) == (n_damaged == 0), "%u parts are damaged", n_damaged);
        FUZZ_REQUIRE(n_failed == 0 || status_of_all == OMEN_ERR_CORRUPT, "%d sections are damaged", n_failed);
    }
    omen_container_close(container);
    const int code = fuzz_command("info x.omen"), code_of_verify = fuzz_command("verify -q -t 1 x.omen");

    FUZZ_REQUIRE(status == OMEN_OK || (code != 0 && code_of_verify != 0), "%d, and info exits %d, verify %d", status,
                 code, code_of_verify);
    fuzz_lift_limit();
    free(file);
}

void fuzz_container_seeds(void)
{
    static const uint8_t bytes[9000] = {1, 2, 3};
    const fuzz_part parts[] = {{OMEN_SECTION_META, 0, 0, bytes, 128},
                               {OMEN_FOURCC('X', 'T', 'R', 'A'), 3, 1, bytes, 4096},
                               {OMEN_FOURCC('N', 'O', 'N', 'E'), 0, 1, bytes, 0},
                               {OMEN_FOURCC('L', 'O', 'N', 'G'), 6, 0, bytes, 9000}};
    for (size_t n = 0; n <= 4; n++) {
        size_t n_bytes;

        fuzz_write_container("seed.omen", parts, n);
        uint8_t *file = fuzz_read("seed.omen", &n_bytes), *seed = malloc(n_bytes + 1);

        FUZZ_REQUIRE(file && seed, "%s", strerror(errno));
        seed[0] = n % 2 ? 1 : 0;
        memcpy(seed + 1, file, n_bytes);
        fuzz_seed(seed, n_bytes + 1);
        free(seed);
        free(file);
    }
}

/* ---- compressed files ---- */

void fuzz_packed(const uint8_t *data, size_t n_bytes)
{
    fuzz_part parts[FUZZ_MAX_PARTS];
    const size_t n = fuzz_parts(data, n_bytes, parts);
    omen_container *container = NULL;
    omen_omz *omz = NULL;
    omen_vectors *vectors = NULL;
    omen_index *index = NULL;
    omen_detail why = {""};
    unsigned n_damaged = 0;

    fuzz_write_container("x.omz", parts, n);
    fuzz_limit_memory(n_bytes + 4096 * (2 * n + 2));
    if (omen_container_open(&container, "x.omz", &why) == OMEN_OK && omen_omz_is(container) &&
        omen_omz_open(&omz, container, &why) == OMEN_OK) {
        const int status = omen_omz_check(omz, 1, note_damage, &n_damaged);
        const int fd = open("x.out", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        const int status_of_file = omen_omz_unpack_to(omz, fd, true, 1, NULL, NULL, &why);

        FUZZ_REQUIRE(fd >= 0, "%s", strerror(errno));
        FUZZ_REQUIRE((status == OMEN_OK) == (n_damaged == 0), "%d: %u blocks are damaged", status, n_damaged);
        FUZZ_REQUIRE((status == OMEN_OK) == (status_of_file == OMEN_OK), "check %d, unpack %d: %s", status,
                     status_of_file, why.text);
        FUZZ_REQUIRE(status != OMEN_OK || (uint64_t)lseek(fd, 0, SEEK_END) == omen_omz_original_bytes(omz),
                     "%lld bytes", (long long)lseek(fd, 0, SEEK_END));
        close(fd);
    }
    omen_omz_close(omz);
    if (container && omen_container_open_index(&container, &index, "x.omz", (uint64_t)8 << 20, true, &why) == OMEN_OK) {
        omen_index_info info = {.struct_bytes = sizeof info};

        FUZZ_REQUIRE(omen_index_get_info(index, &info) == OMEN_OK && info.n_rows > 0, "info");
    }
    omen_index_close(index);
    omen_container_close(container);
    if (omen_vectors_open(&vectors, "x.omz", NULL, &why) == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        float *row = malloc(source.d * sizeof *row);

        FUZZ_REQUIRE(row, "%u", source.d);
        if (source.read(source.self, source.n_rows - 1, 1, row, &why) != OMEN_OK)
            FUZZ_REQUIRE(why.text[0] != '\0', "a failure without a reason");
        free(row);
    }
    omen_vectors_close(vectors);
    fuzz_lift_limit();
}

void fuzz_packed_seeds(void)
{
    const fuzz_recipe recipe = {.n = 20, .d = 3, .codec = OMEN_CODEC_PQ, .refine = OMEN_REFINE_SQ8};
    static const char *const lines[] = {"1.25,2,3\n", "-4,5.5,1e3\n"};
    char text[40 * 12], *to = text;

    fuzz_make_index("a.omen", &recipe);
    FUZZ_REQUIRE(fuzz_command("compress -q -t 1 -o a.omz a.omen") == 0, "compress");
    fuzz_seed_container("a.omz");
    fuzz_make_vectors("b.fvecs", 300, 5);
    FUZZ_REQUIRE(fuzz_command("compress -q -t 1 -o b.omz b.fvecs") == 0, "compress");
    fuzz_seed_container("b.omz");
    for (int i = 0; i < 40; i++)
        to = stpcpy(to, lines[i % 2]);
    fuzz_write("c.csv", text, (size_t)(to - text));
    if (fuzz_command("compress -q -t 1 -o c.omz c.csv") == 0)
        fuzz_seed_container("c.omz");
    /* every type of values, and narrowing of each */
    for (size_t i = 0; i < 4; i++) {
        static const char *const types[] = {"<f8", "<f4", ">f4", "<i4"};
        uint8_t npy[128 + 512] = "\x93NUMPY\1\0\x76";
        char *header = (char *)npy + 10;

        const int n = snprintf(header, 118, "{'descr': '%s', 'fortran_order': False, 'shape': (%d, 4), }", types[i],
                               i == 0 ? 16 : 32);
        memset(header + n, ' ', (size_t)(117 - n));
        npy[127] = '\n';
        for (int j = 0; j < (i == 0 ? 64 : 128); j++) {
            const double real = j / 8.0 + (j % 3 ? 0.001 : 0);
            const float single = (float)real;

            if (i == 0)
                memcpy(npy + 128 + 8 * j, &real, 8);
            else if (i == 3)
                memcpy(npy + 128 + 4 * j, &j, 4);
            else
                memcpy(npy + 128 + 4 * j, &single, 4);
        }
        fuzz_write("d.npy", npy, sizeof npy);
        if (fuzz_command("compress -q -t 1 -f -o d.omz d.npy") == 0 ||
            fuzz_command("compress -q -t 1 -o d.omz d.npy") == 0)
            fuzz_seed_container("d.omz");
    }
    FUZZ_REQUIRE(fuzz_command("compress -q -t 1 --codec none -o e.omz b.fvecs") == 0 ||
                     fuzz_command("compress -q -t 1 --bytes 4 -o e.omz b.fvecs") == 0,
                 "compress to codes");
    fuzz_seed_container("e.omz");
}

/* ---- codes ---- */

static void note_fault(void *context, const char *section, const char *text)
{
    (void)section;
    FUZZ_REQUIRE(text[0] != '\0', "a fault without a text");
    ++*(unsigned *)context;
}

void fuzz_codes(const uint8_t *data, size_t n_bytes)
{
    static const char *const levels[] = {"scalar", "avx2", "avx512", "avx512vnni", "neon"};
    fuzz_part parts[FUZZ_MAX_PARTS];
    const size_t n = fuzz_parts(data, n_bytes, parts);
    omen_container *container = NULL;
    omen_codes *codes = NULL;
    omen_detail why = {""};
    unsigned n_faults = 0;
    size_t n_sections;

    fuzz_write_container("x.omen", parts, n);
    fuzz_limit_memory(n_bytes + 4096 * (2 * n + 2));
    if (omen_container_open(&container, "x.omen", &why) == OMEN_OK) {
        const omen_section *sections = omen_container_sections(container, &n_sections);

        if (omen_codes_are(sections, n_sections) && omen_codes_open(&codes, sections, n_sections, &why) == OMEN_OK) {
            const omen_source source = omen_codes_source(codes);
            const bool is_sound = omen_codes_check(codes, note_fault, &n_faults) == OMEN_OK;
            const uint64_t n_rows = source.n_rows < 200 ? source.n_rows : 200;
            const size_t size = n_rows * source.d * sizeof(float);
            float *rows = malloc(2 * size), *others = rows + n_rows * source.d;
            int first_status = OMEN_OK;

            FUZZ_REQUIRE(rows && is_sound == (n_faults == 0), "%u faults", n_faults);
            for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
                if (omen_cpu_select(levels[i], NULL) != OMEN_OK)
                    continue;
                const int status = source.read(source.self, 0, n_rows, i == 0 ? rows : others, &why);

                FUZZ_REQUIRE(status == OMEN_OK || !is_sound, "sound codes: %s", why.text);
                FUZZ_REQUIRE(i == 0 || status == first_status, "%s: %d, not %d", levels[i], status, first_status);
                FUZZ_REQUIRE(i == 0 || status != OMEN_OK || memcmp(rows, others, size) == 0, "%s", levels[i]);
                first_status = status;
            }
            FUZZ_REQUIRE(omen_cpu_select(NULL, NULL) == OMEN_OK, "best level");
            free(rows);
        }
    }
    omen_codes_close(codes);
    omen_container_close(container);
    fuzz_lift_limit();
}

void fuzz_codes_seeds(void)
{
    static const fuzz_recipe recipes[] = {
        {.n = 40, .d = 5, .codec = OMEN_CODEC_PQ, .refine = OMEN_REFINE_NONE, .codes_only = true},
        {.n = 40, .d = 9, .codec = OMEN_CODEC_RABITQ, .refine = OMEN_REFINE_NONE, .codes_only = true},
        {.n = 20, .d = 5, .codec = OMEN_CODEC_NONE, .refine = OMEN_REFINE_SQ12, .codes_only = true}};

    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        fuzz_make_index("seed.omen", &recipes[i]);
        fuzz_seed_container("seed.omen");
        fuzz_clean();
    }
}
