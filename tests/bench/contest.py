"""Contenders that answer line by line, timed from outside in the same way whoever they are."""

import json
import os
import statistics
import subprocess
import time
from dataclasses import dataclass


@dataclass
class Effort:
    """What a piece of work took, in seconds."""

    wall: float
    cpu: float


class Contender:
    """A program that says {"ready": true}, then answers each line with a line of JSON."""

    def __init__(self, name, command, as_json=False):
        self.name = name
        self.as_json = as_json
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        if not self._read().get("ready"):
            raise RuntimeError(f"{name} did not start")

    def ask(self, request):
        """The answer and the effort that it took."""
        cpu, start = self._cpu(), time.perf_counter()
        line = json.dumps(request) if self.as_json else request
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self._read()
        return answer, Effort(time.perf_counter() - start, self._cpu() - cpu)

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def _cpu(self):
        """Of the process, its threads and its children."""
        processes, total = [self.process.pid], 0
        for pid in processes:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += sum(int(ticks) for ticks in fields[11:15])
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                processes += [int(child) for child in file.read().split()]
        return total / os.sysconf("SC_CLK_TCK")


def take_turns(contenders, rounds, work):
    """work(contender) for each in every round, the order turned round by round; a list of results for each."""
    results = [[] for _ in contenders]
    for turn in range(rounds):
        for step in range(len(contenders)):
            index = (turn + step) % len(contenders)
            results[index].append(work(contenders[index]))
    return results


def spread(values, unit="", digits=2):
    """Median, then the least and the most."""
    values = list(values)
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return f"{middle}{unit}"
    return f"{middle}{unit} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def ratio(peer, ours):
    """Peer over ours, round by round: above 1 we are ahead."""
    return spread([theirs / own for theirs, own in zip(peer, ours)], "×")


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)
