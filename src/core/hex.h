/* Bytes as lower-case hexadecimal digits. Pure. Runs in every process. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Two digits for each of n bytes, and no NUL. Returns where they end. */
static inline char *hex_put(char *at, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    return at;
}
