/* What a write-ahead log is, in words. Runs in the publisher and the command line. */
#include "publish/wal_walk.h"
#include "core/buf.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *const kinds[WAL_KINDS] = {
#define WAL_ENTRY(number, text) [number] = text,
#include "publish/wal_entries.def"
#undef WAL_ENTRY
};
#define KIND_USE_TABLE 25 /* names the table of the entries that follow: no change by itself */

static void put_entries(struct buf *b, const uint64_t counts[WAL_KINDS])
{
    bool any = false;
    for (int i = 0; i < WAL_KINDS; i++) {
        if (!counts[i] || i == KIND_USE_TABLE)
            continue;
        buf_printf(b, "%s%" PRIu64 " %s", any ? ", " : "", counts[i], kinds[i] ? kinds[i] : "unknown");
        any = true;
    }
    if (!any)
        buf_puts(b, "no changes");
}

static struct buf fixed(char *ret, size_t cap)
{
    memset(ret, 0, cap);
    return (struct buf){.data = ret, .cap = cap - 1, .max = cap - 1};
}

void wal_describe_entries(const uint64_t counts[WAL_KINDS], char *ret, size_t cap)
{
    struct buf b = fixed(ret, cap);
    put_entries(&b, counts);
}

static void put_replayable(struct buf *b, const struct wal_report *r)
{
    buf_printf(b, "%" PRIu64 " commit%s (", r->commits, r->commits == 1 ? "" : "s");
    put_entries(b, r->committed);
    buf_puts(b, ")");
}

static void put_torn(struct buf *b, const struct wal_report *r)
{
    buf_printf(b, "it ends inside the entry at byte %" PRId64, r->bad_at);
    if (r->bad_bytes)
        buf_printf(b, " (which says it has %" PRIu64 " bytes; %" PRId64 " are there)", r->bad_bytes, r->bad_have);
    buf_printf(b, ". The engine would replay ");
    put_replayable(b, r);
    buf_printf(b, " and drop, without a word, the %" PRId64 " bytes from byte %" PRId64 " on", r->bytes - r->committed_bytes, r->committed_bytes);
    buf_puts(b, " (whole entries among them: ");
    put_entries(b, r->behind);
    buf_puts(b, "). That is right for a transaction that never committed, and a loss if the log was cut short by a copy or a full disk");
}

static void put_corrupt(struct buf *b, const struct wal_report *r)
{
    buf_printf(b, "corrupt: the checksum of the entry at byte %" PRId64 " does not match. The engine refuses it; in front of that are ", r->bad_at);
    put_replayable(b, r);
    if (r->after_bad)
        buf_printf(b, ", behind it %" PRIu64 " more", r->after_bad);
}

static void put_tail(struct buf *b, const struct wal_report *r)
{
    buf_puts(b, "replayable: ");
    put_replayable(b, r);
    buf_printf(b, ", and %" PRId64 " bytes of a transaction that never committed, which the engine drops: ", r->bytes - r->committed_bytes);
    put_entries(b, r->behind);
}

void wal_describe(const struct wal_report *r, char *ret, size_t cap)
{
    struct buf fixed_buf = fixed(ret, cap), *b = &fixed_buf;
    if (r->state == WAL_NONE) {
        buf_puts(b, "none");
        return;
    }
    buf_printf(b, "%" PRId64 " bytes, ", r->bytes);
    switch (r->state) {
    case WAL_NONE: break;
    case WAL_EMPTY: buf_puts(b, "empty: nothing to replay"); break;
    case WAL_CLEAN:
        buf_puts(b, "replayable: ");
        put_replayable(b, r);
        break;
    case WAL_CHECKPOINTED: buf_puts(b, "already in the database: a checkpoint was complete, and only the log's removal was missed"); break;
    case WAL_TAIL: put_tail(b, r); break;
    case WAL_TORN: put_torn(b, r); break;
    case WAL_CORRUPT: put_corrupt(b, r); break;
    case WAL_STRANGE: buf_printf(b, "not a write-ahead log from byte %" PRId64 " on", r->bad_at); break;
    case WAL_OTHER: buf_puts(b, "of another database: its identifier is not this file's"); break;
    case WAL_STALE: buf_puts(b, "of another checkpoint of this database: an older or newer copy of the file belongs to it"); break;
    case WAL_ENCRYPTED: buf_puts(b, "encrypted: it can't be looked into"); break;
    case WAL_OLD: buf_puts(b, "of version 1, as DuckDB wrote it before 0.10: it has no checksums and can't be looked into"); break;
    case WAL_UNKNOWN_VERSION: buf_printf(b, "of version %" PRIu64 ", which this build does not know", r->version); break;
    case WAL_UNREADABLE: buf_printf(b, "which can't be read: %s", strerror(errno)); break;
    }
}
