/* Names of the configuration and their likeness. Pure. Runs in every process. */
#include "core/config_name.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define COMPARED_MAX 80 /* longer than every name that is known */
#define SOURCE_PREFIX "source."
#define SOURCE_SECTION "source.NAME"
#define SOURCE_NAME_MAX 31

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* How many letters must be put in, left out or exchanged (Levenshtein); of long texts only the beginning counts. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[COMPARED_MAX + 1];
    a_len = least(a_len, COMPARED_MAX);
    b_len = least(b_len, COMPARED_MAX);
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j], exchanged = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = least(exchanged, least(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[b_len];
}

const struct config_key *config_name_find(const char *section, const char *key)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++)
        if (!strcmp(keys[i].section, section) && !strcmp(keys[i].key, key))
            return &keys[i];
    return NULL;
}

const struct config_key *config_name_find_source_key(const char *key)
{
    size_t count;
    const struct config_key *keys = config_source_key_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (!strcmp(keys[i].key, key))
            return &keys[i];
    return NULL;
}

bool config_name_is_section(const char *section)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++)
        if (!strcmp(keys[i].section, section))
            return true;
    return false;
}

const char *config_name_of_source(const char *section)
{
    size_t len = strlen(SOURCE_PREFIX);
    return strncmp(section, SOURCE_PREFIX, len) ? NULL : section + len;
}

bool config_name_is_source_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return len >= 1 && len <= SOURCE_NAME_MAX && !name[len] && name[0] >= 'a' && name[0] <= 'z';
}

const char *config_name_nearest_section(const char *section)
{
    size_t count, len = strlen(section), stem = strcspn(section, ".");
    const struct config_key *keys = config_keys(&count);
    const char *best = SOURCE_SECTION; /* its NAME can be anything, so only what stands before the dot is compared */
    size_t best_distance = distance(section, stem, "source", strlen("source"));
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(section, len, keys[i].section, strlen(keys[i].section));
        if (d < best_distance) {
            best_distance = d;
            best = keys[i].section;
        }
    }
    return best;
}

static const struct config_key *nearest_in(const struct config_key *keys, size_t count, const char *section, const char *key)
{
    const struct config_key *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(key, strlen(key), keys[i].key, strlen(keys[i].key));
        d += section && strcmp(section, keys[i].section) != 0; /* several sections have a key of that name */
        if (d < best_distance) {
            best_distance = d;
            best = &keys[i];
        }
    }
    return best;
}

const struct config_key *config_name_nearest(const char *section, const char *key)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    return nearest_in(keys, count, section, key);
}

const struct config_key *config_name_nearest_source_key(const char *key)
{
    size_t count;
    const struct config_key *keys = config_source_key_rows(&count);
    return nearest_in(keys, count, NULL, key);
}

void config_name_variable(const struct config_key *k, char out[128])
{
    snprintf(out, 128, "BULKHEAD_%s_%s", k->section, k->key);
    for (char *c = out; *c; c++)
        *c = (char)toupper((unsigned char)*c);
}

const struct config_key *config_name_find_variable(const char *name, size_t len)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        char known[128];
        config_name_variable(&keys[i], known);
        if (strlen(known) == len && !memcmp(known, name, len))
            return &keys[i];
    }
    return NULL;
}

/* BULKHEAD_LIMITS_... can only be meant for us; BULKHEAD_SERVICE_HOST, BULKHEAD_PORT_8480_TCP are what Kubernetes sets beside a service of
 * that name, and BULKHEAD_FAULT, _BUILD and _TEST_* are the tests'. */
const struct config_key *config_name_nearest_variable(const char *name, size_t len)
{
    size_t count, best_distance = SIZE_MAX;
    const struct config_key *keys = config_keys(&count), *best = NULL;
    bool ours = false;
    for (size_t i = 0; i < count; i++) {
        char known[128];
        config_name_variable(&keys[i], known);
        size_t section = strlen("BULKHEAD_") + strlen(keys[i].section) + 1, d = distance(name, len, known, strlen(known));
        ours |= (len >= section && !memcmp(name, known, section)) || d <= 2;
        if (d < best_distance) {
            best_distance = d;
            best = &keys[i];
        }
    }
    return ours ? best : NULL;
}
