/* What form a result takes (see the header). Runs in the front. */
#include "front/negotiate.h"
#include "core/buf.h"
#include "front/accept.h"

#include <string.h>
#include <strings.h>

/* How exactly a media range names a type. */
enum match { MATCH_NOT, MATCH_ANY, MATCH_MAIN, MATCH_EXACTLY };

/* A parameter that we can't fulfil makes the range mean something else than what we have. */
static bool params_fit(const struct accept_item *range)
{
    const char *v;
    size_t n;
    if (accept_param(range, "charset", &v, &n) && !(n == 5 && strncasecmp(v, "utf-8", n) == 0) && !(n == 8 && strncasecmp(v, "us-ascii", n) == 0))
        return false;
    return !(accept_param(range, "header", &v, &n) && n == 6 && strncasecmp(v, "absent", n) == 0);
}

static enum match match(const struct accept_item *range, const char *type)
{
    size_t main_len = (size_t)(strchr(type, '/') - type) + 1;
    if (range->q < 0 || !params_fit(range))
        return MATCH_NOT;
    if (accept_is(range, "*/*"))
        return MATCH_ANY;
    if (range->len == main_len + 1 && range->value[main_len] == '*' && strncasecmp(range->value, type, main_len) == 0)
        return MATCH_MAIN;
    return accept_is(range, type) ? MATCH_EXACTLY : MATCH_NOT;
}

/* The range that names the type most exactly decides its quality (RFC 9110, section 12.5.1). */
static int quality(const char *accept, const char *type, enum match *ret_how)
{
    struct accept_item range;
    int q = 0;
    *ret_how = MATCH_NOT;
    while (accept_next(&accept, &range)) {
        enum match how = match(&range, type);
        if (how > *ret_how || (how == *ret_how && how != MATCH_NOT && range.q > q)) {
            *ret_how = how;
            q = range.q;
        }
    }
    return q;
}

/* The best by quality; then what was named most exactly; then our own order, in which JSON is first. FORMAT_COUNT: none will do. */
static enum result_format best_format(const char *accept)
{
    int best = FORMAT_COUNT, best_q = 0;
    enum match best_how = MATCH_NOT;
    for (int f = 0; f < FORMAT_COUNT; f++) {
        enum match how = MATCH_NOT;
        int q = format_is_public((enum result_format)f) ? quality(accept, format_media_type((enum result_format)f), &how) : 0;
        if (q > best_q || (q == best_q && q > 0 && how > best_how)) {
            best = f;
            best_q = q;
            best_how = how;
        }
    }
    return (enum result_format)best;
}

static bool is_absent(const char *header)
{
    struct accept_item item;
    return !header || !accept_next(&header, &item);
}

int negotiate(enum result_format asked, const char *accept, struct negotiated *ret, struct error *err)
{
    enum result_format f = asked != FORMAT_COUNT ? asked : is_absent(accept) ? FORMAT_JSON : best_format(accept);
    if (f == FORMAT_COUNT) {
        struct buf list = BUF_INIT((size_t)1024);
        for (int i = 0; i < FORMAT_COUNT; i++)
            if (format_is_public((enum result_format)i))
                (void)buf_printf(&list, "%s%s", list.len ? ", " : "", format_media_type((enum result_format)i));
        error_set(err, ERR_NOT_ACCEPTABLE, "none of the accepted media types can be given; available: %.*s", (int)list.len,
                  (const char *)list.data);
        buf_free(&list);
        return -1;
    }
    *ret = (struct negotiated){.format = f};
    return 0;
}

const char *negotiated_content_type(const struct negotiated *n)
{
    /* How the text is to be read would else be guessed: CSV's charset and header line have no other place. */
    return n->format == FORMAT_CSV ? "text/csv; charset=utf-8; header=present" : format_media_type(n->format);
}
