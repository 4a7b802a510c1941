"""A stream of samples as frames, each computed once; frames as windows."""

from __future__ import annotations

import numpy as np

from ser_stream.features.extractor import Extractor, Frames, full_frames
from ser_stream.features.ring import RingBuffer
from ser_stream.types import Float32


def repeat_to(features: Float32, n: int) -> Float32:
    """Repeat (frames, features) cyclically until there are ``n`` frames; cut what is over.

    An utterance shorter than the window is presented so, in training and at run time: silence
    would be unlike all training data.
    """
    if len(features) == 0:
        raise ValueError("no frame to repeat")
    return features[np.arange(n) % len(features)]


class FrameStream:
    """Compute the frames of a stream as its samples come, with the context that they declare.

    Args:
        extractor: the per-frame stage; stateless.
        capacity: frames whose features stay available behind the newest.
        max_samples: most samples that are computed at once; longer blocks are taken in parts.
        piece: compute this many frames at a time, the first ones from the stream's start, so that
            values do not depend on how blocks are cut to the last bit, and up to ``piece`` - 1
            frames later; 0 computes what there is.
    """

    def __init__(
        self, extractor: Extractor, capacity: int, max_samples: int, piece: int = 0
    ) -> None:
        self.extractor = extractor
        self.max_samples = max_samples
        self._hop = extractor.hop_length
        self._piece = piece
        self._audio = RingBuffer(extractor.frame_length + max_samples + piece * self._hop)
        self._features = RingBuffer(capacity, extractor.width)
        # Frames before they see their context, with level and periodicity behind them.
        self._looks_around = extractor.look_back > 0 or extractor.look_ahead > 0
        most = max_samples // self._hop + 1 + piece
        self._base = RingBuffer(
            extractor.look_back + extractor.look_ahead + extractor.shortest + most,
            extractor.base_width + 2,
        )
        self._computed = 0

    @property
    def frames_ready(self) -> int:
        """Frames computed since the last restart; the newest one's index is one less."""
        return self._features.end

    def accept(self, samples: Float32) -> Frames:
        """Take the next samples, float32 (n,); return the frames that they complete."""
        parts = [
            frames
            for i in range(0, len(samples), self.max_samples)
            for frames in self._accept(samples[i : i + self.max_samples])
        ]
        return Frames.join(parts) if parts else Frames.none(self.extractor.width)

    def window(self, first: int, n: int) -> Float32:
        """Features of frames [first, first + n), a view (n, width) until the next `accept`.

        Raises:
            IndexError: the frames are gone, or not there yet.
        """
        return self._features.window(first, n)

    def restart(self) -> None:
        """Drop audio and frames, because what follows does not continue them."""
        self._audio.reset()
        self._base.reset()
        self._computed = 0
        self._features.reset()

    def _accept(self, samples: Float32) -> list[Frames]:
        self._audio.push(samples)
        found: list[Frames] = []
        e = self.extractor
        while True:
            first = self._computed * self._hop
            n = full_frames(self._audio.end - first, e.frame_length, self._hop)
            if n < max(1, self._piece):
                return found
            n = self._piece or n
            length = (n - 1) * self._hop + e.frame_length
            frames = e.frames_of(self._audio.window(first, length))
            self._computed += n
            if self._looks_around:
                frames = self._in_context(frames)
            if len(frames):
                self._features.push(frames.features)
                found.append(frames)

    def _in_context(self, new: Frames) -> Frames:
        extractor, base = self.extractor, self._base
        base.push(np.column_stack([new.features, new.level_db, new.periodicity]))
        first = self.frames_ready
        skip = min(first, extractor.look_back)
        rows = base.window(first - skip, base.end - first + skip)
        features = extractor.in_context(rows[:, :-2], skip)
        own = rows[skip : skip + len(features), -2:].copy()
        return Frames(features, own[:, 0], own[:, 1])
