"""From samples to normalised windows of frames, incrementally.

Computed once per frame: features, with the context that they declare, and the normaliser's moments.
Recomputed per window: normalisation by the statistics known at the window's end, and what the front
end itself does to whole windows.
"""

from __future__ import annotations

from ser_stream.features.extractor import Extractor, Frames
from ser_stream.features.framing import FrameStream, repeat_to
from ser_stream.features.normalizer import Moments, Normalizer
from ser_stream.features.ring import RingBuffer
from ser_stream.types import Float32


class FrontEnd:
    """Compute each frame once and hand out normalised windows.

    >>> import numpy as np
    >>> from ser_stream.features.frontend import FrontEnd
    >>> from ser_stream.models.bundle import ModelBundle
    >>> bundle = ModelBundle.load()
    >>> front_end = FrontEnd(bundle.extractor, bundle.make_normalizer(), 100, 16000)
    >>> len(front_end.accept(np.zeros(16000, np.float32))), front_end.frames_ready
    (59, 59)
    >>> front_end.window(5, 20).shape
    (20, 102)

    Args:
        extractor: the per-frame stage.
        normalizer: owned by this front end from now on.
        capacity: frames that stay available behind the newest.
        max_samples: most samples that `accept` takes at once.
    """

    def __init__(
        self, extractor: Extractor, normalizer: Normalizer, capacity: int, max_samples: int
    ) -> None:
        self._extractor = extractor
        self._normalizer = normalizer
        self._max_samples = max_samples
        self._frames = FrameStream(extractor, capacity, max_samples)
        self._moments = RingBuffer(capacity, normalizer.moments_width, dtype="float64")

    @property
    def frames_ready(self) -> int:
        """Frames computed since the last reset or restart."""
        return self._frames.frames_ready

    def accept(self, samples: Float32) -> Frames:
        """Take the next samples, float32 (n,); return the frames that they complete, as computed.

        At most ``max_samples`` come at once, so that no frame is gone before it was looked at.
        """
        frames = self._frames.accept(samples)
        if len(frames):
            self._moments.push(self._normalizer.accept(frames).rows)
        return frames

    def gather(self, samples: Float32) -> None:
        """Take the next samples, float32 (n,), any number of them, for the statistics alone."""
        for i in range(0, len(samples), self._max_samples):
            self.accept(samples[i : i + self._max_samples])

    def window(self, first: int, n: int) -> Float32:
        """What the network sees of frames [first, first + n), float32 (frames, features), new.

        Raises:
            IndexError: the frames are gone, or not there yet.
        """
        return self._extractor.present(
            self._normalizer.normalize(self._frames.window(first, n), self.moments(first + n - 1))
        )

    def repeated_window(self, n: int) -> Float32:
        """All frames since the restart, fewer than ``n``, repeated cyclically to (n, features)."""
        ready = self.frames_ready
        return self._extractor.present(
            self._normalizer.normalize(
                repeat_to(self._frames.window(0, ready), n), self.moments(ready - 1)
            )
        )

    def embedding(self, frame: int) -> Float32:
        """Describe the speaker as known after ``frame``, float32 (embedding_width,)."""
        return self._normalizer.embedding(self.moments(frame))

    def moments(self, frame: int) -> Moments:
        """The moments after ``frame``, a view until the next `accept`."""
        return Moments(self._moments.window(frame, 1)[0])

    def restart(self) -> None:
        """Drop audio and frames, because what follows does not continue them; keep the speaker."""
        self._frames.restart()
        self._moments.reset()

    @property
    def heard(self) -> Moments:
        """What the normaliser knows of the speaker now; a copy."""
        return self._normalizer.now

    @property
    def voiced_s(self) -> float:
        """Seconds of voiced speech since the last `reset`."""
        return self._normalizer.voiced_s

    def know(self, moments: Moments | None) -> None:
        """From the next `reset` on begin with ``moments`` of the speaker; None with nothing."""
        self._normalizer.begin_with(moments)

    def reset(self) -> None:
        """Drop everything; of the speaker what was gathered since the last reset."""
        self.restart()
        self._normalizer.reset()
