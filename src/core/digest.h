/* SHA-256. Runs in the command line and in the front. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32

void digest_sha256(const void *data, size_t len, uint8_t ret[DIGEST_BYTES]);
