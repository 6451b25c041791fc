/* The list of functions with effects (src/engine/sqltext.c) against the library that is really linked: a new version of the engine can't
 * bring a function that nobody has looked at. */
#include "unit/engine_fixture.h"

#include "engine/sqltext.h"

/* Looked at, and found harmless for whoever comes next on the connection, or on the process: they read, or they are random. What they may
 * show is the policy's business, not this list's. Sorted. */
static const char *const harmless[] = {
    "all_profiling_output", "check_peg_parser", "collations", "database_list", "database_size", "duckdb_approx_database_count",
    "duckdb_columns", "duckdb_connection_count", "duckdb_constraints", "duckdb_coordinate_systems", "duckdb_databases",
    "duckdb_dependencies", "duckdb_extensions", "duckdb_external_file_cache", "duckdb_functions", "duckdb_indexes", "duckdb_keywords",
    "duckdb_log_contexts", "duckdb_logs", "duckdb_logs_parsed", "duckdb_memory", "duckdb_optimizers", "duckdb_prepared_statements",
    "duckdb_profiling_settings", "duckdb_schemas", "duckdb_secret_types", "duckdb_secrets", "duckdb_sequences", "duckdb_settings",
    "duckdb_table_sample", "duckdb_tables", "duckdb_temporary_files", "duckdb_types", "duckdb_variables", "duckdb_views", "error",
    "extension_versions", "functions", "gen_random_uuid", "generate_series", "glob", "histogram", "histogram_values",
    "icu_calendar_names", "json_each", "json_tree", "metadata_info", "parquet_bloom_probe", "parquet_file_metadata",
    "parquet_full_metadata", "parquet_kv_metadata", "parquet_metadata", "parquet_scan", "parquet_schema", "pg_timezone_names",
    "platform", "pragma_collations", "pragma_database_size", "pragma_metadata_info", "pragma_platform", "pragma_show",
    "pragma_storage_info", "pragma_table_info", "pragma_user_agent", "pragma_version", "random", "range", "read_blob", "read_csv",
    "read_csv_auto", "read_duckdb", "read_json", "read_json_auto", "read_json_objects", "read_json_objects_auto", "read_ndjson",
    "read_ndjson_auto", "read_ndjson_objects", "read_parquet", "read_text", "repeat", "repeat_row", "show", "show_databases",
    "show_tables", "show_tables_expanded", "sleep_ms", "sniff_csv", "sql_auto_complete", "stats", "storage_info", "summary",
    "table_info", "test_all_types", "test_vector_types", "unnest", "user_agent", "uuid", "uuidv4", "uuidv7", "version",
    "which_secret",
};
#define HARMLESS (sizeof harmless / sizeof harmless[0])

static int compare(const void *a, const void *b) { return strcmp(a, *(const char *const *)b); }

static bool is_harmless(const char *name) { return bsearch(name, harmless, HARMLESS, sizeof harmless[0], compare) != NULL; }

/* The word alone is enough to keep a text off the statement cache; called, it may be more. */
static bool has_effect(const char *name)
{
    char call[160];
    snprintf(call, sizeof call, "SELECT * FROM %s()", name);
    return sql_effect(call, strlen(call)) != SQL_PURE;
}

static void each_row(const char *sql, void (*fn)(const char *name, void *ctx), void *ctx)
{
    duckdb_database db;
    duckdb_connection con;
    duckdb_result r;
    duckdb_data_chunk chunk;
    assert_int_equal(duckdb_open(NULL, &db), DuckDBSuccess);
    assert_int_equal(duckdb_connect(db, &con), DuckDBSuccess);
    if (duckdb_query(con, sql, &r) != DuckDBSuccess)
        fail_msg("%s", duckdb_result_error(&r));
    while ((chunk = duckdb_fetch_chunk(r))) {
        duckdb_string_t *text = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
        for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk); i++) {
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)duckdb_string_t_length(text[i]), duckdb_string_t_data(&text[i]));
            fn(name, ctx);
        }
        duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&r);
    duckdb_disconnect(&con);
    duckdb_close(&db);
}

struct tally {
    unsigned functions, unknown;
    bool seen[HARMLESS];
};

static void judge(const char *name, void *ctx)
{
    struct tally *t = ctx;
    t->functions++;
    bool effect = has_effect(name), harmless_one = is_harmless(name);
    if (effect && harmless_one)
        fail_msg("%s is in both lists", name);
    if (!effect && !harmless_one) {
        print_message("%s is in neither list\n", name);
        t->unknown++;
    }
    for (size_t i = 0; i < HARMLESS; i++)
        t->seen[i] |= strcmp(harmless[i], name) == 0;
}

#define LOOKED_AT "(has_side_effects OR function_type IN ('table', 'table_macro', 'pragma'))"

static void every_function_with_effects_has_been_looked_at(void **state)
{
    (void)state;
    struct tally t = {0};
    each_row("SELECT DISTINCT function_name FROM duckdb_functions() WHERE " LOOKED_AT, judge, &t);
    assert_int_equal(t.unknown, 0);
    assert_true(t.functions > 130); /* else the query has found nothing, and shows nothing */
    for (size_t i = 0; i < HARMLESS; i++)
        if (!t.seen[i])
            fail_msg("%s is listed as harmless, and the engine does not have it", harmless[i]);
}

static void must_be_found(const char *name, void *ctx)
{
    unsigned *n = ctx;
    (*n)++;
    if (!has_effect(name))
        fail_msg("%s is not found in the table: is it sorted?", name);
}

/* A table that is out of order loses rows silently: names from its beginning, its middle and its end, and those that matter most. */
static void the_table_finds_what_it_holds(void **state)
{
    (void)state;
    unsigned n = 0;
    each_row("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name IN ('add_parquet_key', 'arrow_scan', "
             "'checkpoint', 'copy_database', 'current_query', 'disable_logging', 'enable_logging', 'enable_profiling', "
             "'force_checkpoint', 'import_database', 'json_execute_serialized_sql', 'nextval', 'query', 'query_table', 'setseed', "
             "'truncate_duckdb_logs', 'verify_external', 'verify_serializer', 'write_log')", must_be_found, &n);
    assert_int_equal(n, 19);
    /* And all others with a word that switches something on or off. */
    each_row("SELECT DISTINCT function_name FROM duckdb_functions() WHERE regexp_matches(function_name, '^(enable|disable|verify)_')",
             must_be_found, &n);
    assert_true(n > 19 + 25);
    for (size_t i = 1; i < HARMLESS; i++)
        assert_true(strcmp(harmless[i - 1], harmless[i]) < 0);
}

static void a_harmless_word_leaves_a_text_pure(void **state)
{
    (void)state;
    for (size_t i = 0; i < HARMLESS; i++)
        assert_false(has_effect(harmless[i]));
    assert_false(has_effect("sum") || has_effect("levenshtein"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_with_effects_has_been_looked_at),
        cmocka_unit_test(the_table_finds_what_it_holds),
        cmocka_unit_test(a_harmless_word_leaves_a_text_pure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
