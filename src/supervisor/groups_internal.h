/* Between groups.c and groups_open.c. Runs in the supervisor and the command line. */
#pragma once
#include "supervisor/group_files.h"
#include "supervisor/groups.h"

#define GROUPS_PROCS "cgroup.procs"
#define GROUPS_CONTROL "cgroup.subtree_control"

struct group_path groups_worker_directory(const struct group_tree *t, uint32_t id);
/* What servers left in the group `own` that were killed: their name says who they were. True when all of it is gone. */
bool groups_remove_stale(const char *own, struct log *log);
/* True when it is gone from every tree. */
bool groups_remove_worker(const struct groups *g, uint32_t id);
