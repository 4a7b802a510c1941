"""Write a network as one ONNX file with its metadata."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import onnx
import torch
from torch import Tensor, nn

from ser_stream.errors import SerStreamError
from ser_stream.files import os_reason, replacing

OPSET = 18


class ExportError(SerStreamError):
    """An export that must not be used."""


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """Give a path beside ``path``; what was written there becomes ``path`` if nothing is raised.

    Raises:
        ExportError: it cannot be written.
    """
    try:
        with replacing(path) as part:
            yield part
    except OSError as error:
        raise ExportError(f"{path}: cannot write ({os_reason(error)})") from error


class Metadata(Protocol):
    """What a file says about itself."""

    def to_json(self) -> str: ...


def write_graph(
    net: nn.Module,
    inputs: dict[str, Tensor],
    names: Sequence[str],
    output: str,
    shapes: dict[str, Any],
    key: str,
    metadata: Metadata,
    path: Path,
) -> None:
    """Export ``net``, which is in evaluation mode.

    Args:
        net: the network.
        inputs: an example of each, (batch, ...).
        names: of the inputs, in the graph's order.
        output: name of the output.
        shapes: dimensions of the inputs that vary, as `torch.export` has them.
        key: under which the file keeps...
        metadata: ...what it says about itself.
        path: of the file.

    Raises:
        ExportError: PyTorch cannot export it.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The exporter warns of its own internals.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net,
            kwargs=inputs,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(names),
            output_names=[output],
            dynamic_shapes=shapes,
        )
    if program is None:
        raise ExportError("PyTorch exported nothing")
    model = program.model_proto
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: metadata.to_json()})
    # Names of the source files that each node came from are of no use to a user.
    model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
