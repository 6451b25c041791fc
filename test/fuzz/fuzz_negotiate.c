/* Any two texts as Accept and Accept-Encoding, parted by a line end: there is a form, or an error that says what there is. */
#include "front/accept.h"
#include "front/negotiate.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every element lies inside of its header, and the walk ends. */
static void walk(const char *header)
{
    const char *p = header, *end = header + strlen(header), *value;
    struct accept_item item;
    size_t len, items = 0;
    while (accept_next(&p, &item)) {
        CHECK(item.value >= header && item.value + item.len <= item.params && item.params <= item.end && item.end <= end && p <= end);
        CHECK(item.q >= -1 && item.q <= 1000 && ++items <= (size_t)(end - header));
        if (accept_param(&item, "codecs", &value, &len))
            CHECK(value >= item.params && value + len <= item.end);
    }
    CHECK(*p == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    CHECK(text);
    memcpy(text, data, size);
    text[size] = 0;
    char *second = strchr(text, '\n');
    if (second)
        *second++ = 0;
    walk(text);
    if (second)
        walk(second);
    for (int f = 0; f <= FORMAT_COUNT; f++) {
        struct negotiated n;
        struct error err = {0};
        if (f < FORMAT_COUNT && !format_is_public((enum result_format)f))
            continue;
        if (negotiate(&(struct wishes){(enum result_format)f, text, second}, &n, &err) < 0) {
            CHECK(err.code == ERR_NOT_ACCEPTABLE && strstr(err.detail, "available: "));
            continue;
        }
        CHECK(format_is_public(n.format) && (f == FORMAT_COUNT || (int)n.format == f) && n.coding < CODING_COUNT);
        CHECK(n.ipc_coding == CODING_NONE || (n.ipc_coding == CODING_ZSTD && n.format == FORMAT_ARROW));
        CHECK(negotiated_content_type(&n)[0]);
    }
    free(text);
    return 0;
}
