/* Plain and TLS connections on socket pairs: whatever the socket takes at a time, every byte arrives once and in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/errors.h"
#include "core/tls.h"
#include "front/transport.h"

#define TOTAL_BYTES ((size_t)3 << 20)

struct pem {
    char *text;
    size_t len;
};

struct world {
    struct tls *tls;
    SSL_CTX *client;
    struct pem chain, key;
};

static struct pem take(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    struct pem p = {malloc((size_t)len), (size_t)len};
    memcpy(p.text, data, (size_t)len);
    BIO_free(bio);
    return p;
}

/* A self-signed certificate with its key. */
static void make_identity(struct pem *chain, struct pem *key)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_non_null(pkey);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, pkey);
    assert_true(X509_sign(x, pkey, EVP_sha256()) > 0);
    BIO *a = BIO_new(BIO_s_mem()), *b = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(a, x), 1);
    assert_int_equal(PEM_write_bio_PrivateKey(b, pkey, NULL, NULL, 0, NULL, NULL), 1);
    *chain = take(a);
    *key = take(b);
    X509_free(x);
    EVP_PKEY_free(pkey);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct error err;
    signal(SIGPIPE, SIG_IGN);
    make_identity(&w->chain, &w->key);
    if (tls_new(&w->tls, w->chain.text, w->chain.len, "chain", w->key.text, w->key.len, "key", &err) < 0)
        fail_msg("%s", err.detail);
    w->client = SSL_CTX_new(TLS_client_method());
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    tls_free(w->tls);
    SSL_CTX_free(w->client);
    free(w->chain.text);
    free(w->key.text);
    free(w);
    return 0;
}

/* Both ends of a connection; the client's is OpenSSL's, or plain. */
struct pair {
    struct transport server;
    int client_fd;
    SSL *client;
};

static struct pair open_pair(struct world *w, bool tls, int max_fragment)
{
    struct pair p = {0};
    int fds[2], small = 4096;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    transport_init(&p.server, fds[0], tls ? w->tls : NULL);
    p.client_fd = fds[1];
    if (!tls)
        return p;
    p.client = SSL_new(w->client);
    if (max_fragment)
        SSL_set_tlsext_max_fragment_length(p.client, (uint8_t)max_fragment);
    SSL_set_fd(p.client, fds[1]);
    SSL_set_connect_state(p.client);
    int server = 0, client = 0;
    for (int i = 0; i < 1000 && (server != 1 || client != 1); i++) {
        if (client != 1)
            client = SSL_do_handshake(p.client);
        if (server != 1)
            server = transport_handshake(&p.server);
        assert_int_not_equal(server, -1);
    }
    assert_true(server == 1 && client == 1 && p.server.ready);
    return p;
}

static void close_pair(struct pair *p)
{
    transport_end(&p->server, true);
    SSL_free(p->client);
    close(p->server.fd);
    close(p->client_fd);
}

static ssize_t client_read(struct pair *p, void *data, size_t n)
{
    if (!p->client)
        return recv(p->client_fd, data, n, 0);
    int r = SSL_read(p->client, data, (int)n);
    return r > 0 ? r : SSL_get_error(p->client, r) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static unsigned next_random(unsigned *seed) { return (*seed = *seed * 1103515245 + 12345) >> 16; }

/* Sends in pieces of every size, with a reader that takes pieces of every size, and now and then nothing. */
static void pump(struct world *w, bool tls, bool file, int max_fragment)
{
    struct pair p = open_pair(w, tls, max_fragment);
    uint8_t *data = malloc(TOTAL_BYTES), *got = malloc(TOTAL_BYTES);
    unsigned seed = 7;
    size_t sent = 0, received = 0, held = 0;
    for (size_t i = 0; i < TOTAL_BYTES; i++)
        data[i] = (uint8_t)next_random(&seed);
    int fd = memfd_create("data", 0);
    assert_int_equal(write(fd, data, TOTAL_BYTES), TOTAL_BYTES);
    while (received < TOTAL_BYTES) {
        size_t n = next_random(&seed) % 60000;
        n = n < TOTAL_BYTES - sent ? n : TOTAL_BYTES - sent;
        size_t cut = n ? next_random(&seed) % n : 0;
        struct iovec iov[3] = {{data + sent, cut}, {NULL, 0}, {data + sent + cut, n - cut}};
        ssize_t r = n == 0 ? transport_flush(&p.server)
                    : file ? transport_send_file(&p.server, fd, (off_t)sent, n)
                           : transport_send(&p.server, iov, 3, false);
        if (r < 0)
            assert_int_equal(errno, EAGAIN);
        else if (n)
            sent += (size_t)r;
        held += transport_is_holding(&p.server);
        size_t want = next_random(&seed) % 30000 + 1;
        if (next_random(&seed) % 4 == 0)
            continue;
        r = client_read(&p, got + received, want < TOTAL_BYTES - received ? want : TOTAL_BYTES - received);
        received += r > 0 ? (size_t)r : 0;
    }
    assert_int_equal(sent, TOTAL_BYTES);
    assert_memory_equal(data, got, TOTAL_BYTES);
    if (tls)
        assert_true(held > 10); /* or nothing of this was tried */
    assert_int_equal(transport_flush(&p.server), 1);
    transport_end(&p.server, true);
    if (tls)
        assert_int_equal(client_read(&p, got, 1), 0); /* an end in order */
    close_pair(&p);
    close(fd);
    free(data);
    free(got);
}

static void every_byte_arrives_plain(void **state)
{
    pump(*state, false, false, 0);
    pump(*state, false, true, 0);
}

static void every_byte_arrives_through_tls(void **state)
{
    pump(*state, true, false, 0);
    pump(*state, true, true, 0);
}

static void a_client_with_small_records_gets_them(void **state)
{
    pump(*state, true, false, TLSEXT_max_fragment_length_512);
    pump(*state, true, true, TLSEXT_max_fragment_length_4096);
}

static void what_is_decrypted_and_not_read_is_known(void **state)
{
    struct pair p = open_pair(*state, true, 0);
    char data[1000] = "x", got[600];
    assert_int_equal(SSL_write(p.client, data, sizeof data), sizeof data);
    assert_true(transport_is_unread(&p.server));
    assert_int_equal(transport_read(&p.server, got, sizeof got), sizeof got);
    assert_true(transport_has_input(&p.server));
    assert_true(transport_is_unread(&p.server));
    assert_int_equal(transport_read(&p.server, got, sizeof got), 400);
    assert_false(transport_has_input(&p.server));
    assert_int_equal(transport_read(&p.server, got, sizeof got), -1);
    assert_int_equal(errno, EAGAIN);
    close_pair(&p);
}

static void an_end_is_an_end_with_and_without_goodbye(void **state)
{
    char byte;
    for (int goodbye = 0; goodbye < 2; goodbye++) {
        struct pair p = open_pair(*state, true, 0);
        if (goodbye)
            SSL_shutdown(p.client);
        shutdown(p.client_fd, SHUT_WR);
        assert_int_equal(transport_read(&p.server, &byte, 1), 0);
        close_pair(&p);
    }
}

static void a_file_that_is_too_short_says_so(void **state)
{
    for (int tls = 0; tls < 2; tls++) {
        struct pair p = open_pair(*state, tls, 0);
        int fd = memfd_create("data", 0);
        assert_int_equal(transport_send_file(&p.server, fd, 0, 10), 0);
        close(fd);
        close_pair(&p);
    }
}

static void noise_fails_the_handshake(void **state)
{
    struct world *w = *state;
    static const char *const noise[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff....................", "SSH-2.0-x\r\n....."};
    for (size_t i = 0; i < 3; i++) {
        struct transport t;
        int fds[2], r = 0;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        transport_init(&t, fds[0], w->tls);
        assert_true(write(fds[1], noise[i], strlen(noise[i])) > 0);
        shutdown(fds[1], SHUT_WR);
        for (int k = 0; k < 10 && r == 0; k++)
            r = transport_handshake(&t);
        assert_int_equal(r, -1);
        assert_int_equal(t.plain_http, i == 0);
        transport_end(&t, true);
        close(fds[0]);
        close(fds[1]);
    }
}

static void an_identity_must_fit(void **state)
{
    struct world *w = *state;
    struct pem chain, key;
    struct tls *t = NULL;
    struct error err;
    make_identity(&chain, &key);
    assert_int_equal(tls_new(&t, chain.text, chain.len, "c.pem", w->key.text, w->key.len, "k.pem", &err), -1);
    assert_non_null(strstr(err.detail, "k.pem"));
    assert_int_equal(tls_new(&t, "", 0, "c.pem", key.text, key.len, "k.pem", &err), -1);
    assert_non_null(strstr(err.detail, "c.pem: no certificate"));
    assert_int_equal(tls_new(&t, chain.text, chain.len, "c.pem", "", 0, "k.pem", &err), -1);
    assert_non_null(strstr(err.detail, "k.pem: no private key"));
    assert_null(t);
    free(chain.text);
    free(key.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_arrives_plain),
        cmocka_unit_test(every_byte_arrives_through_tls),
        cmocka_unit_test(a_client_with_small_records_gets_them),
        cmocka_unit_test(what_is_decrypted_and_not_read_is_known),
        cmocka_unit_test(an_end_is_an_end_with_and_without_goodbye),
        cmocka_unit_test(a_file_that_is_too_short_says_so),
        cmocka_unit_test(noise_fails_the_handshake),
        cmocka_unit_test(an_identity_must_fit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
