"""What has no peer here: a million jobs that wait, a million calls of one user, and many clients at once."""

import json
import subprocess

from contest import spread, table


def queue(materials, rounds):
    paths("hot_paths", "Job engine: {waiting:,} jobs waiting, SQLite", materials, rounds)


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


def run(example, materials, rounds):
    program = materials.programs / "examples" / example
    done = (subprocess.run([program], capture_output=True, text=True, check=True) for _ in range(rounds))
    return [json.loads(output.stdout) for output in done]
