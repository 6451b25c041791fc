/* What a writer worker said it did, for people. Runs in the command line. */
#pragma once
#include "core/buf.h"

/* "PATH: published, 3 statements", and a line for each table that has another number of rows now. `body` is the worker's report. */
void import_report(const char *path, const char *what, const struct buf *body);
/* The columns that DESCRIBE answered (JSON), one a line. */
void import_report_columns(const char *table, const struct buf *body);
