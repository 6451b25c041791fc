"""The usual alternative to bulkhead, written with care: FastAPI, uvicorn (uvloop, httptools), a pool of
processes.

Runs as its own process. Usage: python -m fastapi_pool.app DATABASE [--workers N] [--threads N]. Prints one
ready line.
"""

import argparse
import os
import re
import socket
from contextlib import asynccontextmanager

import orjson
import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel

from .pool import Crashed, Overloaded, Pool, TimedOut

DEFAULT_TIMEOUT = "30s"
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0}


class Query(BaseModel):
    sql: str
    timeout: str = DEFAULT_TIMEOUT


def parse_seconds(text):
    match = re.fullmatch(r"(\d+)(ms|s|m)", text)
    if match is None:
        raise ValueError(f"not a duration: {text}")
    return int(match[1]) * UNITS_S[match[2]]


def json_response(status, value):
    return Response(orjson.dumps(value), status, media_type="application/json")


def make_app(pool):
    @asynccontextmanager
    async def lifespan(_app):
        await pool.start()
        yield
        await pool.stop()

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.post("/v1/query")
    async def query(request: Query):
        try:
            timeout_s = parse_seconds(request.timeout)
        except ValueError as error:
            return json_response(400, {"code": "bad_request", "detail": str(error)})
        try:
            answer = await pool.query(request.sql, timeout_s)
        except TimedOut as error:
            return json_response(504, {"code": "timeout", "stopped_by": error.stopped_by})
        except Crashed:
            return json_response(502, {"code": "worker_crashed"})
        except Overloaded:
            return json_response(503, {"code": "overloaded"})
        return Response(answer[1:], 200 if answer[:1] == b"+" else 400, media_type="application/json")

    @app.get("/healthz")
    async def healthz():
        return Response("ok", media_type="text/plain")

    @app.get("/v1/status")
    async def status():
        workers = [{"pid": w.process.pid} for w in pool.workers if not w.dead.done()]
        return json_response(200, {"front": {"pid": os.getpid()}, "workers": workers})

    return app


class Server(uvicorn.Server):
    """Says when it is ready, after the pool is."""

    def __init__(self, config, ready_line):
        super().__init__(config)
        self.ready_line = ready_line

    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.ready_line, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-limit", default="512MB")
    args = parser.parse_args()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    address = "{}:{}".format(*listener.getsockname())
    pool = Pool(args.database, args.workers, args.threads, args.memory_limit)
    config = uvicorn.Config(
        make_app(pool),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    Server(config, f"pool ready http={address} workers={args.workers}").run(sockets=[listener])


if __name__ == "__main__":
    main()
