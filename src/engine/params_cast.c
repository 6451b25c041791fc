/* Explicit types of parameters: the engine casts the value itself, by SELECT CAST($1 AS type). Runs in the worker. */
#include "engine/params_shape.h"
#include "engine/type_text.h"
#include "engine/vector_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int caster_make(struct binder *b, const char *text, struct caster *c)
{
    char sql[TYPE_TEXT_MAX + 64];
    struct error said;
    snprintf(sql, sizeof sql, "SELECT CAST($1 AS %s)", text);
    /* One statement or an error: this call takes no second one. */
    if (duckdb_prepare(b->engine->con, sql, &c->statement) != DuckDBSuccess) {
        failure_from_message(&said, duckdb_prepare_error(c->statement), 0, &b->engine->failure);
        duckdb_destroy_prepare(&c->statement);
        return param_error(b, "the type \"%.200s\" is not known: %.500s", text, said.detail);
    }
    c->text = strdup(text);
    CHECK(c->text);
    c->type = duckdb_prepared_statement_column_logical_type(c->statement, 0);
    return 0;
}

int caster_get(struct binder *b, const char *text)
{
    for (unsigned i = 0; i < b->caster_count; i++)
        if (strcasecmp(b->casters[i].text, text) == 0)
            return (int)i;
    if (b->caster_count == PARAM_CASTERS_MAX)
        return param_error(b, "more than %d different explicit types", PARAM_CASTERS_MAX);
    size_t len = strlen(text);
    if (!type_text_valid(text, len))
        return param_error(b, "\"%.200s\" is not the name of a type", text);
    if (caster_make(b, text, &b->casters[b->caster_count]) < 0)
        return -1;
    return (int)b->caster_count++;
}

/* The value before the cast. Objects and arrays for JSON are its text, everything else is what it would be without a type. */
static duckdb_value plain_value(struct binder *b, const struct caster *c, const json_t *value)
{
    struct shape s;
    const char *type;
    const json_t *inner;
    if (strcasecmp(c->text, "JSON") == 0 && !json_is_string(value)) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        CHECK(text);
        duckdb_value v = duckdb_create_varchar(text);
        free(text);
        return v;
    }
    if (param_is_explicit(value, &type, &inner)) {
        param_error(b, "an explicit type inside of an explicit type");
        return NULL;
    }
    if (shape_of(b, value, 1, &s) < 0)
        return NULL;
    duckdb_value v = shape_value(b, &s, value);
    shape_release(&s);
    return v;
}

static duckdb_value cast_result(struct binder *b, const struct caster *c, duckdb_result *r)
{
    duckdb_data_chunk chunk = duckdb_fetch_chunk(*r);
    duckdb_value v = NULL;
    if (chunk && duckdb_data_chunk_get_size(chunk) == 1)
        v = vector_value(c->type, duckdb_data_chunk_get_vector(chunk, 0), 0);
    if (chunk)
        duckdb_destroy_data_chunk(&chunk);
    if (!v)
        param_error(b, "a parameter cannot have the type \"%.200s\"", c->text);
    return v;
}

duckdb_value caster_value(struct binder *b, unsigned caster, const json_t *value)
{
    const struct caster *c = &b->casters[caster];
    struct error said;
    duckdb_result r;
    duckdb_value plain = plain_value(b, c, value), v = NULL;
    if (!plain)
        return NULL;
    duckdb_state bound = duckdb_bind_value(c->statement, 1, plain);
    duckdb_destroy_value(&plain);
    if (bound != DuckDBSuccess) {
        param_error(b, "the engine does not take it as %.200s", c->text);
        return NULL;
    }
    if (duckdb_execute_prepared(c->statement, &r) == DuckDBSuccess) {
        v = cast_result(b, c, &r);
    } else {
        if (failure_from_message(&said, duckdb_result_error(&r), (int)duckdb_result_error_type(&r), &b->engine->failure))
            b->engine->spent = true;
        if (said.code == ERR_SQL)
            param_error(b, "%.1000s", said.detail);
        else
            *b->err = said;
    }
    duckdb_destroy_result(&r);
    return v;
}

void casters_release(struct binder *b)
{
    for (unsigned i = 0; i < b->caster_count; i++) {
        free(b->casters[i].text);
        duckdb_destroy_logical_type(&b->casters[i].type);
        duckdb_destroy_prepare(&b->casters[i].statement);
    }
    b->caster_count = 0;
}
