/* Where a database lies (see the header). Runs in the supervisor, the publisher and the command line. */
#include "publish/place.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int fail(struct error *err, const char *path, const char *why) { return error_set(err, ERR_UNAVAILABLE, "database \"%s\": %s", path, why); }

/* The real path of a file that need not exist yet: that of its directory, and its name. */
static bool real_path(const char *path, bool may_be_new, char ret[PATH_MAX])
{
    if (realpath(path, ret))
        return true;
    if (!may_be_new || errno != ENOENT)
        return false;
    struct stat st;
    if (lstat(path, &st) == 0) /* a symbolic link to nothing */
        return false;
    char directory[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) + 1 : 0;
    if (len >= sizeof directory)
        return false;
    memcpy(directory, path, len);
    directory[len] = 0;
    const char *name = slash ? slash + 1 : path;
    if (!name[0] || !realpath(len ? directory : ".", real))
        return false;
    return snprintf(ret, PATH_MAX, "%s%s%s", real, strcmp(real, "/") == 0 ? "" : "/", name) < PATH_MAX;
}

int place_open(struct place *p, const char *path, bool may_be_new, struct error *err)
{
    struct place at = PLACE_NONE;
    struct stat st;
    if (!path[0] || strcmp(path, ":memory:") == 0)
        return error_set(err, ERR_BAD_REQUEST, "a database in memory has no file to write to");
    if (!real_path(path, may_be_new, at.path))
        return fail(err, path, errno == ENOENT ? "the file does not exist" : strerror(errno));
    char *slash = strrchr(at.path, '/');
    if (strlen(slash + 1) + PLACE_SUFFIX_MAX > NAME_MAX)
        return fail(err, path, "the name is too long: the write path makes files beside it with longer ones");
    strcpy(at.name, slash + 1);
    memcpy(at.directory, at.path, (size_t)(slash - at.path));
    if (slash == at.path)
        strcpy(at.directory, "/");
    if (stat(at.path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return fail(err, path, "it is a directory");
        if (!S_ISREG(st.st_mode))
            return fail(err, path, "it is not a regular file");
    } else if (errno != ENOENT) {
        return fail(err, path, strerror(errno));
    }
    at.dir_fd = open(at.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at.dir_fd < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot open the directory \"%s\": %s", at.directory, strerror(errno));
    *p = at;
    return 0;
}

void place_close(struct place *p) { fd_close_p(&p->dir_fd); }

void place_beside(const struct place *p, const char *suffix, char ret[NAME_MAX + 1])
{
    CHECK(snprintf(ret, NAME_MAX + 1, "%s%s", p->name, suffix) <= NAME_MAX);
}

void place_beside_path(const struct place *p, const char *suffix, char ret[PATH_MAX])
{
    if (snprintf(ret, PATH_MAX, "%s%s", p->path, suffix) >= PATH_MAX)
        ret[0] = 0; /* no such file can be: the open that follows fails */
}

long long place_size(const struct place *p, const char *suffix)
{
    char name[NAME_MAX + 1];
    struct stat st;
    place_beside(p, suffix, name);
    return fstatat(p->dir_fd, name, &st, 0) == 0 ? (long long)st.st_size : -1;
}
