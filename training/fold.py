"""One fold: features, training, test, checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_stream.errors import ConfigError
from ser_stream.files import replacing
from ser_stream.models.embedder import SpeakerEmbedder
from ser_stream.models.inputs import Inputs
from ser_stream.models.metadata import SpeakerInput, WordInput
from ser_stream.types import Float32
from ser_stream.words.tokens import tokenize
from ser_stream.words.vectors import WordVectors
from training.checkpoint import CHECKPOINT, Checkpoint, write_table
from training.data.audio import load_audio
from training.data.corpora import Utterance, credits_of
from training.data.features import FeatureStore, build_features
from training.data.folds import Split
from training.data.noises import NOISE_CREDIT
from training.data.windows import Presenter
from training.fit import Epoch, Trained, fit, predict
from training.launch import Launch, launch
from training.metrics import score
from training.recipe.config import Recipe
from training.report import write_json
from training.run import LAST, RESULT, FoldJob, Run
from training.temperature_scaling import TemperatureScaling, mean_posterior

# Windows of real audio that a checkpoint carries for the parity gate.
N_EXAMPLES = 8


def load_features(
    run: Run, progress: Callable[[int, int], None] = lambda done, total: None
) -> FeatureStore:
    """Compute or find the features of a run's utterances."""
    store = build_features(run.utterances, run.recipe, run.noises, run.cache, progress)
    if run.recipe.text.tokens:
        store = replace(store, words=word_vectors(run))
    if run.recipe.speaker:
        store = replace(store, speakers=speaker_embeddings(run, progress))
    return store


def speaker_embeddings(
    run: Run, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Float32]:
    """Embedding of the speaker of each of a run's utterances, float32 (dimension,), cached.

    **Decision**: that of the whole clean recording, as the paper has it; live it is that of the
    last ten seconds of voiced speech.

    Raises:
        ConfigError: no embedder was named.
        BundleError: it cannot be used.
        CorpusError: a clip cannot be read.
    """
    if run.embedder is None:
        raise ConfigError(f"{run.recipe.name} is told who speaks: name an embedder, --embedder")
    embedder = SpeakerEmbedder.load(run.embedder)
    clips = [(str(u.path.resolve()), u.start_s, u.end_s) for u in run.utterances]
    key = json.dumps([embedder.digest, clips])
    path = run.cache / f"speakers-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if path.is_file():
        return list(np.load(path))
    rate = embedder.extractor.sample_rate_hz
    found = []
    for done, u in enumerate(run.utterances):
        progress(done, len(run.utterances))
        found.append(embedder.embed_recording(load_audio(u.path, rate, u.start_s, u.end_s)))
    run.cache.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        np.save(part, np.stack(found))
    return found


def _speaker_input(run: Run) -> SpeakerInput | None:
    if run.embedder is None:
        return None
    embedder = SpeakerEmbedder.load(run.embedder)
    return SpeakerInput(embedder.dimension, run.embedder.name, embedder.digest)


def _word_input(run: Run) -> WordInput | None:
    text = run.recipe.text
    if run.vectors is None or not text.tokens:
        return None
    digest = WordVectors.open(run.vectors, run.cache).digest
    return WordInput(text.tokens, text.width, run.vectors.name, digest)


def word_vectors(run: Run) -> list[Float32]:
    """Vectors of the words of a run's transcripts, float32 (tokens, width) each.

    Raises:
        ConfigError: no vectors were named, they cannot be read, or no utterance has a transcript.
    """
    if run.vectors is None:
        raise ConfigError(f"{run.recipe.name} reads words: name their vectors with --vectors")
    vectors = WordVectors.open(run.vectors, run.cache)
    if not any(u.text.strip() for u in run.utterances):
        raise ConfigError(f"{run.recipe.name} reads words, but no utterance has a transcript")
    return [vectors.vectors(tokenize(u.text)) for u in run.utterances]


def train_fold(
    job: FoldJob, on_epoch: Callable[[Epoch], None] = lambda epoch: None
) -> dict[str, Any]:
    """Train and test one fold; leaves checkpoint, learning curve and result in its folder."""
    run = job.run
    where = launch(run.device, run.precision)
    recipe = replace(run.recipe, train=replace(run.recipe.train, seed=job.seed))
    store = load_features(run)
    at = {(u.path, u.start_s): i for i, u in enumerate(run.utterances)}
    split = run.splits(job.seed)[job.fold]
    earlier = None
    if run.refit is not None:
        earlier = Checkpoint.load(run.refit)
        _check_refit(earlier, recipe, split, run.refit)
        split = Split([*split.train, *split.validation], [], split.test, split.speaker_independent)

    def frames_of(part: Sequence[Utterance]) -> FeatureStore:
        return store.subset([at[u.path, u.start_s] for u in part])

    job.folder.mkdir(parents=True, exist_ok=True)
    if not _heard(split.test, frames_of(split.test), recipe):
        nothing = {
            **_described(job, split),
            "test": {},
            "error": "no test utterance is as long as a window, and the recipe drops shorter ones",
        }
        if where.rank == 0:
            write_json(job.folder / RESULT, nothing)
        return nothing

    chooser = {"validation": split.validation, "test": split.test, "none": []}[
        run.protocol.choose_on
    ]
    curve = _Curve(job.folder) if where.rank == 0 else None
    last = job.folder / LAST

    def told(epoch: Epoch, state: Callable[[], dict[str, Any]]) -> None:
        if curve is not None:
            write_table(last, state())
            curve.add(epoch)
            on_epoch(epoch)

    resume = None
    if last.exists():
        resume = torch.load(last, map_location="cpu", weights_only=True)
    trained = fit(
        recipe,
        split.train,
        frames_of(split.train),
        chooser,
        frames_of(chooser),
        where,
        told,
        resume,
    )
    if curve is None:
        return {}
    curve.close()
    if earlier is not None:
        scaling = TemperatureScaling(earlier.temperature, earlier.logit_bias)
        trained = replace(trained, scaling=scaling)
    result, examples = _test(job, recipe, split, frames_of(split.test), trained, where)
    Checkpoint(
        recipe,
        trained.net,
        trained.statistics.mean,
        trained.statistics.std,
        trained.scaling.temperature,
        trained.scaling.bias,
        (*credits_of(u.corpus for u in run.utterances), *([NOISE_CREDIT] if run.noises else [])),
        {f"test {name}": value for name, value in result["test"].items()},
        examples,
        _word_input(run),
        _speaker_input(run),
    ).save(job.folder / CHECKPOINT)
    write_json(job.folder / RESULT, result)
    last.unlink(missing_ok=True)
    return result


def _test(
    job: FoldJob,
    recipe: Recipe,
    split: Split,
    store: FeatureStore,
    trained: Trained,
    where: Launch,
) -> tuple[dict[str, Any], Inputs]:
    presenter = Presenter(recipe, store, trained.statistics)
    places = presenter.test_places(split.test)
    index = np.array([p.utterance for p in places])
    # In full precision, as the export will run.
    exact = replace(where, precision="fp32")
    logits = predict(trained.net.to(where.device), presenter, places, exact)
    trained.net.cpu()
    posterior = mean_posterior(logits, index, len(split.test), trained.scaling)
    truth = np.array([recipe.labels.index(u.emotion) for u in split.test])
    heard = np.zeros(len(truth), dtype=bool)
    heard[index] = True
    corpora = np.array([u.corpus for u in split.test])
    test = {}
    for name in sorted(set(corpora.tolist())):
        keep = heard & (corpora == name)
        if not keep.any():
            continue
        one = score(truth[keep], posterior[keep].argmax(axis=1), len(recipe.labels))
        test[name] = {
            **one.as_dict(recipe.labels),
            "left_out": int(((corpora == name) & ~heard).sum()),
            "speakers": sorted({u.speaker for u in split.test if u.corpus == name}),
            "protocol": f"{name}: {split.description or f'fold {job.fold}'}; " + job.run.terms,
        }
    # Spread over the test fold, so that they are different windows.
    chosen = [places[i] for i in np.linspace(0, len(places) - 1, N_EXAMPLES).astype(int)]
    result = {
        **_described(job, split),
        "test": test,
        "epochs": len(trained.history),
        "best_epoch": trained.best.number,
        "temperature": trained.scaling.temperature,
        "logit_bias": list(trained.scaling.bias),
        "seconds": round(sum(e.seconds for e in trained.history), 1),
        "history": [
            {"epoch": e.number, "loss": round(e.loss, 4)}
            | ({} if np.isnan(e.uar) else {"wa": round(e.wa, 4), "uar": round(e.uar, 4)})
            for e in trained.history
        ],
    }
    return result, presenter.present(chosen)


def _described(job: FoldJob, split: Split) -> dict[str, Any]:
    return {
        "recipe": job.run.recipe.name,
        "seed": job.seed,
        "fold": job.fold,
        "description": split.description,
        "utterances": [len(split.train), len(split.validation), len(split.test)],
        "speakers": {
            name: sorted({u.speaker for u in part})
            for name, part in (("validation", split.validation), ("test", split.test))
        },
    }


def _check_refit(earlier: Checkpoint, recipe: Recipe, split: Split, path: Path) -> None:
    tested = sorted({u.speaker for u in split.test})
    theirs = sorted({s for value in earlier.metrics.values() for s in value["speakers"]})
    if earlier.recipe.labels != recipe.labels or theirs != tested:
        raise ConfigError(
            f"--refit {path}: it is no run of these classes that tested on {', '.join(tested)}; "
            "its temperature scaling would have seen the test"
        )


def _heard(utterances: Sequence[Utterance], store: FeatureStore, recipe: Recipe) -> int:
    """How many of ``utterances`` the recipe does not drop."""
    if recipe.windows.short != "drop":
        return len(utterances)
    return sum(len(row[0]) >= recipe.window_frames for row in store.frames)


class _Curve:
    """Learning curves for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def add(self, epoch: Epoch) -> None:
        self._writer.add_scalar("loss/train", epoch.loss, epoch.number)
        if not np.isnan(epoch.uar):
            self._writer.add_scalar("WA/chooser", epoch.wa, epoch.number)
            self._writer.add_scalar("UAR/chooser", epoch.uar, epoch.number)

    def close(self) -> None:
        self._writer.close()
