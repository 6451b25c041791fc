/* Files of control groups. Runs in the supervisor and the command line. */
#include "supervisor/group_files.h"
#include "core/fd.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct group_path group_path(const char *directory, const char *name)
{
    struct group_path p;
    int n = snprintf(p.s, sizeof p.s, "%s/%s", directory, name);
    if (n < 0 || (size_t)n >= sizeof p.s)
        p.s[0] = 0; /* there is no such file */
    return p;
}

int group_put(const char *directory, const char *name, const char *text)
{
    struct group_path p = group_path(directory, name);
    auto_close int fd = open(p.s, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

bool group_get(const char *directory, const char *name, char *ret, size_t cap)
{
    struct group_path p = group_path(directory, name);
    auto_close int fd = open(p.s, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, cap - 1);
    ret[n > 0 ? n : 0] = 0;
    return n >= 0;
}

bool group_has_file(const char *directory, const char *name)
{
    struct group_path p = group_path(directory, name);
    return access(p.s, F_OK) == 0;
}

int group_put_number(const char *directory, const char *name, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    return group_put(directory, name, text);
}

int64_t group_get_number(const char *directory, const char *name, const char *word)
{
    char text[4096];
    if (!group_get(directory, name, text, sizeof text))
        return -1;
    const char *at = text;
    size_t len = word ? strlen(word) : 0;
    while (word && at && !(strncmp(at, word, len) == 0 && at[len] == ' '))
        at = (at = strchr(at, '\n')) ? at + 1 : NULL;
    return at && sscanf(at + len, "%" SCNd64, &(int64_t){0}) == 1 ? strtoll(at + len, NULL, 10) : -1;
}

bool group_lists(const char *directory, const char *name, const char *word)
{
    char text[512], *rest = text, *one;
    group_get(directory, name, text, sizeof text);
    while ((one = strsep(&rest, " \n")))
        if (strcmp(one, word) == 0)
            return true;
    return false;
}
