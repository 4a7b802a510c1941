"""Turn a trained checkpoint into one verified ONNX bundle."""
