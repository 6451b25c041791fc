/* A Landlock domain: which files this process may still reach, made step by step and then closed behind it. Several fences close one inside of
 * the other; what one forbids no later one gives back. What the running kernel does not know is left out: see fence_strength.
 * Knows no worker and no front. Runs in worker, front, broker and probes. */
#pragma once
#include "core/layers.h"

#include <stdbool.h>
#include <stddef.h>

enum fence_right {
    FENCE_READ,  /* read a file, or all files below a directory */
    FENCE_FILES, /* besides: make, write, truncate and remove plain files in a directory */
    FENCE_RIGHTS
};

/* What of TCP is left. */
enum fence_network {
    FENCE_NO_NETWORK,
    FENCE_CONNECT, /* connecting, to any port */
};

struct fence {
    int fd;  /* the ruleset; -1: this kernel has none */
    int abi; /* 0: none */
};

/* The kernel's version of Landlock; 0 with errno when there is none, or it is switched off. */
int fence_abi(void);
/* Begins one: nothing but that is allowed yet. 0, or -1 with errno (no Landlock). */
int fence_new(struct fence *f, enum fence_network network);
/* The same, with paths (`count`) that may be read. -1: there is none, and the layer says why. */
int fence_begin(struct fence *f, enum fence_network network, const char *const *readable, size_t count, struct layers *l, enum layer_id id);
/* Allows something below a path (or at it). A path that is not there is no failure: nothing can be reached there either, until the next fence. */
int fence_allow(struct fence *f, const char *path, enum fence_right right);
/* The same for what is open already; stays the caller's. */
int fence_allow_fd(struct fence *f, int fd, enum fence_right right);
/* Closes it behind the calling thread, for good; needs no_new_privs. 0, or -1 with errno. Frees it either way. */
int fence_close(struct fence *f);
void fence_drop(struct fence *f);
/* "files", "files, TCP", ...: what a fence of that version holds back. */
const char *fence_strength(int abi);
