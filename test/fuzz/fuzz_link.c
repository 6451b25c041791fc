/* The check of the link's messages: whatever bytes come from a worker, what passes is within bounds. The first two bytes choose who sends
 * and in which phase. */
#include "core/errors.h"
#include "link/messages.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool ends(const char *text, size_t cap) { return memchr(text, 0, cap) != NULL; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    union link_message m;
    if (size < 2 || size - 2 > sizeof m)
        return 0;
    memset(&m, 0xA5, sizeof m); /* what was not received must not be looked at: no text would end in it */
    memcpy(&m, data + 2, size - 2);
    enum link_side sender = data[0] & 1 ? LINK_WORKER : LINK_FRONT;
    if (!link_check(&m, size - 2, sender, data[1] & 1 ? LINK_BUSY : LINK_IDLE))
        return 0;
    CHECK(m.type > LINK_NONE && m.type < LINK_TYPE_COUNT && m.data.job != 0);
    if (m.type == LINK_RUN)
        CHECK(sender == LINK_FRONT && ends(m.run.query_id, sizeof m.run.query_id));
    if (m.type == LINK_END)
        CHECK(sender == LINK_WORKER && m.end.exec_us >= 0 && m.end.truncated <= 1 && m.end.spent <= 1);
    if (m.type == LINK_FAIL) {
        const struct error *e = &m.fail.error;
        CHECK(sender == LINK_WORKER && error_http_status(e->code) >= 400 && stop_stage_text(e->stopped_by));
        CHECK(ends(e->detail, sizeof e->detail) && ends(e->what, sizeof e->what) && ends(e->error_type, sizeof e->error_type));
    }
    return 0;
}
