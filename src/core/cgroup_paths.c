/* Where our control groups are mounted. The forms of the two files: proc_pid_cgroup(5) (cgroups(7), "/proc files"), proc_pid_mountinfo(5).
 * Opens no file, knows no limits. Runs in the supervisor. */
#include "core/cgroup_paths.h"
#include "core/errors.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct mount {
    char *root;  /* which directory of the file system is mounted */
    char *point; /* and where */
    const char *type, *options;
};

struct mounts {
    struct mount *items;
    size_t count, cap;
};

static bool is_octal(char c) { return c >= '0' && c <= '7'; }

/* In mountinfo blank, tab, newline and backslash are written as three octal digits behind a backslash. */
static char *unescape(char *text)
{
    char *to = text;
    for (const char *p = text; *p;) {
        if (p[0] == '\\' && is_octal(p[1]) && is_octal(p[2]) && is_octal(p[3])) {
            *to++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 4;
        } else {
            *to++ = *p++;
        }
    }
    *to = 0;
    return text;
}

/* One line: ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS */
static bool parse_mount(char *line, struct mount *ret)
{
    enum { ROOT = 3, POINT = 4, BEFORE_TAGS = 6 };
    enum { TYPE, SUPER_OPTIONS = 2, BEHIND_TAGS };
    char *before[BEFORE_TAGS], *behind[BEHIND_TAGS], *field;
    size_t n = 0, m = 0;
    while (n < BEFORE_TAGS && (field = strsep(&line, " ")))
        before[n++] = field;
    while ((field = strsep(&line, " ")) && strcmp(field, "-") != 0)
        ;
    while (m < BEHIND_TAGS && (field = strsep(&line, " ")))
        behind[m++] = field;
    if (n < BEFORE_TAGS || m < BEHIND_TAGS)
        return false;
    *ret = (struct mount){.root = unescape(before[ROOT]), .point = unescape(before[POINT]), .type = behind[TYPE], .options = behind[SUPER_OPTIONS]};
    return true;
}

static struct mounts parse_mounts(char *text)
{
    struct mounts all = {0};
    struct mount m;
    for (char *line; (line = strsep(&text, "\n"));) {
        if (!parse_mount(line, &m))
            continue;
        if (all.count == all.cap) {
            all.cap = all.cap ? all.cap * 2 : 64;
            all.items = reallocarray(all.items, all.cap, sizeof *all.items);
            CHECK(all.items);
        }
        all.items[all.count++] = m;
    }
    return all;
}

/* Is `word` one of the list's, which commas separate? */
static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (!strncmp(p, word, len) && (p[len] == 0 || p[len] == ','))
            return true;
    }
    return false;
}

/* NULL for version 2, which has no names. */
static const char *controller_of(enum cgroup_tree tree)
{
    static const char *const names[CGROUP_TREES] = {[CGROUP_V1_MEMORY] = "memory", [CGROUP_V1_CPU] = "cpu"};
    return names[tree];
}

/* One line: ID:CONTROLLERS:PATH; version 2 is the line with ID 0 and no controllers. */
static void parse_groups(char *text, const char *ret_paths[CGROUP_TREES])
{
    for (char *line; (line = strsep(&text, "\n"));) {
        const char *id = strsep(&line, ":"), *controllers = strsep(&line, ":"), *path = line;
        if (!controllers || !path || path[0] != '/')
            continue;
        for (int t = 0; t < CGROUP_TREES; t++) {
            const char *name = controller_of(t);
            if (name ? list_has(controllers, name) : !strcmp(id, "0") && !*controllers)
                ret_paths[t] = path;
        }
    }
}

static bool is_tree(const struct mount *m, enum cgroup_tree tree)
{
    const char *name = controller_of(tree);
    return name ? !strcmp(m->type, "cgroup") && list_has(m->options, name) : !strcmp(m->type, "cgroup2");
}

/* Another mount, later at the same place, hides it. */
static bool is_hidden(const struct mounts *all, const struct mount *m)
{
    for (const struct mount *later = m + 1; later < all->items + all->count; later++)
        if (!strcmp(later->point, m->point))
            return true;
    return false;
}

/* Does a component of the path lead upwards? So the kernel shows groups outside of our cgroup namespace. */
static bool leads_up(const char *path)
{
    for (const char *p = path; (p = strstr(p, "/..")); p += 3)
        if (p[3] == 0 || p[3] == '/')
            return true;
    return false;
}

/* The group's path as seen from the mount's root; NULL when it is not below. */
static const char *path_below(const char *path, const char *mount_root)
{
    size_t len = strcmp(mount_root, "/") ? strlen(mount_root) : 0;
    if (strncmp(path, mount_root, len) != 0 || (path[len] != 0 && path[len] != '/') || leads_up(path + len))
        return NULL;
    return path[len] ? path + len : "/";
}

static void find_place(const struct mounts *all, enum cgroup_tree tree, const char *path, struct cgroup_place *ret)
{
    size_t least = 0; /* length of the chosen mount's root; 0: it does not show our group */
    for (const struct mount *m = all->items; m < all->items + all->count; m++) {
        if (!is_tree(m, tree) || is_hidden(all, m))
            continue;
        const char *below = path_below(path, m->root);
        size_t len = strlen(m->root);
        if (below && (!least || len < least)) {
            *ret = (struct cgroup_place){.mount_point = m->point, .path = below};
            least = len;
        } else if (!ret->mount_point) {
            *ret = (struct cgroup_place){.mount_point = m->point, .path = "/"};
        }
    }
}

void cgroup_places(char *cgroup_text, char *mountinfo_text, struct cgroup_place ret_places[CGROUP_TREES])
{
    const char *paths[CGROUP_TREES] = {NULL};
    parse_groups(cgroup_text, paths);
    struct mounts all = parse_mounts(mountinfo_text);
    for (int t = 0; t < CGROUP_TREES; t++) {
        ret_places[t] = (struct cgroup_place){0};
        if (paths[t])
            find_place(&all, t, paths[t], &ret_places[t]);
    }
    free(all.items);
}
