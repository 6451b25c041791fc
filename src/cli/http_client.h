/* A small HTTP/1.1 client for commands that talk to a server: one request at a time, on a connection that is kept. Knows sockets, TLS and llhttp;
 * must not know what is asked for. Everything has a time limit and a size. Runs in the command line. */
#pragma once
#include "core/buf.h"

struct error;

struct http_client_options {
    const char *url;     /* http://HOST[:PORT], https://HOST[:PORT], unix:/path */
    const char *key;     /* the API key; NULL: none */
    const char *ca_file; /* certificates to trust instead of the system's; NULL */
    int timeout_ms;      /* for connecting, and for each answer */
};

struct http_client;

/* The caller's. NULL with *err (bad_request: the URL). Connects with the first request. */
struct http_client *http_client_new(const struct http_client_options *o, struct error *err);
void http_client_free(struct http_client *c);
/* "127.0.0.1:8480" */
const char *http_client_address(const struct http_client *c);

/* Sends a request without a body and waits for the answer. 0 with the status, and its body (NUL-terminated besides) in *body, which is emptied
 * first; -1 with *err: nobody there, nobody trusted, no HTTP, too slow, too large (body->max). */
int http_client_request(struct http_client *c, const char *method, const char *path, int *ret_status, struct buf *body, struct error *err);
