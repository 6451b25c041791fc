/* The rows that a table shows, as text for people, and the rendering of them. Shared by filter_table.c (which fills it) and table.c (which
 * draws it). Knows no JSON, no files. Runs in the command line. */
#pragma once
#include "core/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A table is for looking at: beyond so many rows, or so many bytes, it only counts. */
#define TABLE_ROWS_MAX 5000u
#define TABLE_BYTES_FULL ((size_t)16 << 20)
/* What a single row may add to that before it is left out. */
#define TABLE_BYTES_MAX ((size_t)64 << 20)
/* A line of a cell that is not cut to a terminal is cut here, so that one long value does not widen every row without end. */
#define TABLE_CELL_COLUMNS 1000u

struct table_cell {
    uint32_t at, len; /* in `text` */
};

struct table_column {
    char *name; /* escaped, malloc'd */
    bool right; /* numbers */
    size_t width;
};

struct table {
    struct table_column *columns;
    uint32_t column_count, shown; /* the columns that fit the terminal */
    unsigned screen_columns;      /* 0: as wide as it gets */
    struct buf text, cells;       /* `cells` holds struct table_cell, row by row */
    uint32_t rows;                /* whole rows kept */

    /* Drawing: where it is. */
    bool drawing;
    uint32_t row;
    bool in_row;
    struct table_cell *rest; /* per shown column: what is left of the cell in this row */
};

void table_init(struct table *t, unsigned screen_columns);
void table_free(struct table *t);
/* Adds a cell to the present row; `text` may hold anything. False: too large, the row can't be kept. */
bool table_add(struct table *t, uint32_t column, const char *text, size_t len, bool cut);
/* Forgets what was added behind the last whole row. */
void table_drop_row(struct table *t);
bool table_is_full(const struct table *t);

/* No row is added from here on: fixes the widths, writes the head. */
void table_draw_head(struct table *t, struct buf *out);
/* The next line; false when there is none. */
bool table_draw_line(struct table *t, struct buf *out);
