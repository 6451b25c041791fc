/* Fault points. Runs in the worker of test builds. */
#include "core/fault.h"

#ifdef BULKHEAD_FAULTS
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE (1 << 20)

static void eat(void)
{
    char *piece;
    while ((piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED)
        memset(piece, 1, PIECE);
}

/* The file loses its name at once: nobody who looks at the directory sees it. */
static void fill(void)
{
    static char piece[PIECE];
    char name[32];
    for (int i = 0, fd; snprintf(name, sizeof name, "fill-%d", i) > 0 && (fd = open(name, O_CREAT | O_WRONLY, 0600)) >= 0; i++) {
        if (i % 2)
            unlink(name);
        for (int n = 0; n < 16 && write(fd, piece, sizeof piece) > 0; n++)
            ;
    }
}

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
    else if (strcmp(action, "eat") == 0)
        eat();
    else if (strcmp(action, "fill") == 0)
        fill();
    if (strcmp(action, "hang") == 0 || strcmp(action, "eat") == 0 || strcmp(action, "fill") == 0)
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
