/* SPDX-License-Identifier: Apache-2.0 */
/* condition_rows INDEX: for each line of standard input, a condition, prints the rows that it selects, in order, or
 * "error: " and why. With -c, how many. tests/cli/where_sqlite.py compares them with SQLite's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/omendb_files.h"
#include "lib/index.h"
#include "lib/row_set.h"

static void print_rows(const omen_index *index, const omen_row_set *set, uint8_t *seen)
{
    const char *blank = "";
    memset(seen, 0, set->n_rows);
    for (uint64_t i = 0; i < set->n_rows; i++)
        if (omen_row_set_has(set, i))
            seen[index->ids[i]] = 1;
    for (uint64_t row = 0; row < set->n_rows; row++) {
        if (!seen[row])
            continue;
        printf("%s%llu", blank, (unsigned long long)row);
        blank = " ";
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    omen_container *container = NULL;
    omen_index *index = NULL;
    omen_detail why = {""};
    char *line = NULL;
    size_t size = 0;
    const bool counts = argc == 3 && strcmp(argv[1], "-c") == 0;
    if (argc - counts != 2)
        return 2;
    const char *path = argv[argc - 1];
    if (omen_container_open(&container, path, &why) != OMEN_OK ||
        omen_container_open_index(&container, &index, path, UINT64_MAX, true, &why) != OMEN_OK) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    uint8_t *seen = malloc(index->meta.n_rows);
    while (seen && getline(&line, &size, stdin) > 0) {
        omen_condition *condition = NULL;
        omen_row_set *set = NULL;
        line[strcspn(line, "\n")] = '\0';
        int status = omen_condition_create(index, line, &condition, &why);
        if (status == OMEN_OK)
            status = omen_conditions_evaluate((const omen_condition *const *)&condition, 1, 1, &set, NULL, NULL, &why);
        if (status != OMEN_OK)
            printf("error: %s\n", why.text);
        else if (counts)
            printf("%llu\n", (unsigned long long)set->n_matches);
        else
            print_rows(index, set, seen);
        omen_row_set_destroy(set);
        omen_condition_destroy(condition);
    }
    free(seen);
    free(line);
    omen_index_close(index);
    omen_container_close(container);
    return 0;
}
