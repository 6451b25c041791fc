/* Binding JSON parameters to a prepared statement: an array for $1, $2, ? and an object for $name. Runs in the worker. */
#include "engine/params_shape.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PARAMS_MAX 10000

int param_error(struct binder *b, const char *fmt, ...)
{
    char text[1400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return error_set(b->err, ERR_BAD_REQUEST, "parameter $%.64s: %s", b->name, text);
}

static int bind_one(struct binder *b, duckdb_prepared_statement statement, idx_t index, const char *name, const json_t *json)
{
    struct shape s;
    b->name = name;
    if (shape_of(b, json, 0, &s) < 0)
        return -1;
    duckdb_value v = shape_value(b, &s, json);
    shape_release(&s);
    if (!v)
        return -1;
    duckdb_state state = duckdb_bind_value(statement, index, v);
    duckdb_destroy_value(&v);
    return state == DuckDBSuccess ? 0 : param_error(b, "%s", "the engine does not take the value");
}

static bool all_digits(const char *s)
{
    while (isdigit((unsigned char)*s))
        s++;
    return !*s;
}

/* Case does not matter in names, as everywhere in the engine. */
static const json_t *find_named(const json_t *object, const char *name)
{
    const char *key;
    json_t *value;
    const json_t *exact = json_object_get(object, name);
    if (exact)
        return exact;
    json_object_foreach((json_t *)object, key, value) if (strcasecmp(key, name) == 0) return value;
    return NULL;
}

/* There are more values than parameters: which one is too many? */
static int superfluous(struct binder *b, duckdb_prepared_statement statement, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool known = false;
        for (idx_t i = 1; !known && i <= duckdb_nparams(statement); i++) {
            const char *name = duckdb_parameter_name(statement, i);
            known = name && strcasecmp(name, key) == 0;
            duckdb_free((void *)name);
        }
        if (!known)
            return error_set(b->err, ERR_BAD_REQUEST, "the statement has no parameter $%.64s", key);
    }
    return error_set(b->err, ERR_BAD_REQUEST, "a parameter is given twice: its names differ in upper and lower case only");
}

static int bind_object(struct binder *b, duckdb_prepared_statement statement, const json_t *object)
{
    idx_t count = duckdb_nparams(statement), bound = 0;
    for (idx_t i = 1; i <= count; i++) {
        const char *name = duckdb_parameter_name(statement, i);
        const json_t *value = name ? find_named(object, name) : NULL;
        int rc = 0;
        if (name && !value)
            rc = error_set(b->err, ERR_BAD_REQUEST, "parameter $%.64s has no value", name);
        else if (name)
            rc = bind_one(b, statement, i, name, value);
        else
            rc = error_set(b->err, ERR_BAD_REQUEST, "parameters must be numbered from $1 without gaps");
        duckdb_free((void *)name);
        if (rc < 0)
            return -1;
        bound++;
    }
    return json_object_size(object) > bound ? superfluous(b, statement, object) : 0;
}

/* Whether the statement's parameters go by number. -1 with an error: numbers with gaps. */
static int is_positional(struct binder *b, duckdb_prepared_statement statement)
{
    const char *name = duckdb_parameter_name(statement, 1);
    int positional = name ? all_digits(name) : -1;
    duckdb_free((void *)name);
    if (positional < 0)
        return error_set(b->err, ERR_BAD_REQUEST, "parameters must be numbered from $1 without gaps");
    return positional;
}

static int bind_array(struct binder *b, duckdb_prepared_statement statement, const json_t *array)
{
    idx_t count = duckdb_nparams(statement);
    size_t given = json_array_size(array);
    int positional = count > 0 ? is_positional(b, statement) : 1;
    if (positional < 0)
        return -1;
    if (!positional)
        return error_set(b->err, ERR_BAD_REQUEST, "the statement has named parameters: give an object instead of an array");
    if (given != count)
        return error_set(b->err, ERR_BAD_REQUEST, "the statement has %zu parameters, %zu values are given", (size_t)count, given);
    for (idx_t i = 1; i <= count; i++) {
        const char *name = duckdb_parameter_name(statement, i);
        int rc = name ? bind_one(b, statement, i, name, json_array_get(array, i - 1))
                      : error_set(b->err, ERR_BAD_REQUEST, "parameters must be numbered from $1 without gaps");
        duckdb_free((void *)name);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Nothing given, or JSON's null. */
static int bind_none(struct binder *b, duckdb_prepared_statement statement)
{
    idx_t count = duckdb_nparams(statement);
    if (count == 0)
        return 0;
    return error_set(b->err, ERR_BAD_REQUEST, "the statement has %zu parameter%s, no values are given", (size_t)count, count == 1 ? "" : "s");
}

int params_bind(struct engine *e, duckdb_prepared_statement statement, const char *json, size_t len, struct error *err)
{
    struct binder *b = calloc(1, sizeof *b);
    json_error_t where;
    int rc;
    CHECK(b);
    b->engine = e;
    b->err = err;
    duckdb_clear_bindings(statement);
    json_t *params = json ? json_loadb(json, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &where) : NULL;
    if (json && !params)
        rc = error_set(err, ERR_BAD_REQUEST, "the parameters are not valid JSON: %s", where.text);
    else if (duckdb_nparams(statement) > PARAMS_MAX)
        rc = error_set(err, ERR_BAD_REQUEST, "more than %d parameters", PARAMS_MAX);
    else if (!params || json_is_null(params))
        rc = bind_none(b, statement);
    else if (json_is_array(params))
        rc = bind_array(b, statement, params);
    else if (json_is_object(params))
        rc = bind_object(b, statement, params);
    else
        rc = error_set(err, ERR_BAD_REQUEST, "the parameters must be an array or an object");
    casters_release(b);
    json_decref(params);
    free(b);
    return rc;
}
