/* Escaping and measuring of text for a terminal. Runs in the command line. */
#include "cli/screen.h"
#include "core/utf8.h"

#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

static bool put_escape(struct buf *b, uint32_t c)
{
    switch (c) {
    case '\n': return buf_puts(b, "\\n");
    case '\r': return buf_puts(b, "\\r");
    case '\t': return buf_puts(b, "\\t");
    default: return buf_printf(b, "\\u%04x", c);
    }
}

/* Spaces and line ends from here on; 0 when there is no line end among them. */
static size_t line_break(const char *s, size_t left)
{
    size_t n = 0;
    bool any = false;
    while (n < left && (s[n] == ' ' || s[n] == '\n' || s[n] == '\r'))
        any |= s[n++] != ' ';
    return any ? n : 0;
}

/* What stands at a harmful character that may stay: its length, 0 when it must be escaped. */
static size_t put_kept(struct buf *b, const char *s, size_t left, unsigned flags, bool *ok)
{
    if (flags & SCREEN_KEEP_TABS && s[0] == '\t') {
        *ok = buf_append(b, "\t", 1);
        return 1;
    }
    size_t n = s[0] == '\n' ? 1 : s[0] == '\r' && left > 1 && s[1] == '\n' ? 2 : 0;
    if (n && flags & SCREEN_KEEP_LINES)
        *ok = buf_append(b, "\n", 1);
    return flags & SCREEN_KEEP_LINES ? n : 0;
}

bool screen_append(struct buf *b, const char *text, size_t len, unsigned flags)
{
    size_t plain = 0; /* where the run of bytes that stay as they are began */
    bool ok = true;
    for (size_t i = 0; ok && i < len;) {
        size_t n = utf8_character(text + i, len - i);
        uint32_t c = n ? utf8_code_point(text + i, n) : 0;
        size_t gap = flags & SCREEN_ONE_LINE ? line_break(text + i, len - i) : 0;
        if (n && !gap && !utf8_is_control(c)) {
            i += n;
            continue;
        }
        ok = buf_append(b, text + plain, i - plain);
        size_t kept = 0;
        if (gap)
            ok = ok && (i + gap == len || buf_append(b, " ", 1));
        else if (n == 0)
            ok = ok && buf_printf(b, "\\x%02x", (uint8_t)text[i]);
        else if (ok && !(kept = put_kept(b, text + i, len - i, flags, &ok)))
            ok = put_escape(b, c);
        i += gap ? gap : kept ? kept : n ? n : 1;
        plain = i;
    }
    return ok && buf_append(b, text + plain, len - plain);
}

int screen_complain(int code, const char *command, const char *what, const char *arg, const char *after)
{
    struct buf b = BUF_INIT((size_t)8192);
    (void)screen_append(&b, arg, strlen(arg), 0);
    fprintf(stderr, "bulkhead%s%s: %s%.*s%s\n", command[0] ? " " : "", command, what, (int)b.len, b.data ? b.data : "", after);
    buf_free(&b);
    return code;
}

size_t screen_whole(const char *text, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        uint8_t c = (uint8_t)text[len - back];
        if (c < 0x80)
            return len;
        if (c < 0xC0)
            continue;
        size_t want = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
        return want > back ? len - back : len;
    }
    return len;
}

void screen_init(void) { (void)setlocale(LC_CTYPE, "C.UTF-8"); /* for wcwidth; without that locale every character counts as one column */ }

size_t screen_fit(const char *text, size_t len, size_t columns, size_t *ret_width)
{
    size_t width = 0, i = 0;
    while (i < len) {
        size_t n = utf8_character(text + i, len - i);
        uint32_t c = n ? utf8_code_point(text + i, n) : 0;
        int w = c < 0x80 ? 1 : wcwidth((wchar_t)c);
        size_t more = w < 0 ? 1 : (size_t)w;
        if (width + more > columns)
            break;
        width += more;
        i += n ? n : 1;
    }
    *ret_width = width;
    return i;
}

size_t screen_width(const char *text, size_t len)
{
    size_t width;
    screen_fit(text, len, SIZE_MAX - 8, &width);
    return width;
}
