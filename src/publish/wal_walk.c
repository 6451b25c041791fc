/* A write-ahead log, entry by entry (see the header). Runs in the publisher and the command line. */
#include "publish/wal_walk.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES 65536 /* a multiple of 8, for the checksum */
#define HEAD_BYTES 64     /* of an entry that are looked at: all of a version entry and of a checkpoint marker */
#define FRAME_BYTES 16    /* in front of each entry: its size, its checksum */

/* Field numbers and values of the engine's binary serialization: a field is its number in 2 bytes, then the value; integers are LEB128. */
#define FIELD_KIND 100
#define FIELD_1 101
#define FIELD_2 102
#define FIELD_3 103
#define FIELD_END 0xffff
#define KIND_VERSION 98
#define KIND_CHECKPOINT 99
#define KIND_COMMIT 100
#define VERSION_WALKED 2
#define VERSION_ENCRYPTED 3

/* A bounded reader; once something does not fit, `bad` stays. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static unsigned take_field(struct reader *r)
{
    if (r->bad || r->end - r->at < 2) {
        r->bad = true;
        return 0;
    }
    unsigned field = (unsigned)r->at[0] | (unsigned)r->at[1] << 8;
    r->at += 2;
    return field;
}

static bool next_is(const struct reader *r, unsigned field)
{
    return !r->bad && r->end - r->at >= 2 && ((unsigned)r->at[0] | (unsigned)r->at[1] << 8) == field;
}

static uint64_t take_integer(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->bad || r->at == r->end)
            break;
        uint8_t byte = *r->at++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

static void expect(struct reader *r, unsigned field)
{
    if (take_field(r) != field)
        r->bad = true;
}

struct walk {
    int fd;
    struct wal_report *r;
    int64_t at;               /* where the present entry begins */
    bool closed;              /* a marker has the commit behind it that belongs to it */
    uint64_t open[WAL_KINDS]; /* entries since the last commit */
};

/* Up to `len` bytes at an offset: how many there were; -1 with errno. */
static ssize_t read_at(int fd, uint8_t *to, size_t len, int64_t offset)
{
    size_t have = 0;
    while (have < len) {
        ssize_t n = pread(fd, to + have, len - have, (off_t)(offset + (int64_t)have));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

/* The first entry has no frame: kind, version, and since format 67 which database and checkpoint it belongs to. Its length; 0: not one. */
static size_t take_version(struct wal_report *r, const uint8_t *data, size_t len)
{
    struct reader in = {data, data + len, false};
    expect(&in, FIELD_KIND);
    if (take_integer(&in) != KIND_VERSION)
        in.bad = true;
    expect(&in, FIELD_1);
    r->version = take_integer(&in);
    if (next_is(&in, FIELD_2)) {
        expect(&in, FIELD_2);
        if (take_integer(&in) != DB_IDENTIFIER_BYTES)
            in.bad = true;
        for (size_t i = 0; i < DB_IDENTIFIER_BYTES && !in.bad; i++)
            r->identifier[i] = (uint8_t)take_integer(&in);
        r->has_identifier = next_is(&in, FIELD_3);
    }
    if (next_is(&in, FIELD_3)) {
        expect(&in, FIELD_3);
        r->iteration = take_integer(&in);
    }
    expect(&in, FIELD_END);
    return in.bad ? 0 : (size_t)(in.at - data);
}

/* The kind of an entry, and what a checkpoint's marker points at; -1: this is no entry. */
static int take_kind(struct walk *w, const uint8_t *data, size_t len)
{
    struct reader in = {data, data + len, false};
    expect(&in, FIELD_KIND);
    uint64_t kind = take_integer(&in);
    if (in.bad || kind >= WAL_KINDS)
        return -1;
    /* A marker is the last thing in a log, but for one commit right behind it. */
    bool closes = kind == KIND_COMMIT && w->r->marker && !w->closed;
    w->closed = closes;
    w->r->marker = kind == KIND_CHECKPOINT || closes;
    if (kind != KIND_CHECKPOINT)
        return (int)kind;
    w->r->marker_at = w->at;
    expect(&in, FIELD_1);
    w->r->marker_meta_block = 0;
    if (next_is(&in, FIELD_KIND)) {
        expect(&in, FIELD_KIND);
        w->r->marker_meta_block = take_integer(&in);
    }
    return in.bad ? -1 : (int)kind;
}

/* Reads the entry's bytes for its checksum, and keeps the first. 1 it matches, 0 it does not, -1 with errno. */
static int check_entry(const struct walk *w, uint64_t size, uint64_t stored, uint8_t head[HEAD_BYTES])
{
    uint8_t piece[PIECE_BYTES];
    uint64_t sum = DB_CHECKSUM_START;
    for (uint64_t done = 0; done < size;) {
        size_t want = size - done < PIECE_BYTES ? (size_t)(size - done) : PIECE_BYTES;
        ssize_t n = read_at(w->fd, piece, want, w->at + FRAME_BYTES + (int64_t)done);
        if (n < 0 || (size_t)n < want) { /* it was there when its size was checked */
            errno = n < 0 ? errno : EIO;
            return -1;
        }
        if (done == 0)
            memcpy(head, piece, want < HEAD_BYTES ? want : HEAD_BYTES);
        sum = db_checksum(sum, piece, want);
        done += want;
    }
    return sum == stored;
}

static void commit(struct walk *w, int64_t end)
{
    struct wal_report *r = w->r;
    r->committed_bytes = end;
    if (w->closed) /* the marker's: nothing is committed by it */
        return;
    r->commits++;
    for (int i = 0; i < WAL_KINDS; i++)
        r->committed[i] += w->open[i];
    memset(w->open, 0, sizeof w->open);
}

static bool torn(struct walk *w, uint64_t says)
{
    w->r->state = WAL_TORN;
    w->r->bad_at = w->at;
    w->r->bad_bytes = says;
    w->r->bad_have = w->r->bytes - w->at;
    return false;
}

/* How many commits could be read behind a corrupt entry, if its size is right: to tell a flipped bit from a lost half. */
static void look_behind(struct walk *w, int64_t next)
{
    uint8_t frame[FRAME_BYTES], head[HEAD_BYTES];
    for (w->at = next; w->r->bytes - w->at >= FRAME_BYTES; w->at = next) {
        uint64_t size, stored;
        if (read_at(w->fd, frame, sizeof frame, w->at) != (ssize_t)sizeof frame)
            return;
        memcpy(&size, frame, sizeof size);
        memcpy(&stored, frame + 8, sizeof stored);
        if (size == 0 || size > (uint64_t)(w->r->bytes - w->at - FRAME_BYTES) || check_entry(w, size, stored, head) != 1)
            return;
        struct reader in = {head, head + (size < HEAD_BYTES ? (size_t)size : HEAD_BYTES), false};
        expect(&in, FIELD_KIND);
        w->r->after_bad += take_integer(&in) == KIND_COMMIT;
        next = w->at + FRAME_BYTES + (int64_t)size;
    }
}

/* One entry. False: the walk is over, and the report says why. */
static bool step(struct walk *w)
{
    struct wal_report *r = w->r;
    uint8_t frame[FRAME_BYTES], head[HEAD_BYTES];
    uint64_t size, stored;
    ssize_t n = read_at(w->fd, frame, sizeof frame, w->at);
    if (n == 0)
        return false;
    if (n > 0 && n < (ssize_t)sizeof frame)
        return torn(w, 0);
    memcpy(&size, frame, sizeof size);
    memcpy(&stored, frame + 8, sizeof stored);
    if (n > 0 && size > (uint64_t)(r->bytes - w->at - FRAME_BYTES))
        return torn(w, size);
    int match = n < 0 ? -1 : check_entry(w, size, stored, head);
    if (match < 0) {
        r->state = WAL_UNREADABLE;
        return false;
    }
    int64_t next = w->at + FRAME_BYTES + (int64_t)size;
    int kind = match ? take_kind(w, head, size < HEAD_BYTES ? (size_t)size : HEAD_BYTES) : -1;
    if (kind < 0) {
        r->state = match ? WAL_STRANGE : WAL_CORRUPT;
        r->bad_at = w->at;
        r->marker = false;
        if (!match)
            look_behind(w, next);
        return false;
    }
    if (kind == KIND_COMMIT)
        commit(w, next);
    else if (kind != KIND_CHECKPOINT)
        w->open[kind]++;
    w->at = next;
    return true;
}

static bool any(const uint64_t counts[WAL_KINDS])
{
    for (int i = 0; i < WAL_KINDS; i++)
        if (counts[i])
            return true;
    return false;
}

/* The log seems sound: does it belong to this database, and is it in it already? */
static void compare(struct wal_report *r, const struct db_header *h)
{
    bool known = r->has_identifier && h->has_identifier;
    bool matches = r->marker && r->marker_meta_block == h->meta_block;
    if (known && memcmp(r->identifier, h->identifier, sizeof r->identifier) != 0)
        r->state = WAL_OTHER;
    else if (known && r->iteration != h->iteration && !(matches && r->iteration + 1 == h->iteration))
        r->state = WAL_STALE;
    else if (matches)
        r->state = WAL_CHECKPOINTED;
}

void wal_walk(int fd, const struct db_header *header, struct wal_report *ret)
{
    struct stat st;
    uint8_t head[HEAD_BYTES];
    *ret = (struct wal_report){.state = WAL_UNREADABLE};
    if (fstat(fd, &st) < 0)
        return;
    ret->bytes = st.st_size;
    ssize_t n = read_at(fd, head, sizeof head, 0);
    if (n < 0)
        return;
    ret->state = n == 0 ? WAL_EMPTY : WAL_STRANGE;
    size_t first = take_version(ret, head, (size_t)n);
    if (n == 0)
        return;
    if (first == 0) {
        /* Begins like a first entry and is too short for one: torn. Anything else is no log. */
        static const uint8_t begin[] = {FIELD_KIND, 0, KIND_VERSION};
        if (n < HEAD_BYTES && memcmp(head, begin, (size_t)n < sizeof begin ? (size_t)n : sizeof begin) == 0) {
            ret->state = WAL_TORN;
            ret->bad_have = n;
        }
        return;
    }
    if (ret->version != VERSION_WALKED) {
        ret->state = ret->version == VERSION_ENCRYPTED ? WAL_ENCRYPTED : ret->version == 1 ? WAL_OLD : WAL_UNKNOWN_VERSION;
        return;
    }
    struct walk w = {.fd = fd, .r = ret, .at = (int64_t)first};
    ret->state = WAL_CLEAN;
    ret->committed_bytes = (int64_t)first;
    while (step(&w))
        ;
    memcpy(ret->behind, w.open, sizeof w.open);
    if (ret->state == WAL_CLEAN && any(ret->behind))
        ret->state = WAL_TAIL;
    if (header && (ret->state == WAL_CLEAN || ret->state == WAL_TAIL || ret->state == WAL_TORN))
        compare(ret, header);
}

bool wal_is_harmless(enum wal_state state) { return state == WAL_NONE || state == WAL_EMPTY || state == WAL_CLEAN || state == WAL_CHECKPOINTED; }

static size_t put_integer(uint8_t *to, uint64_t v)
{
    size_t n = 0;
    do {
        to[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v);
    return n;
}

/* The frame of an entry whose `len` bytes stand behind it; where the next one goes. */
static uint8_t *close_entry(uint8_t *frame, size_t len)
{
    uint64_t size = len, sum = db_checksum(DB_CHECKSUM_START, frame + FRAME_BYTES, len);
    memcpy(frame, &size, sizeof size);
    memcpy(frame + 8, &sum, sizeof sum);
    return frame + FRAME_BYTES + len;
}

size_t wal_marker(uint64_t meta_block, uint8_t ret[WAL_MARKER_MAX])
{
    static const uint8_t begin[] = {FIELD_KIND, 0, KIND_CHECKPOINT, FIELD_1, 0};
    static const uint8_t offset[] = {FIELD_1, 0, 8}; /* of the catalog in its block: behind the block's own first word */
    static const uint8_t flush[] = {FIELD_KIND, 0, KIND_COMMIT, 0xff, 0xff};
    uint8_t *entry = ret + FRAME_BYTES;
    size_t n = sizeof begin;
    memcpy(entry, begin, n);
    if (meta_block) { /* a value that is the default is not written */
        entry[n++] = FIELD_KIND;
        entry[n++] = 0;
        n += put_integer(entry + n, meta_block);
    }
    memcpy(entry + n, offset, sizeof offset);
    n += sizeof offset;
    memset(entry + n, 0xff, 4); /* the end of the pointer, the end of the entry */
    uint8_t *next = close_entry(ret, n + 4);
    memcpy(next + FRAME_BYTES, flush, sizeof flush);
    return (size_t)(close_entry(next, sizeof flush) - ret);
}
