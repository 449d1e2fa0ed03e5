"""A graph of primitive ops as a file: ncnn's `.param`, ONNX, ONNX in int8. No torch."""
