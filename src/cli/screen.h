/* Text made fit for people's eyes: nothing in it can steer a terminal. Knows UTF-8 and the width of characters; must not know results,
 * workers or files. Runs in the command line. */
#pragma once
#include "core/buf.h"
#include <stdbool.h>
#include <stddef.h>

/* Flags of screen_append. */
enum {
    SCREEN_KEEP_LINES = 1, /* line ends (LF, CR LF) become LF; without it they are escaped */
    SCREEN_KEEP_TABS = 2,
    SCREEN_ONE_LINE = 4, /* every run of line ends and spaces around it becomes one space */
};

/* Adds the text with every control character escaped: \n, \r, \t, \u00XX for the others of C0, DEL and C1, \uXXXX for the characters
 * that turn the writing direction or break lines, \xXX for each byte that is no UTF-8. Everything else stays as it is.
 * False when the buffer's maximum would be passed (then part of it may have been added). */
bool screen_append(struct buf *b, const char *text, size_t len, unsigned flags);

/* A line on stderr, "bulkhead COMMAND: WHAT ARG AFTER" without the blanks ("bulkhead: ..." for an empty command), the argument escaped.
 * Returns `code`. */
int screen_complain(int code, const char *command, const char *what, const char *arg, const char *after);

/* How much of the text does not end inside a character: len, or up to three bytes less. */
size_t screen_whole(const char *text, size_t len);

/* Must be called once before the widths below are asked for. */
void screen_init(void);
/* Columns that a text (escaped, without line ends) takes on a terminal. */
size_t screen_width(const char *text, size_t len);
/* The longest prefix that takes at most `columns`, in bytes; *ret_width is what it takes. */
size_t screen_fit(const char *text, size_t len, size_t columns, size_t *ret_width);
