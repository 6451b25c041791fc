/* Durations, sizes and whole numbers as text, and back. Knows the units of the contract (section 3), no key and no file. Pure.
 * Runs in every process. */
#pragma once
#include <stdint.h>

#define UNITS_TEXT_MAX 32 /* every text that is written here fits, its NUL included */

/* Read the whole text: NULL, and the value in *ret, which is never negative; otherwise what is wrong with it, a constant phrase that
 * continues a sentence after the text ("has no unit: ..."), and *ret is untouched. No blanks, no sign, no fraction; 0 needs no unit. */
const char *units_parse_duration(const char *text, int64_t *ret_ms);
const char *units_parse_size(const char *text, int64_t *ret_bytes);
const char *units_parse_int(const char *text, int64_t *ret);

/* Write a value >= 0 exactly and as short as the units allow; what is written is read back to the same value. */
void units_format_duration(int64_t ms, char out[UNITS_TEXT_MAX]);
void units_format_size(int64_t bytes, char out[UNITS_TEXT_MAX]);

/* For people: one decimal, rounded, at most four digits before it as long as there is a larger unit. Any value. */
void units_human_size(int64_t bytes, char out[UNITS_TEXT_MAX]);
