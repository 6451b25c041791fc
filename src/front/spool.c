/* Spool files. Room is set aside with fallocate, so that a full disk is met here, where there is still a choice, and not by the worker in the middle
 * of a result. Runs in the front. */
#include "front/spool.h"
#include "core/clock.h"
#include "core/fd.h"
#include "link/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Bytes are given back in whole pieces of this size: a part of a page that is on its way to a socket must not be zeroed. */
#define PIECE_BYTES ((int64_t)1 << 20)
#define LOG_EVERY_NS (10 * NS_PER_S)

/* What one tenant has in the spool. */
struct account {
    struct tenant *tenant;
    int64_t bytes;
    unsigned files;
    struct account *next;
};

struct spool {
    int dir_fd;
    struct spool_options opts;
    struct log *log;
    int64_t bytes;
    unsigned files;
    struct account *accounts;
    char trouble[160];
    int64_t logged_ns;
};

struct spool_file {
    struct spool *spool;
    struct account *account; /* NULL: it was adopted */
    unsigned refs;
    int fd;
    int worker_fd;     /* of one that was adopted; else -1 */
    int64_t room;      /* file bytes set aside, from 0 */
    int64_t discarded; /* of these, given back, from 0 */
};

struct spool *spool_new(int dir_fd, const struct spool_options *opts, struct log *log)
{
    struct spool *s = calloc(1, sizeof *s);
    CHECK(s);
    s->dir_fd = dir_fd;
    s->opts = *opts;
    s->log = log;
    return s;
}

void spool_set_options(struct spool *s, const struct spool_options *opts) { s->opts = *opts; }

void spool_free(struct spool *s)
{
    if (!s)
        return;
    CHECK(s->files == 0 && s->bytes == 0);
    free(s);
}

struct spool_figures spool_figures(const struct spool *s) { return (struct spool_figures){s->bytes, s->files, s->trouble[0] ? s->trouble : NULL}; }

static void set_trouble(struct spool *s, const char *what)
{
    snprintf(s->trouble, sizeof s->trouble, "%s: %s", what, strerror(errno));
    int64_t now = clock_now_ns();
    if (s->logged_ns && now - s->logged_ns < LOG_EVERY_NS)
        return;
    s->logged_ns = now;
    log_event(s->log, LOG_ERROR, "spool_trouble", LOG_S("why", s->trouble), LOG_I("bytes", s->bytes), LOG_I("files", s->files));
}

/* ---- accounts ---- */

static struct account *account_of(struct spool *s, struct tenant *t)
{
    struct account *a = s->accounts;
    while (a && a->tenant != t)
        a = a->next;
    if (!a) {
        a = calloc(1, sizeof *a);
        CHECK(a);
        a->tenant = t ? tenant_ref(t) : NULL;
        a->next = s->accounts;
        s->accounts = a;
    }
    a->files++;
    return a;
}

static void account_leave(struct spool *s, struct account *a)
{
    if (--a->files > 0)
        return;
    struct account **at = &s->accounts;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    tenant_unref(a->tenant);
    free(a);
}

static void book(struct spool_file *f, int64_t bytes)
{
    if (!f->account)
        return;
    f->spool->bytes += bytes;
    f->account->bytes += bytes;
}

static bool is_somebody(const struct tenant *t) { return t && t->name[0]; }

/* How much more may come, at most `want`. `mine`: what the tenant has. */
static int64_t allowance(const struct spool *s, const struct tenant *t, int64_t mine, int64_t want)
{
    const struct spool_options *o = &s->opts;
    int64_t left = o->max_bytes - s->bytes;
    if (o->per_key_bytes > 0 && is_somebody(t) && o->per_key_bytes - mine < left)
        left = o->per_key_bytes - mine;
    return left < 0 ? 0 : left < want ? left : want;
}

int spool_check(const struct spool *s, const struct tenant *t, int64_t bytes, struct error *err)
{
    const struct account *a = s->accounts;
    while (a && a->tenant != t)
        a = a->next;
    const struct spool_options *o = &s->opts;
    if (o->max_bytes == 0)
        return error_set(err, ERR_SPOOL_FULL, "this server keeps no results: spool.max_bytes is 0");
    unsigned left = s->files < o->max_files ? o->max_files - s->files : 0;
    if (left == 0 || (is_somebody(t) && a && a->files >= left))
        return error_set(err, ERR_SPOOL_FULL, "the spool holds %u results, %u of them this key's, and has no place for one more", s->files,
                         a ? a->files : 0);
    int64_t mine = a ? a->bytes : 0;
    if (allowance(s, t, mine, bytes) >= bytes)
        return 0;
    if (o->per_key_bytes > 0 && is_somebody(t) && o->per_key_bytes - mine < bytes)
        error_set(err, ERR_SPOOL_FULL, "the results that wait for this key have reached spool.per_key_bytes (%lld)", (long long)o->per_key_bytes);
    else
        error_set(err, ERR_SPOOL_FULL, "the results that wait have reached spool.max_bytes (%lld)", (long long)o->max_bytes);
    err->limit_bytes = o->per_key_bytes > 0 && is_somebody(t) && o->per_key_bytes < o->max_bytes ? o->per_key_bytes : o->max_bytes;
    return -1;
}

/* ---- files ---- */

/* A name that is removed at once, where the file system has no files without one. */
static int make_named(int dir_fd)
{
    uint64_t r;
    char name[32];
    CHECK(getrandom(&r, sizeof r, 0) == (ssize_t)sizeof r);
    snprintf(name, sizeof name, "spool-%016llx", (unsigned long long)r);
    int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        unlinkat(dir_fd, name, 0);
    return fd;
}

static int make_file(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) ? make_named(dir_fd) : fd;
}

/* Sets disk space aside. File systems that can't are believed: there a full disk is found when it is written to. */
static int set_aside(int fd, int64_t offset, int64_t bytes)
{
    int r;
    do
        r = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
    while (r < 0 && errno == EINTR);
    return r == 0 || !spool_is_full(errno) ? 0 : -1;
}

int64_t spool_extend(struct spool_file *f, int64_t more, int64_t least)
{
    int64_t n = f->account ? allowance(f->spool, f->account->tenant, f->account->bytes, more) : more;
    if (n < least || n == 0)
        return 0;
    if (set_aside(f->fd, f->room, n) < 0) {
        if (f->account)
            set_trouble(f->spool, "the disk of the spool is full");
        return 0;
    }
    f->room += n;
    book(f, n);
    return n;
}

struct spool_file *spool_open(struct spool *s, struct tenant *t, int64_t bytes, struct error *err)
{
    if (spool_check(s, t, bytes, err) < 0)
        return NULL;
    auto_close int fd = make_file(s->dir_fd);
    if (fd < 0) {
        set_trouble(s, "cannot make a file in the spool directory");
        error_set(err, ERR_UNAVAILABLE, "the spool can't be used: %s", strerror(errno));
        err->retry_after_s = 5;
        return NULL;
    }
    struct spool_file *f = calloc(1, sizeof *f);
    CHECK(f);
    f->spool = s;
    f->account = account_of(s, t);
    f->refs = 1;
    f->fd = take_fd(&fd);
    f->worker_fd = -1;
    s->files++;
    if (bytes > 0 && spool_extend(f, bytes, bytes) == 0) {
        error_set(err, ERR_SPOOL_FULL, "the spool has no room for %lld bytes more", (long long)bytes);
        spool_unref(f);
        return NULL;
    }
    if (bytes > 0)
        s->trouble[0] = 0;
    return f;
}

struct spool_file *spool_adopt(struct spool *s, int fd, int worker_fd)
{
    struct spool_file *f = calloc(1, sizeof *f);
    CHECK(f);
    *f = (struct spool_file){.spool = s, .refs = 1, .fd = fd, .worker_fd = worker_fd};
    return f;
}

void spool_try(struct spool *s)
{
    struct error ignored; /* the figures say it */
    if (s->trouble[0])
        spool_unref(spool_open(s, NULL, PIECE_BYTES, &ignored));
}

int spool_fd(const struct spool_file *f) { return f->fd; }

int spool_fd_for_writing(const struct spool_file *f)
{
    char path[40];
    if (f->worker_fd >= 0)
        return fcntl(f->worker_fd, F_DUPFD_CLOEXEC, 3);
    snprintf(path, sizeof path, "/proc/self/fd/%d", f->fd);
    return open(path, O_WRONLY | O_CLOEXEC);
}

int64_t spool_room(const struct spool_file *f) { return f->room; }

void spool_finish(struct spool_file *f, int64_t bytes)
{
    CHECK(bytes <= f->room && bytes >= f->discarded);
    (void)!ftruncate(f->fd, (off_t)bytes); /* frees what was set aside; if it can't be, it is freed with the file */
    book(f, bytes - f->room);
    f->room = bytes;
}

void spool_discard(struct spool_file *f, int64_t offset)
{
    int64_t end = offset / PIECE_BYTES * PIECE_BYTES, n = end - f->discarded;
    if (n <= 0 || fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)f->discarded, (off_t)n) < 0)
        return; /* what can't be given back stays accounted for */
    f->discarded = end;
    book(f, -n);
}

struct spool_file *spool_ref(struct spool_file *f)
{
    f->refs++;
    return f;
}

void spool_unref(struct spool_file *f)
{
    if (!f || --f->refs > 0)
        return;
    struct spool *s = f->spool;
    if (f->account) {
        book(f, f->discarded - f->room);
        account_leave(s, f->account);
        s->files--;
    } else {
        close(f->worker_fd);
    }
    close(f->fd);
    free(f);
}
