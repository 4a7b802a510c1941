"""How a stream is listened to, and the one place that assembles what does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ser_stream.audio.resample import StreamingResampler
from ser_stream.features.normalizer import NormalizerState
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.embedder import SpeakerEmbedder
from ser_stream.models.profile import Profile
from ser_stream.models.settings import LIVE_HOP_S, SmoothingConfig
from ser_stream.stream.detector import SpeechDetector
from ser_stream.stream.engine import Engine, EngineConfig
from ser_stream.stream.session import Session, Sink, Tap
from ser_stream.types import AudioSource, Prediction
from ser_stream.words.live import WordTap
from ser_stream.words.reader import WordReader


@dataclass(frozen=True, slots=True)
class Listening:
    """A model and what was chosen beside it; a value, without any state of a stream.

    Two are equal if they score recordings alike.

    >>> import numpy as np
    >>> from ser_stream.audio.sources import ArraySource
    >>> from ser_stream.models.bundle import ModelBundle
    >>> from ser_stream.stream.listening import Listening, predictions_of
    >>> listening = Listening(ModelBundle.load(), hop_s=0.5)
    >>> source = ArraySource(np.zeros(3 * 44100, np.float32), 44100)
    >>> {str(p.state) for p in predictions_of(listening.engine(), source)}
    {'no speech'}

    Attributes:
        bundle: the model.
        hop_s: step between predictions; None takes `LIVE_HOP_S` in a session, and the bundle's
            default elsewhere.
        smoothing: belief and hysteresis; None takes the bundle's defaults.
        gate: whether windows without speech are left out.
        normalizer: state of the normaliser; None takes the one that the model was trained for.
        profile: the speaker's neutral voice, in place of the stream's statistics.
        voice: evidence about the speaker from earlier streams, to begin with.
        reader: vectors of words, for models that read some.
        embedder: of speakers, for models that take embeddings.
        open_words: makes what listens for words in a session, from its source's rate in Hz.
    """

    bundle: ModelBundle
    hop_s: float | None = None
    smoothing: SmoothingConfig | None = None
    gate: bool = True
    normalizer: NormalizerState | None = None
    profile: Profile | None = None
    voice: Profile | None = None
    reader: WordReader | None = None
    embedder: SpeakerEmbedder | None = None
    open_words: Callable[[int], WordTap] | None = field(default=None, compare=False)

    def engine(self, detector: SpeechDetector | None = None) -> Engine:
        """Make an engine; ``detector`` as in `Engine`.

        Raises:
            ConfigError: a value is out of range, or the embedder is not the model's.
            ProfileError: the profile is of no use to the model.
        """
        config = EngineConfig(
            self.hop_s, self.smoothing, self.gate, self.normalizer, self.profile, self.voice
        )
        return Engine(self.bundle, config, detector, self.reader, self.embedder)

    def session(
        self,
        source: AudioSource,
        sinks: Sequence[Sink] = (),
        duration_s: float | None = None,
        taps: Sequence[Tap] = (),
    ) -> Session:
        """Make a session over a source that has been entered; arguments as in `Session`.

        Raises:
            ConfigError: see `engine`.
            ProfileError: see `engine`.
            AsrError: what is to listen for words does not load.
        """
        hop_s = LIVE_HOP_S if self.hop_s is None else self.hop_s
        engine = replace(self, hop_s=hop_s).engine()
        words = None if self.open_words is None else self.open_words(source.sample_rate_hz)
        return Session(source, engine, sinks, duration_s, taps=taps, words=words)


def feed_source(engine: Engine, source: AudioSource) -> Iterator[tuple[list[Prediction], float]]:
    """Push a whole source through ``engine``, which is flushed at its end but not reset before.

    Yields:
        For each block of the source the predictions that it completes and the seconds read so far;
        at last what the end completes.

    Raises:
        AudioError: the source cannot be read, or gives samples that are not usable.
        BundleError: the model gives NaN or infinity.
    """
    rate = source.sample_rate_hz
    resampler = StreamingResampler(rate, engine.bundle.meta.sample_rate_hz)
    read_s = 0.0
    for block in source:
        read_s = block.end / rate
        yield engine.feed(resampler.push(block)), read_s
    yield engine.feed(resampler.flush()) + engine.flush(), read_s


def predictions_of(engine: Engine, source: AudioSource) -> list[Prediction]:
    """All predictions of a source; see `feed_source`."""
    return [prediction for found, _ in feed_source(engine, source) for prediction in found]
