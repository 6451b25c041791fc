/* The verdict on a parsed statement (see the header). Runs in the worker.
 *
 * Every node is looked at, whatever it hangs on: a function is found wherever the engine may call one. A node whose kind is not known
 * here is refused, so that a new version's parser can't bring one along unseen. */
#include "engine/policy_tree.h"
#include "engine/policy_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

enum key {
    KEY_OTHER, KEY_ALIAS, KEY_CATALOG, KEY_CHILDREN, KEY_CLASS, KEY_COLUMN_NAMES, KEY_ERROR, KEY_FUNCTION, KEY_FUNCTION_NAME, KEY_ID,
    KEY_LOCATION, KEY_SAMPLE, KEY_SCHEMA, KEY_STATEMENTS, KEY_TABLE_NAME, KEY_TYPE, KEY_VALUE,
};

/* Text and length: keys are looked up for every value of a tree that may have a million. */
#define TEXT(s) s, sizeof s - 1
static const struct {
    const char *text;
    size_t len;
    enum key key;
} keys[] = {
    {TEXT("alias"), KEY_ALIAS}, {TEXT("catalog"), KEY_CATALOG}, {TEXT("catalog_name"), KEY_CATALOG}, {TEXT("children"), KEY_CHILDREN},
    {TEXT("class"), KEY_CLASS}, {TEXT("column_names"), KEY_COLUMN_NAMES}, {TEXT("error"), KEY_ERROR}, {TEXT("function"), KEY_FUNCTION},
    {TEXT("function_name"), KEY_FUNCTION_NAME}, {TEXT("id"), KEY_ID}, {TEXT("query_location"), KEY_LOCATION},
    {TEXT("sample"), KEY_SAMPLE}, {TEXT("schema"), KEY_SCHEMA}, {TEXT("schema_name"), KEY_SCHEMA}, {TEXT("statements"), KEY_STATEMENTS},
    {TEXT("table_name"), KEY_TABLE_NAME}, {TEXT("type"), KEY_TYPE}, {TEXT("value"), KEY_VALUE},
};

/* Expressions by their class; NODE_*: what has only a type. */
enum node {
    NODE_NONE, NODE_CLASS, NODE_CONSTANT, NODE_FUNCTION, NODE_COLUMN_REF, NODE_TYPE, NODE_BASE_TABLE, NODE_TABLE_FUNCTION, NODE_SHOW_REF,
};

static const struct {
    const char *text;
    enum node node;
} classes[] = {
    {"BETWEEN", NODE_CLASS}, {"CASE", NODE_CLASS}, {"CAST", NODE_CLASS}, {"COLLATE", NODE_CLASS}, {"COLUMN_REF", NODE_COLUMN_REF},
    {"COMPARISON", NODE_CLASS}, {"CONJUNCTION", NODE_CLASS}, {"CONSTANT", NODE_CONSTANT}, {"DEFAULT", NODE_CLASS},
    {"FUNCTION", NODE_FUNCTION}, {"LAMBDA", NODE_CLASS}, {"LAMBDA_REF", NODE_CLASS}, {"OPERATOR", NODE_CLASS}, {"PARAMETER", NODE_CLASS},
    {"POSITIONAL_REFERENCE", NODE_CLASS}, {"STAR", NODE_CLASS}, {"SUBQUERY", NODE_CLASS}, {"TYPE", NODE_CLASS}, {"WINDOW", NODE_FUNCTION},
}, types[] = {
    {"ASCENDING", NODE_TYPE}, {"BASE_TABLE", NODE_BASE_TABLE}, {"CTE_NODE", NODE_TYPE}, {"DESCENDING", NODE_TYPE},
    {"DISTINCT_MODIFIER", NODE_TYPE}, {"EMPTY", NODE_TYPE}, {"EXPRESSION_LIST", NODE_TYPE}, {"JOIN", NODE_TYPE},
    {"LIMIT_MODIFIER", NODE_TYPE}, {"LIMIT_PERCENT_MODIFIER", NODE_TYPE}, {"ORDER_DEFAULT", NODE_TYPE}, {"ORDER_MODIFIER", NODE_TYPE},
    {"PIVOT", NODE_TYPE}, {"RECURSIVE_CTE_NODE", NODE_TYPE}, {"SELECT_NODE", NODE_TYPE}, {"SET_OPERATION_NODE", NODE_TYPE},
    {"SHOW_REF", NODE_SHOW_REF}, {"SUBQUERY", NODE_TYPE}, {"TABLE_FUNCTION", NODE_TABLE_FUNCTION},
};

/* An open object or array. */
struct frame {
    bool array;
    bool table_function; /* a FUNCTION behind FROM */
    bool string;         /* value is one, and `varchar` its type's name; of a function: its first argument was judged */
    bool varchar;
    uint8_t key;         /* under which it stands; an array's elements take over the array's */
    uint8_t current;     /* an object's: the key of the next value */
    uint8_t node;
    uint32_t count;      /* elements; of a COLUMN_REF its names */
    int64_t location;    /* -1: none */
    const struct policy_function *function;
    struct policy_name name;
    struct span value, alias, type;
};

struct walk {
    struct policy_walk *w;
    struct error *err;
    struct frame *stack;
    unsigned depth, cap;
    bool one;     /* statement was found */
    bool failed;  /* the tree says that it is none */
};

int policy_refuse(struct error *err, const char *kind, struct span name, const char *reason, const char *way)
{
    char what[sizeof err->what];
    int room = (int)sizeof what - (int)strlen(kind) - 2;
    int len = name.len < (size_t)room ? (int)name.len : room;
    snprintf(what, sizeof what, "%s%s%.*s", kind, name.len ? " " : "", len, name.at);
    error_set(err, ERR_FORBIDDEN, "%s refused: %s%s%s", what, reason, way ? "; instead: " : "", way ? way : "");
    snprintf(err->what, sizeof err->what, "%s", what);
    return -1;
}

static struct frame *frame_at(struct walk *k, unsigned up) { return k->depth > up ? &k->stack[k->depth - 1 - up] : NULL; }

/* Where in the client's own text; inside of another text positions mean nothing to it. */
static int refused_at(struct walk *k, int64_t location)
{
    if (k->err->code == ERR_FORBIDDEN && k->w->depth == 0 && !k->w->stored && location >= 0 && k->err->position == 0)
        k->err->position = location + 1;
    return -1;
}

static void leaves(struct walk *k, enum policy_effect effect)
{
    if (effect > k->w->effect)
        k->w->effect = effect;
}

static int malformed(struct walk *k, const char *what)
{
    return policy_refuse(k->err, "statement", (struct span){"", 0}, what, NULL);
}

/* ---- tables ---- */

static int judge_table(struct walk *k, const struct policy_name *n, int64_t location)
{
    const char *way;
    bool known = false;
    if (policy_view_refused(n->name.at, n->name.len, &way)) {
        policy_refuse(k->err, "view", n->name, policy_class_reason(POLICY_REVEALS), way);
        return refused_at(k, location);
    }
    if (k->w->object(k->w->ctx, POLICY_TABLE_OBJECT, n, &known, &k->w->effect, k->err) < 0)
        return refused_at(k, location);
    if (known || !policy_names_file(n))
        return 0;
    if (!n->schema.len && policy_path_inside(k->w->files, n->name) && !policy_names_database(n->name)) {
        leaves(k, POLICY_FRESH);
        return 0;
    }
    char text[128]; /* in one piece again, as the engine takes it */
    int len = snprintf(text, sizeof text, "%.*s%s%.*s", (int)n->schema.len, n->schema.at, n->schema.len ? "." : "", (int)n->name.len, n->name.at);
    policy_refuse(k->err, "file", (struct span){text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1},
                  "files and addresses do not stand for tables here", NULL);
    return refused_at(k, location);
}

static int judge_show(struct walk *k, const struct frame *f)
{
    static const char *const lists[] = {"databases", "tables", "schemas", "variables", "__show_tables_expanded"};
    struct policy_name n = f->name;
    /* The lists' names come with quotes, escaped: \"tables\". */
    if (n.name.len >= 4 && memcmp(n.name.at, "\\\"", 2) == 0)
        n.name = (struct span){n.name.at + 2, n.name.len - 4};
    if (n.name.len == 0)
        return 0;
    for (size_t i = 0; i < LENGTH(lists); i++)
        if (span_is(n.name, lists[i]))
            return 0;
    return judge_table(k, &n, f->location);
}

/* ---- functions ---- */

static const char *function_kind(const struct frame *f) { return f->table_function ? "table function" : "function"; }

static int refuse_function(struct walk *k, const struct frame *f, const char *reason)
{
    struct span name = f->name.name;
    if (f->function) /* its name as the table writes it, whatever the statement's letters were */
        name = (struct span){f->function->name, strlen(f->function->name)};
    policy_refuse(k->err, function_kind(f), name, reason, f->function ? f->function->way : NULL);
    return refused_at(k, f->location);
}

static int add_patch(struct walk *k, const struct frame *f)
{
    struct policy_walk *w = k->w;
    if (w->depth > 0 || w->stored || f->location < 0)
        return refuse_function(k, f, "it shows paths of the server, and can be filtered only where a statement names it itself");
    if (w->patch_count == POLICY_PATCHES_MAX)
        return refuse_function(k, f, "it is called too often in one statement");
    w->patches[w->patch_count++] = (struct policy_patch){f->location, f->function};
    return 0;
}

/* What reads files is refused for its arguments, where there are files that may be read. */
static bool is_refused(const struct walk *k, const struct frame *f)
{
    bool files = k->w->files && *k->w->files;
    return policy_refuses(f->function->class) && !(f->function->class == POLICY_PATH && files);
}

/* As soon as the name is there: it comes before the arguments. */
static int judge_function(struct walk *k, struct frame *f)
{
    f->function = policy_table_find(k->w->table, f->name.name.at, f->name.name.len, f->table_function);
    if (!f->function)
        return 0; /* at its end, when all of its name is there */
    leaves(k, f->function->effect);
    if (is_refused(k, f))
        return refuse_function(k, f, policy_class_reason(f->function->class));
    return f->function->class == POLICY_FILTERED ? add_patch(k, f) : 0;
}

static int end_function(struct walk *k, struct frame *f)
{
    bool known = false;
    if (f->name.name.len == 0)
        return malformed(k, "a call without a name");
    if (k->w->object(k->w->ctx, POLICY_FUNCTION_OBJECT, &f->name, &known, &k->w->effect, k->err) < 0)
        return refused_at(k, f->location);
    if (f->function && f->function->class == POLICY_PATH && !f->string) /* no path was judged */
        return refuse_function(k, f, "its first argument must be a plain path");
    if (f->function || known || k->w->unknown(k->w->ctx, f->name.name, k->err) == 0)
        return 0;
    return refused_at(k, f->location);
}

/* ---- arguments that become SQL, names or paths ---- */

static int judge_text(struct walk *k, struct frame *f, const char *text, size_t len)
{
    struct policy_walk *w = k->w;
    struct policy_name n;
    if (strlen(text) != len)
        return refuse_function(k, f, "a NUL byte in its first argument");
    switch (f->function->class) {
    case POLICY_SQL_TEXT:
        if (w->depth == POLICY_TEXT_DEPTH_MAX)
            return refuse_function(k, f, "texts inside of texts, deeper than 8");
        switch (w->text(w->ctx, text, len, w->depth + 1, &w->effect, k->err)) {
        case POLICY_ALLOWED:
            return 0;
        case POLICY_UNJUDGED:
            return refuse_function(k, f, "its text is not one SELECT that can be parsed");
        default:
            return refused_at(k, f->location);
        }
    case POLICY_SETTING:
        if (policy_setting_shown(text, len))
            return 0;
        policy_refuse(k->err, "setting", (struct span){text, len}, policy_class_reason(POLICY_REVEALS), f->function->way);
        return refused_at(k, f->location);
    case POLICY_TABLE_NAME:
        if (!policy_names_split(text, len, &n))
            return refuse_function(k, f, "its first argument is not a plain name of a table");
        return judge_table(k, &n, f->location);
    case POLICY_PATH:
        if (policy_path_inside(w->files, (struct span){text, len}))
            return 0;
        policy_refuse(k->err, "file", (struct span){text, len}, "it lies in no source that this query may read", NULL);
        return refused_at(k, f->location);
    default: /* PATH_TEXT: the operator allowed it, everywhere */
        return 0;
    }
}

static int judge_argument(struct walk *k, struct frame *f, const struct frame *argument, bool in_list)
{
    enum policy_class class = f->function->class;
    bool many = class == POLICY_TABLE_NAME || class == POLICY_PATH_TEXT || class == POLICY_PATH;
    f->string = true; /* it has a first argument, and that is judged here */
    if (argument->node == NODE_CONSTANT && argument->string) {
        size_t len;
        char *text = span_text(argument->value, &len);
        int rc = text ? judge_text(k, f, text, len) : malformed(k, "a broken text");
        free(text);
        return rc;
    }
    if (many && !in_list && argument->node == NODE_FUNCTION && span_is(argument->name.name, "list_value"))
        return 0; /* its elements were judged one by one */
    /* histogram(t, x): a table's name without quotes. */
    if (class == POLICY_TABLE_NAME && argument->node == NODE_COLUMN_REF && argument->count <= 3 && !k->w->macro)
        return judge_table(k, &argument->name, argument->location);
    return refuse_function(k, f, "its first argument must be a plain string: no parameter, no expression");
}

static bool is_restricted(const struct frame *f)
{
    return f && f->node == NODE_FUNCTION && f->function && f->function->class != POLICY_OPEN && f->function->class != POLICY_FILTERED;
}

/* Which argument of which function an object is, counted from the top of the stack: (object, array "children", function). */
static struct frame *argument_of(struct walk *k, unsigned up, uint32_t *ret_index)
{
    struct frame *list = frame_at(k, up + 1), *f = frame_at(k, up + 2);
    if (!f || !list->array || list->key != KEY_CHILDREN || f->array || f->node != NODE_FUNCTION)
        return NULL;
    *ret_index = list->count - 1;
    return f;
}

static int end_argument(struct walk *k, const struct frame *x)
{
    uint32_t index;
    struct frame *f = argument_of(k, 0, &index);
    if (!f)
        return 0;
    /* Named arguments come in any order: one that is called `source` is the table, wherever it stands. */
    bool source = policy_name_is(x->alias.at, x->alias.len, "source");
    if (is_restricted(f))
        return index == 0 || source ? judge_argument(k, f, x, false) : 0;
    if (!span_is(f->name.name, "list_value"))
        return 0;
    struct frame *outer = argument_of(k, 2, &index);
    source = policy_name_is(f->alias.at, f->alias.len, "source");
    return is_restricted(outer) && (index == 0 || source) ? judge_argument(k, outer, x, true) : 0;
}

/* ---- nodes ---- */

static int end_node(struct walk *k, struct frame *f)
{
    switch ((enum node)f->node) {
    case NODE_FUNCTION:
        return end_function(k, f);
    case NODE_BASE_TABLE:
        return judge_table(k, &f->name, f->location);
    case NODE_SHOW_REF:
        return judge_show(k, f);
    case NODE_COLUMN_REF:
        /* Names without brackets that are functions, and are folded when the statement is prepared. */
        if (f->count == 1
            && (policy_name_is(f->name.name.at, f->name.name.len, "localtime")
                || policy_name_is(f->name.name.at, f->name.name.len, "localtimestamp")))
            leaves(k, POLICY_ONCE);
        return 0;
    default:
        return 0;
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
    if (f->node != NODE_NONE && end_argument(k, f) < 0)
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
        leaves(k, POLICY_ONCE); /* drawn once for all executions of a prepared statement */
    if (k->depth == k->cap) {
        k->cap = k->cap ? 2 * k->cap : 64;
        k->stack = realloc(k->stack, k->cap * sizeof *k->stack);
        CHECK(k->stack);
    }
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
    switch (f ? (enum key)f->current : KEY_OTHER) {
    case KEY_CLASS:
        return set_class(k, f, s);
    case KEY_TYPE:
        set_type(f, s);
        return 0;
    case KEY_FUNCTION_NAME:
        f->name.name = s;
        return f->node == NODE_FUNCTION ? judge_function(k, f) : malformed(k, "a function's name in no call");
    case KEY_TABLE_NAME:
        f->name.name = s;
        return 0;
    case KEY_SCHEMA:
        f->name.schema = s;
        return 0;
    case KEY_CATALOG:
        f->name.catalog = s;
        return 0;
    case KEY_ALIAS:
        f->alias = s;
        return 0;
    case KEY_VALUE:
        f->value = s;
        f->string = true;
        return 0;
    case KEY_ID:
        f->varchar = span_is(s, "VARCHAR");
        return 0;
    default:
        return 0;
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
    case SCAN_ARRAY:
        return begin(k, e == SCAN_ARRAY);
    case SCAN_OBJECT_END:
    case SCAN_ARRAY_END:
        return end(k);
    case SCAN_KEY:
        on_key(k, s);
        return 0;
    case SCAN_STRING:
        return on_string(k, s);
    case SCAN_ATOM:
        on_atom(k, s);
        return 0;
    case SCAN_DEEP:
        return malformed(k, "it is nested too deeply");
    default:
        return malformed(k, "its tree can't be read");
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
