/* Objects through the engine's own file systems, whose functions are newer than the header that we have: declared here, and held against the library by
 * the tests that use them. The engine's allowed_directories hold here as everywhere. Runs in the worker. */
#include "engine/upload.h"
#include "engine/engine_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct handle_of_options *file_options;
typedef struct handle_of_system *file_system;
typedef struct handle_of_file *file_handle;
enum { FLAG_READ = 1, FLAG_WRITE = 2, FLAG_CREATE = 3 };

file_system duckdb_client_context_get_file_system(duckdb_client_context context);
void duckdb_destroy_file_system(file_system *system);
duckdb_error_data duckdb_file_system_error_data(file_system system);
file_options duckdb_create_file_open_options(void);
duckdb_state duckdb_file_open_options_set_flag(file_options options, int flag, bool value);
void duckdb_destroy_file_open_options(file_options *options);
duckdb_state duckdb_file_system_open(file_system system, const char *path, file_options options, file_handle *ret);
int64_t duckdb_file_handle_write(file_handle file, const void *data, int64_t bytes);
duckdb_state duckdb_file_handle_close(file_handle file);
duckdb_error_data duckdb_file_handle_error_data(file_handle file);
void duckdb_destroy_file_handle(file_handle *file);

struct upload {
    struct engine *engine;
    duckdb_connection con; /* its own, in a transaction: secrets are looked up in one */
    file_system system;
    file_handle file;
};

/* The engine's words, without what must not leave. */
static int failed(const struct upload *u, duckdb_error_data said, struct error *err)
{
    struct failure_context ctx = u->engine->failure;
    struct error e;
    const char *text = said ? duckdb_error_data_message(said) : NULL;
    failure_from_message(&e, text && text[0] ? text : "the object can't be written", 0, &ctx);
    error_set(err, ERR_SOURCE, "%s", e.detail);
    for (size_t i = 0; i < u->engine->source_count; i++)
        if (u->engine->sources[i].type == SOURCE_IS_s3)
            snprintf(err->source, sizeof err->source, "%s", u->engine->sources[i].name);
    if (said)
        duckdb_destroy_error_data(&said);
    return -1;
}

static file_handle open_file(struct upload *u, const char *url, bool write)
{
    file_options o = duckdb_create_file_open_options();
    file_handle file = NULL;
    duckdb_file_open_options_set_flag(o, write ? FLAG_WRITE : FLAG_READ, true);
    if (write)
        duckdb_file_open_options_set_flag(o, FLAG_CREATE, true);
    if (duckdb_file_system_open(u->system, url, o, &file) != DuckDBSuccess)
        file = NULL;
    duckdb_destroy_file_open_options(&o);
    return file;
}

static void upload_free(struct upload *u)
{
    if (u->system)
        duckdb_destroy_file_system(&u->system);
    if (u->con)
        duckdb_disconnect(&u->con);
    free(u);
}

static int upload_begin(struct upload *u, const char *url, struct error *err)
{
    duckdb_client_context context;
    if (duckdb_connect(u->engine->db, &u->con) != DuckDBSuccess || duckdb_query(u->con, "BEGIN TRANSACTION", NULL) != DuckDBSuccess)
        return error_set(err, ERR_INTERNAL, "the engine gives no connection for the export");
    duckdb_connection_get_client_context(u->con, &context);
    u->system = duckdb_client_context_get_file_system(context);
    duckdb_destroy_client_context(&context);
    file_handle there = open_file(u, url, false);
    if (there) {
        duckdb_file_handle_close(there);
        duckdb_destroy_file_handle(&there);
        return error_set(err, ERR_CONFLICT, "destination.path: the object is there already, and is not overwritten");
    }
    u->file = open_file(u, url, true);
    return u->file ? 0 : failed(u, duckdb_file_system_error_data(u->system), err);
}

struct upload *upload_open(struct engine *e, const char *url, struct error *err)
{
    struct upload *u = calloc(1, sizeof *u);
    CHECK(u);
    u->engine = e;
    if (upload_begin(u, url, err) == 0)
        return u;
    upload_free(u);
    return NULL;
}

int upload_write(struct upload *u, const void *data, size_t len, struct error *err)
{
    for (const char *p = data; len > 0;) {
        int64_t n = duckdb_file_handle_write(u->file, p, (int64_t)len);
        if (n <= 0)
            return failed(u, duckdb_file_handle_error_data(u->file), err);
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int upload_end(struct upload *u, struct error *err)
{
    int ok = duckdb_file_handle_close(u->file) == DuckDBSuccess ? 0 : failed(u, duckdb_file_handle_error_data(u->file), err);
    if (ok < 0) {
        upload_abandon(u);
        return -1;
    }
    duckdb_destroy_file_handle(&u->file);
    upload_free(u);
    return 0;
}

void upload_abandon(struct upload *u)
{
    /* To destroy the handle would complete the object. */
    if (u)
        u->engine->spent = true;
}
