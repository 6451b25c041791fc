/* What the supervisor reads for the front. Runs in the supervisor. */
#include "supervisor/look.h"
#include "core/clock.h"
#include "supervisor/supervisor_internal.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#define PERIOD_NS (250 * NS_PER_MS)

static void look_at_database(struct supervisor *s)
{
    struct control_database *d = &s->page->database;
    char path[4200];
    struct stat st = {0}, wal = {0};
    bool file = s->cfg->database.path[0] && stat(s->cfg->database.path, &st) == 0;
    snprintf(path, sizeof path, "%s.wal", s->cfg->database.path);
    bool log = s->cfg->database.path[0] && stat(path, &wal) == 0;
    atomic_fetch_add(&d->turn, 1);
    atomic_store(&d->inode, file ? st.st_ino : 0);
    atomic_store(&d->changed_s, st.st_mtim.tv_sec);
    atomic_store(&d->changed_ns, st.st_mtim.tv_nsec);
    atomic_store(&d->bytes, st.st_size);
    atomic_store(&d->wal_bytes, log ? wal.st_size : -1);
    atomic_fetch_add(&d->turn, 1);
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
    look_at_database(s);
    atomic_store(&s->page->supervisor_fds, own_fds());
}
