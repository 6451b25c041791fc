/* Certificate chain and key as one file: the chain's length, the chain, the key. Runs in the supervisor and the front. */
#include "link/identity.h"
#include "core/buf.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/secret.h"
#include "core/tls.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int identity_to_fd(const char *chain, size_t chain_len, const char *key, size_t key_len)
{
    struct buf b = BUF_INIT(2 * TLS_PEM_MAX + sizeof(uint64_t));
    uint64_t len = chain_len;
    bool ok = buf_reserve(&b, sizeof len + chain_len + key_len) && buf_append(&b, &len, sizeof len) && buf_append(&b, chain, chain_len) &&
              buf_append(&b, key, key_len);
    CHECK(ok);
    int fd = fd_constant("bulkhead-tls", b.data, b.len);
    secret_wipe(b.data, b.len);
    buf_free(&b);
    return fd;
}

static char *copy(const char *data, size_t len)
{
    char *to = malloc(len + 1);
    CHECK(to);
    memcpy(to, data, len);
    to[len] = 0;
    return to;
}

int identity_from_fd(int fd, char **ret_chain, size_t *ret_chain_len, char **ret_key, size_t *ret_key_len)
{
    char *text;
    size_t len;
    uint64_t chain_len;
    *ret_chain = *ret_key = NULL;
    if (fd_read_all(fd, 2 * TLS_PEM_MAX + sizeof chain_len, &text, &len) < 0)
        return -1;
    if (len == 0) {
        free(text);
        return 0;
    }
    bool ok = len > sizeof chain_len;
    if (ok) {
        memcpy(&chain_len, text, sizeof chain_len);
        ok = chain_len <= len - sizeof chain_len;
    }
    if (ok) {
        *ret_chain_len = (size_t)chain_len;
        *ret_key_len = len - sizeof chain_len - (size_t)chain_len;
        *ret_chain = copy(text + sizeof chain_len, *ret_chain_len);
        *ret_key = copy(text + sizeof chain_len + chain_len, *ret_key_len);
    }
    secret_wipe(text, len);
    free(text);
    if (!ok)
        errno = EPROTO;
    return ok ? 0 : -1;
}
