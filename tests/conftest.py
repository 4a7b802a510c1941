"""Fixtures that many tests share."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_stream.bundle import ModelBundle

RATE_HZ = 16000
SHARED = Path(os.environ.get("SER_STREAM_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def demo_path() -> Path:
    """The clip that ships with the package."""
    return Path(str(resources.files("ser_stream") / "demo" / "demo.flac"))


@pytest.fixture(scope="session")
def speech(demo_path: Path) -> np.ndarray:
    """Its samples: 33 s of synthesised speech with pauses, 16 kHz."""
    samples, rate = soundfile.read(demo_path, dtype="float32")
    assert rate == RATE_HZ
    return samples


@pytest.fixture(scope="session")
def bundle() -> ModelBundle:
    """The shipped model."""
    return ModelBundle.load()


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of corpora beside the checkout; the test is skipped without it."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no corpora in {folder}")
    return folder
