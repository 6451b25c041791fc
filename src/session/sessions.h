/* Sessions: who owns them, when they end, and which lane is theirs. Knows lanes and owners; must not know HTTP. Runs in the front. */
#pragma once
#include "core/config.h"
#include "session/lane.h"

#define SESSION_OWNER_BYTES LANE_ACCOUNT_BYTES

struct sessions;

enum session_state { SESSION_STARTING, SESSION_IDLE, SESSION_BUSY, SESSION_RESETTING };
const char *session_state_text(enum session_state s);

struct session {
    struct sessions *all;
    char id[QUERY_ID_BYTES];
    char owner[SESSION_OWNER_BYTES]; /* the key's name; "": none */
    struct lane *lane;
    int64_t created_ns, created_ms; /* ms: wall clock */
    int64_t expires_ns, expires_ms;
    int64_t idle_timeout_ms;
    int64_t used_ns; /* its last query's end, or its birth */
    uint64_t queries, resets;
    bool started;         /* it has had its worker */
    bool broken;          /* the last attempt to get one failed: the next query tries again */
    bool restarted;       /* a worker was wanted again and no query has run since */
    void *starter;        /* who waits for its start; told once */
    struct session *next; /* newest first */
};

struct sessions_options {
    struct lanes *lanes;
    struct log *log;
    /* The session is there (err NULL), or never will be (then it is gone when this returns). */
    void (*started)(void *starter, struct session *s, const struct error *err);
};

struct sessions *sessions_new(const struct sessions_options *o);
void sessions_free(struct sessions *all);

struct session_wish {
    char id[QUERY_ID_BYTES]; /* fresh random */
    const char *owner;
    char set[SOURCE_SET_BYTES];
    int64_t ttl_ms, idle_timeout_ms;
    void *starter;
};

/* Makes one, evicting another's idle one where there is no room. NULL with *err (rate_limited, overloaded, forbidden). It is in the table at once; started()
 * is called later. */
struct session *sessions_open(struct sessions *all, const struct config *cfg, const struct session_wish *wish, const struct pool_options *opts,
                              struct error *err);

/* By id, for this owner, or for whoever may see all. NULL with *err (not_found, gone). */
struct session *sessions_find(struct sessions *all, const char *id, const char *owner, bool sees_all, struct error *err);
struct session *sessions_newest(const struct sessions *all);
enum session_state session_state(const struct session *s);

/* A query is to run in it: 0, and it may be submitted to s->lane->pool; -1 with *err (conflict) when one runs already and the caller would not wait. */
int session_enter(struct session *s, bool wait, struct error *err);

/* Ends it now: its queries are cancelled, its worker goes. `reason` is kept for whoever asks for it later. */
void session_end(struct sessions *all, struct session *s, const char *reason);
/* A key was revoked. */
void sessions_end_owner(struct sessions *all, const char *owner, const char *reason);
/* A source's definition or secret has changed: sessions that use it get a new worker when they are idle, or (`end`) end. */
void sessions_source_changed(struct sessions *all, const char *set, bool end);
void sessions_set_pool_options(struct sessions *all, const struct pool_options *opts);
/* Ends those whose time is over, and idle ones whose places requests with sources wait for. */
void sessions_tick(struct sessions *all, const struct config *cfg, int64_t now_ns);
unsigned sessions_count(const struct sessions *all);
struct sessions_counts {
    uint64_t opened, ended, evicted, expired, resets;
};
const struct sessions_counts *sessions_counts(const struct sessions *all);
