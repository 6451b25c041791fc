/* The verdict on a parsed statement (see the header). Runs in the worker.
 *
 * Every node is looked at, whatever it hangs on: a function is found wherever the engine may call one. A node whose kind is not known
 * here is refused, so that a new version's parser can't bring one along unseen. */
#include "engine/policy_names.h"
#include "engine/policy_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

/* Text and length: keys are looked up for every value of a tree that may have a million. */
#define TEXT(s) s, sizeof s - 1
static const struct {
    const char *text;
    size_t len;
    enum policy_key key;
} keys[] = {
    {TEXT("alias"), KEY_ALIAS},
    {TEXT("catalog"), KEY_CATALOG},
    {TEXT("catalog_name"), KEY_CATALOG},
    {TEXT("children"), KEY_CHILDREN},
    {TEXT("class"), KEY_CLASS},
    {TEXT("column_names"), KEY_COLUMN_NAMES},
    {TEXT("error"), KEY_ERROR},
    {TEXT("function"), KEY_FUNCTION},
    {TEXT("function_name"), KEY_FUNCTION_NAME},
    {TEXT("id"), KEY_ID},
    {TEXT("query_location"), KEY_LOCATION},
    {TEXT("sample"), KEY_SAMPLE},
    {TEXT("schema"), KEY_SCHEMA},
    {TEXT("schema_name"), KEY_SCHEMA},
    {TEXT("statements"), KEY_STATEMENTS},
    {TEXT("table_name"), KEY_TABLE_NAME},
    {TEXT("type"), KEY_TYPE},
    {TEXT("value"), KEY_VALUE},
};

/* Expressions by their class, and what has only a type. */
static const struct {
    const char *text;
    enum policy_node node;
} classes[] =
    {
        {"BETWEEN", NODE_CLASS},
        {"CASE", NODE_CLASS},
        {"CAST", NODE_CLASS},
        {"COLLATE", NODE_CLASS},
        {"COLUMN_REF", NODE_COLUMN_REF},
        {"COMPARISON", NODE_CLASS},
        {"CONJUNCTION", NODE_CLASS},
        {"CONSTANT", NODE_CONSTANT},
        {"DEFAULT", NODE_CLASS},
        {"FUNCTION", NODE_FUNCTION},
        {"LAMBDA", NODE_CLASS},
        {"LAMBDA_REF", NODE_CLASS},
        {"OPERATOR", NODE_CLASS},
        {"PARAMETER", NODE_CLASS},
        {"POSITIONAL_REFERENCE", NODE_CLASS},
        {"STAR", NODE_CLASS},
        {"SUBQUERY", NODE_CLASS},
        {"TYPE", NODE_CLASS},
        {"WINDOW", NODE_FUNCTION},
},
  types[] = {
      {"ASCENDING", NODE_TYPE},
      {"BASE_TABLE", NODE_BASE_TABLE},
      {"CTE_NODE", NODE_TYPE},
      {"DESCENDING", NODE_TYPE},
      {"DISTINCT_MODIFIER", NODE_TYPE},
      {"EMPTY", NODE_TYPE},
      {"EXPRESSION_LIST", NODE_TYPE},
      {"JOIN", NODE_TYPE},
      {"LIMIT_MODIFIER", NODE_TYPE},
      {"LIMIT_PERCENT_MODIFIER", NODE_TYPE},
      {"ORDER_DEFAULT", NODE_TYPE},
      {"ORDER_MODIFIER", NODE_TYPE},
      {"PIVOT", NODE_TYPE},
      {"RECURSIVE_CTE_NODE", NODE_TYPE},
      {"SELECT_NODE", NODE_TYPE},
      {"SET_OPERATION_NODE", NODE_TYPE},
      {"SHOW_REF", NODE_SHOW_REF},
      {"SUBQUERY", NODE_TYPE},
      {"TABLE_FUNCTION", NODE_TABLE_FUNCTION},
};

/* ---- nodes ---- */

static int end_node(struct walk *k, struct frame *f)
{
    switch ((enum policy_node)f->node) {
    case NODE_FUNCTION: return judge_function_end(k, f);
    case NODE_BASE_TABLE: return judge_table(k, &f->name, f->location);
    case NODE_SHOW_REF: return judge_show(k, f);
    case NODE_COLUMN_REF:
        /* Names without brackets that are functions, and are folded when the statement is prepared. */
        if (f->count == 1 &&
            (policy_name_is(f->name.name.at, f->name.name.len, "localtime") || policy_name_is(f->name.name.at, f->name.name.len, "localtimestamp")))
            walk_leaves(k, POLICY_ONCE);
        return 0;
    default: return 0;
    }
}

static int end_object(struct walk *k)
{
    struct frame *f = frame_at(k, 0), *parent = frame_at(k, 1);
    if (f->node == NODE_NONE && f->type.len) {
        static const char suffix[] = "_TYPE_INFO"; /* of types of values: they hold no calls of their own, and are walked as well */
        size_t n = sizeof suffix - 1;
        if (f->type.len <= n || memcmp(f->type.at + f->type.len - n, suffix, n) != 0)
            return policy_refuse(k->err, "statement part", f->type, "this version can't judge it", NULL);
    }
    if (end_node(k, f) < 0)
        return -1;
    if (f->node != NODE_NONE && judge_argument_end(k, f) < 0)
        return -1;
    if (parent && !parent->array && f->key == KEY_TYPE)
        parent->varchar = f->varchar;
    if (parent && parent->node == NODE_CONSTANT && f->key == KEY_VALUE) {
        parent->string = f->string && f->varchar;
        parent->value = f->value;
    }
    return 0;
}

static int begin(struct walk *k, bool array)
{
    struct frame *parent = frame_at(k, 0);
    uint8_t key = KEY_OTHER;
    bool table_function = false;
    if (parent) {
        key = parent->array ? parent->key : parent->current;
        parent->count += parent->array;
        table_function = !array && key == KEY_FUNCTION && parent->node == NODE_TABLE_FUNCTION;
    }
    if (!array && key == KEY_SAMPLE)
        walk_leaves(k, POLICY_ONCE); /* drawn once for all executions of a prepared statement */
    if (k->depth == k->cap) {
        k->cap = k->cap ? 2 * k->cap : 64;
        k->stack = realloc(k->stack, k->cap * sizeof *k->stack);
    }
    CHECK(k->stack);
    k->stack[k->depth++] = (struct frame){.array = array, .key = key, .table_function = table_function, .location = -1};
    return 0;
}

static int end(struct walk *k)
{
    struct frame *f = frame_at(k, 0);
    if (!f->array && end_object(k) < 0)
        return -1;
    if (f->array && f->key == KEY_STATEMENTS && k->depth == 2)
        k->one = f->count == 1;
    k->depth--;
    return 0;
}

/* ---- keys and values ---- */

static void on_key(struct walk *k, struct span key)
{
    struct frame *f = frame_at(k, 0);
    f->current = KEY_OTHER;
    for (size_t i = 0; i < LENGTH(keys); i++)
        if (key.len == keys[i].len && memcmp(key.at, keys[i].text, key.len) == 0)
            f->current = (uint8_t)keys[i].key;
}

static int set_class(struct walk *k, struct frame *f, struct span s)
{
    for (size_t i = 0; i < LENGTH(classes); i++)
        if (span_is(s, classes[i].text)) {
            f->node = (uint8_t)classes[i].node;
            return 0;
        }
    return policy_refuse(k->err, "statement part", s, "this version can't judge it", NULL);
}

static void set_type(struct frame *f, struct span s)
{
    f->type = s;
    for (size_t i = 0; i < LENGTH(types) && f->node == NODE_NONE; i++)
        if (span_is(s, types[i].text))
            f->node = (uint8_t)types[i].node;
}

static void add_column_name(struct frame *column, struct span s)
{
    column->count++;
    column->name.catalog = column->name.schema;
    column->name.schema = column->name.name;
    column->name.name = s;
}

static int on_string(struct walk *k, struct span s)
{
    struct frame *f = frame_at(k, 0), *parent = frame_at(k, 1);
    if (f && f->array) {
        f->count++;
        if (f->key == KEY_COLUMN_NAMES && parent)
            add_column_name(parent, s);
        return 0;
    }
    switch (f ? (enum policy_key)f->current : KEY_OTHER) {
    case KEY_CLASS: return set_class(k, f, s);
    case KEY_TYPE: set_type(f, s); return 0;
    case KEY_FUNCTION_NAME:
        f->name.name = s;
        return f->node == NODE_FUNCTION ? judge_function(k, f) : walk_malformed(k, "a function's name in no call");
    case KEY_TABLE_NAME: f->name.name = s; return 0;
    case KEY_SCHEMA: f->name.schema = s; return 0;
    case KEY_CATALOG: f->name.catalog = s; return 0;
    case KEY_ALIAS: f->alias = s; return 0;
    case KEY_VALUE:
        f->value = s;
        f->string = true;
        return 0;
    case KEY_ID: f->varchar = span_is(s, "VARCHAR"); return 0;
    default: return 0;
    }
}

/* The text has no end mark: only the span's own bytes may be read. -1: no number, or none that a statement could be long. */
static int64_t location_of(struct span s)
{
    int64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9' || v > INT64_C(1) << 40)
            return -1;
        v = 10 * v + (s.at[i] - '0');
    }
    return v;
}

static void on_atom(struct walk *k, struct span s)
{
    struct frame *f = frame_at(k, 0);
    if (!f)
        return;
    if (f->array) {
        f->count++;
    } else if (f->current == KEY_LOCATION) {
        f->location = location_of(s);
    } else if (f->current == KEY_ERROR && k->depth == 1 && span_is(s, "true")) {
        k->failed = true;
    }
}

static int on_event(struct walk *k, enum scan_event e, struct span s)
{
    switch (e) {
    case SCAN_OBJECT:
    case SCAN_ARRAY: return begin(k, e == SCAN_ARRAY);
    case SCAN_OBJECT_END:
    case SCAN_ARRAY_END: return end(k);
    case SCAN_KEY: on_key(k, s); return 0;
    case SCAN_STRING: return on_string(k, s);
    case SCAN_ATOM: on_atom(k, s); return 0;
    case SCAN_DEEP: return walk_malformed(k, "it is nested too deeply");
    default: return walk_malformed(k, "its tree can't be read");
    }
}

enum policy_verdict policy_walk(struct policy_walk *w, const char *json, size_t len, struct error *err)
{
    struct walk k = {.w = w, .err = err};
    struct json_scan scan;
    json_scan_start(&scan, json, len);
    enum scan_event e;
    int rc = 0;
    while (rc == 0 && !k.failed && (e = json_scan_next(&scan)) != SCAN_DONE)
        rc = on_event(&k, e, scan.span);
    free(k.stack);
    return rc < 0 ? POLICY_REFUSED : k.one && !k.failed ? POLICY_ALLOWED : POLICY_UNJUDGED;
}
