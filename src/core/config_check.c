/* What values must be true of each other. Knows no text they came from, only its name for the message; the machine is sizing's matter. Pure.
 * Runs in every process. */
#include "core/address.h"
#include "core/buf.h"
#include "core/config_load.h"
#include "core/config_name.h"
#include "core/config_value.h"
#include "core/errors.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIDE_MAX 420    /* "[section] key = value (place)" in a message */
#define SHOWN_BYTES 160 /* of the value, of the place */
#define UNIX_PATH_MAX 107

/* key = value with its place, as messages show it. */
static void describe(const struct config_loading *l, const struct config_key *k, char out[SIDE_MAX])
{
    size_t count;
    struct config_origin o = l->origin[k - config_keys(&count)];
    struct buf value = BUF_INIT(2 * CONFIG_VALUE_MAX);
    char variable[128] = "", place[SHOWN_BYTES + 20] = "the default";
    CHECK(config_value_format(k, config_field(l->cfg, k), &value) && buf_append(&value, "", 1));
    if (o.kind == ORIGIN_FILE)
        snprintf(place, sizeof place, "%.*s:%d", SHOWN_BYTES, l->file, o.line);
    else if (o.kind == ORIGIN_SET)
        strcpy(place, "--set");
    else if (o.kind == ORIGIN_ENVIRONMENT) {
        config_name_variable(k, variable);
        snprintf(place, sizeof place, "environment variable %s", variable);
    }
    snprintf(out, SIDE_MAX, "[%s] %s = %.*s (%s)", k->section, k->key, SHOWN_BYTES, value.data, place);
    buf_free(&value);
}

static const struct config_key *row(const char *section, const char *key)
{
    const struct config_key *k = config_name_find(section, key);
    CHECK(k);
    return k;
}

/* The first must not be more than the second. */
static int check_pairs(const struct config_loading *l)
{
    static const struct {
        const char *section, *key, *bound_section, *bound_key, *word;
    } pairs[] = {{"limits", "timeout", "limits", "timeout_max", "longer"},
                 {"session", "idle_timeout", "session", "ttl", "longer"},
                 {"pool", "memory_limit", "pool", "memory_cap", "larger"},
                 {"session", "memory_limit", "session", "memory_cap", "larger"},
                 {"limits", "max_sql_bytes", "server", "body_memory", "larger"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const struct config_key *k = row(pairs[i].section, pairs[i].key), *bound = row(pairs[i].bound_section, pairs[i].bound_key);
        int64_t v = *(int64_t *)config_field(l->cfg, k), max = *(int64_t *)config_field(l->cfg, bound);
        char a[SIDE_MAX], b[SIDE_MAX];
        if (v == CONFIG_AUTO || max == CONFIG_AUTO || v <= max)
            continue;
        describe(l, k, a);
        describe(l, bound, b);
        return config_refuse(l, "%s is %s than %s", a, pairs[i].word, b);
    }
    return 0;
}

static int refuse_key(const struct config_loading *l, const char *section, const char *key, const char *what)
{
    char side[SIDE_MAX];
    describe(l, row(section, key), side);
    return config_refuse(l, "%s: %s", side, what);
}

static int check_tls(const struct config_loading *l)
{
    bool cert = *l->cfg->server.tls_cert, key = *l->cfg->server.tls_key;
    if (cert && !key)
        return refuse_key(l, "server", "tls_cert", "needs [server] tls_key as well");
    if (key && !cert)
        return refuse_key(l, "server", "tls_key", "needs [server] tls_cert as well");
    return 0;
}

/* ADDRESS of ADDRESS:PORT and [ADDRESS]:PORT; the supervisor reads the address again when it opens it. */
static bool split_listen(const char *listen, char address[256])
{
    const char *colon = strrchr(listen, ':');
    if (!colon)
        return false;
    size_t digits = strlen(colon + 1), len = (size_t)(colon - listen);
    if (digits < 1 || digits > 5 || strspn(colon + 1, "0123456789") != digits || atoi(colon + 1) > 65535)
        return false;
    bool brackets = len >= 2 && listen[0] == '[' && colon[-1] == ']';
    if (!brackets && memchr(listen, ':', len))
        return false; /* an IPv6 address without its brackets: which colon is the port's? */
    listen += brackets;
    len -= brackets ? 2 : 0;
    if (len < 1 || len > 255)
        return false;
    memcpy(address, listen, len);
    address[len] = 0;
    return true;
}

static bool is_loopback(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, address, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return !strcmp(address, "localhost") || (inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6));
}

static int check_listen(const struct config_loading *l)
{
    const char *listen = l->cfg->server.listen;
    char address[256];
    if (!strncmp(listen, "unix:", 5))
        return listen[5] == '/' && strlen(listen + 5) <= UNIX_PATH_MAX
                   ? 0
                   : refuse_key(l, "server", "listen", "behind unix: stands an absolute path of at most 107 bytes");
    if (!split_listen(listen, address))
        return refuse_key(l, "server", "listen", "not ADDRESS:PORT, [IPv6 ADDRESS]:PORT or unix:/path");
    if (!*l->cfg->server.keys_file && !is_loopback(address))
        return refuse_key(l, "server", "listen", "without [server] keys_file only loopback addresses are served (127.0.0.1, [::1], unix:/path)");
    return 0;
}

static int check_sources(const struct config_loading *l)
{
    for (size_t i = 0; i < l->cfg->source_count; i++)
        if (!config_source_get(&l->cfg->sources[i], "type"))
            return config_refuse(l, "[source.%s] has no type; one of: %s", l->cfg->sources[i].name, config_name_find_source_key("type")->unit);
    return 0;
}

static int check_proxies(const struct config_loading *l)
{
    const struct text_list *list = &l->cfg->server.trusted_proxies;
    struct address_range r;
    for (size_t i = 0; i < list->count; i++) {
        const char *wrong = address_range_parse(list->items[i], &r);
        if (wrong)
            return config_refuse(l, "[server] trusted_proxies: \"%s\" %s", list->items[i], wrong);
    }
    return 0;
}

int config_check(const struct config_loading *l)
{
    return check_pairs(l) < 0 || check_tls(l) < 0 || check_listen(l) < 0 || check_proxies(l) < 0 || check_sources(l) < 0 ? -1 : 0;
}
