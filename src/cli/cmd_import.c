/* `bulkhead import`: a script, or a table's files, into a database, under its readers. Runs in the command line. */
#include "cli/cli.h"
#include "cli/import_args.h"
#include "cli/import_progress.h"
#include "cli/import_report.h"
#include "cli/import_source.h"
#include "cli/write_args.h"
#include "cli/write_run.h"
#include "core/clock.h"
#include "core/fd.h"
#include "core/formats.h"
#include "publish/holder.h"
#include "publish/publish.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "import"
#define BODY_MAX ((size_t)4 << 20)
#define LOOK_MS 50 /* how often a file that others have open is looked at */

struct import {
    const struct import_args *args;
    struct config *cfg;
    struct import_source source;
    struct publication pub;
    struct import_progress progress;
    struct buf body;
    int signal_fd;
    int64_t keep;
};

static int run_script(struct import *im, const char *path, const char *mode, const char *sql, size_t len, uint32_t format, struct error *err)
{
    struct write_plan plan = {.cfg = im->cfg,
                              .mode = mode,
                              .read_paths = (const char *const *)im->source.paths,
                              .sql = sql,
                              .sql_len = len,
                              .format = format,
                              .timeout_ms = im->args->timeout_ms};
    write_config_path(im->cfg, path);
    im->body.len = 0;
    import_progress_say(&im->progress, "running");
    int rc = write_run(&plan, im->signal_fd, &im->body, err);
    import_progress_say(&im->progress, NULL);
    return rc;
}

static int copy(struct import *im, struct error *err)
{
    int rc = publish_copy(&im->pub, &im->progress.copy, err);
    import_progress_say(&im->progress, NULL);
    if (rc < 0 && im->progress.stopped)
        error_set(err, ERR_CANCELLED, "stopped by a signal");
    return rc;
}

/* The log of a writer that was killed belongs to the old file: it becomes part of it first. */
static int fold(struct import *im, struct error *err)
{
    char text[600], note[256];
    int64_t version;
    if (!publish_needs_fold(&im->pub))
        return 0;
    wal_describe(&im->pub.wal, text, sizeof text);
    if (copy(im, err) < 0 || run_script(im, im->pub.copy_path, "copy", "", 0, FORMAT_RAW, err) < 0 ||
        publish_commit(&im->pub, -1, &version, note, err) < 0)
        return -1;
    write_say("%s: its write-ahead log was folded in first: %s", im->pub.place.path, text);
    return publish_again(&im->pub, err);
}

static int on_copy(struct import *im, struct error *err)
{
    char note[256];
    int64_t version = 0;
    bool is_new = im->pub.old_fd < 0;
    if (fold(im, err) < 0 || copy(im, err) < 0 ||
        run_script(im, im->pub.copy_path, "copy", im->source.sql.data ? im->source.sql.data : "", im->source.sql.len, FORMAT_RAW, err) < 0)
        return -1;
    if (im->args->dry_run) {
        import_report(im->pub.place.path, "dry run, nothing was published", &im->body);
        return 0;
    }
    import_progress_say(&im->progress, "publishing");
    int rc = publish_commit(&im->pub, im->keep, &version, note, err);
    import_progress_say(&im->progress, NULL);
    if (rc < 0)
        return -1;
    import_report(im->pub.place.path, is_new ? "made" : "published", &im->body);
    if (version > 0)
        write_say("  the old version is kept as %s.bulkhead-version-%lld; `bulkhead rollback` brings it back", im->pub.place.name,
                  (long long)version);
    if (note[0])
        write_fail(0, NAME, "%s", note);
    return 0;
}

/* Servers that see the lock file give the database up; everybody else has to be asked by their owner. */
static int wait_for_the_file(struct import *im, struct error *err)
{
    int64_t until = clock_now_ns() + im->args->wait_ms * NS_PER_MS;
    struct file_holder h;
    char who[256];
    import_progress_say(&im->progress, "waiting for others to give the file up");
    while (holder_locked(im->pub.old_fd, &h)) {
        struct pollfd p = {.fd = im->signal_fd, .events = POLLIN};
        if (poll(&p, 1, LOOK_MS) > 0)
            return error_set(err, ERR_CANCELLED, "stopped by a signal");
        if (clock_now_ns() > until) {
            holder_text(&h, who, sizeof who);
            return error_set(err, ERR_CONFLICT, "database \"%s\": %s still has it open (--wait gives it longer)", im->pub.place.path, who);
        }
    }
    import_progress_say(&im->progress, NULL);
    fd_close_p(&im->pub.old_fd); /* with our own lock: the worker takes one that keeps everybody out */
    return 0;
}

static int in_place(struct import *im, struct error *err)
{
    if (im->pub.old_fd < 0)
        return on_copy(im, err); /* there is nothing to change in place */
    if (wait_for_the_file(im, err) < 0 ||
        run_script(im, im->pub.place.path, "in-place", im->source.sql.data ? im->source.sql.data : "", im->source.sql.len, FORMAT_RAW, err) < 0)
        return -1;
    import_report(im->pub.place.path, "changed in place", &im->body);
    return 0;
}

static int describe(struct import *im, struct error *err)
{
    struct buf sql = BUF_INIT((size_t)16 << 20);
    if (!import_source_describe(im->args, &im->source, &sql)) {
        buf_free(&sql);
        return error_set(err, ERR_BAD_REQUEST, "the names of the files are too long together");
    }
    int rc = run_script(im, "", "copy", sql.data, sql.len, FORMAT_JSON, err);
    if (rc == 0)
        import_report_columns(im->args->table, &im->body);
    buf_free(&sql);
    return rc;
}

static int run(struct import *im, struct error *err)
{
    const struct import_args *a = im->args;
    if (a->table && a->dry_run)
        return describe(im, err);
    struct publish_options o = {
        .path = a->database, .mode = a->in_place ? LOCK_IN_PLACE : LOCK_COPY, .command = "bulkhead import", .may_be_new = true};
    int rc = publish_begin(&im->pub, &o, err);
    if (rc == 0 && im->pub.leftovers > 0)
        write_say("%s: removed what an interrupted run had left (%d files)", im->pub.place.path, im->pub.leftovers);
    if (rc == 0)
        rc = a->in_place ? in_place(im, err) : on_copy(im, err);
    publish_end(&im->pub);
    return rc;
}

static void add_hint(const struct import_args *a, struct error *err)
{
    if (err->code == ERR_SQL && a->table && a->how == IMPORT_CREATE && strstr(err->detail, "already exists"))
        error_hint(err, "; --replace makes it anew, --append adds to it");
    else if (err->code == ERR_SQL && a->table && a->how == IMPORT_APPEND && strstr(err->detail, "does not exist"))
        error_hint(err, "; without --append it is made");
    else if (err->code == ERR_SQL && !a->table && strstr(err->detail, "file system operations are disabled"))
        error_hint(err, "; a script may read its own directory, --read PATH allows more");
}

static int import(const struct import_args *a)
{
    struct error err;
    struct import im = {.args = a, .pub = PUBLICATION_NONE, .body = BUF_INIT(BODY_MAX), .signal_fd = -1};
    int rc = write_config(&im.cfg, a->config_file, a->sets, &err);
    if (rc < 0)
        return write_fail(WRITE_EXIT_USAGE, NAME, "%s", err.detail);
    im.keep = a->keep >= 0 ? a->keep : im.cfg->admin.keep;
    rc = import_source_make(a, &im.source, &err); /* may wait for a terminal or a pipe: so long, a signal ends the command as any other */
    if (rc == 0 && (im.signal_fd = write_start()) < 0)
        rc = error_set(&err, ERR_UNAVAILABLE, "cannot wait for signals: %s", strerror(errno));
    import_progress_init(&im.progress, im.signal_fd);
    if (rc == 0)
        rc = run(&im, &err);
    if (rc < 0)
        add_hint(a, &err);
    import_progress_say(&im.progress, NULL);
    import_source_free(&im.source);
    buf_free(&im.body);
    config_free(im.cfg);
    fd_close_p(&im.signal_fd);
    return rc < 0 ? write_fail_error(NAME, &err) : 0;
}

int cmd_import(int argc, char **argv)
{
    struct import_args a;
    int code = import_args_parse(argc, argv, &a);
    if (code < 0)
        code = import(&a);
    import_args_free(&a);
    return code;
}
