"""Model files: loaded, described, and run over some seconds of speech if they load."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import onnx

from ser_stream.bundle import METADATA_KEY, ModelBundle, default_model_path
from ser_stream.engine import Engine
from ser_stream.types import AudioBlock

from .audio import speech
from .kinds import Kind, require_finite
from .mutations import damaged, damaged_json


class Fuzz(Kind):
    """The shipped model with damaged bytes or other metadata."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._data = default_model_path().read_bytes()
        self._model = onnx.load_from_string(self._data)
        (self._metadata,) = (p for p in self._model.metadata_props if p.key == METADATA_KEY)
        self._table = json.loads(self._metadata.value)
        self._clip = speech()[32000:80000].astype("float32")

    def make(self, rng: Random) -> tuple[str, bytes]:
        if rng.random() < 0.5:
            return ".onnx", damaged(self._data, rng, self._data)
        text = damaged_json(self._table, rng).decode("utf-8", "replace")
        whole = self._metadata.value
        self._metadata.value = text
        data = self._model.SerializeToString()
        self._metadata.value = whole
        return ".onnx", data

    def check(self, path: Path) -> str | None:
        bundle = ModelBundle.load(path)
        require_finite(bundle.describe(), "description")
        for prediction in Engine(bundle).feed(AudioBlock(self._clip, 0)):
            require_finite([prediction.posterior, prediction.smoothed], "prediction")
        return None
