/* Range and conditional requests (RFC 9110, sections 13 and 14) for one representation with a strong entity tag. Pure functions on text.
 * Runs in the front. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum range_kind {
    RANGE_WHOLE,   /* no range, one that may be ignored, or several: the whole, 200 */
    RANGE_PART,    /* 206 */
    RANGE_OUTSIDE, /* 416 */
};

struct range {
    enum range_kind kind;
    int64_t first, end; /* PART and WHOLE: the bytes [first, end) */
};

/* The headers' values; NULL: absent. What is not of the form `bytes=A-B`, `bytes=A-` or `bytes=-N` is ignored, and so is a list. */
struct range range_choose(const char *range, const char *if_range, const char *etag, int64_t bytes);

enum range_condition { CONDITION_NONE, CONDITION_NOT_MODIFIED /* 304 */, CONDITION_FAILED /* 412 */ };
enum range_condition range_condition(const char *if_match, const char *if_none_match, const char *etag);
