"""scanlight build-engine: from a trained ONNX model to a bundle with an FP16 TensorRT plan."""
