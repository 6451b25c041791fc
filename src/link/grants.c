/* Sources and secrets as text for a pipe (see the header). Runs in supervisor and worker. */
#include "link/grants.h"
#include "core/buf.h"

#include <stdint.h>
#include <string.h>

static bool put_text(struct buf *b, const char *text)
{
    uint32_t len = (uint32_t)strlen(text);
    return buf_append(b, &len, sizeof len) && buf_append(b, text, len);
}

bool grants_put(struct buf *b, const struct grant *g)
{
    size_t before = b->len;
    if (put_text(b, g->name) && put_text(b, g->password) && put_text(b, g->key_id) && put_text(b, g->secret))
        return true;
    b->len = before;
    return false;
}

static bool take_text(const char **at, const char *end, char *ret, size_t cap)
{
    uint32_t len;
    if ((size_t)(end - *at) < sizeof len)
        return false;
    memcpy(&len, *at, sizeof len);
    *at += sizeof len;
    if (len >= cap || len > (size_t)(end - *at) || memchr(*at, 0, len))
        return false;
    memcpy(ret, *at, len);
    ret[len] = 0;
    *at += len;
    return true;
}

bool grants_take(const char *data, size_t len, struct grant *ret, size_t max, size_t *ret_count)
{
    const char *at = data, *end = data + len;
    size_t n = 0;
    for (; at < end; n++) {
        if (n == max)
            return false;
        struct grant *g = &ret[n];
        if (!take_text(&at, end, g->name, sizeof g->name) || !take_text(&at, end, g->password, sizeof g->password) ||
            !take_text(&at, end, g->key_id, sizeof g->key_id) || !take_text(&at, end, g->secret, sizeof g->secret))
            return false;
    }
    *ret_count = n;
    return true;
}
