/* JSON values: what the engine's to_json gives, text for text, but for what would be no JSON: NaN and infinities are strings, and a zero
 * stands in front of a decimal's point. Runs in the worker. */
#pragma once
#include "result/format.h"

/* Values of unbounded length, by type. */
extern const value_put_fn json_values[COL_TYPE_COUNT];
/* A name or other NUL-terminated text as a JSON string. 0, or -1: stop. */
int json_put_name(struct sink *sink, const char *s);
static inline int json_put_literal(struct sink *sink, const char *s) { return sink_write(sink, s, strlen(s)); }
