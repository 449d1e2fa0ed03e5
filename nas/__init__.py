"""Hardware-aware architecture search for small object detectors.

The house, from the ground up (imports point downwards only, tests/test_house.py reads every one):

    nas.stats, places, files, documents, terminal
                   statistics; where things lie; whole files; documents; how commands speak
    nas.space      what may be built: model YAML, blocks, primitive ops, search spaces   (no torch)
    nas.emit       a graph of ops as a file: ncnn, ONNX, ONNX in int8                    (no torch)
    nas.data       what is learnt from: data.yaml, lists, labels, images, anchors        (no torch)
    nas.detector   the network: torch modules, heads, builder
    nas.latency    the board: what is asked and answered, on_board, reach, measured, estimated,
                   verified                                                              (no torch)
    nas.training   teach and grade: augmentation, losses, loop, mAP
    nas.deploy     out of torch: ncnn and ONNX files, each held against torch
    nas.grading    how good, whatever runs it: a checkpoint, an ONNX file, an ncnn pair
    nas.accuracy   how good, cheaply: the proxies; how well they rank; teaching to the end
    nas.integrations   the way back into YOLOv5, Ultralytics and MMYOLO
    nas.bundle     a folder that runs elsewhere: what lies in it, what each file is worth
    nas.quantisation   files in int8: which layers compute so, what that loses and wins
    nas.study      the search: loop, sampler, Pareto front; after it finalists, picks, audit; the
                   record on disk
    nas.report     what is shown of a search: while it runs, figures, files; of an evaluation
    nas.profile, nas.doctor, nas.search, nas.audit, nas.predict, nas.pretrain, nas.train,
    nas.evaluate, nas.export, nas.verify: the commands

The tree of errors (tests/test_house.py holds it complete): whatever a user's mistake, or a file of
theirs, can raise, each under the room that raises it.

    NasError                     a flag, or a mistake that no other name fits
        nas
            OutputError          results that can't be written where stdout leads
            WriteError           a file or folder that the system does not let us write
        nas.space
            SpaceError           a search space's YAML
            SpecError            a model's YAML
        nas.data
            DataError            a data.yaml, a list, a label file, an image
        nas.detector
            SeedError            weights that know pictures, of another network or damaged
            SupernetError        a space whose candidates can't share weights, or a file of such
        nas.latency
            DeviceError          a device's file, or a key that the device lacks
            BoardError           a board that can't be reached, can't run the pack, or went away
            TableError           a table of measured times
            LogError             a log or CSV of one's own
            ModelError           the file of what all boards share
        nas.training
            RecipeError          a recipe's YAML
            FolderError          a training's folder
            CheckpointError      a .pt file
            TrainingError        a training that can't go on
            PretrainError        sets, or a space, that no starter can be taught on
        nas.deploy
            DeployError          a detector that can't be exported as asked
            ExportFolderError    a folder that an export can't be left in
            WrongFileError       an exported file whose outputs are not the network's
        nas.quantisation
            CalibrationError     pictures that no ranges of int8 maps can be found on
            Int8Error            an int8 file that loses too much, or is no faster
        nas.grading
            DetectorFileError    a file that can't be graded
        nas.accuracy
            ProxyError           a proxy's name or YAML
        nas.integrations
            CheckoutError        a YOLOv5 checkout
            UltralyticsError     Ultralytics that isn't there, or what it can't do with our models
            MmyoloError          a model that MMYOLO's neck can't stand on
            PickleError          another tool's checkpoint
        nas.study
            RunError             a run's folder, or settings that are not the run's
            StorageError         the storage of a study
            LimitError           limits that no architecture meets
            WorkerError          a grading process that died
            ClusterError         a Dask cluster out of reach, unsafe, or with no fit worker
            AuditError           a run, or a band of it, that can't be audited
            VerifyError          a run whose front can't be verified
        nas.report
            EvaluationFolderError    a folder that an evaluation can't be left in
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

    Every room derives its own (the tree stands at the top of this file); catching `NasError`
    catches them all.
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
