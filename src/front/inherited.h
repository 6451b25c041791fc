/* What the front may not read by itself, and gets from the supervisor: API keys, certificate and private key; at its start, and when they
 * change. Runs in the front. */
#pragma once
#include "core/tls.h"
#include "front/front.h"

/* All take the fd. At the start: 0; -1 with *err. *ret is the caller's, NULL without TLS. */
int inherited_keys(struct front *f, int fd, struct error *err);
int inherited_tls(struct front *f, int fd, struct tls **ret, struct error *err);
/* New ones; when they are refused (our own mistake: the supervisor has checked them) that is logged, and the old ones stay. */
void inherited_new_keys(struct front *f, int fd);
void inherited_new_tls(struct front *f, int fd);
