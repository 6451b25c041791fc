/* One value of the configuration: text into a field, a field into text. Knows the types and the ranges of a row, no place a value comes
 * from. Only for config_*.c. Pure. Runs in every process. */
#pragma once
#include "core/buf.h"
#include "core/config.h"

#define CONFIG_VALUE_MAX 16384 /* bytes of one value */
#define CONFIG_PHRASE_MAX 256  /* what is wrong with a value, as a phrase that follows its text */

/* Reads the text into the field (whose former value is freed), or only checks it when `field` is NULL. 0; -1, with the phrase in `why` and
 * the field untouched. */
int config_value_parse(const struct config_key *k, const char *text, void *field, char why[CONFIG_PHRASE_MAX]);
/* Appends the text that config_value_parse reads back; never longer than what it was read from, except for `auto` that was resolved. */
bool config_value_format(const struct config_key *k, const void *field, struct buf *b);
bool config_value_equal(const struct config_key *k, const void *a, const void *b);
/* Frees what the field owns, and then zeroes it; a number stays. */
void config_value_free(const struct config_key *k, void *field);

/* The field of a row in this configuration. */
static inline void *config_field(const struct config *cfg, const struct config_key *k) { return (char *)(uintptr_t)cfg + k->offset; }
