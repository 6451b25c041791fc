/* What there is, and whether what is configured fits into it. Runs in the command line. */
#include "cli/doctor.h"
#include "core/errors.h"
#include "core/limits_probe.h"
#include "core/sizing.h"
#include "core/units.h"

#include <inttypes.h>
#include <string.h>

static const char redeploy[] = "a container's limit that was changed takes effect only after a redeploy: a running container keeps the old one";

static bool is_limited(const char *from) { return strncmp(from, "cgroup", 6) == 0; }

static void check_memory(struct doctor *d, const struct machine *m)
{
    struct sizing z;
    struct error err;
    char bytes[UNITS_TEXT_MAX];
    units_human_size(m->memory_bytes, bytes);
    bool fits = sizing_resolve(&z, d->cfg, m, d->cfg->session.max, &err) == 0;
    struct check *c = report_add(&d->report, !fits ? VERDICT_FAIL : z.overcommitted ? VERDICT_WARN : VERDICT_PASS, "memory of the machine");
    if (fits) {
        const char *sum = strstr(z.text, "together");
        check_text(c->configured, "all caps %s", sum ? sum : z.text);
    } else {
        check_text(c->configured, "%s", err.detail);
    }
    check_text(c->in_force, "%s (%s)", bytes, m->memory_from);
    check_text(c->how, "/proc/meminfo, and every control group around us");
    if (!fits || z.overcommitted)
        check_text(c->hint, "%s%s", fits ? "pool.overcommit = yes allows it: the kernel may end workers that are below their cap. " : "",
                   is_limited(m->memory_from) ? redeploy : "lower the sizes, or give the machine more");
}

static void check_swap(struct doctor *d, const struct machine *m)
{
    char bytes[UNITS_TEXT_MAX];
    units_human_size(m->swap_bytes, bytes);
    struct check *c = report_add(&d->report, VERDICT_PASS, "swap of the machine");
    check_text(c->configured, "not counted on: caps are to fit into memory, and workers get none where their control group can forbid it");
    check_text(c->in_force, "%s (%s)", bytes, m->swap_from);
    check_text(c->how, "/proc/meminfo, and every control group around us");
}

static void check_cores(struct doctor *d, const struct machine *m)
{
    const struct config *cfg = d->cfg;
    bool fits = cfg->pool.threads <= m->cpus;
    struct check *c = report_add(&d->report, fits ? VERDICT_PASS : VERDICT_WARN, "cores of the machine");
    check_text(c->configured, "%" PRId64 " workers with %" PRId64 " threads each", cfg->pool.workers, cfg->pool.threads);
    check_text(c->in_force, "%" PRId64 " (%s)", m->cpus, m->cpus_from);
    check_text(c->how, "sched_getaffinity, and every control group around us");
    if (!fits)
        check_text(c->hint, "more threads than cores make every query slower: lower pool.threads. %s", is_limited(m->cpus_from) ? redeploy : "");
}

void doctor_machine(struct doctor *d)
{
    struct machine m;
    struct error err;
    if (limits_probe(&m, "", 0, &err) < 0) {
        struct check *c = report_add(&d->report, VERDICT_FAIL, "memory of the machine");
        check_text(c->in_force, "%s", err.detail);
        return;
    }
    check_memory(d, &m);
    check_swap(d, &m);
    check_cores(d, &m);
}
