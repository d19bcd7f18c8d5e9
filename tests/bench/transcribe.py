"""Speech to text: our Whisper engine against faster-whisper, on the same weights and the same sound."""

import sys
import wave
from pathlib import Path

from whisper_normalizer.english import EnglishTextNormalizer

from contest import Contender, Effort, ratio, spread, table, take_turns

MODELS = ["whisper-tiny.en", "whisper-base"]
NOISES = {"silence": None, "white noise, -40 dBFS": -40, "white noise, -20 dBFS": -20}
PEER = "faster-whisper"
LISTENING_PEER = "faster-whisper, vad_filter"

normalized = EnglishTextNormalizer()


def run(materials, rounds):
    references = materials.references()
    utterances = {materials.utterance(name): text for name, text in references.items()}
    talkers = [name for name in references if name != "jfk"]
    long_form = {materials.joined(talkers): " ".join(references[name] for name in talkers)}
    recordings = {f"{len(utterances)} utterances": utterances, "one recording": long_form}
    rows, silent_rows = [], []
    for model in MODELS:
        contenders = start(materials, model)
        silent_rows += [invented(contender, materials, model) for contender in contenders]
        for name, texts in recordings.items():
            rows += compare(contenders[:2], rounds, texts, f"{model}, {name}")
            print(*rows[-2:], sep="\n", file=sys.stderr, flush=True)
        for contender in contenders:
            contender.close()
    print(f"### Transcription: threads {materials.threads}, beam 5, int8 weights at the peer, English given\n")
    head = ["what", "who", "word errors", "wall s per audio minute", "CPU s per audio minute", "peer/ours wall"]
    table([*head, "peer/ours CPU"], rows)
    print("### Words invented for a minute without speech\n")
    table(["model", "who", *NOISES], silent_rows)


def start(materials, model):
    folder = materials.ctranslate2_model(model)
    peer = [sys.executable, Path(__file__).with_name("peer_faster_whisper.py"), folder, "--threads", materials.threads]
    ours = [materials.programs / "examples" / "transcribe", model, materials.threads]
    contenders = [
        Contender("voxmill", ours),
        Contender(PEER, peer, as_json=True),
        Contender(LISTENING_PEER, [*peer, "--vad"], as_json=True),
    ]
    for contender in contenders:
        ask(contender, materials.utterance("jfk"))
    return contenders


def ask(contender, path):
    return contender.ask({"path": str(path)} if contender.as_json else path)


def compare(contenders, rounds, texts, what):
    minutes = sum(map(seconds, texts)) / 60
    ours, peer = take_turns(contenders, rounds, lambda contender: listen(contender, texts))
    words = sum(len(normalized(text).split()) for text in texts.values())
    rows = []
    for contender, results in zip(contenders, (ours, peer)):
        errors = spread([errors for errors, _ in results], digits=0)
        walls = spread([effort.wall / minutes for _, effort in results])
        cpus = spread([effort.cpu / minutes for _, effort in results])
        rows.append([what, contender.name, f"{errors} of {words}", walls, cpus, "", ""])
    wall_ratio = ratio([effort.wall for _, effort in peer], [effort.wall for _, effort in ours])
    cpu_ratio = ratio([effort.cpu for _, effort in peer], [effort.cpu for _, effort in ours])
    rows[0][-2:] = [wall_ratio, cpu_ratio]
    return rows


def listen(contender, texts):
    """Word errors over all recordings, and the effort."""
    errors, total = 0, Effort(0.0, 0.0)
    for path, text in texts.items():
        answer, effort = ask(contender, path)
        errors += edits(normalized(text).split(), normalized(answer["text"]).split())
        total = Effort(total.wall + effort.wall, total.cpu + effort.cpu)
    return errors, total


def invented(contender, materials, model):
    counts = []
    for dbfs in NOISES.values():
        answer, _ = ask(contender, materials.noise(dbfs))
        counts.append(len(answer["text"].split()))
    return [model, contender.name, *counts]


def seconds(path):
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def edits(said, heard):
    """Words missed, added and mistaken."""
    row = list(range(len(heard) + 1))
    for index, word in enumerate(said):
        diagonal, row[0] = row[0], index + 1
        for column, other in enumerate(heard):
            diagonal, row[column + 1] = row[column + 1], min(
                diagonal + (word != other), row[column] + 1, row[column + 1] + 1
            )
    return row[-1]
