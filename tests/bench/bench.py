"""Runs the benchmarks side by side, contender by contender in every round, and prints their tables as Markdown."""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

import extract
import own
import queues
import speech
import transcribe
from materials import Materials

BENCHMARKS = {
    "transcribe": transcribe.run,
    "extract": extract.run,
    "speech": speech.run,
    "queue": own.queue,
    "queues": queues.run,
    "calls": own.calls,
    "load": own.load,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="where models and media of the benchmark lie")
    parser.add_argument("--programs", type=Path, required=True, help="where cargo put our programs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of every engine")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="names, separated by commas")
    arguments = parser.parse_args()
    materials = Materials(arguments.cache, arguments.programs, arguments.threads)
    if materials.missing():
        sys.exit(f"the benchmark needs the shared test data: {materials.missing()} is absent")
    print(f"{machine()}; load average at the start {os.getloadavg()[0]:.2f}; rounds: {arguments.rounds}\n")
    for name in arguments.only.split(","):
        BENCHMARKS[name](materials, arguments.rounds)
    print(f"Load average at the end (the benchmark itself makes up to 2): {os.getloadavg()[0]:.2f}")


def machine():
    facts = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    cpu = next((line.split(":")[1].strip() for line in facts.splitlines() if line.startswith("Model name")), "?")
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {cpu}, {platform.system()} {platform.machine()}"


main()
