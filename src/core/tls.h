/* A server's TLS identity: certificate chain and private key, checked and ready to serve. Knows PEM text and OpenSSL; no file, no socket.
 * Runs in the supervisor (which checks what it read) and the front (which serves with it). */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct error;
struct ssl_ctx_st;

#define TLS_PEM_MAX ((size_t)1 << 20) /* of each of the two */

struct tls;

/* chain: PEM, the server's certificate first, then those that lead to a root. key: PEM, without a passphrase. `name` of each stands in messages. 0,
 * and *ret is the caller's; -1 with *err (bad_request): not to be read, not each other's, too weak. */
int tls_new(struct tls **ret, const char *chain, size_t chain_len, const char *chain_name, const char *key, size_t key_len, const char *key_name,
            struct error *err);
/* Connections that were made with it go on. NULL is allowed. */
void tls_free(struct tls *t);

/* Unix time from and until which the certificate is valid. */
int64_t tls_not_before_s(const struct tls *t);
int64_t tls_not_after_s(const struct tls *t);
/* For front/transport.c. */
struct ssl_ctx_st *tls_context(const struct tls *t);

/* OpenSSL without any file of the machine's: its configuration could change what we offer, and the front is to read no files. Call it before
 * anything else of OpenSSL's; more than once does no harm. */
void tls_library_init(void);
