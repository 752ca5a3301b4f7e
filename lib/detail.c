/* SPDX-License-Identifier: Apache-2.0 */
/* Error details and the names of choices. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/omendb.h"

int omen_fail(omen_detail *detail, int code, const char *format, ...)
{
    if (detail) {
        va_list args;
        va_start(args, format);
        vsnprintf(detail->text, sizeof detail->text, format, args);
        va_end(args);
    }
    return code;
}

const char *omen_error_text(int code)
{
    switch (code) {
    case OMEN_OK:
        return "ok";
    case OMEN_ERR_ARGUMENT:
        return "bad argument";
    case OMEN_ERR_INPUT:
        return "unusable input";
    case OMEN_ERR_CORRUPT:
        return "corrupt index";
    case OMEN_ERR_IO:
        return "input/output error";
    case OMEN_ERR_MEMORY:
        return "out of memory";
    case OMEN_ERR_UNSUPPORTED:
        return "not supported by this version";
    case OMEN_ERR_INTERRUPTED:
        return "interrupted";
    }
    return "unknown error";
}

typedef struct {
    const char *name;
    int value;
} choice;

static const choice metrics[] = {
    {"l2", OMEN_METRIC_L2}, {"ip", OMEN_METRIC_IP}, {"cosine", OMEN_METRIC_COSINE}, {NULL, 0}};
static const choice codecs[] = {{"auto", OMEN_CODEC_AUTO},
                                {"pq", OMEN_CODEC_PQ},
                                {"rabitq", OMEN_CODEC_RABITQ},
                                {"none", OMEN_CODEC_NONE},
                                {NULL, 0}};
static const choice refines[] = {
    {"auto", OMEN_REFINE_AUTO}, {"sq8", OMEN_REFINE_SQ8}, {"sq12", OMEN_REFINE_SQ12}, {"sq16", OMEN_REFINE_SQ16},
    {"f16", OMEN_REFINE_F16},   {"f32", OMEN_REFINE_F32}, {"none", OMEN_REFINE_NONE}, {NULL, 0}};

static const choice ways[] = {{"auto", OMEN_SEARCH_AUTO},
                              {"lists", OMEN_SEARCH_LISTS},
                              {"graph", OMEN_SEARCH_GRAPH},
                              {"exact", OMEN_SEARCH_EXACT},
                              {NULL, 0}};

static const char *choice_name(const choice *list, int value)
{
    for (; list->name; list++)
        if (list->value == value)
            return list->name;
    return "?";
}

static const choice *choice_find(const choice *list, const char *name)
{
    for (; list->name; list++)
        if (strcmp(list->name, name) == 0)
            return list;
    return NULL;
}

const char *omen_metric_name(omen_metric metric)
{
    return choice_name(metrics, (int)metric);
}

const char *omen_codec_name(omen_codec codec)
{
    return choice_name(codecs, (int)codec);
}

const char *omen_refine_name(omen_refine refine)
{
    return choice_name(refines, (int)refine);
}

int omen_metric_parse(const char *name, omen_metric *out)
{
    const choice *c = choice_find(metrics, name);
    if (!c)
        return OMEN_ERR_ARGUMENT;
    *out = (omen_metric)c->value;
    return OMEN_OK;
}

int omen_codec_parse(const char *name, omen_codec *out)
{
    const choice *c = choice_find(codecs, name);
    if (!c)
        return OMEN_ERR_ARGUMENT;
    *out = (omen_codec)c->value;
    return OMEN_OK;
}

int omen_refine_parse(const char *name, omen_refine *out)
{
    const choice *c = choice_find(refines, name);
    if (!c)
        return OMEN_ERR_ARGUMENT;
    *out = (omen_refine)c->value;
    return OMEN_OK;
}

const char *omen_search_way_name(omen_search_way way)
{
    return choice_name(ways, (int)way);
}

int omen_search_way_parse(const char *name, omen_search_way *out)
{
    const choice *c = choice_find(ways, name);
    if (!c)
        return OMEN_ERR_ARGUMENT;
    *out = (omen_search_way)c->value;
    return OMEN_OK;
}
