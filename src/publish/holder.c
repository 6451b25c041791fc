/* Who has a file open or locked (see the header). Runs in the supervisor, the publisher and the command line. */
#include "publish/holder.h"
#include "core/fd.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void holder_clean(const char *text, char *ret, size_t cap)
{
    size_t n = 0;
    for (; text[n] && n + 1 < cap; n++)
        ret[n] = (unsigned char)text[n] < 0x20 || (unsigned char)text[n] >= 0x7f ? '?' : text[n];
    ret[n] = 0;
}

/* The arguments, separated by blanks. */
static void read_command(int32_t pid, char *ret, size_t cap)
{
    char path[64], text[160];
    ret[0] = 0;
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return;
    while (n > 0 && text[n - 1] == 0)
        n--;
    for (ssize_t i = 0; i < n; i++)
        if (text[i] == 0)
            text[i] = ' ';
    text[n] = 0;
    holder_clean(text, ret, cap);
}

static void name(struct file_holder *ret, int32_t pid)
{
    ret->pid = pid > 0 ? pid : 0;
    ret->command[0] = 0;
    if (pid > 0)
        read_command(pid, ret->command, sizeof ret->command);
}

bool holder_locked(int fd, struct file_holder *ret)
{
    /* The question of an open file description: a lock that we hold by the same fd is no answer to it. */
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &l) < 0 || l.l_type == F_UNLCK)
        return false;
    ret->writes = l.l_type == F_WRLCK;
    name(ret, l.l_pid);
    return true;
}

static bool has_open(const char *pid, const struct stat *file)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *d = opendir(path);
    if (!d)
        return false;
    bool found = false;
    const struct dirent *e;
    while (!found && (e = readdir(d)))
        found = isdigit((unsigned char)e->d_name[0]) && fstatat(dirfd(d), e->d_name, &st, 0) == 0 && st.st_ino == file->st_ino &&
                st.st_dev == file->st_dev;
    closedir(d);
    return found;
}

bool holder_open(int fd, struct file_holder *ret)
{
    struct stat file;
    if (holder_locked(fd, ret))
        return true;
    DIR *d = fstat(fd, &file) == 0 ? opendir("/proc") : NULL;
    if (!d)
        return false;
    bool found = false;
    const struct dirent *e;
    while (!found && (e = readdir(d)))
        if (isdigit((unsigned char)e->d_name[0]) && atoi(e->d_name) != (int)getpid() && has_open(e->d_name, &file)) {
            found = true;
            ret->writes = false;
            name(ret, atoi(e->d_name));
        }
    closedir(d);
    return found;
}

void holder_text(const struct file_holder *h, char *ret, size_t cap)
{
    if (h->pid <= 0)
        snprintf(ret, cap, "a process that can't be named from here");
    else
        snprintf(ret, cap, "process %d%s%s%s", (int)h->pid, h->command[0] ? " (" : "", h->command, h->command[0] ? ")" : "");
}
