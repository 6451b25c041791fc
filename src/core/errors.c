/* The table of errors, and the end of a process that found itself wrong. Runs in every process. */
#include "core/errors.h"
#include "core/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct row {
    const char *text, *title;
    int status;
};

static const struct row rows[ERR_COUNT] = {
#define ERROR(name, text_, status_, title_) [ERR_##name] = {text_, title_, status_},
#include "core/errors.def"
#undef ERROR
};

static const struct row *row_of(enum error_code code)
{
    CHECK((unsigned)code < ERR_COUNT);
    return &rows[code];
}

const char *error_text(enum error_code code) { return row_of(code)->text; }
const char *error_title(enum error_code code) { return row_of(code)->title; }
int error_http_status(enum error_code code) { return row_of(code)->status; }

const char *stop_stage_text(enum stop_stage stage)
{
    static const char *const texts[STOP_COUNT] = {"none", "interrupt", "term", "kill"};
    CHECK((unsigned)stage < STOP_COUNT);
    return texts[stage];
}

const char *error_stopped_by(const struct error *err)
{
    if (err->code == ERR_OUT_OF_MEMORY)
        return err->stopped_by == STOP_KILL ? "kernel" : "engine";
    return err->stopped_by == STOP_NONE ? NULL : stop_stage_text(err->stopped_by);
}

/* *err is written last: one of the arguments may be a text inside it. */
static void set(struct error *err, enum error_code code, const char *what, const char *format, va_list args)
{
    struct error e = {.code = code};
    int n = vsnprintf(e.detail, sizeof e.detail, format, args);
    if (n >= (int)sizeof e.detail)
        e.detail[utf8_cut(e.detail, sizeof e.detail - 1)] = 0;
    snprintf(e.what, sizeof e.what, "%s", what);
    *err = e;
}

void error_write(struct error *err, enum error_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(err, code, "", format, args);
    va_end(args);
}

void error_write_forbidden(struct error *err, const char *what, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(err, ERR_FORBIDDEN, what, format, args);
    va_end(args);
}

void error_hint(struct error *err, const char *hint)
{
    size_t len = strlen(err->detail);
    snprintf(err->detail + len, sizeof err->detail - len, "%s", hint);
}

void check_failed(const char *file, int line, const char *expression)
{
    char text[512];
    int n = snprintf(text, sizeof text, "bulkhead: check failed at %s:%d: %s\n", file, line, expression);
    size_t len = n < (int)sizeof text ? (size_t)n : sizeof text - 1;
    (void)!write(STDERR_FILENO, text, len);
    abort();
}
