"""Features and windows of training are those of the runtime."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.toy_corpus import RATE_HZ, make_toy_corpus

pytest.importorskip("torch")

from ser_stream.features.frontend import FrontEnd
from ser_stream.features.registry import make_extractor, make_normalizer
from training.data.audio import load_audio
from training.data.corpora import CorpusError, Utterance, read_corpus
from training.data.features import FeatureStore, build_features
from training.data.hearing import Hearing, by_speaker, for_profile
from training.data.windows import Place, Presenter, frames_per_s, hearings_of, training_statistics
from training.recipe.book import load_recipe
from training.recipe.config import WindowsConfig


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_corpus(tmp_path_factory.mktemp("toy"), speakers=3, takes=2)


@pytest.fixture(scope="module")
def recipe():
    full = load_recipe("default")
    return replace(full, augment=replace(full.augment, variants=1))


# Features


def test_cached_features_are_the_computed_ones(toy, recipe, tmp_path):
    utterances = read_corpus("crema-d", toy)[:6]
    noises = [utterances[0].path]
    told = []
    first = build_features(
        utterances, recipe, noises, tmp_path, lambda done, total: told.append((done, total))
    )
    assert told[-1] == (6, 6)
    told.clear()
    again = build_features(
        utterances, recipe, noises, tmp_path, lambda done, total: told.append((done, total))
    )
    assert told == []
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    for u, utterance in enumerate(utterances):
        want = extractor(load_audio(utterance.path, 16000))
        # The last bits depend on how many threads multiply.
        for name in ("features", "level_db", "periodicity"):
            got = getattr(first[u, 0], name)
            np.testing.assert_allclose(got, getattr(want, name), rtol=1e-4, atol=1e-4)
        assert len(first[u, 1]) > 0
        for v in range(2):
            np.testing.assert_array_equal(first[u, v].features, again[u, v].features)
    assert len(list(tmp_path.glob("crema-d-*"))) == 1


def test_the_cache_is_keyed_by_parameters_and_not_by_folds_seeds_or_models(toy, recipe, tmp_path):
    utterances = read_corpus("crema-d", toy)[:4]
    clean = replace(recipe, augment=replace(recipe.augment, variants=0))
    build_features(utterances, clean, [], tmp_path)
    seeded = replace(clean, train=replace(clean.train, seed=5), model="mscnn_spu")
    build_features(utterances, seeded, [], tmp_path)
    assert len(list(tmp_path.glob("crema-d-*"))) == 1
    other = replace(clean, frontend_params={**clean.frontend_params, "f_max_hz": 4000.0})
    build_features(utterances, other, [], tmp_path)
    build_features(utterances[:3], clean, [], tmp_path)
    build_features(utterances, recipe, [], tmp_path)
    assert len(list(tmp_path.glob("crema-d-*"))) == 4


def test_a_speaker_s_conditions_do_not_depend_on_the_others(toy, recipe, tmp_path):
    everybody = read_corpus("crema-d", toy)
    last = [u for u in everybody if u.speaker == everybody[-1].speaker]
    whole = build_features(everybody, recipe, [], tmp_path)
    alone = build_features(last, recipe, [], tmp_path)
    at = everybody.index(last[0])
    np.testing.assert_array_equal(whole[at, 1].features, alone[0, 1].features)


def test_spans_are_read_as_spans(demo_path, speech, recipe, tmp_path):
    got = load_audio(demo_path, 16000, 1.5, 2.25)
    np.testing.assert_array_equal(got, speech[24000:36000])
    np.testing.assert_array_equal(load_audio(demo_path, 16000, 30.0), speech[480000:])
    with pytest.raises(CorpusError, match="no samples at 99"):
        load_audio(demo_path, 16000, 99.0)
    spans = [
        Utterance(demo_path, "manifest", "manifest/a", "sad", start_s=s, end_s=s + 1.0)
        for s in (1.0, 2.0)
    ]
    store = build_features(spans, recipe, [], tmp_path)
    assert not np.array_equal(store[0, 0].features, store[1, 0].features)
    assert not np.array_equal(store[0, 1].features, store[1, 1].features)


def test_changed_audio_is_heard_anew(toy, recipe, tmp_path):
    clean = replace(recipe, augment=replace(recipe.augment, variants=0))
    utterance = read_corpus("crema-d", toy)[0]
    path = tmp_path / "a.wav"
    rng = np.random.default_rng(0)
    heard = []
    for k in range(2):
        soundfile.write(path, 0.1 * rng.standard_normal(RATE_HZ), RATE_HZ)
        os.utime(path, (k, k))
        again = replace(utterance, path=path)
        heard.append(build_features([again], clean, [], tmp_path / "cache")[0, 0].features)
    assert not np.array_equal(heard[0], heard[1])


def test_validation_is_disturbed_where_the_recipe_says_so(toy, tmp_path):
    recipe = load_recipe("ilt_cat")
    assert recipe.augment.validation
    utterances = read_corpus("crema-d", toy)
    store = build_features(utterances, recipe, [], tmp_path)
    presenter = Presenter(recipe, store, training_statistics(utterances, store, recipe))
    noisy = presenter.test_places(utterances, variant=1)
    assert {p.variant for p in noisy} == {1}
    assert {p.utterance for p in noisy} == set(range(len(utterances)))


# Windows


def test_a_window_is_what_the_front_end_gives(toy, recipe, tmp_path):
    utterances = read_corpus("crema-d", toy)
    store = build_features(utterances, recipe, [], tmp_path)
    statistics = training_statistics(utterances, store, recipe)
    presenter = Presenter(recipe, store, statistics)
    i = int(np.argmax([len(store[k, 0]) for k in range(len(utterances))]))
    presenter.normalizer.reset()
    moments = presenter.normalizer.accept(store[i, 0])
    extractor = make_extractor(recipe.frontend, recipe.frontend_params)
    live = FrontEnd(
        extractor,
        make_normalizer(
            extractor, statistics, recipe.normalizer, recipe.normalizer_state, recipe.embedding
        ),
        capacity=500,
        max_samples=1000,
    )
    samples = load_audio(utterances[i].path, 16000)
    for k in range(0, len(samples), 1000):
        live.accept(samples[k : k + 1000])
    last = live.frames_ready - recipe.window_frames
    assert last > 1
    for first in (0, last // 2, last):
        place = Place(i, 0, first, moments[first + recipe.window_frames - 1])
        got = presenter.present([place])["features"][0]
        np.testing.assert_allclose(got, live.window(first, recipe.window_frames), atol=1e-4)


def test_crops_and_segments_and_utterances(toy, recipe, tmp_path):
    utterances = read_corpus("crema-d", toy)
    store = build_features(utterances, recipe, [], tmp_path)
    statistics = training_statistics(utterances, store, recipe)
    rng = np.random.default_rng(0)

    def places(**changes) -> list[Place]:
        changed = replace(recipe, windows=WindowsConfig(**changes))
        return Presenter(changed, store, statistics).train_places(utterances, rng)

    n, length = len(utterances), recipe.window_frames
    crops = places(draw="crops", crops=3)
    assert sorted(p.utterance for p in crops) == sorted(3 * list(range(n)))
    assert {p.variant for p in crops} <= {0, 1}
    for p in crops:
        assert p.first <= max(0, len(store[p.utterance, p.variant]) - length)
    segments = places(draw="segments", train_hop_frames=8)
    for i in range(n):
        mine = sorted(p.first for p in segments if p.utterance == i)
        variant = next(p.variant for p in segments if p.utterance == i)
        room = max(1, len(store[i, variant]) - length + 1)
        assert mine == list(range(0, room, 8))
    assert [p.first for p in places(draw="utterance")] == [0] * n
    dropped = places(draw="segments", train_hop_frames=8, short="drop")
    kept = {p.utterance for p in dropped}
    assert 0 < len(kept) < n
    assert all(len(store[p.utterance, p.variant]) >= length for p in dropped)


def test_tests_hear_every_clip_cleanly_in_a_fixed_order(toy, recipe, tmp_path):
    utterances = read_corpus("crema-d", toy)
    store = build_features(utterances, recipe, [], tmp_path)
    presenter = Presenter(recipe, store, training_statistics(utterances, store, recipe))
    first, again = presenter.test_places(utterances), presenter.test_places(utterances)
    assert [(p.utterance, p.first) for p in first] == [(p.utterance, p.first) for p in again]
    assert {p.utterance for p in first} == set(range(len(utterances)))
    assert {p.variant for p in first} == {0}
    alone = presenter.test_places(utterances, hearing=Hearing.ALONE)
    # Alone, nobody's second clip knows anything of the first.
    assert sum(p.moments.weight for p in alone) < sum(p.moments.weight for p in first)


@pytest.mark.parametrize("short", ["repeat", "silence", "zero"])
def test_short_utterances_are_presented_as_told(toy, tmp_path, short):
    base = load_recipe("mscnn_spu", "paper")
    masked = short != "repeat"
    recipe = replace(base, windows=WindowsConfig(draw="utterance", short=short, masked=masked))
    utterances = read_corpus("crema-d", toy)[:4]
    store = build_features(utterances, recipe, [], tmp_path)
    statistics = training_statistics(utterances, store, recipe)
    presenter = Presenter(recipe, store, statistics)
    places = presenter.test_places(utterances)
    inputs = presenter.present(places)
    assert inputs["features"].shape == (4, 750, 96)
    for x, place in zip(inputs["features"], places, strict=True):
        features = store[place.utterance, 0].features
        n = len(features)
        np.testing.assert_allclose(
            x[:n], np.clip((features - statistics.mean) / statistics.std, -5, 5), atol=1e-4
        )
        if short == "repeat":
            np.testing.assert_array_equal(x[n : 2 * n], x[:n])
        elif short == "zero":
            assert (x[n:] == 0).all()
        else:
            assert np.ptp(x[n:], axis=0).max() == 0.0
            assert x[n, 0] < x[:n, 0].min()
    if masked:
        lengths = [len(store[p.utterance, 0]) for p in places]
        assert inputs["lengths"].tolist() == lengths
    else:
        assert inputs.keys() == {"features"}


def test_an_embedding_tells_of_the_speaker_so_far(toy, tmp_path):
    recipe = load_recipe("mscnn_spu/embedding")
    utterances = read_corpus("crema-d", toy)
    store = build_features(utterances, recipe, [], tmp_path)
    presenter = Presenter(recipe, store, training_statistics(utterances, store, recipe))
    places = presenter.test_places(utterances)
    got = presenter.present(places)["embedding"]
    assert got.shape == (len(places), 192)
    assert np.isfinite(got).all()
    speakers = np.array([utterances[p.utterance].speaker for p in places])
    late = {s: got[np.flatnonzero(speakers == s)[-1]] for s in set(speakers)}
    a, b, *_ = late.values()
    assert np.abs(a - b).max() > 0.01


# Statistics


def test_statistics_are_those_of_the_frames_that_are_asked_for(toy, recipe, tmp_path):
    utterances = read_corpus("crema-d", toy)[:8]
    clean = replace(
        recipe,
        augment=replace(recipe.augment, variants=0),
        normalizer=replace(recipe.normalizer, level=False),
    )
    store = build_features(utterances, clean, [], tmp_path)

    def check(name: str, keep) -> None:
        frames = [store[i, 0] for i in range(8)]
        want = np.concatenate([f.features[keep(u, f)] for u, f in zip(utterances, frames)])  # noqa: B905
        got = training_statistics(utterances, store, replace(clean, statistics=name))
        np.testing.assert_allclose(got.mean, want.mean(axis=0), rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(got.std, want.std(axis=0), rtol=1e-3, atol=1e-2)

    every = np.ones
    check("all", lambda u, f: every(len(f), bool))
    check("neutral", lambda u, f: np.full(len(f), u.emotion == "neutral"))
    check("voiced", lambda u, f: f.periodicity >= clean.normalizer.periodicity)
    angry = [i for i, u in enumerate(utterances) if u.emotion == "angry"]
    few, some = [utterances[i] for i in angry], store.subset(angry)
    with pytest.raises(ValueError, match="no neutral frame"):
        training_statistics(few, some, replace(clean, statistics="neutral"))


def test_front_ends_that_scale_windows_need_no_statistics():
    recipe = load_recipe("attention_pooling")
    got = training_statistics([], FeatureStore([]), recipe)
    assert got.mean.shape == (400,)
    assert (got.mean == 0).all()
    assert (got.std == 1).all()


# What is known of a speaker


def knowing(recipe, **shares: float):
    """The recipe with level and profiles."""
    return replace(
        recipe,
        frontend="logmel",
        frontend_params={"n_fft": 1024, "hop_length": 256, "f_max_hz": 5300.0, "prosody": True},
        normalizer=replace(recipe.normalizer, level=True, both=True),
        embedding="knowledge",
        train=replace(
            recipe.train,
            forget_share=0.0,
            **{"alone_share": 0.0, "calibrated_share": 0.0, **shares},
        ),
    )


def test_profiles_are_made_of_half_of_the_neutral_clips_and_15_s():
    people = [Utterance(Path(str(i)), "c", "c/1", e) for i, e in enumerate("nnnnaann")]
    people = [replace(u, emotion={"n": "neutral", "a": "angry"}[u.emotion]) for u in people]
    order = [7, 4, 0, 1, 2, 3, 5, 6]
    assert for_profile(people, order, lambda i: 2.0) == [7, 0, 1]
    assert for_profile(people, order, lambda i: 7.0) == [7, 0]
    assert for_profile(people, order, lambda i: 70.0) == [7]
    assert for_profile(people[:1], [0], lambda i: 2.0) == [0]
    assert for_profile(people, [4, 5], lambda i: 2.0) == []


def test_places_are_told_what_their_speakers_neutral_clips_are_like(toy, recipe, tmp_path):
    recipe = knowing(recipe, calibrated_share=1.0)
    assert hearings_of(recipe) == [Hearing.RUNNING, Hearing.CALIBRATED]
    utterances = read_corpus("crema-d", toy)
    store = build_features(utterances, recipe, [], tmp_path)
    presenter = Presenter(recipe, store, training_statistics(utterances, store, recipe))
    places = presenter.test_places(utterances, Hearing.CALIBRATED)
    left = set(range(len(utterances))) - {p.utterance for p in places}
    assert len(left) == 3  # one of two neutral clips of three speakers
    for i in left:
        presenter.normalizer.reset()
        want = presenter.normalizer.accept(store[i, 0])[-1]
        mine = [p for p in places if utterances[p.utterance].speaker == utterances[i].speaker]
        for place in mine:
            assert place.told is not None
            np.testing.assert_array_equal(place.told.rows, want.rows)
    inputs = presenter.present([*places[:2], replace(places[0], told=None)])
    assert inputs["features"].shape == (3, recipe.window_frames, 2 * presenter.extractor.width)
    assert inputs["embedding"][:, 1].tolist() == [1.0, 1.0, 0.0]
    width = presenter.extractor.width
    told, heard = inputs["features"][0], inputs["features"][2]
    np.testing.assert_array_equal(heard[:, :width], heard[:, width:])
    np.testing.assert_array_equal(told[:, width:], heard[:, width:])
    assert np.abs(told[:, :width] - heard[:, :width]).max() > 0.1
    trained = presenter.train_places(utterances, np.random.default_rng(0))
    assert all(p.told is not None for p in trained)
    assert {p.utterance for p in trained} == set(range(len(utterances)))


def test_shares_of_the_states_are_those_of_the_recipe(toy, recipe, tmp_path):
    recipe = knowing(recipe, calibrated_share=0.4, alone_share=0.3)
    utterances = read_corpus("crema-d", toy)
    store = build_features(utterances, recipe, [], tmp_path)
    presenter = Presenter(recipe, store, training_statistics(utterances, store, recipe))
    counts = Counter()
    rng = np.random.default_rng(0)
    # No clip has more voice than this.
    longest = 2.7 * frames_per_s(recipe)
    for _ in range(60):
        places = presenter.train_places(utterances, rng)
        for mine in by_speaker([utterances[p.utterance] for p in places]).values():
            known = max(places[k].moments.weight for k in mine)
            told = places[mine[0]].told is not None
            counts["told" if told else "alone" if known < longest else "running"] += 1
    assert counts["told"] / 180 == pytest.approx(0.4, abs=0.12)
    assert counts["alone"] / 180 == pytest.approx(0.3, abs=0.12)
