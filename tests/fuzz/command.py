"""A folder of recordings with what lies beside them, scored by the command itself."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import sys
from pathlib import Path
from random import Random
from unittest import mock

from ser_stream import cli

from . import audio, subtitles
from .kinds import FuzzKind, NotFiniteError, message_fault, require

COUNT = 4


class Fuzz(FuzzKind):
    """Several files in one, each with its name: recordings, subtitles, a table."""

    outputs = frozenset({"rows.csv", "rows.jsonl"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._audio = audio.Fuzz(folder)
        (folder / "words").mkdir()
        self._subtitles = subtitles.Fuzz(folder / "words")

    def make(self, rng: Random) -> tuple[str, bytes]:
        files = []
        for i in range(COUNT):
            suffix, data = self._audio.make(rng)
            files.append((f"{i}{suffix}", data))
            if rng.random() < 0.5:
                suffix, data = self._subtitles.make(rng)
                files.append((f"{i}{suffix}", data))
        head = {"files": [(name, len(data)) for name, data in files], "way": rng.randrange(4)}
        return ".files", b"".join([json.dumps(head).encode(), b"\n", *(d for _, d in files)])

    def place(self, path: Path) -> None:
        folder = path.parent / "recordings"
        folder.mkdir()
        head, _, data = path.read_bytes().partition(b"\n")
        for name, length in json.loads(head)["files"]:
            (folder / name).write_bytes(data[:length])
            data = data[length:]

    def check(self, path: Path) -> str | None:
        way = json.loads(path.read_bytes().partition(b"\n")[0])["way"]
        folder = path.parent / "recordings"
        words = self._subtitles.folder
        options = (
            ["--jsonl"],
            ["-o", str(path.parent / "rows.csv"), "--windows"],
            ["-o", str(path.parent / "rows.jsonl")],
            ["--model", str(words / "reading.onnx"), "--vectors", str(words / "vectors.txt")],
        )[way]
        code, out, said = run(["score", str(folder), *options])
        require(code in (0, 1, 3), f"exit code {code}: {said}")
        require("Traceback" not in said, said)
        for file in (path.parent / "rows.csv", path.parent / "rows.jsonl"):
            out += file.read_text("utf-8") if file.exists() else ""
        for row in _rows(out):
            for key, value in row.items():
                if key not in ("path", "error", "words", "label"):
                    _require_number(key, value)
        lines = said.splitlines()
        faults = [fault for line in lines if (fault := message_fault(line)) is not None]
        require(not faults, "; ".join(faults))
        return f"exit code {code}, {len(lines)} lines on stderr" if lines else None


def run(arguments: list[str]) -> tuple[int, str, str]:
    """Run ``ser-stream`` in this process: exit code, stdout and stderr."""
    out, said = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["ser-stream", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
    ):
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), said.getvalue()
    return 0, out.getvalue(), said.getvalue()


def _rows(text: str) -> list[dict[str, object]]:
    if text.startswith("{"):
        return [json.loads(line, parse_constant=_no_constant) for line in text.splitlines()]
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _no_constant(text: str) -> None:
    raise NotFiniteError(text)


def _require_number(key: str, value: object) -> None:
    with contextlib.suppress(ValueError, TypeError):
        if not math.isfinite(float(str(value))):
            raise NotFiniteError(f"{key}: {value}")
