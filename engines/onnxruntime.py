"""The embedded CPU engine and the reference for every other: ONNX Runtime's CPU provider."""

from __future__ import annotations

import time
from collections.abc import Iterable

import onnxruntime

from engines.bundle import ModelFile
from engines.protocol import EngineError, EngineIdentity, Float32, Score, first_line
from engines.spec import ModelSpec
from engines.tensors import Tensor, check_signature, heatmap, input_tensor, probability

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}


class OnnxRuntimeEngine:
    """Runs an ONNX model in float32 on the CPU.

    `threads` is the number of threads of a run, None for one a physical core. They sleep between runs:
    spinning ones would slow everything else on the machine. Raises EngineError when the model cannot be
    loaded, or its inputs and outputs are not what its specification says. `why` is told with its identity.
    """

    def __init__(self, model: ModelFile, threads: int | None = None, why: str = "") -> None:
        self._model = model
        self._why = why
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # its errors are raised; it need not also write them to stderr
        try:
            self._session = onnxruntime.InferenceSession(
                model.content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise EngineError(
                f"ONNX Runtime cannot load model {self.spec.name}: {first_line(error)}"
            ) from None
        check_signature(
            _described(self._session.get_inputs()), _described(self._session.get_outputs()), self.spec
        )
        self._outputs = [name for name in (self.spec.output, self.spec.heatmap) if name]

    @property
    def spec(self) -> ModelSpec:
        return self._model.spec

    @property
    def digest(self) -> str:
        return self._model.digest

    @property
    def identity(self) -> EngineIdentity:
        return EngineIdentity("onnxruntime", f"onnxruntime {onnxruntime.__version__}", "cpu", why=self._why)

    def infer(self, volume: Float32) -> Score:
        """Score a float32 HU volume [D, H, W]; see `engines.protocol.Engine`. Reads the volume in place."""
        started = time.perf_counter()
        tensor = input_tensor(volume, self.spec)
        prepared = time.perf_counter()
        try:
            outputs = self._session.run(self._outputs, {self.spec.input: tensor})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on the volume: {first_line(error)}") from None
        computed = time.perf_counter()
        score, cells = probability(outputs[0], self.spec), None
        if self.spec.heatmap:
            cells = heatmap(outputs[1], self.spec)
        finished = time.perf_counter()
        return Score(
            score,
            cells,
            {
                "prepare": (prepared - started) * 1000,
                "compute": (computed - prepared) * 1000,
                "finish": (finished - computed) * 1000,
            },
        )

    def close(self) -> None:
        """Nothing to give back: ONNX Runtime frees the session with the object."""


def _described(nodes: Iterable[onnxruntime.NodeArg]) -> dict[str, Tensor]:
    return {node.name: Tensor(_DTYPES.get(node.type, node.type), node.shape) for node in nodes}
