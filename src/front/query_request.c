/* The body of POST /v1/query as a checked value. Runs in the front. */
#include "front/query_request.h"
#include "core/source.h"
#include "front/query_sources.h"
#include "core/units.h"
#include "core/utf8.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int64_t query_request_bytes(const struct query_limits *limits) { return 2 * limits->max_sql_bytes; }

void query_request_clear(struct query_request *r)
{
    free(r->sql);
    free(r->params);
    free(r->session);
    free(r->sources);
    free(r->destination_source);
    free(r->destination_path);
    *r = (struct query_request){0};
}

static int set_timeout(const char *text, const struct query_limits *limits, struct query_request *r, struct error *err)
{
    int64_t ms;
    const char *wrong = units_parse_duration(text, &ms);
    if (wrong)
        return error_set(err, ERR_BAD_REQUEST, "timeout '%.40s' %s", text, wrong);
    if (ms <= 0)
        return error_set(err, ERR_BAD_REQUEST, "timeout must be greater than 0");
    if (ms > limits->timeout_max_ms) {
        char max[UNITS_TEXT_MAX];
        units_format_duration(limits->timeout_max_ms, max);
        return error_set(err, ERR_BAD_REQUEST, "timeout '%.40s' is longer than %s of %s (%lld ms)", text, limits->timeout_max_name, max,
                         (long long)limits->timeout_max_ms);
    }
    r->timeout_ms = ms;
    return 0;
}

static int set_format(const char *text, struct query_request *r, struct error *err)
{
    r->format = format_by_name(text);
    if (r->format == FORMAT_COUNT)
        return error_set(err, ERR_BAD_REQUEST, "format '%.40s' is unknown; available: json, ndjson, csv, arrow, parquet", text);
    return 0;
}

static int set_sql(const char *text, size_t len, const struct query_limits *limits, struct query_request *r, struct error *err)
{
    if (len > (size_t)limits->max_sql_bytes) {
        error_set(err, ERR_PAYLOAD_TOO_LARGE, "the statement has %zu bytes, the limit (max_sql_bytes) is %lld", len,
                  (long long)limits->max_sql_bytes);
        err->limit_bytes = limits->max_sql_bytes;
        return -1;
    }
    if (!utf8_valid(text, len))
        return error_set(err, ERR_BAD_REQUEST, "the statement is not valid UTF-8");
    if (memchr(text, 0, len))
        return error_set(err, ERR_BAD_REQUEST, "the statement contains a NUL character");
    free(r->sql);
    r->sql = malloc(len + 1);
    CHECK(r->sql);
    memcpy(r->sql, text, len);
    r->sql[len] = 0;
    r->sql_len = len;
    return 0;
}

static int set_max_rows(json_t *v, struct query_request *r, struct error *err)
{
    if (!json_is_integer(v) || json_integer_value(v) < 1)
        return error_set(err, ERR_BAD_REQUEST, "max_rows must be a whole number greater than 0");
    r->max_rows = (uint64_t)json_integer_value(v);
    return 0;
}

static int set_params(json_t *v, struct query_request *r, struct error *err)
{
    if (!json_is_array(v) && !json_is_object(v))
        return error_set(err, ERR_BAD_REQUEST, "params must be an array (positional) or an object (named)");
    if (json_is_array(v) ? json_array_size(v) == 0 : json_object_size(v) == 0)
        return 0;
    r->params = json_dumps(v, JSON_COMPACT);
    CHECK(r->params);
    r->params_len = strlen(r->params);
    return 0;
}

static int need_string(json_t *v, const char *key, struct error *err)
{
    if (!json_is_string(v))
        return error_set(err, ERR_BAD_REQUEST, "%s must be a string", key);
    /* Behind a NUL nobody would look. (set_sql has its own words for it.) */
    if (strcmp(key, "sql") != 0 && strlen(json_string_value(v)) != json_string_length(v))
        return error_set(err, ERR_BAD_REQUEST, "%s contains a NUL character", key);
    return 0;
}

static int set_big_numbers(const char *text, struct query_request *r, struct error *err)
{
    r->big_numbers_as_text = text && strcmp(text, "string") == 0;
    if (r->big_numbers_as_text || (text && strcmp(text, "number") == 0))
        return 0;
    return error_set(err, ERR_BAD_REQUEST, "big_numbers must be 'number' or 'string'");
}

static int set_session(const char *text, struct query_request *r)
{
    free(r->session);
    r->session = strdup(text);
    CHECK(r->session);
    return 0;
}

int query_request_sources(json_t *v, char **ret_set, struct error *err)
{
    const char *names[SOURCES_PER_SET + 1];
    char set[SOURCE_SET_BYTES];
    size_t n = 0, i;
    json_t *name;
    if (!json_is_array(v))
        return error_set(err, ERR_BAD_REQUEST, "sources must be an array of sources' names");
    json_array_foreach(v, i, name)
    {
        if (!json_is_string(name) || strlen(json_string_value(name)) != json_string_length(name))
            return error_set(err, ERR_BAD_REQUEST, "sources must be an array of sources' names");
        if (n < SOURCES_PER_SET + 1)
            names[n++] = json_string_value(name);
    }
    if (source_set_make(names, n, set, err) < 0)
        return -1;
    if (n > 0) {
        *ret_set = strdup(set);
        CHECK(*ret_set);
    }
    return 0;
}

static int set_destination(json_t *v, struct query_request *r, struct error *err)
{
    const char *key;
    json_t *text;
    if (!json_is_object(v))
        return error_set(err, ERR_BAD_REQUEST, "destination must be an object with the fields 'source' and 'path'");
    json_object_foreach(v, key, text)
    {
        char **field = strcmp(key, "source") == 0 ? &r->destination_source : strcmp(key, "path") == 0 ? &r->destination_path : NULL;
        if (!field)
            return error_set(err, ERR_BAD_REQUEST, "unknown field '%.60s' in destination; known: source, path", key);
        if (need_string(text, key, err) < 0)
            return -1;
        free(*field);
        *field = strdup(json_string_value(text));
        CHECK(*field);
    }
    return r->destination_source && r->destination_path ? 0 : error_set(err, ERR_BAD_REQUEST, "destination needs the fields 'source' and 'path'");
}

/* One member of the body. */
static int take(const char *key, json_t *v, const struct query_limits *limits, struct query_request *r, struct error *err)
{
    if (strcmp(key, "sql") == 0)
        return need_string(v, key, err) < 0 ? -1 : set_sql(json_string_value(v), json_string_length(v), limits, r, err);
    if (strcmp(key, "params") == 0)
        return json_is_null(v) ? 0 : set_params(v, r, err);
    if (strcmp(key, "timeout") == 0)
        return need_string(v, key, err) < 0 ? -1 : set_timeout(json_string_value(v), limits, r, err);
    if (strcmp(key, "format") == 0)
        return need_string(v, key, err) < 0 ? -1 : set_format(json_string_value(v), r, err);
    if (strcmp(key, "max_rows") == 0)
        return set_max_rows(v, r, err);
    if (strcmp(key, "big_numbers") == 0)
        return need_string(v, key, err) < 0 ? -1 : set_big_numbers(json_string_value(v), r, err);
    if (strcmp(key, "session") == 0)
        return need_string(v, key, err) < 0 ? -1 : set_session(json_string_value(v), r);
    if (strcmp(key, "sources") == 0)
        return query_request_sources(v, &r->sources, err);
    if (strcmp(key, "destination") == 0 && limits->destination)
        return set_destination(v, r, err);
    if (strcmp(key, "wait") == 0) {
        r->wait = json_is_true(v);
        return json_is_boolean(v) ? 0 : error_set(err, ERR_BAD_REQUEST, "wait must be true or false");
    }
    if (strcmp(key, "profile") == 0) {
        r->profile = json_is_true(v);
        return json_is_boolean(v) ? 0 : error_set(err, ERR_BAD_REQUEST, "profile must be true or false");
    }
    return error_set(err, ERR_BAD_REQUEST,
                     "unknown field '%.60s'; known: sql, params, timeout, format, max_rows, big_numbers, session, sources, wait, profile%s", key,
                     limits->destination ? ", destination" : "");
}

/* Written out again, parameters may be longer than they came: 1e-7 takes 22 bytes. */
static int check_size(const struct query_request *r, const struct query_limits *limits, struct error *err)
{
    int64_t max = query_request_bytes(limits);
    if (r->sql_len + r->params_len <= (size_t)max)
        return 0;
    error_set(err, ERR_PAYLOAD_TOO_LARGE, "statement and parameters have %zu bytes, the limit (twice max_sql_bytes) is %lld",
              r->sql_len + r->params_len, (long long)max);
    err->limit_bytes = max;
    return -1;
}

int query_request_from_json(const char *body, size_t len, const struct query_limits *limits, struct query_request *ret, struct error *err)
{
    size_t exact_len = len;
    char *exact = query_request_wide_integers(body, len, &exact_len);
    json_error_t at;
    json_t *root = json_loadb(exact ? exact : body, exact_len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    free(exact);
    if (!root)
        return error_set(err, ERR_BAD_REQUEST, "the body is not valid JSON: line %d, column %d: %s", at.line, at.column, at.text);
    struct query_request r = {.timeout_ms = limits->timeout_ms, .format = FORMAT_COUNT};
    int ok = json_is_object(root) ? 0 : error_set(err, ERR_BAD_REQUEST, "the body must be a JSON object with the field 'sql'");
    const char *key;
    json_t *v;
    if (ok == 0)
        json_object_foreach(root, key, v) if ((ok = take(key, v, limits, &r, err)) < 0) break;
    json_decref(root);
    if (ok == 0 && !r.sql)
        ok = error_set(err, ERR_BAD_REQUEST, "the field 'sql' is missing");
    if (ok == 0)
        ok = check_size(&r, limits, err);
    if (ok == 0 && r.session && r.sources)
        ok = error_set(err, ERR_BAD_REQUEST, "session and sources exclude each other: a session has the sources that it was opened with");
    if (ok == 0 && r.wait && !r.session)
        ok = error_set(err, ERR_BAD_REQUEST, "wait is for queries in a session");
    if (ok < 0) {
        query_request_clear(&r);
        return -1;
    }
    *ret = r;
    return 0;
}

int query_request_from_text(const char *body, size_t len, const struct query_texts *texts, const struct query_limits *limits,
                            struct query_request *ret, struct error *err)
{
    struct query_request r = {.timeout_ms = limits->timeout_ms, .format = FORMAT_COUNT};
    int64_t rows = 0;
    int ok = set_sql(body, len, limits, &r, err);
    if (ok == 0 && texts->timeout)
        ok = set_timeout(texts->timeout, limits, &r, err);
    if (ok == 0 && texts->format)
        ok = set_format(texts->format, &r, err);
    if (ok == 0 && texts->big_numbers)
        ok = set_big_numbers(texts->big_numbers, &r, err);
    if (ok == 0 && texts->session)
        ok = set_session(texts->session, &r);
    if (ok == 0 && texts->profile && strcmp(texts->profile, "0") != 0 && strcmp(texts->profile, "1") != 0)
        ok = error_set(err, ERR_BAD_REQUEST, "profile must be 0 or 1");
    r.profile = texts->profile && texts->profile[0] == '1';
    if (ok == 0 && texts->max_rows && (units_parse_int(texts->max_rows, &rows) || rows < 1))
        ok = error_set(err, ERR_BAD_REQUEST, "max_rows must be a whole number greater than 0");
    if (ok < 0) {
        query_request_clear(&r);
        return -1;
    }
    r.max_rows = (uint64_t)rows;
    *ret = r;
    return 0;
}
