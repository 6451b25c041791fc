/* The engine's error messages as `struct error`: class, position, and a text without paths of the server.
 * Knows the shape of DuckDB's messages, with errors_as_json on and without. Only for files of src/engine. Runs in the worker (and in tests). */
#pragma once
#include "core/errors.h"
#include <stdbool.h>
#include <stddef.h>

/* Texts that must not reach a client, and what stands for them. Room for all that one worker can have: three secrets of each of 16 sources in four
 * spellings, and both forms of 64 extensions' and some other paths. */
#define FAILURE_HIDE_MAX 384
struct failure_hide {
    struct {
        char *text; /* owned */
        char *shown;
        bool anywhere; /* also in the middle of a word */
    } rows[FAILURE_HIDE_MAX];
    size_t count;
};

/* Copies; a text without a slash, or only one, is passed over: it says nothing of the server. The longest texts are replaced first, whatever the order of the calls. */
void failure_hide_add(struct failure_hide *h, const char *text, const char *shown);
/* The path as given, and as the file system resolves it. */
void failure_hide_path(struct failure_hide *h, const char *path, const char *shown);
/* A secret: it is replaced wherever it stands, also in quoted or escaped form. "" and what is too short to be told from ordinary text is passed over. */
void failure_hide_secret(struct failure_hide *h, const char *secret);
/* A text that says nothing to people: it is taken out wherever it stands. */
void failure_hide_noise(struct failure_hide *h, const char *text);
void failure_hide_free(struct failure_hide *h);

struct failure_context {
    const struct failure_hide *hide; /* NULL: nothing to hide */
    int64_t memory_limit_bytes;      /* limit_bytes of an out-of-memory error */
    int64_t data_limit_bytes;        /* of one where the kernel gave no more memory; 0: the kernel sets no limit that could be met so */
    size_t sql_len;                  /* positions past it are dropped; 0: no position */
};

/* Fills err from the engine's message (NULL: unknown failure). `type` is a duckdb_error_type, 0 when the call that failed gives none:
 * then the class in the message decides. Returns true when the engine must not serve another query. */
bool failure_from_message(struct error *err, const char *message, int type, const struct failure_context *ctx);

/* The engine's own words in its message, without class and position, all of them and as they are. The caller's, to be freed. */
char *failure_words(const char *message);

/* Replaces the hidden texts in `text`, a buffer of `cap` bytes; cuts at a character's boundary where it would not fit. */
void failure_scrub(char *text, size_t cap, const struct failure_hide *hide);
