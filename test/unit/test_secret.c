/* API keys as text: their form, their checksum, their hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/secret.h"

static void test_a_new_key_is_well_formed_and_never_the_same(void **state)
{
    (void)state;
    char keys[64][SECRET_CHARS + 1];
    for (int i = 0; i < 64; i++) {
        secret_make(keys[i]);
        assert_int_equal(strlen(keys[i]), SECRET_CHARS);
        assert_memory_equal(keys[i], "bh_", 3);
        assert_true(secret_well_formed(keys[i], SECRET_CHARS));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(keys[i], keys[k]);
    }
}

static void test_every_digit_of_a_key_can_take_many_values(void **state)
{
    (void)state;
    char first[SECRET_CHARS + 1], other[SECRET_CHARS + 1];
    bool varied[SECRET_CHARS] = {0};
    secret_make(first);
    for (int i = 0; i < 400; i++) {
        secret_make(other);
        for (int k = 3; k < SECRET_CHARS; k++)
            varied[k] |= other[k] != first[k];
    }
    for (int k = 3; k < SECRET_CHARS; k++)
        assert_true(varied[k]);
}

static void test_one_wrong_character_is_noticed_without_any_table(void **state)
{
    (void)state;
    char key[SECRET_CHARS + 1];
    secret_make(key);
    for (int i = 0; i < SECRET_CHARS; i++) {
        char was = key[i];
        for (const char *c = "0Za_\x01\xff"; *c; c++) {
            key[i] = *c;
            assert_int_equal(secret_well_formed(key, SECRET_CHARS), *c == was);
        }
        key[i] = was;
    }
}

static void test_other_lengths_are_refused(void **state)
{
    (void)state;
    char key[SECRET_CHARS + 2];
    secret_make(key);
    key[SECRET_CHARS + 1] = 0;
    for (size_t n = 0; n <= SECRET_CHARS + 1; n++)
        assert_int_equal(secret_well_formed(key, n), n == SECRET_CHARS);
}

static void test_the_hash_is_sha_256(void **state)
{
    (void)state;
    static const uint8_t abc[SECRET_HASH_BYTES] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                                   0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t got[SECRET_HASH_BYTES];
    for (int i = 0; i < 3; i++) { /* the context is used again */
        secret_hash("abc", 3, got);
        assert_memory_equal(got, abc, sizeof got);
    }
    assert_true(secret_hash_equal(got, abc));
    got[SECRET_HASH_BYTES - 1] ^= 1;
    assert_false(secret_hash_equal(got, abc));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_key_is_well_formed_and_never_the_same),
        cmocka_unit_test(test_every_digit_of_a_key_can_take_many_values),
        cmocka_unit_test(test_one_wrong_character_is_noticed_without_any_table),
        cmocka_unit_test(test_other_lengths_are_refused),
        cmocka_unit_test(test_the_hash_is_sha_256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
