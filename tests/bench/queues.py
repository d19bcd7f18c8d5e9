"""Job queues beside each other: the same Redis, jobs that do nothing, two processes or as many consumers."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from contest import ratio, spread, table

HERE = Path(__file__).parent
JOBS = 2_000
SINGLE = 100
CONSUMERS = 8


def run(materials, rounds):
    node = installed(materials.cache)
    with redis() as redis_url:
        peers = {
            "Voxmill, fsync": lambda: ours(materials, redis_url, "on"),
            "Voxmill, no fsync": lambda: ours(materials, redis_url, "off"),
            "RQ": lambda: peer(["python", "rq"], redis_url, materials, node),
            "Celery": lambda: peer(["python", "celery"], redis_url, materials, node),
            "arq": lambda: peer(["python", "arq"], redis_url, materials, node),
            "BullMQ": lambda: peer(["node"], redis_url, materials, node),
        }
        results = {name: [] for name in peers}
        for _ in range(rounds):
            for name, measure in peers.items():
                results[name].append(measure())
    print(f"### Job queues: {JOBS:,} jobs that do nothing, one Redis\n")
    own = [result["jobs_per_second"] for result in results["Voxmill, fsync"]]
    rows = []
    for name, got in results.items():
        rates = [result["jobs_per_second"] for result in got]
        rows.append([
            name,
            spread(rates, digits=0),
            ratio(own, rates),
            spread([result["start_p50_ms"] for result in got], digits=1),
            spread([result["start_p99_ms"] for result in got], digits=1),
        ])
    table(["queue", "jobs/s", "of Voxmill with fsync", "start p50 ms, idle", "p99 ms"], rows)


def ours(materials, redis_url, fsync):
    program = materials.programs / "examples" / "throughput"
    with postgres(fsync) as database_url:
        done = subprocess.run(
            [program, database_url, redis_url, str(JOBS), str(CONSUMERS)], capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout)


def peer(command, redis_url, materials, node):
    """Its program prints the same line as ours."""
    # arq speaks through an older client of Redis than the others.
    python = node / "arq/bin/python" if command[-1] == "arq" else sys.executable
    program = [python, HERE / "peer_queues.py"] if command[0] == "python" else ["node", node / "peer_bullmq.mjs"]
    arguments = [*program, *command[1:], redis_url, JOBS, SINGLE, CONSUMERS]
    done = subprocess.run([str(part) for part in arguments], capture_output=True, text=True, cwd=HERE, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def installed(cache):
    folder = cache / "queues"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules" / "bullmq").exists():
        subprocess.run(["npm", "install", "--silent", "--prefix", folder, "bullmq@6.7.0", "ioredis@5"], check=True)
    if not (folder / "arq").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "arq"], check=True)
        subprocess.run([folder / "arq/bin/pip", "install", "-q", "arq==0.28.0"], check=True)
    (folder / "peer_bullmq.mjs").write_text((HERE / "peer_bullmq.mjs").read_text())
    return folder


@contextmanager
def redis():
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(
            ["redis-server", "--port", str(port), "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
             "--maxmemory-policy", "noeviction", "--dir", directory],
            stdout=subprocess.DEVNULL,
        )
        await_port(port)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()


@contextmanager
def postgres(fsync):
    programs = max(Path("/usr/lib/postgresql").iterdir()) / "bin"
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        if as_user:
            subprocess.run(["chown", "postgres:", directory], check=True)
        data = f"{directory}/data"
        make = [*as_user, programs / "initdb", "-D", data, "-U", "voxmill", "-A", "trust", "--locale=C", "-E", "UTF8"]
        subprocess.run([str(part) for part in make], check=True, stdout=subprocess.DEVNULL, cwd="/")
        settings = [f"-c fsync={fsync}", f"-c synchronous_commit={fsync}", f"-c port={port}", f"-k {directory}"]
        control = [str(part) for part in [*as_user, programs / "pg_ctl", "-D", data, "-w", "-l", f"{directory}/log"]]
        subprocess.run([*control, "-o", " ".join(settings), "start"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        try:
            yield f"postgres://voxmill@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], stdout=subprocess.DEVNULL, cwd="/")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def await_port(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
