/* Endpoints of sources. Runs in supervisor and worker. */
#include "link/egress.h"
#include "core/config.h"
#include "core/errors.h"

#include <stdio.h>
#include <string.h>

size_t egress_endpoints(const struct config *cfg, const char *set, struct egress_endpoint ret[SOURCES_PER_SET])
{
    char name[SOURCE_NAME_BYTES];
    size_t at = 0, n = 0;
    while (source_set_next(set, &at, name) && n < SOURCES_PER_SET) {
        const struct config_source *c = sources_find(cfg, name);
        struct source s;
        struct error ignored;
        if (!c || source_read(c, &s, &ignored) < 0 || !source_is_remote(&s))
            continue;
        struct egress_endpoint *e = &ret[n++];
        *e = (struct egress_endpoint){.port = (uint32_t)s.port};
        memcpy(e->source, s.name, sizeof e->source);
        memcpy(e->host, s.host, sizeof e->host);
    }
    return n;
}

int egress_unix_path(const struct egress_endpoint *e, char *ret, size_t cap)
{
    return (size_t)snprintf(ret, cap, "%s/.s.PGSQL.%u", e->host, e->port) < cap;
}
