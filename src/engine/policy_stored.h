/* The database's own views, macros and tables with generated columns: each with the verdict on its body, carried on to whatever uses it.
 * Knows names and who uses whom; the verdict itself comes from its caller. Knows nothing of the library. Only for files of src/engine.
 * Runs in the worker (and in tests). */
#pragma once
#include "engine/policy_tree.h"

enum stored_kind { STORED_TABLE, STORED_VIEW, STORED_MACRO };

/* Whether it bears a name of the engine's own, where the engine finds it by that name alone. */
enum stored_engines {
    STORED_ENGINES_NOT,
    STORED_ENGINES_HOME, /* from every statement */
    STORED_ENGINES_AWAY  /* from views of its own database, which is another one than statements mean without naming it */
};

struct stored_object {
    enum stored_kind kind;
    char *database, *schema, *name;
    char *body;      /* SQL that runs when it is used; NULL: none */
    char *why;       /* refused, and this is the reason; NULL: allowed */
    uint8_t effect;  /* enum policy_effect of its body and all that it uses */
    uint8_t engines; /* enum stored_engines */
    /* Of a macro: the most parameters of its forms; whether it is called in FROM; whether names and types of its parameters are plain words. */
    uint32_t parameters;
    bool from, plain;
    /* The set's own. */
    uint64_t hash;
    uint32_t chain;
};

struct stored;

struct stored *stored_new(void);
void stored_free(struct stored *s);

/* Adds an object; copies all texts (body may be NULL). Several of one name are fine. Returns its number. */
uint32_t stored_add(struct stored *s, enum stored_kind kind, const char *database, const char *schema, const char *name, const char *body);
uint32_t stored_count(const struct stored *s);
struct stored_object *stored_get(struct stored *s, uint32_t number);

/* `user` uses whatever `name` may stand for. True when there is such an object. */
bool stored_use(struct stored *s, uint32_t user, enum policy_object kind, const struct policy_name *name);
/* Carries verdicts and effects from the used to their users, over any number of steps. After the last stored_use. */
void stored_settle(struct stored *s);

/* What the name may stand for: true when there is such an object, with its effect merged; *ret_refused is one that is refused, or NULL. */
bool stored_find(const struct stored *s, enum policy_object kind, const struct policy_name *name, enum policy_effect *effect,
                 const struct stored_object **ret_refused);

/* No object is refused, and none leaves anything behind. */
bool stored_all_plain(const struct stored *s);
/* The engine has such a name; bare names in statements mean `home`. */
void stored_mark_engines(struct stored *s, enum policy_object kind, const char *home, const char *name);
/* Of a database that isn't home: when the engine may use a refused object of it unseen, all of that database's objects are refused; effects are passed on
 * likewise. True when one became worse: then stored_settle, and again. */
bool stored_taint(struct stored *s);

const char *stored_kind_text(enum stored_kind kind); /* "view" */
