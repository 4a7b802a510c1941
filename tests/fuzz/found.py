"""Files that were faults once, by name: kind, suffix, content and how the error begins or ends."""

from __future__ import annotations

_MANIFEST = "path,emotion,speaker,start_s\n"
_DEEP = ".".join("a" * 3000)
_DEEP_TABLES = f"""
[x.{_DEEP}]
b = 1
[protocols.strict.changes.x.{_DEEP}]
b = 2
[protocols.strict.folds]
kind = "speaker"
validation = 0.2
"""
_MARKS = "a" + "\u0300\u0316" * 30_000
_CUE = "WEBVTT\n\n00:01.000 --> 00:02.000\n{}\n"

# None for what is read.
FOUND: dict[str, tuple[str, str, bytes, str | None]] = {
    "endings without end": ("words", ".text", b"'s" * 50_000, None),
    "marks without end": ("words", ".text", _MARKS.encode(), None),
    "an apostrophe within a letter": ("words", ".text", "\u0149".encode(), None),
    "an entity of 5000 digits": (
        "subtitles", ".vtt", _CUE.format("&#" + "9" * 5000 + ";").encode(), None,
    ),
    "a text of megabytes": (
        "subtitles", ".txt", b"well " * (1 << 20), "5242880 bytes; is this what is said",
    ),
    "columns with control characters": (
        "transcripts", ".csv", b"pa\x1b[2Jth,text\n", "its columns: 'pa\\x1b[2jth, text'",
    ),
    "a path of 5000 characters": (
        "manifests", ".csv", f"{_MANIFEST}{'a' * 5000},sad,ann,\n".encode(), "no audio file",
    ),
    "a time of 5000 digits": (
        "manifests", ".csv",
        f"{_MANIFEST}talk.wav,sad,ann,{'9' * 5000}\n".encode(),
        "want seconds from the file's start",
    ),
    "zero bytes in a manifest": (
        "manifests", ".csv", f"{_MANIFEST}talk.wav,sad,ann\n\0".encode(), "save it as UTF-8",
    ),
    "a turn named as a folder elsewhere": (
        "corpora", ".txt", b"[1.0 - 2.0]\t/root/../x_F000\tang\t[1, 2, 3]\n",
        "is not named as this corpus names its turns",
    ),
    "vectors of 5000 digits": (
        "vectors", ".txt", b"1 " + b"9" * 5000 + b"\n", "is not a finite number",
    ),
    "vectors of 10^18 values": ("vectors", ".txt", b"1 " + b"9" * 18 + b"\n", "the file whole?"),
    "a vector without line ends": (
        "vectors", ".txt", b"the" + b" 0.5" * (1 << 18), "0.5 0.5 ...'",
    ),
    "a recipe in another encoding": ("recipes", ".toml", b"name = '\xe4'\n", "UTF-8"),
    "a recipe of 5000 digits": ("recipes", ".toml", b"a = " + b"9" * 5000, "not TOML"),
    "a recipe nested too deep": (
        "recipes", ".toml", b"a = " + b"[" * 9000 + b"]" * 9000, "nested more than",
    ),
    "a recipe of deep tables": (
        "recipes", ".toml",
        _DEEP_TABLES.encode(),
        "nested more than",
    ),
    "a recipe of long words": (
        "recipes", ".toml", b"a = '" + b"1" * 5000 + b"'", "a: 5000 characters, 300 at most",
    ),
    "a recipe of a long key": (
        "recipes", ".toml", b"a." * 90_000 + b"a = 1", "nested more than",
    ),
    "a profile nested too deep": (
        "profiles", ".json", b'{"schema": 1, "mean": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        "nested more than",
    ),
    "a profile of 400 digits": (
        "profiles", ".json", b'{"schema": 1, "voiced_s": ' + b"9" * 400 + b"}", "out of range",
    ),
    "headerless samples": ("audio", ".raw", b"\0" * 32000, "Format not recognised"),
}  # fmt: skip
