/* The files of the engine's extensions: which a configuration needs, where they lie, and in what state one is. The engine checks the signature of each
 * file that it loads, which takes 125 ms of CPU for one of 40 MB; a file that has passed needs no second check as long as it is in the same state.
 * Loads nothing. Runs in the supervisor and the worker. */
#pragma once
#include "core/source.h"
#include <stdbool.h>
#include <stddef.h>

struct error;
struct text_list;

#define EXTENSIONS_MAX 64
#define EXTENSION_PATH_BYTES 4097
#define EXTENSION_STATE_BYTES 112

/* [database] extension_directory, or the first of these that is there: extensions beside the program's own file, ../lib/bulkhead/extensions. "": none.
 * Absolute. -1 with *err: too long. */
int extensions_directory(const struct config *cfg, char ret[EXTENSION_PATH_BYTES], struct error *err);
/* The file of an extension: a name becomes a path below that directory, a path stays. Absolute. -1 with *err: too long. */
int extension_path(const char *directory, const char *name, char ret[EXTENSION_PATH_BYTES], struct error *err);

/* The path from the root directory: the working directory may change. False: too long. */
bool path_make_absolute(const char *path, char *ret, size_t cap);

/* Which file that is, and when it was last changed, as text without commas: any write to it, and any other file in its place, makes another one. *ret_settled:
 * the last change is so long ago that another one now could not go unseen. False: there is no such file. */
bool extension_state(const char *path, char ret[EXTENSION_STATE_BYTES], bool *ret_settled);
/* Whether the file's state, now, is one of `states`, a list with commas. */
bool extension_is_in(const char *states, const char *path);
