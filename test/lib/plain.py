"""DuckDB as others lock it: read-only, no external access, configuration locked, in a process of its own. What works there has to be
refused here: a test of an attack first shows that it is one."""

import json
import subprocess
import sys

RUN = r"""
import json, sys
job = json.load(sys.stdin)
import duckdb
con = duckdb.connect(job["database"], read_only=True, config={"allow_persistent_secrets": "false"})
for path in job["extensions"]:
    con.execute("LOAD '" + path + "'")
for sql in job["before"]:
    con.execute(sql)
if job["temp_directory"]:
    con.execute("SET temp_directory = '" + job["temp_directory"] + "'")
con.execute("SET enable_external_access = false")
con.execute("SET lock_configuration = true")
out = []
for sql, params in job["statements"]:
    try:
        out.append({"rows": [[str(v) for v in row] for row in con.execute(sql, params).fetchall()]})
    except Exception as e:
        out.append({"error": type(e).__name__ + ": " + str(e)})
json.dump(out, open(job["answer"], "w"))
sys.stdout.flush()
import os
os._exit(0)
"""


class Outcome:
    def __init__(self, answer, stdout):
        self.rows, self.error, self.stdout = answer.get("rows"), answer.get("error"), stdout

    def __repr__(self):
        return f"<{self.error or self.rows}>"


def run(database, *statements, directory, extensions=(), temp_directory=None, before=(), limit_s=60.0):
    """Runs the statements, each a text or (text, parameters), one after the other; gives the last one's Outcome. `before`: what its administrator
    runs before the lock: secrets, sources, allowed directories."""
    answer = directory / "plain-answer.json"
    pairs = [s if isinstance(s, tuple) else (s, []) for s in statements]
    job = {"database": str(database), "statements": pairs, "extensions": [str(e) for e in extensions], "answer": str(answer),
           "before": list(before), "temp_directory": str(temp_directory) if temp_directory else None}
    done = subprocess.run([sys.executable, "-c", RUN], input=json.dumps(job), text=True, capture_output=True, timeout=limit_s, cwd=directory)
    assert done.returncode == 0, done.stderr
    answers = json.loads(answer.read_text())
    for before in answers[:-1]:
        assert "error" not in before, before
    return Outcome(answers[-1], done.stdout)
