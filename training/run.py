"""A recipe under a protocol on some utterances, and its folds as jobs."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ser_stream.errors import ConfigError
from ser_stream.models.embedder import SpeakerEmbedder
from ser_stream.words.transcripts import Transcript, read_transcripts_csv
from ser_stream.words.vectors import WordVectors
from training.data.corpora import Utterance, read_corpus
from training.data.folds import Split, make_splits
from training.launch import launch
from training.occupancy import occupied
from training.recipe.book import Protocol
from training.recipe.config import Recipe
from training.recipe.parse import parse_recipe
from training.report import read_json, write_json

RESULT = "result.json"
LAST = "last.pt"
RUN = "run.json"


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
        embedder: an embedder's file, for recipes that take its embeddings.
        transcripts: the table that the utterances' text is from; None where it is the corpora's.
        refit: a finished fold's folder: learn from its validation utterances too, for all epochs,
            and take its temperature scaling.
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
class FoldJob:
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
) -> list[FoldJob]:
    """List the folds of a run, all of the protocol unless given.

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
            jobs.append(FoldJob(run, seed, fold))
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


def with_vectors(run: Run, path: Path) -> Run:
    """``run`` with the word vectors in ``path``, of whatever width they are.

    Raises:
        ConfigError: they cannot be read.
    """
    width = WordVectors.open(path, run.cache).dimension
    recipe = replace(run.recipe, text=replace(run.recipe.text, width=width))
    return replace(run, recipe=recipe, vectors=path)


def told_by_embedder(run: Run, path: Path) -> Run:
    """``run`` with the embedder in ``path`` in the place of the statistics that stand for one.

    Raises:
        ConfigError: its recipe takes no embeddings.
        BundleError: that is no embedder.
    """
    recipe = run.recipe
    if recipe.embedding != "statistics":
        raise ConfigError(f"{recipe.name} is not told who speaks; leave --embedder out")
    dimension = SpeakerEmbedder.load(path).dimension
    told = replace(recipe, embedding="", speaker=dimension)
    return replace(run, recipe=told, embedder=path)


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
