/* Attaching sources (see the header). Every name and value goes through quote.h; secrets live in SQL text only here, and the text is wiped.
 * Runs in the worker. */
#include "engine/engine_sources.h"
#include "engine/quote.h"
#include "engine/sqltext.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_MAX_BYTES ((size_t)64 * 1024)
/* A server that is there answers at once; one that is not must not hold a worker's start for long. */
#define CONNECT_TIMEOUT_S 10
#define CONNECTION_MAX_BYTES 8192

/* SQL under construction. Its first failure sticks. */
struct sql {
    struct buf text;
    bool ok;
};

static struct sql sql_new(void)
{
    struct sql q = {.text = BUF_INIT(SQL_MAX_BYTES), .ok = true};
    CHECK(buf_reserve(&q.text, SQL_MAX_BYTES)); /* at once: no half-written copies of a secret stay behind */
    return q;
}

static void put(struct sql *q, const char *text) { q->ok = q->ok && buf_puts(&q->text, text); }

static void put_text(struct sql *q, const char *before, const char *value)
{
    put(q, before);
    q->ok = q->ok && quote_text(&q->text, value, strlen(value));
}

static void put_name(struct sql *q, const char *before, const char *name, const char *prefix)
{
    char whole[SOURCE_NAME_BYTES + 16];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    put(q, before);
    q->ok = q->ok && quote_name(&q->text, whole, strlen(whole));
}

/* ", KEY 'value'", nothing when there is no value. */
static void put_option(struct sql *q, const char *key, const char *value)
{
    if (!value[0])
        return;
    put(q, ", ");
    put(q, key);
    put_text(q, " ", value);
}

static void put_port(struct sql *q, int port) { q->ok = q->ok && buf_printf(&q->text, ", PORT %d", port); }

/* Runs it and wipes it. The error names the source; the engine's words may, so to speak, quote the statement. */
static int run(struct engine *e, struct sql *q, const struct source *s, struct error *err)
{
    int ok = 0;
    struct error said;
    q->ok = q->ok && buf_append(&q->text, "", 1);
    if (!q->ok)
        ok = error_set(err, ERR_SOURCE, "its configuration can't be written as SQL");
    else if (engine_run(e, q->text.data, "", &said) < 0)
        ok = error_set(err, ERR_SOURCE, "%s", strncmp(said.detail, ": ", 2) == 0 ? said.detail + 2 : said.detail);
    if (q->text.data)
        explicit_bzero(q->text.data, q->text.cap);
    buf_free(&q->text);
    if (ok < 0)
        snprintf(err->source, sizeof err->source, "%s", s->name);
    return ok;
}

static int load(struct engine *e, const struct engine_options *o, const struct source *s, struct error *err)
{
    const char *extension = source_extension(s->type);
    char path[4200];
    if (!extension)
        return 0;
    for (size_t i = 0; i < e->source_count; i++)
        if (e->sources[i].type == s->type)
            return 0; /* loaded for an earlier one */
    snprintf(path, sizeof path, "%s/%s.duckdb_extension", o->extension_directory ? o->extension_directory : "", extension);
    struct sql q = sql_new();
    put_text(&q, "LOAD ", path);
    return run(e, &q, s, err);
}

#define SECRET_PREFIX "bulkhead_"

static int drop_secret(struct engine *e, const struct source *s, struct error *err)
{
    struct sql q = sql_new();
    put_name(&q, "DROP SECRET ", s->name, SECRET_PREFIX);
    return run(e, &q, s, err);
}

/* Whether the source's certificate is to be held against the machine's roots. (With less, PostgreSQL's library would take a file of roots as an order
 * to do so all the same.) */
static bool verifies(const struct source *s) { return strncmp(s->sslmode, "verify-", strlen("verify-")) == 0; }

/* A value of a connection string. */
static bool put_quoted(struct buf *b, const char *value)
{
    bool ok = buf_puts(b, "'");
    for (; ok && *value; value++)
        ok = buf_printf(b, "%s%c", *value == '\'' || *value == '\\' ? "\\" : "", *value);
    return ok && buf_puts(b, "'");
}

/* How often a server looks, while it works, whether anybody still waits. Servers before version 14 and some poolers refuse the word. */
#define CHECK_WORD "client_connection_check_interval"
#define CHECK_INTERVAL_MS 2000

/* What no secret of the engine's has a word for. */
static bool postgres_options(struct buf *b, const struct engine_options *o, const struct source *s, bool checks)
{
    bool ok = buf_printf(b,
                         "connect_timeout=%d application_name=bulkhead keepalives_idle=60 options='-c statement_timeout=%" PRId64
                         " -c default_transaction_read_only=on -c standard_conforming_strings=on",
                         CONNECT_TIMEOUT_S, o->source_timeout_ms);
    ok = ok && (!checks || buf_printf(b, " -c " CHECK_WORD "=%d", CHECK_INTERVAL_MS)) && buf_puts(b, "'");
    if (ok && verifies(s))
        ok = buf_puts(b, " sslrootcert=") && put_quoted(b, o->trust_file ? o->trust_file : "");
    return ok && buf_append(b, "", 1);
}

/* The scanner puts the whole connection string before what the server said: nobody wrote it who reads it. */
static void hide_options(struct engine *e, const char *options)
{
    char noise[CONNECTION_MAX_BYTES];
    snprintf(noise, sizeof noise, " at \"%s\"", options);
    failure_hide_noise(&e->hide, noise);
}

/* Read-only three times: the attach, the transactions at the source, and, if the administrator heeds the documents, the role. */
static int attach_postgres_with(struct engine *e, const struct engine_options *o, const struct source *s, bool checks, struct error *err)
{
    struct sql q = sql_new();
    struct buf options = BUF_INIT(CONNECTION_MAX_BYTES);
    q.ok = postgres_options(&options, o, s, checks);
    if (q.ok)
        hide_options(e, options.data);
    put_text(&q, "ATTACH ", q.ok ? options.data : "");
    buf_free(&options);
    put_name(&q, " AS ", s->name, "");
    /* Without that table's empty name the engine looks for secrets in the source's own table `duckdb_secrets`: for every other source, too. */
    put_name(&q, " (TYPE postgres, READ_ONLY, SECRET_STORAGE_TABLE '', SECRET ", s->name, SECRET_PREFIX);
    put(&q, ")");
    return run(e, &q, s, err);
}

/* Our own connection string is not in the message any more. */
static bool refuses_checks(const char *message) { return strstr(message, CHECK_WORD) != NULL; }

static int attach_postgres(struct engine *e, const struct engine_options *o, const struct engine_source *x, struct error *err)
{
    const struct source *s = &x->def;
    struct sql q = sql_new();
    put_name(&q, "CREATE TEMPORARY SECRET ", s->name, SECRET_PREFIX);
    put(&q, " (TYPE postgres");
    put_option(&q, "HOST", s->host);
    put_port(&q, s->port);
    put_option(&q, "DATABASE", s->database);
    put_option(&q, "USER", s->user);
    put_option(&q, "PASSWORD", x->password);
    put_option(&q, "SSLMODE", s->sslmode);
    put(&q, ")");
    if (run(e, &q, s, err) < 0)
        return -1;
    int attached = attach_postgres_with(e, o, s, true, err);
    if (attached < 0 && refuses_checks(err->detail))
        attached = attach_postgres_with(e, o, s, false, err);
    return attached < 0 ? -1 : drop_secret(e, s, err);
}

/* The scanner writes constants into the statements that it sends, with quotes doubled and backslashes as they are. To the server a backslash hides the quote
 * behind it, unless it is told not to, first thing in each connection: that is what this host is, in the words of the connector's connection strings.
 * And no statement runs there for longer than any here: MySQL, from 5.7.8 on, and MariaDB, from 10.1.1 on, each have a word of their own for that and
 * pass over what is in the other's comment. */
#define MYSQL_HOST_BEGIN "host={"
#define MYSQL_HOST_END                                                                                                                    \
    "};init-command={SET /*!50708 SESSION max_execution_time=%" PRId64 ", */ /*M!100101 SESSION max_statement_time=%" PRId64 ".%03d, */ " \
    "sql_mode=CONCAT(@@sql_mode,',NO_BACKSLASH_ESCAPES')}"
#define MYSQL_NUMBERS_BYTES 64

static void put_mysql_host(struct sql *q, struct engine *e, const struct source *s, int64_t timeout_ms)
{
    char end[sizeof MYSQL_HOST_END + MYSQL_NUMBERS_BYTES], host[SOURCE_HOST_BYTES + sizeof MYSQL_HOST_BEGIN + sizeof end];
    snprintf(end, sizeof end, MYSQL_HOST_END, timeout_ms, timeout_ms / 1000, (int)(timeout_ms % 1000));
    const char *name = strcasecmp(s->host, "localhost") == 0 ? "127.0.0.1" : s->host; /* the connector would look for a unix socket */
    snprintf(host, sizeof host, MYSQL_HOST_BEGIN "%s%s", name, end);                  /* a name or an address: see source.c */
    put_option(q, "HOST", host);
    failure_hide_noise(&e->hide, MYSQL_HOST_BEGIN);
    failure_hide_noise(&e->hide, end);
}

/* A connection that the pool gives out again was reset, and has forgotten that: there must be no pool. */
static int no_mysql_pool(struct engine *e, const struct source *s, struct error *err)
{
    struct sql q = sql_new();
    put(&q, "SET GLOBAL mysql_pool_size=0");
    return run(e, &q, s, err);
}

static int attach_mysql(struct engine *e, const struct engine_options *o, const struct engine_source *x, struct error *err)
{
    /* The words of [source.NAME] sslmode are PostgreSQL's; MySQL has its own for the same. */
    static const char *const modes[][2] = {
        {"", "preferred"},          {"disable", "disabled"},           {"allow", "preferred"}, {"prefer", "preferred"}, {"require", "required"},
        {"verify-ca", "verify_ca"}, {"verify-full", "verify_identity"}};
    const struct source *s = &x->def;
    const char *mode = "verify_identity";
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(modes[i][0], s->sslmode) == 0)
            mode = modes[i][1];
    if (no_mysql_pool(e, s, err) < 0)
        return -1;
    struct sql q = sql_new();
    put_name(&q, "CREATE TEMPORARY SECRET ", s->name, SECRET_PREFIX);
    put(&q, " (TYPE mysql");
    put_mysql_host(&q, e, s, o->source_timeout_ms);
    put_port(&q, s->port);
    put_option(&q, "DATABASE", s->database);
    put_option(&q, "USER", s->user);
    put_option(&q, "PASSWORD", x->password);
    put_option(&q, "SSL_MODE", mode);
    if (o->trust_file && strcmp(s->sslmode, "disable") != 0) /* the connector verifies whenever it encrypts */
        put_option(&q, "SSL_CA", o->trust_file);
    put(&q, ")");
    if (run(e, &q, s, err) < 0)
        return -1;
    q = sql_new();
    put_name(&q, "ATTACH '' AS ", s->name, "");
    put_name(&q, " (TYPE mysql, READ_ONLY, SECRET ", s->name, SECRET_PREFIX);
    put(&q, ")");
    return run(e, &q, s, err) < 0 ? -1 : drop_secret(e, s, err);
}

/* The roots that servers' certificates are held against, for all of its addresses. */
static int trust_roots(struct engine *e, const struct engine_options *o, const struct source *s, struct error *err)
{
    if (!o->trust_file || !o->trust_file[0])
        return 0;
    struct sql q = sql_new();
    put_text(&q, "SET GLOBAL ca_cert_file=", o->trust_file);
    return run(e, &q, s, err);
}

/* The secret stays: each access needs it. It is only used for what lies below the prefix. */
static int prepare_s3(struct engine *e, const struct engine_options *o, const struct engine_source *x, struct error *err)
{
    const struct source *s = &x->def;
    char text[SOURCE_HOST_BYTES + 16 > 1200 ? SOURCE_HOST_BYTES + 16 : 1200];
    if (trust_roots(e, o, s, err) < 0)
        return -1;
    struct sql q = sql_new();
    put_name(&q, "CREATE TEMPORARY SECRET ", s->name, SECRET_PREFIX);
    put(&q, " (TYPE s3");
    put_option(&q, "KEY_ID", x->key_id);
    put_option(&q, "SECRET", x->secret);
    put_option(&q, "REGION", s->region);
    bool v6 = strchr(s->host, ':') != NULL;
    if (s->aws) /* path style as well: the host is then one and the same for every bucket, and so is what the worker may connect to */
        snprintf(text, sizeof text, "%s", s->host);
    else
        snprintf(text, sizeof text, "%s%s%s:%d", v6 ? "[" : "", s->host, v6 ? "]" : "", s->port);
    put_option(&q, "ENDPOINT", text);
    put_option(&q, "URL_STYLE", "path");
    put(&q, s->tls ? ", USE_SSL true" : ", USE_SSL false");
    snprintf(text, sizeof text, "s3://%s/%s", s->bucket, s->prefix);
    put_option(&q, "SCOPE", text);
    put(&q, ")");
    int made = run(e, &q, s, err);
    if (made < 0 || !s->writable)
        return made;
    /* Parts of 5 MB, two on their way: else an export holds parts of 80 MB. */
    q = sql_new();
    put(&q, "SET GLOBAL s3_uploader_max_filesize='50GB'; SET GLOBAL s3_uploader_thread_limit=2");
    return run(e, &q, s, err);
}

static int attach_duckdb(struct engine *e, const struct source *s, struct error *err)
{
    struct sql q = sql_new();
    put_text(&q, "ATTACH ", s->path);
    put_name(&q, " AS ", s->name, "");
    put(&q, " (TYPE duckdb, READ_ONLY)");
    return run(e, &q, s, err);
}

static int attach(struct engine *e, const struct engine_options *o, const struct engine_source *x, struct error *err)
{
    switch (x->def.type) {
    case SOURCE_IS_postgres: return attach_postgres(e, o, x, err);
    case SOURCE_IS_mysql: return attach_mysql(e, o, x, err);
    case SOURCE_IS_s3: return prepare_s3(e, o, x, err);
    case SOURCE_IS_duckdb: return attach_duckdb(e, &x->def, err);
    default: return 0; /* files: only a path that may be read */
    }
}

static int attach_in_time(struct engine *e, const struct engine_options *o, const struct engine_source *x, struct error *err)
{
    bool timed = o->attach_begins && source_is_remote(&x->def);
    if (timed)
        o->attach_begins(o->attach_ctx);
    int ok = attach(e, o, x, err);
    if (timed && o->attach_ends(o->attach_ctx)) { /* also when the scanner did not mind: it takes a broken connection for an unusual server */
        ok = error_set(err, ERR_SOURCE, "the source does not answer");
        snprintf(err->source, sizeof err->source, "%s", x->def.name);
    }
    return ok;
}

int sources_attach(struct engine *e, const struct engine_options *o, bool databases, struct error *err)
{
    if (!databases && o->trust_file && o->trust_file[0])
        failure_hide_path(&e->hide, o->trust_file, "<roots>");
    for (size_t i = 0, remote = 0; i < o->source_count; i++) {
        char address[32];
        if (!source_is_remote(&o->sources[i].def))
            continue;
        snprintf(address, sizeof address, " (240.0.0.%zu)", ++remote); /* as libpq writes it behind the name */
        failure_hide_noise(&e->hide, address);
    }
    for (size_t i = 0; i < o->source_count; i++) {
        const struct engine_source *x = &o->sources[i];
        if ((x->def.type == SOURCE_IS_duckdb) != databases)
            continue;
        failure_hide_secret(&e->hide, x->password);
        failure_hide_secret(&e->hide, x->key_id);
        failure_hide_secret(&e->hide, x->secret);
        if (x->def.type == SOURCE_IS_duckdb)
            failure_hide_path(&e->hide, x->def.path, "<source>");
        if (load(e, o, &x->def, err) < 0)
            return -1;
        struct attached *a = &e->sources[e->source_count++];
        memcpy(a->name, x->def.name, sizeof a->name);
        a->type = x->def.type;
        if (attach_in_time(e, o, x, err) < 0)
            return -1;
    }
    return 0;
}

/* With a slash at its end; false: the source has no files. */
static bool file_prefix(const struct source *s, char *ret, size_t cap)
{
    if (s->type == SOURCE_IS_s3)
        snprintf(ret, cap, "s3://%s/%s", s->bucket, s->prefix);
    else if (s->type == SOURCE_IS_files)
        snprintf(ret, cap, "%s%s", s->path, s->path[strlen(s->path) - 1] == '/' ? "" : "/");
    return s->type == SOURCE_IS_s3 || s->type == SOURCE_IS_files;
}

size_t sources_file_prefixes(const struct engine_options *o, char **ret)
{
    size_t n = 0;
    char path[4200];
    for (size_t i = 0; i < o->source_count; i++)
        if (file_prefix(&o->sources[i].def, path, sizeof path)) {
            ret[n] = strdup(path);
            CHECK(ret[n++]);
        }
    return n;
}

int sources_allow_paths(struct engine *e, const struct engine_options *o, struct error *err)
{
    struct sql q = sql_new();
    const struct source *last = NULL;
    put(&q, "SET allowed_directories=[");
    for (size_t i = 0; i < o->source_count; i++) {
        const struct source *s = &o->sources[i].def;
        char path[4200];
        if (!file_prefix(s, path, sizeof path))
            continue;
        put_text(&q, last ? ", " : "", path);
        last = s;
    }
    put(&q, "]");
    if (last)
        return run(e, &q, last, err);
    buf_free(&q.text);
    return 0;
}

/* ---- what failed? ---- */

/* Words of the scanners' own messages. What a server says stands behind one of them. */
static const struct {
    enum source_type type;
    const char *words;
} marks[] = {
    {SOURCE_IS_postgres, "Unable to connect to Postgres"},
    {SOURCE_IS_postgres, "Failed to prepare COPY"},
    {SOURCE_IS_postgres, "Failed to execute query"},
    {SOURCE_IS_postgres, "Failed to query Postgres"},
    {SOURCE_IS_postgres, "Failed to fetch COPY"},
    {SOURCE_IS_postgres, "Failed to fetch header for COPY"},
    {SOURCE_IS_postgres, "Failed to read"},
    {SOURCE_IS_postgres, "Postgres"},
    {SOURCE_IS_postgres, "server closed the connection"},
    {SOURCE_IS_mysql, "Failed to connect to MySQL"},
    {SOURCE_IS_mysql, "MySQL"},
    {SOURCE_IS_mysql, "Lost connection"},
    {SOURCE_IS_s3, "HTTP Error"},
    {SOURCE_IS_s3, "error for HTTP"},
    {SOURCE_IS_s3, "HTTP GET error"},
    {SOURCE_IS_s3, "HTTP HEAD error"},
};

static bool names(const char *sql, size_t len, const char *name)
{
    size_t pos = 0, n = strlen(name);
    for (struct sql_token t = sql_next(sql, len, &pos); t.kind != SQL_END; t = sql_next(sql, len, &pos)) {
        size_t quote = t.kind == SQL_QUOTED && sql[t.begin] == '"';
        if ((t.kind == SQL_WORD || quote) && t.end - t.begin == n + 2 * quote && strncasecmp(sql + t.begin + quote, name, n) == 0)
            return true;
    }
    return false;
}

/* Of several sources of the type, one that the statement names. */
static const struct attached *which(const struct engine *e, enum source_type type, const char *sql, size_t len)
{
    const struct attached *first = NULL;
    for (size_t i = 0; i < e->source_count; i++) {
        const struct attached *a = &e->sources[i];
        if (a->type != type)
            continue;
        if (names(sql, len, a->name))
            return a;
        first = first ? first : a;
    }
    return first;
}

/* Where the source's own words should stand, and it left without any. */
static void tell_silence(struct error *err)
{
    size_t len = strlen(err->detail);
    if (len >= 2 && strcmp(err->detail + len - 2, ": ") == 0)
        snprintf(err->detail + len, sizeof err->detail - len, "the connection broke off, or what came from it made no sense");
}

void sources_judge_failure(const struct engine *e, const char *sql, size_t len, struct error *err)
{
    if (e->source_count == 0 || err->code != ERR_SQL || strcmp(err->error_type, "Parser") == 0 || strcmp(err->error_type, "Binder") == 0 ||
        strcmp(err->error_type, "Catalog") == 0 || strcmp(err->error_type, "Permission") == 0)
        return;
    if (atomic_load(&e->cancelled)) { /* then its connections may have been ended: whatever was said, that is why */
        error_set(err, ERR_CANCELLED, "the query was cancelled");
        return;
    }
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        const struct attached *a = strstr(err->detail, marks[i].words) ? which(e, marks[i].type, sql, len) : NULL;
        if (!a)
            continue;
        err->code = ERR_SOURCE;
        err->position = 0;
        err->error_type[0] = 0;
        tell_silence(err);
        snprintf(err->source, sizeof err->source, "%s", a->name);
        return;
    }
}
