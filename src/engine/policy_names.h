/* Names of tables as a statement writes them: taken apart, and told from names of files. Only for files of src/engine. Runs in the
 * worker (and in tests). */
#pragma once
#include "engine/policy_tree.h"

/* The name would be taken for a file or an address if there were no such table: it looks like a path, or ends like a file the engine
 * reads by itself. */
bool policy_names_file(const struct policy_name *n);

/* It stands behind one of these catalogs (NULL-terminated; NULL: none), which are not of the engine's own kind, and has no slash: the engine finds the table
 * there, or takes the name, the catalog's in front, for that of a file in the worker's directory, where no such file is. */
bool policy_names_of(const char *const *catalogs, const struct policy_name *n);

/* Takes 'catalog.schema.name', each part plain or in double quotes, apart; the spans point into the text. False: something else. */
bool policy_names_split(const char *text, size_t len, struct policy_name *ret);

/* The path or address lies below one of the prefixes (NULL-terminated, each with a slash at its end; NULL: none), as it is written: no part
 * of it goes up, and nothing in it could mean something else to whoever resolves it. */
bool policy_path_inside(const char *const *prefixes, struct span path);

/* The name ends like a database, whose own views would run without a verdict. */
bool policy_names_database(struct span path);
