"""Going through recordings: the table that is written, the bar on a terminal, and the last line."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ser_stream.entry import EXIT_ERROR
from ser_stream.errors import AudioError, SerStreamError
from ser_stream.files import os_reason, replacing
from ser_stream.printable import echo, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ser_stream.scoring.formats import RowWriter

EXIT_SOME_FAILED = 3
# Of a file's name beside the bar.
NAME_WIDTH = 28


class Batch:
    """Recordings that are gone through one by one, and the table that their rows go to.

    Args:
        verb: what is done to a recording, as "scored".
        files: the recordings.
        writer: of the table.
        bar: shows how far it is; None where that would not be seen.
    """

    def __init__(
        self, verb: str, files: Sequence[Path], writer: RowWriter, bar: Progress | None
    ) -> None:
        self.verb = verb
        self.write = writer.write
        self.total = len(files)
        self.done = self.failed = 0
        self.began = False
        self._files = files
        self._bar = bar
        self._task: Any = None

    def __iter__(self) -> Iterator[Path]:
        """Each recording, in order."""
        self.began = True
        if self._bar is not None:
            self._task = self._bar.add_task("", total=self.total, failed="")
        for path in self._files:
            if self._bar is not None:
                self._bar.update(self._task, description=_short(printable(path.name)))
            yield path
            self.done += 1
            self.progress(0.0)

    def first_pass(self) -> Iterator[Path]:
        """Each recording, before the pass in which its row is written."""
        if self._bar is None:
            yield from self._files
            return
        task = self._bar.add_task("", total=self.total, failed="")
        for path in self._files:
            self._bar.update(task, description=_short(f"hearing {printable(path.name)}"))
            yield path
            self._bar.advance(task)
        self._bar.remove_task(task)

    def progress(self, share: float) -> None:
        """So much of the present recording is done, 0 to 1."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done + share)

    def fail(self, path: Path, reason: str) -> None:
        """Report why a recording failed, and count it."""
        self.failed += 1
        line = f"error: {path}: {reason}"
        if self._bar is None:
            echo(line, err=True)
        else:
            self._bar.update(self._task, failed=f"{self.failed} failed")
            self._bar.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def batch_of(
    verb: str, paths: Iterable[Path], output: Path | None, jsonl: bool = False
) -> Iterator[Batch]:
    """Find recordings and write their table; end the command with its exit code if some failed.

    The file ``output`` appears, or is replaced, once all is done. If the batch is cut short, what
    there is of the table is kept under another name, which is reported.

    Args:
        verb: what is done to a recording, as "scored".
        paths: files and folders.
        output: a file of a format of `ser_stream.scoring.formats`; None writes to stdout.
        jsonl: JSON lines on stdout, not CSV.

    Raises:
        AudioError: there is no recording.
        SerStreamError: ``output`` cannot be written.
    """
    from ser_stream.scoring.find import PassedOver, find_audio

    paths, passed_over = list(paths), PassedOver()
    files = list(find_audio(paths, passed_over))
    also = f"; passed over: {passed_over}" if str(passed_over) else ""
    if not files:
        raise AudioError(f"no audio below {', '.join(str(path) for path in paths)}{also}")
    kept: list[Path] = []
    with _progress_bar(rows_on_stdout=output is None) as bar:
        batch = None
        try:
            with _table(output, jsonl, kept) as writer:
                batch = Batch(verb, files, writer, bar)
                yield batch
        except BrokenPipeError:  # the reader has ended
            raise
        except BaseException as error:
            if bar is not None:
                bar.stop()
            if batch is not None and batch.began:
                _tell_end(error, batch, output, kept)
            raise
    if batch.total > 1 or also:
        succeeded = batch.total - batch.failed
        files_ = "file" if succeeded == 1 else "files"
        echo(f"{verb} {succeeded} {files_}, {batch.failed} failed{also}", err=True)
    if batch.failed:
        raise typer.Exit(EXIT_ERROR if batch.failed == batch.total else EXIT_SOME_FAILED)


def _tell_end(error: BaseException, batch: Batch, output: Path | None, kept: list[Path]) -> None:
    """Report what is kept of a batch that is cut short, and how to resume it."""
    how = "interrupted" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "broken off"
    line = f"{how}: {batch.verb} {batch.done} of {batch.total} files"
    if kept:
        line += f", kept in {kept[0]}"
    if output is not None:
        state = "as it was" if output.exists() else "not written"
        line += f"; {output} is {state}"
    echo(f"{line}; the same command begins anew", err=True)


@contextlib.contextmanager
def _table(output: Path | None, jsonl: bool, kept: list[Path]) -> Iterator[RowWriter]:
    from ser_stream.scoring.formats import Csv, JsonLines, format_of

    if output is None:
        yield JsonLines(sys.stdout) if jsonl else Csv(sys.stdout)
        return
    open_table = format_of(output).open
    try:
        with replacing(output) as part:
            try:
                with open_table(part) as writer:
                    yield writer
            except BaseException:
                kept += _keep(part, output)
                raise
    except OSError as error:
        there = output.absolute().parent.is_dir()
        reason = os_reason(error) if there else f"there is no folder {output.parent}"
        raise SerStreamError(f"{output}: cannot write ({reason})") from error


def _keep(part: Path, output: Path) -> list[Path]:
    """Give a table that is not whole a name of its own; nothing without rows."""
    whole = Path(os.path.realpath(output))
    partial = whole.with_name(f"{whole.stem}.partial{whole.suffix}")
    try:
        # A pipe or a device stays what it is.
        return [part.replace(partial)] if part != whole and part.stat().st_size else []
    except OSError:
        return []


@contextlib.contextmanager
def _progress_bar(rows_on_stdout: bool) -> Iterator[Progress | None]:
    """A bar on stderr, unless there is no terminal, or the rows themselves come there."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal or (rows_on_stdout and sys.stdout.isatty()):
        yield None
        return
    with progress_on(console) as bar:
        yield bar


def progress_on(console: Console) -> Progress:
    """A bar with the recording's name and the number of failures."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}", markup=False, style="red"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, redirect_stdout=False)


def _short(name: str) -> str:
    cut = name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
    return cut.ljust(NAME_WIDTH)
