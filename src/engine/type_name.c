/* The name of a type as typeof() and DESCRIBE print it; the C API has no function for it. Runs in the worker.
 * One thing cannot be seen through the C API: the reference system of GEOMETRY('OGC:CRS84'), which comes out as GEOMETRY. */
#include "engine/columns.h"
#include "engine/keywords.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* not in the 1.4 header */
#define TYPE_GEOMETRY 40
#define TYPE_VARIANT 41

static const char *plain_name(duckdb_type id)
{
    static const char *const names[] = {
        [DUCKDB_TYPE_BOOLEAN] = "BOOLEAN",
        [DUCKDB_TYPE_TINYINT] = "TINYINT",
        [DUCKDB_TYPE_SMALLINT] = "SMALLINT",
        [DUCKDB_TYPE_INTEGER] = "INTEGER",
        [DUCKDB_TYPE_BIGINT] = "BIGINT",
        [DUCKDB_TYPE_UTINYINT] = "UTINYINT",
        [DUCKDB_TYPE_USMALLINT] = "USMALLINT",
        [DUCKDB_TYPE_UINTEGER] = "UINTEGER",
        [DUCKDB_TYPE_UBIGINT] = "UBIGINT",
        [DUCKDB_TYPE_FLOAT] = "FLOAT",
        [DUCKDB_TYPE_DOUBLE] = "DOUBLE",
        [DUCKDB_TYPE_TIMESTAMP] = "TIMESTAMP",
        [DUCKDB_TYPE_DATE] = "DATE",
        [DUCKDB_TYPE_TIME] = "TIME",
        [DUCKDB_TYPE_INTERVAL] = "INTERVAL",
        [DUCKDB_TYPE_HUGEINT] = "HUGEINT",
        [DUCKDB_TYPE_UHUGEINT] = "UHUGEINT",
        [DUCKDB_TYPE_VARCHAR] = "VARCHAR",
        [DUCKDB_TYPE_BLOB] = "BLOB",
        [DUCKDB_TYPE_TIMESTAMP_S] = "TIMESTAMP_S",
        [DUCKDB_TYPE_TIMESTAMP_MS] = "TIMESTAMP_MS",
        [DUCKDB_TYPE_TIMESTAMP_NS] = "TIMESTAMP_NS",
        [DUCKDB_TYPE_UUID] = "UUID",
        [DUCKDB_TYPE_BIT] = "BIT",
        [DUCKDB_TYPE_TIME_TZ] = "TIME WITH TIME ZONE",
        [DUCKDB_TYPE_TIMESTAMP_TZ] = "TIMESTAMP WITH TIME ZONE",
        [DUCKDB_TYPE_BIGNUM] = "BIGNUM",
        [DUCKDB_TYPE_SQLNULL] = "\"NULL\"",
        [DUCKDB_TYPE_TIME_NS] = "TIME_NS",
        [TYPE_GEOMETRY] = "GEOMETRY",
        [TYPE_VARIANT] = "VARIANT",
    };
    const char *name = (size_t)id < sizeof(names) / sizeof(names[0]) ? names[id] : NULL;
    return name ? name : "UNKNOWN";
}

static bool needs_quotes(const char *name)
{
    if (!name[0])
        return true;
    for (size_t i = 0; name[i]; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return true;
    }
    return keyword_is(name);
}

static void put_quoted(FILE *f, const char *text, char quote)
{
    putc(quote, f);
    for (; *text; text++) {
        if (*text == quote)
            putc(quote, f);
        putc(*text, f);
    }
    putc(quote, f);
}

static void put_type(FILE *f, duckdb_logical_type type);

static void put_owned(FILE *f, duckdb_logical_type type)
{
    put_type(f, type);
    duckdb_destroy_logical_type(&type);
}

/* "name TYPE", or only the type when the fields have no names */
static void put_field(FILE *f, char *name, duckdb_logical_type type, bool named)
{
    if (named) {
        if (needs_quotes(name))
            put_quoted(f, name, '"');
        else
            fputs(name, f);
        putc(' ', f);
    }
    put_owned(f, type);
    duckdb_free(name);
}

static void put_struct(FILE *f, duckdb_logical_type type)
{
    idx_t n = duckdb_struct_type_child_count(type);
    bool named = true;
    fputs("STRUCT(", f);
    for (idx_t i = 0; i < n; i++) {
        char *name = duckdb_struct_type_child_name(type, i);
        if (i == 0)
            named = name[0] != 0;
        else
            fputs(", ", f);
        put_field(f, name, duckdb_struct_type_child_type(type, i), named);
    }
    putc(')', f);
}

static void put_union(FILE *f, duckdb_logical_type type)
{
    fputs("UNION(", f);
    for (idx_t i = 0; i < duckdb_union_type_member_count(type); i++) {
        if (i > 0)
            fputs(", ", f);
        put_field(f, duckdb_union_type_member_name(type, i), duckdb_union_type_member_type(type, i), true);
    }
    putc(')', f);
}

static void put_enum(FILE *f, duckdb_logical_type type)
{
    fputs("ENUM(", f);
    for (idx_t i = 0; i < duckdb_enum_dictionary_size(type); i++) {
        char *value = duckdb_enum_dictionary_value(type, i);
        if (i > 0)
            fputs(", ", f);
        put_quoted(f, value, '\'');
        duckdb_free(value);
    }
    putc(')', f);
}

static void put_type(FILE *f, duckdb_logical_type type)
{
    char *alias = duckdb_logical_type_get_alias(type);
    if (alias) {
        fputs(alias, f);
        duckdb_free(alias);
        return;
    }
    switch ((int)duckdb_get_type_id(type)) {
    case DUCKDB_TYPE_DECIMAL: fprintf(f, "DECIMAL(%u,%u)", duckdb_decimal_width(type), duckdb_decimal_scale(type)); break;
    case DUCKDB_TYPE_ENUM: put_enum(f, type); break;
    case DUCKDB_TYPE_LIST:
        put_owned(f, duckdb_list_type_child_type(type));
        fputs("[]", f);
        break;
    case DUCKDB_TYPE_ARRAY:
        put_owned(f, duckdb_array_type_child_type(type));
        fprintf(f, "[%llu]", (unsigned long long)duckdb_array_type_array_size(type));
        break;
    case DUCKDB_TYPE_STRUCT: put_struct(f, type); break;
    case DUCKDB_TYPE_MAP:
        fputs("MAP(", f);
        put_owned(f, duckdb_map_type_key_type(type));
        fputs(", ", f);
        put_owned(f, duckdb_map_type_value_type(type));
        putc(')', f);
        break;
    case DUCKDB_TYPE_UNION: put_union(f, type); break;
    default: fputs(plain_name(duckdb_get_type_id(type)), f);
    }
}

char *columns_type_name(duckdb_logical_type type)
{
    char *text = NULL;
    size_t length;
    FILE *f = open_memstream(&text, &length);
    if (!f)
        return NULL;
    put_type(f, type);
    bool failed = ferror(f);
    if (fclose(f) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
