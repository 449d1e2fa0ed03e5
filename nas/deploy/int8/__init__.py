"""Files that compute in int8: ranges of maps, scales of weights, ncnn's and ONNX Runtime's form."""
