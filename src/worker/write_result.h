/* One result: from the engine's stream, through its format, into the ring. Runs in the worker's main thread. */
#pragma once
#include "result/encoder.h"
#include "worker/worker.h"

struct result_writer {
    /* Set by the caller. */
    struct worker *worker;
    const struct link_run *run;
    struct stream *stream;
    int64_t started_ns;
    struct result_tail tail; /* queue_us; the rest is set here */
    const char *url;         /* of the object that it becomes; NULL: it goes into the ring */
    /* Our own. */
    struct encoder *encoder;
    struct ring_sink ring;
    struct upload_sink upload; /* in the ring's place, when the result goes to a source */
    struct coding *coding;     /* NULL: none */
    struct sink *sink;         /* where the format writes to: the coding, or the ring */
};

/* Whether this build writes that format. */
bool result_can(enum result_format format);
/* Writes all of it; the last bytes are published, and tail says what the result was. 0, or -1 with *err. */
int result_write(struct result_writer *r, struct error *err);
/* Frees what it made. */
void result_writer_free(struct result_writer *r);
