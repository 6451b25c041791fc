/* The link: typed messages between front and worker over a SOCK_SEQPACKET pair, one struct each, no pointers. Descriptors go with a message where
 * the table says so, and never come from a worker.
 * The front treats all that comes from a worker as written by an attacker: link_receive checks length, type, sender, phase and every field.
 * Runs in front, worker and the command line. */
#pragma once
#include "core/errors.h"
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

enum link_type {
    LINK_NONE,
#define LINK_MESSAGE(name, sender, phase, fds) LINK_##name,
#include "link/messages.def"
#undef LINK_MESSAGE
    LINK_TYPE_COUNT
};
enum link_side { LINK_FRONT, LINK_WORKER };
enum link_phase { LINK_IDLE, LINK_BUSY, LINK_ANY };

#define QUERY_ID_BYTES 37 /* a UUID as text with its NUL */

struct link_run {
    uint32_t type;
    uint32_t job;          /* never 0; repeated by every answer */
    uint32_t sql_bytes;    /* at the start of the request area */
    uint32_t params_bytes; /* behind it; JSON text */
    uint32_t url_bytes;    /* behind them, with a NUL: the object of a source that the result becomes; 0: it goes into the ring */
    uint32_t pad;
    uint64_t max_rows;            /* 0: no limit */
    int64_t queue_us;             /* for the result's stats */
    uint64_t max_bytes;           /* of the result, as it leaves; 0: no limit */
    uint32_t format;              /* enum result_format */
    uint32_t coding;              /* enum result_coding: of the whole body */
    uint32_t ipc_coding;          /* enum result_coding: of the buffers inside an Arrow stream */
    uint32_t session;             /* 1: what it leaves behind stays for the next one; then more than SELECT may run */
    uint32_t session_reset;       /* 1: the answer says that what the session had before is lost */
    uint32_t big_numbers_as_text; /* JSON: integers beyond 2^53 and decimals as strings */
    uint32_t progress;            /* 1: it is wanted (ring_shared.progress) */
    uint32_t profile;             /* 1: END tells what the engine counted */
    uint32_t inline_bytes;        /* the first doorbell comes when so many bytes are ready */
    char query_id[QUERY_ID_BYTES];
};

struct link_space {
    uint32_t type;
    uint32_t job;
};

struct link_data {
    uint32_t type;
    uint32_t job;
};

struct link_spool {
    uint32_t type;
    uint32_t job;
    uint64_t base;  /* the position that would be byte 0 of the file (link/spool.h) */
    uint64_t limit; /* the position up to which the file may be written */
    uint32_t sync;  /* 1: it must be on disk before END */
    uint32_t pad;
};

struct link_grant {
    uint32_t type;
    uint32_t job;
    uint64_t limit;
};

struct link_spooled {
    uint32_t type;
    uint32_t job;
    uint64_t at; /* from this position on the bytes are in the file */
};

struct link_want {
    uint32_t type;
    uint32_t job;
};

struct link_end {
    uint32_t type;
    uint32_t job;
    uint64_t produced; /* the ring's position behind the last byte */
    uint64_t rows;
    uint64_t url_bytes; /* so long is the object that it became */
    int64_t exec_us;
    uint8_t truncated;
    uint8_t cache;    /* enum cache_use's value */
    uint8_t spent;    /* the engine must not serve another query */
    uint8_t profiled; /* the next three are known */
    uint8_t pad[4];
    uint64_t rows_scanned, spill_bytes, peak_memory_bytes;
};

struct link_fail {
    uint32_t type;
    uint32_t job;
    uint64_t produced;
    uint32_t spent;
    uint32_t pad;
    struct error error;
};

union link_message {
    uint32_t type;
    struct link_run run;
    struct link_space space;
    struct link_spool spool;
    struct link_grant grant;
    struct link_data data;
    struct link_spooled spooled;
    struct link_want want;
    struct link_end end;
    struct link_fail fail;
};

/* Sends one message of its type's length. 0; -1 with errno (EAGAIN, EPIPE, ECONNRESET). */
int link_send(int sock, const void *message);
/* The same for a type with a descriptor, which stays the caller's. */
int link_send_fd(int sock, const void *message, int fd);

/* Receives and checks one message sent by `sender`, legal in `phase`; one with a descriptor is an offence.
 * 1 received, 0 end of file, -1 with errno: EAGAIN nothing there, EPROTO the peer broke the protocol. */
int link_receive(int sock, enum link_side sender, enum link_phase phase, union link_message *ret);
/* The same, with the descriptor that belongs to the message: the caller's, in *ret_fd; -1: none belongs to it. */
int link_receive_fd(int sock, enum link_side sender, enum link_phase phase, union link_message *ret, int *ret_fd);

/* The check alone, on `len` received bytes (for tests and fuzzing). */
bool link_check(const union link_message *m, size_t len, enum link_side sender, enum link_phase phase);
