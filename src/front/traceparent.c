/* The header traceparent. Pure. Runs in the front. */
#include "front/traceparent.h"

#include <stddef.h>
#include <string.h>

#define VERSION_CHARS 2
#define TRACE_CHARS 32
#define PARENT_CHARS 16
#define FLAGS_CHARS 2
#define TOTAL_CHARS (VERSION_CHARS + 1 + TRACE_CHARS + 1 + PARENT_CHARS + 1 + FLAGS_CHARS)

/* So many hexadecimal digits in lower case, and then `end`. */
static bool digits(const char *text, size_t n, char end) { return strspn(text, "0123456789abcdef") == n && text[n] == end; }

static bool all_zero(const char *text, size_t n) { return strspn(text, "0") >= n; }

bool traceparent_parse(const char *header, struct traceparent *ret)
{
    *ret = (struct traceparent){0};
    if (!header || strlen(header) < TOTAL_CHARS || !digits(header, VERSION_CHARS, '-') || strncmp(header, "ff", VERSION_CHARS) == 0)
        return false;
    const char *trace = header + VERSION_CHARS + 1, *parent = trace + TRACE_CHARS + 1, *flags = parent + PARENT_CHARS + 1;
    if (!digits(trace, TRACE_CHARS, '-') || !digits(parent, PARENT_CHARS, '-') || all_zero(trace, TRACE_CHARS) || all_zero(parent, PARENT_CHARS))
        return false;
    /* A later version may have more behind the flags; version 00 has not. */
    bool later = strncmp(header, "00", VERSION_CHARS) != 0;
    if (!digits(flags, FLAGS_CHARS, 0) && !(later && digits(flags, FLAGS_CHARS, '-')))
        return false;
    memcpy(ret->trace_id, trace, TRACE_CHARS);
    memcpy(ret->parent_id, parent, PARENT_CHARS);
    return true;
}
