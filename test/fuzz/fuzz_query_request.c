/* The body of POST /v1/query. What is taken is within the limits; what is refused has an error and leaves nothing to free. */
#include "core/utf8.h"
#include "front/query_request.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct query_limits limits = {
        .max_sql_bytes = 1000, .timeout_ms = 30000, .timeout_max_ms = 300000, .timeout_max_name = "the server's timeout_max"};
    struct query_request r;
    struct error err = {0};
    if (query_request_from_json((const char *)data, size, &limits, &r, &err) < 0) {
        CHECK(err.code == ERR_BAD_REQUEST || err.code == ERR_PAYLOAD_TOO_LARGE || err.code == ERR_NOT_ACCEPTABLE);
        CHECK(err.detail[0]); /* may hold the client's bytes, cut anywhere: whoever writes it out takes it as such (buf_json_string) */
        return 0;
    }
    CHECK(r.sql && strlen(r.sql) == r.sql_len && (int64_t)r.sql_len <= limits.max_sql_bytes && utf8_valid(r.sql, r.sql_len));
    CHECK((int64_t)(r.sql_len + r.params_len) <= query_request_bytes(&limits));
    CHECK(!r.params || (strlen(r.params) == r.params_len && utf8_valid(r.params, r.params_len)));
    CHECK(r.timeout_ms > 0 && r.timeout_ms <= limits.timeout_max_ms);
    query_request_clear(&r);
    return 0;
}
