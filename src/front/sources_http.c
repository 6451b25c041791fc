/* GET /v1/sources, and who may use which. Never tells more of a source than is needed to use it. Runs in the front. */
#include "core/buf.h"
#include "core/source.h"
#include "front/caller.h"
#include "front/sessions_http.h"

#include <stdio.h>
#include <string.h>

#define LIST_BYTES ((size_t)1 << 20)

/* key: NULL without a key file. */
static bool key_may_use(const struct key *key, enum key_role role, const struct source *s)
{
    char word[SOURCE_NAME_BYTES + 2];
    snprintf(word, sizeof word, ",%s,", s->name);
    if (key && key->sources && !strstr(key->sources, word))
        return false; /* the key's own list */
    return source_allows(s, key_role_text(role), key ? key->tenant->name : "");
}

static bool may_use(const struct front *f, const struct exchange *x, const struct source *s)
{
    struct caller c = caller_of(f, x);
    return key_may_use(c.api_key, c.role, s);
}

void sources_list(struct front *f, struct exchange *x)
{
    struct buf b = BUF_INIT(LIST_BYTES);
    size_t n = 0;
    buf_puts(&b, "{\"sources\":[");
    for (size_t i = 0; i < f->cfg->source_count; i++) {
        struct source s;
        struct error ignored; /* the supervisor has checked them all */
        char uri[1200];
        if (source_read(&f->cfg->sources[i], &s, &ignored) < 0 || !may_use(f, x, &s))
            continue;
        buf_printf(&b, "%s{\"name\":\"%s\",\"type\":\"%s\"", n++ ? "," : "", s.name, source_type_text(s.type));
        /* What stands in FROM '...'; the others are catalogs of their own name. */
        if (s.type == SOURCE_IS_s3) {
            snprintf(uri, sizeof uri, "s3://%s/%s", s.bucket, s.prefix);
            buf_puts(&b, ",\"uri\":");
            buf_json_string(&b, uri, strlen(uri));
        } else if (s.type == SOURCE_IS_files) {
            buf_puts(&b, ",\"uri\":");
            buf_json_string(&b, s.path, strlen(s.path));
        }
        buf_puts(&b, "}");
    }
    CHECK(buf_puts(&b, "]}\n"));
    exchange_answer(x, 200, "application/json", b.data, b.len);
    buf_free(&b);
}

int sources_allowed(const struct front *f, const struct exchange *x, const char *set, struct error *err)
{
    char name[SOURCE_NAME_BYTES];
    size_t at = 0;
    while (source_set_next(set, &at, name)) {
        const struct config_source *c = sources_find(f->cfg, name);
        struct source s;
        if (!c || source_read(c, &s, err) < 0 || !may_use(f, x, &s))
            return error_set(err, ERR_NOT_FOUND, "there is no source '%s'", name);
    }
    return 0;
}

const char *sources_lost(const struct front *f, const struct key *key, enum key_role role, const char *set, char name[SOURCE_NAME_BYTES])
{
    size_t at = 0;
    while (source_set_next(set, &at, name)) {
        const struct config_source *c = sources_find(f->cfg, name);
        struct source s;
        struct error ignored;
        if (c && source_read(c, &s, &ignored) == 0 && !key_may_use(key, role, &s))
            return name;
    }
    return NULL;
}
