/* JSON text from the engine (type JSON) on its way into a JSON document. Runs in the worker.
 * The engine's JSON is wider than JSON: NaN, Infinity, commas at the end; and a file may call any text JSON. What comes out is
 * valid always, and what to_json gives: no white space, numbers and strings in their shortest form, NaN and infinities as strings. */
#pragma once
#include "result/sink.h"
#include <stddef.h>
#include <stdint.h>

/* Text that is not JSON, or nested deeper than JSON_TEXT_DEPTH, goes out as one JSON string. 0, or -1: stop. */
#define JSON_TEXT_DEPTH 8192
int json_text_put(struct sink *sink, const uint8_t *s, size_t n);
