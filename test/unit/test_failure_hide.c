/* What must not reach a client is replaced, however much of it there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "engine/failure.h"

#define SECRETS (16 * 3) /* of the most sources that one worker may have */

static void every_secret_of_every_source_is_hidden(void **state)
{
    (void)state;
    static struct failure_hide h;
    char text[4096], path[64];
    for (int i = 0; i < 64; i++) {
        snprintf(path, sizeof path, "/nowhere/extension%d", i);
        failure_hide_path(&h, path, "<x>");
    }
    for (int i = 0; i < SECRETS; i++) {
        snprintf(text, sizeof text, "s3'cr\"et\\%d", i);
        failure_hide_secret(&h, text);
    }
    for (int i = 0; i < SECRETS; i++) {
        snprintf(text, sizeof text, "a: s3'cr\"et\\%d b: s3\\'cr\"et\\\\%d c: s3''cr\"et\\%d d: s3'cr\"\"et\\%d.", i, i, i, i);
        failure_scrub(text, sizeof text, &h);
        assert_string_equal(text, "a: *** b: *** c: *** d: ***.");
    }
    failure_hide_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_secret_of_every_source_is_hidden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
