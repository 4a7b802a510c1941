"""Which recordings train, and which measure."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from ser_stream.errors import ConfigError
from training.data.noises import split_noises


def named(folder, *names: str):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_the_fifth_fold_of_esc10_is_measured_with_and_never_trained_on(tmp_path):
    folder = named(tmp_path, "rain/1-17367-A.ogg", "rain/5-181766-A.ogg", "dog/2-1-A.ogg")
    train, measured = split_noises(folder)
    assert [p.name for p in measured] == ["5-181766-A.ogg"]
    assert sorted(p.name for p in train) == ["1-17367-A.ogg", "2-1-A.ogg"]


def test_recordings_of_ones_own_are_for_both(tmp_path):
    train, measured = split_noises(named(tmp_path, "street.wav", "cafe.wav"))
    assert train == measured
    assert len(train) == 2


def test_a_folder_without_audio_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no audio there"):
        split_noises(tmp_path)
    with pytest.raises(ConfigError, match="no audio there"):
        split_noises(tmp_path / "missing")


@pytest.mark.corpus
def test_esc10_is_divided_four_to_one(corpora):
    train, measured = split_noises(corpora / "esc10")
    assert (len(train), len(measured)) == (320, 80)
