/* Copies of a database and of what lies beside it, made before anything is tried, and the putting aside of its log. The lock of the write
 * path must be held. Runs in the command line. */
#pragma once
#include "publish/copy.h"
#include "publish/place.h"

#define BACKUP_STAMP_BYTES 24

/* "20240131T235959Z": now, in UTC; what the names of one backup have in common. With a number behind it when there is one of that second. */
void backup_stamp(const struct place *p, char ret[BACKUP_STAMP_BYTES]);

/* Copies the database and each of the engine's files beside it to NAME.bulkhead-backup-STAMP, ...-STAMP.wal and so on, on the disk when this
 * returns. The copies together open as the originals did. *ret_path: the first one. 0; -1 with *err, and no copy is left. */
int backup_make(const struct place *p, int database_fd, const char *stamp, const struct copy_progress *progress, char ret_path[PATH_MAX],
                struct error *err);

/* Renames each of the engine's files beside the database to NAME.bulkhead-discarded-STAMP.wal and so on: the engine finds none any more.
 * `stays`: they keep their first names as well, where the file system has hard links, until backup_log_prefix takes the log's place.
 * *ret_path: the log's new name. 0; -1 with *err. */
int backup_put_log_aside(const struct place *p, const char *stamp, bool stays, char ret_path[PATH_MAX], struct error *err);
/* Makes a log of the first `bytes` of the one that was put aside, and puts it in its place at once: a kill leaves the one or the other.
 * 0; -1 with *err. */
int backup_log_prefix(const struct place *p, const char *stamp, int64_t bytes, struct error *err);
