"""Keep what the user corrects: the span, its label and its speaker, in a manifest."""

from __future__ import annotations

from pathlib import Path

from gui.jobs import Writes
from gui.recordings.correction import CorrectionBar, SpanFields
from gui.recordings.dialogs import Dialogs, as_table
from gui.settings import Settings
from gui.theme import DARK, Theme
from ser_stream.scoring.manifest import Clip, keep


class ClipKeeper:
    """Writes the clip that a correction bar and span fields describe.

    Args:
        bar: label and speaker; shows what was kept.
        fields: the span.
        settings: remembers the speaker and the manifest.
        dialogs: asks for the manifest, once.
        writes: writes it.
    """

    def __init__(
        self,
        bar: CorrectionBar,
        fields: SpanFields,
        settings: Settings,
        dialogs: Dialogs,
        writes: Writes,
    ) -> None:
        self._bar, self._fields, self._settings = bar, fields, settings
        self._dialogs, self._writes = dialogs, writes
        self._theme = DARK
        bar.speaker.setText(settings.text("recordings.speaker"))
        bar.manifest_asked.connect(self.ask_manifest)
        self._show_manifest()

    def set_theme(self, theme: Theme) -> None:
        """Write in the colours of ``theme`` from now on."""
        self._theme = theme

    def ask_manifest(self) -> None:
        """Ask for the file that corrections are kept in."""
        if (path := self._dialogs.choose_manifest()) is not None:
            self._settings.keep("recordings.manifest", str(as_table(path)))
            self._show_manifest()

    def keep(self, recording: Path) -> None:
        """Write the span of ``recording`` into the manifest, which is asked for if need be."""
        speaker = self._bar.speaker.text().strip()
        whole = self._fields.whole
        start, end = (0.0, None) if whole else self._fields.span_s
        clip = Clip(recording, self._bar.label.currentText().strip(), speaker, start, end)
        # A missing label or speaker is reported before the file dialog opens.
        complete = bool(clip.emotion and speaker)
        if complete and not self._settings.text("recordings.manifest"):
            self.ask_manifest()
        name = self._settings.text("recordings.manifest")
        if complete and not name:
            return
        self._settings.keep("recordings.speaker", speaker)
        where = "all of it" if whole else f"{start:.2f} to {end:.2f} s"

        def then(clips: int) -> None:
            self._bar.status.show_text(
                f"kept: {clip.emotion}, {where}, in {Path(name).name} ({clips})", self._theme.good
            )

        self._writes.start(lambda: keep(Path(name), clip), then)

    def _show_manifest(self) -> None:
        name = self._settings.text("recordings.manifest")
        self._bar.status.show_text(f"in {Path(name).name}" if name else "")
