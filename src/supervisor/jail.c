/* Reports of layers. Runs in the supervisor. */
#include "supervisor/jail.h"
#include "core/buf.h"
#include "core/layers.h"
#include "supervisor/supervisor_internal.h"

#include <stdio.h>
#include <string.h>

void jail_tell_front(struct supervisor *s)
{
    struct control_layers m = {.type = CONTROL_LAYERS};
    struct buf b = {.data = m.text, .cap = sizeof m.text - 1, .max = sizeof m.text - 1};
    for (int role = LAYER_OF_WORKER; role < LAYER_ROLES; role++)
        (void)layers_write(&s->layers, (enum layer_role)role, &b);
    (void)front_send(s, &m, NULL, 0);
}

/* The names of all layers in that state, with their details where `details`. */
static void list(const struct layers *l, enum layer_state state, bool details, char *ret, size_t cap)
{
    struct buf b = {.data = ret, .cap = cap - 1, .max = cap - 1};
    for (int i = 0; i < LAYER_COUNT; i++) {
        const struct layer *x = &l->of[i];
        if (x->state == state && !buf_printf(&b, details ? "%s%s (%s)" : "%s%s", b.len ? ", " : "", layer_name((enum layer_id)i), x->detail))
            break;
    }
    ret[b.len] = 0;
}

static void log_layers(struct supervisor *s)
{
    char in_force[800], missing[1600], off[800];
    list(&s->layers, LAYER_IN_FORCE, false, in_force, sizeof in_force);
    list(&s->layers, LAYER_MISSING, true, missing, sizeof missing);
    list(&s->layers, LAYER_OFF, true, off, sizeof off);
    log_event(&s->log, missing[0] ? LOG_WARN : LOG_INFO, "sandbox", LOG_S("in_force", in_force), LOG_S("missing", missing), LOG_S("off", off));
}

static void take_in(struct supervisor *s, enum layer_role role, const char *report)
{
    struct layers before = s->layers;
    layers_read(&s->layers, role, report);
    if (!layers_differ(&before, &s->layers))
        return;
    /* One line at start, when both have reported, and one for each change afterwards. */
    if (s->layers.of[LAYER_FRONT_SECCOMP].state != LAYER_UNKNOWN && s->layers.of[LAYER_SECCOMP].state != LAYER_UNKNOWN)
        log_layers(s);
    jail_tell_front(s);
}

void jail_begin(struct supervisor *s)
{
    static const enum layer_id of_broker[] = {LAYER_BROKER_USER, LAYER_BROKER_CAPABILITIES, LAYER_BROKER_LANDLOCK, LAYER_BROKER_SECCOMP};
    for (size_t i = 0; i < sizeof of_broker / sizeof *of_broker; i++)
        layers_set(&s->layers, of_broker[i], LAYER_OFF, "no broker runs: nothing has needed one");
}

void jail_worker_ready(struct supervisor *s, const char *report) { take_in(s, LAYER_OF_WORKER, report); }

void jail_front_up(struct supervisor *s, const char *report)
{
    struct error err;
    take_in(s, LAYER_OF_FRONT, report);
    if (layers_require(&s->layers, LAYER_OF_FRONT, &s->cfg->sandbox.require, &err) < 0)
        (void)jail_refuse(s, err.detail);
}

bool jail_broker_up(struct supervisor *s, const char *report)
{
    struct error err;
    take_in(s, LAYER_OF_BROKER, report);
    if (layers_require(&s->layers, LAYER_OF_BROKER, &s->cfg->sandbox.require, &err) == 0)
        return true;
    log_event(&s->log, LOG_ERROR, "sandbox_refused", LOG_S("why", err.detail));
    return false;
}

bool jail_refuse(struct supervisor *s, const char *why)
{
    if (s->announced)
        return false;
    log_event(&s->log, LOG_ERROR, "sandbox_refused", LOG_S("why", why));
    if (!s->killing)
        fprintf(stderr, "bulkhead serve: %s\n", why);
    s->exit_code = 2;
    supervisor_kill_all(s);
    return true;
}
