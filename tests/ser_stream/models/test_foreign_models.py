"""Model files that are foreign, damaged or hostile: each is one line, and soon."""

from __future__ import annotations

import re
import resource
import threading

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from ser_stream.errors import BundleError
from ser_stream.models import network as onnx_session
from ser_stream.models.bundle import ModelBundle, default_model_path
from ser_stream.models.embedder import SpeakerEmbedder
from ser_stream.models.network import shipped_digests
from ser_stream.models.onnx_file import OPERATORS, read_metadata
from ser_stream.stream.detector import SileroDetector
from tests.fuzz.models import foreign_models, shipped_with, slow_model, small_model

FOREIGN = foreign_models()


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_one_line(name, tmp_path):
    data, message = FOREIGN[name]
    path = tmp_path / "foreign.onnx"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=message) as caught:
        ModelBundle.load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    assert len(line) < 1500


def test_what_they_are_made_from_loads(tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(small_model())
    assert ModelBundle.load(path).meta.labels == ("angry", "happy", "neutral", "sad")


def test_a_run_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_session, "TRIAL_S", 0.5)
    path = tmp_path / "slow.onnx"
    path.write_bytes(slow_model())
    with pytest.raises(BundleError, match=r"slow.onnx: .*does not end within 0\.5 s"):
        ModelBundle.load(path)
    for thread in threading.enumerate():
        if thread.name == "model trial":
            # After the operator that it was at; all of them would take minutes.
            thread.join(60)
            assert not thread.is_alive()


def test_the_memory_of_a_trial_is_given_back(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_AS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = tmp_path / "large.onnx"
    path.write_bytes(FOREIGN["16 GB of memory"][0])
    with pytest.raises(BundleError):
        ModelBundle.load(path)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 2_000_000  # KiB


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    for path, message in (
        (tmp_path, "no such model file"),
        (tmp_path / ("x" * 300), "cannot read"),
        (tmp_path / "a\0b", "no such model file|cannot read"),
    ):
        with pytest.raises(BundleError, match=message) as caught:
            ModelBundle.load(path)
        assert len(str(caught.value).splitlines()) == 1
    large = tmp_path / "large.onnx"
    with large.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BundleError, match="bytes, a model file has 268435456 at most"):
        ModelBundle.load(large)


def test_a_speaker_embedder_is_checked_alike(tmp_path):
    path = tmp_path / "foreign.onnx"
    for name in ("loop", "data elsewhere", "domain", "cut"):
        path.write_bytes(FOREIGN[name][0])
        with pytest.raises(BundleError, match=FOREIGN[name][1]):
            SpeakerEmbedder.load(path)
    path.write_bytes(small_model())
    with pytest.raises(BundleError, match="no ser_stream_speaker metadata, so it is no speaker"):
        SpeakerEmbedder.load(path)


def test_the_reader_agrees_with_onnx():
    for path in (default_model_path(), default_model_path().with_name(SileroDetector.FILE)):
        model = onnx.load(path)
        assert read_metadata(path.read_bytes()) == {p.key: p.value for p in model.metadata_props}
        assert {n.op_type for n in model.graph.node} <= OPERATORS


def test_numbers_may_be_packed_or_not():
    tensor = onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [2, 2], [1, -1, 2**40, 0])

    def more(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(tensor)
        model.graph.initializer.append(
            onnx.helper.make_tensor("some", onnx.TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
        )

    assert "ser_stream" in read_metadata(small_model(more))
    tensor.dims[1] = 3
    with pytest.raises(BundleError, match="do not fit its shape"):
        read_metadata(small_model(more))
    tensor.dims[:] = [1] * 9
    with pytest.raises(BundleError, match="more than 8 dimensions"):
        read_metadata(small_model(more))


def test_a_network_that_fails_later_is_one_line(tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(small_model())
    bundle = ModelBundle.load(path)
    with pytest.raises(BundleError, match=re.escape(f"{path}: ")) as caught:
        bundle._network({"features": np.zeros((1, 10, 3), np.float32)})
    assert len(str(caught.value).splitlines()) == 1


# The files that are shipped.


def test_the_table_of_digests_is_that_of_the_shipped_files():
    folder = default_model_path().parent
    want = {p.name: onnx_session.digest_of(p.read_bytes()) for p in folder.glob("*.onnx")}
    assert shipped_digests() == want, "run scripts/write_digests.py"


def test_a_shipped_file_that_was_changed_is_told(tmp_path, monkeypatch):
    folder = default_model_path().parent
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(onnx_session, "models_folder", lambda: tmp_path)
    assert ModelBundle.load(tmp_path / "default.onnx").digest == shipped_digests()["default.onnx"]
    (tmp_path / "default.onnx").write_bytes(shipped_with("{}"))
    with pytest.raises(BundleError, match="the installation is damaged; reinstall ser-stream"):
        ModelBundle.load(tmp_path / "default.onnx")
    # Whatever else lies there is nobody's promise.
    (tmp_path / "own.onnx").write_bytes(small_model())
    ModelBundle.load(tmp_path / "own.onnx")
    (tmp_path / "SHA256SUMS").write_text("no table\n")
    with pytest.raises(BundleError, match="SHA256SUMS is missing or damaged"):
        ModelBundle.load(tmp_path / "own.onnx")
