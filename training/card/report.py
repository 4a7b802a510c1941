"""A report card as files that a person reads: Markdown, JSON and plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ser_stream.files import write_text
from training.report import markdown_table, new_figure, plot_confusion, save_figure, write_json

HEARD = {
    "cold": "training statistics",
    "alone": "cold: each clip alone",
    "running": "running",
    "one-emotion": "one emotion",
    "neutral-first": "neutral first",
    "known": "known",
    "calibrated": "calibrated",
}
# Clips from which on a point of a curve means something.
FEWEST = 20
# Those of a comparison of models, and of the confusion matrices.
MAIN = ("cold", "alone", "running", "calibrated")


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write README.md, card.json and the plots of one model into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "card.json", card)
    labels = tuple(card["labels"])
    for name, corpus in card["corpora"].items():
        for hearing in _hearings(corpus, MAIN):
            one = corpus[hearing]
            plot_confusion(
                folder / f"confusion-{name}-{hearing}.png",
                np.array(one["confusion"]),
                labels,
                f"{card['model']} on {name}, {hearing}, UAR {one['uar']:.3f}",
            )
    _plot_reliability(folder / "reliability.png", card)
    _plot_evidence(folder / "evidence.png", card)
    _plot_response(folder / "response.png", card)
    write_text(folder / "README.md", "\n".join(_markdown(card)))


# Columns of a comparison: channels, and which one stands for them.
COMPARED = {
    "gain": ("gain -40 dB", "gain -20 dB", "gain +10 dB"),
    "10 dB SNR": ("environmental noise, 10 dB SNR",),
    "telephone": ("telephone band, 300-3400 Hz",),
    "Opus": ("Opus, 24 kbit/s",),
}


def write_comparison(path: Path, cards: Mapping[str, Mapping[str, Any]]) -> None:
    """Write one table of several models' cards, by name."""
    corpora = list(dict.fromkeys(c for card in cards.values() for c in card["corpora"]))
    header = ["model", *(f"{c}, UAR %" for c in corpora), *(f"{c}, ECE" for c in corpora)]
    header += [f"{name}, loss" for name in COMPARED]
    header += ["no speech, %", "delay, s", "changes a minute"]
    rows = []
    for name, card in cards.items():
        heard = [card["corpora"].get(c, {}) for c in corpora]
        row = [f"[`{name}`]({name}/README.md)"]
        row += [
            " / ".join(f"{100 * c[h]['uar']:.1f}" for h in _hearings(c, MAIN)) or "-" for c in heard
        ]
        row += [f"{c[_live(c)]['ece']:.3f}" if c else "-" for c in heard]
        first = next(iter(card["corpora"]))
        for channels in COMPARED.values():
            losses = [
                card["robustness"][c][first]["loss"] for c in channels if c in card["robustness"]
            ]
            row.append(f"{100 * max(losses):.1f}" if losses else "-")
        called, windows = _called(card)
        usual = card["response"][first]["default"]
        row += [f"{100 * called / max(windows, 1):.2f}", _delay(usual)]
        rows.append([*row, f"{usual['changes_per_minute']:.1f}"])
    text = [
        "# Report cards side by side",
        "",
        "Of every corpus UAR in the states that the model knows, each clip alone / running /",
        "calibrated, and ECE, running; a model that does not adapt to a speaker knows one state.",
        "The other columns are those of the first corpus, running: the points that a channel costs",
        "(of the gains the worst), windows without speech that are called an emotion, and how the",
        "meter responds. A corpus that a model was trained on is represented by the speakers whom",
        "it never heard.",
        "",
    ]
    write_text(path, "\n".join([*text, markdown_table(header, rows)]) + "\n")


def _live(corpus: Mapping[str, Any]) -> str:
    """The state of live use: running, or the only one there is."""
    return "running" if "running" in corpus else _hearings(corpus)[0]


def _delay(response: Mapping[str, float | None]) -> str:
    # JSON has no infinity: a card that was read back has none.
    delay = response["delay_s"]
    return "never" if delay is None or delay == np.inf else f"{delay:.2f}"


def _hearings(corpus: Mapping[str, Any], among: Iterable[str] = HEARD) -> list[str]:
    return [h for h in among if h in corpus]


def _called(card: Mapping[str, Any]) -> tuple[int, int]:
    rows = card["no_speech"].values()
    return sum(r["called_an_emotion"] for r in rows), sum(r["windows"] for r in rows)


def _markdown(card: Mapping[str, Any]) -> list[str]:
    labels = card["labels"]
    text = [
        f"# Report card of `{card['model']}`",
        "",
        "Measured through the engine that users run, speech gate too. A clip's posterior is the",
        "mean over its windows; a clip in which the gate hears no speech counts as wrong. Intended",
        "labels, speakers that the model was not trained on.",
        "",
        "## Accuracy",
        "",
        "- *Cold*: each clip alone, as if nothing had been heard before.",
        "- *Running*: a speaker's clips in one fixed random order through one normaliser.",
        "- *One emotion*: the clips of each emotion as a stream of their own.",
        "- *Neutral first*: the neutral clips before all others.",
        "- *Known*: all of the speaker's clips were heard once before any is scored.",
        "- *Calibrated*: a profile of half of the speaker's neutral clips (at most 15 s); they are",
        "  left out of the score.",
        "",
    ]
    rows = [
        [
            name,
            HEARD[hearing],
            f"{corpus[hearing]['utterances']} of {corpus['speakers']} speakers",
            f"{100 * corpus[hearing]['uar']:.1f}",
            f"{100 * corpus[hearing]['wa']:.1f}",
            *(_percent(corpus[hearing]["recall"][label]) for label in labels),
            f"{corpus[hearing]['ece']:.3f}",
            str(corpus[hearing]["unanswered"]),
        ]
        for name, corpus in card["corpora"].items()
        for hearing in _hearings(corpus)
    ]
    header = ["corpus", "state", "clips", "UAR %", "WA %", *labels, "ECE", "no speech heard"]
    text += [markdown_table(header, rows), "", "![reliability](reliability.png)", ""]
    text += ["![recall by evidence](evidence.png)", ""]
    text += [
        f"![{name} {h}](confusion-{name}-{h}.png)"
        for name, corpus in card["corpora"].items()
        for h in _hearings(corpus, MAIN)
    ]
    text += ["", *_long(card)]
    if card["robustness"]:
        names = list(card["corpora"])
        rows = [
            [
                channel,
                *(f"{100 * row[n]['uar']:.1f} ({-100 * row[n]['loss']:+.1f})" for n in names),
            ]
            for channel, row in card["robustness"].items()
        ]
        state = HEARD[_live(card["corpora"][names[0]])]
        text += [
            "", "## Robustness", "",
            f"UAR in percent, and the change in points; {state}.", "",
            markdown_table(["channel", *names], rows),
        ]  # fmt: skip
    rows = [
        [kind, str(r["windows"]), f"{100 * r['called_an_emotion'] / max(r['windows'], 1):.2f}"]
        for kind, r in card["no_speech"].items()
    ]
    called, windows = _called(card)
    rows.append(["all", str(windows), f"{100 * called / max(windows, 1):.2f}"])
    text += [
        "", "## What is no speech", "",
        markdown_table(["sound", "windows", "called an emotion, %"], rows),
        "", "## Responsiveness", "",
        "A speaker's clips joined. While the emotion stays the same: the share of speech with the",
        "right label, a wrong one, or unsure, and how often a minute that changes; windows without",
        "speech are left out. Delay: from the change of one emotion to another until the right",
        "label is shown (median; never counts as infinite), and how many of the changes it came",
        f"after at all. {_outweighed(card)}", "",
    ]  # fmt: skip
    rows = [
        [
            name,
            "default" if setting == "default" else f"{float(setting):g} s",
            *(f"{100 * r[share]:.0f}" for share in ("right", "wrong", "unsure")),
            _delay(r),
            f"{100 * r['found']:.0f}",
            f"{r['changes_per_minute']:.1f}",
        ]
        for name, response in card["response"].items()
        for setting, r in [("default", response["default"]), *response["curve"].items()]
    ]
    header = [
        "corpus", "evidence", "right, %", "wrong, %", "unsure, %", "delay, s", "label came, %",
        "changes a minute",
    ]  # fmt: skip
    return [*text, markdown_table(header, rows), "", "![response](response.png)", ""]


def _long(card: Mapping[str, Any]) -> list[str]:
    """Markdown of the long streams."""
    found = {name: c["long"] for name, c in card["corpora"].items() if "long" in c}
    if not found:
        return []
    rows = [
        [
            name,
            f"{100 * one['uar']:.1f}",
            *(_percent(one["recall"][label]) for label in card["labels"]),
            f"{one['ece']:.3f}",
            *(f"{100 * one[share]:.0f}" for share in ("right", "wrong", "unsure")),
            f"{100 * one['drift']:+.1f}",
        ]
        for name, one in found.items()
    ]
    header = [
        "corpus", "UAR %", *card["labels"], "ECE", "right, %", "wrong, %", "unsure, %", "drift",
    ]  # fmt: skip
    return [
        "## Half an hour",
        "",
        "Each speaker neutral for ten minutes, then a minute of each emotion in turn, five times;",
        "clips come again until a minute is full. Windows with speech of those minutes: what the",
        "network finds, and the label that is shown. Drift: points of UAR that are lost from the",
        "first minute of an emotion to its fifth.",
        "",
        markdown_table(header, rows),
    ]


def _outweighed(card: Mapping[str, Any]) -> str:
    share = max(response["default"]["outweighed"] for response in card["response"].values())
    return f"Labels that another class outweighed: {100 * share:.0f} %."


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _plot_reliability(path: Path, card: Mapping[str, Any]) -> None:
    corpora = card["corpora"]
    figure = new_figure(3.6 * len(corpora), 3.6)
    for axes, (name, corpus) in zip(
        np.atleast_1d(figure.subplots(1, len(corpora), sharey=True)), corpora.items(), strict=True
    ):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for hearing in _hearings(corpus):
            bins = corpus[hearing]["reliability"]
            axes.plot(
                [b["confidence"] for b in bins],
                [b["accuracy"] for b in bins],
                marker="o",
                markersize=3,
                label=f"{hearing}, ECE {corpus[hearing]['ece']:.3f}",
            )
        axes.set(title=name, xlabel="confidence", xlim=(0.2, 1), ylim=(0, 1))
        axes.legend(fontsize=7)
    figure.axes[0].set_ylabel("share that is right")
    save_figure(figure, path)


def _plot_evidence(path: Path, card: Mapping[str, Any]) -> None:
    corpora = card["corpora"]
    figure = new_figure(3.6 * len(corpora), 3.6)
    for axes, (name, corpus) in zip(
        np.atleast_1d(figure.subplots(1, len(corpora), sharey=True)), corpora.items(), strict=True
    ):
        for hearing in _hearings(corpus):
            rows = [row for row in corpus[hearing]["by_evidence"] if row["clips"] >= FEWEST]
            if len(rows) > 1:
                axes.plot(
                    [max(row["from_s"], 1.0) for row in rows],
                    [row["uar"] for row in rows],
                    marker="o",
                    markersize=3,
                    label=hearing,
                )
        axes.set(title=name, xlabel="seconds of the speaker before, at least", ylim=(0, 1))
        axes.set_xscale("log")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    figure.axes[0].set_ylabel("mean recall")
    save_figure(figure, path)


def _plot_response(path: Path, card: Mapping[str, Any]) -> None:
    figure = new_figure(4.8, 3.6)
    axes = figure.add_subplot()
    for number, (name, response) in enumerate(card["response"].items()):
        points = [(tau, r) for tau, r in response["curve"].items() if np.isfinite(r["delay_s"])]
        line = axes.plot(
            [r["delay_s"] for _, r in points],
            [r["changes_per_minute"] for _, r in points],
            marker="o",
            markersize=3,
            label=name,
        )[0]
        usual = response["default"]
        axes.plot(
            usual["delay_s"],
            usual["changes_per_minute"],
            marker="o",
            fillstyle="none",
            color=line.get_color(),
        )
        # The settings of all curves are the same; labels on one of them do not collide.
        for tau, r in points if number == 0 else ():
            axes.annotate(
                f"{float(tau):g} s",
                (r["delay_s"], r["changes_per_minute"]),
                textcoords="offset points",
                xytext=(4, 3),
                fontsize=6,
                color=line.get_color(),
            )
    axes.set(xlabel="delay to the right label, s", ylabel="label changes a minute")
    axes.set_title("speech that counts as one observation; a ring is the default", fontsize=9)
    axes.legend(fontsize=7)
    save_figure(figure, path)
