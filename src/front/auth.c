/* Who a request is from. Runs in the front. */
#include "front/auth.h"
#include "core/clock.h"
#include "core/config.h"
#include "front/forwarded.h"
#include "front/front.h"
#include "front/throttle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define LOG_EVERY_NS NS_PER_S

const char *auth_failure_text(enum auth_failure failure)
{
    static const char *const texts[AUTH_FAILURES] = {"missing", "malformed", "unknown", "expired", "throttled", "role"};
    return texts[failure];
}

void auth_init(struct auth *a) { *a = (struct auth){.keys = keys_new(), .throttle = throttle_new()}; }

void auth_free(struct auth *a)
{
    keys_free(a->keys);
    throttle_free(a->throttle);
    free(a->proxies);
}

void auth_configure(struct auth *a, const struct config *cfg)
{
    const struct text_list *list = &cfg->server.trusted_proxies;
    a->keyless = !cfg->server.keys_file[0];
    a->keyless_admin = cfg->server.keyless_admin;
    keys_set_defaults(a->keys, cfg);
    free(a->proxies);
    a->proxies = calloc(list->count + 1, sizeof *a->proxies);
    CHECK(a->proxies);
    a->proxy_count = 0;
    for (size_t i = 0; i < list->count; i++)
        a->proxy_count += address_range_parse(list->items[i], &a->proxies[a->proxy_count]) == NULL; /* the supervisor refuses others */
}

struct address auth_address(const struct auth *a, const struct exchange *x)
{
    struct address peer = exchange_peer(x);
    if (a->proxy_count == 0)
        return peer;
    return forwarded_client(&peer, exchange_header(x, "X-Forwarded-For"), exchange_header(x, "Forwarded"), a->proxies, a->proxy_count);
}

/* At most one line a second: a client that asks for lines does not get as many as it wants. */
static void log_failure(struct front *f, enum auth_failure why, const struct address *address, const char *hint)
{
    struct auth *a = &f->auth;
    int64_t now = clock_now_ns();
    char text[ADDRESS_TEXT_BYTES];
    a->failures[why]++;
    if (why == AUTH_THROTTLED || (a->logged_ns && now - a->logged_ns < LOG_EVERY_NS)) {
        a->unlogged++;
        return;
    }
    address_format(address, text);
    log_event(&f->log, LOG_INFO, "key_refused", LOG_S("reason", auth_failure_text(why)), LOG_S("client", text), LOG_S("key", hint),
              LOG_I("more", (int64_t)a->unlogged));
    a->logged_ns = now;
    a->unlogged = 0;
}

static int unauthorized(struct exchange *x, const char *challenge, const char *detail, struct error *err)
{
    exchange_add_header(x, "WWW-Authenticate", challenge);
    return error_set(err, ERR_UNAUTHORIZED, "%s", detail);
}

/* The secret of "Bearer SECRET"; NULL for another form. */
static const char *bearer(const char *header)
{
    if (strncasecmp(header, "Bearer", 6) != 0 || header[6] != ' ')
        return NULL;
    header += 6;
    return header + strspn(header, " ");
}

static int refuse_key(struct front *f, struct exchange *x, const struct caller *c, enum auth_failure why, const char *secret, struct error *err)
{
    static const char challenge[] = "Bearer realm=\"bulkhead\", error=\"invalid_token\"";
    static const char *const details[] = {
        [AUTH_MALFORMED] = "this is no API key of bulkhead: they begin with bh_ and have 52 characters; the header is: Authorization: Bearer KEY",
        [AUTH_UNKNOWN] = "the API key is not known here; it may have been revoked",
        [AUTH_EXPIRED] = "the API key has expired"};
    int64_t wait_ns;
    char hint[SECRET_HINT_CHARS + 1] = "";
    if (!throttle_wrong_key(f->auth.throttle, &c->address, clock_now_ns(), &wait_ns)) {
        log_failure(f, AUTH_THROTTLED, &c->address, hint);
        error_set(err, ERR_RATE_LIMITED, "too many wrong API keys from this address");
        err->retry_after_s = rate_seconds(wait_ns);
        return -1;
    }
    if (why != AUTH_MALFORMED)
        snprintf(hint, sizeof hint, "%s", secret);
    log_failure(f, why, &c->address, hint);
    return unauthorized(x, challenge, details[why], err);
}

static enum auth_failure failure_of(enum key_check r) { return r == KEY_EXPIRED ? AUTH_EXPIRED : r == KEY_UNKNOWN ? AUTH_UNKNOWN : AUTH_MALFORMED; }

static int check_key(struct front *f, struct exchange *x, struct caller *c, struct error *err)
{
    const char *header = exchange_header(x, "Authorization");
    if (!header) {
        log_failure(f, AUTH_MISSING, &c->address, "");
        return unauthorized(x, "Bearer realm=\"bulkhead\"", "an API key is needed: send the header Authorization: Bearer KEY", err);
    }
    const char *secret = bearer(header);
    enum key_check r = secret ? keys_check(f->auth.keys, secret, strlen(secret), (int64_t)time(NULL), &c->api_key) : KEY_MALFORMED;
    if (r != KEY_GOOD)
        return refuse_key(f, x, c, failure_of(r), secret ? secret : "", err);
    c->tenant = c->api_key->tenant;
    c->role = c->api_key->role;
    return 0;
}

enum key_role auth_keyless_role(const struct auth *a) { return a->keyless_admin ? ROLE_ADMIN : ROLE_ANALYST; }

int auth_check(struct front *f, struct exchange *x, enum key_role needed, bool keyless_ok, struct caller *ret, struct error *err)
{
    struct auth *a = &f->auth;
    struct caller c = {.tenant = keys_keyless(a->keys), .address = auth_address(a, x)};
    if (needed != ROLE_NONE && a->keyless) {
        c.role = auth_keyless_role(a);
    } else if (needed != ROLE_NONE && check_key(f, x, &c, err) < 0) {
        return -1;
    }
    if (c.role < needed && !(a->keyless && keyless_ok)) {
        log_failure(f, AUTH_ROLE, &c.address, c.tenant->name);
        return error_forbid(err, "role",
                            a->keyless ? "this needs the role %s; without a key file callers are %s (server.keyless_admin)"
                                       : "this needs a key with the role %s or above; this key is %s",
                            key_role_text(needed), key_role_text(c.role));
    }
    c.key = c.tenant->name;
    c.sees_all = a->keyless || c.role == ROLE_ADMIN;
    *ret = c;
    return 0;
}
