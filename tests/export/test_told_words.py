"""Words beside the sound: training, export, and a bundle that goes by sound alone without them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from typer.testing import CliRunner

import training.recipes
from ser_stream.errors import ConfigError
from ser_stream.models.bundle import ModelBundle
from ser_stream.models.inputs import word_inputs
from ser_stream.stream.engine import Engine
from ser_stream.types import AudioBlock
from ser_stream.words.tokens import tokenize
from ser_stream.words.vectors import WordVectors
from tests.helpers.exports import exported_bundle
from training.checkpoint import Checkpoint
from training.cli import app
from training.data.corpora import Utterance
from training.recipe.book import load_recipe
from training.recipe.parse import parse_recipe
from training.run import with_transcripts

RATE_HZ = 16000
WIDTH = 8
GOOD, BAD = ("lovely", "great", "sunny"), ("awful", "broken", "lost")
FILLERS = ("the", "day", "was", "it", "is", "so", "really", "and")
# The voice alone tells one half of the label, the words alone the other.
LABELS = {(True, True): "happy", (True, False): "angry",
          (False, True): "neutral", (False, False): "sad"}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(0)
    rows = []
    for speaker in range(8):
        for take in range(24):
            high, good = bool(take & 1), bool(take & 2)
            t = np.arange(int(2.2 * RATE_HZ)) / RATE_HZ
            f = (260.0 if high else 120.0) * rng.uniform(0.9, 1.1)
            x = sum(np.sin(2 * np.pi * f * k * t) / k ** (0.5 if high else 2) for k in range(1, 10))
            x = 0.05 * x + rng.normal(0, 1e-3, len(t))
            path = folder / f"{speaker}-{take}.wav"
            soundfile.write(path, x, RATE_HZ)
            words = [*rng.choice(FILLERS, 4), str(rng.choice(GOOD if good else BAD))]
            rng.shuffle(words)
            rows.append([path.name, LABELS[high, good], f"s{speaker}", " ".join(words)])
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "emotion", "speaker", "text"])
        writer.writerows(rows)
    with (folder / "vectors.txt").open("w") as file:
        for word in (*GOOD, *BAD, *FILLERS):
            vector = rng.normal(0, 0.1, WIDTH)
            vector[0] = (word in GOOD) - (word in BAD)
            file.write(f"{word} {' '.join(f'{v:.4f}' for v in vector)}\n")
    text = (Path(training.recipes.__path__[0]) / "mscnn_spu.toml").read_text()
    for old, new in (
        ("n_filters = 128", "n_filters = 16"),
        ("n_hidden = 256", "n_hidden = 32"),
        ("width = 300", f"width = {WIDTH}"),
        ("tokens = 64", "tokens = 12"),
        ("lr = 5e-4", "lr = 3e-3"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "small.toml").write_text(text)
    return folder


def train(corpus: Path, output: Path, variant: str = "spu-att", *more: str) -> float:
    result = CliRunner().invoke(
        app,
        ["run", f"{corpus / 'small.toml'}/{variant}", "--corpus",
         f"manifest={corpus / 'manifest.csv'}", "--vectors", str(corpus / "vectors.txt"),
         "--fold", "0", "--seed", "0", "--epochs", "30", "--device", "cpu", "-o", str(output),
         *more],
    )  # fmt: skip
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    told = json.loads((output / "seed0-fold0" / "result.json").read_text())
    return told["test"]["manifest"]["uar"]


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert train(corpus, folder / "att") > 0.9
    return folder / "att"


@pytest.fixture(scope="module")
def exported(run) -> ModelBundle:
    return exported_bundle(run)


@pytest.fixture(scope="module")
def heard(run) -> dict[str, np.ndarray]:
    """Windows of real audio, and what is known of the speaker in each."""
    examples = Checkpoint.load(run / "seed0-fold0").examples
    return {name: examples[name] for name in ("features", "embedding")}


def with_words(heard: dict[str, np.ndarray], words: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The first windows with words, vectors (n, width) each."""
    first = {name: values[: len(words)] for name, values in heard.items()}
    return first | word_inputs(words, 12)


@pytest.mark.slow
def test_a_label_of_voice_and_words_needs_both(corpus, run, tmp_path):
    assert train(corpus, tmp_path / "spu", "spu") > 0.85
    for part in ("embedding", "text"):
        assert 0.3 < train(corpus, tmp_path / part, part) < 0.7


def test_a_bundle_tells_its_words_and_goes_by_them(corpus, exported, run, heard):
    words = exported.meta.words
    assert words is not None
    vectors = WordVectors.open(corpus / "vectors.txt", run / "cache")
    assert (words.tokens, words.width, words.vectors) == (12, WIDTH, "vectors.txt")
    assert words.digest == vectors.digest
    good, bad = (vectors.vectors(tokenize(t)) for t in ("it is so lovely", "it is so awful"))
    posterior = exported.posterior(exported(with_words(heard, [good, bad])))
    other = exported.posterior(exported(with_words(heard, [bad, good])))
    valence = posterior[:, [exported.meta.labels.index(n) for n in ("happy", "neutral")]].sum(1)
    opposite = other[:, [exported.meta.labels.index(n) for n in ("happy", "neutral")]].sum(1)
    assert (valence > 0.5).tolist() == [True, False]
    assert (opposite > 0.5).tolist() == [False, True]
    assert np.abs(valence - opposite).min() > 0.2


@pytest.mark.slow
def test_more_words_than_it_reads_leave_the_newest(exported, heard):
    rng = np.random.default_rng(0)
    many = rng.normal(size=(40, WIDTH)).astype(np.float32)
    np.testing.assert_array_equal(
        exported(with_words(heard, [many])), exported(with_words(heard, [many[-12:]]))
    )


def test_without_words_it_goes_by_the_sound(exported, heard, speech):
    none = [np.zeros((0, WIDTH), np.float32)] * len(heard["features"])
    np.testing.assert_array_equal(exported(heard), exported(with_words(heard, none)))
    predictions = Engine(exported).feed(AudioBlock(speech[: 5 * RATE_HZ], 0))
    assert any(p.posterior is not None for p in predictions)


def test_what_words_need_is_told(corpus, tmp_path):
    vectors = tmp_path / "wide.txt"
    vectors.write_text("a 1 2 3\nb 4 5 6\n")
    train(corpus, tmp_path / "a", "text", "--vectors", str(vectors), "--epochs", "1")
    narrow = Checkpoint.load(tmp_path / "a" / "seed0-fold0")
    assert narrow.recipe.text.width == narrow.recipe.network_params["n_text"] == 3
    vectors.write_text("a 1 2 3\nb 4 5\n")
    with pytest.raises(ConfigError, match="line 2"):
        train(corpus, tmp_path / "a", "spu", "--vectors", str(vectors))
    with pytest.raises(ConfigError, match="No such file"):
        train(corpus, tmp_path / "b", "spu", "--vectors", str(tmp_path / "none.txt"))
    command = ["run", "mscnn_spu/text", "--corpus", f"manifest={corpus / 'manifest.csv'}"]
    result = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "c")])
    assert "name their vectors with --vectors" in str(result.exception)


def write_table(path: Path, rows: list[list[str]], header: str = "path,text") -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def test_transcripts_stand_in_for_a_corpus_without_text(corpus, tmp_path):
    with (corpus / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = write_table(tmp_path / "asr.csv", [[str(corpus / r["path"]), r["text"]] for r in rows])
    mute = write_table(
        tmp_path / "mute.csv",
        [[str(corpus / r["path"]), r["emotion"], r["speaker"], "lovely awful"] for r in rows],
        "path,emotion,speaker,text",
    )
    short = ("--epochs", "2", "--cache", str(tmp_path / "cache"))
    own = train(corpus, tmp_path / "own", "text", *short)
    told = ("--corpus", f"manifest={mute}", "--transcripts", str(table))
    command = ["run", f"{corpus / 'small.toml'}/text", "--vectors", str(corpus / "vectors.txt"),
               "--fold", "0", "--seed", "0", *short, "--device", "cpu"]  # fmt: skip
    result = CliRunner().invoke(app, [*command, *told, "-o", str(tmp_path / "told")])
    assert result.exit_code == 0, result.output
    assert "; words of asr.csv: WA" in result.stdout
    assert "no words for" not in result.stderr
    report = json.loads((tmp_path / "told" / "report.json").read_text())
    assert report["protocol"].endswith("; words of asr.csv")
    figures = report["folds"][0]["test"]["manifest"]
    assert figures["uar"] == own
    assert figures["protocol"].endswith("; words of asr.csv")
    # Other words are another run, and what has none is told of.
    write_table(table, [[str(corpus / r["path"]), r["text"]] for r in rows[5:]])
    result = CliRunner().invoke(app, [*command, *told, "-o", str(tmp_path / "told")])
    assert "another --output" in str(result.exception)
    result = CliRunner().invoke(app, [*command, *told, "-o", str(tmp_path / "fewer")])
    assert f"{table}: no words for 5 of {len(rows)} utterances" in result.stderr
    command[1] = str(corpus / "small.toml")
    result = CliRunner().invoke(app, [*command, *told, "-o", str(tmp_path / "sound")])
    assert "mscnn_spu reads no words; leave --transcripts out" in str(result.exception)


def test_transcripts_are_found_by_the_file_and_its_spans(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).touch()
    (tmp_path / "link.wav").symlink_to("b.wav")

    def clip(name: str, start_s: float = 0.0, end_s: float | None = None) -> Utterance:
        return Utterance(tmp_path / name, "manifest", "s", "sad", "", "", "own", start_s, end_s)

    table = write_table(
        tmp_path / "t.csv",
        [
            ["a.wav", "one two", "0", "2"],
            ["a.wav", "three", "2", "4"],
            ["b.wav", "four five", "", ""],
        ],
        "path,text,start_s,end_s",
    )
    heard = [
        clip("a.wav", 0.0, 1.0),
        clip("a.wav", 1.0, 2.0),
        clip("a.wav", 2.0),
        clip("a.wav", 4.0),
    ]
    heard += [clip("link.wav"), clip("c.wav")]
    told = with_transcripts(heard, table)
    assert [u.text for u in told] == ["one", "two", "three", "", "four five", ""]
    assert [(u.path, u.start_s, u.end_s) for u in told] == [
        (u.path, u.start_s, u.end_s) for u in heard
    ]
    with pytest.raises(ConfigError, match=r"b\.wav holds 2 utterances; give its words start_s"):
        with_transcripts([clip("b.wav", 0.0, 1.0), clip("link.wav", 1.0)], table)
    with pytest.raises(ConfigError, match=r"none of the corpus's recordings, such as .*c\.wav"):
        with_transcripts([clip("c.wav")], table)


def test_words_cannot_be_mixed_up():
    table = load_recipe("mscnn_spu/spu-att").as_dict()
    table["train"]["mixup"] = 0.2
    with pytest.raises(ConfigError, match="words cannot be mixed"):
        parse_recipe(table)
