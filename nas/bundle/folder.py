"""What lies in a bundle beside the exported files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from nas.bundle.readme import readme
from nas.bundle.worth import Worth
from nas.deploy.on_board import detect
from nas.deploy.report import ExportReport, GradedOn, write_report
from nas.training.on_disk.checkpoint import Checkpoint, save_checkpoint

WEIGHTS: Final = "best.pt"
CLASSES: Final = "classes.txt"
README: Final = "README.md"
PROGRAM_FILE: Final = "detect.py"


def write_beside(folder: Path, checkpoint: Checkpoint, model: str) -> tuple[str, ...]:
    """Writes model YAML, weights, class names and detect.py; returns the files' names.

    The weights are those of the checkpoint without what going on with a training takes.

    model  the name of the model's YAML
    """
    (folder / model).write_text(checkpoint.model, encoding="utf-8")
    save_checkpoint(folder / WEIGHTS, replace(checkpoint, training=None))
    names = "".join(f"{name}\n" for name in checkpoint.names)
    (folder / CLASSES).write_text(names, encoding="utf-8")
    (folder / PROGRAM_FILE).write_bytes(Path(detect.__file__).read_bytes())
    return (model, WEIGHTS, CLASSES, PROGRAM_FILE)


@dataclass(frozen=True, kw_only=True)
class Bundling:
    """What makes an export a bundle."""

    worth: Worth
    graded_on: GradedOn
    checkpoint: Checkpoint
    name: str
    """Of the folder, once it is there."""
    host: str
    """The board, as ssh takes it."""

    def complete(self, report: ExportReport, folder: Path) -> ExportReport:
        """Adds what is beside the exported files, and says what these are worth.

        folder  holds the exported files; the returned report is not written yet
        """
        beside = write_beside(folder, self.checkpoint, f"{report.model}.yaml")
        # What grades a file looks up its classes and anchors there.
        write_report(folder, report)
        report = replace(
            report,
            exported=self.worth.of(report.exported, folder),
            map50_95=self.worth.grade(folder / WEIGHTS).map50_95,
            graded_on=self.graded_on,
            beside=(*beside, README),
        )
        text = readme(report, folder, self.name, self.host)
        (folder / README).write_text(text, encoding="utf-8")
        return report
