"""Choose the smoother on the validation speakers of a fold.

    ser-train run default --corpus crema-d=DIR --corpus emodb=DIR --noise DIR --fold 0 -o runs/a
    ser-export runs/a -o fold0.onnx
    python benchmarks/bench_smoothing.py fold0.onnx --corpus crema-d=DIR --corpus emodb=DIR

The network must not have learnt from those speakers (no --refit). Their clips are joined and heard
once by the real engine, with the speech gate, every 0.1 s: each emotion alone, and after each other
one. Smoothers are then replayed over the posteriors.

Chosen is, of the settings that are wrong no more often than the rule before and at most 0.3 s
slower, and whose belief is at most 5 points from the share of speech in which its class is right,
the one with the highest score: the share of speech with the right label, less one second of speech
for each change of what is shown; of equal ones the highest `leave`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.settings import SmoothingConfig
from ser_stream.stream.smoothing import LabelDecider, Smoother
from ser_stream.types import Float32
from training.card.response import (
    STEADY_AFTER_S,
    EmotionStretch,
    Response,
    live_hop_s,
    respond,
    stretches,
)
from training.data.corpora import Utterance
from training.data.folds import make_splits
from training.recipe.book import find_recipe
from training.report import markdown_table, write_json
from training.run import read_utterances, select

BEFORE = SmoothingConfig(evidence_s=0.7, stay_s=1.0, enter=0.70, leave=0.02)
EVIDENCE_S = (0.5, 0.7, 0.9, 1.1, 1.4)
STAY_S = (1.0, 2.0, 4.0, 8.0, 16.0)
ENTER = (0.4, 0.5, 0.6, 0.7, 0.8)
LEAVE = (0.3, 0.4, 0.5)
DWELL_S = (0.2, 0.4, 0.8)
SLOWER_S = 0.3
BELIEF_OFF = 0.05
SHOWN = 8


class UntilLeave(LabelDecider):
    """The rule before: a label stays until its belief is below ``leave`` or another one enters."""

    def update(self, belief: Float32) -> int | None:
        """Return the class index that is shown after ``belief`` (classes,), or None."""
        top = int(belief.argmax())
        if self._label is not None and belief[self._label] < self._config.leave:
            self._label = None
        if belief[top] >= self._config.enter:
            self._label = top
        return self._label


class AfterDwell(LabelDecider):
    """A label is taken only once its class has had the largest belief for some updates."""

    def __init__(self, config: SmoothingConfig, updates: int) -> None:
        super().__init__(config)
        self._updates = updates
        self._top, self._led = -1, 0

    def update(self, belief: Float32) -> int | None:
        """Return the class index that is shown after ``belief`` (classes,), or None."""
        top = int(belief.argmax())
        self._led = self._led + 1 if top == self._top else 0
        self._top = top
        if top != self._label and self._led < self._updates:
            self._label = None
            return None
        return super().update(belief)

    def reset(self) -> None:
        """Drop the label."""
        super().reset()
        self._top, self._led = -1, 0


@dataclass(frozen=True, slots=True)
class Tried:
    """A smoother and what it was worth.

    Attributes:
        config: its settings.
        rule: what decides about the label.
        response: see `training.card.response.Response`.
        belief: mean of the largest belief while the emotion stays the same...
        believed: ...and share of that speech in which its class is right.
    """

    config: SmoothingConfig
    rule: str
    response: Response
    belief: float
    believed: float

    @property
    def score(self) -> float:
        """See the top of this file."""
        return self.response.right - self.response.changes_per_minute / 60.0

    def allowed(self, before: Tried) -> bool:
        """Whether it is a choice, see the top of this file."""
        return (
            self.response.wrong <= before.response.wrong
            and self.response.delay_s <= before.response.delay_s + SLOWER_S
            and abs(self.belief - self.believed) <= BELIEF_OFF
        )

    def row(self) -> list[str]:
        """Cells of the table."""
        c, r = self.config, self.response
        return [
            f"{c.evidence_s:g}", f"{c.stay_s:g}", f"{c.enter:.2f}", f"{c.leave:.2f}", self.rule,
            *(f"{100 * share:.1f}" for share in (r.right, r.wrong, r.unsure)),
            f"{r.delay_s:.2f}", f"{100 * r.found:.0f}", f"{r.changes_per_minute:.1f}",
            f"{100 * r.outweighed:.1f}", f"{100 * self.belief:.0f} / {100 * self.believed:.0f}",
            f"{100 * self.score:.1f}",
        ]  # fmt: skip


HEADER = [
    "evidence, s", "stay, s", "enter", "leave", "rule", "right, %", "wrong, %", "unsure, %",
    "delay, s", "label came, %", "changes a minute", "outweighed, %", "belief / right, %", "score",
]  # fmt: skip


class Bench:
    """Streams that smoothers are tried on."""

    def __init__(self, found: Sequence[EmotionStretch], hop_s: float) -> None:
        self._found = found
        self._hop_s = hop_s

    def hear(
        self, config: SmoothingConfig, decider: LabelDecider | None = None, rule: str = ""
    ) -> Tried:
        """Replay one smoother."""
        response = respond(self._found, Smoother(config, decider), self._hop_s)
        beliefs = list(self._beliefs(config))
        belief, right = np.mean(beliefs, axis=0)
        return Tried(config, rule, response, float(belief), float(right))

    def _beliefs(self, config: SmoothingConfig) -> Iterator[tuple[float, bool]]:
        smoother = Smoother(config)
        for stretch in self._found:
            if stretch.change_s is not None:
                continue
            smoother.reset()
            for end_s, posterior in zip(stretch.ends_s, stretch.posteriors, strict=True):
                if posterior is None:
                    smoother.pause(self._hop_s)
                    continue
                belief, _ = smoother.update(posterior, self._hop_s)
                if end_s >= STEADY_AFTER_S:
                    yield float(belief.max()), int(belief.argmax()) == stretch.target

    def choose(self) -> tuple[Tried, list[Tried]]:
        """The choice, and all that was tried, the rule before first."""
        before = self.hear(BEFORE, UntilLeave(BEFORE), "label stays until below leave")
        grid = [
            self.hear(SmoothingConfig(evidence_s, stay_s, enter, leave))
            for evidence_s in EVIDENCE_S
            for stay_s in STAY_S
            for enter in ENTER
            for leave in LEAVE
            if leave <= enter
        ]
        allowed = [t for t in grid if t.allowed(before)]
        if not allowed:
            raise ConfigError("nothing is as quick and as seldom wrong as before; try more")
        chosen = max(allowed, key=lambda t: (round(t.score, 3), t.config.leave))
        dwelling = [
            self.hear(
                chosen.config,
                AfterDwell(chosen.config, round(dwell_s / self._hop_s)),
                f"dwell {dwell_s:g} s",
            )
            for dwell_s in DWELL_S
        ]
        return chosen, [before, self.hear(BEFORE), *dwelling, *grid]


def validation_speakers(
    bundle: ModelBundle, corpora: Sequence[str], name: str, fold: int
) -> list[Utterance]:
    """Validation utterances of a fold under the strict protocol.

    Raises:
        ConfigError: the model tested on others than the fold's test speakers, or learnt from the
            validation speakers too.
    """
    book, variant = find_recipe(name)
    utterances = select(read_utterances(corpora), book.recipe(variant))
    split = make_splits(book.protocol("strict").folds, utterances, 0)[fold]
    metrics = bundle.meta.metrics.values()
    tested = {s for m in metrics for s in m.get("speakers", ())}
    if tested != {u.speaker for u in split.test}:
        raise ConfigError(f"{bundle.path}: not trained on fold {fold} of {name} and these corpora")
    if not all("chosen on validation" in m["protocol"] for m in metrics):
        raise ConfigError(f"{bundle.path}: learnt from the validation speakers; leave --refit out")
    return split.validation


def main() -> None:
    """Print what was tried as a Markdown table, and the choice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="an exported fold")
    parser.add_argument("--corpus", action="append", required=True, help="NAME=FOLDER")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--output", "-o", type=Path, help="a JSON file of all that was tried")
    arguments = parser.parse_args()
    bundle = ModelBundle.load(arguments.model)
    chosen_from = validation_speakers(bundle, arguments.corpus, arguments.recipe, arguments.fold)
    bench = Bench(stretches(bundle, chosen_from), live_hop_s(bundle))
    chosen, tried = bench.choose()
    before, *others = tried
    close = sorted(
        (t for t in others if t.allowed(before) and t.config != chosen.config),
        key=lambda t: -t.score,
    )
    print(f"{len({u.speaker for u in chosen_from})} speakers, {len(tried)} settings\n")
    print(
        markdown_table(
            HEADER,
            [t.row() for t in (before, chosen, *close[:SHOWN])],
        )
    )
    print(f"\nchosen: {json.dumps(asdict(chosen.config))}\n")
    print(markdown_table(HEADER, [t.row() for t in others]))
    if arguments.output is not None:
        write_json(arguments.output, [asdict(t) for t in tried])


if __name__ == "__main__":
    main()
