/* Certificate and private key: read and checked here, before anybody gives up rights, and handed to the front as one sealed file; read again
 * on SIGHUP. Files that are refused change nothing. Runs in the supervisor. */
#include "core/fd.h"
#include "core/secret.h"
#include "core/tls.h"
#include "link/identity.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SOON_S (14 * 86400) /* a certificate that ends so soon is worth a warning */

static int read_pem(const char *path, char **ret, size_t *ret_len, struct stat *ret_stat, struct error *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, ret_stat) < 0 || fd_read_all(fd, TLS_PEM_MAX, ret, ret_len) < 0)
        return error_set(err, ERR_BAD_REQUEST, "%s can't be read: %s", path, strerror(errno));
    return 0;
}

static void report(struct supervisor *s, const struct tls *t, const struct stat *key)
{
    int64_t now = (int64_t)time(NULL), left = tls_not_after_s(t) - now;
    if (key->st_mode & S_IRWXO)
        log_event(&s->log, LOG_WARN, "tls_key_exposed", LOG_S("file", s->cfg->server.tls_key), LOG_S("why", "everybody on this machine may read it"));
    bool good = left > SOON_S && tls_not_before_s(t) <= now;
    log_event(&s->log, good ? LOG_INFO : LOG_WARN, "tls_loaded", LOG_S("certificate", s->cfg->server.tls_cert), LOG_I("valid_for_s", left),
              LOG_S("state", left <= 0                   ? "expired"
                             : tls_not_before_s(t) > now ? "not valid yet"
                             : good                      ? "good"
                                                         : "expires soon"));
}

/* Into s->tls_fd. 0; -1 with *err, and it stays as it was. */
static int load(struct supervisor *s, struct error *err)
{
    const char *chain_path = s->cfg->server.tls_cert, *key_path = s->cfg->server.tls_key;
    char *chain = NULL, *key = NULL;
    size_t chain_len = 0, key_len = 0;
    struct stat chain_stat, key_stat;
    struct tls *t = NULL;
    int r = read_pem(chain_path, &chain, &chain_len, &chain_stat, err);
    if (r == 0)
        r = read_pem(key_path, &key, &key_len, &key_stat, err);
    if (r == 0)
        r = tls_new(&t, chain, chain_len, chain_path, key, key_len, key_path, err);
    if (r == 0) {
        int fd = identity_to_fd(chain, chain_len, key, key_len);
        CHECK(fd >= 0);
        fd_close_p(&s->tls_fd);
        s->tls_fd = fd;
        report(s, t, &key_stat);
    }
    tls_free(t);
    if (key)
        secret_wipe(key, key_len);
    free(key);
    free(chain);
    return r;
}

int tls_source_open(struct supervisor *s, struct error *err)
{
    if (s->cfg->server.tls_cert[0])
        return load(s, err);
    s->tls_fd = fd_constant("bulkhead-tls", "", 0);
    return s->tls_fd < 0 ? error_set(err, ERR_UNAVAILABLE, "cannot make shared memory: %s", strerror(errno)) : 0;
}

void tls_source_reload(struct supervisor *s)
{
    struct error err;
    if (!s->cfg->server.tls_cert[0])
        return;
    bool refused = load(s, &err) < 0;
    atomic_store(&s->page->reload_refused[RELOAD_TLS], refused);
    if (refused) {
        log_event(&s->log, LOG_ERROR, "tls_refused", LOG_S("why", err.detail), LOG_S("effect", "the certificate that was in force stays in force"));
        return;
    }
    struct control_plain m = {.type = CONTROL_TLS};
    (void)front_send(s, &m, &s->tls_fd, 1);
}
