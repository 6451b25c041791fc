/* Injected code: a worker whose engine "was exploited". Linked into bulkhead-worker-escape only, which is built for test/escape and never installed.
 *
 * A statement that starts with a line `--escape` is a program: each further line that starts with `--` is one step, carried out in the worker's own
 * process, in the midst of a query, with all of its sandbox around it. What is left of the text then runs as SQL; when nothing is left, the answer is
 * one row per step. Steps:
 *   --sys NAME [ARG..]    a system call by name or number; up to six arguments:
 *       12, -1, 0x1f  a number         "text"  its address (%20 is a blank)      hex:00ff  the address of these bytes
 *       buf:64        the address of so many zeros, shown behind the result      $3  the result of the third step
 *   --link HEX            a message on the link (empty: no bytes)    --fail CODE FILL  a FAIL for this job: error code, byte its texts are filled with
 *   --end PRODUCED        an END for this job; +N: so many bytes behind what it has       --data   a doorbell for this job
 *   --ring FIELD VALUE    produced, waiting, taken, early or consumed in shared memory           --body N  so many bytes into the ring, published
 *   --pass FD             that descriptor to the front           --sweep    every system call that is not in the sandbox's table
 *   --int80 N             the call of another architecture       --exec    a jump into bytes of data      --null  a write to address 0
 *   --again [MS]          the steps behind it, over and over in a thread of their own, MS apart */
#include "core/errors.h"
#include "engine/engine.h"
#include "link/inherit.h"
#include "link/messages.h"
#include "link/ring.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define STEPS_MAX 256
#define TOKENS_MAX 8
#define ANSWER_MAX (256 * 1024)

static const char *const listed[] = {
#define CALL(name, worker, front, broker) #name,
#include "sandbox/syscalls.def"
#undef CALL
};

static struct {
    struct ring ring; /* as worker_main mapped it */
    char *sql;        /* the statement that runs in the place of the program */
    char *copy;       /* of the program; its steps point into it */
    char *steps[STEPS_MAX];
    size_t count;
    long results[STEPS_MAX];
} injected;

struct engine;
int __real_ring_map(int fd, size_t request_bytes, bool worker_side, struct ring *ret);
int __wrap_ring_map(int fd, size_t request_bytes, bool worker_side, struct ring *ret);
struct stream *__real_engine_query(struct engine *e, const struct engine_query *q, struct error *err);
struct stream *__wrap_engine_query(struct engine *e, const struct engine_query *q, struct error *err);

int __wrap_ring_map(int fd, size_t request_bytes, bool worker_side, struct ring *ret)
{
    int r = __real_ring_map(fd, request_bytes, worker_side, ret);
    if (r == 0)
        injected.ring = *ret;
    return r;
}

static uint32_t own_job(void) { return atomic_load(&injected.ring.shared->taken); }

static size_t unhex(const char *text, unsigned char *ret)
{
    size_t n = 0;
    for (; isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1]); text += 2) {
        char pair[3] = {text[0], text[1], 0};
        ret[n++] = (unsigned char)strtoul(pair, NULL, 16);
    }
    return n;
}

/* "a%20b": what stands between the quotes. */
static char *unquote(const char *text)
{
    char *out = strdup(text + 1), *to = out;
    for (const char *from = text + 1; *from && *from != '"'; from++) {
        if (*from == '%' && from[1] && from[2]) {
            unsigned char c;
            unhex((const char[]){from[1], from[2], 0}, &c);
            *to++ = (char)c;
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = 0;
    return out;
}

struct argument {
    long value;
    unsigned char *bytes; /* freed afterwards */
    size_t shown;
};

static struct argument argument(const char *text)
{
    struct argument a = {0};
    if (text[0] == '"')
        a.bytes = (unsigned char *)unquote(text);
    else if (strncmp(text, "hex:", 4) == 0)
        unhex(text + 4, a.bytes = calloc(1, strlen(text) / 2 + 1));
    else if (strncmp(text, "buf:", 4) == 0)
        a.bytes = calloc(1, a.shown = strtoul(text + 4, NULL, 10));
    else if (text[0] == '$')
        a.value = injected.results[(strtoul(text + 1, NULL, 10) - 1) % STEPS_MAX];
    else
        a.value = (long)(text[0] == '-' ? (uint64_t)strtoll(text, NULL, 0) : strtoull(text, NULL, 0));
    if (a.bytes)
        a.value = (long)a.bytes;
    return a;
}

static long system_call(char **token, size_t n, FILE *out)
{
    struct argument a[6] = {0};
    long nr = isdigit((unsigned char)token[1][0]) ? strtol(token[1], NULL, 0) : seccomp_syscall_resolve_name(token[1]);
    for (size_t i = 2; i < n && i < 8; i++)
        a[i - 2] = argument(token[i]);
    long r = syscall(nr, a[0].value, a[1].value, a[2].value, a[3].value, a[4].value, a[5].value);
    r = r == -1 ? -errno : r;
    fprintf(out, "%ld", r);
    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < a[i].shown && k < 256; k++)
            fprintf(out, "%s%02x", k ? "" : " ", a[i].bytes[k]);
        free(a[i].bytes);
    }
    return r;
}

static long on_link(const void *bytes, size_t len)
{
    long r = send(WORKER_FD_LINK, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return r < 0 ? -errno : r;
}

static long fail(char **token, size_t n)
{
    struct link_fail m = {.type = LINK_FAIL, .job = own_job(), .produced = atomic_load(&injected.ring.shared->produced)};
    m.error.code = (enum error_code)(n > 1 ? strtol(token[1], NULL, 0) : 0);
    int fill = n > 2 ? (int)strtol(token[2], NULL, 0) : 0;
    memset(m.error.detail, fill, sizeof m.error.detail);
    memset(m.error.what, fill, sizeof m.error.what);
    return on_link(&m, sizeof m);
}

static long end(const char *produced)
{
    uint64_t at = atomic_load(&injected.ring.shared->produced);
    struct link_end m = {
        .type = LINK_END, .job = own_job(), .produced = produced[0] == '+' ? at + strtoull(produced + 1, NULL, 0) : strtoull(produced, NULL, 0)};
    return on_link(&m, sizeof m);
}

static long ring_field(const char *name, const char *value)
{
    struct ring_shared *s = injected.ring.shared;
    uint64_t v = value[0] == '+'   ? atomic_load(&s->produced) + strtoull(value + 1, NULL, 0)
                 : value[0] == 'r' ? (uint64_t)random() << 24 ^ (uint64_t)random()
                                   : strtoull(value, NULL, 0);
    if (strcmp(name, "produced") == 0)
        atomic_store(&s->produced, v);
    else if (strcmp(name, "consumed") == 0)
        atomic_store(&s->consumed, v);
    else if (strcmp(name, "waiting") == 0)
        atomic_store(&s->waiting, (uint32_t)v);
    else if (strcmp(name, "early") == 0)
        for (int i = 0; i < RING_EARLY_SLOTS; i++)
            atomic_store(&s->early[i], (uint32_t)v);
    else
        atomic_store(&s->taken, (uint32_t)v);
    return 0;
}

static long body(size_t n)
{
    uint64_t at = atomic_load(&injected.ring.shared->produced);
    memset(injected.ring.bytes + (at & (RING_BYTES - 1)), 'x', n < RING_BYTES ? n : RING_BYTES);
    atomic_fetch_add(&injected.ring.shared->produced, n);
    return 0;
}

static long pass(int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof fd)];
    } control = {0};
    struct link_data m = {.type = LINK_DATA, .job = own_job()};
    struct iovec io = {&m, sizeof m};
    struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    long r = syscall(SYS_sendmsg, WORKER_FD_LINK, &h, MSG_NOSIGNAL);
    return r < 0 ? -errno : r;
}

/* The kernel lets its own probes' calls pass every filter, and ends whoever makes them without being probed. */
static bool is_probe(int nr)
{
#ifdef __x86_64__
    return nr == 335 || nr == 336; /* uretprobe, uprobe */
#else
    return nr < 0;
#endif
}

/* Numbers that the table does not name; any that gets through is shown. */
static long sweep(FILE *out)
{
    long through = 0;
    for (int nr = 0; nr < 1024; nr++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
        bool known = false;
        for (size_t i = 0; name && i < sizeof listed / sizeof *listed; i++)
            known |= strcmp(listed[i], name) == 0;
        if (!known && !is_probe(nr) && !(syscall(nr, -1, 0, 0, 0, 0, 0) == -1 && errno == ENOSYS)) {
            fprintf(out, " %d:%s", nr, name ? name : "?");
            through++;
        }
        free(name);
    }
    return through;
}

static long other_architecture(long nr)
{
#ifdef __x86_64__
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    return r;
#else
    (void)nr;
    raise(SIGSYS); /* there is none here */
    return 0;
#endif
}

static long jump(void)
{
    static unsigned char code[64] = {0xc3}; /* ret */
    void (*data)(void);
    memcpy(&data, &(void *){code}, sizeof data);
    data();
    return 0;
}

static long write_to_nowhere(void)
{
    volatile uintptr_t nowhere = 8;
    *(volatile int *)nowhere = 1;
    return 0;
}

static long step(char *line, FILE *out)
{
    char *token[TOKENS_MAX] = {"", ""}, *rest = NULL, text[8192];
    size_t n = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *t = strtok_r(text, " ", &rest); t && n < TOKENS_MAX; t = strtok_r(NULL, " ", &rest))
        token[n++] = t;
    const char *first = n > 1 ? token[1] : "", *second = n > 2 ? token[2] : "";
    if (n > 1 && strcmp(token[0], "sys") == 0)
        return system_call(token, n, out);
    unsigned char bytes[4096];
    long r = strcmp(token[0], "link") == 0    ? on_link(bytes, unhex(first, bytes))
             : strcmp(token[0], "fail") == 0  ? fail(token, n)
             : strcmp(token[0], "end") == 0   ? end(first)
             : strcmp(token[0], "data") == 0  ? on_link(&(struct link_data){LINK_DATA, own_job()}, sizeof(struct link_data))
             : strcmp(token[0], "ring") == 0  ? ring_field(first, second)
             : strcmp(token[0], "body") == 0  ? body(strtoul(first, NULL, 0))
             : strcmp(token[0], "pass") == 0  ? pass(atoi(first))
             : strcmp(token[0], "sweep") == 0 ? sweep(out)
             : strcmp(token[0], "int80") == 0 ? other_architecture(strtol(first, NULL, 0))
             : strcmp(token[0], "exec") == 0  ? jump()
             : strcmp(token[0], "null") == 0  ? write_to_nowhere()
                                              : -ENOTSUP;
    fprintf(out, "%ld", r);
    return r;
}

struct loop {
    size_t from;
    long pause_ms;
};

static void *over_and_over(void *arg)
{
    struct loop *l = arg;
    FILE *none = open_memstream(&(char *){NULL}, &(size_t){0});
    for (;;) {
        for (size_t i = l->from; i < injected.count; i++)
            injected.results[i] = step(injected.steps[i], none);
        rewind(none);
        if (l->pause_ms)
            nanosleep(&(struct timespec){l->pause_ms / 1000, l->pause_ms % 1000 * 1000000}, NULL);
    }
    return NULL;
}

/* Returns what is left of the text. */
static const char *parse(const char *sql, size_t len)
{
    free(injected.copy);
    injected.copy = strndup(sql, len);
    injected.count = 0;
    char *at = injected.copy;
    for (bool first = true; strncmp(at, "--", 2) == 0; first = false) {
        char *line = at + 2;
        at += strcspn(at, "\n");
        if (*at)
            *at++ = 0;
        if (!first && injected.count < STEPS_MAX)
            injected.steps[injected.count++] = line;
    }
    return at;
}

static void run(FILE *out)
{
    static struct loop loop;
    for (size_t i = 0; i < injected.count; i++) {
        if (strncmp(injected.steps[i], "again", 5) == 0) {
            pthread_t t;
            loop = (struct loop){i + 1, strtol(injected.steps[i] + 5, NULL, 10)};
            fprintf(out, "('%d'),", pthread_create(&t, NULL, over_and_over, &loop));
            return;
        }
        fputs("('", out);
        injected.results[i] = step(injected.steps[i], out);
        fputs("'),", out);
    }
}

struct stream *__wrap_engine_query(struct engine *e, const struct engine_query *q, struct error *err)
{
    static const char mark[] = "--escape\n";
    if (q->sql_len < sizeof mark - 1 || memcmp(q->sql, mark, sizeof mark - 1) != 0)
        return __real_engine_query(e, q, err);
    char *answer = NULL;
    size_t answer_len = 0;
    FILE *out = open_memstream(&answer, &answer_len);
    const char *rest = parse(q->sql, q->sql_len);
    run(out);
    fclose(out);
    free(injected.sql);
    if (*rest) {
        injected.sql = strdup(rest);
    } else {
        injected.sql = malloc(answer_len + 16);
        sprintf(injected.sql, "VALUES %.*s", (int)(answer_len ? answer_len - 1 : 0), answer);
    }
    free(answer);
    struct engine_query instead = *q;
    instead.sql = injected.sql;
    instead.sql_len = strlen(injected.sql);
    return __real_engine_query(e, &instead, err);
}
