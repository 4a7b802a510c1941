"""Sound files that grow while they can be read: WAV, which becomes RF64, and FLAC.

What a header promises is on the disk before the header is, so that a file whose writer was killed,
or whose computer lost power, is read by anything up to its last `sync`. Times between two calls of
`sync` are all that can be lost, and for FLAC the samples that do not fill a frame.

The WAV writer is our own: libsndfile reports neither why a write failed nor when its header reaches
the disk, and the format is one header of 80 bytes.
"""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO, Protocol, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from ser_stream.errors import SerStreamError
from ser_stream.types import Float32

Int16 = NDArray[np.int16]

SUFFIXES = (".wav", ".flac")
# 16 bits, one channel.
SAMPLE_BYTES = 2
# Longest RIFF chunk. The sizes above it are taken for "until the end of the file" by some readers.
MOST_RIFF_BYTES = 0xFFFFFF00
WAV_HEADER_BYTES = 80
# FLAC's first block, after the magic word and the block's own header: where bits 36 to 0 of the
# eight bytes at 18 count the samples, and the two bytes at 8 give those of a frame.
FLAC_FRAME_AT, FLAC_COUNT_AT = 8, 18
FLAC_COUNT_MASK = (1 << 36) - 1
# Silence is encoded in pieces of this many samples.
PIECE = 1 << 16


class SoundWriter(Protocol):
    """Writes int16 samples (n,) of one channel; every method may raise OSError."""

    @property
    def samples(self) -> int:
        """Samples that the header promises."""
        ...

    @property
    def note(self) -> str | None:
        """What readers need of the format; None while there is nothing."""
        ...

    def write(self, samples: Int16) -> None:
        """Append samples."""
        ...

    def silence(self, count: int) -> None:
        """Append zeros."""
        ...

    def sync(self) -> None:
        """Let the disk have what was written, and then a header that promises it."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...

    def abandon(self) -> None:
        """Leave what can be read after a failure; it may fail itself."""
        ...


def to_int16(samples: Float32) -> Int16:
    """Samples float32 (n,) in [-1, 1) as int16 (n,); 16-bit input comes out unchanged.

    Samples out of range are clipped.
    """
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def write_whole(file: io.FileIO, data: bytes) -> None:
    """Write all of ``data``; after a partial write the next one raises the reason."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


class WavWriter:
    """WAV; the header turns into RF64's where the sizes outgrow their 32 bits.

    RF64 (EBU Tech 3306) is the same layout with 64-bit sizes in a chunk that stands where WAV had
    one to be skipped, so that nothing has to be moved.

    Args:
        file: empty, open for writing without a buffer; closed with the writer.
        sample_rate_hz: of the samples.
    """

    def __init__(self, file: io.FileIO, sample_rate_hz: int) -> None:
        self._file = file
        self._rate_hz = sample_rate_hz
        self._count = 0
        self.samples = 0
        write_whole(file, self._header(0))

    @property
    def note(self) -> str | None:
        """That the file has become RF64."""
        return None if _fits_riff(self.samples) else "beyond 4 GB, so it is an RF64 file now"

    def write(self, samples: Int16) -> None:
        self._file.seek(WAV_HEADER_BYTES + SAMPLE_BYTES * self._count)
        write_whole(self._file, samples.astype("<i2", copy=False).tobytes())
        self._count += len(samples)

    def silence(self, count: int) -> None:
        # Most file systems keep such a hole without using space for it.
        self._file.truncate(WAV_HEADER_BYTES + SAMPLE_BYTES * (self._count + count))
        self._count += count

    def sync(self) -> None:
        if self.samples == self._count:
            return
        os.fsync(self._file.fileno())
        self._file.seek(0)
        write_whole(self._file, self._header(self._count))
        self.samples = self._count
        os.fsync(self._file.fileno())

    def close(self) -> None:
        try:
            self.sync()
        finally:
            self._file.close()

    def abandon(self) -> None:
        try:
            # Part of a block may have been written behind what is counted.
            self._file.truncate(WAV_HEADER_BYTES + SAMPLE_BYTES * self._count)
            self.sync()
        finally:
            self._file.close()

    def _header(self, count: int) -> bytes:
        size = SAMPLE_BYTES * count
        riff = WAV_HEADER_BYTES - 8 + size
        rate = self._rate_hz
        form = struct.pack(
            "<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * SAMPLE_BYTES, SAMPLE_BYTES, 16
        )
        if _fits_riff(count):
            head = struct.pack("<4sI4s4sI28x", b"RIFF", riff, b"WAVE", b"JUNK", 28)
            return head + form + struct.pack("<4sI", b"data", size)
        unknown = 0xFFFFFFFF
        head = struct.pack(
            "<4sI4s4sIQQQI", b"RF64", unknown, b"WAVE", b"ds64", 28, riff, size, count, 0
        )
        return head + form + struct.pack("<4sI", b"data", unknown)


class FlacWriter:
    """FLAC by libsndfile, whose header is brought up to date with every `sync`.

    The encoder keeps up to a frame of 4096 samples to itself until there are more.

    Args:
        file: empty, open for reading and writing without a buffer; closed with the writer.
        sample_rate_hz: of the samples.

    Raises:
        SerStreamError: a rate that FLAC does not have.
    """

    note = None

    def __init__(self, file: io.FileIO, sample_rate_hz: int) -> None:
        if sample_rate_hz > 0xFFFF and (sample_rate_hz % 10 or sample_rate_hz > 655350):
            raise SerStreamError(f"FLAC has no rate of {sample_rate_hz} Hz; name a .wav file")
        self._bytes = _FlacBytes(file)
        self._encoder = soundfile.SoundFile(
            cast(BinaryIO, self._bytes), "w", sample_rate_hz, 1, "PCM_16", format="FLAC"
        )

    @property
    def samples(self) -> int:
        return self._bytes.promised

    def write(self, samples: Int16) -> None:
        self._encoder.write(samples)
        self._bytes.check()

    def silence(self, count: int) -> None:
        while count > 0:
            piece = min(count, PIECE)
            self.write(np.zeros(piece, dtype=np.int16))
            count -= piece

    def sync(self) -> None:
        self._bytes.sync()

    def close(self) -> None:
        try:
            self._encoder.close()
            self._bytes.check()
            os.fsync(self._bytes.file.fileno())
        finally:
            self._bytes.file.close()

    def abandon(self) -> None:
        try:
            self._bytes.refuse()
            self._encoder.close()
            self._bytes.cut()
            self._bytes.sync()
        finally:
            self._bytes.file.close()


class _FlacBytes:
    """The file as libsndfile sees it.

    It writes one frame a call. It must not see an error, of which it would keep neither the number
    nor the reason: `check` raises it.
    """

    def __init__(self, file: io.FileIO) -> None:
        self.file = file
        self.promised = 0
        self._error: OSError | None = None
        self._refused = False
        self._frames = 0
        self._end = 0

    def write(self, data: bytes) -> int:
        if self._error is None and not self._refused:
            try:
                appends = self.file.tell() == self._end
                write_whole(self.file, data)
                if appends:
                    self._end += len(data)
                    self._frames += data.startswith(b"\xff\xf8")
            except OSError as error:
                self._error = error
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int) -> bytes:
        return self.file.read(size) or b""

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def refuse(self) -> None:
        """Keep what is there as it is, whatever the encoder writes from now on."""
        self._refused = True

    def cut(self) -> None:
        """Drop a frame of which only a part could be written."""
        self.file.truncate(self._end)

    def sync(self) -> None:
        if self._frames == 0:
            return
        self.file.seek(FLAC_FRAME_AT)
        (per_frame,) = struct.unpack(">H", self.file.read(2))
        count = self._frames * per_frame
        if count != self.promised:
            os.fsync(self.file.fileno())
            self.file.seek(FLAC_COUNT_AT)
            (packed,) = struct.unpack(">Q", self.file.read(8))
            self.file.seek(FLAC_COUNT_AT)
            write_whole(self.file, struct.pack(">Q", packed & ~FLAC_COUNT_MASK | count))
            self.promised = count
            os.fsync(self.file.fileno())
        self.file.seek(self._end)


def _fits_riff(count: int) -> bool:
    return WAV_HEADER_BYTES - 8 + SAMPLE_BYTES * count < MOST_RIFF_BYTES
