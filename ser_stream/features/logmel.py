"""Log-mel bands: the front end of paper 4 and of the shipped model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Frames, FramewiseExtractor
from ser_stream.features.mel import MelSpectrum, check_bands
from ser_stream.features.voice import VoiceTracker, hears_pitch
from ser_stream.typed import within
from ser_stream.types import Float32


@dataclass(frozen=True, slots=True)
class LogMelConfig:
    """Log-mel bands, left-aligned; the defaults are those of paper 4 (He et al., section 3.2).

    Attributes:
        sample_rate_hz: rate of the samples.
        n_fft: frame length in samples, and of the taper.
        hop_length: step between frames, samples.
        n_mels: mel bands.
        f_min_hz: lower edge of the lowest band.
        f_max_hz: upper edge of the highest band.
        log_floor: power below which the logarithm is held.
        taper: "hann" or "hamming", periodic.
        prosody: append three features that the paper does not have: the pitch in octaves above
            100 Hz, the periodicity, which says how reliable the pitch is, and the level
            in dBFS. They also mark voiced frames, to which the running normaliser adapts.
        a_weighted: level, pitch and periodicity are those of the A-weighted spectrum, in which a
            room's rumble and the mains' hum count for little.
        range_db: a band is held at this many dB below its frame's loudest, so that what a channel
            does not let through looks alike, however faint; 0 does not hold it.
    """

    sample_rate_hz: Annotated[int, within(1000, 48000)] = 16000
    n_fft: Annotated[int, within(16, 16384)] = 400
    hop_length: Annotated[int, within(1, 16384)] = 160
    n_mels: Annotated[int, within(1, 512)] = 40
    f_min_hz: float = 0.0
    f_max_hz: float = 8000.0
    log_floor: Annotated[float, within(1e-30, 1.0)] = 1e-10
    taper: str = "hann"
    prosody: bool = False
    a_weighted: bool = False
    range_db: Annotated[float, within(0.0, 300.0)] = 0.0

    def __post_init__(self) -> None:
        check_bands(self)
        if self.range_db < 0:
            raise ConfigError(f"need range_db >= 0, got {self.range_db}")
        if self.prosody and not hears_pitch(self.n_fft, self.sample_rate_hz):
            raise ConfigError(f"a frame of {self.n_fft} samples is too short for prosody")


class LogMelExtractor(FramewiseExtractor):
    """Compute log-mel frames of whole arrays, in dB."""

    def __init__(self, config: LogMelConfig) -> None:
        self.config = c = config
        self.sample_rate_hz, self.hop_length = c.sample_rate_hz, c.hop_length
        self.frame_length, self.width = c.n_fft, c.n_mels + (3 if c.prosody else 0)
        self.bands = c.n_mels
        self._spectrum = spectrum = MelSpectrum(c, c.a_weighted, c.range_db)
        self._voice = None
        if c.prosody:
            self._voice = VoiceTracker(c.sample_rate_hz, spectrum.taper, spectrum.weights)
        # A band moves as many dB as the recording, and so does the level.
        self.gain = np.ones(self.width, dtype=np.float32)
        if c.prosody:
            self.gain[-3:-1] = 0.0

    def analyse(self, frames: Float32) -> Frames:
        """Log-mels, and prosody if configured, of float32 ``frames`` (n, n_fft)."""
        power = self._spectrum.power(frames)
        mel, level = self._spectrum.log_mel(power), self._spectrum.level_db(power)
        if self._voice is None:
            return Frames(mel, level, np.ones(len(power), dtype=np.float32))
        octaves, periodicity = self._voice.octaves_and_periodicity(power)
        return Frames(np.column_stack([mel, octaves, periodicity, level]), level, periodicity)
