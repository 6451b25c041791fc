/* `bulkhead top` as lines of text. Knows the model and the size of the screen; no terminal. Runs in the command line. */
#pragma once
#include "cli/top_model.h"
#include "core/buf.h"

struct top_screen {
    const struct top_model *now, *before; /* before: an earlier reading, for rates; NULL: none */
    const char *address;
    const char *selected;   /* a query's id; NULL: none */
    const char *message;    /* the last line says this instead of the keys; NULL */
    const char *trouble;    /* why nothing new could be read; NULL: it could */
    unsigned rows, columns; /* 0 rows: as many as it takes, without the last line */
    bool colours;
};

/* Writes the screen into b, lines ended by \r\n (rows > 0) or \n. Every text that comes from the server is escaped and cut to its column. */
void top_view(const struct top_screen *s, struct buf *b);
/* How many queries the screen shows. */
size_t top_view_queries(const struct top_screen *s);
