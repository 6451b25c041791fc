/* The one way in which names and values get into SQL that we write. Runs in the worker (and in tests). */
#pragma once
#include "core/buf.h"

/* Append "name" and 'text', with the quotes inside them doubled. False when the buffer's maximum is too small, or the text is not what SQL
 * can hold (a NUL can't be in it: it is a C string; bytes that are no UTF-8 are refused). */
bool quote_name(struct buf *b, const char *name, size_t len);
bool quote_text(struct buf *b, const char *text, size_t len);
