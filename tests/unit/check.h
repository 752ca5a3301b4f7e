/* SPDX-License-Identifier: Apache-2.0 */
/* A unit test's tools: CHECK macros, RUN(test_function), check_finish(). Prints "ok - name" or "not ok - name: why".
 * OMEN_TEST_QUICK in the environment thins the longest loops, for emulators: see check_quick(). */
#ifndef OMEN_CHECK_H
#define OMEN_CHECK_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* weak: one of each in a program, whichever of its files check */
#define CHECK_SHARED __attribute__((weak))
CHECK_SHARED int check_n_run, check_n_failed; /* tests */
CHECK_SHARED int check_faults;                /* failed checks of the test that runs */
CHECK_SHARED const char *check_name = "?";

__attribute__((unused)) static void check_fault(const char *file, int line, const char *text)
{
    /* a kernel that is wrong is wrong thousands of times */
    if (check_faults++ >= 10)
        return;
    printf("not ok - %s: %s:%d: %s\n", check_name, file, line, text);
    fflush(stdout);
}

__attribute__((unused, format(printf, 3, 4))) static void check_faultf(const char *file, int line, const char *format,
                                                                       ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    check_fault(file, line, text);
}

__attribute__((unused)) static int check_quick(void)
{
    const char *value = getenv("OMEN_TEST_QUICK");
    return value && *value != '\0';
}

#define CHECK(cond) ((cond) ? (void)0 : check_fault(__FILE__, __LINE__, #cond))

/* CHECK that says which case of a loop failed: CHECK_CASE(a == b, "d %u, offset %u", d, offset) */
#define CHECK_CASE(cond, ...) ((cond) ? (void)0 : check_faultf(__FILE__, __LINE__, #cond ": " __VA_ARGS__))

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
        if (!strstr((text), (part))) {                                                                                 \
            snprintf(check_text, sizeof(check_text), "'%s' does not contain '%s'", (text), (part));                    \
            check_fault(__FILE__, __LINE__, check_text);                                                               \
        }                                                                                                              \
    } while (0)

/* Runs a statement as the test of that name; its first failed check does not stop it. */
#define RUN_AS(name, statement)                                                                                        \
    do {                                                                                                               \
        check_name = (name), check_faults = 0, check_n_run++;                                                          \
        statement;                                                                                                     \
        if (check_faults)                                                                                              \
            check_n_failed++;                                                                                          \
        else                                                                                                           \
            printf("ok - %s\n", check_name);                                                                           \
        if (check_faults > 10)                                                                                         \
            printf("# %d more like these\n", check_faults - 10);                                                       \
        fflush(stdout);                                                                                                \
    } while (0)

/* Runs void test(void) under its own name. */
#define RUN(test) RUN_AS(#test, test())

__attribute__((unused)) static void check_skip(const char *name, const char *why)
{
    check_n_run++;
    printf("ok - %s # SKIP %s\n", name, why);
}

__attribute__((unused)) static int check_finish(void)
{
    printf("1..%d\n", check_n_run);
    return check_n_failed ? 1 : 0;
}

#endif
