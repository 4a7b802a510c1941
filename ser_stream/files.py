"""Files that this project writes: in one step, in the user's folders, and identified by digest."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ser_stream.errors import ConfigError

APP = "ser-stream"
CACHE = "SER_STREAM_CACHE"
CONFIG = "SER_STREAM_CONFIG"
# Part of every temporary name, so that leftovers of a killed process can be recognised.
PART = ".part"


@contextlib.contextmanager
def replacing(path: str | Path, *, private: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what is written there becomes ``path`` in one step.

    Whoever reads ``path`` meanwhile, also after a crash or a power failure, finds the old content
    or the new one, whole. Two writers do not disturb each other: the last one to finish wins. If
    the body raises, ``path`` stays as it was. A link is followed; a device or a pipe, which has no
    content to keep, is given as it is.

    Args:
        path: the file; its folder must exist.
        private: a new file is for its owner alone; one that exists keeps its permissions.

    Raises:
        OSError: the temporary file cannot be made, written or renamed.
    """
    path = Path(os.path.realpath(path))
    mode, kept = 0o600 if private else 0o666, False
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            yield path
            return
        mode, kept = stat.S_IMODE(status.st_mode), True
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied", str(path))
    part = path.with_name(f".{path.stem}.{secrets.token_hex(6)}{PART}{path.suffix}")
    try:
        # Made here, so that the permissions are right before anything is in it.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        if kept:
            part.chmod(mode)  # whatever the umask
        yield part
        _sync(part)
        part.replace(path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; with what is put there it becomes ``path``.

    Whoever finds ``path``, also after a crash or a power failure, finds all of its files, whole. If
    another process has made it meanwhile, that one stays. If the body raises, nothing is left.

    Raises:
        OSError: the temporary folder cannot be made, written or renamed.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}{PART}")
    part.mkdir(parents=True)
    try:
        yield part
        for content in (*part.rglob("*"), part):
            _sync(content)
        try:
            part.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_bytes(path: str | Path, data: bytes, *, private: bool = False) -> None:
    """Write ``data`` as the content of ``path`` in one step, see `replacing`."""
    with replacing(path, private=private) as part:
        part.write_bytes(data)


def write_text(path: str | Path, text: str, *, private: bool = False) -> None:
    """Write ``text`` as UTF-8 with its line ends as they are, in one step, see `replacing`."""
    write_bytes(path, text.encode(), private=private)


def create_together(paths: Sequence[Path], *, overwrite: bool = False) -> list[io.FileIO]:
    """Create files to be written and read without a buffer; ``name`` of each is its path.

    A file that exists is left alone: then all get the same number, ``talk-2.csv`` and
    ``talk-2.wav``. No two processes get the same file. A device or a pipe is opened as it is.

    Args:
        paths: in folders that exist, all with different suffixes or stems.
        overwrite: delete files that exist; their names, and what links point to, stay.

    Raises:
        OSError: one of them cannot be created; then none is.
    """
    if overwrite:
        paths = [Path(os.path.realpath(path)) for path in paths]
    for number in itertools.count(1):
        files: list[io.FileIO] = []
        try:
            for path in paths:
                name = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
                files.append(_create(name, overwrite))
            for folder in {Path(file.name).parent for file in files}:
                _sync(folder)
            return files
        except OSError as error:
            for file in files:
                discard(file)
            if not isinstance(error, FileExistsError):
                raise
    raise AssertionError("numbers do not end")


def discard(file: io.FileIO) -> None:
    """Close and delete a file of `create_together`; a device or a pipe is only closed."""
    file.close()
    path = Path(file.name)
    if path.is_file():
        path.unlink()


def _create(path: Path, overwrite: bool) -> io.FileIO:
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            return io.FileIO(path, "w")
    if overwrite:
        path.unlink(missing_ok=True)
    return io.FileIO(path, "x+")


def _sync(path: Path) -> None:
    """Let the disk have what the system holds of a file or a folder."""
    if os.name == "nt" and path.is_dir():
        return
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def utf8_name(name: str) -> str:
    r"""A file's name as UTF-8 holds it: bytes that are not UTF-8 become ``\xe4``."""
    if name.isascii():
        return name
    try:
        data = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, which Windows lets a name have
        data = name.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")


def name_from_utf8(text: str) -> str:
    """The name that `utf8_name` wrote, as Python has it; another one's backslashes stay."""
    return re.sub(r"\\x([89a-f][0-9a-f])", lambda byte: chr(0xDC00 + int(byte[1], 16)), text)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def os_reason(error: OSError) -> str:
    """Why the system refused, in its words."""
    return error.strerror or str(error) or type(error).__name__


def cache_folder(name: str) -> Path:
    """Folder of the caches called ``name``: below $SER_STREAM_CACHE, or the user's caches."""
    from platformdirs import user_cache_path

    return _user_folder(CACHE, user_cache_path) / name


def config_folder() -> Path:
    """Folder of profiles and settings: $SER_STREAM_CONFIG, or where the system keeps settings."""
    from platformdirs import user_config_path

    return _user_folder(CONFIG, functools.partial(user_config_path, roaming=True))


def _user_folder(variable: str, usual: Callable[..., Path]) -> Path:
    if told := os.environ.get(variable):
        return Path(told)
    try:
        folder = usual(APP, appauthor=False)
    except RuntimeError:
        # What newer versions of platformdirs raise where older ones leave "~" in the path: neither
        # the environment nor the system knows the user's home.
        folder = None
    if folder is None or folder.parts[0].startswith("~"):
        raise ConfigError(f"no home folder is known; set HOME or {variable}")
    return folder
