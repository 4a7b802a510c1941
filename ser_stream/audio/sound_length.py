"""What the header of a sound file states of the file's length.

libsndfile reads a file that was cut short as if it were whole, and a WAV file whose length was left
open as if it were empty. So the stated lengths are read here and compared with the file's own.

Formats, and where they state a length:

- WAV, RF64, W64, AIFF, 8SVX, CAF, MATLAB 5: the chunk that holds the samples;
- AU, AVR, MPC2K, NIST, WVE, SDS, VOC, MATLAB 4: a fixed place;
- Ogg: the last page of a stream is marked;
- FLAC, HTK, MP3 with a Xing, Info or VBRI header: libsndfile announces more samples than can be
  read, or refuses the file.

Nothing states it in PAF, PVF, IRCAM and SD2, in XI as libsndfile writes it, in MP3 without such a
header, and where a program that could not seek back left it open: such a file counts as whole.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

# A damaged file may seem to consist of chunks alone.
MOST_CHUNKS = 10_000
# The longest page of Ogg: its header, the table of its segments, and the segments.
OGG_PAGE = 27 + 255 + 255 * 255
# The first frame of an MP3 file, which may state the number of frames, lies within so many bytes.
MP3_HEAD = 4096
HEAD = 512


@dataclass(frozen=True, slots=True)
class Samples:
    """Where a file holds its samples.

    Attributes:
        start: their first byte.
        length: in bytes, as the header states it; None where the header leaves it open.
        field: offset of the stated length, where it is a 0 that libsndfile takes at its word, as
            programs leave it that cannot seek back; else None.
        layout: of that field, as `struct` writes it.
    """

    start: int
    length: int | None
    field: int | None = None
    layout: str = ""


@dataclass(frozen=True, slots=True)
class _Chunked:
    """A format of chunks: each has an id, a length and so many bytes.

    Attributes:
        begins: expression that the file's first bytes match.
        first: offset of the first chunk.
        samples: id of the chunk that holds the samples.
        layout: of a length, as `struct` reads it.
        align: chunks begin at multiples of it.
        counts_itself: a length includes id and length.
    """

    begins: bytes
    first: int
    samples: bytes
    layout: str
    align: int = 2
    counts_itself: bool = False

    def chunks(self, file: BinaryIO, size: int, at: int) -> Iterator[tuple[bytes, int, int]]:
        """Id, first byte and length of each chunk from the offset ``at`` on."""
        id_length = len(self.samples)
        head = id_length + struct.calcsize(self.layout)
        for _ in range(MOST_CHUNKS):
            if at + head > size:
                return
            file.seek(at)
            data = file.read(head)
            (length,) = struct.unpack_from(self.layout, data, id_length)
            length -= head if self.counts_itself else 0
            yield data[:id_length], at + head, length
            if length < 0:
                return
            at += head + length
            at += -at % self.align


_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_WAV = (
    _Chunked(rb"(RIFF|RF64|BW64)....WAVE", 12, b"data", "<I"),
    _Chunked(rb"RIFX....WAVE", 12, b"data", ">I"),
)
_OTHERS = (
    _Chunked(rb"FORM....AIF[FC]", 12, b"SSND", ">I"),
    _Chunked(rb"FORM....(8SVX|16SV)", 12, b"BODY", ">I"),
    _Chunked(rb"riff\x2e\x91\xcf\x11", 40, b"data" + _W64, "<q", align=8, counts_itself=True),
    _Chunked(rb"caff", 8, b"data", ">q", align=1),
)
# The mark of the byte order reads backwards in a little-endian file. The id of a matrix is its
# number; it consists of chunks, of which the fourth holds the values.
_MATLAB_5 = (
    _Chunked(rb"MATLAB 5\.0.{116}IM", 128, struct.pack("<I", 14), "<I", align=8),
    _Chunked(rb"MATLAB 5\.0.{116}MI", 128, struct.pack(">I", 14), ">I", align=8),
)


def samples_of(file: BinaryIO) -> Samples | None:
    """Where the samples are, as the file's header states it; None where no header does."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(HEAD)
    for formats, read in ((_WAV, _wav), (_OTHERS, _chunk), (_MATLAB_5, _matlab5)):
        for format_ in formats:
            if re.match(format_.begins, head, re.DOTALL):
                return read(file, size, format_)
    for begins, read in _FIXED.items():
        if re.match(begins, head, re.DOTALL):
            try:
                return read(file, head)
            except (struct.error, KeyError):  # it ends too soon, or only looks like the format
                return None
    return None


def cut_short(file: BinaryIO) -> str | None:
    """Say that the file ends before its own header says; None if not, or without a length."""
    found = samples_of(file)
    size = os.fstat(file.fileno()).st_size
    if found is not None and found.length is not None:
        missing = found.start + found.length - size
        if missing > 0:
            return f"truncated, {missing} bytes of audio are missing"
    if _ogg_cut(file, size):
        return "truncated, the end of its last Ogg stream is missing"
    return None


def copy_with_length(file: BinaryIO, found: Samples, copy: BinaryIO) -> None:
    """Copy a file that states 0 as its length, see `Samples.field`, with the length that it has."""
    assert found.field is not None
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    shutil.copyfileobj(file, copy)
    copy.seek(found.field)
    largest = (1 << 8 * struct.calcsize(found.layout)) - 1
    copy.write(struct.pack(found.layout, min(size - found.start, largest)))
    copy.flush()


def unstated_mp3(file: BinaryIO) -> int | None:
    """Where an MP3 file begins after its tag, if no header states its length; None if one does."""
    file.seek(0)
    head = file.read(10)
    tag = 0
    if head[:3] == b"ID3" and len(head) == 10:
        tag = 10 + _seven_bits(head[6:], "big")
    file.seek(tag)
    return None if re.search(rb"Xing|Info|VBRI", file.read(MP3_HEAD)) else tag


def _seven_bits(data: bytes, order: str) -> int:
    """A number of which each byte holds seven bits."""
    ordered = data if order == "little" else data[::-1]
    return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(ordered))


def _is_open(length: int, layout: str) -> bool:
    """Whether a length is a placeholder of programs that write before they know the length.

    Of 32 bits: 0, the largest number or a little less, and the largest signed one or a little less
    (sox, espeak-ng). Of 64 bits: negative, or beyond any file.
    """
    if struct.calcsize(layout) == 8:
        return not 0 <= length < 1 << 62
    return length == 0 or length >= 0xFFFFFF00 or 0x7F000000 <= length <= 0x7FFFFFFF


def _chunk(file: BinaryIO, size: int, format_: _Chunked) -> Samples | None:
    for name, start, length in format_.chunks(file, size, format_.first):
        if name == format_.samples:
            return Samples(start, None if _is_open(length, format_.layout) else length)
    return None


def _matlab5(file: BinaryIO, size: int, format_: _Chunked) -> Samples | None:
    found = None
    # The samples are the last matrix.
    for name, inside, _ in format_.chunks(file, size, format_.first):
        if name == format_.samples:
            parts = list(islice(format_.chunks(file, size, inside), 4))
            found = Samples(*parts[3][1:]) if len(parts) == 4 else None
    return found


def _wav(file: BinaryIO, size: int, format_: _Chunked) -> Samples | None:
    # Beyond 4 GB the length stands in a chunk of its own.
    long: tuple[int, int] | None = None
    for name, start, stated in format_.chunks(file, size, format_.first):
        if name == b"ds64":
            file.seek(start + 8)
            long = start + 8, int.from_bytes(file.read(8), "little")
        if name != format_.samples:
            continue
        field, length, layout = start - 4, stated, format_.layout
        if long is not None and stated == 0xFFFFFFFF:
            (field, length), layout = long, "<Q"
        if length == 0 and not _chunks_alone(file, size, start, format_):
            return Samples(start, None, field, layout)
        return Samples(start, None if length and _is_open(length, layout) else length)
    return None


def _chunks_alone(file: BinaryIO, size: int, start: int, format_: _Chunked) -> bool:
    """Whether there is nothing but further chunks from ``start`` on."""
    at = start
    for name, begin, length in format_.chunks(file, size, start):
        if not re.fullmatch(rb"[ -~]{4}", name):
            return False
        at = begin + length
    return at >= size - 1


def _au(file: BinaryIO, head: bytes) -> Samples:
    start, length = struct.unpack_from("<II" if head[:1] == b"d" else ">II", head, 4)
    return Samples(start, None if _is_open(length, "I") else length)


def _avr(file: BinaryIO, head: bytes) -> Samples:
    stereo, bits = struct.unpack_from(">hH", head, 12)
    (frames,) = struct.unpack_from(">I", head, 26)
    return Samples(128, frames * (2 if stereo else 1) * (bits // 8))


def _mpc2k(file: BinaryIO, head: bytes) -> Samples:
    stereo, frames = struct.unpack_from("<B8xI", head, 21)
    return Samples(42, 2 * frames * (2 if stereo else 1))


def _nist(file: BinaryIO, head: bytes) -> Samples:
    found = re.findall(rb"^(\w+) -\w+ (\d+)", head, re.MULTILINE)
    numbers = {name: int(value) for name, value in found}
    parts = (numbers[b"sample_count"], numbers[b"channel_count"], numbers[b"sample_n_bytes"])
    return Samples(1024, parts[0] * parts[1] * parts[2])


def _wve(file: BinaryIO, head: bytes) -> Samples:
    return Samples(32, *struct.unpack_from(">I", head, 18))


def _sds(file: BinaryIO, head: bytes) -> Samples:
    width = 2 if head[6] < 14 else 3 if head[6] < 21 else 4
    packets = -(-_seven_bits(head[10:13], "little") // (120 // width))
    return Samples(21, 127 * packets)


def _voc(file: BinaryIO, head: bytes) -> Samples | None:
    (at,) = struct.unpack_from("<H", head, 20)
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        block = file.read(4)
        if len(block) < 4:
            break
        length = int.from_bytes(block[1:], "little")
        if block[0] in (1, 2, 9):  # sound
            return Samples(at + 4, length)
        at += 4 + length
    return None


def _matlab4(file: BinaryIO, head: bytes) -> Samples | None:
    # The rate is a matrix of one row.
    order = "<" if head[4] == 1 else ">"
    at, found = 0, None
    for _ in ("the rate", "the samples"):
        file.seek(at)
        kind, rows, columns, _, name = struct.unpack(f"{order}5I", file.read(20))
        width = {0: 8, 1: 4, 2: 4, 3: 2, 4: 2, 5: 1}[kind // 10 % 10]
        found = Samples(at + 20 + name, rows * columns * width)
        at += 20 + name + rows * columns * width
    return found


_FIXED = {
    rb"\.snd|dns\.": _au,
    rb"2BIT": _avr,
    rb"\x01\x04.{19}[\0\1]": _mpc2k,
    rb"NIST_1A": _nist,
    rb"ALawSoundFile\*\*": _wve,
    rb"\xf0\x7e.\x01": _sds,
    rb"Creative Voice File": _voc,
    rb"(\0\0\0\0|\0\0\x03\xe8).{16}samplerate\0": _matlab4,
}


def _ogg_cut(file: BinaryIO, size: int) -> bool:
    """Whether an Ogg file lacks the page that ends its last stream, or a part of it."""
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    file.seek(max(0, size - OGG_PAGE))
    tail = file.read()
    # A page begins with these letters and version 0, which its data hardly ever hold.
    page = tail[max(0, tail.rfind(b"OggS\0")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    whole = 27 + page[26] + sum(page[27 : 27 + page[26]]) <= len(page)
    return not (whole and page[5] & 0x04)
