/* UTF-8. Runs in every process. */
#include "core/utf8.h"

#include <string.h>

/* Table 3-7 of the Unicode standard. */
size_t utf8_character(const char *text, size_t len)
{
    const uint8_t *s = (const uint8_t *)text;
    uint8_t c = s[0], low = 0x80, high = 0xBF;
    size_t n = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (n < 2)
        return n;
    if (n > len)
        return 0;
    if (c == 0xE0)
        low = 0xA0;
    else if (c == 0xED)
        high = 0x9F;
    else if (c == 0xF0)
        low = 0x90;
    else if (c == 0xF4)
        high = 0x8F;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

uint32_t utf8_code_point(const char *text, size_t n)
{
    uint32_t v = (uint8_t)text[0];
    if (n > 1)
        v &= 0x7Fu >> n;
    for (size_t i = 1; i < n; i++)
        v = v << 6 | ((uint8_t)text[i] & 0x3Fu);
    return v;
}

bool utf8_is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || (c >= 0x200E && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069);
}

bool utf8_valid(const char *text, size_t len)
{
    size_t i = 0;
    while (i < len) {
        uint64_t eight;
        if (len - i >= sizeof eight) { /* most text is ASCII */
            memcpy(&eight, text + i, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        size_t n = utf8_character(text + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

size_t utf8_cut(const char *text, size_t max)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t len = strnlen(text, max);
    if (len < max)
        return len;
    size_t begin = len;
    while (begin > 0 && len - begin < 3 && (s[begin - 1] & 0xC0) == 0x80)
        begin--;
    if (begin == 0 || s[begin - 1] < 0xC0)
        return len; /* ASCII at the end, or no UTF-8 at all */
    begin--;
    size_t want = s[begin] < 0xE0 ? 2 : s[begin] < 0xF0 ? 3 : 4;
    return len - begin == want ? len : begin;
}
