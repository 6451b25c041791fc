/* The walker of write-ahead logs and the headers of database files, on what the real library writes. */
#include "unit/publish_fixture.h"

#include "publish/db_header.h"
#include "publish/wal_walk.h"

static struct fixture f;
static char wal_path[160];

#define TABLE "CREATE TABLE t(i INTEGER, s VARCHAR); INSERT INTO t SELECT i, 'x' || i FROM range(10) r(i); CHECKPOINT;"
#define TWO_COMMITS "INSERT INTO t VALUES (100, 'wal'); CREATE TABLE u AS SELECT * FROM range(5);"

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f);
    snprintf(wal_path, sizeof wal_path, "%s.wal", f.path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static enum db_header_state header(const char *path, struct db_header *h)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    enum db_header_state s = db_header_read(fd, h);
    close(fd);
    return s;
}

static struct wal_report walk(void)
{
    struct wal_report r;
    struct db_header h;
    assert_int_equal(header(f.path, &h), DB_HEADER_OK);
    int fd = open(wal_path, O_RDONLY);
    assert_true(fd >= 0);
    wal_walk(fd, &h, &r);
    close(fd);
    return r;
}

static const char *described(const struct wal_report *r)
{
    static char text[800];
    wal_describe(r, text, sizeof text);
    return text;
}

static void assert_described(const struct wal_report *r, const char *part)
{
    if (!strstr(described(r), part))
        fail_msg("'%s' is not in '%s'", part, described(r));
}

static void a_log_that_a_killed_writer_left_is_clean(void **state)
{
    (void)state;
    killed_writer(f.path, TABLE TWO_COMMITS);
    struct wal_report r = walk();
    assert_int_equal(r.state, WAL_CLEAN);
    assert_int_equal(r.version, 2);
    assert_int_equal(r.commits, 2);
    assert_int_equal(r.committed_bytes, r.bytes);
    assert_described(&r, "2 commits (1 create table, 2 insert)");
    assert_false(r.has_identifier);
    assert_string_equal(reads(f.path, "SELECT count(*) FROM t"), "11\n");
}

static void a_format_with_identifiers_is_compared(void **state)
{
    (void)state;
    const char *other = path_of(&f, "other.duckdb");
    char attach[400];
    snprintf(attach, sizeof attach, "ATTACH '%s' AS a (STORAGE_VERSION 'latest'); CREATE TABLE a.t(i INTEGER)", f.path);
    make_database(path_of(&f, "scratch"), attach);
    snprintf(attach, sizeof attach, "ATTACH '%s' AS a (STORAGE_VERSION 'latest'); CREATE TABLE a.t(i INTEGER)", other);
    make_database(path_of(&f, "scratch"), attach);

    struct db_header h;
    assert_int_equal(header(f.path, &h), DB_HEADER_OK);
    assert_int_equal(h.storage_version, DB_STORAGE_VERSION_MAX);
    assert_true(h.has_identifier);

    killed_writer(f.path, "INSERT INTO t VALUES (1)");
    struct wal_report r = walk();
    assert_int_equal(r.state, WAL_CLEAN);
    assert_true(r.has_identifier);
    assert_memory_equal(r.identifier, h.identifier, sizeof h.identifier);
    assert_int_equal(r.iteration, h.iteration);

    char log[160];
    snprintf(log, sizeof log, "%s.wal", other);
    killed_writer(other, "INSERT INTO t VALUES (1)");
    copy_path(log, wal_path);
    r = walk();
    assert_int_equal(r.state, WAL_OTHER);
    assert_non_null(strstr(reads(f.path, "SELECT 1"), "does not match"));

    /* The log stays while the file goes on: what a restored log beside a newer file looks like. */
    unlink(wal_path);
    killed_writer(f.path, "INSERT INTO t VALUES (2)");
    copy_path(wal_path, path_of(&f, "old.wal"));
    make_database(f.path, "INSERT INTO t VALUES (3)");
    make_database(f.path, "INSERT INTO t VALUES (4)");
    copy_path(path_of(&f, "old.wal"), wal_path);
    r = walk();
    assert_int_equal(r.state, WAL_STALE);
    assert_non_null(strstr(reads(f.path, "SELECT 1"), "iteration"));
}

/* Cut at every byte: either a whole number of commits, or torn, and the engine opens it and agrees on how much there is. */
static void a_log_that_is_cut_short_is_torn(void **state)
{
    (void)state;
    killed_writer(f.path, TABLE TWO_COMMITS);
    size_t len;
    unsigned char *whole = slurp(wal_path, &len);
    struct wal_report full = walk();
    unsigned clean = 0;
    for (size_t cut = len - 1; cut > 0; cut--) {
        spill(wal_path, whole, cut);
        struct wal_report r = walk();
        if (r.state == WAL_CLEAN) {
            clean++;
            assert_int_equal(r.committed_bytes, cut);
        } else if (r.state == WAL_TAIL) { /* whole entries, no commit behind them */
            assert_true(r.committed_bytes < (int64_t)cut);
        } else {
            assert_int_equal(r.state, WAL_TORN);
            assert_true(r.bad_at + r.bad_have == (int64_t)cut || r.bad_at == 0);
            assert_true(r.committed_bytes <= r.bad_at);
        }
        assert_true(r.commits <= full.commits - (r.state != WAL_CLEAN || cut < (size_t)full.committed_bytes ? 1 : 0));
        if (cut % 37 == 0 || r.state == WAL_CLEAN) { /* the engine's opinion, now and then: opening takes its time */
            const char *rows = reads(f.path, "SELECT count(*) FROM t");
            assert_string_equal(rows, r.commits >= 1 ? "11\n" : "10\n");
        }
    }
    assert_int_equal(clean, 2); /* behind the first commit, and with nothing but the version */
    spill(wal_path, whole, len - 3);
    struct wal_report r = walk();
    assert_described(&r, "1 commit (1 insert)");
    assert_described(&r, "without a word");
    assert_described(&r, "create table");
    free(whole);
}

static void one_flipped_bit_is_found_and_named(void **state)
{
    (void)state;
    killed_writer(f.path, TABLE TWO_COMMITS);
    size_t len;
    unsigned char *whole = slurp(wal_path, &len);
    struct wal_report sound = walk();
    for (size_t at = 10; at < len; at += 7) {
        whole[at] ^= 0x40;
        spill(wal_path, whole, len);
        struct wal_report r = walk();
        whole[at] ^= 0x40;
        assert_int_not_equal(r.state, WAL_CLEAN);
        assert_true(r.state == WAL_CORRUPT || r.state == WAL_TORN); /* torn: the bit was in a size */
        assert_true(r.bad_at <= (int64_t)at);
        assert_true(r.commits < sound.commits);
    }
    whole[70] ^= 1;
    spill(wal_path, whole, len);
    struct wal_report r = walk();
    assert_int_equal(r.state, WAL_CORRUPT);
    assert_int_equal(r.after_bad, 2);
    assert_described(&r, "corrupt");
    assert_non_null(strstr(reads(f.path, "SELECT 1"), "write-ahead log cannot be replayed"));
    free(whole);
}

static void a_marker_makes_the_log_part_of_the_new_file(void **state)
{
    (void)state;
    uint8_t marker[WAL_MARKER_MAX];
    struct db_header old, new;
    const char *folded = path_of(&f, "folded.duckdb");
    char folded_wal[256];
    snprintf(folded_wal, sizeof folded_wal, "%s.wal", folded);
    killed_writer(f.path, TABLE TWO_COMMITS);
    copy_path(f.path, folded);
    copy_path(wal_path, folded_wal);
    make_database(folded, "CHECKPOINT");
    assert_int_equal(header(f.path, &old), DB_HEADER_OK);
    assert_int_equal(header(folded, &new), DB_HEADER_OK);
    assert_int_equal(new.iteration, old.iteration + 1);
    assert_int_not_equal(new.meta_block, old.meta_block);

    size_t len = wal_marker(new.meta_block, marker);
    int fd = open(wal_path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, marker, len), (ssize_t)len);
    close(fd);
    struct wal_report r = walk();
    assert_int_equal(r.state, WAL_CLEAN);
    assert_true(r.marker);
    assert_int_equal(r.marker_at, r.bytes - (int64_t)len);
    assert_int_equal(r.marker_meta_block, new.meta_block);
    assert_string_equal(reads(f.path, "SELECT (SELECT count(*) FROM t) || '/' || (SELECT count(*) FROM u)"), "11/5\n");
    assert_int_equal(rename(folded, f.path), 0);
    r = walk();
    assert_int_equal(r.state, WAL_CHECKPOINTED);
    assert_string_equal(reads(f.path, "SELECT (SELECT count(*) FROM t) || '/' || (SELECT count(*) FROM u)"), "11/5\n");
}

/* A checkpoint that the engine itself broke off behind the header: our marker is byte for byte what it writes. */
static void the_marker_is_as_the_engine_writes_it(void **state)
{
    (void)state;
    int status;
    uint8_t marker[WAL_MARKER_MAX];
    struct db_header h;
    size_t len;
    make_database(f.path, TABLE);
    pid_t pid = fork();
    if (pid == 0) {
        duckdb_database db;
        duckdb_connection con;
        duckdb_result r;
        bool ok = duckdb_open(f.path, &db) == DuckDBSuccess && duckdb_connect(db, &con) == DuckDBSuccess &&
                  duckdb_query(con, "INSERT INTO t VALUES (100, 'wal'); SET debug_checkpoint_abort = 'before_truncate'", &r) == DuckDBSuccess;
        _exit(ok && duckdb_query(con, "CHECKPOINT", &r) != DuckDBSuccess ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(header(f.path, &h), DB_HEADER_OK);
    unsigned char *log = slurp(wal_path, &len);
    size_t n = wal_marker(h.meta_block, marker);
    assert_true(n < len);
    assert_memory_equal(log + len - n, marker, n);
    struct wal_report r = walk();
    assert_int_equal(r.state, WAL_CHECKPOINTED);
    assert_int_equal(r.commits, 1);
    assert_string_equal(reads(f.path, "SELECT count(*) FROM t"), "11\n");
    free(log);
}

static void what_is_no_log_is_said_to_be_none(void **state)
{
    (void)state;
    make_database(f.path, TABLE);
    spill(wal_path, "", 0);
    assert_int_equal(walk().state, WAL_EMPTY);
    spill(wal_path, "hello, this is a text and no log at all", 39);
    assert_int_equal(walk().state, WAL_STRANGE);
    spill(wal_path, "\x64\x00\x62\x65", 4);
    assert_int_equal(walk().state, WAL_TORN);
    spill(wal_path, "\x64\x00\x62\x65\x00\x01\xff\xff", 8);
    assert_int_equal(walk().state, WAL_OLD);
    spill(wal_path, "\x64\x00\x62\x65\x00\x03\xff\xff", 8);
    assert_int_equal(walk().state, WAL_ENCRYPTED);
    spill(wal_path, "\x64\x00\x62\x65\x00\x63\xff\xff", 8);
    assert_int_equal(walk().state, WAL_UNKNOWN_VERSION);
    struct wal_report r = walk();
    assert_described(&r, "version 99");
}

static void headers_tell_what_a_file_is(void **state)
{
    (void)state;
    struct db_header h;
    char text[200];
    size_t len;
    make_database(f.path, TABLE);
    assert_int_equal(header(f.path, &h), DB_HEADER_OK);
    assert_true(h.iteration >= 1 && h.storage_version >= DB_STORAGE_VERSION_MIN);
    unsigned char *whole = slurp(f.path, &len);
    spill(f.path, whole, 9000);
    assert_int_equal(header(f.path, &h), DB_HEADER_SHORT);
    spill(f.path, whole, 0);
    assert_int_equal(header(f.path, &h), DB_HEADER_EMPTY);
    spill(f.path, "no database, but long enough for one", 36);
    assert_int_equal(header(f.path, &h), DB_HEADER_FOREIGN);
    whole[4096 + 100] ^= 1;
    spill(f.path, whole, len);
    assert_int_equal(header(f.path, &h), DB_HEADER_DAMAGED);
    whole[12] = DB_STORAGE_VERSION_MAX + 1;
    spill(f.path, whole, len);
    enum db_header_state s = header(f.path, &h);
    assert_int_equal(s, DB_HEADER_TOO_NEW);
    db_header_text(s, &h, text, sizeof text);
    assert_non_null(strstr(text, "storage version 69"));
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_log_that_a_killed_writer_left_is_clean, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_format_with_identifiers_is_compared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_that_is_cut_short_is_torn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_flipped_bit_is_found_and_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_marker_makes_the_log_part_of_the_new_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_marker_is_as_the_engine_writes_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_log_is_said_to_be_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(headers_tell_what_a_file_is, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
