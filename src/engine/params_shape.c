/* JSON to typed values (see the header). Runs in the worker. */
#include "engine/params_shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool param_is_explicit(const json_t *json, const char **ret_type, const json_t **ret_value)
{
    if (!json_is_object(json) || json_object_size(json) != 2)
        return false;
    const json_t *type = json_object_get(json, "type"), *value = json_object_get(json, "value");
    if (!json_is_string(type) || !value)
        return false;
    *ret_type = json_string_value(type);
    *ret_value = value;
    return true;
}

static bool parse_hugeint(const char *s, duckdb_hugeint *ret_huge)
{
    bool negative = *s == '-';
    unsigned __int128 n = 0, limit = ((unsigned __int128)1 << 127) - !negative;
    const char *d = s + negative;
    if (!*d)
        return false;
    for (; *d; d++) {
        if (*d < '0' || *d > '9')
            return false;
        unsigned digit = (unsigned)(*d - '0');
        if (n > (limit - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    if (negative)
        n = -n;
    *ret_huge = (duckdb_hugeint){.lower = (uint64_t)n, .upper = (int64_t)(n >> 64)};
    return true;
}

static bool parse_double(const char *s, double *ret_double)
{
    char *end;
    if (!strchr("-0123456789", *s) || !*s || strpbrk(s, "xX"))
        return false;
    *ret_double = strtod(s, &end);
    return !*end && isfinite(*ret_double);
}

static bool without_nul(const json_t *json) { return json_is_string(json) && strlen(json_string_value(json)) == json_string_length(json); }

/* The kinds whose values need no cast by the engine. Numbers too long for JSON's integers come from the front in this form. */
static enum shape_kind explicit_kind(const char *type, const json_t *value)
{
    duckdb_hugeint h;
    double d;
    const char *text = without_nul(value) ? json_string_value(value) : NULL;
    if (strcasecmp(type, "BIGINT") == 0 && json_is_integer(value))
        return SHAPE_BIGINT;
    if (strcasecmp(type, "HUGEINT") == 0 && text && parse_hugeint(text, &h))
        return SHAPE_HUGEINT;
    if (strcasecmp(type, "DOUBLE") == 0 && (json_is_real(value) || (text && parse_double(text, &d))))
        return SHAPE_DOUBLE;
    return strcasecmp(type, "VARCHAR") == 0 && json_is_string(value) ? SHAPE_VARCHAR : SHAPE_CAST;
}

void shape_release(struct shape *s)
{
    for (size_t i = 0; i < s->count; i++)
        shape_release(&s->children[i]);
    free(s->children);
    free(s->names);
    *s = (struct shape){0};
}

static const char *kind_text(const struct binder *b, const struct shape *s)
{
    static const char *const text[] = {"NULL", "BOOLEAN", "BIGINT", "HUGEINT", "DOUBLE", "VARCHAR", "LIST", "STRUCT"};
    return s->kind == SHAPE_CAST ? b->casters[s->caster].text : text[s->kind];
}

static int merge(struct binder *b, struct shape *into, struct shape *from);

static int merge_structs(struct binder *b, struct shape *into, struct shape *from)
{
    bool same = into->count == from->count;
    for (size_t i = 0; same && i < into->count; i++) {
        size_t at = 0;
        while (at < from->count && strcmp(from->names[at], into->names[i]) != 0)
            at++;
        same = at < from->count;
        if (same && merge(b, &into->children[i], &from->children[at]) < 0)
            return -1;
    }
    return same ? 0 : param_error(b, "the objects in a list must all have the same keys");
}

/* The shape both fit into, in `into`; what `from` holds may move there. */
static int merge(struct binder *b, struct shape *into, struct shape *from)
{
    if (from->kind == SHAPE_NULL)
        return 0;
    if (into->kind == SHAPE_NULL) {
        *into = *from;
        *from = (struct shape){0};
        return 0;
    }
    bool numbers = into->kind >= SHAPE_BIGINT && into->kind <= SHAPE_DOUBLE && from->kind >= SHAPE_BIGINT && from->kind <= SHAPE_DOUBLE;
    if (numbers) {
        if (from->kind > into->kind)
            into->kind = from->kind;
        return 0;
    }
    if (into->kind != from->kind || (into->kind == SHAPE_CAST && into->caster != from->caster))
        return param_error(b, "the elements of a list must have one type, these are %s and %s", kind_text(b, into), kind_text(b, from));
    if (into->kind == SHAPE_LIST)
        return merge(b, &into->children[0], &from->children[0]);
    return into->kind == SHAPE_STRUCT ? merge_structs(b, into, from) : 0;
}

static int shape_of_list(struct binder *b, const json_t *json, int depth, struct shape *s)
{
    s->kind = SHAPE_LIST;
    s->count = 1;
    s->children = calloc(1, sizeof *s->children);
    CHECK(s->children);
    for (size_t i = 0; i < json_array_size(json); i++) {
        struct shape one = {0};
        int rc = shape_of(b, json_array_get(json, i), depth + 1, &one);
        if (rc == 0)
            rc = merge(b, &s->children[0], &one);
        shape_release(&one);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int shape_of_struct(struct binder *b, const json_t *json, int depth, struct shape *s)
{
    size_t count = json_object_size(json);
    const char *key;
    json_t *value;
    if (count == 0)
        return param_error(b, "an empty object has no STRUCT type");
    if (count > PARAM_FIELDS_MAX)
        return param_error(b, "an object may have at most %d keys", PARAM_FIELDS_MAX);
    s->kind = SHAPE_STRUCT;
    s->children = calloc(count, sizeof *s->children);
    s->names = calloc(count, sizeof *s->names);
    CHECK(s->children && s->names);
    json_object_foreach((json_t *)json, key, value)
    {
        for (size_t i = 0; i < s->count; i++)
            if (strcasecmp(s->names[i], key) == 0)
                return param_error(b, "the keys \"%.64s\" and \"%.64s\" of an object differ only in case", s->names[i], key);
        if (!key[0])
            return param_error(b, "an object has an empty key");
        s->names[s->count] = key;
        if (shape_of(b, value, depth + 1, &s->children[s->count++]) < 0)
            return -1;
    }
    return 0;
}

static int shape_fill(struct binder *b, const json_t *json, int depth, struct shape *s)
{
    const char *type;
    const json_t *value;
    if (depth > PARAM_DEPTH_MAX)
        return param_error(b, "nested deeper than %d levels", PARAM_DEPTH_MAX);
    if (param_is_explicit(json, &type, &value)) {
        if (!without_nul(json_object_get(json, "type")))
            return param_error(b, "\"%.200s\", with a NUL in it, is not the name of a type", type);
        s->kind = explicit_kind(type, value);
        int caster = s->kind == SHAPE_CAST ? caster_get(b, type) : 0;
        s->caster = (unsigned)caster;
        return caster < 0 ? -1 : 0;
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT: return shape_of_struct(b, json, depth, s);
    case JSON_ARRAY: return shape_of_list(b, json, depth, s);
    case JSON_STRING: s->kind = SHAPE_VARCHAR; break;
    case JSON_INTEGER: s->kind = SHAPE_BIGINT; break;
    case JSON_REAL: s->kind = SHAPE_DOUBLE; break;
    case JSON_TRUE:
    case JSON_FALSE: s->kind = SHAPE_BOOLEAN; break;
    case JSON_NULL: s->kind = SHAPE_NULL; break;
    }
    return 0;
}

int shape_of(struct binder *b, const json_t *json, int depth, struct shape *ret_shape)
{
    struct shape s = {0};
    if (shape_fill(b, json, depth, &s) < 0) {
        shape_release(&s);
        return -1;
    }
    *ret_shape = s;
    return 0;
}

static duckdb_logical_type shape_type(const struct binder *b, const struct shape *s)
{
    static const duckdb_type plain[] = {DUCKDB_TYPE_SQLNULL, DUCKDB_TYPE_BOOLEAN, DUCKDB_TYPE_BIGINT,
                                        DUCKDB_TYPE_HUGEINT, DUCKDB_TYPE_DOUBLE,  DUCKDB_TYPE_VARCHAR};
    if (s->kind < SHAPE_LIST)
        return duckdb_create_logical_type(plain[s->kind]);
    duckdb_logical_type *types = calloc(s->count + 1, sizeof *types);
    duckdb_logical_type t;
    CHECK(types);
    for (size_t i = 0; i < s->count; i++)
        types[i] = shape_type(b, &s->children[i]);
    if (s->kind == SHAPE_LIST) {
        t = duckdb_create_list_type(types[0]);
    } else if (s->kind == SHAPE_STRUCT) {
        t = duckdb_create_struct_type(types, s->names, s->count);
    } else { /* there is no copy: a list of the type, and its element's type */
        duckdb_logical_type list = duckdb_create_list_type(b->casters[s->caster].type);
        t = duckdb_list_type_child_type(list);
        duckdb_destroy_logical_type(&list);
    }
    for (size_t i = 0; i < s->count; i++)
        duckdb_destroy_logical_type(&types[i]);
    free(types);
    return t;
}

static void values_free(duckdb_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (values[i])
            duckdb_destroy_value(&values[i]);
    free(values);
}

static duckdb_value list_value(struct binder *b, const struct shape *s, const json_t *json)
{
    size_t count = json_array_size(json);
    duckdb_value *values = calloc(count + 1, sizeof *values), v = NULL;
    CHECK(values);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = (values[i] = shape_value(b, &s->children[0], json_array_get(json, i))) != NULL;
    if (ok) {
        duckdb_logical_type element = shape_type(b, &s->children[0]);
        v = duckdb_create_list_value(element, values, count);
        duckdb_destroy_logical_type(&element);
        if (!v)
            param_error(b, "the engine makes no list of it");
    }
    values_free(values, count);
    return v;
}

static duckdb_value struct_value(struct binder *b, const struct shape *s, const json_t *json)
{
    duckdb_value *values = calloc(s->count + 1, sizeof *values), v = NULL;
    CHECK(values);
    bool ok = true;
    for (size_t i = 0; ok && i < s->count; i++)
        ok = (values[i] = shape_value(b, &s->children[i], json_object_get(json, s->names[i]))) != NULL;
    if (ok) {
        duckdb_logical_type type = shape_type(b, s);
        v = duckdb_create_struct_value(type, values);
        duckdb_destroy_logical_type(&type);
        if (!v)
            param_error(b, "the engine makes no struct of it");
    }
    values_free(values, s->count);
    return v;
}

/* `json` is a number, or the explicit form of one, whose text was seen to be a number when the shape was made. */
static duckdb_value number_value(const struct shape *s, const json_t *json)
{
    const char *type;
    const json_t *value = json;
    param_is_explicit(json, &type, &value);
    const char *text = json_string_value(value);
    if (s->kind == SHAPE_DOUBLE)
        return duckdb_create_double(text ? strtod(text, NULL) : json_number_value(value));
    int64_t i = json_integer_value(value);
    duckdb_hugeint h = {.lower = (uint64_t)i, .upper = i < 0 ? -1 : 0};
    if (text)
        CHECK(parse_hugeint(text, &h));
    return s->kind == SHAPE_HUGEINT ? duckdb_create_hugeint(h) : duckdb_create_int64(i);
}

duckdb_value shape_value(struct binder *b, const struct shape *s, const json_t *json)
{
    const char *type;
    const json_t *value = json;
    if (json_is_null(json))
        return duckdb_create_null_value();
    switch (s->kind) {
    case SHAPE_NULL: return duckdb_create_null_value();
    case SHAPE_BOOLEAN: return duckdb_create_bool(json_is_true(json));
    case SHAPE_BIGINT:
    case SHAPE_HUGEINT:
    case SHAPE_DOUBLE: return number_value(s, json);
    case SHAPE_VARCHAR:
        param_is_explicit(json, &type, &value);
        return duckdb_create_varchar_length(json_string_value(value), json_string_length(value));
    case SHAPE_LIST: return list_value(b, s, json);
    case SHAPE_STRUCT: return struct_value(b, s, json);
    case SHAPE_CAST: break;
    }
    param_is_explicit(json, &type, &value);
    return caster_value(b, s->caster, value);
}
