/* The seccomp filters. Runs in worker, front, broker and probes. */
#include "sandbox/filter.h"
#include "core/build.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum verdict { ALLOW, RULED, DENY, REFUSE, NETWORK, OPTION, WRITER, KILL, OPENING, ASAN };

static const struct row {
    const char *name;
    int number; /* libseccomp's: negative for what this architecture does not have */
    enum verdict worker, front, broker;
} rows[] = {
#define CALL(name, worker, front, broker) {#name, SCMP_SYS(name), worker, front, broker},
#include "sandbox/syscalls.def"
#undef CALL
};
#define ROWS (sizeof rows / sizeof rows[0])

/* What glibc's pthread_create asks for. */
#define THREAD_FLAGS \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* Of some headers too old to have them. */
#define SET_MDWE 65
#define GET_MDWE 66
#define SET_VMA 0x53564d41 /* names of anonymous memory: allocators */

struct builder {
    scmp_filter_ctx ctx;
    enum filter_kind kind;
    int allowed, fatal;
    int failed; /* -errno of the first rule that could not be added */
};

static void add(struct builder *b, uint32_t action, int number, unsigned count, const struct scmp_arg_cmp *args)
{
    int r = seccomp_rule_add_array(b->ctx, action, number, count, args);
    if (r < 0 && r != -EDOM && !b->failed) /* EDOM: there is no such call on this architecture */
        b->failed = r;
}

/* Allows the call when that argument is one of these. */
static void allow_values(struct builder *b, int number, unsigned arg, const uint32_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) /* 32 bits of it: the kernel takes these arguments as int */
        add(b, SCMP_ACT_ALLOW, number, 1, &SCMP_CMP32(arg, SCMP_CMP_EQ, values[i]));
}

/* Of one level, these options. The others can do harm: a route through another host (IP_OPTIONS), another interface, a program for the kernel. */
static void allow_options(struct builder *b, int number, uint32_t level, const uint32_t *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(b, SCMP_ACT_ALLOW, number, 2, (struct scmp_arg_cmp[]){SCMP_A1_32(SCMP_CMP_EQ, level), SCMP_A2_32(SCMP_CMP_EQ, names[i])});
}

/* What clients of databases set on a connection, and ask of it. */
static void add_socket_options(struct builder *b)
{
    static const uint32_t set[] = {SO_KEEPALIVE, SO_LINGER, SO_RCVBUF, SO_SNDBUF, SO_RCVTIMEO, SO_SNDTIMEO},
                          get[] = {SO_ERROR, SO_TYPE, SO_RCVBUF, SO_SNDBUF};
    static const uint32_t tcp[] = {TCP_NODELAY, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT};
    allow_options(b, SCMP_SYS(setsockopt), SOL_SOCKET, set, sizeof set / sizeof *set);
    allow_options(b, SCMP_SYS(getsockopt), SOL_SOCKET, get, sizeof get / sizeof *get);
    allow_options(b, SCMP_SYS(setsockopt), IPPROTO_TCP, tcp, sizeof tcp / sizeof *tcp);
    allow_options(b, SCMP_SYS(getsockopt), IPPROTO_TCP, tcp, sizeof tcp / sizeof *tcp);
}

static void add_worker_rules(struct builder *b)
{
    /* They only take something away, and are needed once the engine is open. */
    static const uint32_t opening_commands[] = {SET_MDWE, PR_CAPBSET_DROP, PR_CAP_AMBIENT};
    allow_values(b, SCMP_SYS(prctl), 0, opening_commands, sizeof opening_commands / sizeof *opening_commands);
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1, &SCMP_A4_64(SCMP_CMP_EQ, 0));
    if (b->kind == FILTER_NETWORK)
        add_socket_options(b);
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0, NULL); /* until FILTER_CLOSED */
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 0, NULL);
}

/* Sockets for connections and for looking names up; libraries for looking names up, but nothing both writable and executable. */
static void add_broker_rules(struct builder *b)
{
    static const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6};
    static const uint32_t types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (size_t k = 0; k < sizeof types / sizeof *types; k++)
            add(b, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                (struct scmp_arg_cmp[]){SCMP_A0_32(SCMP_CMP_EQ, families[i]), SCMP_A1_32(SCMP_CMP_MASKED_EQ, 0xf, types[k])});
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
        (struct scmp_arg_cmp[]){SCMP_A0_32(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2_32(SCMP_CMP_EQ, 0)}); /* routes */
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_WRITE, 0));
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, &SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

/* The rows RULED of the table. Where nothing matches, the call fails with ENOSYS. */
static void add_rules(struct builder *b)
{
    static const uint32_t file_commands[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD,     F_SETFD,     F_GETFL,      F_SETFL,     F_GETLK,
                                             F_SETLK, F_SETLKW,        F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GET_SEALS, F_GETPIPE_SZ};
    static const uint32_t device_commands[] = {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO};
    static const uint32_t process_commands[] = {PR_SET_NAME,    PR_GET_NAME,      PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS,
                                                PR_GET_SECCOMP, PR_GET_PDEATHSIG, PR_CAPBSET_READ, PR_GET_SECUREBITS,
                                                GET_MDWE,       SET_VMA};
    static const uint32_t threads[] = {THREAD_FLAGS};
    uint32_t self = (uint32_t)getpid();
    allow_values(b, SCMP_SYS(fcntl), 1, file_commands, sizeof file_commands / sizeof *file_commands);
    allow_values(b, SCMP_SYS(ioctl), 1, device_commands, sizeof device_commands / sizeof *device_commands);
    allow_values(b, SCMP_SYS(prctl), 0, process_commands, sizeof process_commands / sizeof *process_commands);
    allow_values(b, SCMP_SYS(clone), 0, threads, 1);
    allow_values(b, SCMP_SYS(tgkill), 0, &self, 1);
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, (struct scmp_arg_cmp[]){SCMP_A0_32(SCMP_CMP_EQ, 0), SCMP_A2_64(SCMP_CMP_EQ, 0)});
    if (b->kind == FILTER_FRONT)
        add(b, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, &SCMP_A1_32(SCMP_CMP_EQ, F_ADD_SEALS));
    else if (b->kind == FILTER_BROKER)
        add_broker_rules(b);
    else
        add_worker_rules(b);
}

static void add_row(struct builder *b, const struct row *r, enum verdict v)
{
    if (v == ASAN)
        v = SANITIZED ? ALLOW : KILL;
    if (v == WRITER)
        v = b->kind == FILTER_WRITER ? ALLOW : DENY;
    if (v == NETWORK)
        v = b->kind == FILTER_NETWORK ? ALLOW : REFUSE;
    if (v == OPTION)
        v = b->kind == FILTER_NETWORK ? RULED : REFUSE;
    switch (v) {
    case ALLOW:
    case OPENING:
        add(b, SCMP_ACT_ALLOW, r->number, 0, NULL);
        b->allowed++;
        break;
    case RULED: b->allowed++; break;
    case REFUSE: add(b, SCMP_ACT_ERRNO(EPERM), r->number, 0, NULL); break;
    case KILL: /* a sanitizer's report tries to run its symbolizer, and must get its text out when it can't */
        add(b, SANITIZED ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS, r->number, 0, NULL);
        b->fatal++;
        break;
    case DENY: /* the default */
    default: break;
    }
}

/* Over a filter that is there already: everything stays as that one has it, but for these. */
static void add_closing_rules(struct builder *b)
{
    const struct scmp_arg_cmp exec = SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC);
    add(b, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1, &exec);
    add(b, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1, &exec);
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].worker == OPENING)
            add(b, SCMP_ACT_ERRNO(EPERM), rows[i].number, 0, NULL);
}

static void build(struct builder *b)
{
    if (b->kind == FILTER_CLOSED) {
        add_closing_rules(b);
        return;
    }
    for (size_t i = 0; i < ROWS; i++)
        add_row(b, &rows[i], b->kind == FILTER_FRONT ? rows[i].front : b->kind == FILTER_BROKER ? rows[i].broker : rows[i].worker);
    add_rules(b);
}

int filter_install(enum filter_kind kind, char *ret_text, size_t cap)
{
    struct builder b = {.kind = kind, .ctx = seccomp_init(kind == FILTER_CLOSED ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(ENOSYS))};
    if (!b.ctx) {
        snprintf(ret_text, cap, "libseccomp gives no filter");
        return -1;
    }
    (void)seccomp_attr_set(b.ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    (void)seccomp_attr_set(b.ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: fewer steps for what the kernel can't remember */
    (void)seccomp_attr_set(b.ctx, SCMP_FLTATR_CTL_NNP, 0);      /* was set, and checked, before */
    if (kind == FILTER_CLOSED)                                  /* the threads that extensions started get it as well */
        (void)seccomp_attr_set(b.ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    build(&b);
    int r = b.failed ? b.failed : seccomp_load(b.ctx);
    seccomp_release(b.ctx);
    if (r < 0)
        snprintf(ret_text, cap, "%s", strerror(-r));
    else
        snprintf(ret_text, cap, "%d calls allowed, %d of the others fatal", b.allowed, b.fatal);
    return r < 0 ? -1 : 0;
}
