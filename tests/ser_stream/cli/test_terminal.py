"""The meter's drawing: exact text, and every width."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from ser_stream.cli.terminal import Meter, MeterView, plain_line
from ser_stream.types import Health, Prediction, Snapshot, State, Word

LABELS = ("angry", "happy", "neutral", "sad")


def prediction(label: str | None, *smoothed: float) -> Prediction:
    p = np.array(smoothed, dtype=np.float32)
    state = State.UNSURE if label is None else State.EMOTION
    return Prediction(0, 31744, state, label, p, p, p, 0.9)


def view(shown: Prediction | None, **more: object) -> MeterView:
    snapshot = Snapshot(
        prediction=shown,
        level_dbfs=-30.0,
        position_s=70.0,
        speech_now=True,
        health=Health(latency_s=0.0361, real_time_factor=0.0123),
    )
    strip = [None] * 20 + ["no speech"] * 10 + ["angry"] * 10 + ["unsure"] * 10 + ["sad"] * 10
    return MeterView("ser-stream  pulse  48 kHz", LABELS, replace(snapshot, **more), strip)


def draw(shown: MeterView, width: int, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, color_system="truecolor" if color else None, force_terminal=color,
        legacy_windows=False,
    )  # fmt: skip
    console.print(Meter(shown), end="")
    return out.getvalue()


def test_the_meter_is_drawn_exactly_so():
    text = draw(view(prediction("angry", 0.625, 0.25, 0.1, 0.025)), 60)
    assert text.splitlines() == [
        "ser-stream  pulse  48 kHz                            q quits",
        "",
        "input     ████████████████████────────────────────  -30 dBFS",
        "voice     speech",
        "",
        "angry     █████████████████████████───────────────       62%",
        "happy     ██████████──────────────────────────────       25%",
        "neutral   ████────────────────────────────────────       10%",
        "sad       █───────────────────────────────────────        3%",
        "",
        "sounds    ANGRY  62%",
        "",
        "last 60 s                 .........AAAAAAAA????????SSSSSSSSS",
        "latency 36 ms, lost 0 samples, load 1.2%",
    ]


SAID = "so it has come to this at long last"
WORDS = tuple(Word(text, i, i + 0.5) for i, text in enumerate(SAID.split()))


def worded(width: int, recognizer: str = "running", lag_s: float = 0.0) -> str:
    """The line of words."""
    health = Health(recognizer=recognizer, recognizer_lag_s=lag_s)
    shown = view(prediction("angry", 0.6, 0.2, 0.1, 0.1), words=WORDS, health=health)
    assert len(draw(shown, width).splitlines()) == 15
    return draw(shown, width).splitlines()[13]


def test_the_newest_words_are_shown_where_somebody_listens():
    assert worded(60) == f"words     {SAID}"
    assert worded(40) == "words     has come to this at long last"
    assert worded(60, lag_s=1.9) == worded(60)
    assert worded(60, lag_s=3.2) == "words     words come 3 s late"
    failed = worded(60, "pocketsphinx failed: no memory")
    assert failed == "words     by sound alone: pocketsphinx failed: no memory"
    assert len(worded(40, "pocketsphinx failed: " + 100 * "x")) == 40


def test_the_plain_line_has_the_words_too():
    shown = view(prediction("angry", 0.6, 0.2, 0.1, 0.1), words=WORDS)
    assert "last" not in plain_line(shown)
    shown = view(shown.snapshot.prediction, words=WORDS, health=Health(recognizer="running"))
    assert plain_line(shown).endswith("  'so it has come to this at long last'")
    shown = view(shown.snapshot.prediction, health=Health(recognizer="x failed: y"))
    assert plain_line(shown).endswith("  (by sound alone: x failed: y)")


@pytest.mark.parametrize("width", range(40, 201))
def test_no_line_is_longer_than_the_terminal(width):
    shown = view(
        prediction(None, 0.49, 0.48, 0.02, 0.01),
        health=Health(latency_s=123.456, lost_samples=10**9, real_time_factor=12.3),
    )
    lines = draw(shown, width).splitlines()
    assert len(lines) == 14
    assert max(map(len, lines)) <= width
    assert len(lines[2]) == width


@pytest.mark.parametrize("width", [40, 70, 71, 100, 130, 200])
def test_the_strip_begins_and_ends_with_its_first_and_last_second(width):
    shown = replace(view(None), strip=["angry"] + ["no speech"] * 58 + ["sad"])
    strip = draw(shown, width).splitlines()[12][10:]
    assert strip.rstrip().endswith("S")
    assert ("A" in strip) == (width >= 70)


def verdict(shown: MeterView) -> str:
    return draw(shown, 80).splitlines()[10]


def test_the_three_states_are_not_emotions():
    warming = view(None, warm_up_s=1.25)
    assert verdict(warming) == "sounds    warming up, 1.2 s to go"
    unsure = view(prediction(None, 0.4, 0.3, 0.2, 0.1))
    assert verdict(unsure) == "sounds    unsure, perhaps angry 40 %"
    silent = view(Prediction(0, 31744, State.NO_SPEECH, speech=0.0), speech_now=False)
    assert verdict(silent) == "sounds    no speech"
    assert draw(silent, 80).splitlines()[3] == "voice     no speech"
    assert "%" not in "".join(draw(silent, 80).splitlines()[5:9])
    assert draw(view(None, speech_now=None), 80).splitlines()[3] == "voice     gate off"


def test_lost_samples_are_red():
    quiet = draw(view(None), 80, color=True)
    loud = draw(view(None, health=Health(lost_samples=5)), 80, color=True)
    assert "\x1b[31m" not in quiet.splitlines()[-1]
    assert "\x1b[31m" in loud.splitlines()[-1]
    assert "lost 5 samples" in loud


def test_level_is_limited_to_the_bar():
    for level, filled in ((-120.0, 0), (-60.0, 0), (-15.0, 30), (0.0, 40), (6.0, 40)):
        line = draw(view(None, level_dbfs=level), 60).splitlines()[2]
        assert line.count("█") == filled


def test_terminals_without_blocks_get_ascii():
    out = io.StringIO()
    console = Console(file=out, width=60, color_system=None)
    shown = view(prediction("sad", 0.1, 0.1, 0.1, 0.7))
    for line in Meter(shown).lines(60, ascii_only=True):
        console.print(*[s.text for s in line], sep="", end="\n", markup=False, highlight=False)
    assert out.getvalue().isascii()
    assert "#" * 28 in out.getvalue()


def test_a_plain_line_holds_everything():
    bars = "angry 0.10  happy 0.10  neutral 0.10  sad 0.70"
    start = "    70.0 s   -30 dBFS  "
    assert plain_line(view(prediction("sad", 0.1, 0.1, 0.1, 0.7))) == (
        f"{start}sad 70 %                      {bars}"
    )
    assert plain_line(view(prediction(None, 0.1, 0.1, 0.1, 0.7))) == (
        f"{start}unsure, perhaps sad 70 %      {bars}"
    )
    assert plain_line(view(None)) == "    70.0 s   -30 dBFS  warming up"
