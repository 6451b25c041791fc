/* Exports: asynchronous queries whose result becomes a file of a source (supervisor/exports.c). Runs in the front. */
#pragma once
#include "front/query.h"

struct query_request;

/* May this caller write there? An object's source is added to the request's. 0, or -1 with *err. */
int export_check(struct query *q, struct query_request *r, struct error *err);
/* Asks for the file; q goes on (query_file_opened) when it is there. 0, or -1 with *err. */
int export_begin(struct query *q, const char *source, const char *path, struct error *err);
/* The file is whole: asks for its name. 0, or -1 with *err. */
int export_commit(struct query *q, struct error *err);
/* The query ends without. */
void export_drop(struct query *q);
/* The supervisor's answers. True when it was one; then the fds are taken. */
bool export_message(struct front *f, const union control_message *m, const int fds[2]);
