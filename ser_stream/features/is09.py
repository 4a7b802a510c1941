"""The 32 descriptors per frame of the INTERSPEECH 2009 Emotion Challenge.

Sixteen low-level descriptors (RMS energy, 12 MFCCs, zero-crossing rate, voicing probability, F0),
smoothed over 3 frames, and the slope of each over 5. Values agree with what openSMILE 3 gives for
its configuration IS09_emotion. Only its running mean of the pitch is shortened: there it goes back
to the start of the stream, here a bounded number of frames, so that a frame's value depends on
where the frame lies and not on where the stream was cut or joined. F0 differs in rare frames.

Source: B. Schuller, S. Steidl, A. Batliner, The INTERSPEECH 2009 Emotion Challenge, Interspeech
2009; F. Eyben, M. Wöllmer, B. Schuller, openSMILE, ACM Multimedia 2010. Autocorrelation by way of
the power spectrum: P. Boersma, IFA Proceedings 17, 1993. Pitch by way of the cepstrum: A. M. Noll,
JASA 41, 1967.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ser_stream.errors import ConfigError
from ser_stream.features.extractor import Extractor, Frames, overlapping
from ser_stream.typed import within
from ser_stream.types import Float32, Float64

# Half-widths in frames of the moving average and of the regression behind the deltas.
SMOOTHING = 1
DELTA = 2
# A contour of pitches is read this many frames late, because a lone voiced frame does not count.
PITCH_CONTEXT = 2
# A pitch further than this from the running mean, relative, is replaced by the mean.
PITCH_TOLERANCE = np.float32(0.4)
# Share of a new pitch in the running mean: of a plausible one, of a replaced one.
MEAN_RATE, MEAN_RATE_OUTLIER = np.float32(0.3), np.float32(0.1)
# A cepstral peak counts above this share of the sum of the largest value and the mean magnitude.
PEAK_SHARE = np.float32(0.6)
# The reference reads 16-bit samples as n / 32767 where the rest of this package has n / 32768.
FULL_SCALE = 32768 / 32767
# Mel magnitudes are those of 16-bit integers, floored at 1 (HTK's convention).
INTEGER_SCALE = 32767.0
LEVEL_FLOOR = np.float32(1e-12)
# Below every power that 16-bit samples can have; keeps silence from dividing by zero.
SILENCE = np.float32(1e-30)
# Frames that are transformed together: their spectra stay in a processor's cache.
BLOCK = 128
# Scalars that leave float32 arrays float32.
ZERO, HALF, ONE, TWO, THREE, TEN = (np.float32(v) for v in (0.0, 0.5, 1.0, 2.0, 3.0, 10.0))


@dataclass(frozen=True, slots=True)
class LldConfig:
    """Descriptors of the INTERSPEECH 2009 set, left-aligned.

    Attributes:
        sample_rate_hz: rate of the samples.
        frame_length: samples per frame, Hamming-tapered, zero-padded to a power of two.
        hop_length: step between frames, samples.
        pre_emphasis: k of y[i] = x[i] - k x[i - 1], within each frame.
        n_mels: mel bands, on the magnitude spectrum.
        n_mfcc: cepstral coefficients, from the first; the zeroth is left out.
        lifter: length of the sine lifter on the coefficients; 0 leaves them as they are.
        f_min_hz: lower edge of the lowest band.
        f_max_hz: upper edge of the highest band.
        pitch_max_hz: highest pitch.
        voicing_cutoff: voicing probability from which a frame has a pitch.
        pitch_memory: voiced frames that the running mean of the pitch goes back.
        pitch_memory_frames: frames, voiced or not, that it goes back at most.
    """

    sample_rate_hz: Annotated[int, within(1000, 48000)] = 16000
    frame_length: Annotated[int, within(16, 16384)] = 400
    hop_length: Annotated[int, within(1, 16384)] = 160
    pre_emphasis: float = 0.97
    n_mels: Annotated[int, within(2, 512)] = 26
    n_mfcc: Annotated[int, within(1, 511)] = 12
    lifter: Annotated[float, within(0.0, 1e4)] = 22.0
    f_min_hz: float = 0.0
    f_max_hz: float = 8000.0
    pitch_max_hz: float = 500.0
    voicing_cutoff: float = 0.55
    pitch_memory: Annotated[int, within(1, 10_000)] = 48
    pitch_memory_frames: Annotated[int, within(1, 10_000)] = 500

    def __post_init__(self) -> None:
        if self.frame_length < 16:
            raise ConfigError(f"need frame_length >= 16, got {self.frame_length}")
        if not 0 < self.hop_length <= self.frame_length:
            raise ConfigError(
                f"need 0 < hop_length <= frame_length, got {self.hop_length}, {self.frame_length}"
            )
        if not 0.0 <= self.pre_emphasis <= 1.0:
            raise ConfigError(f"need 0 <= pre_emphasis <= 1, got {self.pre_emphasis}")
        if not 0 < self.n_mfcc < self.n_mels <= self.n_fft // 2:
            raise ConfigError(
                f"need 0 < n_mfcc < n_mels <= {self.n_fft // 2}, got {self.n_mfcc}, {self.n_mels}"
            )
        if self.lifter < 0.0:
            raise ConfigError(f"need lifter >= 0, got {self.lifter}")
        if not 0 <= self.f_min_hz < self.f_max_hz <= self.sample_rate_hz / 2:
            raise ConfigError(
                f"need 0 <= f_min_hz < f_max_hz <= {self.sample_rate_hz / 2}, "
                f"got {self.f_min_hz}, {self.f_max_hz}"
            )
        lowest_hz = 4 * self.sample_rate_hz / self.n_fft
        if not lowest_hz <= self.pitch_max_hz <= self.sample_rate_hz / 4:
            raise ConfigError(
                f"need {lowest_hz} <= pitch_max_hz <= {self.sample_rate_hz / 4}, "
                f"got {self.pitch_max_hz}"
            )
        if not 0.0 < self.voicing_cutoff <= 1.0:
            raise ConfigError(f"need 0 < voicing_cutoff <= 1, got {self.voicing_cutoff}")
        if not 0 < self.pitch_memory <= self.pitch_memory_frames:
            raise ConfigError(
                "need 0 < pitch_memory <= pitch_memory_frames, "
                f"got {self.pitch_memory}, {self.pitch_memory_frames}"
            )

    @property
    def n_fft(self) -> int:
        """Length of the transform: the frame's, rounded up to a power of two."""
        return 1 << (self.frame_length - 1).bit_length()


class LldExtractor(Extractor):
    """Compute the 16 descriptors of each frame, then smooth them and append their deltas.

    Columns of the second stage: RMS energy, MFCC 1 to 12, zero-crossing rate, voicing probability,
    F0 in Hz (0 where unvoiced), all smoothed; then the delta of each, in the same order. The first
    stage has the 16 unsmoothed, with the pitch of the frame taken by itself in the last column.
    """

    def __init__(self, config: LldConfig | None = None) -> None:
        self.config = c = LldConfig() if config is None else config
        self.sample_rate_hz = c.sample_rate_hz
        self.hop_length = c.hop_length
        self.frame_length = c.frame_length
        self.width = 2 * self.base_width
        self.look_ahead = SMOOTHING + DELTA
        self.look_back = SMOOTHING + DELTA + PITCH_CONTEXT + c.pitch_memory_frames
        taper = FULL_SCALE * np.hamming(c.frame_length)
        self._taper = taper.astype(np.float32)
        # Within a frame nothing precedes the first sample; it is taken to repeat.
        self._first = np.float32((1.0 - c.pre_emphasis) * taper[0])
        self._pre_emphasis = np.float32(c.pre_emphasis)
        mel = htk_mel_filters(c.sample_rate_hz, c.n_fft, c.n_mels, c.f_min_hz, c.f_max_hz)
        self._mel = (INTEGER_SCALE * mel).astype(np.float32)
        self._cepstrum = liftered_dct(c.n_mels, c.n_mfcc, c.lifter)
        self._lags = c.n_fft // 2
        # The shortest period less one sample: the lag where the search begins.
        self._shortest = int(np.ceil(c.sample_rate_hz / c.pitch_max_hz)) - 1

    @property
    def base_width(self) -> int:
        """Descriptors per frame before the deltas."""
        return self.config.n_mfcc + 4

    def frames_of(self, samples: Float32) -> Frames:
        """First stage: all full frames of float32 ``samples`` (n,), base_width values each.

        Fewer samples than one frame give no frames, not an error.
        """
        c = self.config
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        frames = overlapping(samples, c.frame_length, c.hop_length)  # (n, frame_length)
        n = len(frames)
        features = np.empty((n, self.base_width), dtype=np.float32)
        level_db = np.empty(n, dtype=np.float32)
        if n == 0:
            return Frames(features, level_db, level_db)
        emphasised = np.empty(len(samples), dtype=np.float32)
        emphasised[0] = ZERO  # first of its frame, so replaced below
        np.multiply(samples[:-1], self._pre_emphasis, out=emphasised[1:])
        np.subtract(samples[1:], emphasised[1:], out=emphasised[1:])
        shaped = overlapping(emphasised, c.frame_length, c.hop_length)
        padded = np.zeros((min(n, BLOCK), c.n_fft), dtype=np.float32)
        for first in range(0, n, BLOCK):
            block = slice(first, min(first + BLOCK, n))
            tapered = padded[: block.stop - first]
            np.multiply(shaped[block], self._taper, out=tapered[:, : c.frame_length])
            np.multiply(frames[block, 0], self._first, out=tapered[:, 0])
            self._describe(tapered, features[block])
            power = np.einsum("ij,ij->i", frames[block], frames[block])
            level_db[block] = power
        level_db /= np.float32(c.frame_length)
        level_db = TEN * np.log10(np.maximum(level_db, LEVEL_FLOOR))
        features[:, -3] = _crossings(samples, c.frame_length, c.hop_length, n)
        return Frames(features, level_db, features[:, -2].copy())

    def _describe(self, tapered: Float32, out: Float32) -> None:
        """Fill all columns of ``out`` but the zero crossings from frames (n, n_fft)."""
        c = self.config
        energy = np.einsum("ij,ij->i", tapered, tapered)
        energy /= np.float32(c.frame_length)
        np.sqrt(energy, out=out[:, 0])
        spectrum = np.fft.rfft(tapered)  # (n, n_fft // 2 + 1) complex64
        power: Float32 = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        mel = np.sqrt(power) @ self._mel  # (n, n_mels)
        np.maximum(mel, ONE, out=mel)
        np.log(mel, out=mel)
        np.matmul(mel, self._cepstrum, out=out[:, 1 : 1 + c.n_mfcc])
        voicing = self._voicing(power)
        out[:, -2] = voicing
        # No cepstrum where it would not be looked at.
        voiced = np.flatnonzero(voicing >= np.float32(c.voicing_cutoff))
        out[:, -1] = ZERO
        if len(voiced):
            out[voiced, -1] = self._pitch(power[voiced])

    def _voicing(self, power: Float32) -> Float32:
        # Wiener and Khinchin: the autocorrelation is the inverse transform of the power. The
        # highest value on a rising flank (or at the last lag), relative to lag 0.
        correlation = np.fft.irfft(power)[:, : self._lags]
        np.abs(correlation, out=correlation)
        late = correlation[:, self._shortest :]
        rising = late > correlation[:, self._shortest - 1 : -1]
        highest = np.maximum((late * rising).max(axis=1), correlation[:, -1])
        return np.minimum(highest / np.maximum(correlation[:, 0], SILENCE), ONE)

    def _pitch(self, power: Float32) -> Float32:
        # The first clear peak of the cepstrum of 1 + power, beyond the shortest period.
        cepstrum = np.fft.irfft(np.log1p(power))[:, : self._lags]
        late = cepstrum[:, self._shortest + 1 :]
        clear = PEAK_SHARE * (late.max(axis=1) + np.abs(cepstrum).mean(axis=1))
        middle = late[:, 1:-1]
        peak = middle > np.maximum(late[:, :-2], late[:, 2:])
        peak &= middle > clear[:, None]
        at = peak.argmax(axis=1)
        lag = (at + (self._shortest + 2)).astype(np.float32)
        return np.where(peak[np.arange(len(at)), at], np.float32(self.sample_rate_hz) / lag, ZERO)

    def in_context(self, base: Float32, skip: int) -> Float32:
        """Second stage: frames [skip, m - look_ahead) of ``base`` (m, base_width), (n, width).

        ``skip`` is look_back, or less where ``base`` begins with the first frame of the stream:
        there the first frame, and then the first smoothed one, stands for those before it.
        """
        n = len(base) - skip - self.look_ahead
        if n <= 0:
            return np.zeros((0, self.width), dtype=np.float32)
        first = max(0, skip - self.look_ahead)
        raw = base[first:].copy()
        raw[:, -1] = self._contour(base[:, -1], first)
        if skip < self.look_ahead:
            raw = np.concatenate([raw[:1], raw])
        smooth = raw[:-2] + raw[1:-1]
        smooth += raw[2:]
        smooth /= THREE
        if skip < DELTA:
            smooth = np.concatenate([smooth[:1]] * (DELTA - skip) + [smooth])
        # Now row i of ``smooth`` is frame skip - DELTA + i, and it has n + 2 DELTA rows.
        out = np.empty((n, self.width), dtype=np.float32)
        out[:, : self.base_width] = smooth[DELTA:-DELTA]
        # Least squares over t = -2..2: sum t y / sum t^2.
        out[:, self.base_width :] = (
            TWO * (smooth[4:] - smooth[:-4]) + (smooth[3:-1] - smooth[1:-3])
        ) / TEN
        return out

    def _contour(self, pitch: Float32, first: int) -> Float32:
        """Clean pitches (m,), 0 where unvoiced; frames from ``first`` of the contour.

        A pitch far from the running mean becomes the mean. Then each frame takes the average of the
        two before it where both are voiced, else the one before it, if it does not stand alone.
        """
        start = max(0, first - PITCH_CONTEXT)
        clean = np.zeros(len(pitch) - start + PITCH_CONTEXT, dtype=np.float32)
        voiced = np.flatnonzero(pitch)
        new = np.searchsorted(voiced, start)
        clean[voiced[new:] - start + PITCH_CONTEXT] = self._plausible(pitch, voiced, int(new))
        # Rows of ``clean`` are frames start - 2, start - 1 and so on, the first two only padding.
        older, old, now = clean[:-2], clean[1:-1], clean[2:]
        mean = np.where(older > ZERO, HALF * (older + old), np.where(now > ZERO, old, ZERO))
        return np.where(old > ZERO, mean, ZERO)[first - start :]

    def _plausible(self, pitch: Float32, voiced: np.ndarray, new: int) -> Float32:
        """Pitches of the frames voiced[new:], outliers replaced by the running mean before them.

        The mean is a recursion over voiced frames. Each frame runs its own over its own memory, all
        frames abreast, so that no value depends on where a stream was cut.
        """
        if new == len(voiced):
            return np.zeros(0, dtype=np.float32)
        c = self.config
        values = pitch[voiced]
        each = np.arange(new, len(voiced))
        oldest = np.searchsorted(voiced, voiced[new:] - c.pitch_memory_frames)
        # A memory that is not full is filled up with its oldest pitch, which changes nothing.
        depth = min(c.pitch_memory, int(np.max(each - oldest)))
        at = np.maximum(each - np.arange(depth, -1, -1)[:, None], oldest)  # (1 + depth, frames)
        *memory, latest = values[at]  # the oldest first
        mean = memory[0] if memory else latest
        for value in memory[1:]:
            step = value - mean
            near = np.abs(step) < PITCH_TOLERANCE * mean
            mean = mean + step * np.where(near, MEAN_RATE, MEAN_RATE_OUTLIER)
        return np.where(np.abs(latest - mean) < PITCH_TOLERANCE * mean, latest, mean)


def _crossings(samples: Float32, frame_length: int, hop_length: int, n: int) -> Float32:
    """Zero crossings of ``n`` frames per sample of a frame, float32 (n,).

    A sample crosses where its sign is opposite to the one before it, or where it is zero between
    samples that are not both positive or both negative.
    """
    sign = np.sign(samples).astype(np.int8)
    before, here, after = sign[:-2], sign[1:-1], sign[2:]
    crosses = (before * here < 0) | ((here == 0) & (before * after <= 0))
    count = np.zeros(len(samples) - 1, dtype=np.int64)
    np.cumsum(crosses, out=count[1:])  # count[i]: crossings at samples 1 to i
    starts = np.arange(n) * hop_length
    return ((count[starts + frame_length - 2] - count[starts]) / frame_length).astype(np.float32)


def htk_mel_filters(
    rate_hz: int, n_fft: int, n_mels: int, f_min_hz: float, f_max_hz: float
) -> Float64:
    """Triangular mel filters of unit height, float64 of shape (n_fft // 2 + 1, n_mels).

    The triangles have straight sides on the mel axis, and neighbours sum to 1 between their
    centres.

    Source: S. Young et al., The HTK Book, 2006, sections 5.4 and 5.6.
    """
    bins = htk_mel(np.arange(n_fft // 2 + 1, dtype=np.float64) * (rate_hz / n_fft))
    edges = np.linspace(htk_mel(f_min_hz), htk_mel(f_max_hz), n_mels + 2)
    half_width = edges[1] - edges[0]
    return np.maximum(0.0, 1.0 - np.abs(bins[:, None] - edges[None, 1:-1]) / half_width)


def htk_mel(hz: Float64 | float) -> Float64:
    """Convert Hz, a number or (n,), to mels on HTK's scale, logarithmic throughout."""
    return 1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0)


def liftered_dct(n_in: int, n_out: int, lifter: float) -> Float32:
    """DCT-II rows 1 to ``n_out`` with HTK's sine lifter, float32 of shape (n_in, n_out)."""
    k = np.arange(1, n_out + 1)[None, :]
    n = np.arange(n_in)[:, None]
    basis = np.sqrt(2.0 / n_in) * np.cos(np.pi * k * (n + 0.5) / n_in)
    if lifter > 0.0:
        basis = basis * (1.0 + lifter / 2.0 * np.sin(np.pi * k / lifter))
    return basis.astype(np.float32)
