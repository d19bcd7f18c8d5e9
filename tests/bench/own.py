"""What has no peer here: jobs that wait, few and a million, a million calls of one user, and many clients at once."""

import json
import subprocess

from contest import spread, table
from queues import postgres


def queue(materials, rounds):
    depths("SQLite", [run("hot_paths", materials, 1)[0] for _ in range(rounds)])
    of_postgres = []
    for _ in range(rounds):
        with postgres("on") as url:
            of_postgres += run("hot_paths", materials, 1, url)
    depths("Postgres", of_postgres)


def calls(materials, rounds):
    paths("call_paths", "Calls: {calls:,} of one user, SQLite", materials, rounds)


def load(materials, rounds):
    results = run("load", materials, rounds)
    print("### Load: 200 logins at once, then 500 status polls a second for a minute, by 50 users\n")
    rows = []
    for storm in "logins", "polls":
        statuses = {status for result in results for status in result[storm]["statuses"]}
        took = [spread([result[storm]["milliseconds"][part] for result in results]) for part in ("p50", "p99", "max")]
        rows.append([storm, ", ".join(sorted(statuses)), *took])
    table(["what", "answers", "p50 ms", "p99 ms", "most ms"], rows)
    cpu = spread([result["cpu_seconds_of_polls"] for result in results])
    print(f"CPU seconds of the server for the polls: {cpu}\n")


def paths(example, title, materials, rounds):
    results = run(example, materials, rounds)
    print(f"### {title.format(**results[0])}\n")
    names = results[0]["milliseconds"]
    table(["path", "ms"], [[name, spread([result["milliseconds"][name] for result in results])] for name in names])


def depths(database, results):
    counts = sorted(results[0]["milliseconds"], key=int)
    print(f"### Job engine: a newcomer's job while those of another wait, {database}\n")
    rows = []
    for path in results[0]["milliseconds"][counts[0]]:
        took = {count: [result["milliseconds"][count][path] for result in results] for count in counts}
        shown = [f"{spread([p50 for p50, _ in took[count]])} / {spread([p99 for _, p99 in took[count]])}" for count in counts]
        rows.append([path, *shown])
    table(["path, p50 / p99 ms", *(f"{int(count):,} waiting" for count in counts)], rows)


def run(example, materials, rounds, *arguments):
    program = materials.programs / "examples" / example
    done = (subprocess.run([program, *arguments], capture_output=True, text=True, check=True) for _ in range(rounds))
    return [json.loads(output.stdout) for output in done]
