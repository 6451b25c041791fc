/* Whose request a proxy passes on: X-Forwarded-For and Forwarded (RFC 7239), believed from trusted proxies only. Knows header texts and
 * addresses, no connection. Pure. Runs in the front. */
#pragma once
#include "core/address.h"
#include <stddef.h>

/* The client behind `peer`: the last address, from the right, that is no trusted proxy. The headers are looked at when the peer is trusted, and NULL
 * when absent. With both headers, and different answers, one of them was not written by the proxy: then it is the peer itself, as it is when
 * the header can't be read. At most 32 hops are followed. */
struct address forwarded_client(const struct address *peer, const char *x_forwarded_for, const char *forwarded, const struct address_range *trusted,
                                size_t trusted_count);
