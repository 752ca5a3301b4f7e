/* SPDX-License-Identifier: Apache-2.0 */
/* Values and lines of JSON. */
#include "cmd/cmd.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *cmd_json_text(const char *text)
{
    json_t *out = json_string(text);
    size_t length = strlen(text);
    char *copy, *to;

    if (out)
        return out;
    copy = malloc(3 * length + 1);
    if (!copy)
        return NULL;
    to = copy;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x80)
            *to++ = text[i];
        else
            to = stpcpy(to, "\xef\xbf\xbd");
    *to = '\0';
    out = json_string(copy);
    free(copy);
    return out;
}

json_t *cmd_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *cmd_json_u64(uint64_t value)
{
    char digits[24];

    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    return json_string(digits);
}

json_t *cmd_json_row_hash(const omen_row_hash *hash)
{
    return hash->low == 0 && hash->high == 0 ? json_null() : json_string(cmd_row_hash(hash).text);
}

int cmd_json_print(const char *command, json_t *object, FILE *stream)
{
    int status = CMD_EXIT_OK;

    if (!object)
        return cmd_fail(command, OMEN_ERR_MEMORY, NULL);
    if (json_dumpf(object, stream, JSON_REAL_PRECISION(7)) != 0 || fputc('\n', stream) == EOF || fflush(stream) != 0) {
        status = cmd_signals_pipe_broke() ? CMD_EXIT_PIPE : CMD_EXIT_IO;
        /* Nowhere to complain about stderr. */
        if (stream != stderr && status == CMD_EXIT_IO)
            cmd_say(command, "cannot write to standard output: %s", strerror(errno));
    }
    json_decref(object);
    return status;
}
