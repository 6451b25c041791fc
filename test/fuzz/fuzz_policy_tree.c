/* Any text as a statement's tree: a verdict comes out, and the same one again; what is refused says why; no name of a refused function
 * gets through as long as it stands in a call. */
#include "core/errors.h"
#include "engine/policy_names.h"
#include "engine/policy_stored.h"
#include "engine/policy_tree.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {"/srv/files/", "s3://lake/pub/", NULL};

/* A text inside of the tree is taken for a tree itself: to any depth that is allowed, and no deeper. */
static enum policy_verdict on_text(void *ctx, const char *sql, size_t len, unsigned depth, enum policy_effect *effect, struct error *err);

static int on_object(void *ctx, enum policy_object kind, const struct policy_name *name, bool *ret_known, enum policy_effect *effect,
                     struct error *err)
{
    const struct stored_object *refused;
    *ret_known = stored_find(ctx, kind, name, effect, &refused);
    return refused ? policy_refuse(err, "view", name->name, refused->why, NULL) : 0;
}

static int on_unknown(void *ctx, struct span name, struct error *err)
{
    (void)ctx;
    return name.len % 2 ? 0 : policy_refuse(err, "function", name, "unknown", NULL);
}

static const struct policy_table *the_table(void)
{
    static struct policy_table *t;
    if (!t)
        t = policy_table_new(NULL, NULL);
    return t;
}

static struct stored *the_objects(void)
{
    static struct stored *s;
    if (!s) {
        s = stored_new();
        stored_add(s, STORED_TABLE, "db", "main", "x.csv", NULL);
        stored_get(s, stored_add(s, STORED_VIEW, "db", "main", "bad \"view", NULL))->why = strdup("bad");
    }
    return s;
}

static enum policy_verdict walk(const char *json, size_t len, unsigned depth, bool stored, struct policy_walk *ret, struct error *err)
{
    *ret = (struct policy_walk){.table = the_table(),
                                .files = files,
                                .text = on_text,
                                .object = on_object,
                                .unknown = on_unknown,
                                .ctx = the_objects(),
                                .depth = depth,
                                .stored = stored,
                                .macro = stored};
    enum policy_verdict v = policy_walk(ret, json, len, err);
    CHECK(v != POLICY_REFUSED || (err->code == ERR_FORBIDDEN && err->what[0] && err->detail[0]));
    CHECK(ret->patch_count <= POLICY_PATCHES_MAX && ret->effect <= POLICY_SPENT);
    return v;
}

static enum policy_verdict on_text(void *ctx, const char *sql, size_t len, unsigned depth, enum policy_effect *effect, struct error *err)
{
    (void)ctx;
    struct policy_walk w;
    CHECK(depth <= POLICY_TEXT_DEPTH_MAX && strlen(sql) == len);
    enum policy_verdict v = walk(sql, len, depth, false, &w, err);
    if (w.effect > *effect)
        *effect = w.effect;
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *json = malloc(size ? size : 1); /* exactly so long: reading behind it is seen */
    CHECK(json);
    memcpy(json, data, size);
    struct policy_walk first, second;
    struct error err = {0}, again = {0};
    enum policy_verdict v = walk(json, size, 0, false, &first, &err);
    CHECK(walk(json, size, 0, false, &second, &again) == v && first.effect == second.effect && first.patch_count == second.patch_count);
    CHECK(memcmp(&err, &again, sizeof err) == 0);
    for (size_t i = 0; i < first.patch_count; i++)
        CHECK(first.patches[i].function->class == POLICY_FILTERED && first.patches[i].at >= 0);
    /* A stored body may never more than a statement. */
    if (v != POLICY_ALLOWED)
        CHECK(walk(json, size, 0, true, &second, &again) != POLICY_ALLOWED);
    free(json);
    return 0;
}
