/* Text formats on a terminal. Knows nothing of the format: escapes what could steer the terminal. Runs in the command line. */
#include "cli/filter.h"
#include "cli/screen.h"
#include "core/errors.h"

#include <stdlib.h>

static ssize_t feed(struct filter *f, const char *data, size_t len, bool last)
{
    if (!last) { /* a character and a line end stay whole */
        len = screen_whole(data, len);
        if (len > 0 && data[len - 1] == '\r')
            len--;
    }
    return screen_append(&f->out, data, len, SCREEN_KEEP_LINES | SCREEN_KEEP_TABS) ? (ssize_t)len : -1;
}

static int end(struct filter *f, uint64_t rows, bool truncated)
{
    (void)f, (void)rows, (void)truncated;
    return 0;
}

static void more(struct filter *f) { (void)f; }

static void terminal_free(struct filter *f)
{
    buf_free(&f->out);
    free(f);
}

struct filter *filter_terminal_new(void)
{
    struct filter *f = malloc(sizeof *f);
    CHECK(f);
    /* An escape is six times as long as its character at most. */
    *f = (struct filter){feed, end, more, terminal_free, BUF_INIT(8 * FILTER_PIECE_BYTES)};
    return f;
}
