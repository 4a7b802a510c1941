"""Cross-validation: every fold and seed of a recipe, resumable, and the sums over them.

A run's folder holds ``run.json`` (what is run), one folder per seed and fold, and the report. A
fold that has its ``result.json`` is finished and never trained again; one that was interrupted goes
on after its last epoch.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_stream.errors import ConfigError, SerStreamError
from ser_stream.files import replacing
from ser_stream.models.embedder import SpeakerEmbedder
from ser_stream.models.metadata import SpeakerInput, WordInput
from ser_stream.types import Float32
from ser_stream.words.tokens import tokenize
from ser_stream.words.transcripts import Transcript, read_transcripts_csv
from ser_stream.words.vectors import WordVectors
from training.calibration import Calibration, mean_posterior
from training.checkpoint import CHECKPOINT, Checkpoint, write_table
from training.corpora import CREDITS, Utterance, read_corpus
from training.dataset import FeatureStore, build_features, load_audio
from training.fit import Epoch, Trained, fit, predict
from training.folds import Split, make_splits
from training.launch import Launch, launch
from training.metrics import score
from training.occupancy import end_with_parent, occupied
from training.recipe import Protocol, Recipe, parse_recipe
from training.report import read_json, write_json
from training.windows import Inputs, Presenter

RESULT = "result.json"
LAST = "last.pt"
RUN = "run.json"
# Windows of real audio that a checkpoint carries for the parity gate.
N_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class Run:
    """A recipe under a protocol on some utterances.

    Attributes:
        recipe: what to train.
        protocol: how it is judged.
        protocol_name: "strict", "paper" or another that the recipe has.
        utterances: of all corpora, already `select`-ed.
        noises: recordings of background noise.
        cache: folder of cached features.
        folder: where everything goes.
        device: see `training.launch.launch`.
        precision: likewise.
        vectors: a GloVe text file, for recipes with words.
        embedder: an embedder's file, for recipes that are told by one who speaks.
        transcripts: the table that the utterances' text is from; None where it is the corpora's.
        refit: a finished fold's folder: learn from its validation utterances too, for all epochs,
            and take its calibration.
    """

    recipe: Recipe
    protocol: Protocol
    protocol_name: str
    utterances: tuple[Utterance, ...]
    noises: tuple[Path, ...]
    cache: Path
    folder: Path
    device: str = "auto"
    precision: str = "auto"
    refit: Path | None = None
    vectors: Path | None = None
    transcripts: Path | None = None
    embedder: Path | None = None

    def splits(self, seed: int) -> list[Split]:
        """All folds of ``seed``; the random kinds divide anew for each."""
        return make_splits(self.protocol.folds, self.utterances, seed)

    @property
    def terms(self) -> str:
        """What a figure of this run means, in words."""
        told = self.protocol.describe()
        return told if self.transcripts is None else f"{told}; words of {self.transcripts.name}"

    def describe(self) -> dict[str, Any]:
        """What has to stay the same for a run to be gone on with."""
        counts: dict[str, int] = {}
        for u in self.utterances:
            counts[u.corpus] = counts.get(u.corpus, 0) + 1
        rows = sorted(
            (u.path.name, u.start_s, str(u.end_s), u.speaker, u.emotion) for u in self.utterances
        )
        return {
            "recipe": self.recipe.as_dict(),
            "protocol": self.protocol_name,
            "folds": asdict(self.protocol.folds),
            "choose_on": self.protocol.choose_on,
            "utterances": counts,
            "data": hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16],
            "noises": len(self.noises),
            "precision": launch(self.device, self.precision).precision,
            "refit": None if self.refit is None else str(self.refit.resolve()),
            # Not for runs without words: those of before there were any go on.
            **({} if self.vectors is None else {"vectors": self.vectors.name}),
            **({} if self.embedder is None else {"embedder": self.embedder.name}),
            **({} if not self.recipe.text.tokens else {"words": _digest_of_texts(self.utterances)}),
        }


@dataclass(frozen=True, slots=True)
class Job:
    """One fold of one seed of a run.

    Attributes:
        run: see `Run`.
        seed: of everything random.
        fold: counted from 0.
    """

    run: Run
    seed: int
    fold: int

    @property
    def folder(self) -> Path:
        """Where this fold's files go."""
        return self.run.folder / f"seed{self.seed}-fold{self.fold}"

    @property
    def result(self) -> dict[str, Any] | None:
        """Result of a finished fold, else None."""
        path = self.folder / RESULT
        return read_json(path) if path.exists() else None


def read_utterances(corpora: Sequence[str]) -> list[Utterance]:
    """Read ``NAME=FOLDER`` corpora.

    Raises:
        ConfigError: an entry of another form, or none.
        CorpusError: a corpus that cannot be read.
    """
    utterances: list[Utterance] = []
    for entry in corpora:
        name, equals, folder = entry.partition("=")
        if not equals:
            raise ConfigError(f"--corpus {entry}: want NAME=FOLDER")
        utterances += read_corpus(name, Path(folder))
    if not utterances:
        raise ConfigError("nothing to work on; name a corpus: --corpus crema-d=FOLDER")
    return utterances


def with_transcripts(utterances: Sequence[Utterance], path: Path) -> list[Utterance]:
    """Replace the text of ``utterances`` by that of a table of transcripts.

    Recordings are matched by their resolved path. Where several utterances are spans of one file,
    each takes the words of its own time. An utterance that the table does not name has no text.

    Raises:
        TranscriptError: the table cannot be read; see `ser_stream.words.transcripts`.
        ConfigError: it names none of the recordings, or gives words without times for a file that
            holds several utterances.
    """
    table = read_transcripts_csv(path)
    files = [u.path.resolve() for u in utterances]
    if table.keys().isdisjoint(files):
        raise ConfigError(f"{path}: names none of the corpus's recordings, such as {files[0]}")
    spans = Counter(files)
    replaced = []
    for u, file in zip(utterances, files, strict=True):
        transcript = table.get(file, Transcript((), timed=True))
        if spans[file] > 1 and not transcript.timed:
            raise ConfigError(
                f"{path}: {file} holds {spans[file]} utterances; give its words start_s and end_s"
            )
        words = transcript.words_between(u.start_s, math.inf if u.end_s is None else u.end_s)
        replaced.append(replace(u, text=" ".join(word.text for word in words)))
    return replaced


def select(utterances: Sequence[Utterance], recipe: Recipe) -> tuple[Utterance, ...]:
    """Keep what the recipe is about: its part of a corpus, its labels, merged as it says.

    Raises:
        ConfigError: nothing is left, or a label has no utterance.
    """
    kept = []
    for u in utterances:
        emotion = recipe.merge.get(u.emotion, u.emotion)
        if emotion in recipe.labels and recipe.part in ("", u.part):
            kept.append(u if emotion == u.emotion else replace(u, emotion=emotion))
    if missing := [n for n in recipe.labels if n not in {u.emotion for u in kept}]:
        of_part = [u for u in utterances if recipe.part in ("", u.part)]
        if not of_part:
            raise ConfigError(
                f"recipe {recipe.name} is about the {recipe.part} part of a corpus, and these have "
                "none; see --part full"
            )
        found = ", ".join(sorted({u.emotion for u in of_part}))
        raise ConfigError(
            f"recipe {recipe.name}: no utterance is {', '.join(missing)}; there are: {found}; "
            "see --labels and --merge"
        )
    return tuple(kept)


def jobs_of(
    run: Run, seeds: Sequence[int] | None = None, folds: Sequence[int] | None = None
) -> list[Job]:
    """List the folds of a run, all that the protocol asks for unless told.

    Raises:
        ConfigError: a fold that does not exist.
    """
    chosen = range(run.protocol.seeds) if seeds is None else seeds
    jobs = []
    for seed in chosen:
        n = len(run.splits(seed))
        for fold in range(n) if folds is None else folds:
            if not 0 <= fold < n:
                raise ConfigError(f"fold {fold}: the protocol has folds 0 to {n - 1}")
            jobs.append(Job(run, seed, fold))
    return jobs


def results_of(run: Run) -> list[dict[str, Any]]:
    """Results of all finished folds in a run's folder, by seed and fold."""
    found = [read_json(path) for path in run.folder.glob(f"seed*-fold*/{RESULT}")]
    return sorted(found, key=lambda r: (r["seed"], r["fold"]))


@contextmanager
def claimed(run: Run) -> Iterator[None]:
    """Hold the run's folder for this process: one that is made, or that is this run's already.

    Raises:
        ConfigError: it holds another run, another process is there, or it cannot be written.
    """
    with occupied(run.folder):
        path = run.folder / RUN
        described = run.describe()
        if not path.exists():
            write_json(path, described)
        elif not _same_run(read_json(path), described):
            raise ConfigError(
                f"{run.folder} holds a run with other settings or data; name another --output"
            )
        yield


def run_jobs(
    jobs: Sequence[Job],
    workers: int = 1,
    on_epoch: Callable[[Job, Epoch], None] = lambda job, epoch: None,
    keep_going: bool = False,
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Train what is not finished yet, and yield every fold with its result as it gets ready.

    Args:
        jobs: folds, of one run or of several.
        workers: processes that train at the same time, one thread each; 1 trains in this process
            and is the only one that tells of epochs.
        on_epoch: told of every epoch.
        keep_going: yield ``{"error": ...}`` for a fold that cannot be trained, and go on.

    Raises:
        SerStreamError: a fold cannot be trained, and ``keep_going`` is off.
    """
    todo = []
    for job in jobs:
        if (result := job.result) is not None:
            yield job, result
        else:
            todo.append(job)
    if workers <= 1:
        for job in todo:
            yield (
                job,
                _result_of(lambda job=job: train_fold(job, lambda e: on_epoch(job, e)), keep_going),
            )
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker) as pool:
        futures = {pool.submit(train_fold, job): job for job in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], _result_of(future.result, keep_going)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # What they write is whole or not there, and leaving the pool waits for their folds.
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _result_of(call: Callable[[], dict[str, Any]], keep_going: bool) -> dict[str, Any]:
    try:
        return call()
    except SerStreamError as error:
        if not keep_going:
            raise
        return {"error": str(error)}


def _start_worker() -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches every process of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


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


def with_vectors(run: Run, path: Path) -> Run:
    """``run`` with the word vectors in ``path``, of whatever width they are.

    Raises:
        ConfigError: they cannot be read.
    """
    width = WordVectors.open(path, run.cache).dimension
    recipe = run.recipe
    recipe = replace(
        recipe,
        text=replace(recipe.text, width=width),
        model_params={**recipe.model_params, "n_text": width},
    )
    return replace(run, recipe=recipe, vectors=path)


def told_by_embedder(run: Run, path: Path) -> Run:
    """``run`` with the embedder in ``path`` in the place of the statistics that stand for one.

    Raises:
        ConfigError: its recipe is told nothing of the speaker.
        BundleError: that is no embedder.
    """
    recipe = run.recipe
    if recipe.embedding != "statistics":
        raise ConfigError(f"{recipe.name} is not told who speaks; leave --embedder out")
    dimension = SpeakerEmbedder.load(path).dimension
    params = {**recipe.model_params, "n_embedding": dimension}
    told = replace(recipe, embedding="", speaker=dimension, model_params=params)
    return replace(run, recipe=told, embedder=path)


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


def train_fold(job: Job, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> dict[str, Any]:
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
        calibration = Calibration(earlier.temperature, earlier.logit_bias)
        trained = replace(trained, calibration=calibration)
    result, examples = _test(job, recipe, split, frames_of(split.test), trained, where)
    used = [*sorted({u.corpus for u in run.utterances}), *(["esc10"] if run.noises else [])]
    Checkpoint(
        recipe,
        trained.net,
        trained.statistics.mean,
        trained.statistics.std,
        trained.calibration.temperature,
        trained.calibration.bias,
        tuple(CREDITS[name] for name in used),
        {f"test {name}": value for name, value in result["test"].items()},
        examples,
        _word_input(run),
        _speaker_input(run),
    ).save(job.folder / CHECKPOINT)
    write_json(job.folder / RESULT, result)
    last.unlink(missing_ok=True)
    return result


def _test(
    job: Job,
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
    posterior = mean_posterior(logits, index, len(split.test), trained.calibration)
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
        "temperature": trained.calibration.temperature,
        "logit_bias": list(trained.calibration.bias),
        "seconds": round(sum(e.seconds for e in trained.history), 1),
        "history": [
            {"epoch": e.number, "loss": round(e.loss, 4)}
            | ({} if np.isnan(e.uar) else {"wa": round(e.wa, 4), "uar": round(e.uar, 4)})
            for e in trained.history
        ],
    }
    return result, presenter.present(chosen)


def _described(job: Job, split: Split) -> dict[str, Any]:
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
            "its calibration would have seen the test"
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


def _digest_of_texts(utterances: Sequence[Utterance]) -> str:
    texts = json.dumps([u.text for u in utterances])
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


def _same_run(old: dict[str, Any], new: dict[str, Any]) -> bool:
    # Recipes are compared as such: one that was written before an option existed has its default.
    try:
        recipes_agree = parse_recipe(old["recipe"]) == parse_recipe(new["recipe"])
    except (ConfigError, KeyError, TypeError):
        return False
    rest = json.loads(json.dumps({k: v for k, v in new.items() if k != "recipe"}))
    return recipes_agree and {k: v for k, v in old.items() if k != "recipe"} == rest
