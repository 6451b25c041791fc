/* The server's certificate chain and private key on their way from the supervisor to the front: one sealed file. Knows their lengths, not what
 * they say. Runs in both. */
#pragma once
#include <stddef.h>

/* The caller's; -1 with errno. */
int identity_to_fd(const char *chain, size_t chain_len, const char *key, size_t key_len);
/* Both malloc'd, and the caller's; *ret_chain is NULL for an empty file: no TLS. The fd stays open. 0; -1 with errno (EPROTO: not what
 * identity_to_fd makes). */
int identity_from_fd(int fd, char **ret_chain, size_t *ret_chain_len, char **ret_key, size_t *ret_key_len);
