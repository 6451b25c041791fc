"""One killable worker of the usual alternative: a process with its own read-only DuckDB connection.

Runs in a spawned process. Takes (sql) from its pipe, answers with JSON that is already encoded, so that the
server process passes bytes on without looking inside.
"""

import time

import duckdb
import orjson

# Answers above this size are announced first, so that the server can receive them off its event loop.
INLINE_BYTES = 65536


def connect(database, threads, memory_limit):
    return duckdb.connect(
        database,
        read_only=True,
        config={
            "threads": threads,
            "memory_limit": memory_limit,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "enable_external_access": "false",
            "lock_configuration": "true",
        },
    )


def run(connection, sql):
    start = time.perf_counter()
    cursor = connection.execute(sql)
    rows = cursor.fetchall()
    columns = [{"name": c[0], "type": str(c[1])} for c in cursor.description or ()]
    return orjson.dumps(
        {
            "columns": columns,
            "data": rows,
            "rows": len(rows),
            "truncated": False,
            "stats": {"exec_ms": (time.perf_counter() - start) * 1000},
        },
        default=str,
    )


def serve(pipe, database, threads, memory_limit):
    """The worker's whole life: says ready, then answers one query at a time until the pipe closes."""
    connection = connect(database, threads, memory_limit)
    pipe.send_bytes(b"ready")
    while True:
        try:
            sql = pipe.recv_bytes().decode()
        except EOFError:
            return
        try:
            kind, body = b"+", run(connection, sql)
        except Exception as error:  # whatever the engine raises is the client's answer
            kind, body = b"-", orjson.dumps({"code": "sql_error", "status": 400, "detail": str(error)})
        if len(body) > INLINE_BYTES:
            pipe.send_bytes(b"L")
            pipe.send_bytes(kind + body)
        else:
            pipe.send_bytes(kind + body)
