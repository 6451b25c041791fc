/* Query ids: made with 128 random bits. (Clients may choose them in the same form: query_key_parse.) Runs in the front. */
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
