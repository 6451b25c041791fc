/* The type that a JSON value gets as a parameter, and the value in that type. Only for files of src/engine. Runs in the worker.
 * Two passes over the JSON: the shape first (a list's elements agree on one), then the value. */
#pragma once
#include "engine/engine_private.h"
#include <jansson.h>

#define PARAM_DEPTH_MAX 32    /* lists in lists in structs ... */
#define PARAM_FIELDS_MAX 1000 /* of one object */
#define PARAM_CASTERS_MAX 64  /* different explicit types in one request */

enum shape_kind { SHAPE_NULL, SHAPE_BOOLEAN, SHAPE_BIGINT, SHAPE_HUGEINT, SHAPE_DOUBLE, SHAPE_VARCHAR, SHAPE_LIST, SHAPE_STRUCT, SHAPE_CAST };

struct shape {
    enum shape_kind kind;
    unsigned caster;        /* SHAPE_CAST: index */
    size_t count;           /* LIST: 1, STRUCT: fields */
    struct shape *children; /* owned */
    const char **names;     /* STRUCT; the array is owned, the texts are the JSON's */
};

/* An explicit type that appeared: the statement SELECT CAST($1 AS type). */
struct caster {
    char *text;
    duckdb_prepared_statement statement;
    duckdb_logical_type type;
};

struct binder {
    struct engine *engine;
    struct error *err;
    const char *name; /* of the parameter at work, for messages */
    unsigned caster_count;
    struct caster casters[PARAM_CASTERS_MAX];
};

/* 0, or -1 with b->err. On success the caller frees with shape_release. */
int shape_of(struct binder *b, const json_t *json, int depth, struct shape *ret_shape);
void shape_release(struct shape *s);
/* The value of `json` in a shape that was made from it, or merged with it. NULL with b->err. */
duckdb_value shape_value(struct binder *b, const struct shape *s, const json_t *json);

/* {"type": text, "value": any} and nothing else. */
bool param_is_explicit(const json_t *json, const char **ret_type, const json_t **ret_value);

/* params_cast.c: explicit types. caster_get gives the index, or -1 with b->err. */
int caster_get(struct binder *b, const char *type);
duckdb_value caster_value(struct binder *b, unsigned caster, const json_t *value);
void casters_release(struct binder *b);
int param_error(struct binder *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
