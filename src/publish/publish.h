/* One write to a database, from the lock to the rename. The database's readers never see anything but the old file or the new one, and a
 * kill at any instant leaves one of the two, with at most a leftover that the next run removes.
 *
 *     publish_begin   takes the lock of the write path, removes leftovers, locks the present file against other writers, looks at its log
 *     publish_copy    makes the private copy at copy_path
 *     ...             somebody lets the engine change the copy, checkpoint and close it
 *     publish_commit  fsync, the old version kept, rename, fsync of the directory
 *     publish_end     in any case: an unpublished copy goes, the locks are given back
 *
 * A log beside the database (a writer was killed) belongs to the old file, and must go at the very instant the new one comes. Two names
 * can't be changed at once; but the engine has a protocol for exactly this: a checkpoint's marker in the log names the catalog of the file
 * that has everything in it, and next to that file the log is ignored. So the log is folded in first, by a publication of its own:
 * copy of file and log, opened and checkpointed once, marker for it appended to the old log, rename, log removed. (wal_walk.h)
 *
 * Blocks on the disk. Runs in the publisher and the command line. */
#pragma once
#include "publish/copy.h"
#include "publish/db_header.h"
#include "publish/lock.h"
#include "publish/place.h"
#include "publish/wal_walk.h"

struct publication {
    struct place place;
    int lock_fd;
    int old_fd;              /* the present database, locked for reading; -1: there is none yet */
    int wal_fd;              /* its log, when that has to be folded in; -1 */
    struct db_header header; /* of the present database */
    struct wal_report wal;   /* of its log */
    char copy_path[PATH_MAX];
    bool copy_shares; /* the copy was made by reference */
    bool fold;        /* the copy has the log beside it, to be folded in */
    int leftovers;    /* names of an interrupted run that were removed */
};
#define PUBLICATION_NONE ((struct publication){.place = PLACE_NONE, .lock_fd = -1, .old_fd = -1, .wal_fd = -1})

struct publish_options {
    const char *path;
    enum lock_mode mode;
    const char *command; /* who we are, for others that find the lock taken */
    bool may_be_new;
    bool may_be_bad; /* a rollback: what is there now may be missing, damaged, or no database at all */
};

/* 0; -1 with *err: ERR_CONFLICT (another write, or another process has it open for writing), ERR_UNAVAILABLE (everything else: no file,
 * no permission, a log that needs `bulkhead recover` first). publish_end must follow in either case. */
int publish_begin(struct publication *p, const struct publish_options *o, struct error *err);
/* True when the log must be folded in before anything else: publish_copy takes it along, publish_commit ends that part, and
 * publish_again begins the real one. */
bool publish_needs_fold(const struct publication *p);
int publish_again(struct publication *p, struct error *err);
/* 0; -1 with *err, the copy is gone. Nothing to do when there is no database yet: the engine makes one. */
int publish_copy(struct publication *p, const struct copy_progress *progress, struct error *err);
/* Puts the copy, which the engine has closed, in the database's place. keep: how many old versions stay (0: none; -1: nothing is kept
 * and nothing pruned). *ret_version: the number of the version kept, 0 when none was; *ret_note: what did not work as wished, or "".
 * 0; -1 with *err, and then the database is as it was. */
int publish_commit(struct publication *p, int64_t keep, int64_t *ret_version, char ret_note[256], struct error *err);
void publish_end(struct publication *p);

/* The version that a rollback would publish: its number and path. 0; -1 with *err. After publish_begin. */
int publish_rollback_find(const struct publication *p, int64_t *ret_number, char ret_path[PATH_MAX], struct error *err);
/* Publishes it; what it replaces stays as NAME.bulkhead-undone until the next rollback. */
int publish_rollback(struct publication *p, int64_t number, struct error *err);
