"""The peer of our transcription: faster-whisper, answering one JSON line for each line that it reads."""

import argparse
import json
import sys
import wave

import numpy
from faster_whisper import WhisperModel


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--vad", action="store_true", help="hear only what Silero takes for speech")
    arguments = parser.parse_args()
    model = WhisperModel(arguments.model, device="cpu", compute_type="int8", cpu_threads=arguments.threads)
    say({"ready": True})
    for line in sys.stdin:
        samples = read_wav(json.loads(line)["path"])
        segments, _ = model.transcribe(
            samples, language="en", beam_size=arguments.beam, vad_filter=arguments.vad
        )
        say({"text": "".join(segment.text for segment in segments).strip()})


def read_wav(path):
    with wave.open(path) as file:
        raw = file.readframes(file.getnframes())
    return numpy.frombuffer(raw, numpy.int16).astype(numpy.float32) / 32768.0


def say(answer):
    print(json.dumps(answer), flush=True)


main()
