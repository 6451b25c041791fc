/* User ids. Runs in the supervisor and the command line. */
#include "supervisor/users.h"
#include "core/build.h"
#include "core/errors.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PER_SERVER 1024 /* workers' places, the front's, the broker's and the verifier's */
/* Above what containers of systemd-nspawn take (up to 1879048191) and below the highest that fits an int. Servers of one machine are told apart
 * by the supervisor's pid. */
#define HIGH_FIRST 1900000000u
#define HIGH_SERVERS 100000u
/* Inside of a user namespace with the usual 65536 ids: what systemd's table of ids leaves unused. */
#define LOW_FIRST 60578u

static bool may_change_users(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    uint32_t needed = 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_CHOWN;
    return syscall(SYS_capget, &head, data) == 0 && (data[0].effective & needed) == needed;
}

/* Are these ids known in our user namespace, whoever we are in it? Without /proc: yes, the first use tells. */
static bool is_mapped(const char *file, uint32_t first, uint32_t count)
{
    FILE *f = fopen(file, "re");
    uint32_t inside, outside, n;
    bool found = !f;
    while (f && !found && fscanf(f, "%" SCNu32 " %" SCNu32 " %" SCNu32, &inside, &outside, &n) == 3)
        found = first >= inside && n >= count && first - inside <= n - count;
    if (f)
        fclose(f);
    return found;
}

static bool is_usable(uint32_t first)
{
    return is_mapped("/proc/self/uid_map", first, USERS_WORKERS + 3) && is_mapped("/proc/self/gid_map", first, USERS_WORKERS + 3);
}

struct users users_choose(void)
{
    if (SANITIZED || geteuid() != 0 || !may_change_users())
        return (struct users){0};
    uint32_t high = HIGH_FIRST + (uint32_t)getpid() % HIGH_SERVERS * PER_SERVER;
    return (struct users){is_usable(high) ? high : is_usable(LOW_FIRST) ? LOW_FIRST : 0};
}

uid_t users_of_worker(const struct users *u, uint32_t place)
{
    CHECK(place < USERS_WORKERS);
    return u->base ? u->base + 1 + place : 0;
}

uid_t users_of_front(const struct users *u) { return u->base; }
uid_t users_of_broker(const struct users *u) { return u->base ? u->base + 1 + USERS_WORKERS : 0; }
uid_t users_of_verifier(const struct users *u) { return u->base ? u->base + 2 + USERS_WORKERS : 0; }
