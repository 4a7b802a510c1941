"""Who speaks, along a stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import AudioError, ConfigError
from ser_stream.features.extractor import Frames
from ser_stream.features.framing import FrameStream
from ser_stream.features.ring import RingBuffer
from ser_stream.models.embedder import SpeakerEmbedder
from ser_stream.types import Float32

# Frames that a tracker computes at a time, and most samples.
PIECE_FRAMES = 8
PIECE_SAMPLES = 8192


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """How an embedding follows a stream.

    Attributes:
        memory_s: newest seconds of voiced speech that it is of.
        update_s: new voiced speech between updates.
        least_s: voiced speech before the first.
    """

    memory_s: float = 10.0
    update_s: float = 0.5
    least_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.least_s <= self.memory_s:
            raise ConfigError(f"need 0 < least_s <= memory_s, got {self.least_s}, {self.memory_s}")
        if not self.update_s > 0.0:
            raise ConfigError(f"need update_s > 0, got {self.update_s}")


class SpeakerTracker:
    """Keep one speaker's embedding up to date along a stream.

    Updates come at fixed counts of voiced frames and hold between them, through silence and over
    gaps. Frames are computed in pieces of a fixed size from the stream's start, so the embedding
    does not depend on how its blocks are cut, to the last bit.

    Args:
        embedder: shared between trackers.
        config: memory and pace.
    """

    def __init__(self, embedder: SpeakerEmbedder, config: TrackerConfig | None = None) -> None:
        config = TrackerConfig() if config is None else config
        self.embedder = embedder
        rate = embedder.frames_per_s
        self._least = max(embedder.meta.least_frames, round(config.least_s * rate))
        self._update = max(1, round(config.update_s * rate))
        self._memory = RingBuffer(
            max(self._least, round(config.memory_s * rate)), embedder.extractor.width
        )
        self._frames = FrameStream(embedder.extractor, PIECE_FRAMES, PIECE_SAMPLES, PIECE_FRAMES)
        self.reset()

    @property
    def embedding(self) -> Float32:
        """Newest embedding, float32 (dimension,) of length 1; zeros without evidence."""
        return self._embedding

    @property
    def heard_s(self) -> float:
        """Voiced speech since the reset."""
        return self._memory.end / self.embedder.frames_per_s

    def accept(self, samples: Float32, speech: NDArray[np.bool_] | None = None) -> None:
        """Take the next samples, float32 (n,) at the front end's rate.

        Args:
            samples: consecutive to those before; `restart` first if they are not.
            speech: flags (n,) of a speech detector. A frame whose middle is none counts as
                unvoiced, however periodic it is; without, all of it may be speech.

        Raises:
            AudioError: a sample is not finite, or there is another number of flags.
        """
        if not np.isfinite(samples).all():
            raise AudioError("block holds NaN or infinite samples")
        flags = np.ones(len(samples), dtype=np.bool_) if speech is None else speech
        if len(flags) != len(samples):
            raise AudioError(f"{len(flags)} speech flags for {len(samples)} samples")
        self._speech = np.concatenate([self._speech, flags])
        e = self.embedder.extractor
        first = self._frames.frames_ready
        frames = self._frames.accept(np.ascontiguousarray(samples, dtype=np.float32))
        middle = np.arange(first, first + len(frames)) * e.hop_length + e.frame_length // 2
        self.accept_frames(frames, self._speech[middle - self._speech_start])
        # What lies before the middle of the next frame is over.
        done = (first + len(frames)) * e.hop_length - self._speech_start
        self._speech, self._speech_start = self._speech[done:], self._speech_start + done

    def accept_frames(self, frames: Frames, speech: NDArray[np.bool_] | None = None) -> None:
        """Take the next frames of the embedder's front end, instead of samples.

        ``speech`` (frames,) as in `accept`.
        """
        meta, rate = self.embedder.meta, self.embedder.frames_per_s
        voiced, self._loudest_db = meta.voicing.of(frames, rate, self._loudest_db)
        if speech is not None:
            voiced &= speech
        features = frames.features[voiced]
        while len(features):
            heard = self._memory.end
            due = self._least - heard
            if due <= 0:
                due = self._update - (heard - self._least) % self._update
            self._memory.push(features[:due])
            if len(features) >= due:
                memory = self._memory
                self._embedding = self.embedder.embed(
                    memory.window(memory.start, memory.end - memory.start)
                )
            features = features[due:]

    def restart(self) -> None:
        """Drop what has no full frame yet, because what follows does not continue it."""
        self._frames.restart()
        # Flags from sample `_speech_start` of the stream on.
        self._speech = np.zeros(0, dtype=np.bool_)
        self._speech_start = 0

    def reset(self) -> None:
        """Drop the stream and the speaker."""
        self.restart()
        self._loudest_db = -np.inf
        self._memory.reset()
        self._embedding = self.embedder.nobody()
