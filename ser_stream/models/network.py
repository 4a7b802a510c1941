"""ONNX Runtime as this project runs it, and what both kinds of model files have in common.

A model file is read once, checked by `ser_stream.models.onnx_file`, opened from memory, and tried
out within limits of time and memory before anybody relies on it. Whatever is wrong with it is a
`BundleError` of one line.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ser_stream.errors import BundleError, ConfigError, SerStreamError, first_line
from ser_stream.files import os_reason
from ser_stream.models.inputs import Inputs
from ser_stream.models.onnx_file import MOST_BYTES, read_metadata
from ser_stream.printable import one_line

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

T = TypeVar("T")

# Digests of the files that are shipped, as ``sha256sum`` writes and checks them.
DIGESTS = "SHA256SUMS"
# Opening and trying out a model takes a fraction of a second; only what never ends takes this long.
TRIAL_S = 60.0
# ...and needs some hundred megabytes at most.
TRIAL_BYTES = 4 * 2**30
_limiting = threading.Lock()


def models_folder() -> Path:
    """Folder of the models that are shipped."""
    return Path(str(resources.files("ser_stream"))) / "models"


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Let errors of loading ``path`` be a `BundleError` that begins with it."""
    try:
        yield
    except (BundleError, ConfigError) as error:
        raise BundleError(f"{path}: {one_line(str(error).removeprefix(f'{path}: '))}") from error


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file's content, checked.

    Attributes:
        path: where it was read.
        data: all of it.
        digest: SHA-256 of it, hexadecimal.
        metadata: what it says about itself, by key.
    """

    path: Path
    data: bytes
    digest: str
    metadata: dict[str, str]

    @classmethod
    def read(cls, path: Path, what: str = "model file") -> Self:
        """Read and check a file.

        Raises:
            BundleError: no such file, it cannot be read, or is none that could be run; or a shipped
                one that is not as it was shipped.
        """
        try:
            if not path.is_file():
                raise BundleError(f"no such {what}")
            size = path.stat().st_size
            if size > MOST_BYTES:
                raise BundleError(f"{size} bytes, a {what} has {MOST_BYTES} at most")
            data = path.read_bytes()
        except OSError as error:
            raise BundleError(f"cannot read ({os_reason(error)})") from error
        digest = digest_of(data)
        if path.parent == models_folder() and shipped_digests().get(path.name, digest) != digest:
            raise BundleError(
                f"not the file that was shipped (its SHA-256 is {digest[:12]}...): the "
                "installation is damaged; reinstall ser-stream"
            )
        try:
            return cls(path, data, digest, read_metadata(data))
        except BundleError as error:
            raise BundleError(f"not a {what} that can be run: {error}") from error

    def text(self, key: str, hint: str) -> str:
        """Metadata under ``key``; ``hint`` ends the error: where files with some come from.

        Raises:
            BundleError: there is none.
        """
        if key not in self.metadata:
            raise BundleError(f"no {key} metadata{hint}")
        return self.metadata[key]


def digest_of(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def shipped_digests() -> dict[str, str]:
    """SHA-256 of each model that is shipped, by the file's name.

    Raises:
        BundleError: the table is missing or damaged.
    """
    try:
        lines = (models_folder() / DIGESTS).read_text("ascii").splitlines()
        return {name: digest for digest, name in (line.split("  ") for line in lines)}
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{DIGESTS} is missing or damaged beside it, and so is the installation; "
            "reinstall ser-stream"
        ) from error


class Network:
    """A graph that was opened by ONNX Runtime, on the CPU; immutable.

    Attributes:
        path: of the file, for errors.
        inputs: dimensions of the graph's inputs by their names, in order; one that varies is a name
            or None.
        outputs: names of its outputs.
    """

    def __init__(self, session: InferenceSession, path: Path) -> None:
        import onnxruntime as ort

        self.path = path
        self.inputs: dict[str, tuple[int | str | None, ...]] = {
            i.name: tuple(i.shape) for i in session.get_inputs()
        }
        self.outputs = [o.name for o in session.get_outputs()]
        self._session = session
        self._options = ort.RunOptions()

    @classmethod
    def open(cls, file: ModelFile, threads: int = 1) -> Self:
        """Open a checked file; ``threads`` are ONNX Runtime's intra-op threads, which never spin.

        Raises:
            BundleError: ONNX Runtime does not take it.
        """
        import onnxruntime as ort

        # What is wrong comes as an exception; a log would be a second message.
        ort.set_default_logger_severity(4)
        # For Windows, where events go through the system's own tracing. It stops nothing on Linux:
        # there the variable does that is set in ser_stream/__init__.py.
        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False

        def opened() -> InferenceSession:
            return ort.InferenceSession(
                file.data, sess_options=options, providers=["CPUExecutionProvider"]
            )

        try:
            return cls(_within_limits(opened, lambda: None), file.path)
        except SerStreamError:
            raise
        except Exception as error:  # ONNX Runtime raises bare C++ exceptions of many types
            raise BundleError(
                f"not a model that ONNX Runtime can open: {_reason(error)}"
            ) from error

    def __call__(self, inputs: Inputs) -> list[NDArray[Any]]:
        """Run the graph on an array (batch, ...) for each input, by its name.

        Raises:
            BundleError: ONNX Runtime could not.
        """
        try:
            return self._session.run(None, dict(inputs), self._options)  # type: ignore[return-value]
        except Exception as error:  # of many types, see above
            raise BundleError(f"{self.path}: {_reason(error)}") from error

    def try_out(self, work: Callable[[], None]) -> None:
        """Do ``work``, which runs the network and checks what it gives, within limits.

        Raises:
            BundleError: it took too long, needed too much memory, or failed in any way.
        """

        def quietly() -> None:
            with np.errstate(all="ignore"):  # what is not finite is found by the checks
                work()

        try:
            _within_limits(quietly, self._stop)
        except Exception as error:  # whatever a foreign graph does wrong is one line to the user
            reason = _reason(error).removeprefix(f"{self.path}: ")
            raise BundleError(f"graph and metadata do not fit: {reason}") from error

    def _stop(self) -> None:
        # Between two operators; the thread is left behind if one of them does not end.
        self._options.terminate = True


def check_output(found: object, shape: tuple[int, ...], what: str) -> None:
    """See to it that an output is a finite float32 array of ``shape``.

    Raises:
        BundleError: it is not.
    """
    if not isinstance(found, np.ndarray) or found.dtype != np.float32:
        kind = found.dtype if isinstance(found, np.ndarray) else type(found).__name__
        raise BundleError(f"output of type {kind}, not float32")
    if found.shape != shape:
        raise BundleError(f"output {found.shape} for {what}")
    if not np.isfinite(found).all():
        raise BundleError("the output holds NaN or infinite values")


def _reason(error: BaseException) -> str:
    """The first line of what an exception says."""
    if isinstance(error, MemoryError):
        return f"it needs more than {TRIAL_BYTES / 2**30:g} GB of memory"
    return first_line(error)


def _within_limits(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """Do ``work`` on a thread of its own and return its result, or raise what it raises.

    After `TRIAL_S` seconds it is asked to ``stop`` and left behind.
    """
    results: list[T] = []
    errors: list[Exception] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)
        finally:
            done.set()

    with _memory_limited():
        threading.Thread(target=run, name="model trial", daemon=True).start()
        try:
            if not done.wait(TRIAL_S):
                raise BundleError(f"it does not end within {TRIAL_S:g} s")
        except BaseException:
            stop()
            raise
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def _memory_limited() -> Iterator[None]:
    """Let this process take `TRIAL_BYTES` more of memory at most, where the system reports it."""
    if sys.platform != "linux":
        yield
        return
    import resource

    with _limiting:
        with open("/proc/self/statm", "rb") as file:
            taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        allowed = [taken + TRIAL_BYTES, *(n for n in (soft, hard) if n != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_AS, (min(allowed), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
