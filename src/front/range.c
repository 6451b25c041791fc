/* Which bytes are asked for (see the header). Runs in the front. */
#include "front/range.h"

#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *p) { return p + strspn(p, " \t"); }

/* A number of digits; one that is larger than anything counts as INT64_MAX. NULL: no digit stands there. */
static const char *read_number(const char *p, int64_t *ret)
{
    int64_t v = 0;
    const char *from = p;
    for (; *p >= '0' && *p <= '9'; p++)
        v = v > (INT64_MAX - 9) / 10 ? INT64_MAX - 9 : v * 10 + (*p - '0');
    *ret = v;
    return p == from ? NULL : p;
}

/* `A-B`, `A-` or `-N`: first = -1 for the last form, last = -1 for the second. False: it is none of them. */
static bool parse(const char *p, int64_t *ret_first, int64_t *ret_last)
{
    *ret_first = *ret_last = -1;
    p = skip_blanks(p);
    bool suffix = *p == '-';
    if (!suffix && !(p = read_number(p, ret_first)))
        return false;
    if (*p++ != '-')
        return false;
    const char *after = read_number(p, ret_last);
    if (!after)
        *ret_last = -1;
    if (suffix && !after)
        return false;
    p = skip_blanks(after ? after : p);
    return *p == 0 && (suffix || !after || *ret_last >= *ret_first);
}

struct range range_choose(const char *range, const char *if_range, const char *etag, int64_t bytes)
{
    struct range whole = {RANGE_WHOLE, 0, bytes}, outside = {.kind = RANGE_OUTSIDE};
    int64_t first, last;
    if (!range || strncasecmp(range, "bytes=", 6) != 0 || !parse(range + 6, &first, &last))
        return whole;
    if (if_range && strcmp(if_range, etag) != 0) /* a weak tag, another one, or a date: we give none */
        return whole;
    if (first < 0) {
        if (last == 0 || bytes == 0)
            return outside;
        return (struct range){RANGE_PART, last < bytes ? bytes - last : 0, bytes};
    }
    if (first >= bytes)
        return outside;
    return (struct range){RANGE_PART, first, last < 0 || last >= bytes ? bytes : last + 1};
}

/* Does the list name the tag? weak: W/"x" counts as "x". */
static bool names(const char *list, const char *etag, bool weak)
{
    for (const char *p = skip_blanks(list); *p; p = skip_blanks(p + strspn(p, ", \t"))) {
        if (*p == '*')
            return true;
        bool is_weak = strncmp(p, "W/", 2) == 0;
        p += is_weak ? 2 : 0;
        const char *end = *p == '"' ? strchr(p + 1, '"') : NULL;
        if (!end)
            return false;
        size_t n = (size_t)(end + 1 - p);
        if ((weak || !is_weak) && n == strlen(etag) && memcmp(p, etag, n) == 0)
            return true;
        p = end + 1;
    }
    return false;
}

enum range_condition range_condition(const char *if_match, const char *if_none_match, const char *etag)
{
    if (if_match && !names(if_match, etag, false))
        return CONDITION_FAILED;
    return if_none_match && names(if_none_match, etag, true) ? CONDITION_NOT_MODIFIED : CONDITION_NONE;
}
