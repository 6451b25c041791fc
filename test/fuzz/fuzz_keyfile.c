/* Any text as a key file: it is refused with a sentence and a line, or it loads, and then each section's bytes by
 * themselves are a key file with just that key. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/errors.h"
#include "core/keyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keyfile *k = NULL, *one = NULL;
    struct error err = {0};
    const char *text = (const char *)data;
    if (keyfile_parse(&k, text, size, "fuzz", &err) < 0) {
        CHECK(!k && err.code == ERR_BAD_REQUEST && !strncmp(err.detail, "fuzz:", 5));
        return 0;
    }
    for (size_t i = 0; i < k->count && i < 64; i++) {
        const struct key_entry *e = &k->keys[i];
        CHECK(e->begin < e->end && e->end <= size && key_name_valid(e->name) && e->role > ROLE_NONE && e->role < ROLE_COUNT);
        CHECK(keyfile_parse(&one, text + e->begin, e->end - e->begin, "part", &err) == 0);
        CHECK(one->count == 1 && !strcmp(one->keys[0].name, e->name) && secret_hash_equal(one->keys[0].hash, e->hash));
        keyfile_free(one);
        one = NULL;
    }
    keyfile_free(k);
    return 0;
}
