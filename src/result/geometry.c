/* GEOMETRY: little-endian WKB, as the engine stores it, to the WKT that its cast to VARCHAR prints. Runs in the worker.
 * The engine checks WKB where it comes in, so a broken one can only come from a broken file; its text is then cut short. */
#include "result/bytes.h"
#include "result/real.h"

#define DEPTH_MAX 16 /* the engine's own limit for collections in collections */

enum { POINT = 1, LINESTRING, POLYGON, MULTIPOINT, MULTILINESTRING, MULTIPOLYGON, COLLECTION };

struct wkb {
    const uint8_t *pos, *end;
    struct text *text;
};

/* 1: ended early, as the bytes make no sense. -1: stop. 0: go on. */
#define BROKEN 1

static int read_u32(struct wkb *w, uint32_t *ret_v)
{
    if (w->end - w->pos < 4)
        return BROKEN;
    memcpy(ret_v, w->pos, 4);
    w->pos += 4;
    return 0;
}

static int read_head(struct wkb *w, unsigned *ret_type, unsigned *ret_flags)
{
    uint32_t meta = 0;
    if (w->pos == w->end || *w->pos++ != 1 || read_u32(w, &meta))
        return BROKEN;
    *ret_type = (meta & 0xffff) % 1000;
    *ret_flags = (meta & 0xffff) / 1000;
    return 0;
}

static unsigned dimensions(unsigned flags) { return 2 + (flags & 1) + (flags >> 1 & 1); }

static int put_vertex(struct wkb *w, unsigned dims)
{
    uint8_t out[4 * (REAL_TEXT_MAX + 1)], *p = out;
    if ((size_t)(w->end - w->pos) < dims * sizeof(double))
        return BROKEN;
    for (unsigned i = 0; i < dims; i++) {
        double v;
        memcpy(&v, w->pos, sizeof(v));
        w->pos += sizeof(v);
        if (i > 0)
            *p++ = ' ';
        uint8_t *number = p;
        p = real_put_double(p, v, REAL_VARCHAR);
        if (p - number > 2 && p[-1] == '0' && p[-2] == '.')
            p -= 2; /* 10.0 is printed as 10 */
    }
    return text_put(w->text, out, (size_t)(p - out));
}

static int put_point(struct wkb *w, unsigned dims, bool brackets)
{
    bool empty = true;
    if ((size_t)(w->end - w->pos) < dims * sizeof(double))
        return BROKEN;
    for (unsigned i = 0; i < dims; i++) {
        double v;
        memcpy(&v, w->pos + i * sizeof(v), sizeof(v));
        empty &= v != v;
    }
    if (empty) {
        w->pos += dims * sizeof(double);
        return text_puts(w->text, "EMPTY");
    }
    if (!brackets)
        return put_vertex(w, dims);
    int r = text_puts(w->text, "(");
    if (r || (r = put_vertex(w, dims)))
        return r;
    return text_puts(w->text, ")");
}

typedef int (*put_item_fn)(struct wkb *w, unsigned dims, unsigned flags, int depth);

/* A count and so many items: (a, b, c) or EMPTY */
static int put_items(struct wkb *w, unsigned flags, int depth, put_item_fn put)
{
    uint32_t count;
    int r = read_u32(w, &count);
    if (r)
        return r;
    if (count == 0)
        return text_puts(w->text, "EMPTY");
    if (text_puts(w->text, "(") < 0)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && text_puts(w->text, ", ") < 0)
            return -1;
        if ((r = put(w, dimensions(flags), flags, depth)))
            return r;
    }
    return text_puts(w->text, ")");
}

static int vertex_item(struct wkb *w, unsigned dims, unsigned flags, int depth)
{
    (void)flags, (void)depth;
    return put_vertex(w, dims);
}

static int ring_item(struct wkb *w, unsigned dims, unsigned flags, int depth)
{
    (void)dims;
    return put_items(w, flags, depth, vertex_item);
}

/* the parts of MULTI... carry heads of their own, which are not printed */
static int skip_head(struct wkb *w)
{
    unsigned type, flags;
    return read_head(w, &type, &flags);
}

static int point_part(struct wkb *w, unsigned dims, unsigned flags, int depth)
{
    (void)flags, (void)depth;
    return skip_head(w) ? BROKEN : put_point(w, dims, false);
}

static int line_part(struct wkb *w, unsigned dims, unsigned flags, int depth)
{
    (void)dims;
    return skip_head(w) ? BROKEN : put_items(w, flags, depth, vertex_item);
}

static int polygon_part(struct wkb *w, unsigned dims, unsigned flags, int depth)
{
    (void)dims;
    return skip_head(w) ? BROKEN : put_items(w, flags, depth, ring_item);
}

static int put_geometry(struct wkb *w, unsigned dims, unsigned flags, int depth)
{
    static const char *const names[] = {NULL,         "POINT",           "LINESTRING",   "POLYGON",
                                        "MULTIPOINT", "MULTILINESTRING", "MULTIPOLYGON", "GEOMETRYCOLLECTION"};
    static const char *const suffixes[] = {" ", " Z ", " M ", " ZM "};
    static const put_item_fn parts[] = {NULL, NULL, vertex_item, ring_item, point_part, line_part, polygon_part, put_geometry};
    unsigned type;
    if (depth > DEPTH_MAX || read_head(w, &type, &flags) || type < POINT || type > COLLECTION)
        return BROKEN;
    if (text_puts(w->text, names[type]) < 0 || text_puts(w->text, suffixes[flags & 3]) < 0)
        return -1;
    dims = dimensions(flags);
    return type == POINT ? put_point(w, dims, true) : put_items(w, flags, depth + 1, parts[type]);
}

bool bytes_geometry_is_empty(const uint8_t *s, size_t n)
{
    struct wkb w = {s, s + n, NULL};
    unsigned type, flags;
    uint32_t count;
    if (read_head(&w, &type, &flags))
        return true;
    if (type != POINT)
        return read_u32(&w, &count) || count == 0;
    for (unsigned i = 0; i < dimensions(flags) && w.end - w.pos >= 8; i++, w.pos += 8) {
        double v;
        memcpy(&v, w.pos, sizeof(v));
        if (v == v)
            return false;
    }
    return true;
}

int bytes_put_geometry(struct text *t, const uint8_t *s, size_t n)
{
    struct wkb w = {s, s + n, t};
    return put_geometry(&w, 0, 0, 0) < 0 ? -1 : 0;
}
