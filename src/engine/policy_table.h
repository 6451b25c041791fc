/* What a name may do: the table of policy_functions.def, with what the operator allows and denies laid over it. Pure data, knows nothing
 * of trees or of the library. Only for files of src/engine. Runs in the worker (and in tests). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum policy_class {
    POLICY_OPEN,       /* runs */
    POLICY_SQL_TEXT,   /* its first argument is a statement: a plain string, and judged like the statement around it */
    POLICY_TABLE_NAME, /* its first argument is a table's name: a plain string, and judged like a table's name */
    POLICY_SETTING,    /* its first argument is a setting's name: a plain string, and one of the harmless ones */
    POLICY_FILTERED,   /* its name is replaced by that of our own copy, which shows no paths */
    POLICY_PATH_TEXT,  /* reads files, and the operator allowed it: its first argument is a plain string */
    /* From here on refused. */
    POLICY_PATH,      /* reads files or addresses */
    POLICY_REVEALS,   /* shows paths, logs or secrets of the server */
    POLICY_CHANGES,   /* changes the engine or the data for others */
    POLICY_REMOTE,    /* reaches other servers past what is attached */
    POLICY_INTERNAL,  /* the engine's own tools */
    POLICY_STATEMENT, /* part of a statement that is refused anyway */
    POLICY_DENIED,    /* by [policy] deny_functions */
};
static inline bool policy_refuses(enum policy_class c) { return c >= POLICY_PATH; }

/* What a statement leaves behind; the worst of its parts counts. */
enum policy_effect {
    POLICY_KEEP,  /* nothing, and it may be prepared once and run often */
    POLICY_ONCE,  /* nothing, but it must be prepared anew each time */
    POLICY_FRESH, /* afterwards the connection must be replaced */
    POLICY_SPENT, /* afterwards the process must be replaced */
};

enum policy_kind { POLICY_ANY, POLICY_CALL, POLICY_TABLE, POLICY_PRAGMA };

struct policy_function {
    const char *name; /* lower case */
    const char *way;  /* what to do instead, or NULL */
    uint8_t kind, class, effect;
};

struct policy_table;

/* Names in any case; NULL-terminated lists, or NULL. What is in both lists is denied. The names must outlive the table. */
struct policy_table *policy_table_new(const char *const *allow, const char *const *deny);
void policy_table_free(struct policy_table *t);

/* The row that counts for this name behind FROM (table) or in an expression, in any case of ASCII letters; NULL: the name is unknown. */
const struct policy_function *policy_table_find(const struct policy_table *t, const char *name, size_t len, bool table);

/* A view of the engine's own catalog that is refused: true, with the way round or NULL. */
bool policy_view_refused(const char *name, size_t len, const char **ret_way);

/* The value of this setting may be shown to clients. */
bool policy_setting_shown(const char *name, size_t len);

/* All of them, in lower case; *ret_count of them. */
const char *const *policy_shown_settings(size_t *ret_count);

/* Why a class is refused, as the end of a sentence. */
const char *policy_class_reason(enum policy_class c);

/* Names compare without regard to the case of ASCII letters, as the engine does it. */
bool policy_name_is(const char *name, size_t len, const char *text);
uint64_t policy_name_hash(const char *name, size_t len);
