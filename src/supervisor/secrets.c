/* Reading secrets (see the header). Files are read at each use: a changed one counts from the next worker on. Runs in the supervisor. */
#include "supervisor/secrets.h"
#include "core/fd.h"
#include "link/grants.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int refuse(const struct source *s, const char *key, const char *why, struct error *err)
{
    error_set(err, ERR_SOURCE, "[source.%s] %s: %s", s->name, key, why);
    snprintf(err->source, sizeof err->source, "%s", s->name);
    return -1;
}

/* The file's first line. Never blocks: a FIFO or a device is no place for a secret. */
static int read_secret(const struct source *s, const char *key, const char *path, char ret[GRANT_SECRET_BYTES], struct error *err)
{
    struct stat st;
    char text[GRANT_SECRET_BYTES + 2];
    if (!path[0])
        return 0;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return refuse(s, key, errno == ENOENT ? "the file does not exist" : strerror(errno), err);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return refuse(s, key, "not a regular file", err);
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0)
        return refuse(s, key, strerror(errno), err);
    size_t len = (size_t)n;
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    int ok = 0;
    if (len == 0)
        ok = refuse(s, key, "the file is empty", err);
    else if (len >= GRANT_SECRET_BYTES)
        ok = refuse(s, key, "the secret is longer than 1024 bytes", err);
    else if (memchr(text, 0, len) || memchr(text, '\n', len))
        ok = refuse(s, key, "the file holds more than one line", err);
    if (ok == 0) {
        memcpy(ret, text, len);
        ret[len] = 0;
    }
    explicit_bzero(text, sizeof text);
    return ok;
}

static int read_grant(const struct config_source *c, struct grant *g, struct error *err)
{
    struct source s;
    memset(g, 0, sizeof *g);
    if (source_read(c, &s, err) < 0)
        return -1;
    memcpy(g->name, s.name, sizeof g->name);
    if (read_secret(&s, "password_file", s.password_file, g->password, err) < 0 ||
        read_secret(&s, "key_id_file", s.key_id_file, g->key_id, err) < 0 || read_secret(&s, "secret_file", s.secret_file, g->secret, err) < 0)
        return -1;
    return 0;
}

void secrets_wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_free(b);
}

int secrets_for_set(const struct config *cfg, const char *set, struct buf *out, struct error *err)
{
    char name[SOURCE_NAME_BYTES];
    struct grant g;
    size_t at = 0;
    int ok = 0;
    /* At once, so that no copy stays behind when it grows. */
    CHECK(buf_reserve(out, GRANTS_MAX_BYTES));
    while (ok == 0 && source_set_next(set, &at, name)) {
        const struct config_source *c = sources_find(cfg, name);
        if (!c)
            ok = error_set(err, ERR_SOURCE, "there is no source '%s' any more", name);
        else if ((ok = read_grant(c, &g, err)) == 0 && !grants_put(out, &g))
            ok = error_set(err, ERR_SOURCE, "the secrets of these sources are too long together");
    }
    explicit_bzero(&g, sizeof g);
    if (ok < 0)
        secrets_wipe(out);
    return ok;
}

int secrets_check(const struct config *cfg, struct error *err)
{
    struct grant g;
    int ok = 0;
    for (size_t i = 0; ok == 0 && i < cfg->source_count; i++)
        ok = read_grant(&cfg->sources[i], &g, err);
    explicit_bzero(&g, sizeof g);
    return ok;
}

static uint64_t mix(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

bool secrets_fingerprint(const struct config_source *source, uint64_t *ret)
{
    struct grant g;
    struct error err;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < source->count; i++) {
        const char *key = source->values[i].key;
        if (strcmp(key, "roles") != 0 && strcmp(key, "keys") != 0 && strcmp(key, "warm") != 0)
            h = mix(mix(h, key), source->values[i].text);
    }
    bool ok = read_grant(source, &g, &err) == 0;
    if (ok)
        *ret = mix(mix(mix(h, g.password), g.key_id), g.secret);
    explicit_bzero(&g, sizeof g);
    return ok;
}
