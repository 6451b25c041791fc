/* Figures that only the supervisor can read, once the front has given up its rights: put into the page now and then. Runs in the supervisor. */
#pragma once
#include <stdint.h>

struct supervisor;

/* Cheap when called too often: it looks at most four times a second. */
void look_around(struct supervisor *s, int64_t now_ns);
