/* GET /openapi.json. The text is openapi.json of this folder, with the version put in by the build. Runs in the front. */
#include "front/openapi.h"
#include "front/front.h"

/* The file as it is between two symbols; a build with another assembler's syntax would need its own three lines. */
__asm__(".pushsection .rodata\n"
        "openapi_begin:\n"
        ".incbin \"" OPENAPI_FILE "\"\n"
        "openapi_end:\n"
        ".popsection\n");
extern const char openapi_begin[] __attribute__((visibility("hidden"))), openapi_end[] __attribute__((visibility("hidden")));

void openapi_get(struct front *f, struct exchange *x)
{
    (void)f;
    exchange_answer(x, 200, "application/json", openapi_begin, (size_t)(openapi_end - openapi_begin));
}
