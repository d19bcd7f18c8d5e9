"""The sound of a video: our media child against the ffmpeg program, a process start on either side."""

import subprocess
import time
import wave

from contest import Contender, ratio, spread, table, take_turns

LENGTHS = [60, 600]
RATES = {16000: "16 kHz mono WAV", 44100: "44.1 kHz WAV"}


def run(materials, rounds):
    folder = materials.cache / "out"
    folder.mkdir(exist_ok=True)
    program = [materials.programs / "voxmill", "media-child"]
    child = Contender("voxmill", [materials.programs / "examples" / "extract", *program], as_json=True)
    rows = []
    for seconds in LENGTHS:
        for rate, name in RATES.items():
            work = Work(materials.video(seconds), folder, rate)
            contenders = [lambda: work.ours(child), work.peers]
            for contender in contenders:
                contender()
            work.check()
            ours, peer = take_turns(contenders, 3 * rounds, lambda contender: contender())
            what = f"{seconds} s of 720p to {name}"
            rows.append([what, milliseconds(ours), milliseconds(peer), ratio(peer, ours)])
    child.close()
    print("### Sound of a video (H.264 and AAC in MP4), process start included\n")
    table(["what", "voxmill ms", "ffmpeg ms", "peer/ours"], rows)


class Work:
    def __init__(self, video, folder, rate):
        self.video, self.rate = video, rate
        self.our_output, self.peer_output = folder / "ours.wav", folder / "peer.wav"

    def ours(self, child):
        channels = 1 if self.rate == 16000 else None
        paths = {"input": str(self.video), "output": str(self.our_output)}
        _, effort = child.ask({**paths, "sample_rate": self.rate, "channels": channels})
        return effort.wall

    def peers(self):
        mono = ["-ac", "1"] if self.rate == 16000 else []
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", self.video, "-vn", "-ar", str(self.rate)]
        start = time.perf_counter()
        subprocess.run([str(part) for part in [*command, *mono, self.peer_output]], check=True)
        return time.perf_counter() - start

    def check(self):
        with wave.open(str(self.our_output)) as ours, wave.open(str(self.peer_output)) as peer:
            if ours.getparams()[:3] != peer.getparams()[:3]:
                raise RuntimeError(f"not the same sound: {ours.getparams()} and {peer.getparams()}")
            if abs(ours.getnframes() - peer.getnframes()) > self.rate // 10:
                raise RuntimeError(f"not the same length: {ours.getnframes()} and {peer.getnframes()}")


def milliseconds(times):
    return spread([time * 1000 for time in times], digits=0)
