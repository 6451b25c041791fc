/* [source.NAME] as checked values (see the header). Runs in every process. */
#include "core/source.h"
#include "core/config_name.h"
#include "core/errors.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name, *needed, *allowed;
} types[SOURCE_TYPES] = {
#define SOURCE_TYPE(name_, needed_, allowed_) {#name_, needed_, allowed_},
#include "core/source.def"
#undef SOURCE_TYPE
};

const char *source_type_text(enum source_type type) { return types[type].name; }

const char *source_extension(enum source_type type)
{
    static const char *const names[SOURCE_TYPES] = {
        [SOURCE_IS_postgres] = "postgres_scanner", [SOURCE_IS_mysql] = "mysql_scanner", [SOURCE_IS_s3] = "httpfs"};
    return names[type];
}

static int refuse(const struct source *s, struct error *err, const char *what)
{
    return error_set(err, ERR_BAD_REQUEST, "[source.%s] %s", s->name, what);
}

static bool listed(const char *list, const char *key)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", key);
    return strstr(list, word) != NULL;
}

static int check_keys(const struct config_source *config, const struct source *s, struct error *err)
{
    char what[200];
    for (size_t i = 0; i < config->count; i++) {
        const char *key = config->values[i].key;
        if (listed(" type roles keys warm ", key) || listed(types[s->type].needed, key) || listed(types[s->type].allowed, key))
            continue;
        snprintf(what, sizeof what, "%s: a source of type %s has no such key", key, types[s->type].name);
        return refuse(s, err, what);
    }
    char needed[64];
    snprintf(needed, sizeof needed, "%s", types[s->type].needed);
    char *save, *key = strtok_r(needed, " ", &save);
    for (; key; key = strtok_r(NULL, " ", &save)) {
        const char *value = config_source_get(config, key);
        if (value && value[0])
            continue;
        snprintf(what, sizeof what, "%s is missing: a source of type %s needs it", key, types[s->type].name);
        return refuse(s, err, what);
    }
    return 0;
}

/* What a host's name or address, a region, a bucket is made of: nothing that means something to a URL or a connection string. */
static bool plain(const char *text, const char *more)
{
    for (const char *c = text; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!letter && !strchr(more, *c))
            return false;
    }
    return true;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    return strcasecmp(host, "localhost") == 0 || (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127) ||
           (inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6));
}

/* [http://|https://]host[:port][/]; without a scheme: plain to loopback, TLS to everywhere else. */
static int read_endpoint(const char *text, struct source *s, struct error *err)
{
    static const char wrong[] = "endpoint is not HOST, HOST:PORT, or one of these behind http:// or https://";
    const char *at = text;
    bool scheme = false;
    if (strncmp(at, "http://", 7) == 0 || strncmp(at, "https://", 8) == 0) {
        scheme = true;
        s->tls = at[4] == 's';
        at += s->tls ? 8 : 7;
    }
    char host[SOURCE_HOST_BYTES];
    size_t len = strlen(at);
    if (len > 0 && at[len - 1] == '/')
        len--;
    if (len < 1 || len >= sizeof host)
        return refuse(s, err, wrong);
    memcpy(host, at, len);
    host[len] = 0;
    char *colon = strrchr(host, ':');
    if (colon && (colon == host || strchr(host, ':') == colon || colon[-1] == ']')) {
        char *end;
        long port = strtol(colon + 1, &end, 10);
        if (*end || end == colon + 1 || port < 1 || port > 65535)
            return refuse(s, err, wrong);
        s->port = (int)port;
        *colon = 0;
    }
    bool brackets = host[0] == '[' && host[strlen(host) - 1] == ']';
    snprintf(s->host, sizeof s->host, "%.*s", (int)(strlen(host) - (brackets ? 2 : 0)), host + brackets);
    if (!s->host[0] || !plain(s->host, brackets ? ":." : ".-_"))
        return refuse(s, err, wrong);
    if (!scheme)
        s->tls = !is_loopback(s->host);
    if (!s->port)
        s->port = s->tls ? 443 : 80;
    return 0;
}

/* "a/b" or "a/b/" becomes "a/b/". No step of it may lead elsewhere. */
static int read_prefix(const char *text, struct source *s, struct error *err)
{
    size_t len = strlen(text);
    if (len == 0)
        return 0;
    if (len > 1024 || text[0] == '/' || !plain(text, "/._=-"))
        return refuse(s, err, "prefix is made of letters, digits and . _ = - between single slashes, with no slash in front");
    bool slash = text[len - 1] == '/';
    snprintf(s->prefix, sizeof s->prefix, "%s%s", text, slash ? "" : "/");
    for (const char *part = s->prefix; *part; part = strchr(part, '/') + 1) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return refuse(s, err, "prefix: no part of it may be empty, . or ..");
    }
    return 0;
}

static int read_s3(const char *endpoint, const char *prefix, struct source *s, struct error *err)
{
    size_t n = strlen(s->bucket);
    if (n < 3 || n > 63 || strspn(s->bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-") != n || strstr(s->bucket, "..") || s->bucket[0] == '.' ||
        s->bucket[0] == '-')
        return refuse(s, err, "bucket is 3 to 63 of a-z, 0-9, . and -");
    if (!s->key_id_file[0] != !s->secret_file[0])
        return refuse(s, err, "key_id_file and secret_file belong together: give both or none");
    if (!plain(s->region, "-"))
        return refuse(s, err, "region is made of letters, digits and -");
    if (!s->region[0])
        s->region = "us-east-1";
    s->aws = !endpoint[0];
    if (s->aws) {
        s->tls = true;
        s->port = 443;
        if ((size_t)snprintf(s->host, sizeof s->host, "s3.%s.amazonaws.com", s->region) >= sizeof s->host)
            return refuse(s, err, "region is too long");
    } else if (read_endpoint(endpoint, s, err) < 0) {
        return -1;
    }
    return read_prefix(prefix, s, err);
}

static int read_server(const char *host, struct source *s, struct error *err)
{
    bool socket = s->type == SOURCE_IS_postgres && host[0] == '/';
    if (strlen(host) >= sizeof s->host || (!socket && !plain(host, ".-_:")))
        return refuse(s, err, "host is a name or an address (for postgres also the directory of a unix socket), without a port");
    if (socket && strlen(host) > 80)
        return refuse(s, err, "host: the path of the socket's directory is too long");
    snprintf(s->host, sizeof s->host, "%s", host);
    if (!s->port)
        s->port = s->type == SOURCE_IS_postgres ? 5432 : 3306;
    return 0;
}

/* Parts that are not empty, `.` or `..`, with single slashes between, and no control characters. `end`: where the path ends. */
static bool is_plain_path(const char *path, const char *end)
{
    for (const char *part = path; part <= end;) {
        size_t n = strcspn(part, "/");
        if (part + n > end)
            n = (size_t)(end - part);
        if (n == 0 || n > 255 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part += n + 1;
    }
    for (const char *c = path; c < end; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    return true;
}

/* "", "out", "out/", or (files) an absolute path at or below the source's own. */
static int read_writable(const char *text, struct source *s, struct error *err)
{
    size_t root = strlen(s->path);
    while (s->type == SOURCE_IS_files && root > 1 && s->path[root - 1] == '/')
        root--;
    if (!text[0])
        return 0;
    s->writable = true;
    if (s->type == SOURCE_IS_files && text[0] == '/') {
        if (strncmp(text, s->path, root) != 0 || (text[root] && text[root] != '/'))
            return refuse(s, err, "writable_prefix: not within path");
        text += root;
        text += strspn(text, "/");
    }
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '/')
        len--;
    if (len == 0 || (len == 1 && text[0] == '.')) /* all of it */
        return 0;
    if (len > 1024 || !is_plain_path(text, text + len) || (s->type == SOURCE_IS_s3 && !plain(text, "/._=-")))
        return refuse(s, err, "writable_prefix: no part of it may be empty, . or .., and (s3) it is made of letters, digits and . _ = - /");
    snprintf(s->writable_below, sizeof s->writable_below, "%.*s/", (int)len, text);
    return 0;
}

int source_check_export(const struct source *s, const char *path, struct error *err)
{
    size_t len = strlen(path), below = strlen(s->writable_below);
    if (!s->writable)
        return error_forbid(err, "export", "nothing may be written to the source '%s': it has no writable_prefix", s->name);
    if (len == 0 || len >= EXPORT_PATH_BYTES || !is_plain_path(path, path + len) || (s->type == SOURCE_IS_s3 && !plain(path, "/._=-")))
        return error_set(err, ERR_BAD_REQUEST,
                         "destination.path is a file's path within the source: no part of it may be empty, . or .., and (s3) it is made of "
                         "letters, digits and . _ = - /");
    if (strncmp(path, s->writable_below, below) == 0 && len > below)
        return 0;
    return error_forbid(err, "export", "results may be written below '%s' of the source '%s' only", s->writable_below, s->name);
}

static int read_path(struct source *s, struct error *err)
{
    if (s->path[0] != '/')
        return refuse(s, err, "path must be absolute");
    if (s->path[1] == 0)
        return refuse(s, err, "path: the root of the file system is no source");
    return 0;
}

int source_read(const struct config_source *config, struct source *ret, struct error *err)
{
    struct source s = {0};
    snprintf(s.name, sizeof s.name, "%s", config->name);
    const char *type = config_source_get(config, "type");
    if (!config_name_is_source_name(config->name))
        return refuse(&s, err, "has no name that the engine could use as a catalog's: 1 to 31 of a-z, 0-9 and _, a letter first");
    while (s.type < SOURCE_TYPES && (!type || strcmp(types[s.type].name, type) != 0))
        s.type++;
    if (s.type == SOURCE_TYPES)
        return refuse(&s, err, "has no type; one of: postgres, mysql, s3, files, duckdb");
    if (check_keys(config, &s, err) < 0)
        return -1;
    const char *host = "", *endpoint = "", *prefix = "", *port = "", *warm = "";
    const struct {
        const char *key, **field;
    } texts[] = {{"host", &host},
                 {"endpoint", &endpoint},
                 {"prefix", &prefix},
                 {"port", &port},
                 {"warm", &warm},
                 {"database", &s.database},
                 {"user", &s.user},
                 {"password_file", &s.password_file},
                 {"sslmode", &s.sslmode},
                 {"region", &s.region},
                 {"bucket", &s.bucket},
                 {"key_id_file", &s.key_id_file},
                 {"secret_file", &s.secret_file},
                 {"path", &s.path},
                 {"roles", &s.roles},
                 {"keys", &s.keys},
                 {"writable_prefix", &s.writable_prefix}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *value = config_source_get(config, texts[i].key);
        *texts[i].field = value ? value : "";
    }
    s.port = atoi(port); /* the configuration has checked both */
    s.warm = atoi(warm);
    int ok = s.type == SOURCE_IS_s3 ? read_s3(endpoint, prefix, &s, err) : source_is_remote(&s) ? read_server(host, &s, err) : read_path(&s, err);
    if (ok == 0)
        ok = read_writable(s.writable_prefix, &s, err);
    if (ok == 0)
        *ret = s;
    return ok;
}

/* The name that the engine gives the main database: its file's name up to the first dot. */
static bool is_own_catalog(const char *database_path, const char *name)
{
    const char *slash = strrchr(database_path, '/'), *base = slash ? slash + 1 : database_path;
    size_t len = strcspn(base, ".");
    return len == strlen(name) && strncasecmp(base, name, len) == 0;
}

int sources_check(const struct config *cfg, struct error *err)
{
    static const char *const reserved[] = {"system", "temp", "memory", "main", "information_schema", "pg_catalog"};
    for (size_t i = 0; i < cfg->source_count; i++) {
        struct source s;
        if (source_read(&cfg->sources[i], &s, err) < 0)
            return -1;
        for (size_t j = 0; j < sizeof reserved / sizeof reserved[0]; j++)
            if (strcmp(s.name, reserved[j]) == 0)
                return refuse(&s, err, "has a name that the engine uses itself; take another");
        if (cfg->database.path[0] && is_own_catalog(cfg->database.path, s.name))
            return refuse(&s, err, "has the name of the database itself, as the engine calls its file; take another");
    }
    return 0;
}

const struct config_source *sources_find(const struct config *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->source_count; i++)
        if (strcmp(cfg->sources[i].name, name) == 0)
            return &cfg->sources[i];
    return NULL;
}

/* One entry of a comma-separated list is exactly this word. */
static bool in_list(const char *list, const char *word)
{
    size_t n = strlen(word);
    while (*list) {
        list += strspn(list, ", \t");
        size_t len = strcspn(list, ", \t");
        if (len == n && n > 0 && strncmp(list, word, n) == 0)
            return true;
        list += len;
    }
    return false;
}

bool source_allows(const struct source *s, const char *role, const char *key)
{
    return (!s->roles[0] && !s->keys[0]) || in_list(s->roles, role) || in_list(s->keys, key);
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

int source_set_make(const char *const *names, size_t count, char ret[SOURCE_SET_BYTES], struct error *err)
{
    const char *sorted[SOURCES_PER_SET];
    char set[SOURCE_SET_BYTES] = "";
    size_t len = 0;
    if (count > SOURCES_PER_SET)
        return error_set(err, ERR_BAD_REQUEST, "at most %d sources can be used together", SOURCES_PER_SET);
    for (size_t i = 0; i < count; i++) {
        if (!config_name_is_source_name(names[i]))
            return error_set(err, ERR_BAD_REQUEST, "'%.60s' is no source's name", names[i]);
        sorted[i] = names[i];
    }
    qsort(sorted, count, sizeof sorted[0], by_name);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(sorted[i - 1], sorted[i]) == 0)
            return error_set(err, ERR_BAD_REQUEST, "the source '%s' is named twice", sorted[i]);
        len += (size_t)snprintf(set + len, sizeof set - len, "%s%s", i ? "," : "", sorted[i]);
    }
    memcpy(ret, set, sizeof set);
    return 0;
}

bool source_set_next(const char *set, size_t *at, char ret_name[SOURCE_NAME_BYTES])
{
    size_t len = strcspn(set + *at, ",");
    if (len == 0 || len >= SOURCE_NAME_BYTES)
        return false;
    memcpy(ret_name, set + *at, len);
    ret_name[len] = 0;
    *at += len + (set[*at + len] == ',');
    return true;
}

bool source_set_valid(const char *set)
{
    char name[SOURCE_NAME_BYTES], before[SOURCE_NAME_BYTES] = "";
    size_t at = 0, count = 0;
    if (strnlen(set, SOURCE_SET_BYTES) >= SOURCE_SET_BYTES)
        return false;
    while (source_set_next(set, &at, name)) {
        if (!config_name_is_source_name(name) || strcmp(before, name) >= 0 || ++count > SOURCES_PER_SET)
            return false;
        memcpy(before, name, sizeof name);
    }
    return set[at] == 0 && (at == 0 || set[at - 1] != ',');
}

bool source_set_has(const char *set, const char *name)
{
    char one[SOURCE_NAME_BYTES];
    size_t at = 0;
    while (source_set_next(set, &at, one))
        if (strcmp(one, name) == 0)
            return true;
    return false;
}
