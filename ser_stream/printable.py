"""Text from outside, made fit for a terminal or a line of a message.

Names of files, devices and models, labels and words are written by others. Printed as they are,
some characters steer a terminal, reverse the order of what stands beside them, or end the line.
"""

from __future__ import annotations

import re

# C0, DEL and C1; marks, embeddings, overrides and isolates of writing direction; line and paragraph
# separators; invisible separators, annotations and tags; surrogates, which no encoding has: Python
# reads bytes of file names as such where they are not UTF-8.
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Write characters that steer or hide as escapes like ``\x1b``; the rest stays."""
    return UNPRINTABLE.sub(_escape, text)


def one_line(text: str, most: int = 1000) -> str:
    """``text`` for a message that quotes from a file: printable, cut after ``most`` characters."""
    return printable(text if len(text) <= most else text[:most] + "...")


def excerpt(text: str, most: int = 40) -> str:
    """``text`` in quotes, for a message: cut after ``most`` characters, with Python's escapes."""
    return repr(text if len(text) <= most else text[:most] + "...")


def echo(text: object, err: bool = False) -> None:
    """Print one line that may quote names, labels or words, on stdout or stderr."""
    import typer

    typer.echo(printable(str(text)), err=err)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte of a file's name
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
