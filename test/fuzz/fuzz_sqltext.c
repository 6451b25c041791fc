/* The lexer of SQL: tokens lie inside the text, in order, and every question about a text has an answer. */
#include "core/errors.h"
#include "engine/sqltext.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *sql = malloc(size + 1); /* exactly so long: reading behind it is seen */
    CHECK(sql);
    memcpy(sql, data, size);
    sql[size] = 0;
    size_t pos = 0, last = 0, tokens = 0;
    for (struct sql_token t = sql_next(sql, size, &pos); t.kind != SQL_END; t = sql_next(sql, size, &pos)) {
        CHECK(t.begin >= last && t.end > t.begin && t.end <= size && pos >= t.end && pos <= size);
        CHECK(t.kind != SQL_OTHER || t.end == t.begin + 1);
        (void)sql_token_is(sql, &t, "select");
        last = t.end;
        tokens++;
    }
    CHECK(sql_count_statements(sql, size) <= tokens);
    size_t inner = sql_explain_inner(sql, size);
    CHECK(inner <= size);
    (void)sql_refused_kind(sql, size);
    (void)sql_main_kind(sql, size);
    bool changed;
    if (inner > 0 &&
        sql_explain_plain(sql, inner, &changed)) { /* only words, commas, brackets and blanks are left, and what is inside is as it was */
        CHECK(sql_explain_inner(sql, size) == inner && memcmp(sql + inner, data + inner, size - inner) == 0);
        for (size_t i = 0; i < inner; i++)
            CHECK((unsigned char)sql[i] < 0x80 && sql[i] != '\'' && sql[i] != '"' && sql[i] != '$' && sql[i] != ';');
        CHECK(sql_explain_plain(sql, inner, &changed) && !changed);
    }
    free(sql);
    return 0;
}
