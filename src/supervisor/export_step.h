/* What is done in an export's directory, each step in a process of its own: a network mount that hangs must not hang the supervisor, which has deadlines
 * to keep. Runs in the supervisor. */
#pragma once
#include "core/errors.h"
#include "core/source.h"
#include "supervisor/child.h"

struct export_step {
    struct child child; /* its pidfd becomes readable when the step is over */
    int reply_fd;
};
#define EXPORT_STEP_NONE ((struct export_step){.child = CHILD_NONE, .reply_fd = -1})

/* What a step of export_step_open gives: the file without a name, the same once more for writing only, the directory. The caller's. */
enum { EXPORT_FILE, EXPORT_FOR_WORKER, EXPORT_DIRECTORY, EXPORT_FDS };

/* Starts to open the directory of `path` below the source's, over no symbolic link, and to make a file without a name there, for a name that is free.
 * 0; -1 with errno when there can't be a process. */
int export_step_open(const struct source *src, const char *path, struct export_step *ret);
/* Starts to bring the file to disk, to give it its name, which must not exist, and to bring that to disk. Likewise. */
int export_step_name(int file, int directory, const char *name, struct export_step *ret);

/* Reaps a step. False: it goes on. Else *err has the code ERR_OK, or why it failed, and fds, of EXPORT_FDS, the descriptors it gave or -1. */
bool export_step_end(struct export_step *step, int *fds, struct error *err);
/* Kills it; it is reaped by export_step_end all the same. */
void export_step_kill(struct export_step *step);
