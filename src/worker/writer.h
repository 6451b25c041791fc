/* A worker that writes, or looks whether it would have to: one database, one script, then it has nothing more to do. Runs in the worker. */
#pragma once
#include "worker/worker.h"

enum writer_mode {
    WRITER_NONE,
    WRITER_COPY,     /* on a private copy: what fails is thrown away with it */
    WRITER_IN_PLACE, /* on the database itself: the script is one transaction */
    WRITER_LOOK,     /* on the database itself, read-only: runs what only reads, and ends when the script would write */
};

/* "copy", "in-place" or "look"; WRITER_NONE for anything else. */
enum writer_mode writer_mode_of(const char *text);
/* As serve(), for one job. Takes the engine, which is open for writing; `opts` are those it was opened with. Returns the process's exit code. */
int writer_serve(struct worker *w, enum writer_mode mode, const struct engine_options *opts);
