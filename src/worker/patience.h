/* How long a source may take while it is attached: the libraries that talk to it have limits for the connection at most, if any. A thread that lives as
 * long as the attaching hangs up when the time is over. Before the sandbox is closed. Runs in the worker. */
#pragma once
#include <stdbool.h>

struct patience;

struct patience *patience_new(void);
void patience_free(struct patience *p);
/* For engine_options: `ctx` is a struct patience. Begins to wait for one source. */
void patience_begins(void *ctx);
/* It has been attached, or not. True: its time was over. */
bool patience_ends(void *ctx);
