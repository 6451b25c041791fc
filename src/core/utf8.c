/* UTF-8. Runs in every process. */
#include "core/utf8.h"

#include <stdint.h>
#include <string.h>

/* Length of the character that starts here, 0 when it is no character (table 3-7 of the Unicode standard). */
static size_t character(const uint8_t *s, size_t left)
{
    uint8_t c = s[0], low = 0x80, high = 0xBF;
    size_t len = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (len < 2)
        return len;
    if (len > left)
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
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

bool utf8_valid(const char *text, size_t len)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t i = 0;
    while (i < len) {
        uint64_t eight;
        if (len - i >= sizeof eight) { /* most text is ASCII */
            memcpy(&eight, s + i, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        size_t n = character(s + i, len - i);
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
