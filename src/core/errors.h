/* The two kinds of failure. From outside (client, file, peer): a struct error from one table, its text built once where it happens.
 * From us: CHECK, always on, which aborts. Knows no protocol. Runs in every process. */
#pragma once
#include <stdint.h>

enum error_code {
#define ERROR(name, text, status, title) ERR_##name,
#include "core/errors.def"
#undef ERROR
    ERR_COUNT
};

/* The rungs of the kill ladder, in their order. */
enum stop_stage { STOP_NONE, STOP_INTERRUPT, STOP_TERM, STOP_KILL, STOP_COUNT };

#define ERROR_DETAIL_BYTES 1024

/* Travels over the link as it is: no pointers. Zero means absent, for every field. */
struct error {
    enum error_code code;
    enum stop_stage stopped_by; /* timeout, out_of_memory (kill: the kernel) */
    int64_t position;           /* sql_error: byte in the statement, from 1 */
    int64_t limit_ms;
    int64_t limit_bytes;
    int signal; /* worker_crashed */
    int retry_after_s;
    char error_type[40]; /* sql_error: the engine's class, "Parser" */
    char what[128];      /* forbidden: what is refused */
    char source[32];     /* source_error: the source's name */
    char detail[ERROR_DETAIL_BYTES];
};

/* Clears *err and fills in code and detail (printf's rules; a longer text is cut between two characters). Always returns -1. */
#define error_set(...) (error_write(__VA_ARGS__), error_is_set())
void error_write(struct error *err, enum error_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* In sight of every caller, so that compilers and analysers know which paths of theirs go on. */
static inline int error_is_set(void) { return -1; }

/* The same for ERR_FORBIDDEN, with what is refused. */
#define error_forbid(...) (error_write_forbidden(__VA_ARGS__), error_is_set())
void error_write_forbidden(struct error *err, const char *what, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts a hint behind the detail, as far as there is room. */
void error_hint(struct error *err, const char *hint);
const char *error_text(enum error_code code);  /* "sql_error" */
const char *error_title(enum error_code code); /* for people */
int error_http_status(enum error_code code);
const char *stop_stage_text(enum stop_stage stage); /* "interrupt"; "none" for STOP_NONE */
/* Contract section 4: of a timeout the rung that ended it, of out_of_memory whose limit it was ("engine", "kernel"). NULL: nothing stopped it. */
const char *error_stopped_by(const struct error *err);

/* Our own mistake: says where on stderr and aborts. */
void check_failed(const char *file, int line, const char *expression) __attribute__((noreturn, cold));
#define CHECK(expression) ((expression) ? (void)0 : check_failed(__FILE__, __LINE__, #expression))
