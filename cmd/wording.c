/* SPDX-License-Identifier: Apache-2.0 */
/* The library's texts, which name fields of its options, in the words of the command line. */
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>

/* Characters of a name that mean themselves to a shell. */
#define PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-"

/* The fields that library texts name, and the options that set them. */
static const struct {
    const char *field, *option;
} names[] = {{"allow_duplicates", "--allow-duplicates"},
             {"bytes", "--bytes"},
             {"codec", "--codec"},
             {"column", "--column"},
             {"columns", "--columns"},
             {"column_types", "--column-types"},
             {"d", "--dim"},
             {"drop_columns", "--drop-columns"},
             {"format", "--format"},
             {"metric", "--metric"},
             {"lists.n", "--lists"},
             {"seed", "--seed"},
             {"memory_bytes", "--memory"},
             {"refine", "--refine"},
             {"zero_ok", "--zero-ok"},
             {"graph.wanted", "--graph"},
             {"graph.degree", "--degree"},
             {"way", "--way"},
             {"lists.probes", "--probes"},
             {"rerank", "--rerank"},
             {"tune_queries", "--tune-queries"}};

/* The option that sets a field of length characters; NULL for another word. */
static const char *option_of(const char *field, size_t length)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i].field) == length && strncmp(names[i].field, field, length) == 0)
            return names[i].option;
    return NULL;
}

static size_t count_quotes(const char *text)
{
    size_t n = 0;

    for (const char *at = strchr(text, '"'); at; at = strchr(at + 1, '"'))
        n++;
    return n;
}

/* Every "options.zero_ok" becomes "--zero-ok", which is shorter; not in quotes, where names of files are. These may
 * hold quotes themselves: what is in quotes has an odd number of them in front of it and behind it. */
static void name_options(char *text)
{
    static const char mark[] = "options.";
    const char *from = text;
    char *to = text;
    bool is_odd_before = false, is_odd_behind = count_quotes(text) % 2 != 0;

    while (*from != '\0') {
        size_t length = strncmp(from, mark, sizeof mark - 1) == 0
                            ? strspn(from + sizeof mark - 1, "abcdefghijklmnopqrstuvwxyz_.")
                            : 0;
        while (length > 0 && from[sizeof mark - 2 + length] == '.') /* of the sentence */
            length--;
        const char *option = length > 0 ? option_of(from + sizeof mark - 1, length) : NULL;

        is_odd_before ^= *from == '"';
        is_odd_behind ^= *from == '"';
        if (option && !(is_odd_before && is_odd_behind)) {
            to = stpcpy(to, option);
            from += sizeof mark - 1 + length;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

/* Puts text in the place of the end of *why from at on. */
static void put_end(omen_detail *why, const char *at, const char *text)
{
    const size_t n = (size_t)(at - why->text);

    snprintf(why->text + n, sizeof why->text - n, "%s", text);
}

/* A command that reads a compressed input, whose label, in quotes unless it is standard input, begins the text. */
static void name_unpacking(omen_detail *why)
{
    const char *at = strstr(why->text, " is compressed: ");
    char tool[16], format[16], command[sizeof why->text + 96], path[sizeof why->text];

    if (!at || sscanf(at, " is compressed: open what %15s makes of it, with --format %15s", tool, format) != 2)
        return;
    snprintf(path, sizeof path, "%.*s", (int)(at - why->text), why->text);
    if (path[0] != '"') {
        snprintf(command, sizeof command, " is compressed: use ... | %s | omendb ... --format %s -", tool, format);
    } else {
        /* The shell needs quotes only around some characters. What it would expand between them, or the tool take for
         * an option, is not repeated. */
        const size_t length = strlen(path) - 2;
        const bool is_safe = path[1] != '-' && strcspn(path + 1, "$`\\!\"") == length;
        const char *file = is_safe ? path : "FILE";
        if (is_safe && strspn(path + 1, PLAIN) == length) {
            path[1 + length] = '\0';
            file = path + 1;
        }
        snprintf(command, sizeof command, " is compressed: use %s %s | omendb ... --format %s -", tool, file, format);
    }
    put_end(why, at, command);
}

/* Commands that make a file which is read of one which is not, tried with the programs of 2026; @ is the file. */
static const struct {
    const char *kind, *command;
} remedies[] = {
    {"Parquet", "duckdb -c \"COPY (SELECT emb FROM '@') TO '@.jsonl'\" makes @.jsonl of its column emb"},
    {"Arrow", "python3 -c \"import numpy, pyarrow.feather as f; "
              "numpy.save('@.npy', numpy.stack(f.read_table('@')['emb'].to_numpy()))\" makes @.npy of its column emb"},
    {"pickle", "python3 -c \"import numpy, pickle; numpy.save('@.npy', pickle.load(open('@', 'rb')))\" makes @.npy of "
               "an array in it; it runs code that the file holds"},
    {"a file of PyTorch", "python3 -c \"import numpy, torch; "
                          "numpy.save('@.npy', torch.load('@', weights_only=True).numpy())\" makes @.npy of a tensor "
                          "in it"},
    {"one JSON text", "jq -c '.[]' @ >@.jsonl makes @.jsonl of it, a line for each element"},
};

/* A command for a file that another program made, whose label begins the text. */
static void name_remedy(omen_detail *why)
{
    const char *at = strstr(why->text, ", which is not read: ");
    char path[sizeof why->text], text[sizeof why->text] = ", which is not read; ";
    size_t n = strlen(text);

    for (size_t i = 0; at && i < sizeof remedies / sizeof remedies[0]; i++) {
        const size_t n_kind = strlen(remedies[i].kind), before = (size_t)(at - why->text);
        if (before < n_kind + 4 || strncmp(at - n_kind, remedies[i].kind, n_kind) != 0)
            continue;
        const size_t n_path = why->text[0] == '"' ? before - n_kind - 4 - 2 : 0;
        snprintf(path, sizeof path, "%.*s", (int)n_path, why->text + 1);
        /* what the shell or a quoted text would read otherwise, and no name, stands as FILE */
        if (n_path == 0 || strspn(path, PLAIN) != n_path)
            snprintf(path, sizeof path, "FILE");
        for (const char *c = remedies[i].command; *c != '\0' && n + 1 < sizeof text; c++) {
            const char one[2] = {*c, '\0'};
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", *c == '@' ? path : one);
        }
        put_end(why, at, text);
        return;
    }
}

/* The command that unpacks. */
static void name_compress(omen_detail *why)
{
    static const char words[] = "unpack it to a file first";
    const char *at = strstr(why->text, words);

    if (at) {
        char text[sizeof why->text];
        snprintf(text, sizeof text, "unpack it to a file with omendb compress -d%s", at + sizeof words - 1);
        put_end(why, at, text);
    }
}

void cmd_reword(omen_detail *why)
{
    name_options(why->text);
    name_unpacking(why);
    name_remedy(why);
    name_compress(why);
}
