/* The two escapings of the wire formats, and writing through them. Knows sinks; knows no columns. Runs in the worker. */
#pragma once
#include "result/sink.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies n bytes of UTF-8 to p as the inside of a JSON string and returns the end. Needs room for 6 * n bytes. */
uint8_t *escape_json(uint8_t *p, const uint8_t *s, size_t n);
/* As a CSV field: quoted if it must be, and when empty (an empty field is NULL). Needs room for 2 * n + 2 bytes. */
uint8_t *escape_csv(uint8_t *p, const uint8_t *s, size_t n);
/* The same of n <= 12 bytes where 12 may be read, and the 4 in front of them. Room for 16 bytes more. */
uint8_t *escape_json_inlined(uint8_t *p, const uint8_t *s, size_t n);
uint8_t *escape_csv_inlined(uint8_t *p, const uint8_t *s, size_t n);

/* A JSON string with its quotes; any length. 0, or -1: stop. */
int escape_put_json(struct sink *sink, const uint8_t *s, size_t n);
/* A CSV field: quoted if it must be, and when empty (an empty field is NULL). 0, or -1: stop. */
int escape_put_csv(struct sink *sink, const uint8_t *s, size_t n);

/* Text on its way to a sink, through up to two escapings. */
enum text_filter { TEXT_PLAIN, TEXT_JSON, TEXT_CSV }; /* the last two: the inside of a quoted string */
struct text {
    struct sink *sink;
    enum text_filter filter;
    bool quoted; /* inside the quotes of a nested value's element: ' and \ get a \ first */
};
/* 0, or -1: stop. */
int text_put(struct text *t, const void *data, size_t n);
static inline int text_puts(struct text *t, const char *s) { return text_put(t, s, strlen(s)); }
