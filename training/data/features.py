"""Features of every utterance under every recording condition, computed once and cached.

The front ends are the runtime's own (`ser_stream.features`): what is trained on is what a live
window will hold. The cache belongs to a corpus and a front end, not to a fold: all folds, seeds and
models that look at the same features read the same files, which the system maps into memory once.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import signal
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ser_stream.features.extractor import Extractor, Frames
from ser_stream.features.registry import make_extractor
from ser_stream.files import PART, making_folder
from ser_stream.types import Float32
from training.data.audio import load_audio
from training.data.augment import Condition, apply_condition, draw_condition
from training.data.corpora import Utterance
from training.recipe.config import Recipe

CACHE_VERSION = 3


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """Frames of utterance u under condition v; condition 0 is the clean recording.

    Attributes:
        frames: per utterance and condition.
        words: word vectors of each utterance's transcript, float32 (tokens, width); empty for
            networks that take none.
        speakers: embedding of each utterance's speaker, float32 (dimension,); empty for networks
            that take none of an embedder.
    """

    frames: list[list[Frames]]
    words: list[Float32] = field(default_factory=list)
    speakers: list[Float32] = field(default_factory=list)

    def __getitem__(self, key: tuple[int, int]) -> Frames:
        utterance, variant = key
        return self.frames[utterance][variant]

    def __len__(self) -> int:
        return len(self.frames)

    def subset(self, indices: Sequence[int]) -> FeatureStore:
        """The store of some of the utterances, in the order of ``indices``."""
        words = [self.words[i] for i in indices] if self.words else []
        speakers = [self.speakers[i] for i in indices] if self.speakers else []
        return FeatureStore([self.frames[i] for i in indices], words, speakers)

    @property
    def variants(self) -> int:
        """Conditions per utterance, the clean one included."""
        return len(self.frames[0])


def build_features(
    utterances: Sequence[Utterance],
    recipe: Recipe,
    noises: Sequence[Path],
    cache: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FeatureStore:
    """Compute the frames of all clips under all conditions, or find them in the folder ``cache``.

    Conditions are drawn per speaker from the speaker's name and ``recipe.augment.seed`` alone, so
    they do not depend on who else is in the corpus.
    """
    frames: list[list[Frames]] = [[] for _ in utterances]
    done = 0
    # Parts of a corpus by themselves: what looks at one and what looks at both share them.
    for place in sorted({(u.corpus, u.part) for u in utterances}):
        indices = [i for i, u in enumerate(utterances) if (u.corpus, u.part) == place]
        before = done
        rows = _corpus_features(
            [utterances[i] for i in indices],
            recipe,
            noises,
            cache,
            lambda n, _, before=before: progress(before + n, len(utterances)),
        )
        for i, row in zip(indices, rows, strict=True):
            frames[i] = row
        done += len(indices)
    return FeatureStore(frames)


def _corpus_features(
    utterances: list[Utterance],
    recipe: Recipe,
    noises: Sequence[Path],
    cache: Path,
    progress: Callable[[int, int], None],
) -> list[list[Frames]]:
    augmented = recipe.augment.variants > 0
    key = {
        "version": CACHE_VERSION,
        "utterances": [
            (u.path.name, *_stamp(u.path), u.speaker, u.start_s, u.end_s) for u in utterances
        ],
        "frontend": recipe.frontend,
        "frontend_params": recipe.frontend_params,
        "augment": asdict(recipe.augment) if augmented else None,
        "noises": [p.name for p in noises] if augmented else None,
    }
    text = json.dumps(key, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    first = utterances[0]
    # A user's own manifest may call its parts anything.
    part = "".join(c for c in first.part if c.isalnum())
    name = "-".join([first.corpus, *([part] if part else []), recipe.frontend, digest])
    folder = cache / name
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # Of several processes that need the same features one computes them, the others wait.
        with FileLock(cache / f".{name}.lock"):
            if not folder.is_dir():
                for left in cache.glob(f".{name}.*{PART}"):  # by a killed process
                    shutil.rmtree(left)
                with making_folder(folder) as part:
                    (part / "key.json").write_text(text + "\n", encoding="utf-8")
                    _compute(part, utterances, recipe, noises, progress)
    return _load(folder, 1 + recipe.augment.variants)


def _compute(
    folder: Path,
    utterances: list[Utterance],
    recipe: Recipe,
    noises: Sequence[Path],
    progress: Callable[[int, int], None],
) -> None:
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    needs_noise = recipe.augment.variants > 0 and not recipe.augment.white_only
    noise_audio = [load_audio(p, extractor.sample_rate_hz) for p in noises] if needs_noise else []
    conditions = _conditions(utterances, recipe, len(noise_audio))
    jobs = [
        (u, [conditions[u.speaker, v] for v in range(recipe.augment.variants)]) for u in utterances
    ]
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    lengths: list[int] = []
    with (
        context.Pool(initializer=_start_worker, initargs=(recipe, noise_audio)) as pool,
        (folder / "features").open("wb") as features,
        (folder / "level_db").open("wb") as level,
        (folder / "periodicity").open("wb") as periodicity,
    ):
        for i, result in enumerate(pool.imap(_extract, jobs, chunksize=8)):
            for frames in result:
                lengths.append(len(frames))
                frames.features.tofile(features)
                frames.level_db.tofile(level)
                frames.periodicity.tofile(periodicity)
            progress(i + 1, len(jobs))
    np.save(folder / "lengths.npy", np.array(lengths))
    (folder / "width").write_text(str(extractor.width), encoding="utf-8")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _load(folder: Path, variants: int) -> list[list[Frames]]:
    lengths = np.load(folder / "lengths.npy")
    width = int((folder / "width").read_text(encoding="utf-8"))
    ends = np.cumsum(lengths)

    def mapped(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        return np.memmap(folder / name, np.float32, "r", shape=shape)

    n = int(ends[-1])
    columns = [
        mapped("features", (n, width)),
        mapped("level_db", (n,)),
        mapped("periodicity", (n,)),
    ]
    flat = [
        Frames(*(np.asarray(c[end - length : end]) for c in columns))
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
    ]
    return [flat[i : i + variants] for i in range(0, len(flat), variants)]


def _conditions(
    utterances: Sequence[Utterance], recipe: Recipe, n_noises: int
) -> dict[tuple[str, int], Condition]:
    return {
        (speaker, v): draw_condition(
            recipe.augment,
            n_noises,
            np.random.default_rng([recipe.augment.seed, zlib.crc32(speaker.encode()), v]),
        )
        for speaker in sorted({u.speaker for u in utterances})
        for v in range(recipe.augment.variants)
    }


_worker: tuple[Extractor, list[Float32], int] | None = None


def _start_worker(recipe: Recipe, noises: list[Float32]) -> None:
    global _worker  # noqa: PLW0603 what a pool's initialiser leaves to its jobs
    # A handler that a fork inherits may keep the pool from ending it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # One thread per process: the pool already uses every core.
    threadpool_limits(1)
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    _worker = (extractor, noises, recipe.augment.seed)


def _extract(job: tuple[Utterance, list[Condition]]) -> list[Frames]:
    utterance, conditions = job
    if _worker is None:
        raise RuntimeError("worker was not started")
    extractor, noises, seed = _worker
    rate = extractor.sample_rate_hz
    samples = load_audio(utterance.path, rate, utterance.start_s, utterance.end_s)
    # Half a second is the least that the runtime scores; shorter clips are repeated to it.
    least = max(rate // 2, extractor.samples_for(1))
    if len(samples) < least:
        samples = np.resize(samples, least)
    result = [extractor(samples)]
    for v, condition in enumerate(conditions):
        name = zlib.crc32(utterance.path.name.encode())
        rng = np.random.default_rng([seed, name, round(1000 * utterance.start_s), v])
        changed = apply_condition(samples, rate, condition, noises, rng)
        if len(changed) < least:
            changed = np.resize(changed, least)
        result.append(extractor(changed))
    return result
