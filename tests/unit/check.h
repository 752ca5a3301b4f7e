/* A unit test's tools: CHECK macros, RUN(test_function), check_finish(). Prints "ok - name" or "not ok - name: why". */
#ifndef OMEN_CHECK_H
#define OMEN_CHECK_H

#include <stdio.h>
#include <string.h>

static int check_n_run, check_n_failed; /* tests */
static int check_faults;                /* failed checks of the test that runs */
static const char *check_name = "?";

__attribute__((unused)) static void check_fault(const char *file, int line, const char *text)
{
    check_faults++;
    printf("not ok - %s: %s:%d: %s\n", check_name, file, line, text);
    fflush(stdout);
}

#define CHECK(cond) ((cond) ? (void)0 : check_fault(__FILE__, __LINE__, #cond))

#define CHECK_EQ_INT(got, want)                                                                                        \
    do {                                                                                                               \
        long long check_got = (long long)(got), check_want = (long long)(want);                                        \
        char check_text[256];                                                                                          \
        if (check_got != check_want) {                                                                                 \
            snprintf(check_text, sizeof(check_text), "%s is %lld, not %lld", #got, check_got, check_want);             \
            check_fault(__FILE__, __LINE__, check_text);                                                               \
        }                                                                                                              \
    } while (0)

#define CHECK_STR_CONTAINS(text, part)                                                                                 \
    do {                                                                                                               \
        char check_text[1024];                                                                                         \
        if (strstr((text), (part)) == NULL) {                                                                          \
            snprintf(check_text, sizeof(check_text), "'%s' does not contain '%s'", (text), (part));                    \
            check_fault(__FILE__, __LINE__, check_text);                                                               \
        }                                                                                                              \
    } while (0)

/* Runs void test(void) under its own name; its first failed check does not stop it. */
#define RUN(test)                                                                                                      \
    do {                                                                                                               \
        check_name = #test, check_faults = 0, check_n_run++;                                                           \
        test();                                                                                                        \
        if (check_faults)                                                                                              \
            check_n_failed++;                                                                                          \
        else                                                                                                           \
            printf("ok - %s\n", #test);                                                                                \
    } while (0)

static int check_finish(void)
{
    printf("1..%d\n", check_n_run);
    return check_n_failed ? 1 : 0;
}

#endif
