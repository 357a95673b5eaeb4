"""The only way to run a model: its specification, the Engine protocol, and one module per runner."""

import os

# ONNX Runtime reports its use to its maker from its import on. Nothing leaves this machine.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
