/* What tables, functions and arguments of a parsed statement may be (see policy_tree.h). Runs in the worker. */
#include "engine/policy_names.h"
#include "engine/policy_walk.h"

#include <stdio.h>
#include <stdlib.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))

int policy_refuse(struct error *err, const char *kind, struct span name, const char *reason, const char *way)
{
    char what[sizeof err->what];
    int room = (int)sizeof what - (int)strlen(kind) - 2;
    int len = name.len < (size_t)room ? (int)name.len : room;
    snprintf(what, sizeof what, "%s%s%.*s", kind, name.len ? " " : "", len, name.at);
    return error_forbid(err, what, "%s refused: %s%s%s", what, reason, way ? "; instead: " : "", way ? way : "");
}

/* Where in the client's own text; inside of another text positions mean nothing to it. */
static int refused_at(struct walk *k, int64_t location)
{
    if (k->err->code == ERR_FORBIDDEN && k->w->depth == 0 && !k->w->stored && location >= 0 && k->err->position == 0)
        k->err->position = location + 1;
    return -1;
}

void walk_leaves(struct walk *k, enum policy_effect effect)
{
    if (effect > k->w->effect)
        k->w->effect = effect;
}

int walk_malformed(struct walk *k, const char *what) { return policy_refuse(k->err, "statement", (struct span){"", 0}, what, NULL); }

/* Why a file may not be read, where there are some that may: one is either elsewhere, or its path is not written plainly (policy_path_inside). */
#define NOT_INSIDE "it lies in no source that this query may read, or is not written plainly (GET /v1/sources has the addresses)"

static bool has_files(const struct walk *k) { return k->w->files && *k->w->files; }

/* ---- tables ---- */

int judge_table(struct walk *k, const struct policy_name *n, int64_t location)
{
    const char *way;
    bool known = false;
    if (policy_view_refused(n->name.at, n->name.len, &way)) {
        policy_refuse(k->err, "view", n->name, policy_class_reason(POLICY_REVEALS), way);
        return refused_at(k, location);
    }
    if (k->w->object(k->w->ctx, POLICY_TABLE_OBJECT, n, &known, &k->w->effect, k->err) < 0)
        return refused_at(k, location);
    if (known || !policy_names_file(n) || policy_names_of(k->w->catalogs, n))
        return 0;
    if (!n->schema.len && policy_path_inside(k->w->files, n->name) && !policy_names_database(n->name)) {
        walk_leaves(k, POLICY_FRESH);
        return 0;
    }
    char text[128]; /* in one piece again, as the engine takes it */
    int len = snprintf(text, sizeof text, "%.*s%s%.*s", (int)n->schema.len, n->schema.at, n->schema.len ? "." : "", (int)n->name.len, n->name.at);
    policy_refuse(k->err, "file", (struct span){text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1},
                  has_files(k) ? NOT_INSIDE : "files and addresses do not stand for tables here", NULL);
    return refused_at(k, location);
}

int judge_show(struct walk *k, const struct frame *f)
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
    return policy_refuses(f->function->class) && !(f->function->class == POLICY_PATH && has_files(k));
}

int judge_function(struct walk *k, struct frame *f)
{
    f->function = policy_table_find(k->w->table, f->name.name.at, f->name.name.len, f->table_function);
    if (!f->function)
        return 0; /* at its end, when all of its name is there */
    walk_leaves(k, f->function->effect);
    if (is_refused(k, f))
        return refuse_function(k, f, policy_class_reason(f->function->class));
    return f->function->class == POLICY_FILTERED ? add_patch(k, f) : 0;
}

int judge_function_end(struct walk *k, struct frame *f)
{
    bool known = false;
    if (f->name.name.len == 0)
        return walk_malformed(k, "a call without a name");
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
        case POLICY_ALLOWED: return 0;
        case POLICY_UNJUDGED: return refuse_function(k, f, "its text is not one SELECT that can be parsed");
        default: return refused_at(k, f->location);
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
        policy_refuse(k->err, "file", (struct span){text, len}, NOT_INSIDE, NULL);
        return refused_at(k, f->location);
    default: /* PATH_TEXT: the operator allowed it, everywhere */ return 0;
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
        int rc = text ? judge_text(k, f, text, len) : walk_malformed(k, "a broken text");
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

int judge_argument_end(struct walk *k, const struct frame *x)
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
