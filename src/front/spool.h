/* Spool files and what they may take: each is unlinked from birth, so that it is gone with the last who has it open, and every byte that may come
 * into it is accounted for, and set aside on the disk, before it comes. Knows neither queries nor the pool. Runs in the front. */
#pragma once
#include "core/errors.h"
#include "core/log.h"
#include "sched/tenant.h"
#include <stdbool.h>
#include <stdint.h>

struct spool_options {
    int64_t max_bytes;     /* of all files together; 0: no spool */
    int64_t per_key_bytes; /* of one tenant's; 0: no limit of its own */
    unsigned max_files;    /* each is a descriptor. One tenant has at most as many as are still free, so that others find some, too */
};

struct spool_figures {
    int64_t bytes; /* accounted for */
    unsigned files;
    const char *trouble; /* why the last file could not be made or grow; NULL: there was no trouble */
};

struct spool;
/* dir_fd: where the files are made (not owned). */
struct spool *spool_new(int dir_fd, const struct spool_options *opts, struct log *log);
void spool_set_options(struct spool *s, const struct spool_options *opts);
void spool_free(struct spool *s);
struct spool_figures spool_figures(const struct spool *s);
/* When there was trouble: tries whether there still is. */
void spool_try(struct spool *s);

struct spool_file;
/* A new, empty file on the tenant's account (a reference is taken; NULL: nobody's) with `bytes` set aside for it. NULL with *err: spool_full, or
 * unavailable when the directory can't be used. */
struct spool_file *spool_open(struct spool *s, struct tenant *t, int64_t bytes, struct error *err);
/* A file that is nobody's in the spool: an export. Takes both descriptors; no quota counts it, only the disk has room or has none. */
struct spool_file *spool_adopt(struct spool *s, int fd, int worker_fd);
int spool_fd(const struct spool_file *f);
/* 0 when a file with that many bytes can probably be had now; -1 with *err (spool_full). Makes nothing. */
int spool_check(const struct spool *s, const struct tenant *t, int64_t bytes, struct error *err);
/* A descriptor for writing only, the caller's; -1 with errno. */
int spool_fd_for_writing(const struct spool_file *f);
/* What may come into the file, in all. */
int64_t spool_room(const struct spool_file *f);
/* Sets aside up to `more` bytes more, as much as there is, but not less than `least`; how many; 0: so many are not to be had now. */
int64_t spool_extend(struct spool_file *f, int64_t more, int64_t least);
/* It is complete with so many bytes: what was set aside beyond is given back. */
void spool_finish(struct spool_file *f, int64_t bytes);
/* Nobody needs the bytes before `offset` any more: whole blocks of them are given back. */
void spool_discard(struct spool_file *f, int64_t offset);
struct spool_file *spool_ref(struct spool_file *f);
/* NULL is allowed. The last one closes it. */
void spool_unref(struct spool_file *f);
