/* What a writer worker said it did, for people (see the header). The worker's JSON is read as anybody's. Runs in the command line. */
#include "cli/import_report.h"
#include "cli/write_args.h"

#include <jansson.h>
#include <string.h>

#define TABLES_SHOWN 40

static json_t *parse(const struct buf *body) { return json_loadb(body->data ? body->data : "", body->len, 0, NULL); }

static void table(json_t *t)
{
    const char *schema = json_string_value(json_object_get(t, "schema")), *name = json_string_value(json_object_get(t, "name"));
    long long before = json_integer_value(json_object_get(t, "rows_before")), rows = json_integer_value(json_object_get(t, "rows"));
    if (!schema || !name)
        return;
    if (before < 0)
        write_say("  %s.%s: new, %lld rows", schema, name, rows);
    else if (rows < 0)
        write_say("  %s.%s: dropped, it had %lld rows", schema, name, before);
    else
        write_say("  %s.%s: %lld -> %lld rows", schema, name, before, rows);
}

void import_report(const char *path, const char *what, const struct buf *body)
{
    json_t *root = parse(body), *changed = json_object_get(root, "changed"), *t;
    long long statements = json_integer_value(json_object_get(root, "statements"));
    size_t i;
    write_say("%s: %s, %lld statement%s", path, what, statements, statements == 1 ? "" : "s");
    json_array_foreach(changed, i, t) if (i < TABLES_SHOWN) table(t);
    if (json_array_size(changed) > TABLES_SHOWN)
        write_say("  and %zu tables more", json_array_size(changed) - TABLES_SHOWN);
    json_decref(root);
}

void import_report_columns(const char *table_name, const struct buf *body)
{
    json_t *root = parse(body), *row;
    size_t i;
    write_say("dry run: table %s would have these columns", table_name);
    json_array_foreach(json_object_get(root, "data"), i, row)
    {
        const char *name = json_string_value(json_array_get(row, 0)), *type = json_string_value(json_array_get(row, 1));
        if (name && type)
            write_say("  %s %s", name, type);
    }
    json_decref(root);
}
