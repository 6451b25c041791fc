/* SHA-256, by OpenSSL. Runs in the command line and in the front. */
#include "core/digest.h"
#include "core/errors.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

void digest_sha256(const void *data, size_t len, uint8_t ret[DIGEST_BYTES])
{
    /* Looked up once: an implicit fetch costs more than the hash of one block. */
    static EVP_MD *sha256;
    static EVP_MD_CTX *ctx;
    if (!sha256) {
        CHECK(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL)); /* no file of the machine's is read */
        sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
        ctx = EVP_MD_CTX_new();
        CHECK(sha256 && ctx);
    }
    unsigned n = 0;
    CHECK(EVP_DigestInit_ex2(ctx, sha256, NULL) && EVP_DigestUpdate(ctx, data, len) && EVP_DigestFinal_ex(ctx, ret, &n));
    CHECK(n == DIGEST_BYTES);
}
