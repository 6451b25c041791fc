/* Files of control groups: one value each, read and written whole. Knows no limits. Runs in the supervisor and the command line. */
#pragma once
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct group_path {
    char s[PATH_MAX + 64];
};

/* DIRECTORY/NAME; "" when that is too long. */
struct group_path group_path(const char *directory, const char *name);
bool group_has_file(const char *directory, const char *name);
/* 0; -1 with errno. */
int group_put(const char *directory, const char *name, const char *text);
int group_put_number(const char *directory, const char *name, int64_t n);
/* The file's text; "" when it can't be read. False then. */
bool group_get(const char *directory, const char *name, char *ret, size_t cap);
/* The number behind a word at a line's start ("oom_kill 3"), or, without a word, the file's first. -1: none. */
int64_t group_get_number(const char *directory, const char *name, const char *word);
/* Is it one of the words of the file, which blanks separate? */
bool group_lists(const char *directory, const char *name, const char *word);
