/* The answer of GET /v1/schema, made by the engine itself. Runs in the worker. */
#include "engine/engine.h"

const char *engine_schema_sql(void)
{
    return "WITH cols AS ("
           " SELECT database_name, schema_name, table_name,"
           "  list({'name': column_name, 'type': data_type, 'nullable': is_nullable} ORDER BY column_index) AS columns"
           " FROM duckdb_columns() GROUP BY ALL),"
           " rels AS ("
           " SELECT database_name, schema_name, table_name AS name, 'table' AS type FROM duckdb_tables() WHERE NOT temporary"
           " UNION ALL SELECT database_name, schema_name, view_name, 'view' FROM duckdb_views() WHERE NOT temporary AND NOT internal),"
           " tabs AS ("
           " SELECT r.database_name, r.schema_name,"
           "  list({'name': r.name, 'type': r.type, 'columns': coalesce(c.columns, [])} ORDER BY r.name) AS tables"
           " FROM rels r LEFT JOIN cols c"
           "  ON c.database_name = r.database_name AND c.schema_name = r.schema_name AND c.table_name = r.name"
           " GROUP BY ALL),"
           " schs AS ("
           " SELECT s.database_name, list({'name': s.schema_name, 'tables': coalesce(t.tables, [])} ORDER BY s.schema_name) AS schemas"
           " FROM duckdb_schemas() s LEFT JOIN tabs t ON t.database_name = s.database_name AND t.schema_name = s.schema_name"
           " GROUP BY ALL)"
           " SELECT CAST(to_json({'databases':"
           "  coalesce(list({'name': d.database_name, 'schemas': coalesce(s.schemas, [])} ORDER BY d.database_name), [])}) AS VARCHAR)"
           " FROM duckdb_databases() d LEFT JOIN schs s ON s.database_name = d.database_name WHERE NOT d.internal";
}
