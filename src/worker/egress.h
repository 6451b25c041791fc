/* The worker's side of egress. The C library's calls that make connections are replaced in this program (worker/calls/): an address that belongs to a
 * granted endpoint becomes a question to the broker, every other one is refused. The kernel's filter refuses the real calls; what is here only
 * makes the extensions' libraries, which know nothing of it, work. Knows endpoints; must not know SQL. Runs in the worker. */
#pragma once
#include "link/egress.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

/* From here on these can be reached, in this order, through that channel. `stop` ends a wait. Before it is called, nothing can. */
void egress_start(int channel_fd, const struct egress_endpoint *endpoints, size_t count, const atomic_bool *stop);

/* The address that stands for what lies behind this name and port: never a real one. False: no endpoint is there. port 0: any. */
bool egress_address(const char *host, unsigned port, struct sockaddr_in *ret);
/* The endpoint that an address means: one of ours, or a declared literal. -1: none. */
int egress_endpoint(const struct sockaddr *address, socklen_t len);
/* A connected socket, the caller's; -1 with errno. Blocks, at most a little longer than EGRESS_CONNECT_MS. */
int egress_connect(int endpoint);
/* This number is a connection now, and the library's that made it. */
void egress_connected(int fd);
/* Ends all connections, whose numbers stay their libraries': who waits for a source learns at once that nothing more comes. Any thread. */
void egress_hang_up(void);
