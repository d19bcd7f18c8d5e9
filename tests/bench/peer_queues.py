"""RQ, Celery and arq, each by its own worker processes: peer_queues.py NAME REDIS_URL JOBS SINGLE CONSUMERS.

A job writes the time of its start into a list of Redis, which is how it is known to have run.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import redis

URL = os.environ.get("QUEUE_REDIS_URL") or (sys.argv[2] if len(sys.argv) > 2 else "redis://127.0.0.1:6379/0")
STARTED = "bench:started"
PROCESSES = 2


def note():
    global CLIENT
    try:
        CLIENT
    except NameError:
        CLIENT = redis.Redis.from_url(URL)
    CLIENT.rpush(STARTED, time.time())


try:
    import celery

    app = celery.Celery("peer_queues", broker=URL, backend=URL)
    app.conf.task_acks_late = True
    app.conf.worker_prefetch_multiplier = 1
    app.conf.task_ignore_result = False
    work = app.task(note, name="work")
except ImportError:
    app = None


async def work_async(context):
    await context["redis"].rpush(STARTED, time.time())


def arq_settings():
    from arq.connections import RedisSettings

    return RedisSettings.from_dsn(URL)


class WorkerSettings:
    """Of arq."""

    functions = [work_async]
    max_jobs = 8
    poll_delay = 0.01


def main():
    name, _, jobs, single, consumers = sys.argv[1:6]
    jobs, single, consumers = int(jobs), int(single), int(consumers)
    client = redis.Redis.from_url(URL)
    client.flushdb()
    environment = {**os.environ, "QUEUE_REDIS_URL": URL, "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"}
    bin_directory = os.path.dirname(sys.executable)
    commands = {
        "rq": [[f"{bin_directory}/rq", "worker", "--url", URL, "-q"]] * PROCESSES,
        "celery": [[f"{bin_directory}/celery", "-A", "peer_queues", "worker", "-c", str(consumers), "-P", "prefork", "-l", "ERROR"]],
        "arq": [[f"{bin_directory}/arq", "peer_queues.WorkerSettings"]] * PROCESSES,
    }[name]
    if name == "arq":
        environment["ARQ_CONN_CONFIG"] = URL
    workers = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        push = pusher(name)
        push(1)
        taken(client)
        waits = []
        for _ in range(single):
            begun = time.time()
            push(1)
            waits.append((taken(client) - begun) * 1000)
        waits.sort()
        begun = time.time()
        push(jobs)
        for _ in range(jobs):
            taken(client)
        took = time.time() - begun
        print(json.dumps({
            "jobs_per_second": jobs / took,
            "start_p50_ms": waits[len(waits) // 2],
            "start_p99_ms": waits[len(waits) * 99 // 100],
        }))
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def taken(client):
    answer = client.blpop(STARTED, 60)
    if answer is None:
        raise RuntimeError("no job was run for a minute")
    return float(answer[1])


def pusher(name):
    if name == "rq":
        import rq

        queue = rq.Queue(connection=redis.Redis.from_url(URL))

        def push(count):
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda _: queue.enqueue("peer_queues.note"), range(count)))

        return push
    if name == "celery":
        def push(count):
            for _ in range(count):
                work.delay()

        return push

    from arq import create_pool

    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(create_pool(arq_settings()))

    def push(count):
        async def all_of_them():
            for start in range(0, count, 16):
                await asyncio.gather(*(pool.enqueue_job("work_async") for _ in range(start, min(start + 16, count))))

        loop.run_until_complete(all_of_them())

    return push


try:
    WorkerSettings.redis_settings = arq_settings()
except ImportError:
    pass

if __name__ == "__main__":
    main()
