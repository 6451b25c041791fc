/* What the formats of encoder.h share inside src/result. Runs in the worker. */
#pragma once
#include "result/cell.h"
#include "result/encoder.h"

/* Writes one value of unbounded length, not NULL. 0, or -1: stop. */
typedef int (*value_put_fn)(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row);

/* How the value of one column is written, worked out once. */
struct plan {
    cell_put_fn cell;   /* into a window that has the room; NULL: too long for any */
    value_put_fn value; /* any length */
    uint32_t bytes;     /* room that `cell` needs at most; for text besides its length times text_factor */
    const uint8_t *key; /* what stands in front of the value; NULL: the format's separator */
    uint32_t key_length;
    uint32_t key_room; /* bytes that copying the key may touch */
    bool alone;        /* never part of a run */
    /* Set for the first of a run of columns with a `cell`: their number, and the room for all of them, so that they share one reserve; which of
     * e->texts are its strings, whose length each row has to add. */
    uint32_t run, reserve;
    uint32_t text_first, text_count;
};

struct format {
    /* Optional: what the format needs besides; false: out of memory. */
    bool (*open)(struct encoder *e);
    void (*close)(struct encoder *e);
    int (*begin)(struct encoder *e, struct sink *sink, const struct result_head *head);
    int (*rows)(struct encoder *e, struct sink *sink, const struct column *columns, uint64_t count);
    int (*end)(struct encoder *e, struct sink *sink, const struct result_tail *tail);
    /* Optional: see encoder.h. */
    struct ArrowSchema *(*arrow_schema)(struct encoder *e);
    const struct error *(*failure)(const struct encoder *e);
    /* Values by type: bounded ones (and the same with big numbers as text, NULL: no difference); the others. NULL: the format has its own way. */
    const cell_put_fn *cells, *cells_big;
    const value_put_fn *values;
    /* Strings and the names of ENUMs also have a short way: room for FORMAT_TEXT_SLACK bytes and text_factor for each byte of the text. */
    cell_put_fn text_cell, enum_cell;
    uint32_t text_factor;
};
extern const struct format format_json, format_ndjson, format_csv, format_arrow, format_raw;

struct encoder {
    const struct format *format;
    struct encoder_options options;
    const cell_put_fn *cells;
    const struct column *columns; /* for the head: names and types */
    uint32_t column_count;
    bool any_row;    /* written so far */
    void *state;     /* the format's own */
    uint32_t *texts; /* columns that are strings, in order */
    struct plan plan[];
};

/* Bytes for one bounded value with its separator. */
#define FORMAT_CELL_MAX (CELL_MAX + 1)
#define FORMAT_TEXT_SLACK 32
/* Behind a run, for the end of the row. */
#define FORMAT_CLOSE_ROOM 4
