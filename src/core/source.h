/* A [source.NAME] as checked values. Knows names, types and forms; opens nothing and knows no secret, only the files they are in.
 * Runs in every process. */
#pragma once
#include "core/config.h"
#include <stdbool.h>
#include <stddef.h>

#define SOURCE_NAME_BYTES 32 /* its NUL included */
#define SOURCE_HOST_BYTES 256
#define SOURCES_PER_SET 16 /* sources that one session or request may ask for */
#define SOURCE_SET_BYTES (SOURCES_PER_SET * SOURCE_NAME_BYTES)

/* In a worker, 240.0.0.N stands for its Nth source elsewhere: reserved addresses that are routed nowhere, and mean nothing to people. */
#define SOURCES_NET 0xf0000000u

enum source_type {
#define SOURCE_TYPE(name, needed, allowed) SOURCE_IS_##name,
#include "core/source.def"
#undef SOURCE_TYPE
    SOURCE_TYPES
};

/* Texts are the configuration's, "" when they were not given. */
struct source {
    char name[SOURCE_NAME_BYTES];
    enum source_type type;
    const char *database, *user, *password_file, *sslmode, *region, *bucket, *key_id_file, *secret_file, *path, *roles, *keys, *writable_prefix;
    char host[SOURCE_HOST_BYTES]; /* the server: a name, an address, or (postgres) the directory of a unix socket */
    int port;
    bool tls;          /* s3: https */
    bool aws;          /* s3: no endpoint was given */
    char prefix[1026]; /* s3: "" or "a/b/" */
    int warm;
    bool writable;             /* exports may go below `writable_below` */
    char writable_below[1026]; /* "" or "a/b/", from the source's own address on */
};

#define EXPORT_PATH_BYTES 1025 /* its NUL included */

const char *source_type_text(enum source_type type); /* "postgres" */
/* The name of the engine's extension that it takes; NULL: none. */
const char *source_extension(enum source_type type);

/* Takes the values over and checks them. 0, or -1 with *err (bad_request, naming the source and the key); *ret is undefined then. */
int source_read(const struct config_source *config, struct source *ret, struct error *err);
/* May a result be written there, and is this a file's name for it: relative to the source's address, plain, below writable_prefix? 0, or -1 with *err
 * (forbidden, bad_request). */
int source_check_export(const struct source *s, const char *path, struct error *err);
/* All of a configuration, and that no name is the database's own or one of the engine's. 0, or -1 with *err. */
int sources_check(const struct config *cfg, struct error *err);
const struct config_source *sources_find(const struct config *cfg, const char *name);

/* Does it speak TCP (or a unix socket) with a server? */
static inline bool source_is_remote(const struct source *s)
{
    return s->type == SOURCE_IS_postgres || s->type == SOURCE_IS_mysql || s->type == SOURCE_IS_s3;
}
/* May a caller with this role and key name ("" without keys) use it? Neither roles nor keys given: everybody may who may use sources at all. */
bool source_allows(const struct source *s, const char *role, const char *key);

/* A set of sources as text: names in their order, each once, separated by one comma; "" is the empty set. Turns a list of names into it.
 * 0; -1 with *err when there are too many, one is no source's name or comes twice. */
int source_set_make(const char *const *names, size_t count, char ret[SOURCE_SET_BYTES], struct error *err);
/* The next name of a set: false at its end. *at starts at 0. */
bool source_set_next(const char *set, size_t *at, char ret_name[SOURCE_NAME_BYTES]);
/* Is this text a set in its one form? (For what comes from another process.) */
bool source_set_valid(const char *set);
bool source_set_has(const char *set, const char *name);
