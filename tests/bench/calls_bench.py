"""A million calls of one user and what is asked of them: like the job engine it has no peer here."""

import json
import subprocess

from contest import spread, table


def run(materials, rounds):
    program = materials.programs / "examples" / "call_paths"
    results = []
    for _ in range(rounds):
        done = subprocess.run([program], capture_output=True, text=True, check=True)
        results.append(json.loads(done.stdout))
    print(f"### Calls: {results[0]['calls']:,} of one user, SQLite\n")
    paths = results[0]["milliseconds"]
    table(["path", "ms"], [[path, spread([result["milliseconds"][path] for result in results])] for path in paths])
