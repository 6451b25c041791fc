/* Names of the configuration: which exist, and which one was probably meant. Knows the table, no value. Only for config*.c. Pure.
 * Runs in every process. */
#pragma once
#include "core/config.h"

#define CONFIG_NAME_MAX 49 /* bytes of a section's and a key's name: what inih keeps */

/* NULL when there is none. */
const struct config_key *config_name_find(const char *section, const char *key);
const struct config_key *config_name_find_source_key(const char *key);
/* True for sections of the table, not for sources. */
bool config_name_is_section(const char *section);
/* NAME of "source.NAME", inside the text; NULL for other sections. */
const char *config_name_of_source(const char *section);
bool config_name_is_source_name(const char *name);

/* The most alike; there is always one. */
const char *config_name_nearest_section(const char *section);
const struct config_key *config_name_nearest(const char *section, const char *key);
const struct config_key *config_name_nearest_source_key(const char *key);

/* Environment variables: the key that `name` (up to the '=', `len` bytes) stands for; NULL when there is none. */
const struct config_key *config_name_find_variable(const char *name, size_t len);
/* The most alike, when it begins with a section's name or is at most two letters off; NULL for a variable that means something else. */
const struct config_key *config_name_nearest_variable(const char *name, size_t len);
/* BULKHEAD_SECTION_KEY */
void config_name_variable(const struct config_key *k, char out[128]);
