/* The broker: the one process that connects to sources. The supervisor tells it which worker may reach what; workers ask by number.
 * Knows no secret, no SQL, no client. */
#pragma once

/* bulkhead broker-process PARENT_PID UID; fd 3 is the channel to the supervisor. Returns the exit code. */
int broker_main(int argc, char **argv);
