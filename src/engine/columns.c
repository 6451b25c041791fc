/* DuckDB's result vectors seen as `struct column`. Runs in the worker.
 * Chunks that a result hands out are flat at every level: their columns are flattened at the top, and a streamed or
 * materialised chunk was copied there with its children. test/unit/test_columns.c checks that for constants inside structs. */
#include "engine/columns.h"
#include <stdlib.h>
#include <string.h>

#define TYPE_GEOMETRY 40 /* not in the 1.4 header */
#define TYPE_VARIANT 41

struct columns {
    uint32_t count;
    struct column *columns;
};

static enum column_type type_of(int id)
{
    static const enum column_type types[] = {
        [DUCKDB_TYPE_BOOLEAN] = COL_BOOLEAN,
        [DUCKDB_TYPE_TINYINT] = COL_TINYINT,
        [DUCKDB_TYPE_SMALLINT] = COL_SMALLINT,
        [DUCKDB_TYPE_INTEGER] = COL_INTEGER,
        [DUCKDB_TYPE_BIGINT] = COL_BIGINT,
        [DUCKDB_TYPE_UTINYINT] = COL_UTINYINT,
        [DUCKDB_TYPE_USMALLINT] = COL_USMALLINT,
        [DUCKDB_TYPE_UINTEGER] = COL_UINTEGER,
        [DUCKDB_TYPE_UBIGINT] = COL_UBIGINT,
        [DUCKDB_TYPE_FLOAT] = COL_FLOAT,
        [DUCKDB_TYPE_DOUBLE] = COL_DOUBLE,
        [DUCKDB_TYPE_TIMESTAMP] = COL_TIMESTAMP,
        [DUCKDB_TYPE_DATE] = COL_DATE,
        [DUCKDB_TYPE_TIME] = COL_TIME,
        [DUCKDB_TYPE_INTERVAL] = COL_INTERVAL,
        [DUCKDB_TYPE_HUGEINT] = COL_HUGEINT,
        [DUCKDB_TYPE_UHUGEINT] = COL_UHUGEINT,
        [DUCKDB_TYPE_VARCHAR] = COL_VARCHAR,
        [DUCKDB_TYPE_BLOB] = COL_BLOB,
        [DUCKDB_TYPE_DECIMAL] = COL_DECIMAL,
        [DUCKDB_TYPE_TIMESTAMP_S] = COL_TIMESTAMP_S,
        [DUCKDB_TYPE_TIMESTAMP_MS] = COL_TIMESTAMP_MS,
        [DUCKDB_TYPE_TIMESTAMP_NS] = COL_TIMESTAMP_NS,
        [DUCKDB_TYPE_ENUM] = COL_ENUM,
        [DUCKDB_TYPE_LIST] = COL_LIST,
        [DUCKDB_TYPE_STRUCT] = COL_STRUCT,
        [DUCKDB_TYPE_MAP] = COL_MAP,
        [DUCKDB_TYPE_ARRAY] = COL_ARRAY,
        [DUCKDB_TYPE_UUID] = COL_UUID,
        [DUCKDB_TYPE_UNION] = COL_UNION,
        [DUCKDB_TYPE_BIT] = COL_BIT,
        [DUCKDB_TYPE_TIME_TZ] = COL_TIME_TZ,
        [DUCKDB_TYPE_TIMESTAMP_TZ] = COL_TIMESTAMP_TZ,
        [DUCKDB_TYPE_BIGNUM] = COL_BIGNUM,
        [DUCKDB_TYPE_SQLNULL] = COL_SQLNULL,
        [DUCKDB_TYPE_TIME_NS] = COL_TIME_NS,
        [TYPE_GEOMETRY] = COL_GEOMETRY,
        [TYPE_VARIANT] = COL_VARIANT,
    };
    return id >= 0 && (size_t)id < sizeof(types) / sizeof(types[0]) ? types[id] : COL_INVALID;
}

static uint8_t storage_bytes(int physical)
{
    switch (physical) {
    case DUCKDB_TYPE_UTINYINT: return 1;
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_USMALLINT: return 2;
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_UINTEGER: return 4;
    case DUCKDB_TYPE_BIGINT: return 8;
    default: return 16;
    }
}

static void shape_free(struct column *c)
{
    for (uint32_t i = 0; i < c->child_count; i++)
        shape_free(&c->children[i]);
    for (uint32_t i = 0; c->enum_text && i < c->enum_count; i++)
        free((char *)c->enum_text[i]);
    free((void *)c->enum_text);
    free((void *)c->enum_length);
    free(c->children);
    free((char *)c->name);
    free((char *)c->type_name);
}

static bool children_new(struct column *c, uint32_t count)
{
    c->children = calloc(count ? count : 1, sizeof(*c->children));
    if (c->children)
        c->child_count = count;
    return c->children != NULL;
}

/* All of the shape but the type's name, which only the top level shows. */
static bool shape_set(struct column *c, duckdb_logical_type type, const char *name);

static bool child_set(struct column *child, duckdb_logical_type type, char *name)
{
    bool ok = shape_set(child, type, name ? name : "");
    duckdb_destroy_logical_type(&type);
    duckdb_free(name);
    return ok;
}

static bool enum_set(struct column *c, duckdb_logical_type type)
{
    uint32_t count = duckdb_enum_dictionary_size(type);
    char **text = calloc(count + 1, sizeof(*text));
    uint32_t *length = calloc(count + 1, sizeof(*length));
    c->enum_text = (const char *const *)text;
    c->enum_length = length;
    c->enum_count = count;
    if (!text || !length)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        char *value = duckdb_enum_dictionary_value(type, i);
        text[i] = strdup(value);
        duckdb_free(value);
        if (!text[i])
            return false;
        length[i] = (uint32_t)strlen(text[i]);
    }
    c->storage_bytes = storage_bytes(duckdb_enum_internal_type(type));
    return true;
}

static bool struct_set(struct column *c, duckdb_logical_type type)
{
    if (!children_new(c, (uint32_t)duckdb_struct_type_child_count(type)))
        return false;
    for (uint32_t i = 0; i < c->child_count; i++)
        if (!child_set(&c->children[i], duckdb_struct_type_child_type(type, i), duckdb_struct_type_child_name(type, i)))
            return false;
    return true;
}

static bool union_set(struct column *c, duckdb_logical_type type)
{
    if (!children_new(c, 1 + (uint32_t)duckdb_union_type_member_count(type)))
        return false;
    c->children[0].type = COL_UTINYINT;
    for (uint32_t i = 1; i < c->child_count; i++)
        if (!child_set(&c->children[i], duckdb_union_type_member_type(type, i - 1), duckdb_union_type_member_name(type, i - 1)))
            return false;
    return true;
}

static bool map_set(struct column *c, duckdb_logical_type type)
{
    if (!children_new(c, 1))
        return false;
    struct column *entry = &c->children[0];
    entry->type = COL_STRUCT;
    return children_new(entry, 2) && child_set(&entry->children[0], duckdb_map_type_key_type(type), NULL) &&
           child_set(&entry->children[1], duckdb_map_type_value_type(type), NULL);
}

static bool list_of(struct column *c, enum column_type type, enum column_type first, enum column_type second)
{
    c->type = COL_LIST;
    if (!children_new(c, 1))
        return false;
    c = &c->children[0];
    c->type = type;
    if (type != COL_STRUCT)
        return true;
    if (!children_new(c, 2))
        return false;
    c->children[0].type = first;
    c->children[1].type = second;
    return true;
}

static bool variant_set(struct column *c)
{
    if (!children_new(c, 4))
        return false;
    c->children[3].type = COL_BLOB;
    return list_of(&c->children[0], COL_VARCHAR, COL_INVALID, COL_INVALID) && list_of(&c->children[1], COL_STRUCT, COL_UINTEGER, COL_UINTEGER) &&
           list_of(&c->children[2], COL_STRUCT, COL_UTINYINT, COL_UINTEGER);
}

static bool is_json(duckdb_logical_type type)
{
    char *alias = duckdb_logical_type_get_alias(type);
    bool json = alias && strcmp(alias, "JSON") == 0;
    duckdb_free(alias);
    return json;
}

static bool shape_set(struct column *c, duckdb_logical_type type, const char *name)
{
    c->type = type_of((int)duckdb_get_type_id(type));
    c->name = strdup(name);
    if (!c->name)
        return false;
    switch (c->type) {
    case COL_VARCHAR:
        if (is_json(type))
            c->type = COL_JSON_TEXT;
        return true;
    case COL_DECIMAL:
        c->width = duckdb_decimal_width(type);
        c->scale = duckdb_decimal_scale(type);
        c->storage_bytes = storage_bytes(duckdb_decimal_internal_type(type));
        return true;
    case COL_ENUM: return enum_set(c, type);
    case COL_LIST: return children_new(c, 1) && child_set(&c->children[0], duckdb_list_type_child_type(type), NULL);
    case COL_ARRAY:
        c->array_size = duckdb_array_type_array_size(type);
        return children_new(c, 1) && child_set(&c->children[0], duckdb_array_type_child_type(type), NULL);
    case COL_STRUCT: return struct_set(c, type);
    case COL_MAP: return map_set(c, type);
    case COL_UNION: return union_set(c, type);
    case COL_VARIANT: return variant_set(c);
    default: return true;
    }
}

static bool column_set(struct column *c, duckdb_logical_type type, const char *name)
{
    return shape_set(c, type, name) && (c->type_name = columns_type_name(type)) != NULL;
}

static struct columns *columns_alloc(idx_t count)
{
    struct columns *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->columns = calloc(count ? count : 1, sizeof(*c->columns));
    c->count = (uint32_t)count;
    if (!c->columns) {
        free(c);
        return NULL;
    }
    return c;
}

struct columns *columns_new(duckdb_result *result)
{
    struct columns *c = columns_alloc(duckdb_column_count(result));
    for (uint32_t i = 0; c && i < c->count; i++) {
        duckdb_logical_type type = duckdb_column_logical_type(result, i);
        bool ok = column_set(&c->columns[i], type, duckdb_column_name(result, i));
        duckdb_destroy_logical_type(&type);
        if (!ok) {
            columns_free(c);
            return NULL;
        }
    }
    return c;
}

struct columns *columns_new_prepared(duckdb_prepared_statement statement)
{
    struct columns *c = columns_alloc(duckdb_prepared_statement_column_count(statement));
    for (uint32_t i = 0; c && i < c->count; i++) {
        duckdb_logical_type type = duckdb_prepared_statement_column_logical_type(statement, i);
        const char *name = duckdb_prepared_statement_column_name(statement, i);
        bool ok = type && column_set(&c->columns[i], type, name ? name : "") && c->columns[i].type != COL_INVALID;
        duckdb_free((void *)name);
        duckdb_destroy_logical_type(&type);
        if (!ok) {
            columns_free(c);
            return NULL;
        }
    }
    return c;
}

void columns_free(struct columns *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < c->count; i++)
        shape_free(&c->columns[i]);
    free(c->columns);
    free(c);
}

static void point_at(struct column *c, duckdb_vector vector)
{
    c->data = duckdb_vector_get_data(vector);
    c->validity = duckdb_vector_get_validity(vector);
    switch (c->type) {
    case COL_LIST:
    case COL_MAP: point_at(&c->children[0], duckdb_list_vector_get_child(vector)); break;
    case COL_ARRAY: point_at(&c->children[0], duckdb_array_vector_get_child(vector)); break;
    case COL_STRUCT:
    case COL_UNION:   /* a struct of the tag and the members */
    case COL_VARIANT: /* a struct of keys, children, values and data */
        for (uint32_t i = 0; i < c->child_count; i++)
            point_at(&c->children[i], duckdb_struct_vector_get_child(vector, i));
        break;
    default: break;
    }
}

void columns_set_chunk(struct columns *c, duckdb_data_chunk chunk)
{
    for (uint32_t i = 0; i < c->count; i++)
        point_at(&c->columns[i], duckdb_data_chunk_get_vector(chunk, i));
}

const struct column *columns_get(const struct columns *c, uint32_t *ret_count)
{
    *ret_count = c->count;
    return c->columns;
}
