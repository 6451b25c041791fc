/* API keys and certificate, as the supervisor hands them over. Runs in the front. */
#include "front/inherited.h"
#include "core/fd.h"
#include "core/secret.h"
#include "link/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Takes the fd. The supervisor has checked the text: what is wrong here is our own mistake. */
int inherited_keys(struct front *f, int fd, struct error *err)
{
    char *text;
    size_t len;
    int r = fd_read_all(fd, KEYFILE_TEXT_MAX, &text, &len);
    close(fd);
    if (r < 0)
        return error_set(err, ERR_INTERNAL, "cannot read the inherited keys: %s", strerror(errno));
    if (!f->auth.keyless)
        r = keys_load(f->auth.keys, text, len, err);
    free(text);
    size_t count = keys_count(f->auth.keys);
    if (r == 0 && !f->auth.keyless)
        log_event(&f->log, count ? LOG_INFO : LOG_WARN, "keys_loaded", LOG_I("keys", (int64_t)count));
    return r;
}

void inherited_new_keys(struct front *f, int fd)
{
    struct error err;
    if (inherited_keys(f, fd, &err) < 0)
        log_event(&f->log, LOG_ERROR, "keys_refused", LOG_S("why", err.detail));
    pool_limits_changed(f->pool);
}

/* Takes the fd. *ret is NULL without TLS. The supervisor has checked both: what is wrong here is our own mistake. */
int inherited_tls(struct front *f, int fd, struct tls **ret, struct error *err)
{
    char *chain = NULL, *key = NULL;
    size_t chain_len, key_len;
    int r = identity_from_fd(fd, &chain, &chain_len, &key, &key_len);
    close(fd);
    *ret = NULL;
    if (r < 0)
        return error_set(err, ERR_INTERNAL, "cannot read the inherited certificate: %s", strerror(errno));
    if (!chain)
        return 0;
    r = tls_new(ret, chain, chain_len, "certificate", key, key_len, "private key", err);
    if (r == 0)
        f->certificate_until_s = tls_not_after_s(*ret);
    secret_wipe(key, key_len);
    free(key);
    free(chain);
    return r;
}

void inherited_new_tls(struct front *f, int fd)
{
    struct error err;
    struct tls *tls;
    if (inherited_tls(f, fd, &tls, &err) == 0)
        http_server_set_tls(f->http, tls);
    else
        log_event(&f->log, LOG_ERROR, "tls_refused", LOG_S("why", err.detail));
}
