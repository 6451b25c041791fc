/* What `bulkhead doctor` found: one row for each protection, and the rendering of all. Knows no worker and no file. Runs in the command line. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum verdict { VERDICT_PASS, VERDICT_WARN, VERDICT_FAIL };

#define CHECK_TEXT_BYTES 320

struct check {
    enum verdict verdict;
    char name[48];                     /* "memory cap" */
    char configured[CHECK_TEXT_BYTES]; /* what was asked for */
    char in_force[CHECK_TEXT_BYTES];   /* what is there */
    char how[CHECK_TEXT_BYTES];        /* how that was found out */
    char hint[CHECK_TEXT_BYTES];       /* of a WARN or FAIL: what to do */
};

struct report {
    struct check *checks;
    size_t count;
};

/* A new row; valid until the next one. */
struct check *report_add(struct report *r, enum verdict verdict, const char *name);
/* Fills in a text by printf's rules; a longer one is cut. */
void check_text(char field[CHECK_TEXT_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The worst of all. */
enum verdict report_verdict(const struct report *r);
/* On standard output: a table for people, or one JSON object. False: it could not be written. */
bool report_print(const struct report *r, bool json, unsigned columns);
void report_free(struct report *r);
