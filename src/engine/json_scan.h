/* JSON as a stream of events: no tree is built, so a text of any size costs no memory, and depth has a limit of its own. It takes what
 * the engine writes: RFC 8259, and Infinity, -Infinity and NaN as numbers. Knows nothing of what the text means. Only for files of
 * src/engine. Runs in the worker (and in tests). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCAN_DEPTH_MAX 8192 /* open objects and arrays */

enum scan_event {
    SCAN_OBJECT,
    SCAN_OBJECT_END,
    SCAN_ARRAY,
    SCAN_ARRAY_END,
    SCAN_KEY,
    SCAN_STRING,
    SCAN_ATOM, /* number, true, false, null */
    SCAN_DONE,
    SCAN_BAD,  /* no JSON; from here on the only event */
    SCAN_DEEP, /* deeper than SCAN_DEPTH_MAX; from here on the only event */
};

/* Bytes of the text. Of a string: between its quotes, escapes as they stand. */
struct span {
    const char *at;
    size_t len;
};

struct json_scan {
    const char *at, *end;
    struct span span; /* of KEY, STRING and ATOM */
    unsigned depth;
    uint8_t expect; /* the scanner's own */
    uint8_t last;
    uint64_t objects[SCAN_DEPTH_MAX / 64]; /* a bit for each open container: it is an object */
};

/* The text must outlive the scan; it is not copied. */
void json_scan_start(struct json_scan *s, const char *text, size_t len);
enum scan_event json_scan_next(struct json_scan *s);

bool span_is(struct span s, const char *text);
/* Resolves the escapes of a string into a new text with a NUL behind it. NULL when an escape is broken or stands for half of a
 * character. The caller frees it. */
char *span_text(struct span s, size_t *ret_len);
