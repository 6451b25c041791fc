/* What the supervisor told about the database file (see the header). Runs in the front. */
#include "front/database.h"
#include "core/hex.h"
#include "front/admin.h"
#include "front/front.h"
#include "front/public_text.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const state_texts[DATABASE_STATES] = {"starting", "served", "swapping", "refused", "paused"};

void database_init(struct front *f) { f->database = (struct control_database){.state = DATABASE_STARTING, .wal_bytes = -1}; }

void database_told(struct front *f, const struct control_database *m)
{
    f->database = *m;
    admin_reload_over(f, m);
}

void database_version_text(uint64_t version, char ret[DATABASE_VERSION_BYTES])
{
    uint64_t big_endian = htobe64(version);
    ret[0] = 0;
    if (version)
        *hex_put(ret, (const uint8_t *)&big_endian, sizeof big_endian) = 0;
}

void database_version_header(struct exchange *x, uint64_t version)
{
    char text[DATABASE_VERSION_BYTES];
    database_version_text(version, text);
    if (version)
        exchange_add_header(x, "Bulkhead-Database-Version", text);
}

static int64_t wal_age_s(const struct control_database *d)
{
    int64_t age = (int64_t)time(NULL) - d->wal_mtime_s;
    return age > 0 ? age : 0;
}

static void say_holder(const struct control_database *d, char *ret, size_t cap)
{
    ret[0] = 0;
    if (d->holder_pid > 0)
        snprintf(ret, cap, "; process %d (%.100s) is at it", d->holder_pid, d->holder);
    else if (d->holder[0])
        snprintf(ret, cap, "; %.100s is at it", d->holder);
}

void database_check(const struct front *f, bool has_workers, struct database_checks *ret)
{
    const struct control_database *d = &f->database;
    const char *trouble = pool_trouble(f->pool);
    char who[200], why[sizeof d->text];
    say_holder(d, who, sizeof who);
    *ret = (struct database_checks){.database_ok = has_workers || !trouble[0], .wal_ok = d->wal_bytes < 0};
    if (d->state == DATABASE_PAUSED)
        snprintf(ret->database, sizeof ret->database, "given up for a write in place%s", who);
    else if (d->state == DATABASE_REFUSED && has_workers) {
        public_text(f->cfg, d->text, why, sizeof why);
        snprintf(ret->database, sizeof ret->database, "the file that is there now can't be opened, the version before is served: %s", why);
        ret->degraded = true;
    } else if (!has_workers)
        snprintf(ret->database, sizeof ret->database, "%s", trouble[0] ? trouble : "no worker has opened it yet");
    else
        snprintf(ret->database, sizeof ret->database, "%s",
                 d->state == DATABASE_SWAPPING ? "open; workers are going over to a newer version" : "open");
    if (ret->wal_ok)
        snprintf(ret->wal, sizeof ret->wal, "none");
    else
        snprintf(ret->wal, sizeof ret->wal,
                 "present: %" PRId64 " bytes, %" PRId64 " s old; readers replay it, `bulkhead recover` makes it part of the file%s", d->wal_bytes,
                 wal_age_s(d), who);
    ret->degraded |= !ret->wal_ok;
}

void database_put_status(const struct front *f, struct buf *b)
{
    const struct control_database *d = &f->database;
    char version[DATABASE_VERSION_BYTES];
    database_version_text(d->version, version);
    buf_puts(b, "{\"path\":");
    buf_json_string(b, f->cfg->database.path, strlen(f->cfg->database.path));
    buf_printf(b, version[0] ? ",\"version\":\"%s\"" : ",\"version\":null", version);
    buf_printf(b, ",\"state\":\"%s\",\"wal_bytes\":%" PRId64, state_texts[d->state], d->wal_bytes > 0 ? d->wal_bytes : 0);
    if (d->wal_bytes >= 0)
        buf_printf(b, ",\"wal_age_s\":%" PRId64, wal_age_s(d));
    if (d->holder[0]) {
        buf_printf(b, ",\"holder\":{\"pid\":%d,\"command\":", d->holder_pid);
        buf_json_string(b, d->holder, strlen(d->holder));
        buf_puts(b, "}");
    }
    if (d->text[0]) {
        buf_puts(b, ",\"refused\":");
        buf_json_string(b, d->text, strlen(d->text));
    }
    buf_puts(b, "}");
}

void database_put_metrics(const struct front *f, struct buf *b)
{
    const struct control_database *d = &f->database;
    buf_printf(b,
               "# HELP bulkhead_wal_present 1: a write-ahead log lies beside the database file.\n# TYPE bulkhead_wal_present gauge\n"
               "bulkhead_wal_present %d\n",
               d->wal_bytes >= 0);
    buf_printf(b, "# HELP bulkhead_wal_bytes Size of that write-ahead log.\n# TYPE bulkhead_wal_bytes gauge\nbulkhead_wal_bytes %" PRId64 "\n",
               d->wal_bytes > 0 ? d->wal_bytes : 0);
    buf_puts(b, "# HELP bulkhead_database_state 1 for the state that the database file is in.\n# TYPE bulkhead_database_state gauge\n");
    for (int i = 0; i < DATABASE_STATES; i++)
        buf_printf(b, "bulkhead_database_state{state=\"%s\"} %d\n", state_texts[i], d->state == (uint32_t)i);
}
