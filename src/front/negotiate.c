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

static int choose_format(const struct wishes *w, enum result_format *ret, struct error *err)
{
    *ret = w->format != FORMAT_COUNT ? w->format : is_absent(w->accept) ? FORMAT_JSON : best_format(w->accept);
    if (*ret != FORMAT_COUNT)
        return 0;
    struct buf list = BUF_INIT((size_t)1024);
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (format_is_public((enum result_format)i))
            (void)buf_printf(&list, "%s%s", list.len ? ", " : "", format_media_type((enum result_format)i));
    error_set(err, ERR_NOT_ACCEPTABLE, "none of the accepted media types can be given; available: %.*s", (int)list.len, (const char *)list.data);
    buf_free(&list);
    return -1;
}

/* What Accept-Encoding says of each coding; -1: nothing. */
struct codings {
    int zstd, gzip, identity, any;
};

static int *quality_of(struct codings *c, const struct accept_item *item)
{
    if (accept_is(item, "zstd"))
        return &c->zstd;
    if (accept_is(item, "gzip") || accept_is(item, "x-gzip"))
        return &c->gzip;
    if (accept_is(item, "identity"))
        return &c->identity;
    return accept_is(item, "*") ? &c->any : NULL;
}

static struct codings read_codings(const char *header)
{
    struct codings c = {-1, -1, -1, -1};
    struct accept_item item;
    while (header && accept_next(&header, &item)) {
        int *q = quality_of(&c, &item);
        if (q && item.q > *q)
            *q = item.q;
    }
    return c;
}

/* zstd before gzip where both are liked the same; none where that is liked better. `*` names nothing, but may refuse what is not named. */
static int choose_coding(const char *header, bool only_if_must, enum result_coding *ret, struct error *err)
{
    struct codings c = read_codings(header);
    bool must = c.identity == 0 || (c.identity < 0 && c.any == 0);
    if (must && c.zstd < 0)
        c.zstd = c.any;
    if (must && c.gzip < 0)
        c.gzip = c.any;
    enum result_coding best = c.zstd >= c.gzip ? CODING_ZSTD : CODING_GZIP;
    int q = best == CODING_ZSTD ? c.zstd : c.gzip;
    *ret = CODING_NONE;
    if (must && q <= 0)
        return error_set(err, ERR_NOT_ACCEPTABLE, "none of the accepted encodings can be given; available: zstd, gzip, identity");
    if (must || (q > 0 && q >= c.identity && !only_if_must))
        *ret = best;
    return 0;
}

/* Whether a range for Arrow has zstd among its `codecs`. */
static bool asks_for_zstd_inside(const char *accept)
{
    struct accept_item range;
    const char *v;
    size_t n;
    while (accept && accept_next(&accept, &range)) {
        if (range.q <= 0 || !accept_is(&range, format_media_type(FORMAT_ARROW)) || !accept_param(&range, "codecs", &v, &n))
            continue;
        for (size_t i = 0; i + 4 <= n; i++)
            if (strncasecmp(v + i, "zstd", 4) == 0)
                return true;
    }
    return false;
}

int negotiate(const struct wishes *w, struct negotiated *ret, struct error *err)
{
    struct negotiated n = {.coding = CODING_NONE};
    if (choose_format(w, &n.format, err) < 0)
        return -1;
    bool compresses_itself = n.format == FORMAT_ARROW || n.format == FORMAT_PARQUET;
    if (choose_coding(w->accept_encoding, compresses_itself, &n.coding, err) < 0)
        return -1;
    if (n.format == FORMAT_ARROW && asks_for_zstd_inside(w->accept))
        n.ipc_coding = CODING_ZSTD;
    *ret = n;
    return 0;
}

const char *negotiated_content_type(const struct negotiated *n)
{
    if (n->format == FORMAT_CSV) /* how the text is to be read would else be guessed: charset and header line have no other place */
        return "text/csv; charset=utf-8; header=present";
    return n->ipc_coding == CODING_ZSTD ? "application/vnd.apache.arrow.stream; codecs=zstd" : format_media_type(n->format);
}
