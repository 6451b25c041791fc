/* What every pool of this front has in common. Runs in the front. */
#pragma once
#include "core/config.h"
#include "link/control.h"
#include "sched/pool.h"

struct front;

/* As pool_new's replace; ctx is the front. */
void front_replace_worker(void *ctx, uint32_t worker, enum death_reason reason);
struct pool_options front_pool_options(const struct front *f);
