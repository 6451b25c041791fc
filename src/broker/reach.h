/* Connecting to one declared endpoint: its name looked up anew, each address held against what may be reached at all. Blocks; runs in threads of the
 * broker. Knows no worker. */
#pragma once
#include "link/egress.h"
#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>

/* May a name that was declared lead to this address? Not to the machine itself, its neighbourhood on the link, groups, or nowhere: those must be
 * declared literally. (`localhost` is such a declaration, of the machine itself.) */
bool reach_allows(const char *host, const struct sockaddr *address);
/* A connected socket; or -1 with an errno in *ret_error. *ret_refused: an address was refused, its text in `ret_address`. */
int reach_connect(const struct egress_endpoint *e, int timeout_ms, int *ret_error, bool *ret_refused, char ret_address[64]);
