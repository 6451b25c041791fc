/* The worker's resource limits. Runs in the worker. */
#pragma once
#include "worker/sandbox.h"

/* Behind privileges_unshare, whose result decides whether tasks can be counted per worker. */
void sandbox_limits(const struct sandbox_plan *p, struct layers *l);
