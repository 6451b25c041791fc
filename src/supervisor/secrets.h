/* The files that sources' secrets are in. Runs in the supervisor, the only process that reads them. */
#pragma once
#include "core/buf.h"
#include "core/errors.h"
#include "core/source.h"
#include <stdbool.h>
#include <stdint.h>

/* Everything that the workers of this set are given (link/grants.h), appended to `out`, whose maximum must be GRANTS_MAX_BYTES. Wipe it with
 * secrets_wipe. 0; -1 with *err (source_error, with the source's name), and nothing in `out`. */
int secrets_for_set(const struct config *cfg, const char *set, struct buf *out, struct error *err);
void secrets_wipe(struct buf *b);
/* Can all of them be read? 0; -1 with *err. */
int secrets_check(const struct config *cfg, struct error *err);
/* A number that changes when a secret of this source, or its definition, does. It says nothing of them. False: a secret can't be read now, and
 * *ret stays as it is. */
bool secrets_fingerprint(const struct config_source *source, uint64_t *ret);
