/* The worker's JSON result, taken apart while it streams: the columns, then cell after cell, with bounded memory. Trusts nothing in it
 * but needs the fixed order of its keys (query_id, columns, data, ...). Must not know tables or terminals. Runs in the command line. */
#pragma once
#include "core/buf.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer cells are cut. */
#define JSON_CELL_MAX ((size_t)65536)

enum json_cell {
    JSON_CELL_NULL,
    JSON_CELL_TEXT, /* a string, decoded: may hold any character, also NUL */
    JSON_CELL_JSON, /* number, boolean, list or object as JSON text */
};

/* Each: 0 to go on, -1 to refuse the result. */
struct json_rows_events {
    int (*columns)(void *ctx, const json_t *columns); /* an array; its items are unchecked */
    int (*cell)(void *ctx, enum json_cell kind, const char *text, size_t len, bool cut);
    int (*row)(void *ctx); /* behind each row's cells */
};

enum json_rows_phase { JSON_ROWS_HEAD, JSON_ROWS_BETWEEN, JSON_ROWS_START, JSON_ROWS_STRING, JSON_ROWS_PLAIN, JSON_ROWS_AFTER, JSON_ROWS_TAIL };

struct json_rows {
    const struct json_rows_events *events;
    void *ctx;
    enum json_rows_phase phase;
    struct buf head, cell;
    int depth;
    bool in_string, escaped, cut;
    int hex_left;       /* digits of \uXXXX still to come */
    uint32_t hex, high; /* high: a first surrogate that waits for its second */
};

void json_rows_init(struct json_rows *p, const struct json_rows_events *events, void *ctx);
/* Takes all of it. 0; -1: this is no result, or an event refused it. */
int json_rows_feed(struct json_rows *p, const char *data, size_t len);
void json_rows_free(struct json_rows *p);
