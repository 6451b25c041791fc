/* User ids for those that a root supervisor starts: one for the front, one for the broker, one for who checks extensions, one for each worker, so that none of them can signal, trace or read
 * another. They are numbers only; no account is needed. Runs in the supervisor and the command line. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#define USERS_WORKERS 512 /* places of workers: as many as the control page has cells */

struct users {
    uid_t base; /* 0: all stay who they are */
};

/* A range that nobody else uses here; .base is 0 when this is not root, or root without the right to change users, or a sanitizer's build. */
struct users users_choose(void);
/* 0: stay who you are. */
uid_t users_of_worker(const struct users *u, uint32_t place);
uid_t users_of_front(const struct users *u);
uid_t users_of_broker(const struct users *u);
uid_t users_of_verifier(const struct users *u);
