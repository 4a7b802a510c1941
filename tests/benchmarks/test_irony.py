"""The corpus that needs voice and words, and the program that checks networks with it."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.helpers.places import ROOT
from tests.helpers.toy_corpus import make_toy_corpus

pytest.importorskip("torch")

from ser_stream.words.tokens import tokenize
from ser_stream.words.vectors import WordVectors
from training.data.corpora import CorpusError, Utterance, crema_d, manifest
from training.data.folds import make_splits
from training.recipe.book import load_book


def module(path: str) -> ModuleType:
    name = Path(path).stem + "_program"
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


irony = module("scripts/make_irony.py")


@pytest.fixture
def corpus(tmp_path):
    """Names alone, as no audio is opened: actors with unlike numbers of clips."""
    folder = tmp_path / "AudioWAV"
    folder.mkdir()
    counts = {"HAP": 6, "SAD": 9, "ANG": 3, "NEU": 2}
    for actor in range(1001, 1021):
        for emotion, n in counts.items():
            for take in range(n + (actor + n) % 3):
                (folder / f"{actor}_T{take:02}_{emotion}_XX.wav").touch()
    return tmp_path


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def made(corpus: Path, out: Path, seed: int = 0) -> list[dict[str, str]]:
    irony.write(irony.make_clips(crema_d.read(corpus), seed), out)
    return rows_of(out)


def test_label_and_tone_are_those_of_voice_and_words(corpus, tmp_path):
    rows = made(corpus, tmp_path / "out")
    assert {(r["voice"], r["words"], r["emotion"], r["tone"]) for r in rows} == {
        ("positive", "positive", "joy", "sincere"),
        ("positive", "negative", "teasing", "ironic"),
        ("negative", "positive", "sarcasm", "ironic"),
        ("negative", "negative", "sorrow", "sincere"),
    }
    for row in rows:
        voice = {"HAP": "positive", "SAD": "negative"}[Path(row["path"]).stem.split("_")[2]]
        assert row["voice"] == voice
        assert Path(row["path"]).stem.startswith(row["speaker"])


def test_neither_half_tells_more_than_chance(corpus, tmp_path):
    rows = made(corpus, tmp_path / "out")
    actors = Counter(r["speaker"] for r in rows)
    assert set(actors.values()) == {12, 16}  # of an odd number one clip is left out
    for actor in actors:
        of_actor = [r for r in rows if r["speaker"] == actor]
        # The voice: each of the four labels is as frequent.
        assert set(Counter(r["emotion"] for r in of_actor).values()) == {len(of_actor) // 4}
        # The words: each sentence has two labels and both tones.
        for text in {r["text"] for r in of_actor}:
            same = [r for r in of_actor if r["text"] == text]
            assert [r["tone"] for r in sorted(same, key=lambda r: r["tone"])] == [
                "ironic",
                "sincere",
            ]
            assert len({r["words"] for r in same}) == 1


def test_sentences_mean_what_their_polarity_says():
    opposite = {"positive": "negative", "negative": "positive"}
    polarity = {
        word: name
        for name, lines in irony.ADJECTIVES.items()
        for line in lines
        for word in line.split()
    }
    clips = irony.make_clips(
        Utterance(Path(f"{actor}-{emotion}-{i}"), "crema-d", f"crema-d/{actor}", emotion)
        for actor in range(1001, 1021)
        for emotion in ("happy", "sad")
        for i in range(20)
    )
    negated = 0
    for clip in clips:
        tokens = tokenize(clip.text)
        (adjective,) = [t for t in tokens if t in polarity]
        said = polarity[adjective]
        if "not" in tokens:
            assert tokens[tokens.index("not") + 1] == adjective
            said = opposite[said]
            negated += 1
        assert clip.words == said
    assert 0.15 < negated / len(clips) < 0.35


def test_words_of_a_test_are_not_in_its_training(corpus, tmp_path):
    made(corpus, tmp_path / "out")
    utterances = manifest.read(tmp_path / "out")
    common = set(tokenize(" ".join(irony.TEMPLATES).format(noun="", adjective="not")))
    splits = make_splits(load_book("mscnn_spu").protocol("strict").folds, utterances, 0)
    for split in splits:
        learnt, tested = (
            {token for u in part for token in tokenize(u.text)} - common
            for part in (split.train, split.test)
        )
        assert tested
        assert not learnt & tested


def test_vectors_of_unheard_words_are_near_their_kind(corpus, tmp_path):
    made(corpus, tmp_path / "out")
    vectors = WordVectors.open(tmp_path / "out" / "vectors.txt", tmp_path / "cache")
    for u in manifest.read(tmp_path / "out"):
        assert all(map(vectors.known, tokenize(u.text)))
    folds = range(len(irony.NOUNS))
    for fold in folds:
        centre = {
            polarity: np.mean(
                [vectors.vectors(lines[f].split()).mean(axis=0) for f in folds if f != fold], axis=0
            )
            for polarity, lines in irony.ADJECTIVES.items()
        }
        direction = centre["positive"] - centre["negative"]
        middle = (centre["positive"] + centre["negative"]) / 2
        for polarity, lines in irony.ADJECTIVES.items():
            side = (vectors.vectors(lines[fold].split()) - middle) @ direction
            assert ((side > 0) == (polarity == "positive")).all()


def test_the_same_seed_gives_the_same_files(corpus, tmp_path):
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    made(corpus, first)
    made(corpus, again)
    made(corpus, other, seed=1)
    for name in ("manifest.csv", "vectors.txt"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    assert rows_of(first) != rows_of(other)
    # No audio is copied.
    assert sorted(p.name for p in first.iterdir()) == ["manifest.csv", "vectors.txt"]


def test_a_corpus_without_pairs_is_told(tmp_path):
    (tmp_path / "1001_T1_HAP_XX.wav").touch()
    (tmp_path / "1001_T1_SAD_XX.wav").touch()
    with pytest.raises(CorpusError, match="two happy and two sad"):
        irony.make_clips(crema_d.read(tmp_path))


@pytest.mark.slow
def test_the_program_writes_its_table(tmp_path):
    toy = make_toy_corpus(tmp_path / "toy", takes=2)
    made(toy, tmp_path / "made")
    (tmp_path / "irony.md").write_text("# Old\n\n## What these figures say\n\nMuch.\n")
    done = subprocess.run(
        [
            sys.executable, str(ROOT / "benchmarks" / "bench_irony.py"), str(tmp_path / "made"),
            "-o", str(tmp_path / "runs"), "--folds", "2", "--epochs", "1", "--filters", "2",
            "--document", str(tmp_path / "irony.md"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "irony.md").read_text()
    assert text.endswith("## What these figures say\n\nMuch.\n")
    assert "28 happy and sad clips of 7 actors" in " ".join(text.split())
    table = [
        [c.strip() for c in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    values = json.loads((tmp_path / "irony.json").read_text())
    assert len(table) == 2 + len(values)
    by_words = next(cells for cells in table if cells[:3] == ["emotion", "`text`", "words"])
    # Whatever a network makes of the words, it gets every second tone right.
    assert by_words[5] == "50.0 +- 0.0"
    voice, words = (np.array(values[k]["uar"]) for k in ("voice-embedding", "words-text"))
    both = next(cells for cells in table if cells[:2] == ["emotion", "`spu-att`"])
    assert both[4] == f"{100 * (voice * words).mean():.1f}"


def test_counts_of_labels_become_counts_of_tones():
    program = module("benchmarks/bench_irony.py")
    counts = np.arange(16).reshape(4, 4)
    expected = np.zeros((2, 2), dtype=int)
    for i in range(4):
        for j in range(4):
            expected[i in (1, 2), j in (1, 2)] += counts[i, j]
    assert (program.of_tones(counts) == expected).all()


@pytest.mark.slow
@pytest.mark.parametrize("attention", [False, True])
def test_the_network_can_learn_an_exclusive_or(attention):
    """Of as many made-up voices and words as it takes, unlike those of the corpus."""
    import torch

    from training.models import make_model

    torch.manual_seed(0)
    net = make_model(
        "mscnn_spu",
        {
            "n_classes": 2, "modality": "both", "n_features": 12, "n_text": 8, "n_filters": 8,
            "n_hidden": 32, "attention": attention,
        },
    )  # fmt: skip
    draws = torch.Generator().manual_seed(1)

    def batch(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        voice, words = torch.randint(0, 2, (2, n), generator=draws)
        features, tokens = (
            torch.randn(n, steps, width, generator=draws)
            for steps, width in ((6, net.config.n_features), (4, net.config.n_text))
        )
        features[:, :, 0] += 2.0 * (2 * voice[:, None] - 1)
        tokens[:, :, 0] += 2.0 * (2 * words[:, None] - 1)
        return features, tokens, voice ^ words

    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(400):
        features, tokens, label = batch(64)
        loss = torch.nn.functional.cross_entropy(net(features, tokens=tokens), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    features, tokens, label = batch(1000)
    right = net(features, tokens=tokens).argmax(dim=1) == label
    assert right.float().mean() > 0.95
