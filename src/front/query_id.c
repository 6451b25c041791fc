/* Query ids: made with 128 random bits. (Clients may choose them in the same form: query_key_parse.) Runs in the front. */
#include "core/hex.h"
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
    static const uint8_t groups[] = {4, 2, 2, 2, 6}; /* bytes between the hyphens */
    const uint8_t *r = random_bytes(f, 16);
    char *p = ret;
    for (size_t i = 0; i < sizeof groups; r += groups[i++]) {
        p = hex_put(p, r, groups[i]);
        *p++ = '-';
    }
    p[-1] = 0;
}
