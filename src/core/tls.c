/* Certificate and key. Runs in the supervisor and the front. */
#include "core/tls.h"
#include "core/errors.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* TLS 1.2 with forward secrecy and authenticated encryption only; 1.3 has nothing else. */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"

struct tls {
    SSL_CTX *ctx;
    int64_t not_before_s, not_after_s;
};

void tls_library_init(void)
{
    CHECK(OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL));
}

/* What OpenSSL has to say, as a phrase; its queue of errors is emptied. */
static int refuse(struct error *err, const char *name, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return error_set(err, ERR_BAD_REQUEST, "%s: %s%s%s", name, what, reason ? ": " : "", reason ? reason : "");
}

/* Nobody is here to type a passphrase. */
static int no_passphrase(char *space, int size, int writing, void *ctx)
{
    (void)space;
    (void)size;
    (void)writing;
    *(int *)ctx = 1;
    return -1;
}

static int load_key(SSL_CTX *ctx, const char *key, size_t len, const char *name, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(key, (int)len);
    CHECK(bio);
    int asked = 0;
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
    BIO_free(bio);
    if (!pkey)
        return refuse(err, name, asked ? "the private key has a passphrase, which nobody can type here; take it off" : "no private key in PEM form");
    int ok = SSL_CTX_use_PrivateKey(ctx, pkey);
    EVP_PKEY_free(pkey);
    return ok == 1 ? 0 : refuse(err, name, "the private key does not fit the certificate, or can't be used");
}

static int64_t unix_time(const ASN1_TIME *t)
{
    struct tm tm;
    return t && ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

static int load_chain(struct tls *t, const char *chain, size_t len, const char *name, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(chain, (int)len);
    CHECK(bio);
    int asked = 0, r = 0;
    X509 *leaf = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, &asked);
    if (!leaf || SSL_CTX_use_certificate(t->ctx, leaf) != 1) {
        r = refuse(err, name, leaf ? "the certificate can't be used" : "no certificate in PEM form");
    } else {
        t->not_before_s = unix_time(X509_get0_notBefore(leaf));
        t->not_after_s = unix_time(X509_get0_notAfter(leaf));
    }
    X509_free(leaf);
    X509 *next;
    while (r == 0 && (next = PEM_read_bio_X509(bio, NULL, no_passphrase, &asked))) {
        if (SSL_CTX_add0_chain_cert(t->ctx, next) != 1) {
            X509_free(next);
            r = refuse(err, name, "a certificate of the chain can't be used");
        }
    }
    if (r == 0 && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) /* anything but the end of the text */
        r = refuse(err, name, "a certificate of the chain is damaged");
    ERR_clear_error();
    BIO_free(bio);
    return r;
}

/* ALPN: a client that names protocols must name ours; one that names none is taken at its word. */
static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *ctx)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)ctx;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, ours, sizeof ours - 1, in, in_len) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *context_new(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    CHECK(ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) && SSL_CTX_set_cipher_list(ctx, CIPHERS_1_2));
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Writes take what the socket takes, from wherever the bytes are then; idle connections give their buffers back. */
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    /* Clients resume by tickets that they keep themselves; we keep nothing. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, select_protocol, NULL);
    return ctx;
}

int tls_new(struct tls **ret, const char *chain, size_t chain_len, const char *chain_name, const char *key, size_t key_len, const char *key_name,
            struct error *err)
{
    tls_library_init();
    ERR_clear_error();
    struct tls *t = calloc(1, sizeof *t);
    CHECK(t && chain_len <= TLS_PEM_MAX && key_len <= TLS_PEM_MAX);
    t->ctx = context_new();
    if (load_chain(t, chain, chain_len, chain_name, err) < 0 || load_key(t->ctx, key, key_len, key_name, err) < 0) {
        tls_free(t);
        return -1;
    }
    if (SSL_CTX_check_private_key(t->ctx) != 1) {
        tls_free(t);
        return refuse(err, key_name, "the private key is not the certificate's");
    }
    *ret = t;
    return 0;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx); /* counted: connections hold it as well */
    free(t);
}

int64_t tls_not_before_s(const struct tls *t) { return t->not_before_s; }
int64_t tls_not_after_s(const struct tls *t) { return t->not_after_s; }
struct ssl_ctx_st *tls_context(const struct tls *t) { return t->ctx; }
