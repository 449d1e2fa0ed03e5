"""How good a detector is, whatever runs it.

    open_detectors("best.pt" | "x.onnx" | "x.ncnn.param" | "runs/export-x")   nas.grading.opening
        -> tuple[DetectorFile, ...], each with a `predict` that nas.training.metrics grades
    examine(file, part) -> Examination                                       nas.grading.examination

A file is run by its own runtime, in the arithmetic that its precision asks for (`onnx_file`,
`ncnn_file`, `checkpoint_file`); raw maps are decoded by the heads' own lines (`outputs`).
What became of each box and object, and what made a box, is found in `boxes`.
"""
