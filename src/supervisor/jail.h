/* What the supervisor knows of the layers of the sandbox: reports of workers and front taken in, checked against `[sandbox] require`, logged when
 * they change, handed to the front for /v1/status. Runs in the supervisor. */
#pragma once
#include <stdbool.h>

struct supervisor;

/* Before any process has reported: there is no broker until a source needs one. */
void jail_begin(struct supervisor *s);
/* The text behind the R of a ready worker. */
void jail_worker_ready(struct supervisor *s, const char *report);
/* The front's own report. */
void jail_front_up(struct supervisor *s, const char *report);
/* The broker's. False: a layer that the configuration requires is not in force, and it must not serve. */
bool jail_broker_up(struct supervisor *s, const char *report);
/* A layer that the configuration requires is missing: the server ends, before it has served anybody. False when it was ready already: then this
 * is a failed start like any other. */
bool jail_refuse(struct supervisor *s, const char *why);
/* All that is known so far, for a front that has just been started. */
void jail_tell_front(struct supervisor *s);
