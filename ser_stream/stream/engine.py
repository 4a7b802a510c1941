"""The pure streaming engine: samples in, predictions out; no thread, no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import AudioError, BundleError, ConfigError
from ser_stream.features.extractor import Frames, full_frames
from ser_stream.features.frontend import FrontEnd
from ser_stream.features.normalizer import Moments, NormalizerState
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.embedder import SpeakerEmbedder, check_embedder
from ser_stream.models.inputs import Inputs, stacked
from ser_stream.models.profile import Profile, check_adapts, check_profiles
from ser_stream.models.settings import GateConfig, SmoothingConfig
from ser_stream.stream.detector import SileroDetector, SpeechDetector
from ser_stream.stream.gate import SpeechGate
from ser_stream.stream.smoothing import Smoother
from ser_stream.stream.speaker_tracker import SpeakerTracker
from ser_stream.types import AudioBlock, Float32, Prediction, State, Word
from ser_stream.words.reader import WordReader, WordSource

# Blocks are taken in pieces of this size, so that memory does not grow with the block.
MAX_PIECE = 8192
# The least audio that `Engine.flush` makes a prediction from.
MIN_FLUSH_S = 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """Where a window lies after the stream's base, its share of speech, and its words."""

    start: int
    end: int
    speech: float | None
    words: tuple[Word, ...] | None


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of one stream.

    Attributes:
        hop_s: step between predictions, rounded to whole frames (at least one); None takes the
            bundle's default.
        smoothing: belief and hysteresis; None takes the bundle's defaults.
        gate: settings of the speech gate; True takes the bundle's, False lets every window through.
        normalizer: state of the normaliser; None takes the one that the model was trained for.
        profile: the speaker's neutral voice, in place of the stream's statistics.
        voice: evidence about the speaker from earlier streams, to begin with.
    """

    hop_s: float | None = None
    smoothing: SmoothingConfig | None = None
    gate: GateConfig | bool = True
    normalizer: NormalizerState | None = None
    profile: Profile | None = None
    voice: Profile | None = None

    def __post_init__(self) -> None:
        if self.profile is not None and self.normalizer not in (None, NormalizerState.RUNNING):
            raise ConfigError(f"a profile is of no use in the state {self.normalizer}")
        if self.hop_s is not None and not 0.0 < self.hop_s <= 60.0:
            raise ConfigError(f"need 0 < hop_s <= 60, got {self.hop_s}")


class Engine:
    """Slide a window over a stream and say what each position sounds like.

    Blocks may be cut anywhere: the predictions do not depend on it. A block that does not continue
    the one before it (``gap``, or a start ahead of the stream) restarts features, gate and
    smoothing; the normaliser's statistics of the speaker stay.

    >>> import numpy as np
    >>> from ser_stream.models.bundle import ModelBundle
    >>> from ser_stream.stream.engine import Engine
    >>> from ser_stream.types import AudioBlock
    >>> engine = Engine(ModelBundle.load())
    >>> silence = np.zeros(3 * 16000, np.float32)
    >>> [(p.start, p.end, str(p.state)) for p in engine.feed(AudioBlock(silence, start=0))]
    [(0, 32000, 'no speech'), (6400, 38400, 'no speech'), (12800, 44800, 'no speech')]

    Args:
        bundle: the model; shared between engines.
        config: settings of this stream.
        detector: speech detector for the gate; Silero VAD unless given.
        reader: vectors of words, for models that read some; without it they go by the sound alone.
        embedder: a speaker embedder, for models that take embeddings; without it they get zeros.

    Attributes:
        word_source: knows the stream's words; set it before the stream begins. A window has the
            words that are known when it is full: one that comes later changes nothing said before.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        config: EngineConfig | None = None,
        detector: SpeechDetector | None = None,
        reader: WordReader | None = None,
        embedder: SpeakerEmbedder | None = None,
    ) -> None:
        config = EngineConfig() if config is None else config
        meta = bundle.meta
        if config.profile is not None:
            check_profiles(bundle)
        self.bundle = bundle
        self.profile, self.voice = config.profile, config.voice
        self.word_source: WordSource | None = None
        self._reader = reader
        self._speaker = None
        self._shares_frames = False
        if embedder is not None:
            check_embedder(bundle, embedder)
            self._speaker = SpeakerTracker(embedder)
            self._shares_frames = embedder.extractor.computes_like(bundle.extractor)
        self.smoothing = meta.smoothing if config.smoothing is None else config.smoothing
        self._hop_length = bundle.extractor.hop_length
        self._frame_length = bundle.extractor.frame_length
        self._frames = meta.window_frames
        self.hop_frames = bundle.hop_frames(config.hop_s)
        normalizer = bundle.make_normalizer(config.normalizer)
        if config.profile is not None:
            normalizer.use_profile(config.profile.moments(normalizer, 1.0 / bundle.hop_s))
        self._begins_with: Moments | None = None
        if config.voice is not None:
            check_adapts(bundle)
            self._begins_with = config.voice.moments(normalizer, 1.0 / bundle.hop_s)
            normalizer.begin_with(self._begins_with)
            normalizer.reset()
        piece_frames = MAX_PIECE // self._hop_length + 1
        self._front_end = FrontEnd(
            bundle.extractor,
            normalizer,
            capacity=self._frames + self.hop_frames + piece_frames,
            max_samples=MAX_PIECE,
        )
        self._gate = None
        if config.gate:
            self._gate = SpeechGate(
                SileroDetector() if detector is None else detector,
                meta.gate if config.gate is True else config.gate,
                capacity=bundle.window_samples
                + bundle.look_ahead_samples
                + self.hop_frames * self._hop_length
                + 2 * MAX_PIECE,
                opening=bundle.window_samples,
            )
        self._smoother = Smoother(self.smoothing)
        self._position: int | None = None
        self._restart(0)

    @property
    def hop_s(self) -> float:
        """Step between predictions in seconds, in whole frames."""
        return self.hop_frames * self.bundle.hop_s

    @property
    def profile_name(self) -> str | None:
        """Name of whose neutral or earlier voice is gone by; None of nobody's."""
        known = self.voice if self.profile is None else self.profile
        return None if known is None else known.name

    @property
    def heard(self) -> Moments:
        """What is known of the speaker from this stream, and from what it began with."""
        return self._front_end.heard

    @property
    def voiced_s(self) -> float:
        """Seconds of voiced speech since the last `reset`."""
        return self._front_end.voiced_s

    @property
    def warm_up_samples(self) -> int:
        """Samples still missing until the first window since the start or the last gap."""
        if self._next_frame > 0:
            return 0
        heard = 0 if self._position is None else self._position - self._base
        return max(0, self.bundle.window_samples + self.bundle.look_ahead_samples - heard)

    @property
    def speech_now(self) -> bool | None:
        """Whether the newest 32 ms count as speech; None without a gate."""
        gate = self._gate
        return None if gate is None else gate.probability >= gate.config.threshold

    def feed(self, block: AudioBlock) -> list[Prediction]:
        """Take the next block, mono float32 at the model's rate; return what it completes.

        Raises:
            AudioError: a sample is not usable (`AudioBlock.usable`), or the block starts before the
                stream's end.
            BundleError: the model gives NaN or infinity for such samples.
        """
        if not block.usable:
            at_s = (block.start + block.first_unusable) / self.bundle.meta.sample_rate_hz
            raise AudioError(f"NaN, infinite or huge samples at {at_s:.2f} s")
        if self._position is None or block.gap or block.start > self._position:
            self._restart(block.start)
        elif block.start < self._position:
            raise AudioError(
                f"block starts at sample {block.start}, but the stream is at {self._position}"
            )
        predictions: list[Prediction] = []
        samples = np.ascontiguousarray(block.samples, dtype=np.float32)
        for i in range(0, len(samples), MAX_PIECE):
            piece = samples[i : i + MAX_PIECE]
            if self._gate is not None:
                self._gate.accept(piece)
            frames = self._front_end.accept(piece)
            if self._shares_frames:
                self._untold_frames.append(frames)
            elif self._speaker is not None:
                self._untold_samples.append(piece)
            predictions += self._predict_ready()
        self._position = block.end
        return predictions

    def flush(self) -> list[Prediction]:
        """End the stream: audio that was too short for one window is repeated to fill it.

        Returns one prediction if at least 0.5 s came since the start or the last gap and no window
        was full, else nothing. The next block starts a new stream position.
        """
        predictions: list[Prediction] = []
        if self._position is not None:
            heard = self._position - self._base
            rate = self.bundle.meta.sample_rate_hz
            ready = self._front_end.frames_ready
            if self._next_frame == 0 and 0 < ready < self._frames and heard >= MIN_FLUSH_S * rate:
                end = (ready - 1) * self._hop_length + self._frame_length
                if self._gate is not None:
                    self._gate.end_opening()
                span = self._span(0, end)
                window = None
                if self._speaks(span):
                    features = self._front_end.repeated_window(self._frames)
                    window = self._window(features, ready - 1, span)
                predictions = self._conclude([span], [window])
        self._position = None
        return predictions

    def know(self, moments: Moments | None) -> None:
        """From the next `reset` on begin with the evidence about the speaker from other recordings.

        Args:
            moments: of a normaliser of the same bundle; None begins with the configured voice.
        """
        self._front_end.know(self._begins_with if moments is None else moments)

    def reset(self) -> None:
        """Drop the stream and its evidence about the speaker."""
        self._front_end.reset()
        if self._speaker is not None:
            self._speaker.reset()
        self._restart(0)

    def _restart(self, base: int) -> None:
        self._base = base
        self._position = base
        self._next_frame = 0
        self._front_end.restart()
        if self._gate is not None:
            self._gate.reset()
        self._smoother.reset()
        # What the speaker's tracker has not taken yet: samples from `_told` on, or, if its front
        # end is the model's own, the frames of those.
        self._told = 0
        self._untold_samples: list[Float32] = []
        self._untold_frames: list[Frames] = []
        if self._speaker is not None:
            self._speaker.restart()

    def _predict_ready(self) -> list[Prediction]:
        spans: list[Span] = []
        windows: list[Inputs | None] = []
        while self._front_end.frames_ready >= self._next_frame + self._frames:
            first = self._next_frame
            start = first * self._hop_length
            span = self._span(start, start + self.bundle.window_samples)
            window = None
            if self._speaks(span):
                features = self._front_end.window(first, self._frames)
                window = self._window(features, first + self._frames - 1, span)
            spans.append(span)
            windows.append(window)
            self._next_frame += self.hop_frames
        return self._conclude(spans, windows)

    def _span(self, start: int, end: int) -> Span:
        share = None if self._gate is None else self._gate.share(start, end)
        self._tell_speaker(end)
        words = None
        if self.word_source is not None:
            rate = self.bundle.meta.sample_rate_hz
            at, to = self._base + start, self._base + end
            words = tuple(self.word_source.words_between(at / rate, to / rate))
        return Span(start, end, share, words)

    def _tell_speaker(self, end: int) -> None:
        """Pass the stream up to ``end`` to the tracker, if there is one."""
        if self._speaker is None:
            return
        speech = None
        if self._gate is not None:
            speech = self._gate.flags(self._told, end)
            end = self._told + len(speech)
        if not self._shares_frames:
            samples = np.concatenate(self._untold_samples)
            n = end - self._told
            self._speaker.accept(samples[:n], speech)
            self._untold_samples, self._told = [samples[n:]], end
            return
        # Those that end later may be computed or not, as blocks are cut.
        n = full_frames(end - self._told, self._frame_length, self._hop_length)
        frames = Frames.join(self._untold_frames)
        middle = np.arange(n) * self._hop_length + self._frame_length // 2
        self._speaker.accept_frames(frames[:n], None if speech is None else speech[middle])
        self._untold_frames = [frames[n:]]
        self._told += n * self._hop_length

    def _speaks(self, span: Span) -> bool:
        share = span.speech
        return self._gate is None or share is None or share >= self._gate.config.min_share

    def _window(self, features: Float32, frame: int, span: Span) -> Inputs:
        """What the network is given for ``span``, whose last frame is ``frame``."""
        inputs: dict[str, NDArray[Any]] = {"features": features}
        if self.bundle.meta.embedding:
            inputs["embedding"] = self._front_end.embedding(frame)
        if self._speaker is not None:
            inputs["embedding"] = self._speaker.embedding
        if self._reader is not None:
            inputs.update(self._reader.inputs(span.words or ()))
        return inputs

    def _conclude(self, spans: list[Span], windows: list[Inputs | None]) -> list[Prediction]:
        asked = [w for w in windows if w is not None]
        answers: Iterator[tuple[Float32, Float32]] = iter(())
        if asked:
            logits = self.bundle(stacked(asked))
            if not np.isfinite(logits).all():
                at_s = (self._base + spans[0].start) / self.bundle.meta.sample_rate_hz
                raise BundleError(
                    f"{self.bundle.path}: gives NaN or infinity for the sound at {at_s:.2f} s"
                )
            answers = zip(logits, self.bundle.posterior(logits), strict=True)
        predictions = []
        for span, window in zip(spans, windows, strict=True):
            at, to = self._base + span.start, self._base + span.end
            texts = None if span.words is None else tuple(word.text for word in span.words)
            if window is None:
                self._smoother.pause(self.hop_s)
                predictions.append(
                    Prediction(at, to, State.NO_SPEECH, speech=span.speech, words=texts)
                )
                continue
            answer, posterior = next(answers)
            smoothed, index = self._smoother.update(posterior, self.hop_s)
            predictions.append(
                Prediction(
                    at,
                    to,
                    State.UNSURE if index is None else State.EMOTION,
                    None if index is None else self.bundle.meta.labels[index],
                    answer,
                    posterior,
                    smoothed,
                    span.speech,
                    texts,
                )
            )
        return predictions
