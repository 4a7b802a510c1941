"""Print how well an embedder separates speakers that are not in its training, and what it costs.

    python benchmarks/bench_speakers.py xvector.onnx --corpus crema-d=DIR --unseen ravdess=DIR

Trials are all pairs of recordings, scored by the cosine of their embeddings: one speaker, or two?
A recording is one clip, or four of a speaker's joined. Of ``--corpus`` the test speakers are heard
(fold 0 of `training.data.folds.split_by_speaker`; ``--part validation`` for choices), of
``--unseen`` all. Beside it stands the naive embedding: mean and standard deviation of 20 MFCCs
over the same voiced frames, less their mean over the training speakers, and also divided by their
deviation there; and the means alone.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Sequence
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from timing import median_s

from ser_stream.features.mfcc import MfccConfig, MfccExtractor
from ser_stream.models.embedder import SpeakerEmbedder
from ser_stream.stream.speaker_tracker import SpeakerTracker, TrackerConfig
from ser_stream.types import Float32
from training.data.audio import load_audio
from training.data.corpora import Utterance, read_corpus
from training.data.folds import split_by_speaker
from training.speakers.trials import JOINED, Trials, joined_recordings

# The frames and bands of the shipped model: 64 ms every 16 ms, 60 Hz to 5.3 kHz.
MFCC = MfccConfig(n_fft=1024, hop_length=256, n_mels=48, n_mfcc=20, f_min_hz=60.0, f_max_hz=5300.0)
RATE_HZ = 16000
SEXES = "VideoDemographics.csv"


def load(utterance: Utterance) -> Float32:
    """Samples of a clip, float32 (n,)."""
    return load_audio(utterance.path, RATE_HZ, utterance.start_s, utterance.end_s)


class Naive:
    """Mean and standard deviation of MFCCs over voiced frames."""

    def __init__(self, embedder: SpeakerEmbedder) -> None:
        self._extractor = MfccExtractor(MFCC)
        self._voicing = embedder.meta.voicing

    def __call__(self, samples: Float32) -> Float32:
        """Statistics of a recording, float32 (40,)."""
        frames = self._extractor(samples)
        rate = RATE_HZ / self._extractor.hop_length
        voiced, _ = self._voicing.of(frames, rate)
        x = frames.features[voiced] if voiced.any() else frames.features
        return np.concatenate([x.mean(axis=0), x.std(axis=0)])


def sexes_of(folder: Path, corpus: str) -> dict[str, str]:
    """Sex of each speaker where the corpus gives it."""
    if corpus == "ravdess":
        # Odd actors are male (Livingstone & Russo, 2018).
        return {f"ravdess/{i:02d}": "F" if i % 2 == 0 else "M" for i in range(1, 25)}
    if not (folder / SEXES).is_file():
        return {}
    with (folder / SEXES).open(encoding="utf-8") as file:
        return {f"{corpus}/{row['ActorID']}": row["Sex"] for row in csv.DictReader(file)}


def rates(embeddings: np.ndarray, speakers: Sequence[str], sexes: dict[str, str]) -> str:
    """Equal error rate of all pairs of embeddings (clips, dimension), and of pairs of one sex."""
    trials = Trials.of(embeddings, speakers)
    told = f"{100 * trials.error_rate():5.1f}"
    if all(s in sexes for s in speakers):
        sex = np.array([sexes[s] for s in speakers])
        alike = sex[trials.pairs[:, 0]] == sex[trials.pairs[:, 1]]
        told += f" / {100 * trials.error_rate(alike):5.1f}"
    return told


def measure(
    name: str,
    heard: Sequence[Utterance],
    sexes: dict[str, str],
    embedder: SpeakerEmbedder,
    naive: Naive,
    centre: tuple[np.ndarray, np.ndarray],
) -> None:
    """Print the rows of one corpus for embeddings (clips, dimension)."""
    clips = [load(u) for u in heard]
    who = [u.speaker for u in heard]
    mean, deviation = centre
    for n in JOINED:
        groups = joined_recordings(who, n)
        speakers = [who[g[0]] for g in groups]
        recordings = [np.concatenate([clips[i] for i in g]) for g in groups]
        ours = np.stack([embedder.embed_recording(r) for r in recordings])
        statistics = np.stack([naive(r) for r in recordings]) - mean
        width = MFCC.n_mfcc
        cells = [
            f"{name}, {len(set(speakers))} speakers, {len(groups)} recordings of {n}",
            rates(ours, speakers, sexes),
            rates(statistics, speakers, sexes),
            rates(statistics / deviation, speakers, sexes),
            rates((statistics / deviation)[:, :width], speakers, sexes),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def costs(embedder: SpeakerEmbedder) -> None:
    """Print what a tracker costs on one core."""
    config = TrackerConfig()
    rng = np.random.default_rng(0)
    frames = round(config.memory_s * embedder.frames_per_s)
    memory = rng.normal(size=(frames, embedder.extractor.width)).astype(np.float32)
    update_ms = 1000.0 * median_s(lambda: embedder.embed(memory), 50)
    noise = (0.1 * rng.standard_normal(RATE_HZ)).astype(np.float32)
    tracker = SpeakerTracker(embedder)
    # Flagged as no speech: frames are computed and nothing is embedded.
    silence = np.zeros(RATE_HZ, dtype=np.bool_)
    second_ms = 1000.0 * median_s(lambda: tracker.accept(noise, silence), 50)
    share = second_ms + update_ms / config.update_s
    print(
        f"an update of {config.memory_s:.0f} s: {update_ms:.1f} ms; frames of a second: "
        f"{second_ms:.1f} ms; speech without a pause: {share / 10:.1f} % of a core"
    )


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--corpus", action="append", default=[], help="NAME=FOLDER, trained on")
    parser.add_argument("--unseen", action="append", default=[], help="NAME=FOLDER, not trained on")
    parser.add_argument("--part", default="test", choices=("test", "validation"))
    arguments = parser.parse_args()
    embedder = SpeakerEmbedder.load(arguments.model)
    naive = Naive(embedder)
    # Whom the embedder was measured on when it was trained: anybody else it may have learnt.
    told = {s for m in embedder.meta.metrics.values() for s in m.get("speakers", ())}
    measured: list[tuple[str, list[Utterance], dict[str, str]]] = []
    learnt: list[Utterance] = []
    for entry in arguments.corpus:
        name, _, folder = entry.partition("=")
        split = split_by_speaker(read_corpus(name, Path(folder)))
        heard = getattr(split, arguments.part)
        if known := sorted({u.speaker for u in heard} - told):
            raise SystemExit(f"{arguments.model} may have learnt from {', '.join(known)}")
        learnt += split.train if arguments.part == "validation" else split.train + split.validation
        measured.append((f"{name} {arguments.part}", heard, sexes_of(Path(folder), name)))
    for entry in arguments.unseen:
        name, _, folder = entry.partition("=")
        measured.append((name, read_corpus(name, Path(folder)), sexes_of(Path(folder), name)))
    if not learnt:
        raise SystemExit("name a corpus that was trained on: --corpus NAME=FOLDER")
    statistics = np.stack([naive(load(u)) for u in learnt])
    centre = (statistics.mean(axis=0), statistics.std(axis=0))
    print("| EER in %, all pairs / of one sex | embedder | naive | standardised | means alone |")
    print("|---|---|---|---|---|")
    for name, heard, sexes in measured:
        measure(name, heard, sexes, embedder, naive, centre)
    costs(embedder)


if __name__ == "__main__":
    main()
