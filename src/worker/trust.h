/* The certificates that a source's own is held against. Runs in the worker. */
#pragma once
#include <stddef.h>

/* The file with the roots that this machine trusts: SSL_CERT_FILE, or where distributions have it; "" when there is none. The libraries that the
 * extensions bring have such a path compiled in, that of the machine they were built on. Returns `ret`. */
const char *trust_file(char *ret, size_t cap);
