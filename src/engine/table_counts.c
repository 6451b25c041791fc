/* Counting the rows of every table, to see that what was written is what can be read. Runs in the worker. */
#include "engine/engine_private.h"
#include "engine/engine_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_BYTES_MAX ((size_t)1 << 20)

void table_counts_free(struct table_counts *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->tables[i].schema);
        free(c->tables[i].name);
    }
    free(c->tables);
    *c = (struct table_counts){0};
}

static int failed(struct engine *e, duckdb_result *r, struct error *err)
{
    if (failure_from_message(err, duckdb_result_error(r), (int)duckdb_result_error_type(r), &e->failure))
        e->spent = true;
    duckdb_destroy_result(r);
    return -1;
}

static char *text_at(duckdb_vector v, idx_t row)
{
    duckdb_string_t *s = (duckdb_string_t *)duckdb_vector_get_data(v) + row;
    char *text = strndup(duckdb_string_t_data(s), duckdb_string_t_length(*s));
    CHECK(text);
    return text;
}

static int list_tables(struct engine *e, struct table_counts *c, struct error *err)
{
    /* The database that was opened first is the one in question, whatever a script attached or used. The engine's own functions by their full
     * names: its macros come first otherwise. */
    static const char sql[] = "SELECT schema_name, table_name FROM system.main.duckdb_tables() WHERE NOT internal AND NOT temporary AND "
                              "database_oid = (SELECT system.main.min(database_oid) FROM system.main.duckdb_databases() WHERE NOT internal) "
                              "ORDER BY ALL";
    duckdb_result r;
    duckdb_data_chunk chunk;
    size_t cap = 0;
    if (duckdb_query(e->con, sql, &r) != DuckDBSuccess)
        return failed(e, &r, err);
    while ((chunk = duckdb_fetch_chunk(r)) != NULL) {
        for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk); i++) {
            if (c->count == cap) {
                cap = cap ? cap * 2 : 16;
                c->tables = realloc(c->tables, cap * sizeof *c->tables);
                CHECK(c->tables);
            }
            c->tables[c->count++] = (struct table_count){.schema = text_at(duckdb_data_chunk_get_vector(chunk, 0), i),
                                                         .name = text_at(duckdb_data_chunk_get_vector(chunk, 1), i)};
        }
        duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&r);
    return 0;
}

static bool put_identifier(struct buf *b, const char *name)
{
    bool ok = buf_puts(b, "\"");
    for (const char *c = name; ok && *c; c++)
        ok = buf_append(b, "\"\"", *c == '"' ? 2 : 0) && (*c == '"' || buf_append(b, c, 1));
    return ok && buf_puts(b, "\"");
}

static int count_rows(struct engine *e, const char *catalog, struct table_count *t, struct error *err)
{
    struct buf b = BUF_INIT(SQL_BYTES_MAX);
    duckdb_result r;
    bool ok = buf_puts(&b, "SELECT system.main.count_star() FROM ") && put_identifier(&b, catalog) && buf_puts(&b, ".") &&
              put_identifier(&b, t->schema) && buf_puts(&b, ".") && put_identifier(&b, t->name) && buf_append(&b, "", 1);
    if (!ok) {
        buf_free(&b);
        return error_set(err, ERR_INTERNAL, "a table's name is too long");
    }
    duckdb_state state = duckdb_query(e->con, b.data, &r);
    buf_free(&b);
    if (state != DuckDBSuccess)
        return failed(e, &r, err);
    duckdb_data_chunk chunk = duckdb_fetch_chunk(r);
    CHECK(chunk);
    t->rows = *(int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
    duckdb_destroy_data_chunk(&chunk);
    duckdb_destroy_result(&r);
    return 0;
}

static int catalog_name(struct engine *e, char **ret, struct error *err)
{
    duckdb_result r;
    if (duckdb_query(e->con, "SELECT database_name FROM system.main.duckdb_databases() WHERE NOT internal ORDER BY database_oid LIMIT 1", &r) !=
        DuckDBSuccess)
        return failed(e, &r, err);
    duckdb_data_chunk chunk = duckdb_fetch_chunk(r);
    CHECK(chunk);
    *ret = text_at(duckdb_data_chunk_get_vector(chunk, 0), 0);
    duckdb_destroy_data_chunk(&chunk);
    duckdb_destroy_result(&r);
    return 0;
}

int engine_count_tables(struct engine *e, struct table_counts *ret, struct error *err)
{
    struct table_counts c = {0};
    char *catalog = NULL;
    int rc = catalog_name(e, &catalog, err) < 0 || list_tables(e, &c, err) < 0 ? -1 : 0;
    for (size_t i = 0; rc == 0 && i < c.count; i++)
        rc = count_rows(e, catalog, &c.tables[i], err);
    free(catalog);
    if (rc < 0)
        table_counts_free(&c);
    else
        *ret = c;
    return rc;
}

int table_counts_compare(const struct table_counts *expected, const struct table_counts *seen, struct error *err)
{
    if (expected->count != seen->count)
        return error_set(err, ERR_INTERNAL, "what was written has %zu tables, what can be read has %zu", expected->count, seen->count);
    for (size_t i = 0; i < expected->count; i++) {
        const struct table_count *a = &expected->tables[i], *b = &seen->tables[i];
        if (strcmp(a->schema, b->schema) != 0 || strcmp(a->name, b->name) != 0 || a->rows != b->rows)
            return error_set(err, ERR_INTERNAL, "table %s.%s was written with %" PRId64 " rows, and reads as %s.%s with %" PRId64, a->schema, a->name,
                             a->rows, b->schema, b->name, b->rows);
    }
    return 0;
}
