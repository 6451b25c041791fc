/* Query ids: made with 128 random bits, or chosen by the client in the same form. Runs in the front. */
#include "front/front.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static const uint8_t *random_bytes(struct front *f, size_t n)
{
    if (f->random_left < n) {
        ssize_t got;
        do
            got = getrandom(f->random, sizeof f->random, 0);
        while (got < 0 && errno == EINTR);
        CHECK(got == (ssize_t)sizeof f->random);
        f->random_left = sizeof f->random;
    }
    f->random_left -= n;
    return f->random + f->random_left;
}

void query_id_make(struct front *f, char ret[QUERY_ID_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *r = random_bytes(f, 16);
    char *p = ret;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = hex[r[i] >> 4];
        *p++ = hex[r[i] & 15];
    }
    *p = 0;
}

bool query_id_valid(const char *text)
{
    if (strlen(text) != QUERY_ID_BYTES - 1)
        return false;
    for (int i = 0; i < QUERY_ID_BYTES - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f') || (text[i] >= 'A' && text[i] <= 'F');
        if (dash ? text[i] != '-' : !hex)
            return false;
    }
    return true;
}
