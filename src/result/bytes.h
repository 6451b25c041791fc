/* Types that are strings of bytes inside, as the engine's cast to VARCHAR prints them: any length, through a text. Runs in the worker. */
#pragma once
#include "result/escape.h"
#include <stddef.h>
#include <stdint.h>

/* All return 0, or -1: stop. */
int bytes_put_blob(struct text *t, const uint8_t *s, size_t n);     /* printable ASCII as it is, the rest as \xHH */
int bytes_put_bit(struct text *t, const uint8_t *s, size_t n);      /* first byte: how many bits of the next one are padding */
int bytes_put_bignum(struct text *t, const uint8_t *s, size_t n);   /* 3 bytes header, big-endian magnitude; negative: all inverted */
int bytes_put_geometry(struct text *t, const uint8_t *s, size_t n); /* WKB to WKT (geometry.c) */
/* Whether the text has no coordinates at its top level: POINT EMPTY. */
bool bytes_geometry_is_empty(const uint8_t *s, size_t n);
/* Whether bytes_put_blob prints the byte as it is. */
static inline bool bytes_is_plain(uint8_t c) { return c >= 32 && c <= 126 && c != '\\' && c != '\'' && c != '"'; }
