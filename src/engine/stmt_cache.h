/* Verdicts and prepared statements by the exact bytes of their text: bounded in number and bytes, the least recently used goes first.
 * A verdict holds as long as the engine; the prepared statements belong to one connection and must be dropped before it closes.
 * Only for files of src/engine. Runs in the worker. */
#pragma once
#include "engine/columns.h"
#include <duckdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STMT_CACHE_TEXT_MAX 65536               /* bytes; longer texts are not kept */
#define STMT_CACHE_TOTAL_MAX (4u * 1024 * 1024) /* bytes of all texts */

struct stmt {
    duckdb_prepared_statement prepared; /* NULL: only the verdict is known; the text has to be prepared again */
    uint8_t effect;                     /* enum policy_effect */
    bool renamed;                       /* what was prepared differs from the text (filtered functions): without it there is no verdict */
    struct columns *columns;            /* NULL until the first result, and always when the statement has parameters (they may change its types) */
    idx_t param_count;
    /* the cache's own */
    uint64_t hash;
    char *text;
    size_t text_len;
    struct stmt *newer, *older, *chain;
};

struct stmt_cache;

/* entries = 0: keeps nothing. */
struct stmt_cache *stmt_cache_new(uint32_t entries);
void stmt_cache_free(struct stmt_cache *c);

/* The entry, now the most recently used, or NULL. */
struct stmt *stmt_cache_find(struct stmt_cache *c, const char *text, size_t len);

/* A new entry for a text that is allowed, when it may be kept; may drop other entries. NULL: not kept. The caller fills in the verdict and
 * may put a prepared statement into it, which then is the cache's. */
struct stmt *stmt_cache_add(struct stmt_cache *c, const char *text, size_t len);

/* Drops the prepared statements, and the entries that are nothing without. */
void stmt_cache_unprepare(struct stmt_cache *c);
void stmt_cache_clear(struct stmt_cache *c);

/* For one statement outside of the cache: frees what it holds, not the struct. */
void stmt_release(struct stmt *s);
