/* The formats of results, by name and media type, and how their bytes may be compressed. One table for front, worker and command line. */
#pragma once
#include <stdbool.h>

enum result_format {
#define FORMAT(name, text, media_type, public) FORMAT_##name,
#include "core/formats.def"
#undef FORMAT
    FORMAT_COUNT
};

/* Content-Encoding of a result, made by the worker. */
enum result_coding { CODING_NONE, CODING_GZIP, CODING_ZSTD, CODING_COUNT };

const char *format_name(enum result_format f);       /* "csv" */
const char *format_media_type(enum result_format f); /* "text/csv" */
bool format_is_public(enum result_format f);         /* a client may ask for it */
/* FORMAT_COUNT when no public format has that name. */
enum result_format format_by_name(const char *name);
const char *coding_name(enum result_coding c); /* as in Content-Encoding: "gzip"; "identity" for none */
