"""The peer of our speech: piper-tts on onnxruntime, answering one JSON line for each line that it reads."""

import argparse
import json
import sys

import onnxruntime
from piper import PiperVoice


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    voice = PiperVoice.load(arguments.model)
    voice.session = session(arguments.model, arguments.threads)
    say({"ready": True})
    for line in sys.stdin:
        chunks = list(voice.synthesize(line.strip()))
        samples = sum(len(chunk.audio_float_array) for chunk in chunks)
        say({"seconds": samples / voice.config.sample_rate})


def session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def say(answer):
    print(json.dumps(answer), flush=True)


main()
