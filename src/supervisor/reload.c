/* SIGHUP: the configuration is read again; what changed takes effect at once, with new workers, or only after a restart, and the log says
 * which. A configuration that is refused changes nothing. Runs in the supervisor. */
#include "core/buf.h"
#include "core/fd.h"
#include "core/sizing.h"
#include "supervisor/secrets.h"
#include "supervisor/supervisor_internal.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct changes {
    struct supervisor *s;
    bool any, workers;
};

int config_to_fd(const struct config *cfg)
{
    struct buf text = BUF_INIT(CONFIG_TEXT_MAX);
    int fd = config_to_text(cfg, &text) ? fd_constant("bulkhead-config", text.data, text.len) : -1;
    buf_free(&text);
    return fd;
}

static void on_change(void *user, const char *name, const char *old_text, const char *new_text, enum config_when when)
{
    static const char *const effect[] = {[CONFIG_LIVE] = "in force now",
                                         [CONFIG_WORKERS] = "in force with new workers, which replace the present ones as these get free",
                                         [CONFIG_RESTART] = "needs a restart; the old value stays in force"};
    struct changes *c = user;
    c->any = true;
    c->workers |= when == CONFIG_WORKERS;
    /* Those that need a restart were exchanged: the new one is where the old one was. */
    bool kept = when == CONFIG_RESTART;
    log_event(&c->s->log, kept ? LOG_WARN : LOG_INFO, "config_changed", LOG_S("key", name), LOG_S("from", kept ? new_text : old_text),
              LOG_S("to", kept ? old_text : new_text), LOG_S("effect", effect[when]));
}

/* Sizes, with the numbers of workers that there are, whatever the file says now. */
static int resolve(struct config *cfg, struct error *err)
{
    struct machine m;
    struct sizing z;
    if (limits_probe(&m, "", 0, err) < 0 || sizing_resolve(&z, cfg, &m, sizing_auto_sessions(&m, cfg), err) < 0)
        return -1;
    sizing_apply(&z, cfg);
    return 0;
}

/* Values that only a restart can change stay: their fields are exchanged, so that each configuration still owns what it frees. Twice
 * is as it was. */
static void exchange_restart_keys(struct config *new, struct config *old)
{
    static const size_t bytes[] = {
        [CONFIG_DURATION] = sizeof(CONFIG_CTYPE_DURATION), [CONFIG_SIZE] = sizeof(CONFIG_CTYPE_SIZE), [CONFIG_INT] = sizeof(CONFIG_CTYPE_INT),
        [CONFIG_BOOL] = sizeof(CONFIG_CTYPE_BOOL),         [CONFIG_TEXT] = sizeof(CONFIG_CTYPE_TEXT), [CONFIG_LIST] = sizeof(CONFIG_CTYPE_LIST),
        [CONFIG_ENUM] = sizeof(CONFIG_CTYPE_ENUM)};
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        if (keys[i].when != CONFIG_RESTART)
            continue;
        char held[sizeof(struct text_list) + sizeof(int64_t)];
        char *a = (char *)new + keys[i].offset, *b = (char *)old + keys[i].offset;
        size_t n = bytes[keys[i].type];
        memcpy(held, a, n);
        memcpy(a, b, n);
        memcpy(b, held, n);
    }
}

/* `auto` is no change of what the start made of it. */
static void keep_auto(struct config *new, const struct config *old)
{
    if (new->pool.workers == CONFIG_AUTO)
        new->pool.workers = old->pool.workers;
    if (new->session.max == CONFIG_AUTO)
        new->session.max = old->session.max;
    if (new->session.scratch_limit_bytes == CONFIG_AUTO)
        new->session.scratch_limit_bytes = old->session.scratch_limit_bytes;
}

static void refuse(struct supervisor *s, const struct error *err)
{
    atomic_store(&s->page->reload_refused[RELOAD_CONFIG], 1);
    log_event(&s->log, LOG_ERROR, "config_refused", LOG_S("why", err->detail), LOG_S("effect", "the old configuration stays in force"));
}

/* The configuration that would be in force now: the file's, where a reload may change it. NULL: refused, and said so. */
static struct config *load(struct supervisor *s)
{
    struct config *cfg;
    struct error err;
    struct stat st;
    if (s->opts->config_file && stat(s->opts->config_file, &st) == 0 && S_ISFIFO(st.st_mode)) {
        error_set(&err, ERR_INTERNAL, "%s: it is a pipe, and who reads one may wait for ever", s->opts->config_file);
        refuse(s, &err);
        return NULL;
    }
    if (config_load(&cfg, s->opts->config_file, s->opts->sets, environ, &err) < 0) {
        refuse(s, &err);
        return NULL;
    }
    keep_auto(cfg, s->cfg);
    exchange_restart_keys(cfg, s->cfg);
    if (supervisor_refuse_unprotected(cfg, &err) == 0 && sources_check(cfg, &err) == 0 && secrets_check(cfg, &err) == 0 && resolve(cfg, &err) == 0)
        return cfg;
    exchange_restart_keys(cfg, s->cfg);
    refuse(s, &err);
    config_free(cfg);
    return NULL;
}

void reload(struct supervisor *s)
{
    struct config *cfg = load(s);
    if (!cfg)
        return;
    struct changes c = {.s = s};
    atomic_store(&s->page->reload_refused[RELOAD_CONFIG], 0);
    config_diff(s->cfg, cfg, on_change, &c);
    int fd = config_to_fd(cfg);
    CHECK(fd >= 0);
    log_event(&s->log, LOG_INFO, "config_reloaded", LOG_S("changed", c.any ? "yes" : "no"));
    config_free(s->cfg);
    s->cfg = cfg;
    s->log.level = (enum log_level)cfg->log.level;
    s->log.format = (enum log_format)cfg->log.format;
    supervisor_warn_of_policy(s);
    fd_close_p(&s->config_fd);
    s->config_fd = fd;
    struct control_plain m = {.type = CONTROL_CONFIG, .flags = c.workers ? CONTROL_REPLACE_WORKERS : 0};
    (void)front_send(s, &m, &fd, 1);
    tls_source_reload(s);
    key_source_reload(s); /* also when only [limits] changed: keys take what they do not say from there */
    if (c.workers) {
        s->generation++;
        workers_retire_spares(s);
    }
    dedicated_sources_changed(s);
    workers_fill(s);
}
