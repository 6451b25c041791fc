/* What the supervisor reads for the front. Runs in the supervisor. */
#include "supervisor/look.h"
#include "core/clock.h"
#include "supervisor/supervisor_internal.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#define PERIOD_NS (250 * NS_PER_MS)

/* The write-ahead log beside the database, left by a writer; -1: none. */
static int64_t wal_bytes(const struct config *cfg)
{
    char path[4200];
    struct stat st;
    if (!cfg->database.path[0])
        return -1;
    snprintf(path, sizeof path, "%s.wal", cfg->database.path);
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static int32_t own_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int32_t n = 0;
    const struct dirent *e;
    while (d && (e = readdir(d)))
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n > 0 ? n - 1 : 0; /* without the directory's own */
}

void look_around(struct supervisor *s, int64_t now_ns)
{
    if (s->looked_ns && now_ns - s->looked_ns < PERIOD_NS)
        return;
    s->looked_ns = now_ns;
    atomic_store(&s->page->wal_bytes, wal_bytes(s->cfg));
    atomic_store(&s->page->supervisor_fds, own_fds());
}
