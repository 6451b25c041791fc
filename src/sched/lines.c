#include "sched/lines.h"

/* While others wait: so many quick ones go first. */
#define QUICK_IN_A_ROW 7
/* While one that is known to take long waits: so many of those that may be short go first. */
#define SHORT_IN_A_ROW 3

enum line { LINE_QUICK, LINE_SHORT, LINE_LONG };
_Static_assert(LINE_LONG + 1 == TENANT_LINES, "lines");

static enum line line_of(const struct lengths *lengths, const struct job *job)
{
    switch (lengths_of(lengths, job->text_key)) {
    case LENGTH_QUICK: return LINE_QUICK;
    case LENGTH_LONG: return LINE_LONG;
    default: return LINE_SHORT;
    }
}

static void append(struct tenant *t, struct job *job, enum line line)
{
    struct job **head = &t->turns.waiting[job->class].line[line].head, **tail = &t->turns.waiting[job->class].line[line].tail;
    job->fair_line = line;
    job->fair_next = NULL;
    job->fair_prev = *tail;
    *(*tail ? &(*tail)->fair_next : head) = job;
    *tail = job;
}

void lines_append(struct tenant *t, struct job *job, const struct lengths *lengths) { append(t, job, line_of(lengths, job)); }

void lines_prepend(struct tenant *t, struct job *job, const struct lengths *lengths)
{
    enum line line = line_of(lengths, job) == LINE_QUICK ? LINE_QUICK : LINE_SHORT; /* a long one had its turn */
    struct job **head = &t->turns.waiting[job->class].line[line].head, **tail = &t->turns.waiting[job->class].line[line].tail;
    job->fair_line = line;
    job->fair_prev = NULL;
    job->fair_next = *head;
    *(*head ? &(*head)->fair_prev : tail) = job;
    *head = job;
}

void lines_cut(struct tenant *t, struct job *job)
{
    struct job **head = &t->turns.waiting[job->class].line[job->fair_line].head, **tail = &t->turns.waiting[job->class].line[job->fair_line].tail;
    *(job->fair_prev ? &job->fair_prev->fair_next : head) = job->fair_next;
    *(job->fair_next ? &job->fair_next->fair_prev : tail) = job->fair_prev;
    job->fair_next = job->fair_prev = NULL;
}

/* The line's first, after those that belong elsewhere by now have gone there. */
static struct job *first_of(struct tenant *t, enum job_class c, enum line line, const struct lengths *lengths)
{
    struct job *first;
    enum line to;
    while ((first = t->turns.waiting[c].line[line].head) && (to = line_of(lengths, first)) != line) {
        lines_cut(t, first);
        append(t, first, to);
    }
    return first;
}

struct firsts {
    struct job *quick, *shorter, *longer;
};

static struct firsts firsts_of(struct tenant *t, enum job_class c, const struct lengths *lengths)
{
    (void)first_of(t, c, LINE_QUICK, lengths); /* these may be short ones now, and the other way round */
    struct job *shorter = first_of(t, c, LINE_SHORT, lengths);
    return (struct firsts){t->turns.waiting[c].line[LINE_QUICK].head, shorter, t->turns.waiting[c].line[LINE_LONG].head};
}

static bool is_quick_turn(const struct tenant *t, enum job_class c, const struct firsts *f)
{
    return f->quick && ((!f->shorter && !f->longer) || t->turns.waiting[c].quick_in_a_row < QUICK_IN_A_ROW);
}

bool lines_next_is_quick(struct tenant *t, enum job_class c, const struct lengths *lengths)
{
    struct firsts f = firsts_of(t, c, lengths);
    return is_quick_turn(t, c, &f);
}

struct job *lines_next(struct tenant *t, enum job_class c, const struct lengths *lengths)
{
    struct firsts f = firsts_of(t, c, lengths);
    struct job *quick = f.quick, *shorter = f.shorter, *longer = f.longer;
    bool others = shorter || longer;
    if (is_quick_turn(t, c, &f)) {
        t->turns.waiting[c].quick_in_a_row = others ? t->turns.waiting[c].quick_in_a_row + 1 : 0;
        return quick;
    }
    t->turns.waiting[c].quick_in_a_row = 0;
    bool turn = longer && (!shorter || t->turns.waiting[c].short_in_a_row >= SHORT_IN_A_ROW);
    t->turns.waiting[c].short_in_a_row = turn || !longer ? 0 : t->turns.waiting[c].short_in_a_row + 1;
    return turn ? longer : shorter;
}

struct job *lines_quick(struct tenant *t, enum job_class c, const struct lengths *lengths) { return first_of(t, c, LINE_QUICK, lengths); }

bool lines_has_quick(const struct tenant *t, enum job_class c) { return t->turns.waiting[c].line[LINE_QUICK].head != NULL; }

struct job *lines_newest(const struct tenant *t, enum job_class c)
{
    for (int line = LINE_LONG; line >= LINE_QUICK; line--)
        if (t->turns.waiting[c].line[line].tail)
            return t->turns.waiting[c].line[line].tail;
    return NULL;
}
