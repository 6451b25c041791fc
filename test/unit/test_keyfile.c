/* The key file: what is read, what is refused and where the message points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/errors.h"
#include "core/keyfile.h"

#define H1 "hash = sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
#define H2 "hash = sha256:00ff000000000000000000000000000000000000000000000000000000000002\n"

static struct keyfile *parse(const char *text)
{
    struct keyfile *k = NULL;
    struct error err;
    if (keyfile_parse(&k, text, strlen(text), "keys.ini", &err) < 0)
        fail_msg("refused: %s", err.detail);
    return k;
}

static void test_a_key_has_its_role_hash_and_limits(void **state)
{
    (void)state;
    struct keyfile *k = parse("# comment\n; another\n\n[report.daily-1]\r\n" H2 "hint=bh_Ab3d9\n  role = analyst  \ncreated = 2026-01-31T12:34:56Z\n"
                              "expires = 2026-02-01\nconcurrency = 4\nqueue = 0\nshare = 20\nrate = 5\nburst = 50\ntimeout_max = 2m\n"
                              "memory = 200MB\nsources = a, b,c\n");
    assert_int_equal(k->count, 1);
    const struct key_entry *e = &k->keys[0];
    assert_string_equal(e->name, "report.daily-1");
    assert_string_equal(e->hint, "bh_Ab3d9");
    assert_int_equal(e->role, ROLE_ANALYST);
    assert_int_equal(e->hash[1], 0xff);
    assert_int_equal(e->hash[31], 2);
    assert_int_equal(e->created_s, 1769862896);
    assert_int_equal(e->expires_s, 1769904000);
    assert_int_equal(e->concurrency, 4);
    assert_int_equal(e->queue, 0);
    assert_int_equal(e->share, 20);
    assert_int_equal(e->rate, 5);
    assert_int_equal(e->burst, 50);
    assert_int_equal(e->timeout_max_ms, 120000);
    assert_int_equal(e->memory_bytes, 200000000);
    assert_string_equal(e->sources, "a,b,c");
    assert_int_equal(e->line, 4);
    keyfile_free(k);
}

static void test_what_is_not_given_says_so(void **state)
{
    (void)state;
    struct keyfile *k = parse("[a]\n" H1 "role = reader\n[b]\n" H2 "role = admin\n");
    assert_int_equal(k->count, 2);
    const struct key_entry *e = keyfile_find(k, "b");
    assert_non_null(e);
    assert_null(keyfile_find(k, "c"));
    assert_int_equal(e->role, ROLE_ADMIN);
    assert_int_equal(e->expires_s, KEYFILE_NONE);
    assert_int_equal(e->concurrency, KEYFILE_NONE);
    assert_int_equal(e->share, KEYFILE_NONE);
    assert_int_equal(e->timeout_max_ms, KEYFILE_NONE);
    assert_null(e->sources);
    keyfile_free(k);
}

static void test_each_section_knows_its_bytes(void **state)
{
    (void)state;
    const char *text = "# head\n[a]\n" H1 "role = reader\n\n# about b\n[b]\n" H2 "role = admin\n";
    struct keyfile *k = parse(text);
    assert_memory_equal(text + k->keys[0].begin, "[a]", 3);
    assert_int_equal(k->keys[0].end, k->keys[1].begin);
    assert_memory_equal(text + k->keys[1].begin, "[b]", 3);
    assert_int_equal(k->keys[1].end, strlen(text));
    keyfile_free(k);
}

static void test_a_file_without_keys_is_fine_with_a_comment(void **state)
{
    (void)state;
    struct keyfile *k = parse("# none yet\n");
    assert_int_equal(k->count, 0);
    keyfile_free(k);
}

static void test_refusals_name_line_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "keys.ini:1: the file is empty; is it half-written?"},
        {"[a]\n" H1 "role = read", "keys.ini:3: the last line has no end; is the file half-written?"},
        {"[a]\n" H1, "keys.ini:1: the key [a] has no role; is the file half-written?"},
        {"[a]\nrole = reader\n[b]\n" H1 "role = reader\n", "keys.ini:1: the key [a] has no hash"},
        {"[a\n", "keys.ini:1: a key's name without its ]"},
        {"[a] b\n", "keys.ini:1: text behind the ]"},
        {"[]\n", "keys.ini:1: a key's name is 1 to 40"},
        {"[-a]\n", "keys.ini:1: a key's name is 1 to 40"},
        {"[a b]\n", "keys.ini:1: a key's name is 1 to 40"},
        {"[aaaaaaaaaabbbbbbbbbbccccccccccdddddddddde]\n", "keys.ini:1: a key's name is 1 to 40"},
        {"role = reader\n", "keys.ini:1: a field before the first [NAME]"},
        {"[a]\nrole\n", "keys.ini:2: neither [NAME] nor field = value"},
        {"[a]\n" H1 "role = boss\n", "keys.ini:3: [a] role: \"boss\" is no role"},
        {"[a]\nhash = sha256:abc\n", "keys.ini:2: [a] hash is no hash"},
        {"[a]\nhash = bh_thekeyitself\n", "keys.ini:2: [a] hash is no hash"},
        {"[a]\nhash = sha256:AAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "keys.ini:2: [a] hash is no hash"},
        {"[a]\n" H1 H1, "keys.ini:3: [a] hash is given twice"},
        {"[a]\n" H1 "colour = red\n", "keys.ini:3: [a] has no field \"colour\""},
        {"[a]\n" H1 "expires = 2026-02-30\n", "keys.ini:3: [a] expires: \"2026-02-30\" is a time that does not exist"},
        {"[a]\n" H1 "expires = soon\n", "keys.ini:3: [a] expires: \"soon\" is no time"},
        {"[a]\n" H1 "share = 0\n", "keys.ini:3: [a] share: \"0\" is too small"},
        {"[a]\n" H1 "share = 101\n", "keys.ini:3: [a] share: \"101\" is too large"},
        {"[a]\n" H1 "rate = -1\n", "keys.ini:3: [a] rate: \"-1\" is negative"},
        {"[a]\n" H1 "timeout_max = 5\n", "keys.ini:3: [a] timeout_max: \"5\" has no unit"},
        {"[a]\n" H1 "sources = a,,b\n", "keys.ini:3: [a] sources: \"a,,b\" has an empty entry"},
        {"[a]\n" H1 "sources = a,\n", "keys.ini:3: [a] sources: \"a,\" has an empty entry"},
        {"[a]\n" H1 "hint = bh_123456\n", "keys.ini:3: [a] hint: \"bh_123456\" is longer than"},
        {"[a]\n" H1 "role = reader\n[b]\n" H2 "role = reader\n[a]\n", "keys.ini:7: the key [a] has no hash"},
        {"[a]\n" H1 "role = reader\n[a]\n" H2 "role = reader\n", "keys.ini:4: the key [a] is there twice, first in line 1"},
        {"[a]\n" H1 "role = reader\n[b]\n" H1 "role = reader\n", "keys.ini:4: the key [b] has the same hash as the one in line 1"},
        {"[a]\x01\n", "keys.ini:1: a control character"},
        {"# \xff\n", "keys.ini:1: not UTF-8 text"},
        {"# \xc2\x9b\n", "keys.ini:1: a control character"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct keyfile *k = NULL;
        struct error err = {0};
        if (keyfile_parse(&k, cases[i].text, strlen(cases[i].text), "keys.ini", &err) == 0)
            fail_msg("accepted: %s", cases[i].text);
        assert_null(k);
        if (strncmp(err.detail, cases[i].message, strlen(cases[i].message)))
            fail_msg("\"%s\"\n  says      %s\n  not       %s", cases[i].text, err.detail, cases[i].message);
        assert_int_equal(err.code, ERR_BAD_REQUEST);
    }
}

static void test_a_nul_and_an_endless_line_are_refused(void **state)
{
    (void)state;
    struct keyfile *k = NULL;
    struct error err;
    assert_int_equal(keyfile_parse(&k, "[a\0]\n", 5, "f", &err), -1);
    char *line = malloc(100001);
    memset(line, '#', 100000);
    line[100000] = '\n';
    assert_int_equal(keyfile_parse(&k, line, 100001, "f", &err), -1);
    free(line);
}

static void test_the_message_never_shows_a_key_put_in_the_hash_s_place(void **state)
{
    (void)state;
    char key[SECRET_CHARS + 1], text[200];
    struct keyfile *k = NULL;
    struct error err;
    secret_make(key);
    snprintf(text, sizeof text, "[a]\nhash = %s\n", key);
    assert_int_equal(keyfile_parse(&k, text, strlen(text), "f", &err), -1);
    assert_null(strstr(err.detail, key + 8));
}

static void test_times_are_read_back(void **state)
{
    (void)state;
    static const int64_t times[] = {1, 951782399, 951782400, 1769862896, 4102444799};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char text[KEY_TIME_BYTES];
        int64_t back = 0;
        key_time_format(times[i], text);
        assert_null(key_time_parse(text, &back));
        assert_int_equal(back, times[i]);
    }
}

static void test_a_field_is_checked_before_it_is_written(void **state)
{
    (void)state;
    struct buf b = BUF_INIT((size_t)1000);
    struct error err;
    assert_int_equal(keyfile_put_field(&b, "rate", "5", &err), 0);
    assert_int_equal(keyfile_put_field(&b, "rate", "x", &err), -1);
    assert_int_equal(keyfile_put_field(&b, "sources", "a\n[b]", &err), -1);
    assert_int_equal(keyfile_put_field(&b, "colour", "red", &err), -1);
    assert_int_equal(b.len, strlen("rate = 5\n"));
    buf_free(&b);
}

/* ---- the file ---- */

static void expect_mode(const char *path, mode_t mode, int expected, const char *word)
{
    struct stat st;
    struct error err = {0};
    char *text = NULL;
    size_t len;
    assert_int_equal(chmod(path, mode), 0);
    int r = keyfile_read(path, &text, &len, &st, &err);
    if (r != expected)
        fail_msg("mode %04o: %d, %s", mode, r, err.detail);
    if (r < 0 && !strstr(err.detail, word))
        fail_msg("mode %04o: %s", mode, err.detail);
    if (r == 0)
        free(text);
}

static void test_a_file_that_others_may_use_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/test_keyfile.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "# keys\n", 7), 7);
    close(fd);
    expect_mode(path, 0600, 0, "");
    expect_mode(path, 0400, 0, "");
    expect_mode(path, 0640, 0, "");
    expect_mode(path, 0644, -1, "0644");
    expect_mode(path, 0604, -1, "everybody");
    expect_mode(path, 0601, -1, "everybody");
    expect_mode(path, 0602, -1, "everybody");
    expect_mode(path, 0660, -1, "group");
    unlink(path);
}

static void test_what_is_no_plain_file_is_refused(void **state)
{
    (void)state;
    struct stat st;
    struct error err;
    char *text;
    size_t len;
    char dir[] = "/tmp/test_keyfile.XXXXXX", fifo[64];
    assert_non_null(mkdtemp(dir));
    snprintf(fifo, sizeof fifo, "%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(keyfile_read(dir, &text, &len, &st, &err), -1);
    assert_int_equal(keyfile_read(fifo, &text, &len, &st, &err), -1); /* and does not wait for a writer */
    unlink(fifo);
    assert_int_equal(keyfile_read(fifo, &text, &len, &st, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_has_its_role_hash_and_limits),
        cmocka_unit_test(test_what_is_not_given_says_so),
        cmocka_unit_test(test_each_section_knows_its_bytes),
        cmocka_unit_test(test_a_file_without_keys_is_fine_with_a_comment),
        cmocka_unit_test(test_refusals_name_line_and_reason),
        cmocka_unit_test(test_a_nul_and_an_endless_line_are_refused),
        cmocka_unit_test(test_the_message_never_shows_a_key_put_in_the_hash_s_place),
        cmocka_unit_test(test_times_are_read_back),
        cmocka_unit_test(test_a_field_is_checked_before_it_is_written),
        cmocka_unit_test(test_a_file_that_others_may_use_is_refused),
        cmocka_unit_test(test_what_is_no_plain_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
