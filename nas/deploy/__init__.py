"""Out of torch: a detector's weights into ncnn and ONNX files, each held against torch."""
