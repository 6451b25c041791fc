"""The pool of the usual alternative: killable worker processes behind an asyncio interface.

Runs in the server process, on its event loop. Each worker has one pipe, watched with add_reader, so a
query costs no thread. A timeout ends in terminate(), then kill(); the slot is refilled in the background.
"""

import asyncio
import multiprocessing

from .worker import serve

QUEUE_LENGTH = 64
QUEUE_TIMEOUT_S = 10.0
TERM_GRACE_S = 1.0
RESPAWN_MAX_S = 5.0


class Crashed(Exception):
    """The worker died by itself while it ran this query."""


class TimedOut(Exception):
    """The query ran into its limit; its worker is dead."""

    def __init__(self, stopped_by):
        super().__init__(stopped_by)
        self.stopped_by = stopped_by


class Overloaded(Exception):
    """Too many wait already, or this one waited too long."""


class Worker:
    """One process and its pipe. Owned by the pool's slot task; ends for good when the process dies."""

    def __init__(self, context, loop, database, threads, memory_limit):
        self.loop = loop
        self.pipe, self.child_pipe = context.Pipe()
        self.process = context.Process(
            target=serve, args=(self.child_pipe, database, threads, memory_limit), daemon=True
        )
        self.answer = None
        self.dead = loop.create_future()

    async def start(self):
        await asyncio.to_thread(self.process.start)
        self.child_pipe.close()
        self.loop.add_reader(self.process.sentinel, self.on_exit)
        self.loop.add_reader(self.pipe.fileno(), self.on_readable)
        self.answer = self.loop.create_future()
        if await self.answer != b"ready":
            raise Crashed(self.process.exitcode)

    def on_readable(self):
        try:
            message = self.pipe.recv_bytes()
        except (EOFError, OSError):
            self.loop.remove_reader(self.pipe.fileno())
            return
        if message == b"L":
            self.loop.remove_reader(self.pipe.fileno())
            self.loop.create_task(self.receive_large())
        else:
            self.settle(message)

    async def receive_large(self):
        try:
            self.settle(await asyncio.to_thread(self.pipe.recv_bytes))
        except (EOFError, OSError):
            return
        if not self.dead.done():
            self.loop.add_reader(self.pipe.fileno(), self.on_readable)

    def settle(self, message):
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(message)

    def on_exit(self):
        self.loop.remove_reader(self.process.sentinel)
        self.loop.remove_reader(self.pipe.fileno())
        self.process.join()
        if not self.dead.done():
            self.dead.set_result(self.process.exitcode)
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(Crashed(self.process.exitcode))

    async def stop(self):
        """terminate(), then kill(); says which of them did it."""
        self.process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(self.dead), TERM_GRACE_S)
            return "term"
        except TimeoutError:
            self.process.kill()
            await self.dead
            return "kill"

    async def run(self, sql, timeout_s):
        self.answer = self.loop.create_future()
        expired = self.loop.call_later(timeout_s, self.expire, self.answer)
        self.pipe.send_bytes(sql.encode())
        try:
            return await self.answer
        except TimedOut:
            raise TimedOut(await self.stop()) from None
        finally:
            expired.cancel()

    @staticmethod
    def expire(answer):
        if not answer.done():
            answer.set_exception(TimedOut(None))

    def close(self):
        self.pipe.close()
        self.process.close()


class Pool:
    """N slots; each holds one live worker or is being refilled."""

    def __init__(self, database, size, threads, memory_limit):
        self.settings = (database, threads, memory_limit)
        self.size = size
        self.context = multiprocessing.get_context("spawn")
        self.idle = asyncio.LifoQueue()
        self.workers = set()
        self.waiting = 0
        self.tasks = set()

    async def start(self):
        await asyncio.gather(*(self.fill_slot() for _ in range(self.size)))

    async def fill_slot(self):
        loop = asyncio.get_running_loop()
        delay = 0.05
        while True:
            worker = Worker(self.context, loop, *self.settings)
            try:
                await worker.start()
            except (Crashed, OSError):
                await asyncio.sleep(delay)
                delay = min(delay * 2, RESPAWN_MAX_S)
                continue
            self.workers.add(worker)
            self.idle.put_nowait(worker)
            worker.dead.add_done_callback(lambda _, gone=worker: self.refill(gone))
            return

    def refill(self, worker):
        self.workers.discard(worker)
        task = asyncio.get_running_loop().create_task(self.fill_slot())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def take(self):
        """An idle worker that is alive; waits its turn, but not for ever."""
        while not self.idle.empty():
            worker = self.idle.get_nowait()
            if not worker.dead.done():
                return worker
            worker.close()
        if self.waiting >= QUEUE_LENGTH:
            raise Overloaded
        self.waiting += 1
        try:
            async with asyncio.timeout(QUEUE_TIMEOUT_S):
                while True:
                    worker = await self.idle.get()
                    if not worker.dead.done():
                        return worker
                    worker.close()
        except TimeoutError:
            raise Overloaded from None
        finally:
            self.waiting -= 1

    async def query(self, sql, timeout_s):
        worker = await self.take()
        try:
            return await worker.run(sql, timeout_s)
        except OSError:
            raise Crashed(None) from None
        finally:
            if worker.dead.done():
                worker.close()
            else:
                self.idle.put_nowait(worker)

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        for worker in list(self.workers):
            worker.process.kill()
