"""Text to speech: our Piper by rten against piper-tts on onnxruntime, with the same voice."""

import sys
from pathlib import Path

from contest import Contender, ratio, spread, table, take_turns

VOICE = "piper-en_US-joe-medium"
SENTENCES = [
    "Good morning.",
    "The mill turns night and day.",
    "When the river is low, the miller sleeps; when it is high, he counts his sacks.",
    "Nobody knew how long the road had been closed, or who had put up the sign in the first place.",
    "Please send three copies of the contract, two of the invoice, and one of the letter that came with it to the "
    "address below.",
    "It was late in the evening when the last of the visitors left the house, and the rain, which had been falling "
    "since noon, had turned the garden into a pond.",
]


def run(materials, rounds):
    weights = materials.installed(VOICE, "en_US-joe-medium.onnx")
    peer = [sys.executable, Path(__file__).with_name("peer_piper.py"), weights, "--threads", materials.threads]
    contenders = [
        Contender("voxmill", [materials.programs / "examples" / "speak", VOICE, materials.threads]),
        Contender("piper-tts", peer),
    ]
    for contender in contenders:
        contender.ask(SENTENCES[0])
    ours, theirs = take_turns(contenders, rounds, speak)
    rows = []
    for contender, results in zip(contenders, (ours, theirs)):
        walls, cpus = zip(*results)
        rows.append([contender.name, spread(walls, digits=3), spread(cpus, digits=3), "", ""])
        contender.close()
    rows[0][-2:] = [ratio([wall for wall, _ in theirs], [wall for wall, _ in ours])]
    rows[0].append(ratio([cpu for _, cpu in theirs], [cpu for _, cpu in ours]))
    print(f"### Speech: threads {materials.threads}, {len(SENTENCES)} sentences, text to samples\n")
    table(["who", "real-time factor", "CPU s per audio second", "peer/ours wall", "peer/ours CPU"], rows)


def speak(contender):
    """Wall and CPU seconds per second of sound: the two do not make equally long pauses."""
    wall = cpu = sound = 0.0
    for sentence in SENTENCES:
        answer, effort = contender.ask(sentence)
        wall, cpu, sound = wall + effort.wall, cpu + effort.cpu, sound + answer["seconds"]
    return wall / sound, cpu / sound
