/* A publication from the lock to the rename, on real database files: what readers see, what stays, what the next run finds. */
#include "unit/publish_fixture.h"

#include "publish/identity.h"
#include "publish/publish.h"
#include "publish/versions.h"

#include <dirent.h>
#include <sys/resource.h>

static struct fixture f;
#define TABLE "CREATE TABLE t AS SELECT range::INTEGER AS i FROM range(10)"
#define COUNT "SELECT count(*) FROM t"

static int set_up(void **state)
{
    (void)state;
    fixture_open(&f);
    make_database(f.path, TABLE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static struct publish_options options(void) { return (struct publish_options){.path = f.path, .command = "test"}; }

static void begin(struct publication *p)
{
    struct error err = {0};
    struct publish_options o = options();
    if (publish_begin(p, &o, &err) < 0)
        fail_msg("publish_begin: %s", err.detail);
}

static void copy(struct publication *p)
{
    struct error err = {0};
    if (publish_copy(p, NULL, &err) < 0)
        fail_msg("publish_copy: %s", err.detail);
}

static int64_t commit(struct publication *p, int64_t keep)
{
    struct error err = {0};
    int64_t version = -1;
    char note[256];
    if (publish_commit(p, keep, &version, note, &err) < 0)
        fail_msg("publish_commit: %s", err.detail);
    assert_string_equal(note, "");
    return version;
}

static int64_t publish(const char *sql, int64_t keep)
{
    struct publication p;
    begin(&p);
    assert_false(publish_needs_fold(&p));
    copy(&p);
    make_database(p.copy_path, sql);
    int64_t version = commit(&p, keep);
    publish_end(&p);
    return version;
}

/* Names in the directory, one behind the other, sorted. */
static const char *names(void)
{
    static char text[2000];
    struct dirent **list;
    int n = scandir(f.dir, &list, NULL, alphasort);
    text[0] = 0;
    for (int i = 0; i < n; i++) {
        if (list[i]->d_name[0] != '.') {
            strcat(text, list[i]->d_name);
            strcat(text, " ");
        }
        free(list[i]);
    }
    free(list);
    return text;
}

static void a_write_is_seen_only_when_it_is_published(void **state)
{
    (void)state;
    struct publication p;
    begin(&p);
    copy(&p);
    make_database(p.copy_path, "INSERT INTO t VALUES (100)");
    assert_string_equal(reads(f.path, COUNT), "10\n");
    struct stat before, after;
    assert_int_equal(chmod(f.path, 0640), 0);
    assert_int_equal(stat(f.path, &before), 0);
    assert_int_equal(commit(&p, 0), 0);
    assert_string_equal(reads(f.path, COUNT), "11\n");
    publish_end(&p);
    assert_int_equal(stat(f.path, &after), 0);
    assert_int_equal(after.st_mode, before.st_mode);
    assert_int_equal(after.st_uid, before.st_uid);
    assert_string_equal(names(), "data.duckdb data.duckdb.bulkhead-lock ");
}

static void what_is_given_up_leaves_nothing(void **state)
{
    (void)state;
    struct publication p;
    begin(&p);
    copy(&p);
    killed_writer(p.copy_path, "INSERT INTO t VALUES (100)");
    struct error err;
    int64_t version;
    char note[256];
    assert_int_equal(publish_commit(&p, 1, &version, note, &err), -1); /* it has a log beside it */
    assert_int_equal(err.code, ERR_INTERNAL);
    publish_end(&p);
    assert_string_equal(names(), "data.duckdb data.duckdb.bulkhead-lock ");
    assert_string_equal(reads(f.path, COUNT), "10\n");
}

static void writes_go_one_at_a_time_and_the_message_names_the_holder(void **state)
{
    (void)state;
    struct publication first, second;
    struct publish_options o = options();
    struct error err = {0};
    char who[64];
    begin(&first);
    struct lock_holder h;
    assert_true(lock_is_held(&first.place, &h));
    assert_int_equal(h.pid, getpid());
    assert_string_equal(h.command, "test");
    assert_int_equal(publish_begin(&second, &o, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    snprintf(who, sizeof who, "process %d (test)", (int)getpid());
    assert_non_null(strstr(err.detail, who));
    publish_end(&second);
    copy(&first); /* the other's end took nothing away */
    publish_end(&first);
    begin(&first);
    assert_true(first.leftovers == 0);
    publish_end(&first);
    struct place p;
    assert_int_equal(place_open(&p, f.path, false, &err), 0);
    assert_false(lock_is_held(&p, &h));
    place_close(&p);
}

static void what_a_killed_run_left_is_removed(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct publication p;
        begin(&p);
        copy(&p);
        spill(path_of(&f, "data.duckdb.bulkhead-new.wal"), "x", 1);
        mkdir(path_of(&f, "data.duckdb.bulkhead-new.tmp"), 0700);
        spill(path_of(&f, "data.duckdb.bulkhead-new.tmp/duckdb_temp"), "x", 1);
        if (versions_keep(&p.place) != 1)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_string_equal(names(), "data.duckdb data.duckdb.bulkhead-lock data.duckdb.bulkhead-new data.duckdb.bulkhead-new.tmp "
                                 "data.duckdb.bulkhead-new.wal data.duckdb.bulkhead-version-1 ");
    struct publication p;
    begin(&p);
    assert_int_equal(p.leftovers, 4);
    publish_end(&p);
    assert_string_equal(names(), "data.duckdb data.duckdb.bulkhead-lock ");
    assert_string_equal(reads(f.path, COUNT), "10\n");
}

static void old_versions_are_kept_and_come_back(void **state)
{
    (void)state;
    assert_int_equal(publish("INSERT INTO t VALUES (100)", 2), 1);
    assert_int_equal(publish("INSERT INTO t VALUES (100)", 2), 2);
    assert_int_equal(publish("INSERT INTO t VALUES (100)", 2), 3);
    assert_false(exists(path_of(&f, "data.duckdb.bulkhead-version-1")));
    assert_string_equal(reads(path_of(&f, "data.duckdb.bulkhead-version-2"), COUNT), "11\n");
    assert_string_equal(reads(path_of(&f, "data.duckdb.bulkhead-version-3"), COUNT), "12\n");
    assert_string_equal(reads(f.path, COUNT), "13\n");
    for (int i = 0; i < 2; i++) {
        struct publication p;
        struct error err;
        int64_t number;
        char path[PATH_MAX];
        begin(&p);
        assert_int_equal(publish_rollback_find(&p, &number, path, &err), 0);
        assert_int_equal(number, 3 - i);
        assert_int_equal(publish_rollback(&p, number, &err), 0);
        publish_end(&p);
        assert_string_equal(reads(f.path, COUNT), i == 0 ? "12\n" : "11\n");
        assert_string_equal(reads(path_of(&f, "data.duckdb.bulkhead-undone"), COUNT), i == 0 ? "13\n" : "12\n");
    }
    struct publication p;
    struct error err;
    int64_t number;
    char path[PATH_MAX];
    begin(&p);
    assert_int_equal(publish_rollback_find(&p, &number, path, &err), -1);
    assert_non_null(strstr(err.detail, "no older version"));
    publish_end(&p);
    assert_int_equal(publish("INSERT INTO t VALUES (7)", 1), 1);
}

static void a_damaged_database_can_be_rolled_back(void **state)
{
    (void)state;
    publish("INSERT INTO t VALUES (100)", 1);
    spill(f.path, "garbage", 7);
    struct publish_options o = options();
    struct publication p;
    struct error err;
    int64_t number;
    char path[PATH_MAX];
    assert_int_equal(publish_begin(&p, &o, &err), -1);
    assert_non_null(strstr(err.detail, "not a DuckDB database"));
    publish_end(&p);
    o.may_be_bad = true;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(publish_begin(&p, &o, &err), 0);
        assert_int_equal(publish_rollback_find(&p, &number, path, &err), 0);
        if (i == 0) { /* not even there any more */
            unlink(f.path);
            publish_end(&p);
        }
    }
    assert_int_equal(publish_rollback(&p, number, &err), 0);
    publish_end(&p);
    assert_string_equal(reads(f.path, COUNT), "10\n");
}

static void a_log_of_a_killed_writer_is_folded_in_first(void **state)
{
    (void)state;
    struct publication p;
    struct error err = {0};
    for (int unfinished = 0; unfinished < 2; unfinished++) {
        killed_writer(f.path, "INSERT INTO t VALUES (100); CREATE OR REPLACE TABLE u AS SELECT 1 AS i");
        begin(&p);
        assert_true(publish_needs_fold(&p));
        copy(&p);
        assert_true(exists(path_of(&f, "data.duckdb.bulkhead-new.wal")));
        make_database(p.copy_path, "CHECKPOINT");
        if (unfinished) { /* the marker is written, and then the run ends: another one has to get over that */
            uint8_t marker[WAL_MARKER_MAX];
            size_t n = wal_marker(123456, marker);
            int fd = open(path_of(&f, "data.duckdb.wal"), O_WRONLY | O_APPEND);
            assert_int_equal(write(fd, marker, n), (ssize_t)n);
            close(fd);
            publish_end(&p);
            assert_string_equal(reads(f.path, COUNT), "13\n");
            begin(&p);
            assert_true(publish_needs_fold(&p));
            copy(&p);
            make_database(p.copy_path, "CHECKPOINT");
        }
        assert_int_equal(commit(&p, -1), 0);
        assert_false(exists(path_of(&f, "data.duckdb.wal")));
        assert_string_equal(reads(f.path, COUNT), unfinished ? "13\n" : "11\n");
        if (publish_again(&p, &err) < 0)
            fail_msg("publish_again: %s", err.detail);
        assert_false(publish_needs_fold(&p));
        copy(&p);
        make_database(p.copy_path, "INSERT INTO t VALUES (101)");
        commit(&p, 1);
        publish_end(&p);
        assert_string_equal(reads(f.path, COUNT), unfinished ? "14\n" : "12\n");
    }
}

static void a_log_that_would_lose_something_stops_everything(void **state)
{
    (void)state;
    killed_writer(f.path, "INSERT INTO t VALUES (100); CREATE TABLE u AS SELECT 1 AS i");
    struct stat st;
    const char *wal = path_of(&f, "data.duckdb.wal");
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(truncate(wal, st.st_size - 2), 0);
    struct publish_options o = options();
    struct publication p;
    struct error err;
    assert_int_equal(publish_begin(&p, &o, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, "bulkhead recover"));
    publish_end(&p);
    spill(path_of(&f, "data.duckdb.wal.checkpoint"), "", 0);
    assert_int_equal(publish_begin(&p, &o, &err), -1);
    assert_non_null(strstr(err.detail, "middle of a checkpoint"));
    publish_end(&p);
}

static void a_file_that_somebody_writes_to_is_not_copied(void **state)
{
    (void)state;
    int ready[2], hold[2], status;
    char byte;
    assert_true(pipe(ready) == 0 && pipe(hold) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(hold[1]);
        pid_t inner = writer_start(f.path, "INSERT INTO t VALUES (1)", ready[1], hold[0]);
        close(hold[0]);
        close(ready[1]);
        waitpid(inner, &status, 0);
        _exit(0);
    }
    close(hold[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct publish_options o = options();
    struct publication p;
    struct error err;
    assert_int_equal(publish_begin(&p, &o, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_non_null(strstr(err.detail, "has it open for writing"));
    assert_non_null(strstr(err.detail, "process "));
    publish_end(&p);
    close(hold[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(ready[0]);
    close(ready[1]);
}

static void nobody_can_open_it_for_writing_while_it_is_copied(void **state)
{
    (void)state;
    struct publication p;
    int status;
    begin(&p);
    copy(&p);
    pid_t pid = fork();
    if (pid == 0) {
        duckdb_database db;
        _exit(duckdb_open(f.path, &db) == DuckDBSuccess ? 0 : 9);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 9);
    assert_string_equal(reads(f.path, COUNT), "10\n"); /* readers can */
    publish_end(&p);
}

static void a_database_that_was_replaced_meanwhile_stays(void **state)
{
    (void)state;
    struct publication p;
    struct error err;
    int64_t version;
    char note[256];
    begin(&p);
    copy(&p);
    make_database(p.copy_path, "INSERT INTO t VALUES (100)");
    make_database(path_of(&f, "other"), "CREATE TABLE t AS SELECT 1 AS i");
    assert_int_equal(rename(path_of(&f, "other"), f.path), 0);
    assert_int_equal(publish_commit(&p, 1, &version, note, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    publish_end(&p);
    assert_string_equal(reads(f.path, COUNT), "1\n");
}

static void a_symbolic_link_leads_to_where_its_file_is(void **state)
{
    (void)state;
    char link_path[200], expected[300];
    snprintf(link_path, sizeof link_path, "%s/link.d", f.dir);
    assert_int_equal(mkdir(link_path, 0700), 0);
    snprintf(link_path, sizeof link_path, "%s/link.d/sales.db", f.dir);
    assert_int_equal(symlink(f.path, link_path), 0);
    struct publish_options o = {.path = link_path, .command = "test"};
    struct publication p;
    struct error err;
    assert_int_equal(publish_begin(&p, &o, &err), 0);
    assert_string_equal(p.place.path, f.path);
    copy(&p);
    make_database(p.copy_path, "INSERT INTO t VALUES (100)");
    commit(&p, 0);
    publish_end(&p);
    struct stat st;
    assert_int_equal(lstat(link_path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_string_equal(reads(link_path, COUNT), "11\n");
    snprintf(expected, sizeof expected, "%s/nowhere", f.dir);
    unlink(link_path);
    assert_int_equal(symlink(expected, link_path), 0);
    o.may_be_new = true;
    assert_int_equal(publish_begin(&p, &o, &err), -1);
    publish_end(&p);
}

static void a_new_database_appears_whole(void **state)
{
    (void)state;
    char path[200];
    snprintf(path, sizeof path, "%s/new.duckdb", f.dir);
    struct publish_options o = {.path = path, .command = "test"};
    struct publication p;
    struct error err;
    assert_int_equal(publish_begin(&p, &o, &err), -1);
    assert_non_null(strstr(err.detail, "does not exist"));
    publish_end(&p);
    o.may_be_new = true;
    assert_int_equal(publish_begin(&p, &o, &err), 0);
    copy(&p);
    make_database(p.copy_path, "CREATE TABLE n AS SELECT 7 AS i");
    assert_false(exists(path));
    assert_int_equal(commit(&p, 1), 0);
    publish_end(&p);
    assert_string_equal(reads(path, "FROM n"), "7\n");
}

static bool stop_at_once(void *ctx, int64_t done, int64_t total)
{
    int64_t *calls = ctx;
    (void)done, (void)total;
    return ++*calls < 2;
}

static void a_copy_can_be_stopped_and_a_full_disk_is_said(void **state)
{
    (void)state;
    struct publication p;
    struct error err;
    int64_t calls = 0;
    struct copy_progress progress = {stop_at_once, &calls};
    begin(&p);
    assert_int_equal(publish_copy(&p, &progress, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_string_equal(names(), "data.duckdb data.duckdb.bulkhead-lock ");
    struct rlimit old, small = {100000, RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(publish_copy(&p, NULL, &err), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.detail, "File too large"));
    assert_string_equal(names(), "data.duckdb data.duckdb.bulkhead-lock ");
    publish_end(&p);
}

static void the_identity_changes_with_the_file_and_only_then(void **state)
{
    (void)state;
    struct identity a, b;
    identity_read(f.path, &a);
    identity_read(f.path, &b);
    assert_int_equal(a.state, DB_HEADER_OK);
    assert_true(a.version == b.version && a.version != 0);
    assert_int_equal(a.wal_bytes, -1);
    reads(f.path, COUNT);
    identity_read(f.path, &b);
    assert_true(a.version == b.version);
    publish("INSERT INTO t VALUES (1)", 0);
    identity_read(f.path, &b);
    assert_true(a.version != b.version);
    killed_writer(f.path, "INSERT INTO t VALUES (1)");
    identity_read(f.path, &a);
    assert_true(a.version != b.version && a.wal_bytes > 0);
    identity_read(path_of(&f, "none"), &a);
    assert_true(a.version == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_write_is_seen_only_when_it_is_published, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_given_up_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_go_one_at_a_time_and_the_message_names_the_holder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_killed_run_left_is_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(old_versions_are_kept_and_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_database_can_be_rolled_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_of_a_killed_writer_is_folded_in_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_that_would_lose_something_stops_everything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_somebody_writes_to_is_not_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_can_open_it_for_writing_while_it_is_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_database_that_was_replaced_meanwhile_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_symbolic_link_leads_to_where_its_file_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_database_appears_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_can_be_stopped_and_a_full_disk_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_identity_changes_with_the_file_and_only_then, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
