/* Checking and cutting UTF-8 (RFC 3629: no surrogates, nothing above U+10FFFF, shortest forms only). Pure. Runs in every process. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_valid(const char *text, size_t len);
/* Length of the character that begins `text`, which has len bytes, 1 at least; 0: it begins with none. */
size_t utf8_character(const char *text, size_t len);
/* The code point of a character of n bytes, as utf8_character found it. */
uint32_t utf8_code_point(const char *text, size_t n);
/* Whether a character steers whoever shows it: C0, DEL and C1, and what turns the writing direction or breaks lines. */
bool utf8_is_control(uint32_t code_point);
/* The longest prefix of at most `max` bytes that does not end inside a character. `text` has max bytes or ends with a NUL before. */
size_t utf8_cut(const char *text, size_t max);
