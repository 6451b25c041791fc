/* Quoting for SQL (see the header). Runs in the worker. */
#include "engine/quote.h"
#include "core/utf8.h"

#include <string.h>

static bool quoted(struct buf *b, const char *text, size_t len, char quote)
{
    size_t before = b->len;
    bool ok = utf8_valid(text, len) && !memchr(text, 0, len) && buf_append(b, &quote, 1);
    for (size_t i = 0; ok && i < len; i++)
        ok = (text[i] != quote || buf_append(b, &quote, 1)) && buf_append(b, &text[i], 1);
    if (ok && buf_append(b, &quote, 1))
        return true;
    b->len = before;
    return false;
}

bool quote_name(struct buf *b, const char *name, size_t len) { return quoted(b, name, len, '"'); }
bool quote_text(struct buf *b, const char *text, size_t len) { return quoted(b, text, len, '\''); }
