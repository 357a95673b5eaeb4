"""The network of the paper and its baseline: PyTorch modules, their export to ONNX, and what they cost."""
