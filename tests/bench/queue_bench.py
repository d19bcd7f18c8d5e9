"""The job engine with a million jobs waiting: it has no peer here; what counts is that nothing grows with the rows."""

import json
import subprocess

from contest import spread, table


def run(materials, rounds):
    program = materials.programs / "examples" / "hot_paths"
    results = []
    for _ in range(rounds):
        done = subprocess.run([program], capture_output=True, text=True, check=True)
        results.append(json.loads(done.stdout))
    print(f"### Job engine: {results[0]['waiting']:,} jobs waiting, SQLite\n")
    paths = results[0]["milliseconds"]
    table(["path", "ms"], [[path, spread([result["milliseconds"][path] for result in results])] for path in paths])
