/* `bulkhead recover`: what a killed writer left beside a database, in words, and away with it. Works on the file itself, by the engine's own
 * recovery, which survives a kill; copies of everything are made first. Runs in the command line. */
#include "cli/cli.h"
#include "cli/import_progress.h"
#include "cli/import_report.h"
#include "cli/query_worker.h"
#include "cli/write_args.h"
#include "cli/write_run.h"
#include "core/fault.h"
#include "core/fd.h"
#include "core/formats.h"
#include "publish/backup.h"
#include "publish/holder.h"
#include "publish/lock.h"
#include "publish/wal_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "recover"
#define BODY_MAX ((size_t)4 << 20)

static const char help[] =
    "usage: bulkhead recover DATABASE [--dry-run] [--discard-wal] [--config FILE] [--set SECTION.KEY=VALUE]...\n"
    "\n"
    "Says what lies beside DATABASE since a program that wrote to it was killed: a write-ahead log that is whole, torn, damaged\n"
    "or another's. Then copies everything to DATABASE.bulkhead-backup-TIME, opens the database once for writing, so that the\n"
    "engine replays the log, checkpoints, and verifies. Never works on a file that another process has open.\n"
    "  --dry-run              only says what it finds, and what it would do\n"
    "  --discard-wal          the last resort, for a log that the engine refuses: what stands in front of the damage is replayed\n"
    "                         if that works, the rest is lost; the log stays as DATABASE.bulkhead-discarded-TIME.wal\n"
    "\n"
    "Exit code: 0 clean or recovered, 1 not, 2 wrong usage.\n";

struct recover_args {
    const char *database, *config_file;
    const char **sets;
    bool dry_run, discard;
};

struct recovery {
    const struct recover_args *args;
    struct config *cfg;
    int signal_fd;
    struct place place;
    int lock_fd, database_fd;
    struct db_header header;
    struct wal_report wal;
    bool halves; /* the two other files of a crash in the middle of a checkpoint, or one of them */
    char stamp[BACKUP_STAMP_BYTES];
};

/* ---- what is there ---- */

static int find_holder(struct recovery *r, struct error *err)
{
    struct file_holder h;
    char who[256];
    if (!holder_open(r->database_fd, &h))
        return 0;
    holder_text(&h, who, sizeof who);
    return error_set(err, ERR_CONFLICT,
                     "%s has \"%s\" open%s; recovery needs it for itself (an import makes a whole log part of the file while "
                     "servers run)",
                     who, r->place.path, h.writes ? " for writing" : "");
}

static int look_at_file(struct recovery *r, struct error *err)
{
    char text[200];
    r->database_fd = openat(r->place.dir_fd, r->place.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (r->database_fd < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot open \"%s\": %s", r->place.path, strerror(errno));
    if (find_holder(r, err) < 0)
        return -1;
    enum db_header_state state = db_header_read(r->database_fd, &r->header);
    db_header_text(state, &r->header, text, sizeof text);
    if (state != DB_HEADER_OK)
        return error_set(err, ERR_UNAVAILABLE,
                         "database \"%s\": %s; a log can't help (`bulkhead rollback` publishes the version before, if one was "
                         "kept)",
                         r->place.path, text);
    if (r->header.encrypted)
        return error_set(err, ERR_UNAVAILABLE, "database \"%s\" is encrypted, and this program has no key for it", r->place.path);
    write_say("%s: %lld bytes, storage version %" PRIu64 ", checkpoint %" PRIu64, r->place.path, place_size(&r->place, ""), r->header.storage_version,
              r->header.iteration);
    return 0;
}

static int look_at_log(struct recovery *r, struct error *err)
{
    char name[NAME_MAX + 1], text[800];
    static const char *const odd[] = {PLACE_WAL_CHECKPOINT, PLACE_WAL_RECOVERY};
    place_beside(&r->place, PLACE_WAL, name);
    auto_close int fd = openat(r->place.dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno != ENOENT)
        return error_set(err, ERR_UNAVAILABLE, "cannot open \"%s.wal\": %s", r->place.path, strerror(errno));
    r->wal = (struct wal_report){.state = WAL_NONE};
    if (fd >= 0)
        wal_walk(fd, &r->header, &r->wal);
    wal_describe(&r->wal, text, sizeof text);
    write_say("write-ahead log: %s", text);
    for (size_t i = 0; i < 2; i++)
        if (place_size(&r->place, odd[i]) >= 0) {
            r->halves = true;
            write_say("%s%s: %lld bytes, of a checkpoint that was under way", r->place.name, odd[i], place_size(&r->place, odd[i]));
        }
    return 0;
}

static bool engine_refuses(const struct recovery *r)
{
    switch (r->wal.state) {
    case WAL_CORRUPT:
    case WAL_STRANGE:
    case WAL_OTHER:
    case WAL_ENCRYPTED:
    case WAL_UNKNOWN_VERSION:
    case WAL_UNREADABLE: return true;
    /* With a checkpoint's other half beside it, only the engine knows what belongs together. */
    case WAL_STALE: return !r->halves;
    default: return false;
    }
}

/* ---- what is done ---- */

static int back_up(struct recovery *r, struct error *err)
{
    char path[PATH_MAX];
    struct import_progress progress;
    import_progress_init(&progress, r->signal_fd);
    int rc = backup_make(&r->place, r->database_fd, r->stamp, &progress.copy, path, err);
    import_progress_say(&progress, NULL);
    fault_point("recover:copied");
    if (rc == 0)
        write_say("copies of all of it: %s", path);
    return rc;
}

/* Opens it for writing: the engine replays; checkpoint; a reader compares. */
static int replay(struct recovery *r, struct error *err)
{
    struct buf body = BUF_INIT(BODY_MAX);
    struct write_plan plan = {.cfg = r->cfg, .mode = "in-place", .sql = "", .format = FORMAT_RAW};
    write_config_path(r->cfg, r->place.path);
    int rc = write_run(&plan, r->signal_fd, &body, err);
    buf_free(&body);
    return rc;
}

static int verify(struct recovery *r, struct error *err)
{
    struct query_worker w;
    write_config_path(r->cfg, r->place.path);
    int rc = query_worker_start(&w, r->cfg, r->signal_fd, err);
    query_worker_stop(&w);
    return rc;
}

static int replay_and_say(struct recovery *r, struct error *err)
{
    char lost[300];
    if (back_up(r, err) < 0 || replay(r, err) < 0)
        return -1;
    fault_point("recover:replayed");
    if (place_size(&r->place, PLACE_WAL) >= 0)
        return error_set(err, ERR_INTERNAL, "the log is still there after the checkpoint");
    if (r->wal.state == WAL_TORN || r->wal.state == WAL_TAIL) {
        wal_describe_entries(r->wal.behind, lost, sizeof lost);
        write_say("not replayed: %" PRId64 " bytes behind the last commit (%s); the copy has them", r->wal.bytes - r->wal.committed_bytes, lost);
    }
    write_say("recovered: the log is part of the file, which a reader has opened and compared");
    return 0;
}

/* The log goes aside. What stands in front of the damage may still be good. */
static int discard(struct recovery *r, struct error *err)
{
    char path[PATH_MAX];
    struct error why;
    bool prefix = r->wal.state == WAL_CORRUPT && r->wal.commits > 0 && !r->halves;
    if (back_up(r, err) < 0 || backup_put_log_aside(&r->place, r->stamp, prefix, path, err) < 0)
        return -1;
    fault_point("recover:aside");
    write_say("the log was put aside: %s", path);
    if (prefix && backup_log_prefix(&r->place, r->stamp, r->wal.committed_bytes, err) < 0)
        return -1;
    fault_point("recover:prefix");
    if (prefix && replay(r, &why) == 0) {
        write_say("recovered: %" PRIu64 " commits in front of the damage were replayed; what was behind it is lost", r->wal.commits);
        return 0;
    }
    if (prefix) { /* not even that: without the log, then */
        char name[NAME_MAX + 1];
        place_beside(&r->place, PLACE_WAL, name);
        (void)unlinkat(r->place.dir_fd, name, 0);
        write_say("what stands in front of the damage can't be replayed either: %s", why.detail);
    }
    if (verify(r, err) < 0)
        return -1;
    write_say("recovered: the database opens as it was at its last checkpoint; all of the log is lost");
    return 0;
}

/* A log that looks whole is not thrown away before the engine has seen it: --discard-wal may be said again after a kill that left the good part
 * of the log, and only the engine finds out that a log is another database's. */
static int replay_or_discard(struct recovery *r, struct error *err)
{
    if (replay_and_say(r, err) == 0)
        return 0;
    if (err->code == ERR_CANCELLED)
        return -1;
    if (!r->args->discard) {
        error_hint(err, "; the log is still in its place, --discard-wal puts it aside as the last resort");
        return -1;
    }
    write_say("the engine can't replay it: %s", err->detail);
    backup_stamp(&r->place, r->stamp);
    return discard(r, err);
}

static int dry(const struct recovery *r, struct error *err)
{
    if (!engine_refuses(r))
        write_say("dry run: recovery would %s",
                  r->wal.state == WAL_NONE && !r->halves ? "have nothing to do" : "copy everything, replay, checkpoint and verify");
    else if (r->args->discard)
        write_say("dry run: recovery would copy everything, put the log aside and go on without it");
    else
        return error_set(err, ERR_UNAVAILABLE, "the engine refuses this log; --discard-wal would put it aside");
    return 0;
}

static int work(struct recovery *r, struct error *err)
{
    if (r->args->dry_run)
        return dry(r, err);
    if (engine_refuses(r) && r->args->discard)
        return discard(r, err);
    if (engine_refuses(r))
        return error_set(err, ERR_UNAVAILABLE, "the engine refuses this log, so nothing was done; --discard-wal puts it aside, as the last resort");
    if (r->wal.state != WAL_NONE || r->halves)
        return replay_or_discard(r, err);
    if (verify(r, err) < 0)
        return -1;
    write_say("clean: nothing to recover; a reader opens it");
    return 0;
}

/* A dry run leaves no trace, not even the lock's file. */
static int lock(struct recovery *r, struct error *err)
{
    struct lock_holder h;
    if (!r->args->dry_run)
        return lock_take(&r->place, LOCK_COPY, "bulkhead recover", &r->lock_fd, err);
    if (!lock_is_held(&r->place, &h))
        return 0;
    return error_set(err, ERR_CONFLICT, "a write to \"%s\" is under way, by process %d (%s)", r->place.path, (int)h.pid, h.command);
}

static int recover(struct recovery *r, struct error *err)
{
    if (place_open(&r->place, r->args->database, false, err) < 0 || lock(r, err) < 0)
        return -1;
    backup_stamp(&r->place, r->stamp);
    return look_at_file(r, err) < 0 || look_at_log(r, err) < 0 ? -1 : work(r, err);
}

static int run(const struct recover_args *a)
{
    struct error err;
    struct recovery r = {.args = a, .signal_fd = write_start(), .place = PLACE_NONE, .lock_fd = -1, .database_fd = -1};
    if (r.signal_fd < 0)
        return write_fail(WRITE_EXIT_FAILED, NAME, "cannot wait for signals: %s", strerror(errno));
    if (write_config(&r.cfg, a->config_file, a->sets, &err) < 0) {
        close(r.signal_fd);
        return write_fail(WRITE_EXIT_USAGE, NAME, "%s", err.detail);
    }
    int rc = recover(&r, &err);
    fd_close_p(&r.database_fd);
    fd_close_p(&r.lock_fd);
    place_close(&r.place);
    config_free(r.cfg);
    close(r.signal_fd);
    return rc < 0 ? write_fail_error(NAME, &err) : 0;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct recover_args *a)
{
    size_t set_count = 0;
    for (int i = 1; i < argc; i++) {
        bool config = strcmp(argv[i], "--config") == 0, set = strcmp(argv[i], "--set") == 0;
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return fflush(stdout) ? 1 : 0;
        }
        if ((config || set) && i + 1 == argc)
            return write_fail(WRITE_EXIT_USAGE, NAME, "a value is missing behind %s", argv[i]);
        if (config)
            a->config_file = argv[++i];
        else if (set)
            a->sets[set_count++] = argv[++i];
        else if (strcmp(argv[i], "--dry-run") == 0)
            a->dry_run = true;
        else if (strcmp(argv[i], "--discard-wal") == 0)
            a->discard = true;
        else if (argv[i][0] == '-')
            return write_fail(WRITE_EXIT_USAGE, NAME, "unknown option %s; see `bulkhead recover --help`", argv[i]);
        else if (a->database)
            return write_fail(WRITE_EXIT_USAGE, NAME, "one database, and no more: %s", argv[i]);
        else
            a->database = argv[i];
    }
    return a->database ? -1 : write_fail(WRITE_EXIT_USAGE, NAME, "the database is missing; see `bulkhead recover --help`");
}

int cmd_recover(int argc, char **argv)
{
    struct recover_args a = {.sets = calloc((size_t)argc + 1, sizeof *a.sets)};
    CHECK(a.sets);
    int code = parse(argc, argv, &a);
    if (code < 0)
        code = run(&a);
    free(a.sets);
    return code;
}
