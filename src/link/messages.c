/* Sending, receiving and checking the link's messages. Runs in front, worker and the command line. */
#include "link/messages.h"
#include "core/fd.h"
#include "core/formats.h"

#include <errno.h>
#include <string.h>

struct rule {
    size_t bytes;
    enum link_side sender;
    enum link_phase phase;
    int fds;
};

#define BYTES_RUN sizeof(struct link_run)
#define BYTES_SPACE sizeof(struct link_space)
#define BYTES_SPOOL sizeof(struct link_spool)
#define BYTES_GRANT sizeof(struct link_grant)
#define BYTES_SPOOLED sizeof(struct link_spooled)
#define BYTES_WANT sizeof(struct link_want)
#define BYTES_DATA sizeof(struct link_data)
#define BYTES_END sizeof(struct link_end)
#define BYTES_FAIL sizeof(struct link_fail)

static const struct rule rules[LINK_TYPE_COUNT] = {
#define LINK_MESSAGE(name, sender_, phase_, fds_) [LINK_##name] = {BYTES_##name, LINK_##sender_, LINK_##phase_, fds_},
#include "link/messages.def"
#undef LINK_MESSAGE
};

int link_send(int sock, const void *message)
{
    uint32_t type = *(const uint32_t *)message;
    CHECK(type > LINK_NONE && type < LINK_TYPE_COUNT && rules[type].fds == 0);
    return fd_send(sock, message, rules[type].bytes, NULL, 0);
}

int link_send_fd(int sock, const void *message, int fd)
{
    uint32_t type = *(const uint32_t *)message;
    CHECK(type > LINK_NONE && type < LINK_TYPE_COUNT && rules[type].fds == 1);
    return fd_send(sock, message, rules[type].bytes, &fd, 1);
}

static bool terminated(const char *text, size_t cap) { return memchr(text, 0, cap) != NULL; }

/* The only errors a worker may report: the others are for the front and the supervisor to find. */
static bool worker_may_report(const struct error *e)
{
    switch ((int)e->code) {
    case ERR_BAD_REQUEST:
    case ERR_SQL:
    case ERR_FORBIDDEN:
    case ERR_OUT_OF_MEMORY:
    case ERR_RESULT_TOO_LARGE:
    case ERR_CANCELLED:
    case ERR_INTERNAL:
    case ERR_SOURCE:
    case ERR_CONFLICT:
    case ERR_SPOOL_FULL: break;
    default: return false;
    }
    return terminated(e->error_type, sizeof e->error_type) && terminated(e->what, sizeof e->what) && terminated(e->source, sizeof e->source) &&
           terminated(e->detail, sizeof e->detail) && (unsigned)e->stopped_by < STOP_COUNT && e->position >= 0 && e->limit_bytes >= 0;
}

bool link_check(const union link_message *m, size_t len, enum link_side sender, enum link_phase phase)
{
    if (len < sizeof m->type || m->type == LINK_NONE || m->type >= LINK_TYPE_COUNT)
        return false;
    const struct rule *r = &rules[m->type];
    if (len != r->bytes || r->sender != sender || (r->phase != phase && r->phase != LINK_ANY) || m->data.job == 0)
        return false;
    switch ((enum link_type)m->type) {
    case LINK_RUN:
        return terminated(m->run.query_id, sizeof m->run.query_id) && m->run.format < FORMAT_COUNT && m->run.coding < CODING_COUNT &&
               m->run.ipc_coding < CODING_COUNT && m->run.big_numbers_as_text <= 1 && m->run.progress <= 1 && m->run.profile <= 1;
    case LINK_SPOOL: return m->spool.base <= m->spool.limit && m->spool.sync <= 1;
    case LINK_END: return m->end.truncated <= 1 && m->end.spent <= 1 && m->end.cache <= 2 && m->end.exec_us >= 0 && m->end.profiled <= 1;
    case LINK_FAIL: return m->fail.spent <= 1 && worker_may_report(&m->fail.error);
    default: return true;
    }
}

int link_receive_fd(int sock, enum link_side sender, enum link_phase phase, union link_message *ret, int *ret_fd)
{
    union link_message m;
    auto_close int fd = -1;
    int fds = 0;
    ssize_t n = fd_recv(sock, &m, sizeof m, &fd, ret_fd ? 1 : 0, &fds);
    if (n == 0)
        return 0;
    if (n < 0) {
        if (errno == ECONNRESET)
            return 0;
        if (errno != EAGAIN)
            errno = EPROTO;
        return -1;
    }
    if (!link_check(&m, (size_t)n, sender, phase) || rules[m.type].fds != fds) {
        errno = EPROTO;
        return -1;
    }
    memcpy(ret, &m, (size_t)n);
    if (ret_fd)
        *ret_fd = take_fd(&fd);
    return 1;
}

int link_receive(int sock, enum link_side sender, enum link_phase phase, union link_message *ret)
{
    return link_receive_fd(sock, sender, phase, ret, NULL);
}
