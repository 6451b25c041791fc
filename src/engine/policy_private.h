/* What src/engine/policy.c and policy_load.c share. Only for them. Runs in the worker. */
#pragma once
#include "engine/filtered.h"
#include "engine/policy.h"

struct policy {
    duckdb_connection con;
    duckdb_prepared_statement serialize, exists;
    struct policy_table *table;
    struct stored *stored;
    struct filtered *filtered;
    char **files, **catalogs;
    const struct stored_object *shadow; /* a refused object that any statement may use without naming it; NULL: none */
    enum policy_effect shadow_effect;   /* of those that are not refused */
};

/* What the callbacks of one walk need. */
struct judge {
    struct policy *p;
    uint32_t user; /* the stored object whose body this is */
    bool stored, macro;
    bool renamed; /* the stand-ins of filtered functions are in the text: what may be there is known */
};

/* The verdict on a text as policy_judge gives it, but that nothing is replaced in it; `w` has the effect so far. */
enum policy_verdict policy_judge_text(struct judge *j, const char *sql, size_t len, unsigned depth, struct policy_walk *w, struct error *err);

/* Judges what the database itself holds, see policy_new. 0, or -1 with *err. */
int policy_load(struct policy *p, struct error *err);
