/* Content negotiation by the Accept header. Pure functions on text. Runs in the front. */
#include "front/front.h"

#include <string.h>
#include <strings.h>

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* How exactly a media range matches: 3 type/subtype, 2 type/star, 1 star/star, 0 not at all. */
static int match(const char *range, size_t len, const char *type)
{
    const char *slash = strchr(type, '/');
    size_t main_len = (size_t)(slash - type) + 1;
    if (len == 3 && strncmp(range, "*/*", 3) == 0)
        return 1;
    if (len == main_len + 1 && range[len - 1] == '*' && strncasecmp(range, type, main_len) == 0)
        return 2;
    return len == strlen(type) && strncasecmp(range, type, len) == 0 ? 3 : 0;
}

/* True when the parameters hold a quality of zero. */
static bool refused(const char *params, const char *end)
{
    for (const char *p = params; p < end;) {
        p = skip_space(p);
        if (end - p >= 3 && (p[0] == 'q' || p[0] == 'Q') && p[1] == '=') {
            const char *v = p + 2;
            if (*v != '0')
                return false;
            for (v++; v < end && (*v == '.' || *v == '0'); v++)
                ;
            return v >= end || *v == ';' || *v == ' ' || *v == '\t';
        }
        const char *semicolon = memchr(p, ';', (size_t)(end - p));
        p = semicolon ? semicolon + 1 : end;
    }
    return false;
}

bool accept_allows(const char *accept_header, const char *media_type)
{
    if (!accept_header || !*skip_space(accept_header))
        return true;
    int best = 0;
    bool allowed = false;
    for (const char *p = accept_header; *p;) {
        p = skip_space(p);
        const char *end = p + strcspn(p, ",");
        size_t len = strcspn(p, ",; \t");
        int m = match(p, len, media_type);
        if (m > best) {
            const char *semicolon = memchr(p, ';', (size_t)(end - p));
            best = m;
            allowed = !refused(semicolon ? semicolon + 1 : end, end);
        }
        p = *end ? end + 1 : end;
    }
    return allowed;
}
