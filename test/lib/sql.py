"""Statements with a known way of misbehaving."""

# The engine looks at its interrupt flag while it runs this.
CROSS_JOIN = "SELECT sum(a.i * b.i % 7) FROM range(10000000) a(i), range(10000000) b(i)"

# It never looks: only a signal ends it.
LEVENSHTEIN = "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))"

# Ends by itself after a moment (some 0.3 s on a slow core), or can be stopped.
SHORT_WORK = "SELECT sum(a.i * b.i % 7) AS s FROM range(20000) a(i), range(2000) b(i)"

# Much more than any ring, quickly.
BIG_RESULT = "SELECT i, md5(i::VARCHAR) AS h FROM range(1000000) t(i)"
ENDLESS_RESULT = "SELECT i, md5(i::VARCHAR) AS h FROM range(1000000000) t(i)"

# Rows that come, then a runaway: the answer's head has long been sent.
ROWS_THEN_RUNAWAY = (
    "SELECT i, CASE WHEN i < 200000 THEN i ELSE levenshtein(repeat('a', 200000 + (i % 2)), repeat('b', 200000)) END AS v "
    "FROM range(1000000) t(i)"
)
