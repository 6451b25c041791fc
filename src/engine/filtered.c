/* Introspection without paths (see the header). Runs in the worker. */
#include "engine/filtered.h"
#include "core/buf.h"
#include "engine/policy_table.h"
#include "engine/sqltext.h"

#include <stdlib.h>
#include <string.h>

/* A name and its stand-in are of the same length. Between sql and more, where there is more, comes the list of settings that are shown. */
static const struct {
    const char *function, *stand_in, *sql, *more;
} rows[] = {
    {"duckdb_databases", "bulkhead_catalog",
     "SELECT * REPLACE (NULL::VARCHAR AS path, MAP {}::MAP(VARCHAR, VARCHAR) AS tags, MAP {}::MAP(VARCHAR, VARCHAR) AS options)"
     " FROM duckdb_databases()",
     NULL},
    {"duckdb_settings", "bulkhead_values", "SELECT * REPLACE (CASE WHEN lower(name) IN (", ") THEN value END AS value) FROM duckdb_settings()"},
};
#define ROWS (sizeof rows / sizeof *rows)

struct copy {
    struct filtered *owner;
    unsigned row;
    bool filled;
    duckdb_result result;
    duckdb_data_chunk *chunks;
    size_t chunk_count;
};

struct filtered {
    duckdb_connection con;
    struct copy copies[ROWS];
};

static void write_sql(struct buf *b, unsigned row)
{
    size_t count;
    const char *const *names = policy_shown_settings(&count);
    bool ok = buf_puts(b, rows[row].sql);
    for (size_t i = 0; rows[row].more && i < count; i++)
        ok = ok && buf_printf(b, "%s'%s'", i ? ", " : "", names[i]);
    CHECK(ok && buf_puts(b, rows[row].more ? rows[row].more : "") && buf_append(b, "", 1));
}

/* NULL, or why it failed. */
static const char *fill(struct copy *c)
{
    struct buf sql = BUF_INIT(16384);
    duckdb_data_chunk chunk;
    write_sql(&sql, c->row);
    duckdb_state state = duckdb_query(c->owner->con, sql.data, &c->result);
    buf_free(&sql);
    if (state != DuckDBSuccess) {
        duckdb_destroy_result(&c->result);
        return "the server cannot read its own catalog";
    }
    while ((chunk = duckdb_fetch_chunk(c->result)) != NULL) {
        c->chunks = realloc(c->chunks, (c->chunk_count + 1) * sizeof *c->chunks);
        CHECK(c->chunks);
        c->chunks[c->chunk_count++] = chunk;
    }
    c->filled = true;
    return NULL;
}

static void bind(duckdb_bind_info info)
{
    struct copy *c = duckdb_bind_get_extra_info(info);
    const char *failed = c->filled ? NULL : fill(c);
    if (failed) {
        duckdb_bind_set_error(info, failed);
        return;
    }
    for (idx_t i = 0; i < duckdb_column_count(&c->result); i++) {
        duckdb_logical_type type = duckdb_column_logical_type(&c->result, i);
        duckdb_bind_add_result_column(info, duckdb_column_name(&c->result, i), type);
        duckdb_destroy_logical_type(&type);
    }
}

static void start(duckdb_init_info info)
{
    size_t *next = calloc(1, sizeof *next);
    CHECK(next);
    duckdb_init_set_init_data(info, next, free);
    duckdb_init_set_max_threads(info, 1);
}

static void give(duckdb_function_info info, duckdb_data_chunk out)
{
    const struct copy *c = duckdb_function_get_extra_info(info);
    size_t *next = duckdb_function_get_init_data(info);
    if (*next == c->chunk_count) {
        duckdb_data_chunk_set_size(out, 0);
        return;
    }
    duckdb_data_chunk from = c->chunks[(*next)++];
    for (idx_t i = 0; i < duckdb_data_chunk_get_column_count(from); i++)
        duckdb_vector_reference_vector(duckdb_data_chunk_get_vector(out, i), duckdb_data_chunk_get_vector(from, i));
    duckdb_data_chunk_set_size(out, duckdb_data_chunk_get_size(from));
}

struct filtered *filtered_new(duckdb_connection con, struct error *err)
{
    struct filtered *f = calloc(1, sizeof *f);
    CHECK(f);
    f->con = con;
    for (unsigned i = 0; i < ROWS; i++) {
        f->copies[i] = (struct copy){.owner = f, .row = i};
        duckdb_table_function t = duckdb_create_table_function();
        duckdb_table_function_set_name(t, rows[i].stand_in);
        duckdb_table_function_set_extra_info(t, &f->copies[i], NULL);
        duckdb_table_function_set_bind(t, bind);
        duckdb_table_function_set_init(t, start);
        duckdb_table_function_set_function(t, give);
        duckdb_state state = duckdb_register_table_function(con, t);
        duckdb_destroy_table_function(&t);
        if (state != DuckDBSuccess) {
            error_set(err, ERR_UNAVAILABLE, "cannot register %s in the engine", rows[i].stand_in);
            filtered_free(f);
            return NULL;
        }
    }
    return f;
}

void filtered_free(struct filtered *f)
{
    if (!f)
        return;
    for (unsigned i = 0; i < ROWS; i++) {
        struct copy *c = &f->copies[i];
        for (size_t k = 0; k < c->chunk_count; k++)
            duckdb_destroy_data_chunk(&c->chunks[k]);
        free(c->chunks);
        if (c->filled)
            duckdb_destroy_result(&c->result);
    }
    free(f);
}

static const char *stand_in_of(const char *function)
{
    for (unsigned i = 0; i < ROWS; i++)
        if (strcmp(rows[i].function, function) == 0)
            return rows[i].stand_in;
    return NULL;
}

bool filtered_is_stand_in(const char *name, size_t len)
{
    for (unsigned i = 0; i < ROWS; i++)
        if (policy_name_is(name, len, rows[i].stand_in))
            return true;
    return false;
}

int filtered_rename(char *sql, size_t len, int64_t at, const char *function)
{
    const char *stand_in = stand_in_of(function);
    size_t n = strlen(function), pos = (size_t)at;
    struct sql_token t = {0}, name = {0};
    if (!stand_in || at < 0 || pos >= len)
        return -1;
    /* catalog . schema . name ( : the last word before the bracket. */
    for (int words = 0; words < 3; words++) {
        name = sql_next(sql, len, &pos);
        t = sql_next(sql, len, &pos);
        if ((name.kind != SQL_WORD && name.kind != SQL_QUOTED) || t.kind != SQL_OTHER || sql[t.begin] != '.')
            break;
    }
    bool quoted = name.kind == SQL_QUOTED && sql[name.begin] == '"';
    if (quoted) {
        name.begin++;
        name.end--;
    }
    if ((!quoted && name.kind != SQL_WORD) || t.kind != SQL_OTHER || sql[t.begin] != '(' || name.end - name.begin != n ||
        !policy_name_is(sql + name.begin, n, function))
        return -1;
    memcpy(sql + name.begin, stand_in, n);
    return 0;
}
