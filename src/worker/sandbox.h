/* The worker's jail, in two steps: before the database is opened, and when nothing but its private scratch directory is to be opened any more.
 * Runs in the worker. */
#pragma once
#include "core/layers.h"
#include <stdint.h>
#include <sys/types.h>

struct sandbox_plan {
    pid_t parent;
    uid_t uid;                       /* the user to become; 0: none, this is not root */
    const char *database_path;       /* absolute; "": none */
    const char *const *extensions;   /* absolute, NULL-terminated */
    const char *extension_directory; /* of the sources' extensions; "": none */
    const char *const *opening;      /* other files that are read while the engine opens; NULL-terminated */
    const char *const *running;      /* what may be read all along: directories, a writer's files; NULL-terminated */
    bool write;                      /* a writer: the database's directory is its own, and it stays who it is */
    bool remote;                     /* it has sources elsewhere: it uses the sockets that the broker connects for it; it makes none */
    const char *trust_file;          /* certificates that sources are held against; "": none */
    const char *scratch_directory;   /* it becomes the working directory; "": none */
    int64_t file_bytes;              /* the largest file it may write */
    int64_t data_bytes;              /* private memory; 0: no limit but its control group's */
    unsigned threads;                /* of the engine */
};

/* The first thing of all, while /proc still belongs to it: the kernel's first choice when memory runs out. */
void sandbox_offer(struct layers *l);
/* Before a byte of the database is read: limits, namespaces, user, and a fence that lets it read what opening takes. Only one thread may run.
 * 0, or -1 with *err: then the process must end. Layers that are not to be had here are `missing` in *l, which is no failure. */
int sandbox_prepare(const struct sandbox_plan *p, struct layers *l, struct error *err);
/* The engine is open, still in one thread: the last rights go, and every layer is read back or run into. As above. */
int sandbox_enter(const struct sandbox_plan *p, struct layers *l, struct error *err);
