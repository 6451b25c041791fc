/* The layers of the sandbox as data: which there are, and what became of each. A report travels as text, one line for each layer, from the
 * process that puts a layer in force to the one that shows it. Knows nothing of how a layer is made. Runs in every process. */
#pragma once
#include "core/errors.h"
#include <stdbool.h>
#include <stddef.h>

struct buf;
struct text_list;

enum layer_id {
#define LAYER(id, name, role, help) LAYER_##id,
#include "core/layers.def"
#undef LAYER
    LAYER_COUNT
};
enum layer_role { LAYER_OF_WORKER, LAYER_OF_FRONT, LAYER_OF_BROKER, LAYER_OF_SUPERVISOR, LAYER_ROLES };
enum layer_state {
    LAYER_UNKNOWN,  /* not reported (yet) */
    LAYER_OFF,      /* not wanted here; the detail says why */
    LAYER_MISSING,  /* wanted, and not to be had on this machine or for this user */
    LAYER_IN_FORCE, /* put in place and read back, or run into */
    LAYER_STATES
};

#define LAYER_DETAIL_BYTES 112
#define LAYERS_TEXT_MAX 4000 /* of a report of all layers: a pipe takes it whole */

struct layer {
    enum layer_state state;
    char detail[LAYER_DETAIL_BYTES];
};
struct layers {
    struct layer of[LAYER_COUNT];
};

const char *layer_name(enum layer_id id); /* "landlock" */
const char *layer_help(enum layer_id id);
enum layer_role layer_role(enum layer_id id);
const char *layer_state_text(enum layer_state s); /* "in force" */
/* LAYER_COUNT when there is none of that name. */
enum layer_id layer_by_name(const char *name);

/* The detail by printf's rules; a longer one is cut. */
void layers_set(struct layers *l, enum layer_id id, enum layer_state state, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Appends the report of one role's layers. False: the buffer is full. */
bool layers_write(const struct layers *l, enum layer_role role, struct buf *b);
/* Takes over what a report says of the layers of that role, and nothing else: its writer need not be trusted. Lines that make no sense are
 * passed over. */
void layers_read(struct layers *l, enum layer_role role, const char *text);
/* True when any layer of the two differs in its state or detail. */
bool layers_differ(const struct layers *a, const struct layers *b);

/* Are these the names of layers ([sandbox] require)? 0, or -1 with *err, which lists them. */
int layers_check_names(const struct text_list *names, struct error *err);
/* Is every named layer of that role in force? 0, or -1 with *err: which is not, and why. */
int layers_require(const struct layers *l, enum layer_role role, const struct text_list *names, struct error *err);
/* "14 in force; missing: landlock (detail)": for people, one line, cut to fit. */
void layers_summary(const struct layers *l, char *ret, size_t cap);
