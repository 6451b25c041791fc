/* The front's own sandbox: smaller than a worker's, since it has to serve a network, and put up before it reads a client's first byte. Runs in
 * the front. */
#pragma once
#include "core/layers.h"
#include <sys/types.h>

/* uid: the user to become; 0: none. 0, or -1 with *err: then it must not serve. Layers that are not to be had are `missing` in *l. */
int front_jail(uid_t uid, pid_t parent, struct layers *l, struct error *err);
