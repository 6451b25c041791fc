/* Texts of other processes, made fit for callers. Runs in the front. */
#pragma once
#include "core/config.h"
#include <stddef.h>

/* Writes `text` to ret without the server's paths: the configured ones become <database>, <extensions>, <scratch>; of any other absolute path
 * the last name stays. Cut at `cap` bytes, NUL included, between two characters. */
void public_text(const struct config *cfg, const char *text, char *ret, size_t cap);
