/* Hashes of statements for the log: always the text's own, whatever was kept before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/digest.h"
#include "front/sql_hash.h"

static void expect(struct sql_hashes *h, const char *sql, size_t len)
{
    uint8_t whole[DIGEST_BYTES];
    char want[2 * DIGEST_BYTES + 1], got[SQL_HASH_BYTES];
    digest_sha256(sql, len, whole);
    for (int i = 0; i < DIGEST_BYTES; i++)
        snprintf(want + 2 * i, 3, "%02x", whole[i]);
    want[SQL_HASH_BYTES - 1] = 0;
    sql_hash(h, sql, len, got);
    assert_string_equal(got, want);
}

static void a_known_hash(void **state)
{
    (void)state;
    char got[SQL_HASH_BYTES];
    struct sql_hashes *h = sql_hashes_new();
    sql_hash(h, "abc", 3, got);
    assert_string_equal(got, "ba7816bf8f01cfea"); /* FIPS 180-2, appendix B.1 */
    sql_hashes_free(h);
}

static void texts_of_every_length_again_and_again(void **state)
{
    (void)state;
    char text[600];
    struct sql_hashes *h = sql_hashes_new();
    memset(text, 'x', sizeof text);
    for (int round = 0; round < 3; round++)
        for (size_t len = 0; len <= sizeof text; len++)
            expect(h, text, len);
    sql_hashes_free(h);
}

static void texts_that_differ_in_one_byte_share_nothing(void **state)
{
    (void)state;
    char text[240];
    struct sql_hashes *h = sql_hashes_new();
    memset(text, 0, sizeof text);
    for (size_t len = 1; len <= sizeof text; len += 61) /* more of them than there are places */
        for (int c = 0; c < 256; c++) {
            text[len - 1] = (char)c;
            expect(h, text, len);
            expect(h, text, len);
        }
    sql_hashes_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_hash),
        cmocka_unit_test(texts_of_every_length_again_and_again),
        cmocka_unit_test(texts_that_differ_in_one_byte_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
