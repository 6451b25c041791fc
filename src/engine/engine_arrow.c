/* The schema of the engine's own Arrow export, for the encoder that writes it. Runs in the worker. */
#include "engine/columns.h"
#include "engine/engine_private.h"
#include "nanoarrow/nanoarrow.h"

#include <stdlib.h>

#define TYPE_VARIANT 41 /* not in the 1.4 header */

static bool has_variant(const struct column *c)
{
    bool found = c->type == COL_VARIANT;
    for (uint32_t i = 0; i < c->child_count && !found; i++)
        found = has_variant(&c->children[i]);
    return found;
}

static duckdb_logical_type as_text(duckdb_logical_type type);

/* STRUCT and UNION. */
static duckdb_logical_type fields_as_text(duckdb_logical_type type, bool is_union)
{
    idx_t count = is_union ? duckdb_union_type_member_count(type) : duckdb_struct_type_child_count(type);
    duckdb_logical_type *types = calloc(count, sizeof *types);
    char **names = calloc(count, sizeof *names);
    CHECK(types && names);
    for (idx_t i = 0; i < count; i++) {
        types[i] = as_text(is_union ? duckdb_union_type_member_type(type, i) : duckdb_struct_type_child_type(type, i));
        names[i] = is_union ? duckdb_union_type_member_name(type, i) : duckdb_struct_type_child_name(type, i);
    }
    duckdb_logical_type made = is_union ? duckdb_create_union_type(types, (const char **)names, count)
                                        : duckdb_create_struct_type(types, (const char **)names, count);
    for (idx_t i = 0; i < count; i++) {
        duckdb_destroy_logical_type(&types[i]);
        duckdb_free(names[i]);
    }
    free(types);
    free(names);
    return made;
}

/* Takes a type and gives it back with every VARIANT inside as VARCHAR: the engine has no Arrow form for it. */
static duckdb_logical_type as_text(duckdb_logical_type type)
{
    duckdb_logical_type made = NULL, child = NULL, key = NULL;
    switch ((int)duckdb_get_type_id(type)) {
    case TYPE_VARIANT: made = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR); break;
    case DUCKDB_TYPE_LIST:
        child = as_text(duckdb_list_type_child_type(type));
        made = duckdb_create_list_type(child);
        break;
    case DUCKDB_TYPE_ARRAY:
        child = as_text(duckdb_array_type_child_type(type));
        made = duckdb_create_array_type(child, duckdb_array_type_array_size(type));
        break;
    case DUCKDB_TYPE_MAP:
        key = as_text(duckdb_map_type_key_type(type));
        child = as_text(duckdb_map_type_value_type(type));
        made = duckdb_create_map_type(key, child);
        break;
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_UNION: made = fields_as_text(type, duckdb_get_type_id(type) == DUCKDB_TYPE_UNION); break;
    default: return type;
    }
    duckdb_destroy_logical_type(&child);
    duckdb_destroy_logical_type(&key);
    duckdb_destroy_logical_type(&type);
    return made;
}

int stream_arrow_schema(struct stream *s, struct ArrowSchema *ret, struct error *err)
{
    uint32_t count;
    const struct column *columns = columns_get(s->columns, &count);
    duckdb_logical_type *types = calloc(count ? count : 1, sizeof *types);
    const char **names = calloc(count ? count : 1, sizeof *names);
    CHECK(types && names);
    for (uint32_t i = 0; i < count; i++) {
        types[i] = duckdb_column_logical_type(&s->result, i);
        if (has_variant(&columns[i]))
            types[i] = as_text(types[i]);
        names[i] = columns[i].name;
    }
    duckdb_arrow_options options = duckdb_result_get_arrow_options(&s->result);
    duckdb_error_data wrong = duckdb_to_arrow_schema(options, types, names, count, ret);
    int r = 0;
    if (wrong && duckdb_error_data_has_error(wrong))
        r = error_set(err, ERR_SQL, "the result can't be given as Arrow: %s", duckdb_error_data_message(wrong));
    if (wrong)
        duckdb_destroy_error_data(&wrong);
    duckdb_destroy_arrow_options(&options);
    for (uint32_t i = 0; i < count; i++)
        duckdb_destroy_logical_type(&types[i]);
    free(types);
    free(names);
    return r;
}
