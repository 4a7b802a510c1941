"""A report card as files that a person reads: Markdown, JSON and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.report import markdown_table, plot_confusion, write_json

HEARD = {
    "cold": "training statistics",
    "alone": "cold: each clip alone",
    "running": "running",
    "calibrated": "calibrated",
}


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write README.md, card.json and the plots of one model into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "card.json", card)
    labels = tuple(card["labels"])
    for name, corpus in card["corpora"].items():
        for hearing in _hearings(corpus):
            one = corpus[hearing]
            plot_confusion(
                folder / f"confusion-{name}-{hearing}.png",
                np.array(one["confusion"]),
                labels,
                f"{card['model']} on {name}, {hearing}, UAR {one['uar']:.3f}",
            )
    _plot_reliability(folder / "reliability.png", card)
    _plot_response(folder / "response.png", card)
    (folder / "README.md").write_text("\n".join(_markdown(card)), encoding="utf-8")


def write_comparison(path: Path, cards: Sequence[Mapping[str, Any]]) -> None:
    """Write one table of several models' cards."""
    rows = []
    for card in cards:
        heard = [
            f"{name} " + "/".join(f"{100 * corpus[h]['uar']:.1f}" for h in _hearings(corpus))
            for name, corpus in card["corpora"].items()
        ]
        losses = [v["loss"] for row in card["robustness"].values() for v in row.values()]
        called, windows = _called(card)
        rows.append(
            [
                f"`{card['model']}`",
                ", ".join(heard),
                f"{100 * max(losses):.1f}" if losses else "-",
                f"{100 * called / max(windows, 1):.2f}",
                ", ".join(f"{r['default']['delay_s']:.1f}" for r in card["response"].values()),
                ", ".join(
                    f"{r['default']['changes_per_minute']:.1f}" for r in card["response"].values()
                ),
            ]
        )
    header = [
        "model", "UAR %, in each state", "largest loss, points", "no speech called an emotion, %",
        "delay, s", "label changes a minute",
    ]  # fmt: skip
    path.write_text(
        "# Report cards side by side\n\n" + markdown_table(header, rows) + "\n", encoding="utf-8"
    )


def _hearings(corpus: Mapping[str, Any]) -> list[str]:
    return [h for h in HEARD if h in corpus]


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
    text += [
        f"![{name} {h}](confusion-{name}-{h}.png)"
        for name, corpus in card["corpora"].items()
        for h in _hearings(corpus)
    ]
    if card["robustness"]:
        names = list(card["corpora"])
        rows = [
            [
                channel,
                *(f"{100 * row[n]['uar']:.1f} ({-100 * row[n]['loss']:+.1f})" for n in names),
            ]
            for channel, row in card["robustness"].items()
        ]
        text += [
            "", "## Robustness", "", "UAR in percent, and the change in points; running.", "",
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
        "A speaker's clips joined: from the change from neutral to another emotion until the meter",
        "shows it (median; never counts as infinite), and in a steady emotion changes of what is",
        "shown, a label or unsure; windows without speech are left out.", "",
    ]  # fmt: skip
    rows = [
        [
            name,
            "default" if setting == "default" else f"{float(setting):g} s",
            "never" if r["delay_s"] == np.inf else f"{r['delay_s']:.2f}",
            f"{100 * r['found']:.0f}",
            f"{r['changes_per_minute']:.1f}",
            f"{100 * r['shown']:.0f}",
            f"{100 * r['right']:.0f}",
        ]
        for name, response in card["response"].items()
        for setting, r in [("default", response["default"]), *response["curve"].items()]
    ]
    header = [
        "corpus", "evidence", "delay, s", "label came, %", "changes a minute",
        "label shown, % of speech", "the right one, %",
    ]  # fmt: skip
    return [*text, markdown_table(header, rows), "", "![response](response.png)", ""]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _plot_reliability(path: Path, card: Mapping[str, Any]) -> None:
    from matplotlib.figure import Figure

    corpora = card["corpora"]
    figure = Figure(figsize=(3.6 * len(corpora), 3.6), dpi=150, layout="constrained")
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
    figure.savefig(path)


def _plot_response(path: Path, card: Mapping[str, Any]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.6), dpi=150, layout="constrained")
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
    figure.savefig(path)
