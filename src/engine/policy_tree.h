/* The verdict on a parsed statement: the JSON text of json_serialize_sql, read once from its beginning to its end, every node of it.
 * Knows the shape of that tree and the table of names; asks its caller about texts inside texts and about the database's own objects.
 * Knows nothing of the library. Only for files of src/engine. Runs in the worker (and in tests). */
#pragma once
#include "core/errors.h"
#include "engine/json_scan.h"
#include "engine/policy_table.h"

#define POLICY_TEXT_DEPTH_MAX 8 /* texts inside of texts: query('from query(''..'')') */
#define POLICY_PATCHES_MAX 32

enum policy_object { POLICY_TABLE_OBJECT, POLICY_FUNCTION_OBJECT };

/* A name as the statement writes it; an empty span: not given. Escapes of JSON are still in it. */
struct policy_name {
    struct span catalog, schema, name;
};

/* Where a filtered function's name stands: what the caller has to replace before the statement runs. */
struct policy_patch {
    int64_t at; /* byte offset of the (qualified) name in the statement */
    const struct policy_function *function;
};

enum policy_verdict {
    POLICY_ALLOWED,
    POLICY_REFUSED,  /* *err says why */
    POLICY_UNJUDGED, /* the tree is an error: no SELECT, or nothing that the engine can parse */
};

struct policy_walk {
    /* Set by the caller. */
    const struct policy_table *table;
    const char *const *files;    /* see policy_path_inside */
    const char *const *catalogs; /* see policy_names_of; NULL: none */
    /* A text inside of the statement: its verdict, its effect merged. */
    enum policy_verdict (*text)(void *ctx, const char *sql, size_t len, unsigned depth, enum policy_effect *effect, struct error *err);
    /* A table, view or function of the database by that name: NULL or an allowed one: 0, its effect merged, *ret_known when there is such
     * an object at all. -1 with *err: there is one that is refused. */
    int (*object)(void *ctx, enum policy_object kind, const struct policy_name *name, bool *ret_known, enum policy_effect *effect, struct error *err);
    /* A function that is in no table and not the database's: 0 when the engine knows it neither, and will say so; -1 with *err. */
    int (*unknown)(void *ctx, struct span name, struct error *err);
    void *ctx;
    unsigned depth; /* of texts inside of texts: 0 for the statement itself */
    bool stored;    /* the SQL of a stored object: nothing can be replaced in it */
    bool macro;     /* a macro's: what looks like a column may be a parameter, and so anything */

    /* The verdict's other parts. */
    enum policy_effect effect;
    size_t patch_count;
    struct policy_patch patches[POLICY_PATCHES_MAX];
};

/* Reads the tree. The text must not change before this returns. */
enum policy_verdict policy_walk(struct policy_walk *w, const char *json, size_t len, struct error *err);

/* Fills *err: ERR_FORBIDDEN, `what` as "<kind> <name>", the reason and the way round (NULL: none) as the detail. Returns -1. */
int policy_refuse(struct error *err, const char *kind, struct span name, const char *reason, const char *way);
