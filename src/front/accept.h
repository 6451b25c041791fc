/* Headers that list what a client takes, with qualities: Accept, Accept-Encoding. Pure functions on text. Runs in the front. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* One element: `text/csv; header=present; q=0.5`. Points into the header. */
struct accept_item {
    const char *value; /* without parameters; no blanks around it */
    size_t len;
    const char *params, *end; /* behind the value, and behind all */
    int q;                    /* thousandths, 0 to 1000; -1: the element is nonsense */
};

/* The next element at *p, which moves on; false at the end. Empty elements are skipped. */
bool accept_next(const char **p, struct accept_item *ret);
/* The value of a parameter, its quotes left out (a backslash inside stays); false: absent. The name's case does not matter. */
bool accept_param(const struct accept_item *item, const char *name, const char **ret_value, size_t *ret_len);
/* Whether the element's value is this text; case does not matter. */
bool accept_is(const struct accept_item *item, const char *text);
