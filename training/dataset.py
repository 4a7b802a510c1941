"""Features of every utterance under every recording condition, computed once and cached.

The per-frame stage and the normaliser are the runtime's own (`ser_stream.features`,
`ser_stream.normalizer`): what is trained on is what a live window will hold.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from threadpoolctl import threadpool_limits

from ser_stream.features import Frames
from ser_stream.frontend import Extractor, make_extractor
from ser_stream.types import Float32
from training.augment import Condition, apply_condition, draw_condition
from training.corpora import CorpusError, Utterance
from training.recipe import Recipe

CACHE_VERSION = 1


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """Frames of utterance u under condition v; condition 0 is the clean recording."""

    frames: list[list[Frames]]

    def __getitem__(self, key: tuple[int, int]) -> Frames:
        utterance, variant = key
        return self.frames[utterance][variant]

    @property
    def variants(self) -> int:
        """Conditions per utterance, the clean one included."""
        return len(self.frames[0])


def load_audio(path: Path, rate_hz: int) -> Float32:
    """Read a clip as mono float32 at ``rate_hz``.

    Raises:
        CorpusError: the file cannot be read, or is empty.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise CorpusError(f"{path}: {error}") from error
    if len(samples) == 0:
        raise CorpusError(f"{path}: no samples")
    mono = samples.mean(axis=1)
    return mono if rate == rate_hz else soxr.resample(mono, rate, rate_hz).astype(np.float32)


def build_features(
    utterances: Sequence[Utterance],
    recipe: Recipe,
    noises: Sequence[Path],
    cache: Path | None,
    variants: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FeatureStore:
    """Compute or read from ``cache`` the frames of the clean and ``variants`` disturbed clips."""
    if not utterances:
        return FeatureStore([])
    key = json.dumps(
        [
            CACHE_VERSION,
            [(u.path.name, u.path.stat().st_size, u.speaker) for u in utterances],
            [p.name for p in noises],
            recipe.frontend,
            recipe.frontend_params,
            asdict(recipe.augment) if variants else None,
            variants,
            recipe.train.seed,
        ]
    )
    file = None
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        file = cache / f"features-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
        if file.exists():
            return _load(file, 1 + variants)
    rate = make_extractor(recipe.frontend, recipe.frontend_params).sample_rate_hz
    noise_audio = [load_audio(p, rate) for p in noises] if variants else []
    conditions = _conditions(utterances, recipe, len(noise_audio), variants)
    jobs = [
        (u.path, [conditions[u.speaker, v] for v in range(variants)], i)
        for i, u in enumerate(utterances)
    ]
    frames: list[list[Frames]] = []
    context = multiprocessing.get_context("fork")
    with context.Pool(
        initializer=_start_worker, initargs=(recipe, noise_audio, recipe.train.seed)
    ) as pool:
        for result in pool.imap(_extract, jobs, chunksize=8):
            frames.append(result)
            progress(len(frames), len(jobs))
    store = FeatureStore(frames)
    if file is not None:
        _save(file, store)
    return store


def _conditions(
    utterances: Sequence[Utterance], recipe: Recipe, n_noises: int, variants: int
) -> dict[tuple[str, int], Condition]:
    rng = np.random.default_rng(recipe.train.seed)
    return {
        (speaker, v): draw_condition(recipe.augment, n_noises, rng)
        for speaker in sorted({u.speaker for u in utterances})
        for v in range(variants)
    }


_worker: tuple[Extractor, list[Float32], int] | None = None


def _start_worker(recipe: Recipe, noises: list[Float32], seed: int) -> None:
    global _worker  # noqa: PLW0603 what a pool's initialiser leaves to its jobs
    # One thread per process: the pool already uses every core.
    threadpool_limits(1)
    _worker = (make_extractor(recipe.frontend, recipe.frontend_params), noises, seed)


def _extract(job: tuple[Path, list[Condition], int]) -> list[Frames]:
    path, conditions, index = job
    if _worker is None:
        raise RuntimeError("worker was not started")
    extractor, noises, seed = _worker
    rate = extractor.sample_rate_hz
    samples = load_audio(path, rate)
    # Half a second is the least that the runtime scores; shorter clips are repeated to it.
    least = max(rate // 2, extractor.frame_length)
    if len(samples) < least:
        samples = np.resize(samples, least)
    result = [extractor(samples)]
    for v, condition in enumerate(conditions):
        rng = np.random.default_rng([seed, index, v])
        changed = apply_condition(samples, rate, condition, noises, rng)
        if len(changed) < extractor.frame_length:
            changed = np.resize(changed, extractor.frame_length)
        result.append(extractor(changed))
    return result


def _save(file: Path, store: FeatureStore) -> None:
    flat = [f for row in store.frames for f in row]
    part = file.with_suffix(".part.npz")
    np.savez(
        part,
        lengths=np.array([len(f) for f in flat]),
        features=np.concatenate([f.features for f in flat]),
        level_db=np.concatenate([f.level_db for f in flat]),
        periodicity=np.concatenate([f.periodicity for f in flat]),
    )
    part.replace(file)


def _load(file: Path, variants: int) -> FeatureStore:
    with np.load(file) as data:
        ends = np.cumsum(data["lengths"])[:-1]
        parts = [np.split(data[k], ends) for k in ("features", "level_db", "periodicity")]
    flat = [Frames(*columns) for columns in zip(*parts, strict=True)]
    return FeatureStore([flat[i : i + variants] for i in range(0, len(flat), variants)])
