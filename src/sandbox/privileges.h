/* Giving up what a process may do: its user, its capabilities, its namespaces, its memory's openness. Each function puts one thing in force,
 * reads it back, and says what it found as a layer. Knows no worker and no front. Runs in worker, front and probes. */
#pragma once
#include "core/build.h"
#include "core/errors.h"
#include "core/layers.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Root becomes this user, in no group but `uid`'s own number, keeping (when `reads`) the right to read what root can read until
 * privileges_drop_all. uid 0: stays who it is. Dropping also forbids all ways back. 0, or -1 with errno: then nothing is certain, and the process
 * must end. */
int privileges_become(uid_t uid, bool reads);
/* None but those that pass over the permissions of files. 0, or -1 with errno. */
int privileges_keep_files(void);
/* No capability, now and for ever. 0, or -1 with errno. */
int privileges_drop_all(void);
/* Reads back: who this is, and what it holds. `was`: the user that started it. */
void privileges_report(struct layers *l, enum layer_id user, enum layer_id capabilities, uid_t wanted);

int privileges_no_new(struct layers *l, enum layer_id id);
int privileges_not_dumpable(struct layers *l, enum layer_id id);
/* SIGKILL when the parent dies. -1 when it has died already. To be done again after every change of user. */
int privileges_tie(pid_t parent);

/* Own namespaces for network, System V IPC and host name; without root also for users, which is what
 * allows the others. Each that can't be had is reported as missing. */
void privileges_unshare(struct layers *l);

/* Which rows of the report the steps of privileges_give_up are told in. */
struct role_layers {
    enum layer_id user, capabilities, not_dumpable, no_new_privs, landlock, seccomp;
};

/* What a process that is no worker gives up, still of one thread: core files, its user (`uid`; 0: stays who it is), every capability, its life
 * beyond its parent's, its memory's openness, new privileges. 1; 0: without no_new_privs, so that nothing more can be put up; or -1 with *err:
 * then it must end. */
int privileges_give_up(const struct role_layers *role, uid_t uid, pid_t parent, struct layers *l, struct error *err);
