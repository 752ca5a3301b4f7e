/* SPDX-License-Identifier: Apache-2.0 */
/* One line on stderr for what went wrong, and its exit code. */
#include "cmd/cmd.h"

#include <stdio.h>

/* One line, whatever a file name holds. */
static void print_line(const char *command, const char *format, va_list arguments)
{
    char text[4096];

    vsnprintf(text, sizeof text, format, arguments);
    cmd_make_printable(text);
    fprintf(stderr, command ? "omendb %s: %s\n" : "omendb%s: %s\n", command ? command : "", text);
}

void cmd_say(const char *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_line(command, format, arguments);
    va_end(arguments);
}

int cmd_misuse(const char *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_line(command, format, arguments);
    va_end(arguments);
    return CMD_EXIT_USAGE;
}

int cmd_exit_code(int code)
{
    switch (code) {
    case OMEN_OK:
        return CMD_EXIT_OK;
    case OMEN_ERR_ARGUMENT:
    case OMEN_ERR_INPUT:
        return CMD_EXIT_USAGE;
    case OMEN_ERR_CORRUPT:
    case OMEN_ERR_UNSUPPORTED:
        return CMD_EXIT_CORRUPT;
    case OMEN_ERR_MEMORY:
        return CMD_EXIT_MEMORY;
    case OMEN_ERR_INTERRUPTED:
        return CMD_EXIT_SIGNAL + (cmd_signals_noted() != 0 ? cmd_signals_noted() : SIGINT);
    default:
        return CMD_EXIT_IO;
    }
}

const char *cmd_cause(int code, omen_detail *why)
{
    if (!why || why->text[0] == '\0')
        return omen_error_text(code);
    cmd_reword(why);
    return why->text;
}

int cmd_fail(const char *command, int code, omen_detail *why)
{
    if (code == OMEN_ERR_IO && cmd_signals_pipe_broke())
        return CMD_EXIT_PIPE;
    cmd_say(command, "%s", cmd_cause(code, why));
    return cmd_exit_code(code);
}
