/* The terminal as a screen with keys: raw mode, the alternate screen, its size; and back to what it was on every way out. Knows termios; must not
 * know what is shown. Runs in the command line. */
#pragma once
#include <stdbool.h>

enum terminal_key { KEY_NONE, KEY_UP, KEY_DOWN, KEY_QUIT, KEY_REDRAW, KEY_END, KEY_TEXT };

struct terminal_event {
    enum terminal_key key;
    char text; /* KEY_TEXT */
};

/* Takes over standard input and output, which must be a terminal. False with errno. */
bool terminal_open(void);
/* Gives it back. Does nothing without terminal_open. */
void terminal_close(void);
void terminal_size(unsigned *ret_rows, unsigned *ret_columns);
/* Waits for a key, at most so long. KEY_NONE: the time is up; KEY_REDRAW: the size has changed; KEY_END: no input any more, or told to end by a
 * signal. Ctrl-C and q are KEY_QUIT. */
struct terminal_event terminal_wait(int timeout_ms);
