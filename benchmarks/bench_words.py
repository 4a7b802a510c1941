#!/usr/bin/env python3
"""What words cost and bring: recognised in batch and live through the virtual microphone.

    python benchmarks/bench_words.py RECORDING_OR_FOLDER... [--asr pocketsphinx] [--transcripts CSV]
        [--model FILE --vectors FILE] [--seconds 120]

Prints:

batch: sound, processor time of the recogniser per second of it, and, where transcripts are given,
    the share of words that are wrong (substituted, left out or added per word of the transcript);
live: the recordings are played one after the other into the virtual microphone of the tests
    (scripts/virtual-mic.sh start) and heard by the meter's own session: words heard, how long after
    its end each came, how late updates are, processor time per second with and without recogniser,
    blocks lost; with a model that reads words, how far its posteriors moved from those that the
    same sound has without words.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from ser_stream.audio.microphone import Microphone
from ser_stream.audio.resample import StreamingResampler
from ser_stream.audio.sound_file import FileSource
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.settings import LIVE_HOP_S
from ser_stream.scoring.find import find_audio
from ser_stream.scoring.recorder import Recorder, Recording
from ser_stream.scoring.words import recognize
from ser_stream.stream.listening import Listening, predictions_of
from ser_stream.types import Prediction, Snapshot, Word
from ser_stream.words.live import WordTap, open_listener
from ser_stream.words.reader import WordReader, open_reader
from ser_stream.words.recognizers import make_asr
from ser_stream.words.tokens import tokenize
from ser_stream.words.transcripts import read_transcripts_csv

PAUSE_S = 0.6


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Substitutions, omissions and additions between two sequences of words (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def batch(files: Sequence[Path], asr_name: str, transcripts: Path | None) -> None:
    """Recognise every file by itself."""
    asr = make_asr(asr_name, whole=True)
    table = {} if transcripts is None else read_transcripts_csv(transcripts)
    sound_s = cpu_s = 0.0
    words = wrong = 0
    for path in files:
        began = time.process_time()
        heard = recognize(path, asr)
        cpu_s += time.process_time() - began
        sound_s += FileSource(path).duration_s
        if (said := table.get(path.resolve())) is not None:
            wanted = tokenize(said.text)
            words += len(wanted)
            wrong += word_errors(wanted, tokenize(heard.text))
    print(f"batch, {asr_name}: {len(files)} files, {sound_s:.0f} s of sound")
    print(f"  processor time {cpu_s / sound_s:.3f} of real time")
    if words:
        print(f"  wrong words {wrong / words:.0%} of {words}")


class WordWatch:
    """A sink that notes when words first appear, and how late updates are."""

    def __init__(self, tap: WordTap | None) -> None:
        self._tap = tap
        self.predictions: list[Prediction] = []
        self.latencies_s: list[float] = []
        self.delays_s: list[float] = []
        self._newest_s = 0.0

    def write(self, prediction: Prediction, snapshot: Snapshot) -> None:
        self.predictions.append(prediction)
        if snapshot.health.latency_s is not None:
            self.latencies_s.append(snapshot.health.latency_s)
        if self._tap is None:
            return
        new = [w for w in self._tap.words_between(self._newest_s, np.inf) if self._is_new(w)]
        for word in new:
            self.delays_s.append(max(0.0, snapshot.position_s - word.end_s))
            self._newest_s = max(self._newest_s, word.end_s)

    def _is_new(self, word: Word) -> bool:
        return (word.start_s + word.end_s) / 2 >= self._newest_s

    def close(self) -> None:
        return None


def live(
    playlist: Path, seconds: float, bundle: ModelBundle, asr: str | None, reader: WordReader | None
) -> tuple[WordWatch, Path, float]:
    """Record ``playlist`` through the virtual microphone.

    Returns:
        What was noted, the recording, processor seconds per second.
    """
    taped = playlist.with_name(f"taped-{asr is not None}.wav")
    with Microphone("pulse") as microphone:
        tap = None if asr is None else open_listener(asr, microphone.sample_rate_hz)
        watch = WordWatch(tap)
        listening = Listening(
            bundle, reader=reader, open_words=None if tap is None else lambda rate: tap
        )
        recorder = Recorder(bundle.meta.labels, bundle.meta.sample_rate_hz)
        recorder.begin(Recording(audio=taped), microphone.sample_rate_hz, overwrite=True)
        session = listening.session(microphone, [watch, recorder], seconds, taps=[recorder])
        session.start()
        session.heard.wait(10)
        player = subprocess.Popen(["paplay", "--device=ser_mic", str(playlist)])
        cpu_s, began_s = time.process_time(), time.monotonic()
        session.wait()
        share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        player.terminate()
        player.wait()
        health = session.snapshot.health
        name = "without words" if asr is None else f"with {asr}"
        late = 1000 * np.percentile(watch.latencies_s, [50, 99])
        print(f"live, {name}: {seconds:.0f} s, {len(watch.predictions)} updates")
        print(
            f"  processor time {share:.3f} of real time; update after {late[0]:.0f} ms "
            f"(p99 {late[1]:.0f}); samples lost {health.lost_samples}"
        )
        if tap is not None:
            if tap.error is not None:
                print(f"  recogniser: {tap.error}")
            words = [w.text for w in tap.words()]
            print(f"  words {len(words)}, sound that no recogniser heard {tap.lost_s:.1f} s")
            if words:
                delay = np.percentile(watch.delays_s, [50, 95])
                print(f"  first shown {delay[0]:.2f} s after their end (p95 {delay[1]:.2f} s)")
                print(f"  they begin: {' '.join(words[:12])} ...")
    return watch, taped, share


def moved(watch: WordWatch, taped: Path, bundle: ModelBundle) -> None:
    """Compare with the same sound without words."""
    alone = predictions_of(Listening(bundle, LIVE_HOP_S).engine(), FileSource(taped))
    distances, changed = [], 0
    by_end = {p.end: p for p in alone}
    for prediction in watch.predictions:
        other = by_end.get(prediction.end)
        if other is None or prediction.posterior is None or other.posterior is None:
            continue
        if prediction.words:
            distances.append(0.5 * float(np.abs(prediction.posterior - other.posterior).sum()))
            changed += prediction.posterior.argmax() != other.posterior.argmax()
    with_words = sum(bool(p.words) for p in watch.predictions)
    print(f"  windows with words {with_words} of {len(watch.predictions)}")
    if distances:
        print(
            f"  posteriors of windows with words moved by {np.median(distances):.3f} (median, "
            f"half the L1 distance), largest {max(distances):.3f}; another class in "
            f"{changed / len(distances):.0%} of {len(distances)}"
        )


def make_playlist(files: Sequence[Path], folder: Path, seconds: float) -> Path:
    """One file of the recordings with pauses, long enough."""
    rate = 16000
    parts: list[np.ndarray] = []
    length = 0
    for path in files:
        source = FileSource(path)
        resampler = StreamingResampler(source.sample_rate_hz, rate)
        blocks = [resampler.push(block).samples for block in source] + [resampler.flush().samples]
        parts += [*blocks, np.zeros(round(PAUSE_S * rate), np.float32)]
        length = sum(len(part) for part in parts)
        if length > seconds * rate:
            break
    path = folder / "playlist.wav"
    soundfile.write(path, np.concatenate(parts), rate)
    return path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--asr", default="pocketsphinx")
    parser.add_argument("--transcripts", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--files", type=int, default=100, help="at most so many, evenly chosen")
    options = parser.parse_args()

    files = list(find_audio(options.paths))
    files = files[:: max(1, len(files) // options.files)][: options.files]
    bundle = ModelBundle.load(options.model)
    reader = open_reader(bundle, options.vectors)
    batch(files, options.asr, options.transcripts)
    with tempfile.TemporaryDirectory() as folder:
        playlist = make_playlist(files, Path(folder), options.seconds)
        live(playlist, options.seconds, bundle, None, None)
        watch, taped, _ = live(playlist, options.seconds, bundle, options.asr, reader)
        if reader is not None:
            moved(watch, taped, bundle)


if __name__ == "__main__":
    main()
