/* `bulkhead config`: every key, from the table that the parser itself uses. Knows no file and no value in
 * force. Runs in the command line. */
#include "cli/cmd_config.h"
#include "core/config.h"
#include "core/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RANGE_MAX (2 * UNITS_TEXT_MAX + 40)

static const char usage[] = "usage: bulkhead config\n"
                            "Prints every configuration key: name, type, default, unit, range, when a change "
                            "takes effect after SIGHUP\n"
                            "(live: at once, workers: as workers are replaced, restart), and what it does.\n"
                            "A value is taken from the file (--config), the environment "
                            "(BULKHEAD_SECTION_KEY), --set section.key=value;\n"
                            "the later ones of these win.\n";

static void range_text(const struct config_key *k, char out[RANGE_MAX])
{
    char lo[UNITS_TEXT_MAX], hi[UNITS_TEXT_MAX];
    snprintf(lo, sizeof lo, "%" PRId64, k->min);
    snprintf(hi, sizeof hi, "%" PRId64, k->max);
    strcpy(out, "-");
    switch (k->type) {
    case CONFIG_DURATION:
        units_format_duration(k->min, lo);
        units_format_duration(k->max, hi);
        break;
    case CONFIG_SIZE:
        units_format_size(k->min, lo);
        units_format_size(k->max, hi);
        break;
    case CONFIG_INT: break;
    case CONFIG_LIST: snprintf(out, RANGE_MAX, "up to %s", hi); return;
    case CONFIG_TEXT:
    case CONFIG_BOOL:
    case CONFIG_ENUM: return;
    }
    snprintf(out, RANGE_MAX, "%s..%s%s", lo, hi, k->auto_allowed ? ", auto" : "");
}

static const char *default_text(const struct config_key *k) { return *k->default_text ? k->default_text : "(none)"; }

static int widest(int width, const char *text) { return (int)strlen(text) > width ? (int)strlen(text) : width; }

struct widths {
    int key, type, def, unit, range;
};

static void measure(const struct config_key *keys, size_t count, struct widths *w)
{
    char range[RANGE_MAX];
    for (size_t i = 0; i < count; i++) {
        range_text(&keys[i], range);
        w->key = widest(w->key, keys[i].key);
        w->type = widest(w->type, config_type_text(keys[i].type));
        w->def = widest(w->def, default_text(&keys[i]));
        w->unit = widest(w->unit, keys[i].unit);
        w->range = widest(w->range, range);
    }
}

static void print_keys(const struct config_key *keys, size_t count, const struct widths *w)
{
    const char *section = "";
    char range[RANGE_MAX];
    for (size_t i = 0; i < count; i++) {
        const struct config_key *k = &keys[i];
        if (strcmp(section, k->section) != 0)
            printf("%s[%s]\n", i ? "\n" : "", k->section);
        section = k->section;
        range_text(k, range);
        printf("%-*s  %-*s  %-*s  %-*s  %-*s  %-7s  %s\n", w->key, k->key, w->type, config_type_text(k->type), w->def, default_text(k), w->unit,
               k->unit, w->range, range, config_when_text(k->when), k->help);
    }
}

int cmd_config(int argc, char **argv)
{
    if (argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))) {
        fputs(usage, stdout);
        return fflush(stdout) ? 1 : 0;
    }
    if (argc > 1) {
        fputs("bulkhead config: takes no argument (see bulkhead config --help)\n", stderr);
        return 2;
    }
    struct widths w = {0};
    size_t count, source_count;
    const struct config_key *keys = config_keys(&count), *source_keys = config_source_key_rows(&source_count);
    measure(keys, count, &w);
    measure(source_keys, source_count, &w);
    print_keys(keys, count, &w);
    putchar('\n');
    print_keys(source_keys, source_count, &w);
    return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
