/* The broker's sandbox. Runs in the broker. */
#pragma once
#include "core/layers.h"
#include <sys/types.h>

/* Puts the calling process, still of one thread, in it, and says in *l what became of each layer. `uid`: the user to become; 0: stay who it is.
 * 0, or -1 with *err: then the process must end. */
int broker_jail(uid_t uid, pid_t parent, struct layers *l, struct error *err);
