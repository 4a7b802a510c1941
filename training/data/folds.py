"""Who trains, who validates, who tests: every promise of a protocol is checked when it is made.

`split_by_speaker` divides the speakers; `make_splits` makes all folds of a protocol.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ser_stream.errors import ConfigError
from training.data.corpora import Utterance


class FoldError(ConfigError, ValueError):
    """A division that would break what its protocol promises."""


@dataclass(frozen=True, slots=True)
class Split:
    """Three sets of utterances; train and test are not empty, and no utterance is in two.

    Attributes:
        train: of the training.
        validation: chooses the epoch; may be empty.
        test: measured.
        speaker_independent: no speaker is in two of them.
        description: what this fold is, in words: "tests iemocap/Ses01F".

    Raises:
        FoldError: an utterance in two parts, an empty part, or a speaker in two parts of a split
            that calls itself speaker-independent.
    """

    train: list[Utterance]
    validation: list[Utterance]
    test: list[Utterance]
    speaker_independent: bool = True
    description: str = ""

    def __post_init__(self) -> None:
        parts = (self.train, self.validation, self.test)
        if shared := _in_two([{_key(u) for u in part} for part in parts]):
            raise FoldError(f"utterances in two parts of a split: {len(shared)}, first {shared[0]}")
        if self.speaker_independent and (
            shared := _in_two([{u.speaker for u in part} for part in parts])
        ):
            raise FoldError(f"speakers in two parts of a split: {shared}")
        if not self.train:
            raise FoldError("nothing is left to train on; give more speakers or utterances")
        if not self.test:
            raise FoldError("nothing is left to test on; give more speakers or utterances")


@dataclass(frozen=True, slots=True)
class FoldsConfig:
    """A protocol.

    Attributes:
        kind: a key of `FOLDS`.
        n_folds: folds of ``speaker``, ``random-k-fold`` and ``random-ratio``; the other kinds have
            as many as there are speakers or sessions.
        validation: for ``speaker`` the share of every corpus's speakers, for ``random-ratio`` the
            share of the utterances. For the other kinds anything above 0 asks for one more
            speaker or fold to validate; see the functions in `FOLDS`.
        test: share of the utterances that tests; ``random-ratio`` alone uses it.

    Raises:
        ConfigError: unknown kind, or a number out of its range.
    """

    kind: str
    n_folds: int = 5
    validation: float = 0.0
    test: float = 0.2

    def __post_init__(self) -> None:
        if self.kind not in FOLDS:
            raise ConfigError(f"unknown kind of folds {self.kind!r}; known: {', '.join(FOLDS)}")
        fewest = 1 if self.kind == "random-ratio" else 2
        if self.kind == "random-k-fold" and self.validation > 0:
            fewest = 3
        if self.n_folds < fewest:
            raise ConfigError(f"{self.kind}: n_folds is {self.n_folds}, want {fewest} or more")
        if not 0.0 <= self.validation < 1.0:
            raise ConfigError(f"{self.kind}: validation is {self.validation}, want 0 <= it < 1")
        if not 0.0 < self.test < 1.0:
            raise ConfigError(f"{self.kind}: test is {self.test}, want 0 < it < 1")
        if self.kind == "random-ratio" and self.validation + self.test >= 1.0:
            raise ConfigError(
                f"{self.kind}: validation {self.validation} and test {self.test} leave nothing to "
                "train on; lower one"
            )


def split_by_speaker(
    utterances: Sequence[Utterance], fold: int = 0, n_folds: int = 5, validation_share: float = 0.15
) -> Split:
    """Divide the speakers of each corpus into test, validation and train.

    The speakers of a corpus are shuffled by a fixed seed and dealt into ``n_folds`` runs; run
    ``fold`` tests, the speakers right after it validate. Over all folds every speaker tests once.
    The division depends on the speakers' names alone, so that whoever has the same corpus can tell
    which speakers are outside a model's training.

    Raises:
        ValueError: ``fold`` is not one of ``n_folds``.
    """
    if not 0 <= fold < n_folds:
        raise ValueError(f"fold {fold} of {n_folds}")
    part_of: dict[str, str] = {}
    for corpus in sorted({u.corpus for u in utterances}):
        speakers = sorted({u.speaker for u in utterances if u.corpus == corpus})
        random.Random(f"{corpus}:0").shuffle(speakers)
        n = len(speakers)
        tested = [i for i in range(n) if i * n_folds // n == fold]
        n_validation = round(validation_share * n)
        after = [(tested[-1] + 1 + i) % n for i in range(n_validation)] if tested else []
        for i, speaker in enumerate(speakers):
            part_of[speaker] = "test" if i in tested else "validation" if i in after else "train"
    parts: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for utterance in utterances:
        parts[part_of[utterance.speaker]].append(utterance)
    return Split(parts["train"], parts["validation"], parts["test"])


def make_splits(config: FoldsConfig, utterances: Sequence[Utterance], seed: int) -> list[Split]:
    """Make all folds of a protocol.

    Every fold holds every utterance once, so leave out beforehand what takes no part. The order of
    ``utterances`` does not matter. ``seed`` matters to the random kinds only.

    Raises:
        FoldError: these utterances cannot be divided so, or the protocol's promise does not hold.
    """
    ordered = sorted(utterances, key=lambda u: (u.corpus, *_key(u)))
    counts = Counter(_key(u) for u in ordered)
    if twice := [key for key, count in counts.items() if count > 1]:
        raise FoldError(f"utterances that come twice: {len(twice)}, first {twice[0]}")
    if not ordered:
        raise FoldError("no utterances to divide")
    splits = FOLDS[config.kind](config, ordered, seed)
    for split in splits:
        if len(split.train) + len(split.validation) + len(split.test) != len(ordered):
            raise FoldError(f"{split.description}: not every utterance has a part")
        if bool(split.validation) != (config.validation > 0):
            raise FoldError(
                f"{split.description}: {len(split.validation)} utterances validate, but the "
                f"configuration's validation is {config.validation}"
            )
    return splits


def _speaker(config: FoldsConfig, utterances: list[Utterance], seed: int) -> list[Split]:
    """Divide the speakers as `split_by_speaker` does; every speaker tests once."""
    del seed  # the speakers' names decide
    splits = []
    for fold in range(config.n_folds):
        split = split_by_speaker(utterances, fold, config.n_folds, config.validation)
        tested = sorted({u.speaker for u in split.test})
        description = f"fold {fold} of {config.n_folds}: tests {', '.join(tested)}"
        splits.append(replace(split, description=description))
    _check_each_tests_once(splits, utterances, lambda u: u.speaker)
    return splits


def _leave_one_speaker_out(
    config: FoldsConfig, utterances: list[Utterance], seed: int
) -> list[Split]:
    """One fold per speaker, who tests; to validate, the next in sorted order (cyclic)."""
    del seed  # nothing is random
    speakers = sorted({u.speaker for u in utterances})
    splits = []
    for i, tested in enumerate(speakers):
        validating = speakers[(i + 1) % len(speakers)] if config.validation > 0 else None
        split = _divide(
            utterances,
            lambda u, tested=tested: u.speaker == tested,
            lambda u, validating=validating: u.speaker == validating,
            f"tests {tested}" + (f", validates on {validating}" if validating else ""),
        )
        if (found := {u.speaker for u in split.test}) != {tested}:
            raise FoldError(f"a fold of {tested} tests {sorted(found)}")
        splits.append(split)
    _check_each_tests_once(splits, utterances, lambda u: u.speaker)
    return splits


def _leave_one_session_out(
    config: FoldsConfig, utterances: list[Utterance], seed: int
) -> list[Split]:
    """One fold per session, which tests.

    To validate, the first speaker of the next session in sorted order (cyclic); the rest of that
    session trains.
    """
    del seed  # nothing is random
    if homeless := [u for u in utterances if not u.session]:
        raise FoldError(
            f"leave-one-session-out: {len(homeless)} utterances have no session, first "
            f"{homeless[0].path} of {homeless[0].corpus}"
        )
    sessions = sorted({u.session for u in utterances})
    first = {s: min(u.speaker for u in utterances if u.session == s) for s in sessions}
    splits = []
    for i, tested in enumerate(sessions):
        after = sessions[(i + 1) % len(sessions)]
        validating = (after, first[after]) if config.validation > 0 else None
        split = _divide(
            utterances,
            lambda u, tested=tested: u.session == tested,
            lambda u, validating=validating: (u.session, u.speaker) == validating,
            f"tests {tested}" + (f", validates on {validating[1]}" if validating else ""),
        )
        elsewhere = {u.session for u in [*split.train, *split.validation]}
        if (found := {u.session for u in split.test}) != {tested} or tested in elsewhere:
            raise FoldError(f"a fold of {tested} tests {sorted(found)}, learns {sorted(elsewhere)}")
        splits.append(split)
    _check_each_tests_once(splits, utterances, lambda u: u.session)
    return splits


def _random_k_fold(config: FoldsConfig, utterances: list[Utterance], seed: int) -> list[Split]:
    """Cut a random permutation into ``n_folds``; each tests once, the next (cyclic) validates."""
    k, n = config.n_folds, len(utterances)
    if n < k:
        raise FoldError(f"random-k-fold: {n} utterances cannot make {k} folds")
    shuffled = _shuffled(utterances, seed)
    runs = [shuffled[f * n // k : (f + 1) * n // k] for f in range(k)]
    splits = []
    for f in range(k):
        validating = (f + 1) % k if config.validation > 0 else None
        splits.append(
            Split(
                [u for g, run in enumerate(runs) if g not in (f, validating) for u in run],
                [] if validating is None else runs[validating],
                runs[f],
                speaker_independent=False,
                description=f"fold {f} of {k}: tests a random part, speakers mix",
            )
        )
    _check_each_tests_once(splits, utterances, _key)
    return splits


def _random_ratio(config: FoldsConfig, utterances: list[Utterance], seed: int) -> list[Split]:
    """Turn a random permutation on by the test share per fold; it tests, validates, trains.

    Fold f tests the share ``test`` that begins at f * ``test`` (cyclic), the share ``validation``
    right after it validates, the rest trains.
    """
    n = len(utterances)
    shuffled = _shuffled(utterances, seed)
    shares = (1.0 - config.validation - config.test, config.validation, config.test)
    splits = []
    for f in range(config.n_folds):
        start, middle, end = (
            round(n * edge)
            for edge in (
                f * config.test,
                (f + 1) * config.test,
                (f + 1) * config.test + config.validation,
            )
        )
        split = Split(
            [shuffled[i % n] for i in range(end, start + n)],
            [shuffled[i % n] for i in range(middle, end)],
            [shuffled[i % n] for i in range(start, middle)],
            speaker_independent=False,
            description=(
                f"fold {f} of {config.n_folds}: tests {config.test:.0%} at random, speakers mix"
            ),
        )
        for share, part in zip(shares, (split.train, split.validation, split.test), strict=True):
            if abs(len(part) - share * n) > 1.0 + 1e-6:
                raise FoldError(f"a part has {len(part)} of {n} utterances, want {share:.3f}")
        splits.append(split)
    return splits


FOLDS: dict[str, Callable[[FoldsConfig, list[Utterance], int], list[Split]]] = {
    "speaker": _speaker,
    "leave-one-speaker-out": _leave_one_speaker_out,
    "leave-one-session-out": _leave_one_session_out,
    "random-k-fold": _random_k_fold,
    "random-ratio": _random_ratio,
}


def _divide(
    utterances: list[Utterance],
    tests: Callable[[Utterance], bool],
    validates: Callable[[Utterance], bool],
    description: str,
) -> Split:
    rest = [u for u in utterances if not tests(u)]
    return Split(
        [u for u in rest if not validates(u)],
        [u for u in rest if validates(u)],
        [u for u in utterances if tests(u)],
        description=description,
    )


def _check_each_tests_once(
    splits: list[Split], utterances: list[Utterance], group: Callable[[Utterance], object]
) -> None:
    tested = Counter(g for split in splits for g in {group(u) for u in split.test})
    if tested != Counter({group(u) for u in utterances}):
        raise FoldError("not everybody tests exactly once over the folds")


def _shuffled(utterances: list[Utterance], seed: int) -> list[Utterance]:
    shuffled = list(utterances)
    random.Random(seed).shuffle(shuffled)
    return shuffled


def _key(utterance: Utterance) -> tuple[str, float]:
    return utterance.path.as_posix(), utterance.start_s


def _in_two(groups: list[set]) -> list:
    return sorted({x for i, a in enumerate(groups) for b in groups[i + 1 :] for x in a & b})
