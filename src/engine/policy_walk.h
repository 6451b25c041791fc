/* What a walk over a parsed statement knows at the node where it is. Shared by policy_tree.c, which walks, and policy_judge.c, which judges what is met.
 * Only for those two. Runs in the worker (and in tests). */
#pragma once
#include "engine/policy_tree.h"

#include <string.h>

/* What a node is, from its class or type. */
enum policy_node {
    NODE_NONE,
    NODE_CLASS,
    NODE_CONSTANT,
    NODE_FUNCTION,
    NODE_COLUMN_REF,
    NODE_TYPE,
    NODE_BASE_TABLE,
    NODE_TABLE_FUNCTION,
    NODE_SHOW_REF,
};
enum policy_key {
    KEY_OTHER,
    KEY_ALIAS,
    KEY_CATALOG,
    KEY_CHILDREN,
    KEY_CLASS,
    KEY_COLUMN_NAMES,
    KEY_ERROR,
    KEY_FUNCTION,
    KEY_FUNCTION_NAME,
    KEY_ID,
    KEY_LOCATION,
    KEY_SAMPLE,
    KEY_SCHEMA,
    KEY_STATEMENTS,
    KEY_TABLE_NAME,
    KEY_TYPE,
    KEY_VALUE,
};

/* An open object or array. */
struct frame {
    bool array;
    bool table_function; /* a FUNCTION behind FROM */
    bool string;         /* value is one, and `varchar` its type's name; of a function: its first argument was judged */
    bool varchar;
    uint8_t key;     /* under which it stands; an array's elements take over the array's */
    uint8_t current; /* an object's: the key of the next value */
    uint8_t node;
    uint32_t count;   /* elements; of a COLUMN_REF its names */
    int64_t location; /* -1: none */
    const struct policy_function *function;
    struct policy_name name;
    struct span value, alias, type;
};

struct walk {
    struct policy_walk *w;
    struct error *err;
    struct frame *stack;
    unsigned depth, cap;
    bool one;    /* statement was found */
    bool failed; /* the tree says that it is none */
};

/* The object or array that many levels above the innermost one; NULL: there is none. */
static inline struct frame *frame_at(struct walk *k, unsigned up) { return k->depth > up ? &k->stack[k->depth - 1 - up] : NULL; }

/* All of these: 0, or -1 with the walk's error. */
int walk_malformed(struct walk *k, const char *what);
void walk_leaves(struct walk *k, enum policy_effect effect); /* merges an effect */
int judge_table(struct walk *k, const struct policy_name *n, int64_t location);
int judge_show(struct walk *k, const struct frame *f);
int judge_function(struct walk *k, struct frame *f);           /* as soon as its name is there: it comes before the arguments */
int judge_function_end(struct walk *k, struct frame *f);       /* when all of its name is there, and its arguments */
int judge_argument_end(struct walk *k, const struct frame *x); /* an object has ended: is it an argument of a function that takes only some? */
