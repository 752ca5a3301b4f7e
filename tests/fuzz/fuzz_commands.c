/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines: their options alone, of every command; and what they do, in a directory of small files. A word is what
 * stands between blanks. None has a slash, so that nothing outside of the directory is reached. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/options.h"
#include "tests/fuzz/fuzz.h"

#define MAX_WORDS 48

/* Splits text; returns how many words there are. */
static int split(char *text, char *words[MAX_WORDS + 1])
{
    int n = 0;

    for (char *c = text; *c != '\0'; c++)
        if (*c == '/')
            *c = '_';
    for (char *word = strtok(text, " \n"); word && n < MAX_WORDS; word = strtok(NULL, " \n"))
        words[n++] = word;
    words[n] = NULL;
    return n;
}

/* verify keeps copies of the words of --source, which it frees itself: fuzz_commands() has that. */
static bool has_source(char *const *words, int n)
{
    for (int i = 1; i < n; i++)
        if (strncmp(words[i], "--source", 8) == 0)
            return true;
    return false;
}

void fuzz_options(const uint8_t *data, size_t n_bytes)
{
    static const cmd_syntax *const all[] = {
        &cmd_attach_syntax, &cmd_bench_syntax, &cmd_build_syntax, &cmd_completion_syntax, &cmd_compress_syntax,
        &cmd_info_syntax,   &cmd_merge_syntax, &cmd_query_syntax, &cmd_train_syntax,      &cmd_verify_syntax};
    char *text = fuzz_text(data, n_bytes), *words[MAX_WORDS + 1];
    const int n = split(text, words);

    for (size_t i = 0; n > 0 && !has_source(words, n) && i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i]->command, words[0]) != 0)
            continue;
        void *self = calloc(1, (size_t)1 << 16);

        FUZZ_REQUIRE(self, "%s", words[0]);
        fuzz_limit_memory(n_bytes);
        optind = 0;
        const int code = cmd_options_parse(all[i], n, words, self);

        FUZZ_REQUIRE(code == CMD_GO_ON || code == CMD_EXIT_OK || code == CMD_EXIT_USAGE, "%d", code);
        FUZZ_REQUIRE(optind >= 0 && optind <= n, "%d of %d", optind, n);
        fuzz_lift_limit();
        free(self);
    }
    free(text);
}

void fuzz_options_seeds(void)
{
    static const char *const seeds[] = {
        "build -m ip --codec pq -b 16 -r sq8 --lists=100 -M 512M -t 2 -o a.omen b.fvecs -q",
        "query -k 10 --recall=0.9 --way graph -F jsonl --header i.omen q.fvecs -v --effort-factor 1.5",
        "bench --json -k 1 10 100 --recall 0.9 0.99 --runs 3 --min-time 0.1 --baseline b.json a.fvecs",
        "attach --key k.txt:id --columns c.tsv --column-types a:int64 --column n=a.npy --tags t.spmat -o o a.omen",
        "compress -9 --bytes 8 --codec rabitq -f -c --long -d x.omz",
        "verify --quick --json -t 2 a.omen b.fvecs",
        "train --dim 5 --seed 18446744073709551615 -o m.model a",
        "merge --model m --allow-duplicates 0.shard",
        "info --help",
        "completion bash",
        "query --reca 0.9",
        "build -M 1e9G --threads -1",
        "query --cpu avx3 -k 0"};

    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
        fuzz_seed(seeds[i], strlen(seeds[i]));
}

/* ---- what they do ---- */

static void make_files(void)
{
    const fuzz_recipe recipe = {.n = 30, .d = 3, .refine = OMEN_REFINE_SQ8, .keys = true, .columns = true};
    static bool are_made;

    if (are_made)
        return;
    fuzz_make_index("a.omen", &recipe);
    FUZZ_REQUIRE(rename("made.fvecs", "a.fvecs") == 0 && rename("keys.txt", "k.txt") == 0 &&
                     rename("columns.tsv", "c.tsv") == 0 && rename("tags.txt", "t.txt") == 0,
                 "%s", strerror(errno));
    static const char *const names[] = {"a.omen", "a.fvecs", "k.txt", "c.tsv", "t.txt"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        fuzz_keep(names[i]);
    are_made = true;
}

/* Threads are asked for by the thousand, which takes a while and tells nothing. */
static bool wants_threads(char *const *words, int n)
{
    for (int i = 1; i < n; i++) {
        const char *value = strncmp(words[i], "-t", 2) == 0            ? words[i] + 2
                            : strncmp(words[i], "--threads=", 10) == 0 ? words[i] + 10
                            : i > 1 && words[i - 1][0] == '-'          ? words[i]
                                                                       : "";

        if (atoll(value) > 4 && (value != words[i] || strchr(words[i - 1], 't')))
            return true;
    }
    return false;
}

void fuzz_commands(const uint8_t *data, size_t n_bytes)
{
    char *text = fuzz_text(data, n_bytes), *words[MAX_WORDS + 1];
    const int n = split(text, words);

    make_files();
    if (n > 0 && !wants_threads(words, n)) {
        /* a command that read standard input has closed it */
        if (fcntl(STDIN_FILENO, F_GETFD) == -1)
            FUZZ_REQUIRE(open("/dev/null", O_RDONLY) == STDIN_FILENO, "%s", strerror(errno));
        fuzz_limit_memory((size_t)4 << 20); /* of zstd at its highest levels */
        fuzz_run_command(n, words);
        fuzz_lift_limit();
        FUZZ_REQUIRE(omen_cpu_select(NULL, NULL) == OMEN_OK, "best level");
        fuzz_clean();
    }
    free(text);
}

void fuzz_commands_seeds(void)
{
    static const char *const seeds[] = {
        "build -t 1 -m cosine --codec pq -b 8 -r sq8 -l 3 --columns c.tsv --tags t.txt --key k.txt -o b.omen a.fvecs",
        "build -t 1 --graph --degree 9 --cpu scalar --json -v a.fvecs a.fvecs -o b.omen",
        "query -t 1 -k 3 --distances --header -F csv a.omen a.fvecs",
        "query -t 1 --where price=3 --only k.txt --within 5 --limit 2 -F npz -o o.npz a.omen a.fvecs",
        "query -t 1 --by-key k.txt --exclude-self --explain --audit 5 -v a.omen",
        "query -t 1 --self --pairs --within 3 -o o.tsv a.omen",
        "query -t 1 --exact --label --json -F jsonl a.omen a.omen a.fvecs",
        "attach -t 1 --graph --key k.txt --columns c.tsv -o b.omen a.omen",
        "compress -t 1 -3 -o b.omz a.omen",
        "compress -t 1 --bytes 4 -o b.omz a.fvecs",
        "compress -t 1 -c -d a.omen",
        "verify -t 1 --json a.omen --source a.fvecs --key k.txt",
        "verify --quick a.omen",
        "train -t 1 -o b.model a.fvecs",
        "merge --model b.model 0.shard",
        "info --json a.omen a.fvecs c.tsv k.txt",
        "info -v ."};

    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
        fuzz_seed(seeds[i], strlen(seeds[i]));
}
