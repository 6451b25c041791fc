/* Any text as configuration: it is refused with a sentence, or it loads, and then its effective text loads
 * to the same effective text, and differs from itself in nothing. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/buf.h"
#include "core/config.h"
#include "core/errors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void any_difference(void *user, const char *name, const char *from, const char *to, enum config_when when)
{
    (void)user, (void)name, (void)from, (void)to, (void)when;
    CHECK(!"a configuration differs from its own effective text");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *cfg = NULL, *back = NULL;
    struct error err = {0};
    if (config_load_text(&cfg, (const char *)data, size, "fuzz.ini", &err) < 0) {
        CHECK(!cfg && *err.detail && err.code != ERR_OK);
        return 0;
    }
    struct buf first = BUF_INIT(CONFIG_TEXT_MAX), second = BUF_INIT(CONFIG_TEXT_MAX);
    CHECK(config_to_text(cfg, &first));
    CHECK(config_load_text(&back, first.data, first.len, "effective", &err) == 0);
    config_diff(cfg, back, any_difference, NULL);
    CHECK(config_to_text(back, &second));
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    buf_free(&first);
    buf_free(&second);
    config_free(back);
    config_free(cfg);
    return 0;
}
