"""The mu-law spectrogram: the front end of paper 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Frames, FramewiseExtractor
from ser_stream.features.mel import ONE, TEN, TWO, taper_of
from ser_stream.typed import within
from ser_stream.types import Float32


@dataclass(frozen=True, slots=True)
class SpectrogramConfig:
    """Magnitude spectrogram of paper 3 (Li et al., section 2.1), left-aligned.

    The magnitudes of a window are scaled to [-1, 1] by its own least and largest, and then
    companded by the mu-law, equation (1).

    Attributes:
        sample_rate_hz: rate of the samples.
        frame_length: samples of a frame, and of its Hamming taper.
        hop_length: step between frames, samples.
        n_fft: length of the transform; frames are padded with zeros to it.
        n_bins: lowest bins that are kept.
        mu: of the mu-law.
        pad_frames: frames of zeros that follow a window's own: 197 frames lie within 2 s, and the
            paper's matrix has 200.
    """

    sample_rate_hz: Annotated[int, within(1000, 48000)] = 16000
    frame_length: Annotated[int, within(16, 16384)] = 640
    hop_length: Annotated[int, within(1, 16384)] = 160
    n_fft: Annotated[int, within(16, 16384)] = 1600
    n_bins: Annotated[int, within(1, 8193)] = 400
    mu: Annotated[float, within(1e-3, 1e6)] = 255.0
    pad_frames: Annotated[int, within(0, 1000)] = 3

    def __post_init__(self) -> None:
        if not 0 < self.hop_length <= self.frame_length <= self.n_fft:
            raise ConfigError(
                "need 0 < hop_length <= frame_length <= n_fft, "
                f"got {self.hop_length}, {self.frame_length}, {self.n_fft}"
            )
        if not 0 < self.n_bins <= self.n_fft // 2 + 1:
            raise ConfigError(f"need 0 < n_bins <= {self.n_fft // 2 + 1}, got {self.n_bins}")
        if self.mu <= 0 or self.pad_frames < 0:
            raise ConfigError(f"need mu > 0 and pad_frames >= 0, got {self.mu}, {self.pad_frames}")


# Far below what a sample of 24 bits leads to; the inverse of less would overflow.
NO_CONTRAST = np.float32(1e-30)


class SpectrogramExtractor(FramewiseExtractor):
    """Compute magnitude spectra, and compand them window by window."""

    def __init__(self, config: SpectrogramConfig) -> None:
        self.config = c = config
        self.sample_rate_hz, self.hop_length = c.sample_rate_hz, c.hop_length
        self.frame_length, self.width = c.frame_length, c.n_bins
        self._taper = taper_of("hamming", c.frame_length)
        self._scale = np.float32(1.0 / np.log1p(c.mu))
        self._mu = np.float32(c.mu)

    def analyse(self, frames: Float32) -> Frames:
        """Magnitudes of float32 ``frames`` (n, frame_length), features (n, n_bins)."""
        spectrum = np.fft.rfft(frames * self._taper, self.config.n_fft)[:, : self.width]
        mean_square = np.einsum("ij,ij->i", frames, frames) / np.float32(self.frame_length)
        return Frames(
            np.abs(spectrum),
            TEN * np.log10(np.maximum(mean_square, np.float32(1e-12))),
            np.ones(len(frames), dtype=np.float32),
        )

    def present(self, window: Float32) -> Float32:
        """Scale a window (frames, n_bins) to [-1, 1], compand it and pad it, float32."""
        n, width = window.shape
        x = np.zeros((n + self.config.pad_frames, width), dtype=np.float32)
        x[:n] = window
        low = x.min()
        span = x.max() - low
        if span > NO_CONTRAST:
            x -= low
            x *= TWO / span
            x -= ONE
        # A window of one value only has no contrast to expand: it stays at zero.
        else:
            x[:] = 0.0
        return mu_law(x, self._mu, self._scale)


def mu_law(x: Float32, mu: np.float32, scale: np.float32) -> Float32:
    """Compand x in [-1, 1] by ``sgn(x) ln(1 + mu |x|) / ln(1 + mu)``, scale = 1 / ln(1 + mu).

    Source: paper 3 (Li et al.), equation (1).
    """
    y = np.abs(x)
    y *= mu
    np.log1p(y, out=y)
    y *= scale
    return np.copysign(y, x)
