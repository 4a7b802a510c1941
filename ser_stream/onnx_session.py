"""ONNX Runtime as this project runs it: on one thread that sleeps between runs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(path: Path, threads: int = 1) -> InferenceSession:
    """Open a graph on the CPU; ``threads`` are ONNX Runtime's intra-op threads, which never spin.

    Raises:
        Exception: what ONNX Runtime raises, bare C++ exceptions of many types.
    """
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    # Telemetry exists in the Windows builds only; nothing may leave the machine.
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    return ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])


def models_folder() -> Path:
    """Folder of the models that are shipped."""
    return Path(str(resources.files("ser_stream"))) / "models"
