/* Exports (see the header): the talk with the supervisor. Runs in the front. */
#include "front/export.h"
#include "front/async.h"
#include "front/caller.h"
#include "front/query_request.h"
#include "front/sessions_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An object is written by a worker that has its source attached. */
static int attach(struct query *q, struct query_request *r, const struct source *s, struct error *err)
{
    char set[SOURCE_SET_BYTES], url[64 + 1026 + EXPORT_PATH_BYTES], all[SOURCES_PER_SET + 1][SOURCE_NAME_BYTES];
    const char *names[SOURCES_PER_SET + 1];
    size_t n = 0, at = 0;
    if (r->session)
        return error_set(err, ERR_BAD_REQUEST, "a query in a session can't write to a source of type s3: export it from a query with \"sources\"");
    while (r->sources && n < SOURCES_PER_SET && source_set_next(r->sources, &at, all[n])) {
        names[n] = all[n];
        n++;
    }
    if (!r->sources || !source_set_has(r->sources, s->name))
        names[n++] = s->name;
    if (source_set_make(names, n, set, err) < 0)
        return -1;
    free(r->sources);
    r->sources = strdup(set);
    snprintf(url, sizeof url, "s3://%s/%s%s", s->bucket, s->prefix, r->destination_path);
    q->job->url = strdup(url);
    CHECK(r->sources && q->job->url);
    return 0;
}

/* A path that ends in a slash is a directory: the file in it is called by the query and its format. */
static void name_in_directory(const struct query *q, struct query_request *r)
{
    size_t len = strlen(r->destination_path);
    char *whole;
    if (len == 0 || r->destination_path[len - 1] != '/')
        return;
    CHECK(asprintf(&whole, "%s%s.%s", r->destination_path, q->job->query_id, format_name(q->form.format)) > 0);
    free(r->destination_path);
    r->destination_path = whole;
}

int export_check(struct query *q, struct query_request *r, struct error *err)
{
    struct source s;
    if (caller_of(q->f, q->x).role < ROLE_ANALYST)
        return error_forbid(err, "export", "exports are for keys of the role analyst or admin");
    if (strlen(r->destination_source) >= SOURCE_NAME_BYTES || sources_allowed(q->f, q->x, r->destination_source, err) < 0 ||
        source_read(sources_find(q->f->cfg, r->destination_source), &s, err) < 0)
        return error_set(err, ERR_NOT_FOUND, "there is no source '%.60s'", r->destination_source);
    if (s.type != SOURCE_IS_files && s.type != SOURCE_IS_s3)
        return error_forbid(err, "export", "exports go to sources of type files or s3; '%s' is of type %s", s.name, source_type_text(s.type));
    name_in_directory(q, r);
    if (source_check_export(&s, r->destination_path, err) < 0)
        return -1;
    return s.type == SOURCE_IS_s3 ? attach(q, r, &s, err) : 0;
}

static int tell(struct query *q, enum control_type type, struct error *err)
{
    struct control_plain m = {.type = type, .flags = q->export};
    if (control_send(q->f->control_fd, &m, NULL, 0) == 0)
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "the supervisor can't be reached: %s", strerror(errno));
}

int export_begin(struct query *q, const char *source, const char *path, struct error *err)
{
    struct front *f = q->f;
    struct control_export m = {.type = CONTROL_EXPORT};
    if (++f->last_export == 0)
        f->last_export = 1;
    m.export = f->last_export;
    memcpy(m.source, source, strlen(source) + 1); /* export_check has seen that both fit */
    memcpy(m.path, path, strlen(path) + 1);
    if (control_send(f->control_fd, &m, NULL, 0) < 0)
        return error_set(err, ERR_UNAVAILABLE, "the supervisor can't be reached: %s", strerror(errno));
    q->export = m.export;
    q->export_state = EXPORT_OPENING;
    return 0;
}

int export_commit(struct query *q, struct error *err)
{
    q->export_state = EXPORT_COMMITTING;
    return tell(q, CONTROL_EXPORT_COMMIT, err);
}

void export_drop(struct query *q)
{
    struct error ignored; /* a supervisor that can't be reached has other worries */
    if (q->export_state == EXPORT_OPENING || q->export_state == EXPORT_OPEN)
        (void)tell(q, CONTROL_EXPORT_DROP, &ignored);
    q->export_state = EXPORT_NONE;
}

static struct query *find(const struct front *f, uint32_t export)
{
    struct query *q = f->queries;
    while (q && (q->export != export || q->export_state == EXPORT_NONE))
        q = q->next;
    return q;
}

bool export_message(struct front *f, const union control_message *m, const int fds[2])
{
    struct query *q;
    if (m->type == CONTROL_EXPORT_OPENED) {
        if ((q = find(f, m->plain.flags)) != NULL) {
            q->export_state = EXPORT_OPEN;
            query_file_opened(q, spool_adopt(f->spool, fds[0], fds[1]));
        } else { /* its query is over: the supervisor has been told */
            close(fds[0]);
            close(fds[1]);
        }
        return true;
    }
    if (m->type != CONTROL_EXPORT_OVER)
        return false;
    q = find(f, m->export_over.export);
    if (q && q->export_state == EXPORT_COMMITTING)
        async_exported(q, m->export_over.error.code == ERR_OK ? NULL : &m->export_over.error);
    else if (q)
        query_file_refused(q, &m->export_over.error);
    return true;
}
