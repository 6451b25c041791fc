/* The database's file from outside; a worker opens it elsewhere (doctor_walls.c). Runs in the command line. */
#include "cli/doctor.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/units.h"
#include "publish/db_header.h"
#include "publish/holder.h"
#include "publish/lock.h"
#include "publish/place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void check_header(struct doctor *d, int fd, const struct stat *st)
{
    struct db_header h;
    char text[CHECK_TEXT_BYTES], size[UNITS_TEXT_MAX];
    enum db_header_state state = db_header_read(fd, &h);
    units_human_size(st->st_size, size);
    struct check *c = report_add(&d->report, state == DB_HEADER_OK ? VERDICT_PASS : VERDICT_FAIL, "database file");
    check_text(c->configured, "%s", d->cfg->database.path);
    if (state == DB_HEADER_OK)
        check_text(text, "%s, storage version %" PRIu64 ", checkpoint %" PRIu64, size, h.storage_version, h.iteration);
    else
        db_header_text(state, &h, text, sizeof text);
    check_text(c->in_force, "%s", text);
    check_text(c->how, "read its headers and their checksums");
    if (state != DB_HEADER_OK)
        check_text(c->hint, "restore it from a backup, or publish it again (`bulkhead rollback` has the version before)");
}

/* Root may write everything; its workers are other users. An ordinary user's workers are that user. */
static void check_permissions(struct doctor *d, const struct stat *st)
{
    bool root = geteuid() == 0, everybody = st->st_mode & S_IWOTH, ours = !root && faccessat(AT_FDCWD, d->cfg->database.path, W_OK, AT_EACCESS) == 0;
    struct check *c = report_add(&d->report, everybody || ours ? VERDICT_WARN : VERDICT_PASS, "database permissions");
    check_text(c->configured, "readers do not need to write it");
    check_text(c->in_force, "mode %04o, owner %u, group %u%s", (unsigned)st->st_mode & 07777, (unsigned)st->st_uid, (unsigned)st->st_gid,
               everybody ? ": everybody may write it"
               : ours    ? ": the server's user may write it, and workers are that user"
                         : ": workers may not write it");
    check_text(c->how, root ? "stat; workers of root get users of their own" : "asked whether this user may write it");
    if (everybody)
        check_text(c->hint, "chmod o-w");
    else if (ours)
        check_text(c->hint, "give it to another user, readable for the server's: what holds a worker back now is its sandbox alone");
}

static void check_log(struct doctor *d, const struct place *p)
{
    char size[UNITS_TEXT_MAX];
    long long bytes = place_size(p, PLACE_WAL);
    struct check *c = report_add(&d->report, bytes > 0 ? VERDICT_WARN : VERDICT_PASS, "write-ahead log");
    check_text(c->configured, "none: the file is published whole");
    units_human_size(bytes > 0 ? bytes : 0, size);
    check_text(c->in_force, bytes > 0 ? "%s beside the database: every worker replays it at its start" : "none", size);
    check_text(c->how, "looked beside the database");
    if (bytes > 0)
        check_text(c->hint, "`bulkhead recover --dry-run` says what is in it; an import makes it part of the file");
}

static void check_holder(struct doctor *d, const struct place *p, int fd)
{
    struct file_holder h;
    struct lock_holder l = {0};
    char text[CHECK_TEXT_BYTES] = "";
    bool locked = holder_locked(fd, &h) && h.writes, writing = lock_is_held(p, &l);
    if (locked)
        holder_text(&h, text, sizeof text);
    struct check *c = report_add(&d->report, locked || writing ? VERDICT_WARN : VERDICT_PASS, "who else writes");
    check_text(c->configured, "nobody but the write path");
    if (locked)
        check_text(c->in_force, "%s holds a lock that keeps readers out", text);
    else if (writing)
        check_text(c->in_force, "the write path is held by process %d (%s)", l.pid, l.command);
    else
        check_text(c->in_force, "nobody");
    check_text(c->how, "the locks on the file and on the write path");
    if (locked)
        check_text(c->hint, "no worker can start until that program closes the database");
    else if (writing)
        check_text(c->hint, "an import, a rollback or a recovery is under way");
}

void doctor_database(struct doctor *d)
{
    struct place p;
    struct error err;
    struct stat st;
    const char *path = d->cfg->database.path;
    if (!path[0])
        return;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || place_open(&p, path, false, &err) < 0) {
        struct check *c = report_add(&d->report, VERDICT_FAIL, "database file");
        check_text(c->configured, "%s", path);
        check_text(c->in_force, "%s", fd < 0 ? strerror(errno) : err.detail);
        check_text(c->how, "opened it for reading");
        check_text(c->hint, "the server answers 503 until it is there");
        return;
    }
    check_header(d, fd, &st);
    check_permissions(d, &st);
    check_log(d, &p);
    check_holder(d, &p, fd);
    place_close(&p);
}
