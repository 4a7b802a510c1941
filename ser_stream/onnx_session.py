"""ONNX Runtime as this project runs it: on one thread that sleeps between runs."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_stream.errors import BundleError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(path: Path, threads: int = 1) -> InferenceSession:
    """Open a graph on the CPU; ``threads`` are ONNX Runtime's intra-op threads, which never spin.

    Raises:
        Exception: what ONNX Runtime raises, bare C++ exceptions of many types.
    """
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    # For Windows, where events go through the system's own tracing. It stops nothing on Linux:
    # there the variable does that is set in ser_stream/__init__.py.
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    return ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])


def versioned_table(text: str, schema: int) -> dict[str, Any]:
    """Parse the versioned JSON that a model file carries.

    Raises:
        BundleError: not JSON, or of another schema.
    """
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise BundleError(f"its metadata is not JSON: {error}") from error
    if not isinstance(table, dict) or "schema" not in table:
        raise BundleError("its metadata carries no schema version")
    found = table.pop("schema")
    if found != schema:
        raise BundleError(
            f"its metadata has schema {found!r}, this version reads {schema}; "
            "export it again with ser-export, or update ser-stream"
        )
    return table


def models_folder() -> Path:
    """Folder of the models that are shipped."""
    return Path(str(resources.files("ser_stream"))) / "models"
