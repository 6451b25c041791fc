/* The table of formats. Runs in every process. */
#include "core/formats.h"
#include "core/errors.h"

#include <string.h>

static const struct row {
    const char *name, *media_type;
    bool public;
} rows[FORMAT_COUNT] = {
#define FORMAT(name_, text, media, public_) [FORMAT_##name_] = {text, media, public_},
#include "core/formats.def"
#undef FORMAT
};

static const struct row *row_of(enum result_format f)
{
    CHECK((unsigned)f < FORMAT_COUNT);
    return &rows[f];
}

const char *format_name(enum result_format f) { return row_of(f)->name; }
const char *format_media_type(enum result_format f) { return row_of(f)->media_type; }
bool format_is_public(enum result_format f) { return row_of(f)->public; }

enum result_format format_by_name(const char *name)
{
    int f = 0;
    while (f < FORMAT_COUNT && !(rows[f].public && strcmp(rows[f].name, name) == 0))
        f++;
    return (enum result_format)f;
}

const char *coding_name(enum result_coding c)
{
    static const char *const names[CODING_COUNT] = {"identity", "gzip", "zstd"};
    CHECK((unsigned)c < CODING_COUNT);
    return names[c];
}
