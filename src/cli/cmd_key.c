/* `bulkhead key`: makes, lists and revokes API keys. Knows arguments and the key file; a running server reads the file by itself. Runs in
 * the command line. */
#include "cli/cli.h"
#include "cli/key_store.h"
#include "cli/screen.h"
#include "core/config.h"
#include "core/errors.h"
#include "core/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS_MAX 24

static const char usage[] = "usage: bulkhead key new NAME --role ROLE [--keys FILE] [LIMITS]\n"
                            "       bulkhead key list [--keys FILE]\n"
                            "       bulkhead key revoke NAME [--keys FILE]\n"
                            "\n"
                            "Makes an API key, prints it once on standard output and stores its hash, lists the keys, or takes one away.\n"
                            "A running server sees the change within a second; queries of a key that is gone are cancelled.\n"
                            "  --keys FILE            the key file; without it server.keys_file of --config FILE or of the environment\n"
                            "  --role ROLE            reader (queries), analyst (and sessions, sources), admin (and writes, everybody's queries)\n";

struct key_args {
    const char *verb, *name, *role, *keys_file, *config_file;
    struct {
        const char *field, *value;
    } limits[OPTIONS_MAX];
    size_t limit_count;
};

static void print_help(void)
{
    size_t count;
    const struct key_field_row *rows = keyfile_fields(&count);
    fputs(usage, stdout);
    for (size_t i = 0; i < count; i++) {
        char option[40] = "--";
        if (!rows[i].settable)
            continue;
        for (size_t k = 0; rows[i].name[k]; k++)
            option[2 + k] = rows[i].name[k] == '_' ? '-' : rows[i].name[k], option[3 + k] = 0;
        printf("  %-14s VALUE   %s\n", option, rows[i].help);
    }
    fputs("\n--expires also takes a time from now, such as 30d. Exit code: 0 done, 1 failed, 2 wrong usage.\n", stdout);
}

/* Arguments and file contents may hold anything: they are escaped before they are shown. */
static int fail(int code, const char *what, const char *arg, const char *after) { return screen_complain(code, "key", what, arg, after); }

static int usage_error(const char *what, const char *arg) { return fail(2, what, arg, "; see `bulkhead key --help`"); }

/* The field that an option "--timeout-max" sets; NULL when there is none. */
static const char *field_of(const char *option)
{
    size_t count;
    const struct key_field_row *rows = keyfile_fields(&count);
    for (size_t i = 0; i < count; i++) {
        const char *a = rows[i].name, *b = option + 2;
        while (*a && (*a == *b || (*a == '_' && *b == '-')))
            a++, b++;
        if (rows[i].settable && !*a && !*b)
            return rows[i].name;
    }
    return NULL;
}

static int take_option(struct key_args *a, const char *option, const char *value)
{
    const char *field = field_of(option);
    const char **simple = !strcmp(option, "--keys")     ? &a->keys_file
                          : !strcmp(option, "--role")   ? &a->role
                          : !strcmp(option, "--config") ? &a->config_file
                                                        : NULL;
    if (!simple && !field)
        return usage_error("unknown option ", option);
    if (!value)
        return usage_error("a value is missing behind ", option);
    if (simple) {
        *simple = value;
        return -1;
    }
    for (size_t i = 0; i < a->limit_count; i++)
        if (!strcmp(a->limits[i].field, field))
            return usage_error("given twice: ", option);
    if (a->limit_count == OPTIONS_MAX)
        return usage_error("too many options: ", option);
    a->limits[a->limit_count].field = field;
    a->limits[a->limit_count++].value = value;
    return -1;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct key_args *a)
{
    for (int i = 1; i < argc; i++) {
        int code = -1;
        if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
            print_help();
            return fflush(stdout) ? 1 : 0;
        }
        if (!strncmp(argv[i], "--", 2))
            code = take_option(a, argv[i], i + 1 < argc ? argv[i + 1] : NULL), i++;
        else if (!a->verb)
            a->verb = argv[i];
        else if (!a->name)
            a->name = argv[i];
        else
            code = usage_error("one argument too many: ", argv[i]);
        if (code >= 0)
            return code;
    }
    return -1;
}

/* Where the keys are, the caller's; NULL with a message out. */
static char *find_file(const struct key_args *a)
{
    struct config *cfg;
    struct error err;
    if (a->keys_file)
        return strdup(a->keys_file);
    if (config_load(&cfg, a->config_file, NULL, environ, &err) < 0) {
        fail(2, "", err.detail, "");
        return NULL;
    }
    char *path = cfg->server.keys_file[0] ? strdup(cfg->server.keys_file) : NULL;
    config_free(cfg);
    if (!path)
        usage_error("no key file: say --keys FILE, or set server.keys_file", "");
    return path;
}

/* ---- new ---- */

struct addition {
    const struct key_args *args;
    char secret[SECRET_CHARS + 1];
};

/* "30d" as the moment that is so far away; other texts as they are. */
static const char *expiry(const char *text, char space[KEY_TIME_BYTES])
{
    int64_t ms;
    if (units_parse_duration(text, &ms) || ms > INT64_C(3153600000000)) /* a hundred years */
        return text;
    key_time_format((int64_t)time(NULL) + ms / 1000, space);
    return space;
}

static int put_limits(const struct key_args *a, struct buf *out, struct error *err)
{
    char moment[KEY_TIME_BYTES];
    int64_t until_s;
    for (size_t i = 0; i < a->limit_count; i++) {
        const char *value = a->limits[i].value;
        if (!strcmp(a->limits[i].field, "expires")) {
            value = expiry(value, moment);
            if (!key_time_parse(value, &until_s) && until_s <= (int64_t)time(NULL))
                return error_set(err, ERR_BAD_REQUEST, "--expires: %s is over already, nobody could use the key", value);
        }
        if (keyfile_put_field(out, a->limits[i].field, value, err) < 0)
            return -1;
    }
    return 0;
}

static int add_key(void *ctx, const struct keyfile *keys, const char *text, size_t len, struct buf *out, struct error *err)
{
    struct addition *add = ctx;
    uint8_t hash[SECRET_HASH_BYTES];
    char created[KEY_TIME_BYTES];
    if (keys && keyfile_find(keys, add->args->name))
        return error_set(err, ERR_CONFLICT, "there is a key [%s] already; revoke it first, or take another name", add->args->name);
    secret_make(add->secret);
    secret_hash(add->secret, SECRET_CHARS, hash);
    key_time_format((int64_t)time(NULL), created);
    bool ok = text ? buf_append(out, text, len)
                   : buf_puts(out, "# API keys of bulkhead: hashes, never the keys themselves. Made by `bulkhead key`.\n");
    ok = ok && buf_printf(out, "\n[%s]\nhash = sha256:", add->args->name);
    for (int i = 0; i < SECRET_HASH_BYTES && ok; i++)
        ok = buf_printf(out, "%02x", hash[i]);
    ok = ok && buf_printf(out, "\nhint = %.*s\nrole = %s\ncreated = %s\n", SECRET_HINT_CHARS, add->secret, add->args->role, created);
    if (!ok)
        return error_set(err, ERR_UNAVAILABLE, "the key file would be too large");
    return put_limits(add->args, out, err);
}

static int key_new(const struct key_args *a, const char *path)
{
    struct addition add = {.args = a};
    struct error err;
    if (!key_name_valid(a->name))
        return usage_error("a key's name is 1 to 40 letters, digits, '_', '-' and '.', with a letter or digit first, not ", a->name);
    if (!a->role)
        return usage_error("--role is missing: reader, analyst or admin", "");
    if (key_role_parse(a->role) == ROLE_NONE)
        return usage_error("--role must be reader, analyst or admin, not ", a->role);
    if (key_store_edit(path, true, add_key, &add, &err) < 0)
        return fail(err.code == ERR_BAD_REQUEST ? 2 : 1, "", err.detail, "");
    int shown = printf("%s\n", add.secret);
    secret_wipe(add.secret, sizeof add.secret);
    if (shown < 0 || fflush(stdout)) {
        clearerr(stdout); /* this is all that there is to say */
        return fail(1, "the key could not be printed; revoke ", a->name, " and make it anew");
    }
    if (isatty(STDOUT_FILENO)) /* in a script nobody needs to be told */
        fprintf(stderr, "This is the key of \"%s\". Only its hash is stored: it is not shown again.\n", a->name);
    return 0;
}

/* ---- list ---- */

static void put_limit(const char *name, int64_t value)
{
    if (value != KEYFILE_NONE)
        printf(" %s=%" PRId64, name, value);
}

static void put_unit(const char *name, int64_t value, void (*format)(int64_t, char *))
{
    char text[UNITS_TEXT_MAX];
    if (value == KEYFILE_NONE)
        return;
    format(value, text);
    printf(" %s=%s", name, text);
}

static void print_key(const struct key_entry *e, int width)
{
    char created[KEY_TIME_BYTES] = "-", expires[KEY_TIME_BYTES] = "-";
    if (e->created_s != KEYFILE_NONE)
        key_time_format(e->created_s, created);
    if (e->expires_s != KEYFILE_NONE)
        key_time_format(e->expires_s, expires);
    bool expired = e->expires_s != KEYFILE_NONE && e->expires_s <= (int64_t)time(NULL);
    printf("%-*s  %-7s  %-8s  %-20s  %-20s", width, e->name, key_role_text(e->role), e->hint[0] ? e->hint : "-", created, expires);
    if (expired)
        fputs(" (expired)", stdout);
    put_limit("concurrency", e->concurrency);
    put_limit("queue", e->queue);
    put_limit("share", e->share);
    put_limit("rate", e->rate);
    put_limit("burst", e->burst);
    put_unit("timeout_max", e->timeout_max_ms, units_format_duration);
    put_unit("memory", e->memory_bytes, units_format_size);
    if (e->sources)
        printf(" sources=%s", e->sources);
    putchar('\n');
}

static int key_list(const char *path)
{
    struct keyfile *keys;
    struct error err;
    int width = 4;
    if (key_store_load(path, &keys, &err) < 0)
        return fail(err.code == ERR_BAD_REQUEST ? 2 : 1, "", err.detail, "");
    for (size_t i = 0; i < keys->count; i++)
        if ((int)strlen(keys->keys[i].name) > width)
            width = (int)strlen(keys->keys[i].name);
    printf("%-*s  %-7s  %-8s  %-20s  %-20s limits\n", width, "name", "role", "key", "created", "expires");
    for (size_t i = 0; i < keys->count; i++)
        print_key(&keys->keys[i], width);
    keyfile_free(keys);
    return fflush(stdout) || ferror(stdout) ? 1 : 0;
}

/* ---- revoke ---- */

/* Where the section's last field ends: comments behind it belong to the next key. */
static size_t end_of_fields(const char *text, const struct key_entry *e)
{
    size_t end = e->begin;
    for (size_t at = e->begin; at < e->end;) {
        size_t next = (size_t)((const char *)memchr(text + at, '\n', e->end - at) - text) + 1;
        size_t blanks = strspn(text + at, " \t");
        if (!strchr("#;\r\n", text[at + blanks]))
            end = next;
        at = next;
    }
    return end;
}

static int drop_key(void *ctx, const struct keyfile *keys, const char *text, size_t len, struct buf *out, struct error *err)
{
    const struct key_entry *e = keyfile_find(keys, ctx);
    if (!e)
        return error_set(err, ERR_NOT_FOUND, "there is no key [%s]; `bulkhead key list` shows them", (const char *)ctx);
    size_t end = end_of_fields(text, e);
    CHECK(buf_append(out, text, e->begin) && buf_append(out, text + end, len - end));
    if (out->len == 0)
        CHECK(buf_puts(out, "# no keys\n"));
    return 0;
}

static int key_revoke(const struct key_args *a, const char *path)
{
    struct error err;
    CHECK(a->name); /* cmd_key has looked */
    char *name = strdup(a->name);
    CHECK(name);
    int r = key_store_edit(path, false, drop_key, name, &err);
    free(name);
    if (r < 0)
        return fail(err.code == ERR_BAD_REQUEST ? 2 : 1, "", err.detail, "");
    printf("revoked %s\n", a->name); /* a name that is in the file has no control characters */
    return fflush(stdout) ? 1 : 0;
}

static int run(const struct key_args *a, const char *path)
{
    if (!strcmp(a->verb, "list"))
        return key_list(path);
    return strcmp(a->verb, "new") ? key_revoke(a, path) : key_new(a, path);
}

int cmd_key(int argc, char **argv)
{
    struct key_args a = {0};
    int code = parse(argc, argv, &a);
    if (code >= 0)
        return code;
    if (!a.verb)
        return usage_error("say new, list or revoke", "");
    bool is_new = !strcmp(a.verb, "new"), is_revoke = !strcmp(a.verb, "revoke");
    if (!is_new && !is_revoke && strcmp(a.verb, "list") != 0)
        return usage_error("new, list or revoke, not ", a.verb);
    if ((is_new || is_revoke) != !!a.name)
        return usage_error(a.name ? "list takes no name: " : "the key's name is missing", a.name ? a.name : "");
    if (!is_new && (a.role || a.limit_count))
        return usage_error("roles and limits are for `key new`", "");
    char *path = find_file(&a);
    if (!path)
        return 2;
    code = run(&a, path);
    free(path);
    return code;
}
