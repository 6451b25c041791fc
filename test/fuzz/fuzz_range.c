/* Range and conditional headers: whatever they say, a part lies within the result. The input: size (8 bytes), then the headers' values, with NULs between. */
#include "core/errors.h"
#include "front/range.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t bytes = 0;
    if (size < sizeof bytes)
        return 0;
    memcpy(&bytes, data, sizeof bytes);
    bytes &= INT64_MAX;
    size -= sizeof bytes;
    char *text = malloc(size + 3);
    CHECK(text);
    memcpy(text, data + sizeof bytes, size);
    memset(text + size, 0, 3);
    const char *first = text, *second = first + strlen(first) + 1;
    second = second < text + size + 2 ? second : text + size;
    struct range r = range_choose(first, second[0] ? second : NULL, "\"abc\"", bytes);
    if (r.kind != RANGE_OUTSIDE)
        CHECK(r.first >= 0 && r.first <= r.end && r.end <= bytes);
    if (r.kind == RANGE_PART)
        CHECK(r.first < r.end);
    (void)range_condition(first, second, "\"abc\"");
    free(text);
    return 0;
}
