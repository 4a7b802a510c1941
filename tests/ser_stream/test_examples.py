"""The examples in the docstrings of the classes that a Python user meets first."""

from __future__ import annotations

import doctest

import pytest

from ser_stream.audio.resample import StreamingResampler
from ser_stream.audio.sound_file import FileSource
from ser_stream.features.frontend import FrontEnd
from ser_stream.features.ring import RingBuffer
from ser_stream.models.bundle import ModelBundle
from ser_stream.stream.engine import Engine
from ser_stream.stream.listening import Listening
from ser_stream.stream.session import Session
from ser_stream.stream.smoothing import Smoother

CLASSES = (
    FileSource, StreamingResampler, RingBuffer, FrontEnd, ModelBundle, Engine, Listening, Session,
    Smoother,
)  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_example_runs_by_itself(kind):
    # Without the names of its module: whoever copies it has none of them.
    (found,) = doctest.DocTestFinder(recurse=False).find(kind, kind.__name__, globs={})
    assert len(found.examples) >= 4
    out: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(found, out=out.append)
    assert result.failed == 0, "".join(out)


def test_a_bundle_shows_its_own_inputs_and_size(bundle, tmp_path):
    lines = repr(bundle).splitlines()
    assert lines[0] == "ModelBundle 'default'"
    assert [line.strip().partition(":")[0] for line in lines[1:]] == [
        "features", "embedding", "labels", "window", "file"
    ]  # fmt: skip
    assert f"file: {bundle.path.stat().st_size / 1e6:.2f} MB" in lines[-1]
