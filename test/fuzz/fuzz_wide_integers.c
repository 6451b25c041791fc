/* Integers that are too wide for the JSON parser: what comes out is JSON exactly when what went in is, and has no wide integer left. */
#include "core/errors.h"
#include "front/query_request.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len = 0, again_len = 0;
    char *out = query_request_wide_integers((const char *)data, size, &len);
    if (!out)
        return 0;
    char *again = query_request_wide_integers(out, len, &again_len);
    CHECK(!again); /* once is enough */
    /* With integers read as reals, the original is parsed too: both are JSON, or neither. */
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *before = json_loadb((const char *)data, size, flags | JSON_DECODE_INT_AS_REAL, NULL);
    json_t *after = json_loadb(out, len, flags, NULL);
    /* (The parser takes a NUL behind a number for the end of the text.) */
    CHECK(!before || after || memchr(data, 0, size));
    json_decref(before);
    json_decref(after);
    free(out);
    return 0;
}
