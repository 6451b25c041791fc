/* The files around the server: API keys, certificate, directories. Runs in the command line. */
#include "cli/doctor.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/keyfile.h"
#include "core/secret.h"
#include "core/tls.h"
#include "core/units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#define DAY_S 86400
#define SOON_DAYS 14

static void check_keys(struct doctor *d)
{
    const char *path = d->cfg->server.keys_file;
    char *text = NULL;
    size_t len, expired = 0, admins = 0;
    struct stat st;
    struct error err;
    struct keyfile *k = NULL;
    if (!path[0]) {
        struct check *c = report_add(&d->report, VERDICT_PASS, "API keys");
        check_text(c->configured, "none (server.keys_file)");
        check_text(c->in_force, "only loopback addresses and unix sockets are served, to everybody who can reach them");
        check_text(c->how, "the configuration");
        return;
    }
    bool good = keyfile_read(path, &text, &len, &st, &err) == 0 && keyfile_parse(&k, text, len, path, &err) == 0;
    for (size_t i = 0; good && i < k->count; i++) {
        expired += k->keys[i].expires_s > 0 && k->keys[i].expires_s <= (int64_t)time(NULL);
        admins += k->keys[i].role == ROLE_ADMIN;
    }
    bool usable = good && k->count > expired;
    struct check *c = report_add(&d->report, !good ? VERDICT_FAIL : usable ? VERDICT_PASS : VERDICT_WARN, "API keys");
    check_text(c->configured, "%s", path);
    if (good)
        check_text(c->in_force, "%zu keys, %zu of role admin, %zu expired; mode %04o", k->count, admins, expired, (unsigned)st.st_mode & 07777);
    else
        check_text(c->in_force, "%s", err.detail);
    check_text(c->how, "read and checked the file as the server does");
    if (!good)
        check_text(c->hint, "the server does not start with it; a running one keeps the keys it has");
    else if (!usable)
        check_text(c->hint, "nobody gets in: `bulkhead key new`");
    keyfile_free(k);
    free(text);
}

static int read_pem(const char *path, char **ret, size_t *ret_len, struct stat *st, struct error *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, st) < 0 || fd_read_all(fd, TLS_PEM_MAX, ret, ret_len) < 0)
        return error_set(err, ERR_BAD_REQUEST, "%s can't be read: %s", path, strerror(errno));
    return 0;
}

static void check_key_permissions(struct doctor *d, const struct stat *key)
{
    bool exposed = key->st_mode & S_IRWXO;
    struct check *c = report_add(&d->report, exposed ? VERDICT_WARN : VERDICT_PASS, "private key");
    check_text(c->configured, "%s", d->cfg->server.tls_key);
    check_text(c->in_force, "mode %04o%s", (unsigned)key->st_mode & 07777, exposed ? ": everybody on this machine may read it" : "");
    check_text(c->how, "stat");
    if (exposed)
        check_text(c->hint, "chmod o-rwx");
}

static void check_certificate(struct doctor *d, const struct tls *t, const struct error *err)
{
    int64_t now = (int64_t)time(NULL), left = t ? tls_not_after_s(t) - now : 0;
    bool early = t && tls_not_before_s(t) > now, over = !t || left <= 0 || early;
    struct check *c = report_add(&d->report, over ? VERDICT_FAIL : left < SOON_DAYS * DAY_S ? VERDICT_WARN : VERDICT_PASS, "certificate");
    check_text(c->configured, "%s", d->cfg->server.tls_cert);
    if (!t)
        check_text(c->in_force, "%s", err->detail);
    else
        check_text(c->in_force,
                   early       ? "not valid yet"
                   : left <= 0 ? "expired %" PRId64 " days ago"
                               : "valid for %" PRId64 " days",
                   (left < 0 ? -left : left) / DAY_S);
    check_text(c->how, "read both files and matched them");
    if (c->verdict != VERDICT_PASS)
        check_text(c->hint, "renew it, and send the server SIGHUP");
}

static void check_tls(struct doctor *d)
{
    char *chain = NULL, *key = NULL;
    size_t chain_len = 0, key_len = 0;
    struct stat chain_stat, key_stat;
    struct tls *t = NULL;
    struct error err;
    const char *cert_path = d->cfg->server.tls_cert, *key_path = d->cfg->server.tls_key;
    if (!cert_path[0]) {
        struct check *c = report_add(&d->report, d->cfg->server.keys_file[0] ? VERDICT_WARN : VERDICT_PASS, "TLS");
        check_text(c->configured, "none (server.tls_cert)");
        check_text(c->in_force, "keys and results travel in the clear");
        check_text(c->how, "the configuration");
        if (c->verdict == VERDICT_WARN)
            check_text(c->hint, "set server.tls_cert and tls_key, or put a proxy with TLS in front");
        return;
    }
    tls_library_init();
    bool read = read_pem(cert_path, &chain, &chain_len, &chain_stat, &err) == 0 && read_pem(key_path, &key, &key_len, &key_stat, &err) == 0;
    if (read)
        (void)tls_new(&t, chain, chain_len, cert_path, key, key_len, key_path, &err);
    check_certificate(d, t, &err);
    if (read)
        check_key_permissions(d, &key_stat);
    tls_free(t);
    if (key)
        secret_wipe(key, key_len);
    free(key);
    free(chain);
}

/* Is there the disk that is promised, and is it a disk? */
static void check_directory(struct doctor *d, const char *name, const char *configured, int64_t promised)
{
    struct statfs f;
    char text[UNITS_TEXT_MAX], wanted[UNITS_TEXT_MAX];
    const char *path = configured[0] ? configured : "/var/tmp";
    if (promised == 0)
        return;
    bool there = statfs(path, &f) == 0;
    int64_t free_bytes = there ? (int64_t)f.f_bavail * f.f_bsize : 0;
    bool memory = there && (f.f_type == TMPFS_MAGIC || f.f_type == RAMFS_MAGIC), small = free_bytes < promised;
    units_human_size(free_bytes, text);
    units_human_size(promised, wanted);
    struct check *c = report_add(&d->report, !there ? VERDICT_FAIL : memory || small ? VERDICT_WARN : VERDICT_PASS, name);
    check_text(c->configured, "%s, up to %s in all", path, wanted);
    check_text(c->in_force, there ? "%s free%s" : "it is not there%s%s", there ? text : ": ",
               there ? (memory ? ", in memory" : "") : strerror(errno));
    check_text(c->how, "statfs");
    if (memory)
        check_text(c->hint, "a tmpfs counts as memory: choose a directory on disk");
    else if (small && there)
        check_text(c->hint, "when it is full, queries that spill fail, and large results wait in the worker");
}

void doctor_files(struct doctor *d)
{
    const struct config *c = d->cfg;
    int64_t workers = c->pool.workers + c->pool.spares;
    check_keys(d);
    check_tls(d);
    check_directory(d, "scratch disk", c->pool.scratch_directory,
                    c->pool.scratch_limit_bytes * workers + c->session.scratch_limit_bytes * c->session.max);
    check_directory(d, "spool disk", c->spool.directory, c->spool.max_bytes);
}
