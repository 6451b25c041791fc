/* The files of extensions (see the header). Runs in the supervisor and the worker. */
#include "core/extensions.h"
#include "core/clock.h"
#include "core/config.h"
#include "core/errors.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Coarser than the clock of any local file system: two changes within one tick of it look like one. */
#define SETTLED_S 2

bool path_make_absolute(const char *path, char *ret, size_t cap)
{
    char cwd[PATH_MAX] = "";
    bool whole = path[0] == '/' || path[0] == 0;
    if (!whole && !getcwd(cwd, sizeof cwd))
        return false;
    return (size_t)snprintf(ret, cap, "%s%s%s", cwd, whole ? "" : "/", path) < cap;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static const char *find_directory(const struct config *cfg, char *buf, size_t cap)
{
    static const char *const places[] = {"extensions", "../lib/bulkhead/extensions"};
    char self[PATH_MAX];
    if (cfg->database.extension_directory[0])
        return cfg->database.extension_directory;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = n > 0 ? memrchr(self, '/', (size_t)n) : NULL;
    if (!slash)
        return "";
    *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if ((size_t)snprintf(buf, cap, "%s/%s", self, places[i]) < cap && is_directory(buf))
            return buf;
    return "";
}

int extensions_directory(const struct config *cfg, char ret[EXTENSION_PATH_BYTES], struct error *err)
{
    char place[PATH_MAX];
    if (path_make_absolute(find_directory(cfg, place, sizeof place), ret, EXTENSION_PATH_BYTES))
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "the path of the extension directory is too long");
}

int extension_path(const char *directory, const char *name, char ret[EXTENSION_PATH_BYTES], struct error *err)
{
    char whole[2 * PATH_MAX];
    bool is_path = strchr(name, '/');
    int n = snprintf(whole, sizeof whole, "%s%s%s%s", is_path ? "" : directory, is_path ? "" : "/", name, is_path ? "" : ".duckdb_extension");
    if ((size_t)n < sizeof whole && path_make_absolute(whole, ret, EXTENSION_PATH_BYTES))
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "the path of the extension \"%.200s\" is too long", name);
}

bool extension_state(const char *path, char ret[EXTENSION_STATE_BYTES], bool *ret_settled)
{
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    snprintf(ret, EXTENSION_STATE_BYTES, "%llx.%llx.%llx.%llx.%lx.%llx.%lx", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
             (unsigned long long)st.st_size, (unsigned long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (unsigned long long)st.st_ctim.tv_sec,
             st.st_ctim.tv_nsec);
    *ret_settled = st.st_ctim.tv_sec + SETTLED_S < clock_wall_ms() / 1000;
    return true;
}

bool extension_is_in(const char *states, const char *path)
{
    char state[EXTENSION_STATE_BYTES];
    bool settled;
    if (!states[0] || !extension_state(path, state, &settled))
        return false;
    size_t len = strlen(state);
    for (const char *at = states; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, state, len) == 0 && (at[len] == ',' || at[len] == 0))
            return true;
    }
    return false;
}
