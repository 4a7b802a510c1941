"""Protocols: what each promises about who tests, and that a broken promise is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_stream.errors import ConfigError, SerStreamError
from tests.helpers.iemocap_tree import make_tree
from training.data import folds
from training.data.corpora import Utterance, read_corpus
from training.data.folds import FOLDS, FoldError, FoldsConfig, Split, make_splits, split_by_speaker

INDEPENDENT = ("speaker", "leave-one-speaker-out", "leave-one-session-out")
RANDOM = ("random-k-fold", "random-ratio")

# Of all 91 speakers of CREMA-D, fold 0 of 5.
VALIDATION = [1003, 1014, 1020, 1024, 1025, 1035, 1041, 1045, 1049, 1060, 1063, 1064, 1073, 1077]
TEST = [
    1001,
    1002,
    1005,
    1008,
    1011,
    1012,
    1015,
    1016,
    1017,
    1023,
    1028,
    1044,
    1047,
    1051,
    1054,
    1059,
    1062,
    1066,
    1085,
]


def clip(
    speaker: str, number: int, session: str = "", corpus: str = "x", start_s: float = 0.0
) -> Utterance:
    path = Path(f"{corpus}/{speaker}_{number}.wav")
    emotion = ("sad", "angry")[number % 2]
    session = f"{corpus}/{session}" if session else ""
    return Utterance(path, corpus, f"{corpus}/{speaker}", emotion, session, start_s=start_s)


def crema_d(n_speakers: int = 7, n_clips: int = 12) -> list[Utterance]:
    return [
        clip(str(1001 + s), n, corpus="crema-d") for s in range(n_speakers) for n in range(n_clips)
    ]


def iemocap(n_sessions: int = 5, n_clips: int = 6) -> list[Utterance]:
    return [
        clip(f"Ses{s:02d}{g}", n, f"Ses{s:02d}", "iemocap")
        for s in range(1, n_sessions + 1)
        for g in "MF"
        for n in range(n_clips)
    ]


def key(utterance: Utterance) -> tuple[Path, float]:
    return utterance.path, utterance.start_s


def parts(split: Split) -> tuple[list[Utterance], list[Utterance], list[Utterance]]:
    return split.train, split.validation, split.test


def speakers(part: list[Utterance]) -> set[str]:
    return {u.speaker for u in part}


# One split


def test_every_speaker_tests_once_and_parts_share_nobody():
    utterances = crema_d()
    tested = []
    for fold in range(5):
        split = split_by_speaker(utterances, fold)
        groups = [speakers(p) for p in parts(split)]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 7
        assert all(groups)
        tested += sorted(groups[2])
    assert sorted(tested) == [f"crema-d/{n}" for n in range(1001, 1008)]
    shuffled = list(reversed(utterances))
    assert {u.path for u in split_by_speaker(shuffled, 2).test} == {
        u.path for u in split_by_speaker(utterances, 2).test
    }
    with pytest.raises(ValueError, match="fold 5 of 5"):
        split_by_speaker(utterances, 5)


def test_who_the_shipped_model_never_heard_does_not_change():
    split = split_by_speaker(crema_d(91, 1))
    assert [sorted(int(s[-4:]) for s in speakers(p)) for p in (split.validation, split.test)] == [
        VALIDATION,
        TEST,
    ]
    assert len(speakers(split.train)) == 91 - len(VALIDATION) - len(TEST)


def test_a_split_with_a_shared_speaker_cannot_be_made():
    a = Utterance(Path("a.wav"), "x", "x/1", "sad")
    b = Utterance(Path("b.wav"), "x", "x/1", "angry")
    with pytest.raises(ValueError, match="x/1"):
        Split([a], [], [b])
    assert Split([a], [], [b], speaker_independent=False).test == [b]


@pytest.mark.parametrize("independent", [True, False])
def test_a_split_that_shares_an_utterance_or_lacks_a_part_cannot_be_made(independent):
    a, b, c = (clip(str(i), i) for i in range(3))
    for sets in (([a, b], [], [b]), ([a], [b], [b, c]), ([a, b], [b], [c])):
        with pytest.raises(ValueError, match=r"utterances in two parts of a split: 1, .*_1\.wav"):
            Split(*sets, speaker_independent=independent)
    with pytest.raises(ValueError, match="nothing is left to train on"):
        Split([], [a], [b], independent)
    with pytest.raises(ValueError, match="nothing is left to test on"):
        Split([a], [b], [], independent)
    # One line for who types a command, too.
    assert issubclass(FoldError, SerStreamError)


def test_spans_of_one_file_are_different_utterances():
    first = clip("1", 0)
    second = replace(first, start_s=1.5)
    assert Split([first], [], [second], speaker_independent=False).test == [second]


# Configurations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "leave-one-out"}, "unknown kind of folds 'leave-one-out'; known: speaker, leave"),
        ({"kind": "speaker", "n_folds": 1}, "n_folds is 1, want 2"),
        ({"kind": "random-k-fold", "n_folds": 2, "validation": 0.1}, "n_folds is 2, want 3"),
        ({"kind": "random-ratio", "n_folds": 0}, "n_folds is 0, want 1"),
        ({"kind": "speaker", "validation": 1.0}, "validation is 1.0"),
        ({"kind": "speaker", "validation": -0.1}, "validation is -0.1"),
        ({"kind": "speaker", "validation": float("nan")}, "validation is nan"),
        ({"kind": "random-ratio", "test": 0.0}, "test is 0.0"),
        ({"kind": "random-ratio", "test": 0.6, "validation": 0.4}, "nothing to train on"),
    ],
)
def test_wrong_protocols_are_told(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FoldsConfig(**arguments)


def test_every_kind_is_tested_here():
    assert {*INDEPENDENT, *RANDOM} == set(FOLDS)


# All kinds


@st.composite
def corpora(draw: st.DrawFn) -> list[Utterance]:
    """Clips of speakers in sessions, some of them several to a file, of one or two corpora."""
    utterances = []
    for corpus in ("x", "y")[: draw(st.integers(1, 2))]:
        for session in range(draw(st.integers(2, 4))):
            for speaker in range(draw(st.integers(2, 3))):
                for n in range(draw(st.integers(2, 5))):
                    u = clip(f"{session}{speaker}", n // 2, str(session), corpus, 2.0 * (n % 2))
                    utterances.append(u)
    return utterances


@st.composite
def protocols(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(FOLDS)) -> FoldsConfig:
    return FoldsConfig(
        draw(st.sampled_from(kinds)),
        draw(st.integers(3, 4)),
        draw(st.sampled_from([0.0, 0.25, 0.3])),
        draw(st.sampled_from([0.2, 0.25, 0.5])),
    )


@given(protocols(), corpora(), st.integers(0, 3), st.randoms(use_true_random=False))
def test_every_fold_holds_every_utterance_once_in_any_order(config, utterances, seed, random):
    splits = make_splits(config, utterances, seed)
    for split in splits:
        held = Counter(key(u) for part in parts(split) for u in part)
        assert held == Counter(key(u) for u in utterances)
        assert max(held.values()) == 1
        assert split.train
        assert split.test
        assert bool(split.validation) == (config.validation > 0)
        assert split.description.count("test") == 1
        assert split.speaker_independent == (config.kind in INDEPENDENT)
    assert len({split.description for split in splits}) == len(splits)
    random.shuffle(utterances)
    assert make_splits(config, utterances, seed) == splits


@given(protocols((*INDEPENDENT, "random-k-fold")), corpora(), st.integers(0, 3))
def test_over_all_folds_every_utterance_tests_once(config, utterances, seed):
    splits = make_splits(config, utterances, seed)
    assert Counter(key(u) for s in splits for u in s.test) == Counter(key(u) for u in utterances)


@given(protocols(INDEPENDENT), corpora())
def test_no_speaker_is_in_two_parts(config, utterances):
    for split in make_splits(config, utterances, 0):
        train, validation, test = (speakers(part) for part in parts(split))
        assert train.isdisjoint(test)
        assert train.isdisjoint(validation)
        assert validation.isdisjoint(test)


@given(corpora(), st.integers(2, 5), st.sampled_from([0.0, 0.2]))
def test_speaker_folds_are_those_of_split_by_speaker(utterances, n_folds, validation):
    got = make_splits(FoldsConfig("speaker", n_folds, validation), crema_d(10, 3) + utterances, 7)
    for fold, split in enumerate(got):
        want = split_by_speaker(crema_d(10, 3) + utterances, fold, n_folds, validation)
        assert [{key(u) for u in p} for p in parts(split)] == [
            {key(u) for u in p} for p in parts(want)
        ]
        assert f"fold {fold} of {n_folds}: tests crema-d/" in split.description


# Each kind


def test_leave_one_speaker_out():
    splits = make_splits(FoldsConfig("leave-one-speaker-out"), iemocap(), 0)
    assert [s.description for s in splits] == [
        f"tests iemocap/Ses0{n}{g}" for n in range(1, 6) for g in "FM"
    ]
    for split in splits:
        assert [f"tests {s}" for s in speakers(split.test)] == [split.description]
        assert not split.validation
        assert len(split.test) == 6
    splits = make_splits(FoldsConfig("leave-one-speaker-out", validation=0.1), iemocap(), 0)
    assert [(*speakers(s.test), *speakers(s.validation)) for s in splits[:2] + splits[-1:]] == [
        ("iemocap/Ses01F", "iemocap/Ses01M"),
        ("iemocap/Ses01M", "iemocap/Ses02F"),
        ("iemocap/Ses05M", "iemocap/Ses01F"),
    ]
    assert splits[0].description == "tests iemocap/Ses01F, validates on iemocap/Ses01M"
    assert all(len(speakers(s.train)) == 8 for s in splits)


def test_leave_one_session_out():
    splits = make_splits(FoldsConfig("leave-one-session-out"), iemocap(), 0)
    assert [s.description for s in splits] == [f"tests iemocap/Ses0{n}" for n in range(1, 6)]
    for n, split in enumerate(splits, start=1):
        assert speakers(split.test) == {f"iemocap/Ses0{n}F", f"iemocap/Ses0{n}M"}
        assert len(speakers(split.train)) == 8
    splits = make_splits(FoldsConfig("leave-one-session-out", validation=0.1), iemocap(), 0)
    for split, after in zip(splits, (2, 3, 4, 5, 1), strict=True):
        assert speakers(split.validation) == {f"iemocap/Ses0{after}F"}
        assert f"iemocap/Ses0{after}M" in speakers(split.train)
        assert {u.session for u in split.test}.isdisjoint(
            u.session for u in split.train + split.validation
        )


def test_without_sessions_none_can_be_left_out():
    with pytest.raises(ConfigError, match=r"84 utterances have no session, first .* of crema-d"):
        make_splits(FoldsConfig("leave-one-session-out"), crema_d() + iemocap(), 0)


def test_a_speaker_of_two_sessions_is_told():
    utterances = [clip("ann", n, str(n % 2)) for n in range(4)]
    with pytest.raises(FoldError, match=r"speakers in two parts.*x/ann"):
        make_splits(FoldsConfig("leave-one-session-out"), utterances, 0)


@given(st.integers(10, 97), st.integers(0, 5))
def test_ten_folds_are_eight_one_one(n, seed):
    config = FoldsConfig("random-k-fold", n_folds=10, validation=0.1)
    splits = make_splits(config, [clip(str(i % 7), i) for i in range(n)], seed)
    assert len(splits) == 10
    for f, split in enumerate(splits):
        assert split.validation == splits[(f + 1) % 10].test
        assert abs(len(split.test) - n / 10) < 1
        assert abs(len(split.train) - 8 * n / 10) < 2


@given(st.integers(20, 97), st.sampled_from([(0.25, 0.2), (0.0, 0.2), (0.1, 0.3)]))
def test_ratios_are_kept_within_one_utterance(n, shares):
    validation, test = shares
    utterances = [clip(str(i % 7), i) for i in range(n)]
    splits = make_splits(FoldsConfig("random-ratio", 5, validation, test), utterances, 0)
    assert len(splits) == 5
    for split in splits:
        assert len(split.test) == pytest.approx(test * n, abs=1)
        assert len(split.validation) == pytest.approx(validation * n, abs=1)
        assert len(split.train) == pytest.approx((1 - validation - test) * n, abs=2)
    if test == 0.2:  # five fifths are everybody
        assert Counter(key(u) for s in splits for u in s.test) == Counter(map(key, utterances))


@pytest.mark.parametrize("kind", RANDOM)
def test_random_folds_depend_on_the_seed_and_mix_speakers(kind):
    config = FoldsConfig(kind)
    first, again, other = (make_splits(config, iemocap(), seed) for seed in (1, 1, 2))
    assert first == again
    assert [s.test for s in first] != [s.test for s in other]
    assert all(speakers(s.train) & speakers(s.test) for s in first)


@pytest.mark.parametrize("kind", RANDOM)
def test_random_folds_do_not_depend_on_where_a_corpus_lies(kind):
    def tested(x: str, y: str) -> list[list[str]]:
        moved = [
            replace(u, path=Path(folder, u.path.name), corpus=corpus)
            for folder, corpus in ((x, "x"), (y, "y"))
            for u in iemocap()
        ]
        return [
            [f"{u.corpus} {u.path.name}" for u in split.test]
            for split in make_splits(FoldsConfig(kind), moved, 0)
        ]

    assert tested("/a", "/b") == tested("/d/e", "/c")


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_speaker_independent_folds_depend_on_names_alone(kind):
    config = FoldsConfig(kind)
    assert make_splits(config, iemocap(), 1) == make_splits(config, iemocap(), 2)


# What cannot be divided


@pytest.mark.parametrize("kind", list(FOLDS))
def test_what_cannot_be_divided_is_told(kind):
    config = FoldsConfig(kind)
    with pytest.raises(FoldError, match="no utterances"):
        make_splits(config, [], 0)
    with pytest.raises(FoldError, match="come twice: 1, first"):
        make_splits(config, [*iemocap(), iemocap()[3]], 0)
    with pytest.raises(FoldError, match=r"nothing is left|cannot make 5 folds"):
        make_splits(config, [clip("ann", 0, "s")], 0)


def test_fewer_speakers_than_folds_are_told():
    with pytest.raises(FoldError, match="nothing is left to test on"):
        make_splits(FoldsConfig("speaker", n_folds=5), crema_d(4), 0)


def test_a_validation_share_of_nobody_is_told():
    with pytest.raises(FoldError, match=r"0 utterances validate, but .* 0\.01"):
        make_splits(FoldsConfig("speaker", validation=0.01), crema_d(7), 0)


# Promises are checked, not trusted


def test_a_speaker_who_tests_twice_is_told(monkeypatch):
    monkeypatch.setattr(folds, "split_by_speaker", lambda us, f, n, v: split_by_speaker(us, 0, n))
    with pytest.raises(FoldError, match="exactly once"):
        make_splits(FoldsConfig("speaker"), crema_d(), 0)


def test_a_lost_utterance_is_told(monkeypatch):
    def lose(config: FoldsConfig, utterances: list[Utterance], seed: int) -> list[Split]:
        return [
            replace(s, train=s.train[1:]) for s in FOLDS["random-k-fold"](config, utterances, 0)
        ]

    monkeypatch.setitem(FOLDS, "speaker", lose)
    with pytest.raises(FoldError, match="not every utterance has a part"):
        make_splits(FoldsConfig("speaker"), crema_d(), 0)


def test_the_folds_of_a_corpus_on_disk(tmp_path):
    expected = make_tree(tmp_path, utterances_per_cell=1)
    utterances = [u for u in read_corpus("iemocap", expected.folder) if u.part == "improvised"]
    splits = make_splits(FoldsConfig("leave-one-speaker-out", validation=0.1), utterances, 0)
    assert [set(speakers(s.test)) for s in splits] == [{s} for s in expected.speakers]
    splits = make_splits(FoldsConfig("leave-one-session-out", validation=0.1), utterances, 0)
    assert [{u.session for u in s.test} for s in splits] == [{s} for s in expected.sessions]
