/* What a worker with sources is given besides the configuration: the names of its sources and their secrets, as one text that goes from the
 * supervisor to the worker through a pipe, and nowhere else. Runs in supervisor and worker. */
#pragma once
#include "core/source.h"
#include <stdbool.h>
#include <stddef.h>

struct buf;

#define GRANT_SECRET_BYTES 1025          /* of one secret, its NUL included */
#define GRANTS_MAX_BYTES ((size_t)60000) /* fits a pipe, so that the supervisor never waits for a reader */

struct grant {
    char name[SOURCE_NAME_BYTES];
    char password[GRANT_SECRET_BYTES], key_id[GRANT_SECRET_BYTES], secret[GRANT_SECRET_BYTES]; /* "": none */
};

/* Appends one; false when it does not fit. */
bool grants_put(struct buf *b, const struct grant *g);
/* Reads all back. False when the text is not what grants_put makes, or there are more than `max`. */
bool grants_take(const char *data, size_t len, struct grant *ret, size_t max, size_t *ret_count);
