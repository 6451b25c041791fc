/* The seccomp filters. Runs in worker, front and probes. */
#include "sandbox/filter.h"
#include "core/build.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum verdict { ALLOW, RULED, DENY, REFUSE, NETWORK, WRITER, KILL, OPENING, ASAN };

static const struct row {
    const char *name;
    int number; /* libseccomp's: negative for what this architecture does not have */
    enum verdict worker, front;
} rows[] = {
#define CALL(name, worker, front) {#name, SCMP_SYS(name), worker, front},
#include "sandbox/syscalls.def"
#undef CALL
};
#define ROWS (sizeof rows / sizeof rows[0])

/* What glibc's pthread_create asks for. */
#define THREAD_FLAGS                                                                                                                        \
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

/* The rows RULED of the table. Where nothing matches, the call fails with ENOSYS. */
static void add_rules(struct builder *b)
{
    static const uint32_t file_commands[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW,
                                             F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GET_SEALS, F_GETPIPE_SZ};
    static const uint32_t device_commands[] = {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO};
    static const uint32_t process_commands[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP,
                                                PR_GET_PDEATHSIG, PR_CAPBSET_READ, PR_GET_SECUREBITS, GET_MDWE, SET_VMA};
    /* They only take something away, and are needed once the engine is open. */
    static const uint32_t opening_commands[] = {SET_MDWE, PR_CAPBSET_DROP, PR_CAP_AMBIENT};
    static const uint32_t threads[] = {THREAD_FLAGS};
    uint32_t self = (uint32_t)getpid();
    allow_values(b, SCMP_SYS(fcntl), 1, file_commands, sizeof file_commands / sizeof *file_commands);
    allow_values(b, SCMP_SYS(ioctl), 1, device_commands, sizeof device_commands / sizeof *device_commands);
    allow_values(b, SCMP_SYS(prctl), 0, process_commands, sizeof process_commands / sizeof *process_commands);
    allow_values(b, SCMP_SYS(clone), 0, threads, 1);
    allow_values(b, SCMP_SYS(tgkill), 0, &self, 1);
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, (struct scmp_arg_cmp[]){SCMP_A0_32(SCMP_CMP_EQ, 0), SCMP_A2_64(SCMP_CMP_EQ, 0)});
    if (b->kind == FILTER_FRONT) {
        add(b, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, &SCMP_A1_32(SCMP_CMP_EQ, F_ADD_SEALS));
        return;
    }
    allow_values(b, SCMP_SYS(prctl), 0, opening_commands, sizeof opening_commands / sizeof *opening_commands);
    if (b->kind == FILTER_NETWORK)
        add(b, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 0, NULL);
    else
        add(b, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1, &SCMP_A4_64(SCMP_CMP_EQ, 0));
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0, NULL); /* until FILTER_CLOSED */
    add(b, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 0, NULL);
}

static void add_row(struct builder *b, const struct row *r, enum verdict v)
{
    if (v == ASAN)
        v = SANITIZED ? ALLOW : KILL;
    if (v == WRITER)
        v = b->kind == FILTER_WRITER ? ALLOW : DENY;
    if (v == NETWORK)
        v = b->kind == FILTER_NETWORK ? ALLOW : REFUSE;
    switch (v) {
    case ALLOW:
    case OPENING:
        add(b, SCMP_ACT_ALLOW, r->number, 0, NULL);
        b->allowed++;
        break;
    case RULED:
        b->allowed++;
        break;
    case REFUSE:
        add(b, SCMP_ACT_ERRNO(EPERM), r->number, 0, NULL);
        break;
    case KILL: /* a sanitizer's report tries to run its symbolizer, and must get its text out when it can't */
        add(b, SANITIZED ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS, r->number, 0, NULL);
        b->fatal++;
        break;
    case DENY: /* the default */
    default:
        break;
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
        add_row(b, &rows[i], b->kind == FILTER_FRONT ? rows[i].front : rows[i].worker);
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
    if (kind == FILTER_CLOSED) /* the threads that extensions started get it as well */
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
