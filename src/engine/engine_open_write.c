/* What a writing engine is allowed before it is locked: the declared files, and a few settings that only concern results. Runs in the
 * worker. */
#include "engine/engine_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_BYTES_MAX ((size_t)4 << 20)

/* 'text', every quote doubled. */
static void put_literal(struct buf *b, const char *text, bool *ok)
{
    *ok = *ok && buf_puts(b, "'");
    for (const char *c = text; *ok && *c; c++)
        *ok = buf_append(b, c, 1) && (*c != '\'' || buf_append(b, c, 1));
    *ok = *ok && buf_puts(b, "'");
}

static int set_list(struct engine *e, const char *setting, const char *const *paths, bool directories, struct error *err)
{
    struct buf b = BUF_INIT(SQL_BYTES_MAX);
    bool ok = buf_printf(&b, "SET %s=[", setting), any = false;
    for (; paths && *paths && ok; paths++) {
        size_t len = strlen(*paths);
        if ((len > 0 && (*paths)[len - 1] == '/') != directories)
            continue;
        ok = !any || buf_puts(&b, ",");
        put_literal(&b, *paths, &ok);
        any = true;
    }
    ok = ok && buf_puts(&b, "]") && buf_append(&b, "", 1);
    int rc = !ok   ? error_set(err, ERR_BAD_REQUEST, "the names of the files to read are too long together")
             : any ? engine_run(e, b.data, "cannot allow the files to read", err)
                   : 0;
    buf_free(&b);
    return rc;
}

/* A relative name is one in the declared directories: the process's own directory is another one. */
static int set_search_path(struct engine *e, const char *const *paths, struct error *err)
{
    struct buf list = BUF_INIT(SQL_BYTES_MAX), b = BUF_INIT(SQL_BYTES_MAX);
    bool ok = true;
    for (; paths && *paths && ok; paths++) {
        size_t len = strlen(*paths);
        if (len > 1 && (*paths)[len - 1] == '/' && !strchr(*paths, ','))
            ok = (list.len == 0 || buf_puts(&list, ",")) && buf_append(&list, *paths, len - 1);
    }
    bool any = ok && list.len > 0;
    ok = ok && buf_append(&list, "", 1) && buf_puts(&b, "SET GLOBAL file_search_path=");
    put_literal(&b, ok ? list.data : "", &ok);
    ok = ok && buf_append(&b, "", 1);
    int rc = !ok   ? error_set(err, ERR_BAD_REQUEST, "the names of the directories to read are too long together")
             : any ? engine_run(e, b.data, "cannot set where to look for files", err)
                   : 0;
    buf_free(&list);
    buf_free(&b);
    return rc;
}

int engine_harden_writer(struct engine *e, const struct engine_options *o, struct error *err)
{
    static const char why[] = "cannot lock the engine down";
    static const char settings[] = "SET allowed_configs=['TimeZone','preserve_insertion_order','default_order','default_null_order',"
                                   "'integer_division','schema','search_path','partitioned_write_max_open_files']";
    if (set_list(e, "allowed_paths", o->read_paths, false, err) < 0 || set_list(e, "allowed_directories", o->read_paths, true, err) < 0 ||
        set_search_path(e, o->read_paths, err) < 0)
        return -1;
    return engine_run(e, settings, why, err) < 0 || engine_run(e, "SET enable_external_access=false", why, err) < 0 ? -1 : 0;
}
