/* The header traceparent (W3C Trace Context): which trace a request belongs to. Knows the text. Pure. Runs in the front. */
#pragma once
#include <stdbool.h>

struct traceparent {
    char trace_id[33];  /* 32 hexadecimal digits; "": none */
    char parent_id[17]; /* 16: the caller's span */
};

/* NULL: no such header. False, and *ret empty, for none and for one that is not valid: such a one is ignored, as the standard says. */
bool traceparent_parse(const char *header, struct traceparent *ret);
