"""The board: what is timed on it, the table of its times, and the predictions made from them.

device       boards, and the key under which times are comparable
emit_ncnn, emit_onnx   graphs of primitive ops as the runtimes read them
pack, board, runner    what is sent to a board, what runs there, and how it gets there
measurement, table     samples, drift and doubt; the append-only file of them
cost_model, correction, fit, validation   from blocks to whole detectors, and how far off
campaign     what a profile measures, in which order
predictor    `load_predictor(key, root, space)` -> a `LatencyModel`
"""
