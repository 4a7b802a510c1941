"""Speech recognisers, and the tap that runs one beside a session."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ser_stream.stream.engine import Engine
from ser_stream.stream.session import Session
from ser_stream.types import AudioBlock, Word
from ser_stream.words.live import WordTap
from ser_stream.words.recognizers import (
    AsrError,
    PocketsphinxAsr,
    SherpaAsr,
    make_asr,
    words_of_tokens,
)
from tests.helpers.fed_source import FedSource

RATE_HZ = 16000
WORD = 1600
LONG_S = 30.0


class TenthsAsr:
    """Writes the value of every full tenth of a second as a word; the newest two may change."""

    name = "scripted"

    def __init__(self) -> None:
        self.resets = 0
        self.accepting = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.raises: Exception | None = None
        self.reset()

    def accept(self, samples: np.ndarray) -> None:
        self.accepting.set()
        assert self.may_go_on.wait(LONG_S)
        if self.raises is not None:
            raise self.raises
        assert samples.dtype == np.float32
        self.heard = np.concatenate([self.heard, samples])

    def words(self) -> list[Word]:
        tenths = self.heard[: len(self.heard) // WORD * WORD].reshape(-1, WORD)
        words = [
            Word(f"{x.mean():.1f}", i / 10, (i + 1) / 10)
            for i, x in enumerate(tenths.astype(float))
        ]
        open_ones = [Word("?", w.start_s, w.end_s) for w in words[self.settled :]]
        return words[: self.settled] + open_ones

    @property
    def settled(self) -> int:
        n = len(self.heard) // WORD
        return n if self.flushed else max(0, n - 2)

    def flush(self) -> None:
        self.flushed = True

    def reset(self) -> None:
        self.resets += 1
        self.heard = np.zeros(0, np.float32)
        self.flushed = False


def said(words: list[Word]) -> list[tuple[str, float]]:
    return [(w.text, round(w.start_s, 3)) for w in words]


def block(start: int, n: int = WORD, value: float = 0.5, gap: bool = False) -> AudioBlock:
    return AudioBlock(np.full(n, value, np.float32), start, gap)


@hypothesis_settings(max_examples=30)
@given(st.lists(st.integers(1, 10 * WORD - 1), max_size=8, unique=True), st.integers(0, 10**9))
def test_words_are_the_same_however_the_stream_is_cut(cuts, start):
    samples = np.repeat(np.arange(10, dtype=np.float32) / 10, WORD)
    tap = WordTap(TenthsAsr(), RATE_HZ, max_lag_s=LONG_S)
    for a, b in itertools.pairwise([0, *sorted(cuts), len(samples)]):
        tap.hear(AudioBlock(samples[a:b], start + a))
    tap.close(LONG_S)
    assert tap.error is None
    assert tap.lag_s == 0.0
    assert said(tap.words()) == [
        (f"{i / 10:.1f}", round(start / RATE_HZ + i / 10, 3)) for i in range(10)
    ]


def test_words_past_the_settled_ones_may_change():
    tap = WordTap(TenthsAsr(), RATE_HZ, patient=True)
    for i in range(3):
        tap.hear(block(i * WORD, value=i / 10))
    assert said(tap.words()) == [("0.0", 0.0), ("?", 0.1), ("?", 0.2)]
    tap.close(LONG_S)
    assert said(tap.words()) == [("0.0", 0.0), ("0.1", 0.1), ("0.2", 0.2)]


@pytest.mark.parametrize("told", [True, False])
def test_after_a_hole_words_start_anew_at_the_time_of_the_stream(told):
    asr = TenthsAsr()
    tap = WordTap(asr, RATE_HZ)
    # One word and a half; what follows the hole does not complete the half.
    tap.hear(block(0, 2400, 0.1))
    tap.hear(block(80000, 2400, 0.2, gap=told))
    tap.hear(block(82400, 800, 0.2))
    tap.close(LONG_S)
    assert said(tap.words()) == [("0.1", 0.0), ("0.2", 5.0), ("0.2", 5.1)]
    assert asr.resets == 3  # its own, the start, the hole


@pytest.mark.parametrize("rate_hz", [8000, 44100, 48000])
def test_sound_of_any_rate_is_heard_whole_before_a_hole_and_at_the_end(rate_hz):
    asr = TenthsAsr()
    tap = WordTap(asr, rate_hz)
    second = np.full(rate_hz, 0.3, np.float32)
    tap.hear(AudioBlock(second, 0))
    tap.hear(AudioBlock(second, 3 * rate_hz, gap=True))
    tap.close(LONG_S)
    starts = [w.start_s for w in tap.words()]
    np.testing.assert_allclose(
        starts, [*np.arange(10) / 10, *(3 + np.arange(10) / 10)], atol=2 / RATE_HZ
    )
    assert {w.text for w in tap.words()} == {"0.3"}


def test_words_between_goes_by_the_middle():
    tap = WordTap(TenthsAsr(), RATE_HZ, max_lag_s=LONG_S)
    for i in range(100):
        tap.hear(block(i * WORD, value=(i % 10) / 10))
    tap.close(LONG_S)
    assert said(tap.words_between(8.05, 8.25)) == [("0.0", 8.0), ("0.1", 8.1)]
    assert said(tap.words_between(8.0501, 8.2501)) == [("0.1", 8.1), ("0.2", 8.2)]
    assert tap.words_between(20.0, 30.0) == []


def test_a_slow_recogniser_loses_sound_and_holds_nothing_up():
    asr = TenthsAsr()
    asr.may_go_on.clear()
    tap = WordTap(asr, RATE_HZ, max_lag_s=0.5)
    tap.hear(block(0, value=0.1))
    assert asr.accepting.wait(LONG_S)
    for i in range(1, 5):
        tap.hear(block(i * WORD, value=0.1))
    assert tap.lag_s == pytest.approx(0.5)
    assert tap.lost_s == 0.0
    tap.hear(block(5 * WORD, value=0.9))
    assert tap.lag_s == pytest.approx(0.2)  # what is being recognised, and the newest
    assert tap.lost_s == pytest.approx(0.4)
    asr.may_go_on.set()
    tap.close(LONG_S)
    assert tap.error is None
    assert said(tap.words()) == [("0.1", 0.0), ("0.9", 0.5)]
    assert asr.resets == 3


def test_a_recogniser_that_is_too_slow_again_and_again_is_given_up():
    asr = TenthsAsr()
    asr.may_go_on.clear()
    tap = WordTap(asr, RATE_HZ, max_lag_s=0.5)
    tap.hear(block(0))
    assert asr.accepting.wait(LONG_S)
    for i in range(1, 100):
        tap.hear(block(i * WORD))
        assert tap.lag_s <= 0.5
    assert not tap.running
    assert "too slow" in str(tap.error)
    assert tap.lag_s == 0.0
    asr.may_go_on.set()
    tap.close(LONG_S)
    assert tap.lost_s == pytest.approx(1.2)  # then it was not asked any more


def test_overloads_far_apart_are_forgiven():
    asr = TenthsAsr()
    asr.may_go_on.clear()
    tap = WordTap(asr, RATE_HZ, max_lag_s=0.5)
    tap.hear(block(0))
    assert asr.accepting.wait(LONG_S)
    for minute in range(5):
        for i in range(1, 6):
            tap.hear(block(minute * 70 * RATE_HZ + i * WORD))
    assert tap.running
    assert tap.lost_s > 1.2  # more than what three overloads lose
    asr.may_go_on.set()
    tap.close(LONG_S)
    assert tap.error is None


def test_a_long_block_is_no_overload():
    tap = WordTap(TenthsAsr(), RATE_HZ, max_lag_s=0.5)
    tap.hear(block(0, 10 * WORD))
    tap.close(LONG_S)
    assert len(tap.words()) == 10
    assert tap.lost_s == 0.0


def test_a_patient_tap_loses_nothing():
    tap = WordTap(TenthsAsr(), RATE_HZ, max_lag_s=0.1, patient=True)
    for i in range(50):
        tap.hear(block(i * WORD, value=0.2))
        assert tap.lag_s == 0.0
    tap.close(LONG_S)
    assert len(tap.words()) == 50


@pytest.mark.parametrize("patient", [True, False])
def test_a_recogniser_that_fails_leaves_its_words_and_the_reason(patient):
    asr = TenthsAsr()
    tap = WordTap(asr, RATE_HZ, patient=True)
    for i in range(4):
        tap.hear(block(i * WORD, value=0.4))
    asr.raises = ZeroDivisionError("a bug")
    tap._patient = patient
    for i in range(4, 8):
        tap.hear(block(i * WORD, value=0.4))
    tap.close(LONG_S)
    assert not tap.running
    assert str(tap.error) == "scripted failed: a bug"
    assert isinstance(tap.error.__cause__, ZeroDivisionError)
    assert said(tap.words())[:2] == [("0.4", 0.0), ("0.4", 0.1)]
    assert tap.lag_s == 0.0


def test_closing_does_not_wait_for_a_recogniser_that_hangs():
    asr = TenthsAsr()
    asr.may_go_on.clear()
    tap = WordTap(asr, RATE_HZ)
    tap.hear(block(0))
    tap.hear(block(WORD))
    assert asr.accepting.wait(LONG_S)
    tap.close(timeout_s=0.0)
    assert not tap.running
    tap.hear(block(2 * WORD))
    asr.may_go_on.set()
    assert tap._ended.wait(LONG_S)
    assert len(asr.heard) == WORD  # the second block was left


def test_closing_before_the_first_block_and_twice():
    tap = WordTap(TenthsAsr(), RATE_HZ)
    tap.close(LONG_S)
    tap.close(LONG_S)
    assert tap.words() == []
    assert tap.error is None


def test_the_meter_goes_on_when_the_recogniser_fails(bundle):
    asr = TenthsAsr()
    asr.raises = RuntimeError("a bug")
    source = FedSource()
    tap = WordTap(asr, RATE_HZ)
    session = Session(source, Engine(bundle), taps=(tap,))
    with source:
        session.start()
        source.feed(np.random.default_rng(0).normal(0, 0.1, 3 * RATE_HZ))
        source.end()
        assert session.wait(LONG_S)
    assert session.error is None
    assert session.snapshot.prediction is not None
    assert str(tap.error) == "scripted failed: a bug"


def test_tokens_become_words():
    tokens = ["\u2581HEL", "LO", " WO", "R", "LD", " ", "A"]
    times = [0.0, 0.12, 0.2, 0.3, 0.4, 1.0, 1.04]
    assert words_of_tokens(tokens, times, 0.2) == [
        Word("hello", 0.0, 0.2),
        Word("world", 0.2, pytest.approx(0.6)),
        Word("a", 1.0, 1.24),
    ]
    assert words_of_tokens([], [], 0.2) == []


def test_a_recogniser_that_does_not_exist():
    with pytest.raises(AsrError, match="no such recogniser; use pocketsphinx, or the folder"):
        make_asr("whisper")


@pytest.mark.parametrize("missing", ["tokens.txt", "encoder", "decoder", "joiner"])
def test_a_folder_with_a_missing_file_names_it(tmp_path, missing):
    for part in ("encoder", "decoder", "joiner"):
        (tmp_path / f"{part}-1.int8.onnx").touch()
    (tmp_path / "tokens.txt").touch()
    next(tmp_path.glob(f"{missing}*")).unlink()
    with pytest.raises(AsrError, match=f"no {missing}"):
        make_asr(str(tmp_path))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(AsrError, match="pip install pocketsphinx"):
        make_asr("pocketsphinx")


def test_listening_loads_no_recogniser():
    code = (
        "import sys, ser_stream.words.live;"
        "print({'pocketsphinx', 'sherpa_onnx'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"


@pytest.fixture(scope="module")
def pocketsphinx() -> PocketsphinxAsr:
    pytest.importorskip("pocketsphinx")
    return PocketsphinxAsr()


def test_pocketsphinx_hears_what_the_demo_says(pocketsphinx, speech, capsys):
    pocketsphinx.reset()
    began = time.process_time()
    for piece in np.array_split(speech, 330):
        pocketsphinx.accept(piece)
    before_flush = pocketsphinx.words()
    settled = pocketsphinx.settled
    pocketsphinx.flush()
    factor = (time.process_time() - began) / (len(speech) / RATE_HZ)
    words = pocketsphinx.words()
    with capsys.disabled():
        sys.stdout.write(f"\nreal-time factor {factor:.2f}: {' '.join(w.text for w in words)}\n")
    assert words[:settled] == before_flush[:settled]
    assert pocketsphinx.settled == len(words)
    # It gets few words of the demo right; of the last sentence most.
    assert {"thank", "you"} <= {w.text for w in words if w.start_s > 29}
    assert all(w.text.replace("'", "").isalpha() for w in words)
    assert factor < 1.0
    # Words follow each other, and lie where there is sound.
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in itertools.pairwise(words))
    assert all(0.05 < w.end_s - w.start_s < 2.0 for w in words)
    loud = [np.abs(speech[int(w.start_s * RATE_HZ) : int(w.end_s * RATE_HZ)]).max() for w in words]
    assert min(loud) > 10 * np.abs(speech[: RATE_HZ // 2]).max()


def test_pocketsphinx_gives_the_same_words_however_the_sound_is_cut(pocketsphinx, speech):
    x = speech[29 * RATE_HZ :]
    heard = []
    for n in (1, 17, 1000):
        pocketsphinx.reset()
        for piece in np.array_split(x, n):
            pocketsphinx.accept(piece)
        pocketsphinx.flush()
        heard.append(pocketsphinx.words())
    assert heard[0] == heard[1] == heard[2] != []


def test_pocketsphinx_shows_words_before_they_settle(pocketsphinx, speech):
    pocketsphinx.reset()
    # "Thank you for listening" is being said.
    pocketsphinx.accept(speech[30 * RATE_HZ : int(31.7 * RATE_HZ)])
    assert pocketsphinx.settled == 0
    assert len(pocketsphinx.words()) >= 2
    pocketsphinx.accept(speech[int(31.7 * RATE_HZ) :])
    assert pocketsphinx.settled >= 2


def test_a_long_utterance_of_pocketsphinx_is_cut(speech):
    pytest.importorskip("pocketsphinx")
    asr = PocketsphinxAsr(longest_s=1.0)
    asr.accept(speech[int(0.5 * RATE_HZ) : 4 * RATE_HZ])
    assert asr.settled >= 2
    asr.flush()
    words = asr.words()
    assert all(a.end_s <= b.start_s + 0.02 for a, b in itertools.pairwise(words))
    assert words[-1].end_s <= 3.5


@pytest.mark.parametrize("whole", [False, True])
def test_a_stream_of_pocketsphinx_may_end_anywhere_in_speech(speech, whole):
    pytest.importorskip("pocketsphinx")
    asr = PocketsphinxAsr(whole=whole)
    frame = asr._frame
    for n in (50 * frame, 50 * frame + 1, 51 * frame - 1):
        asr.reset()
        asr.accept(speech[RATE_HZ : RATE_HZ + n])
        asr.flush()
        assert asr.settled == len(asr.words()) > 0


def test_whole_utterances_are_heard_to_their_end(speech):
    pytest.importorskip("pocketsphinx")
    asr = PocketsphinxAsr(whole=True)
    for piece in np.array_split(speech[29 * RATE_HZ :], 50):
        asr.accept(piece)
        assert asr.settled == len(asr.words())
    asr.flush()
    words = asr.words()
    assert len(words) >= 3
    assert words[-1].end_s <= len(speech) / RATE_HZ - 29
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in itertools.pairwise(words))


def test_pocketsphinx_hears_nothing_in_silence(pocketsphinx):
    pocketsphinx.reset()
    pocketsphinx.accept(np.zeros(3 * RATE_HZ, np.float32))
    pocketsphinx.flush()
    assert pocketsphinx.words() == []


def write_transducer(folder: Path) -> None:
    """A transducer that writes " HI" where sound begins and "B" where it ends."""
    onnx = pytest.importorskip("onnx")
    h, numpy_helper, float_, int_ = onnx.helper, onnx.numpy_helper, 1, 7

    def save(name, nodes, inputs, outputs, constants, metadata):
        graph = h.make_graph(
            [h.make_node(*n[:3], **(n[3] if len(n) > 3 else {})) for n in nodes],
            name,
            [h.make_tensor_value_info(n, t, s) for n, t, s in inputs],
            [h.make_tensor_value_info(n, t, s) for n, t, s in outputs],
            [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()],
        )
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8)
        h.set_model_props(model, {k: str(v) for k, v in metadata.items()})
        onnx.save(model, folder / f"{name}-epoch-1.onnx")

    state = [1, "N", 1]
    save(
        "encoder",
        [
            ("ReduceMean", ["x"], ["mean"], {"axes": [1, 2], "keepdims": 1}),
            ("Add", ["mean", "threshold"], ["encoder_out"]),
            ("Identity", ["h"], ["next_h"]),
            ("Identity", ["c"], ["next_c"]),
        ],
        [("x", float_, ["N", 9, 80]), ("h", float_, state), ("c", float_, state)],
        [
            ("encoder_out", float_, ["N", 1, 1]),
            ("next_h", float_, state),
            ("next_c", float_, state),
        ],
        {"threshold": np.float32(8.0)},
        {
            "model_type": "lstm", "num_encoder_layers": 1, "T": 9, "decode_chunk_len": 4,
            "rnn_hidden_size": 1, "d_model": 1,
        },
    )  # fmt: skip
    save(
        "decoder",
        [
            ("Slice", ["y", "one", "two", "one"], ["last"]),
            ("Equal", ["last", "one"], ["is_hi"]),
            ("Cast", ["is_hi"], ["decoder_out"], {"to": float_}),
        ],
        [("y", int_, ["N", 2])],
        [("decoder_out", float_, ["N", 1])],
        {"one": np.array([1]), "two": np.array([2])},
        {"context_size": 2, "vocab_size": 3},
    )
    save(
        "joiner",
        [
            ("MatMul", ["encoder_out", "by_sound"], ["a"]),
            ("MatMul", ["decoder_out", "by_last"], ["b"]),
            ("Add", ["a", "b"], ["ab"]),
            ("Add", ["ab", "bias"], ["logit"]),
        ],
        [("encoder_out", float_, ["N", 1]), ("decoder_out", float_, ["N", 1])],
        [("logit", float_, ["N", 3])],
        {
            "by_sound": np.array([[0, 1, -1]], np.float32),
            "by_last": np.array([[0, -1000, 1000]], np.float32),
            "bias": np.array([0, 0, -1000], np.float32),
        },
        {"joiner_dim": 1},
    )
    (folder / "tokens.txt").write_text("<blk> 0\n\u2581HI 1\nB 2\n", encoding="utf-8")


def test_sherpa_runs_a_transducer(tmp_path):
    pytest.importorskip("sherpa_onnx")
    write_transducer(tmp_path)
    asr = make_asr(str(tmp_path))
    assert isinstance(asr, SherpaAsr)
    assert asr.name == f"sherpa-onnx {tmp_path.name}"
    rng = np.random.default_rng(0)
    x = np.zeros(11 * RATE_HZ, np.float32)
    # The long pause ends a segment; times go on.
    bursts = [(0.5, 0.9), (1.3, 1.5), (5.0, 5.4), (5.8, 6.0), (10.0, 10.4)]
    for a, b in bursts:
        x[int(a * RATE_HZ) : int(b * RATE_HZ)] = rng.normal(0, 0.3, round((b - a) * RATE_HZ))
    for n in (1, 100):
        asr.reset()
        for piece in np.array_split(x, n):
            asr.accept(piece)
        assert asr.settled == 4
        asr.flush()
        words = asr.words()
        assert asr.settled == len(words) == 5
        assert [w.text for w in words] == ["hib"] * 5
        np.testing.assert_allclose([w.start_s for w in words], [a for a, _ in bursts], atol=0.1)
        np.testing.assert_allclose(
            [w.end_s for w in words], [b + SherpaAsr.TOKEN_S for _, b in bursts], atol=0.1
        )


def test_a_model_that_sherpa_cannot_load(tmp_path):
    pytest.importorskip("sherpa_onnx")
    for name in ("encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt"):
        (tmp_path / name).write_text("rubbish")
    with pytest.raises(AsrError):
        SherpaAsr(tmp_path)
