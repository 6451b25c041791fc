/* The table of layers and their reports. Runs in every process. */
#include "core/layers.h"
#include "core/buf.h"
#include "core/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct row {
    const char *name, *help;
    enum layer_role role;
} rows[LAYER_COUNT] = {
#define LAYER(id, name_, role_, help_) [LAYER_##id] = {name_, help_, LAYER_OF_##role_},
#include "core/layers.def"
#undef LAYER
};

#define NAME_MAX_BYTES 24
_Static_assert(LAYER_COUNT *(NAME_MAX_BYTES + LAYER_DETAIL_BYTES) < LAYERS_TEXT_MAX, "a report of all layers must fit");

/* Indexed by enum layer_state; the letters of a report. */
static const char letters[LAYER_STATES] = {'?', 'o', 'm', 'f'};

const char *layer_name(enum layer_id id)
{
    CHECK((unsigned)id < LAYER_COUNT);
    return rows[id].name;
}

const char *layer_help(enum layer_id id)
{
    CHECK((unsigned)id < LAYER_COUNT);
    return rows[id].help;
}

enum layer_role layer_role(enum layer_id id)
{
    CHECK((unsigned)id < LAYER_COUNT);
    return rows[id].role;
}

const char *layer_state_text(enum layer_state s)
{
    static const char *const texts[LAYER_STATES] = {"unknown", "off", "missing", "in force"};
    CHECK((unsigned)s < LAYER_STATES);
    return texts[s];
}

enum layer_id layer_by_name(const char *name)
{
    int i = 0;
    while (i < LAYER_COUNT && strcmp(rows[i].name, name) != 0)
        i++;
    return (enum layer_id)i;
}

void layers_set(struct layers *l, enum layer_id id, enum layer_state state, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    l->of[id].state = state;
    vsnprintf(l->of[id].detail, LAYER_DETAIL_BYTES, format, args);
    va_end(args);
}

bool layers_write(const struct layers *l, enum layer_role role, struct buf *b)
{
    for (int i = 0; i < LAYER_COUNT; i++) {
        const struct layer *x = &l->of[i];
        if (rows[i].role == role && !buf_printf(b, "%s=%c%s\n", rows[i].name, letters[x->state], x->detail))
            return false;
    }
    return true;
}

/* One line: NAME=LETTER DETAIL, without the blank. */
static void read_line(struct layers *l, enum layer_role role, const char *line, size_t len)
{
    char name[NAME_MAX_BYTES];
    const char *equals = memchr(line, '=', len);
    if (!equals || equals == line || (size_t)(equals - line) >= sizeof name || (size_t)(equals - line) + 1 >= len)
        return;
    size_t n = (size_t)(equals - line);
    memcpy(name, line, n);
    name[n] = 0;
    enum layer_id id = layer_by_name(name);
    const char *letter = memchr(letters, equals[1], sizeof letters);
    if (id == LAYER_COUNT || rows[id].role != role || !letter)
        return;
    layers_set(l, id, (enum layer_state)(letter - letters), "%.*s", (int)(len - n - 2), equals + 2);
}

void layers_read(struct layers *l, enum layer_role role, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        read_line(l, role, text, len);
        text += len + (text[len] != 0);
    }
}

bool layers_differ(const struct layers *a, const struct layers *b)
{
    for (int i = 0; i < LAYER_COUNT; i++)
        if (a->of[i].state != b->of[i].state || strcmp(a->of[i].detail, b->of[i].detail) != 0)
            return true;
    return false;
}

int layers_check_names(const struct text_list *names, struct error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        if (layer_by_name(names->items[i]) != LAYER_COUNT)
            continue;
        char all[700] = "";
        for (int k = 0; k < LAYER_COUNT; k++)
            snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", k ? ", " : "", rows[k].name);
        return error_set(err, ERR_BAD_REQUEST, "sandbox.require: there is no layer \"%.60s\"; layers are %s", names->items[i], all);
    }
    return 0;
}

int layers_require(const struct layers *l, enum layer_role role, const struct text_list *names, struct error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        enum layer_id id = layer_by_name(names->items[i]);
        if (id == LAYER_COUNT || rows[id].role != role || l->of[id].state == LAYER_IN_FORCE)
            continue;
        const struct layer *x = &l->of[id];
        return error_set(err, ERR_BAD_REQUEST, "sandbox.require: the layer %s is %s%s%s", rows[id].name, layer_state_text(x->state),
                         x->detail[0] ? ": " : "", x->detail);
    }
    return 0;
}

void layers_summary(const struct layers *l, char *ret, size_t cap)
{
    struct buf b = {.data = ret, .cap = cap - 1, .max = cap - 1};
    unsigned in_force = 0, missing = 0;
    for (int i = 0; i < LAYER_COUNT; i++)
        in_force += l->of[i].state == LAYER_IN_FORCE;
    bool ok = buf_printf(&b, "%u in force", in_force);
    for (int i = 0; ok && i < LAYER_COUNT; i++) {
        if (l->of[i].state != LAYER_MISSING)
            continue;
        ok = buf_printf(&b, "%s%s (%s)", missing++ ? ", " : "; missing: ", rows[i].name, l->of[i].detail);
    }
    ret[b.len] = 0;
}
