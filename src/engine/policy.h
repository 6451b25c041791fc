/* Whether a statement may run: its tree, as the engine's own parser gives it, against the table of functions, the database's stored
 * objects, and what the operator allows and denies. Has a connection of its own, with the statement that makes the tree prepared.
 * Only for files of src/engine. Runs in the worker. */
#pragma once
#include "engine/policy_stored.h"
#include "engine/policy_tree.h"
#include <duckdb.h>

struct policy;

struct policy_options {
    const char *const *allow, *const *deny; /* see policy_table_new */
    const char *const *files;    /* directories and addresses below which files may be read, each with a slash at its end; NULL-terminated, or NULL */
    const char *const *catalogs; /* of sources whose tables may be called like files; NULL-terminated, or NULL */
    bool nothing_stored;         /* no file is open that could hold views, macros or tables: they are not looked for */
};

/* Judges the stored objects as well, which takes 15 ms, most of them to list the functions. NULL with *err. To be called before the configuration is locked, and before anything is attached whose
 * catalog is not DuckDB's own. Copies the options. */
struct policy *policy_new(duckdb_database db, const struct policy_options *o, struct error *err);
/* When no other connection of the database has a statement left, before it is closed. NULL is allowed. */
void policy_free(struct policy *p);

/* Judges one statement, `len` bytes with a NUL behind them. POLICY_ALLOWED: *ret_effect is what it leaves behind, and names of filtered
 * functions in `sql` were replaced (*ret_renamed), the rest of it and its length stay. POLICY_REFUSED: *err, with the position in `sql`.
 * POLICY_UNJUDGED: it is no single SELECT that can be parsed, and must not run. */
enum policy_verdict policy_judge(struct policy *p, char *sql, size_t len, enum policy_effect *ret_effect, bool *ret_renamed, struct error *err);

/* The stored objects; those with `why` set are refused. */
struct stored *policy_stored(struct policy *p);
