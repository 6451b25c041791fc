/* How far a copy has got, on a terminal. Runs in the command line. */
#pragma once
#include "publish/copy.h"

struct import_progress {
    struct copy_progress copy; /* to be handed to publish_copy */
    int signal_fd;             /* a signal stops the copy */
    bool terminal;
    int64_t shown_ns;
    bool stopped;
};

void import_progress_init(struct import_progress *p, int signal_fd);
/* What happens now, in a few words; NULL: the line is taken away. */
void import_progress_say(struct import_progress *p, const char *what);
