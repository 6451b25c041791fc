/* Where our control groups are mounted: /proc/self/cgroup and /proc/self/mountinfo put together. Pure: works on the two texts, opens no file
 * and knows no limits. Runs in the supervisor. */
#pragma once
#include <stdbool.h>

enum cgroup_tree { CGROUP_V2, CGROUP_V1_MEMORY, CGROUP_V1_CPU, CGROUP_TREES };

/* Pointers into the two texts. */
struct cgroup_place {
    const char *mount_point; /* NULL: there is no such tree, or it is not mounted */
    const char *path;        /* our group below the mount point, "/a/b", or "/" */
};

/* Both texts are torn up in the process and must live as long as the places. Of several mounts of a tree, the one counts that shows our group
 * and most of what is above it; when none shows our group, the top of a mount is all there is to look at. Lines that make no sense are passed
 * over. */
void cgroup_places(char *cgroup_text, char *mountinfo_text, struct cgroup_place ret_places[CGROUP_TREES]);
