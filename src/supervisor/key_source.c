/* The key file: read here, because the front may not open files, and handed over as sealed text; watched by looking at it once a second, and
 * read again on SIGHUP. A file that is refused changes nothing: the keys that were there stay in force. Runs in the supervisor. */
#include "core/buf.h"
#include "core/fd.h"
#include "core/keyfile.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOOK_S 1

/* Reads and checks the file into s->keys. 0; -1 with *err, and s->keys as it was. */
static int read_keys(struct supervisor *s, struct error *err)
{
    char *text;
    size_t len;
    struct stat st;
    struct keyfile *keys;
    if (keyfile_read(s->cfg->server.keys_file, &text, &len, &st, err) < 0)
        return -1;
    int r = keyfile_parse(&keys, text, len, s->cfg->server.keys_file, err);
    if (r == 0) {
        keyfile_free(keys);
        int fd = fd_constant("bulkhead-keys", text, len);
        CHECK(fd >= 0);
        fd_close_p(&s->keys.fd);
        s->keys.fd = fd;
        s->keys.seen = st;
    }
    free(text);
    return r;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mode == b->st_mode &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

void key_source_reload(struct supervisor *s)
{
    struct error err;
    if (!s->cfg->server.keys_file[0])
        return;
    bool refused = read_keys(s, &err) < 0;
    atomic_store(&s->page->reload_refused[RELOAD_KEYS], refused);
    if (refused) {
        log_event(&s->log, LOG_ERROR, "keys_refused", LOG_S("why", err.detail), LOG_S("effect", "the keys that were in force stay in force"));
        return;
    }
    struct control_plain m = {.type = CONTROL_KEYS};
    (void)front_send(s, &m, &s->keys.fd, 1);
}

static void look(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    struct stat st = {0};
    if (stat(s->cfg->server.keys_file, &st) < 0)
        st.st_size = -errno; /* its own state: said once, and again when another reason comes */
    if (same_file(&st, &s->keys.seen))
        return;
    s->keys.seen = st; /* a refused file is refused once, not every second */
    key_source_reload(s);
}

int key_source_open(struct supervisor *s, struct error *err)
{
    if (!s->cfg->server.keys_file[0]) {
        s->keys.fd = fd_constant("bulkhead-keys", "", 0);
        return s->keys.fd < 0 ? error_set(err, ERR_UNAVAILABLE, "cannot make shared memory: %s", strerror(errno)) : 0;
    }
    return read_keys(s, err);
}

void key_source_watch(struct supervisor *s)
{
    struct timeval every = {.tv_sec = LOOK_S};
    if (!s->cfg->server.keys_file[0])
        return;
    s->keys.look = event_new(s->base, -1, EV_PERSIST, look, s);
    CHECK(s->keys.look && event_add(s->keys.look, &every) == 0);
}

void key_source_close(struct supervisor *s)
{
    if (s->keys.look)
        event_free(s->keys.look);
    s->keys.look = NULL;
    fd_close_p(&s->keys.fd);
}
