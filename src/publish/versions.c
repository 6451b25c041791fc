/* Old versions of a database, and leftovers (see the header). Runs in the publisher and the command line. */
#include "publish/versions.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "NAME" + prefix + digits: the number; 0 when it is not of that form. */
static int64_t number_of(const struct place *p, const char *entry)
{
    size_t n = strlen(p->name), prefix = strlen(PLACE_VERSION);
    if (strncmp(entry, p->name, n) != 0 || strncmp(entry + n, PLACE_VERSION, prefix) != 0)
        return 0;
    const char *digits = entry + n + prefix;
    size_t len = strlen(digits);
    if (len == 0 || len > 18 || digits[0] == '0' || strspn(digits, "0123456789") != len)
        return 0;
    return strtoll(digits, NULL, 10);
}

static DIR *open_directory(const struct place *p)
{
    int fd = openat(p->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0)
        close(fd);
    return d;
}

/* The highest number below `below`; 0: none. -1 with errno. */
static int64_t newest_below(const struct place *p, int64_t below)
{
    DIR *d = open_directory(p);
    if (!d)
        return -1;
    int64_t best = 0;
    const struct dirent *e;
    while ((e = readdir(d))) {
        int64_t n = number_of(p, e->d_name);
        if (n > best && n < below)
            best = n;
    }
    closedir(d);
    return best;
}

int64_t versions_newest(const struct place *p) { return newest_below(p, INT64_MAX); }

void versions_suffix(int64_t number, char ret[PLACE_SUFFIX_MAX]) { snprintf(ret, PLACE_SUFFIX_MAX, PLACE_VERSION "%" PRId64, number); }

int64_t versions_keep(const struct place *p)
{
    char suffix[PLACE_SUFFIX_MAX], name[NAME_MAX + 1];
    int64_t newest = versions_newest(p);
    if (newest < 0)
        return -1;
    versions_suffix(newest + 1, suffix);
    place_beside(p, suffix, name);
    return linkat(p->dir_fd, p->name, p->dir_fd, name, 0) < 0 ? -1 : newest + 1;
}

void versions_prune(const struct place *p, int64_t keep)
{
    int64_t number = INT64_MAX;
    for (int64_t i = 0; (number = newest_below(p, number)) > 0; i++) {
        char suffix[PLACE_SUFFIX_MAX], name[NAME_MAX + 1];
        versions_suffix(number, suffix);
        place_beside(p, suffix, name);
        if (i >= keep)
            (void)unlinkat(p->dir_fd, name, 0);
    }
}

/* A directory of the engine's (NAME.bulkhead-new.tmp), with the files in it. */
static void remove_directory(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    const struct dirent *e;
    while ((e = readdir(d)))
        (void)unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    (void)unlinkat(dir_fd, name, AT_REMOVEDIR);
}

static bool is_leftover(const struct place *p, const char *entry, const struct stat *database)
{
    size_t n = strlen(p->name);
    struct stat st;
    if (strncmp(entry, p->name, n) != 0)
        return false;
    if (strncmp(entry + n, PLACE_COPY, strlen(PLACE_COPY)) == 0) {
        char after = entry[n + strlen(PLACE_COPY)];
        return after == 0 || after == '.';
    }
    /* A kept version that is the database itself: the run died before its rename. */
    bool ours = strcmp(entry + n, PLACE_UNDONE) == 0 || number_of(p, entry) > 0;
    return ours && database && fstatat(p->dir_fd, entry, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == database->st_ino &&
           st.st_dev == database->st_dev;
}

int versions_clean(const struct place *p)
{
    struct stat database;
    bool there = fstatat(p->dir_fd, p->name, &database, 0) == 0;
    DIR *d = open_directory(p);
    int removed = 0;
    if (!d)
        return 0;
    const struct dirent *e;
    while ((e = readdir(d))) {
        if (!is_leftover(p, e->d_name, there ? &database : NULL))
            continue;
        if (unlinkat(p->dir_fd, e->d_name, 0) < 0 && (errno == EISDIR || errno == EPERM))
            remove_directory(p->dir_fd, e->d_name);
        removed++;
    }
    closedir(d);
    return removed;
}
