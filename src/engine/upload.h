/* One object of a source, written from its first byte to its last: what is not ended in order never becomes visible. Runs in the worker. */
#pragma once
#include "core/errors.h"
#include <stddef.h>

struct engine;
struct upload;

/* url: s3://bucket/key, below a source's prefix. NULL with *err (conflict: there is such an object; source_error). */
struct upload *upload_open(struct engine *e, const char *url, struct error *err);
/* 0, or -1 with *err. */
int upload_write(struct upload *u, const void *data, size_t len, struct error *err);
/* The object is whole, and visible. 0, or -1 with *err. Frees it either way. */
int upload_end(struct upload *u, struct error *err);
/* It never will be. The engine is spent afterwards: what it began can be left alone only by ending its process. NULL is allowed. */
void upload_abandon(struct upload *u);
