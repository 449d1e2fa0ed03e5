"""Hardware-aware architecture search for small object detectors.

The house, from the ground up (imports point downwards only, tests/test_house.py reads every one):

    nas.space      what may be built: model YAML, blocks, primitive ops, search spaces   (no torch)
    nas.detector   the network: torch modules, head, builder
    nas.latency    the board: emitters, timing, table, predictor                         (no torch)
    nas.training   teach and grade: data, augmentation, loss, mAP, loop
    nas.deploy     out of torch: ncnn and ONNX files, each held against torch
    nas.accuracy   how good, cheaply: the proxies
    nas.integrations   the way back into YOLOv5, Ultralytics and MMYOLO
    nas.study      the search: run folder, objective, Pareto front, figures, report
    nas.profile, nas.doctor, nas.search, nas.predict, nas.pretrain, nas.train, nas.evaluate,
    nas.export: the commands
"""

from __future__ import annotations

__version__ = "0.1.0"


LONGEST = 500
"""Characters of what was got that a message shows."""


class NasError(Exception):
    """A mistake of the user's, or of a file they gave us: shown as one message, exit code 2.

    where   the file, line, flag or folder concerned
    rule    what must hold there
    got     what stands there instead (empty when the rule says it all)
    remedy  what to do about it

    Every room derives its own: `SpecError` and `SpaceError` (nas.space), `DataError`
    (nas.training), and so on; catching `NasError` catches them all.
    """

    def __init__(self, where: str, rule: str, got: str = "", remedy: str = "") -> None:
        self.where = str(where)
        self.rule = rule
        self.got = got
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.rule}"
        if self.got:
            is_long = len(self.got) > LONGEST
            text += f"; got {self.got[:LONGEST]} ..." if is_long else f"; got {self.got}"
        if not text.endswith("."):
            text += "."
        if self.remedy:
            text += f" {self.remedy}"
            if not text.endswith("."):
                text += "."
        return text

    def __reduce__(self) -> tuple[type[NasError], tuple[str, str, str, str]]:
        return type(self), (self.where, self.rule, self.got, self.remedy)
