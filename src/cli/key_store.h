/* Changing a key file: one at a time, whole or not at all. Knows files; the text is keyfile.h's matter. Runs in the command line. */
#pragma once
#include "core/buf.h"
#include "core/keyfile.h"
#include <stdbool.h>

/* Makes the new text of the file out of the old one (text NULL: there is no file yet). 0; -1 with *err, and nothing is written. */
typedef int key_store_edit_fn(void *ctx, const struct keyfile *keys, const char *text, size_t len, struct buf *out, struct error *err);

/* Under a lock: reads and checks the file, has it edited, checks the result, and puts it in the old one's place with its owner and mode
 * (a new file: mode 0600). A reader sees the old file or the new one. may_create: whether the file may be missing. 0; -1 with *err. */
int key_store_edit(const char *path, bool may_create, key_store_edit_fn *edit, void *ctx, struct error *err);
/* Reads and checks. *ret is the caller's (keyfile_free). 0; -1 with *err. */
int key_store_load(const char *path, struct keyfile **ret, struct error *err);
