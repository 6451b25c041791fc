/* Column names that differ from each other (see the header). Runs in the worker. */
#include "result/names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The names given out so far, sorted, each with the number that its next repetition tries first. */
struct taken {
    const char *name;
    uint32_t next;
};

static int compare(const void *a, const void *b) { return strcasecmp(*(char *const *)a, *(char *const *)b); }

static bool all_differ(char *const *names, uint32_t count)
{
    char **sorted = malloc((count ? count : 1) * sizeof *sorted);
    if (!sorted)
        return false;
    memcpy(sorted, names, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    bool differ = true;
    for (uint32_t i = 1; i < count && differ; i++)
        differ = strcasecmp(sorted[i - 1], sorted[i]) != 0;
    free(sorted);
    return differ;
}

/* Where the name stands among the sorted ones, or where it belongs. */
static uint32_t place_of(const struct taken *t, uint32_t count, const char *name, bool *ret_found)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcasecmp(t[middle].name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

static void take(struct taken *t, uint32_t count, uint32_t place, const char *name)
{
    memmove(&t[place + 1], &t[place], (count - place) * sizeof *t);
    t[place] = (struct taken){name, 1};
}

/* names[i] as it is if it is new, else with the first free number. */
static bool make_different(struct taken *t, char **names, uint32_t i)
{
    bool found;
    uint32_t first = place_of(t, i, names[i], &found), place = first;
    while (found) {
        char *numbered;
        if (asprintf(&numbered, "%s_%u", names[i], t[first].next) < 0)
            return false;
        place = place_of(t, i, numbered, &found);
        if (!found) {
            free(names[i]);
            names[i] = numbered;
            break;
        }
        free(numbered);
        t[first].next++;
    }
    take(t, i, place, names[i]);
    return true;
}

char **names_unique(const struct column *columns, uint32_t count)
{
    char **names = calloc(count ? count : 1, sizeof *names);
    struct taken *t = calloc(count ? count : 1, sizeof *t);
    bool ok = names && t;
    for (uint32_t i = 0; ok && i < count; i++)
        ok = (names[i] = strdup(columns[i].name)) != NULL;
    if (ok && !all_differ(names, count))
        for (uint32_t i = 0; ok && i < count; i++)
            ok = make_different(t, names, i);
    free(t);
    if (ok)
        return names;
    if (names)
        names_free(names, count);
    return NULL;
}

void names_free(char **names, uint32_t count)
{
    for (uint32_t i = 0; names && i < count; i++)
        free(names[i]);
    free(names);
}
