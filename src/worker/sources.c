/* Reading the grants (see the header). Runs in the worker. */
#include "worker/sources.h"
#include "core/config.h"
#include "link/inherit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_pipe(char *text, size_t cap, size_t *ret_len)
{
    size_t len = 0;
    while (len < cap) {
        ssize_t n = read(WORKER_FD_GRANTS, text + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            *ret_len = len;
            return (int)n;
        }
        len += (size_t)n;
    }
    return -1;
}

static int match(const struct config *cfg, struct worker_sources *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct config_source *c = sources_find(cfg, s->grants[i].name);
        struct engine_source *x = &s->engine[i];
        if (!c)
            return error_set(err, ERR_INTERNAL, "granted a source that the configuration does not have");
        if (source_read(c, &x->def, err) < 0)
            return -1;
        x->password = s->grants[i].password;
        x->key_id = s->grants[i].key_id;
        x->secret = s->grants[i].secret;
    }
    return 0;
}

int worker_sources_read(const struct config *cfg, struct worker_sources *ret, struct error *err)
{
    struct worker_sources s = {.grants = calloc(SOURCES_PER_SET, sizeof *s.grants)};
    char *text = malloc(GRANTS_MAX_BYTES);
    size_t len = 0;
    CHECK(s.grants && text);
    bool ok = read_pipe(text, GRANTS_MAX_BYTES, &len) == 0 && grants_take(text, len, s.grants, SOURCES_PER_SET, &s.count);
    close(WORKER_FD_GRANTS);
    explicit_bzero(text, len);
    free(text);
    *ret = s;
    if (ok && match(cfg, ret, err) == 0)
        return 0;
    if (!ok)
        error_set(err, ERR_INTERNAL, "cannot read what sources were granted");
    worker_sources_wipe(ret);
    return -1;
}

void worker_sources_wipe(struct worker_sources *s)
{
    if (s->grants)
        explicit_bzero(s->grants, SOURCES_PER_SET * sizeof *s->grants);
    free(s->grants);
    *s = (struct worker_sources){0};
}
