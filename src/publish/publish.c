/* One write to a database, from the lock to the rename (see the header). Runs in the publisher and the command line. */
#include "publish/publish.h"
#include "core/fault.h"
#include "core/fd.h"
#include "publish/holder.h"
#include "publish/versions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- begin ---- */

static int unusable(const struct publication *p, const char *why, struct error *err)
{
    return error_set(err, ERR_UNAVAILABLE, "database \"%s\": %s", p->place.path, why);
}

/* From here on no other process can open it for writing, and nobody who has can go on unseen. */
static int lock_against_writers(const struct publication *p, struct error *err)
{
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    struct file_holder h = {0};
    char who[256];
    if (fcntl(p->old_fd, F_OFD_SETLK, &l) == 0)
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return unusable(p, strerror(errno), err);
    if (!holder_locked(p->old_fd, &h))
        h = (struct file_holder){0};
    holder_text(&h, who, sizeof who);
    return error_set(err, ERR_CONFLICT, "database \"%s\": %s has it open for writing", p->place.path, who);
}

static int open_old(struct publication *p, const struct publish_options *o, struct error *err)
{
    char why[200];
    p->old_fd = openat(p->place.dir_fd, p->place.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (p->old_fd < 0 && errno == ENOENT && (o->may_be_new || o->may_be_bad))
        return 0;
    if (p->old_fd < 0)
        return unusable(p, errno == ENOENT ? "the file does not exist" : strerror(errno), err);
    if (lock_against_writers(p, err) < 0)
        return -1;
    enum db_header_state state = db_header_read(p->old_fd, &p->header);
    if ((state == DB_HEADER_OK && !p->header.encrypted) || o->may_be_bad)
        return 0;
    db_header_text(state, &p->header, why, sizeof why);
    return unusable(p, state == DB_HEADER_OK ? "it is encrypted, and this program has no key for it" : why, err);
}

static int look_at_wal(struct publication *p, struct error *err)
{
    char name[NAME_MAX + 1], what[600];
    static const char *const odd[] = {PLACE_WAL_CHECKPOINT, PLACE_WAL_RECOVERY};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        if (place_size(&p->place, odd[i]) >= 0)
            return error_set(err, ERR_UNAVAILABLE,
                             "database \"%s\": \"%s%s\" is beside it: a writer was killed in the middle of a "
                             "checkpoint; run `bulkhead recover` first",
                             p->place.path, p->place.name, odd[i]);
    place_beside(&p->place, PLACE_WAL, name);
    p->wal = (struct wal_report){.state = WAL_NONE};
    auto_close int fd = openat(p->place.dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_set(err, ERR_UNAVAILABLE, "cannot open the log \"%s.wal\": %s", p->place.path, strerror(errno));
    wal_walk(fd, p->old_fd >= 0 ? &p->header : NULL, &p->wal);
    if (p->old_fd >= 0 && wal_is_harmless(p->wal.state)) {
        if (p->wal.state == WAL_CLEAN)
            p->wal_fd = take_fd(&fd);
        return 0;
    }
    wal_describe(&p->wal, what, sizeof what);
    return error_set(err, ERR_UNAVAILABLE,
                     p->old_fd >= 0 ? "database \"%s\": its write-ahead log needs `bulkhead recover` first: %s"
                                    : "database \"%s\" does not exist, but a write-ahead log lies in its place: move it away (%s)",
                     p->place.path, what);
}

/* A mistyped path: nothing is to be made beside somebody else's file, not even a lock. All else is looked at behind the lock. */
static int refuse_foreign(const struct publication *p, const struct publish_options *o, struct error *err)
{
    struct db_header h;
    char why[200];
    auto_close int fd = openat(p->place.dir_fd, p->place.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || o->may_be_bad || db_header_read(fd, &h) != DB_HEADER_FOREIGN)
        return 0;
    db_header_text(DB_HEADER_FOREIGN, &h, why, sizeof why);
    return unusable(p, why, err);
}

int publish_begin(struct publication *p, const struct publish_options *o, struct error *err)
{
    *p = PUBLICATION_NONE;
    if (place_open(&p->place, o->path, o->may_be_new || o->may_be_bad, err) < 0 || refuse_foreign(p, o, err) < 0 ||
        lock_take(&p->place, o->mode, o->command, &p->lock_fd, err) < 0)
        return -1;
    fault_point("import:locked");
    place_beside_path(&p->place, PLACE_COPY, p->copy_path);
    p->leftovers = versions_clean(&p->place);
    fault_point("import:cleaned");
    return open_old(p, o, err) < 0 || look_at_wal(p, err) < 0 ? -1 : 0;
}

bool publish_needs_fold(const struct publication *p) { return p->wal_fd >= 0; }

int publish_again(struct publication *p, struct error *err)
{
    fd_close_p(&p->old_fd);
    fd_close_p(&p->wal_fd);
    return open_old(p, &(struct publish_options){0}, err) < 0 || look_at_wal(p, err) < 0 ? -1 : 0;
}

/* ---- the copy ---- */

static void remove_copy(const struct publication *p)
{
    if (p->place.dir_fd >= 0 && p->lock_fd >= 0)
        (void)versions_clean(&p->place);
}

static int copy_one(const struct publication *p, int from, const char *suffix, const char *what, const struct copy_progress *progress,
                    bool *ret_shared, struct error *err)
{
    char name[NAME_MAX + 1];
    place_beside(&p->place, suffix, name);
    auto_close int to = openat(p->place.dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot make \"%s/%s\": %s", p->place.directory, name, strerror(errno));
    return copy_file(from, to, what, progress, ret_shared, err);
}

int publish_copy(struct publication *p, const struct copy_progress *progress, struct error *err)
{
    bool ignored;
    char what[PATH_MAX + 2];
    p->fold = p->wal_fd >= 0;
    if (p->old_fd < 0)
        return 0;
    snprintf(what, sizeof what, "\"%s\"", p->place.path);
    if (copy_one(p, p->old_fd, PLACE_COPY, what, progress, &p->copy_shares, err) < 0 ||
        (p->fold && copy_one(p, p->wal_fd, PLACE_COPY PLACE_WAL, "its log", NULL, &ignored, err) < 0)) {
        remove_copy(p);
        return -1;
    }
    fault_point("import:copied");
    return 0;
}

/* ---- commit ---- */

/* What the engine left must be a whole file that needs no log. */
static int check_copy(const struct publication *p, int fd, struct db_header *h, struct error *err)
{
    char why[200];
    if (place_size(&p->place, PLACE_COPY PLACE_WAL) >= 0)
        return error_set(err, ERR_INTERNAL, "the copy still has a log beside it: it was not checkpointed");
    enum db_header_state state = db_header_read(fd, h);
    if (state == DB_HEADER_OK)
        return 0;
    db_header_text(state, h, why, sizeof why);
    return error_set(err, ERR_INTERNAL, "what the engine wrote is no database: %s", why);
}

/* The new file is to be as the old one was to whoever may read it. */
static void take_over_owner(int fd, const struct stat *old)
{
    if (fchown(fd, old->st_uid, old->st_gid) < 0) /* not root: it stays ours, and the group if it is one of ours */
        (void)!fchown(fd, (uid_t)-1, old->st_gid);
    (void)fchmod(fd, old->st_mode & 07777);
}

static int write_marker(const struct publication *p, const struct db_header *new, struct error *err)
{
    uint8_t marker[WAL_MARKER_MAX];
    size_t len = wal_marker(new->meta_block, marker);
    /* With the old catalog's place in it, the marker would say that the old file has everything. */
    bool next = !p->wal.has_identifier || new->iteration == p->wal.iteration + 1;
    if (new->meta_block == p->header.meta_block || !next)
        return error_set(err, ERR_INTERNAL, "the log can't be folded in: the engine made more than one checkpoint of it");
    /* The marker of a checkpoint that never was complete means nothing, but must not stand in front of ours. */
    int64_t end = p->wal.marker ? p->wal.marker_at : p->wal.bytes;
    if (ftruncate(p->wal_fd, (off_t)end) < 0 || pwrite(p->wal_fd, marker, len, (off_t)end) != (ssize_t)len || fsync(p->wal_fd) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot write to the log \"%s.wal\": %s", p->place.path, strerror(errno));
    fault_point("import:marked");
    return 0;
}

/* Somebody may have put another file there meanwhile: that one is not ours to replace. */
static int check_still_there(const struct publication *p, const struct stat *old, struct error *err)
{
    struct stat now;
    bool there = fstatat(p->place.dir_fd, p->place.name, &now, AT_SYMLINK_NOFOLLOW) == 0;
    if (p->old_fd < 0 ? !there : there && now.st_ino == old->st_ino && now.st_dev == old->st_dev)
        return 0;
    return error_set(err, ERR_CONFLICT, "database \"%s\" was replaced by something else meanwhile; nothing was published", p->place.path);
}

static void keep_old(const struct publication *p, int64_t keep, int64_t *ret_version, char ret_note[256])
{
    int64_t number = p->old_fd >= 0 && keep > 0 ? versions_keep(&p->place) : 0;
    *ret_version = number > 0 ? number : 0;
    if (number < 0)
        snprintf(ret_note, 256, "the old version could not be kept: %s", strerror(errno));
    fault_point("import:kept");
}

static int rename_copy(const struct publication *p, struct error *err)
{
    char copy[NAME_MAX + 1], wal[NAME_MAX + 1];
    place_beside(&p->place, PLACE_COPY, copy);
    place_beside(&p->place, PLACE_WAL, wal);
    /* A log that the engine ignores beside the old file would be replayed beside the new one. */
    if (p->wal.state != WAL_NONE && !p->fold)
        (void)unlinkat(p->place.dir_fd, wal, 0);
    fault_point("import:before-rename");
    if (renameat(p->place.dir_fd, copy, p->place.dir_fd, p->place.name) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot rename \"%s/%s\" to \"%s\": %s", p->place.directory, copy, p->place.name, strerror(errno));
    fault_point("import:renamed");
    if (p->fold)
        (void)unlinkat(p->place.dir_fd, wal, 0);
    return 0;
}

int publish_commit(struct publication *p, int64_t keep, int64_t *ret_version, char ret_note[256], struct error *err)
{
    char name[NAME_MAX + 1];
    struct db_header new;
    struct stat old = {0};
    int64_t version = 0;
    ret_note[0] = 0;
    place_beside(&p->place, PLACE_COPY, name);
    auto_close int fd = openat(p->place.dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set(err, ERR_INTERNAL, "the copy is gone: %s", strerror(errno));
    if (check_copy(p, fd, &new, err) < 0)
        return -1;
    if (p->old_fd >= 0 && fstat(p->old_fd, &old) == 0)
        take_over_owner(fd, &old);
    if (fsync(fd) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot write \"%s/%s\" to the disk: %s", p->place.directory, name, strerror(errno));
    fault_point("import:fsynced");
    if (check_still_there(p, &old, err) < 0 || (p->fold && write_marker(p, &new, err) < 0))
        return -1;
    keep_old(p, keep, &version, ret_note);
    if (rename_copy(p, err) < 0)
        return -1; /* publish_end removes the copy, and the further name of the old version */
    *ret_version = version;
    if (fsync(p->place.dir_fd) < 0) /* it is published; a power failure could still bring the old name back */
        snprintf(ret_note, 256, "cannot write the directory to the disk: %s", strerror(errno));
    fault_point("import:published");
    if (keep >= 0)
        versions_prune(&p->place, keep);
    return 0;
}

void publish_end(struct publication *p)
{
    remove_copy(p);
    fd_close_p(&p->wal_fd);
    fd_close_p(&p->old_fd);
    fd_close_p(&p->lock_fd);
    place_close(&p->place);
}

/* ---- rollback ---- */

int publish_rollback_find(const struct publication *p, int64_t *ret_number, char ret_path[PATH_MAX], struct error *err)
{
    char suffix[PLACE_SUFFIX_MAX];
    if (publish_needs_fold(p))
        return error_set(err, ERR_UNAVAILABLE,
                         "database \"%s\" has a write-ahead log beside it, which belongs to this version and not to the one "
                         "before: run `bulkhead recover` first",
                         p->place.path);
    int64_t number = versions_newest(&p->place);
    if (number < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot read the directory \"%s\": %s", p->place.directory, strerror(errno));
    if (number == 0)
        return error_set(err, ERR_UNAVAILABLE, "no older version of \"%s\" was kept (import --keep N keeps some)", p->place.path);
    versions_suffix(number, suffix);
    place_beside_path(&p->place, suffix, ret_path);
    *ret_number = number;
    return 0;
}

int publish_rollback(struct publication *p, int64_t number, struct error *err)
{
    char suffix[PLACE_SUFFIX_MAX], version[NAME_MAX + 1], undone[NAME_MAX + 1], wal[NAME_MAX + 1];
    struct stat old = {0};
    versions_suffix(number, suffix);
    place_beside(&p->place, suffix, version);
    place_beside(&p->place, PLACE_UNDONE, undone);
    place_beside(&p->place, PLACE_WAL, wal);
    if (p->old_fd >= 0)
        (void)fstat(p->old_fd, &old);
    if (check_still_there(p, &old, err) < 0)
        return -1;
    (void)unlinkat(p->place.dir_fd, undone, 0);
    if (p->old_fd >= 0 && linkat(p->place.dir_fd, p->place.name, p->place.dir_fd, undone, 0) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot keep the present version as \"%s\": %s", undone, strerror(errno));
    if (p->wal.state != WAL_NONE)
        (void)unlinkat(p->place.dir_fd, wal, 0);
    fault_point("rollback:kept");
    if (renameat(p->place.dir_fd, version, p->place.dir_fd, p->place.name) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot rename \"%s\" to \"%s\": %s", version, p->place.name, strerror(errno));
    fault_point("rollback:renamed");
    (void)fsync(p->place.dir_fd);
    return 0;
}
