/* Addresses of clients and proxies as values. Knows IPv4, IPv6 and unix sockets; no socket and no header. Pure. Runs in every process. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

enum address_kind { ADDRESS_NONE, ADDRESS_UNIX, ADDRESS_IP };

struct address {
    uint8_t kind;      /* enum address_kind */
    uint8_t bytes[16]; /* ADDRESS_IP; IPv4 as ::ffff:a.b.c.d, so that both ways of reaching us give the same value */
};

#define ADDRESS_TEXT_BYTES 46

/* NULL or an unknown family: ADDRESS_NONE. The port is left out. */
struct address address_of(const struct sockaddr *sa);
/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]"; each but the second also with ":port" behind it. False, and *ret untouched, for anything else. */
bool address_parse(const char *text, size_t len, struct address *ret);
/* "192.0.2.1", "2001:db8::1", "unix", "unknown". */
void address_format(const struct address *a, char out[ADDRESS_TEXT_BYTES]);
bool address_equal(const struct address *a, const struct address *b);
/* 127.0.0.0/8, ::1 and unix sockets. */
bool address_is_loopback(const struct address *a);

/* "10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "unix": the peers of a configuration list. */
struct address_range {
    struct address base;
    uint8_t bits; /* of the 128 that count; 0 with ADDRESS_UNIX */
};
/* NULL; or what is wrong, a phrase behind the text. */
const char *address_range_parse(const char *text, struct address_range *ret);
bool address_range_has(const struct address_range *r, const struct address *a);
