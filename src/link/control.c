/* The channel and the page between supervisor and front. */
#include "link/control.h"
#include "core/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct rule {
    size_t bytes;
    bool from_front;
    int fds;
};
#define FROM_SUPERVISOR false
#define FROM_FRONT true

static struct rule rule_of(uint32_t type)
{
    static const bool from_front[CONTROL_TYPE_COUNT] = {
#define CONTROL_MESSAGE(name, sender) [CONTROL_##name] = FROM_##sender,
#include "link/control.def"
#undef CONTROL_MESSAGE
    };
    struct rule r = {sizeof(struct control_plain), from_front[type], 0};
    switch ((enum control_type)type) {
    case CONTROL_ASSIGN:
        r.bytes = sizeof(struct control_assign);
        r.fds = 2;
        break;
    case CONTROL_SLOT: r.bytes = sizeof(struct control_slot); break;
    case CONTROL_DIED: r.bytes = sizeof(struct control_died); break;
    case CONTROL_START_FAILED: r.bytes = sizeof(struct control_start_failed); break;
    case CONTROL_REPLACE:
    case CONTROL_LEAVES:
    case CONTROL_RETIRE: r.bytes = sizeof(struct control_replace); break;
    case CONTROL_DATABASE: r.bytes = sizeof(struct control_database); break;
    case CONTROL_LAYERS:
    case CONTROL_FENCED: r.bytes = sizeof(struct control_layers); break;
    case CONTROL_WANT: r.bytes = sizeof(struct control_want); break;
    case CONTROL_UNWANT: r.bytes = sizeof(struct control_unwant); break;
    case CONTROL_WANT_FAILED: r.bytes = sizeof(struct control_want_failed); break;
    case CONTROL_SOURCES_CHANGED: r.bytes = sizeof(struct control_set); break;
    case CONTROL_WRITE_OVER: r.bytes = sizeof(struct control_write_over); break;
    case CONTROL_EXPORT: r.bytes = sizeof(struct control_export); break;
    case CONTROL_EXPORT_OVER: r.bytes = sizeof(struct control_export_over); break;
    case CONTROL_EXPORT_OPENED: r.fds = 2; break;
    case CONTROL_CONFIG:
    case CONTROL_KEYS:
    case CONTROL_TLS: r.fds = 1; break;
    default: break;
    }
    return r;
}

/* The supervisor believes nothing of this; the front takes its word. */
static bool fields_are_sound(const union control_message *m)
{
    switch ((enum control_type)m->type) {
    case CONTROL_START_FAILED: return memchr(m->start_failed.text, 0, sizeof m->start_failed.text) != NULL;
    case CONTROL_WANT:
        return m->want.want != 0 && m->want.writes <= (m->want.kind == WORKER_KIND_WRITER) && m->want.kind != WORKER_KIND_POOL &&
               m->want.kind < WORKER_KINDS && memchr(m->want.set, 0, sizeof m->want.set) && source_set_valid(m->want.set) &&
               (m->want.kind != WORKER_KIND_WRITER || !m->want.set[0]);
    case CONTROL_DATABASE:
        return m->database.state < DATABASE_STATES && memchr(m->database.holder, 0, sizeof m->database.holder) &&
               memchr(m->database.text, 0, sizeof m->database.text);
    case CONTROL_EXPORT:
        return m->export.export != 0 && memchr(m->export.source, 0, sizeof m->export.source) && memchr(m->export.path, 0, sizeof m->export.path);
    case CONTROL_EXPORT_COMMIT:
    case CONTROL_EXPORT_DROP:
    case CONTROL_RELOAD: return m->plain.flags != 0;
    case CONTROL_LAYERS:
    case CONTROL_FENCED: return memchr(m->layers.text, 0, sizeof m->layers.text) != NULL;
    case CONTROL_SOURCES_CHANGED: return memchr(m->set.set, 0, sizeof m->set.set) && source_set_valid(m->set.set);
    default: return true;
    }
}

int control_send(int sock, const void *message, const int *fds, int nfds)
{
    uint32_t type = *(const uint32_t *)message;
    CHECK(type > CONTROL_NONE && type < CONTROL_TYPE_COUNT);
    struct rule r = rule_of(type);
    CHECK(r.fds == nfds);
    return fd_send(sock, message, r.bytes, fds, nfds);
}

int control_receive(int sock, bool from_front, union control_message *ret, int ret_fds[2], int *ret_nfds)
{
    union control_message m;
    int fds[2], nfds = 0;
    ssize_t n = fd_recv(sock, &m, sizeof m, fds, 2, &nfds);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return 0;
    if (n < 0)
        return -1;
    bool ok = (size_t)n >= sizeof m.type && m.type > CONTROL_NONE && m.type < CONTROL_TYPE_COUNT;
    if (ok) {
        struct rule r = rule_of(m.type);
        ok = (size_t)n == r.bytes && r.from_front == from_front && r.fds == nfds;
    }
    ok = ok && fields_are_sound(&m);
    if (!ok) {
        for (int i = 0; i < nfds; i++)
            close(fds[i]);
        errno = EPROTO;
        return -1;
    }
    memcpy(ret, &m, (size_t)n);
    memcpy(ret_fds, fds, sizeof fds);
    *ret_nfds = nfds;
    return 1;
}

struct control_page *control_map(int fd)
{
    void *p = mmap(NULL, sizeof(struct control_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

const char *death_reason_text(enum death_reason reason)
{
    static const char *const text[DEATH_REASONS] = {"crash", "exit", "timeout", "cancel", "spent", "link", "retired", "start", "memory", "scratch"};
    return text[reason];
}

const char *worker_state_text(enum worker_state state)
{
    static const char *const text[WORKER_STATES] = {"none", "starting", "spare", "pool", "dying"};
    return text[state];
}
