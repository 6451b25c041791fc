/* Fault points. Runs in the worker of test builds. */
#include "core/fault.h"

#ifdef BULKHEAD_FAULTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void act(const char *action)
{
    if (strcmp(action, "segv") == 0)
        raise(SIGSEGV);
    else if (strcmp(action, "abort") == 0)
        abort();
    else if (strcmp(action, "kill") == 0)
        raise(SIGKILL);
    else if (strcmp(action, "exit") == 0)
        _exit(0);
    else if (strcmp(action, "stop") == 0)
        raise(SIGSTOP);
    else if (strcmp(action, "hang") == 0)
        for (;;)
            pause();
}

void fault_point(const char *phase)
{
    static int passages;
    const char *text = getenv("BULKHEAD_FAULT");
    size_t len = strlen(phase);
    if (!text || strncmp(text, phase, len) != 0 || text[len] != ':')
        return;
    char action[16] = "";
    const char *from = text + len + 1, *colon = strchr(from, ':');
    size_t n = colon ? (size_t)(colon - from) : strlen(from);
    if (n >= sizeof action)
        return;
    memcpy(action, from, n);
    if (++passages == (colon ? atoi(colon + 1) : 1))
        act(action);
}
#else
typedef int fault_is_not_built;
#endif
