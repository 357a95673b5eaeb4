"""Mistakes in engines/tensorrt.py that its tests must see, as changes to its text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`changes` are pairs of what is there once and what is put in its place; `seen_as` is found in what
    `contract.broken` says."""

    name: str
    seen_as: str
    changes: tuple[tuple[str, str], ...]

    def of(self, text: str) -> str:
        for old, new in self.changes:
            assert text.count(old) == 1, f"{self.name}: the runner's text has {text.count(old)} times {old!r}"
            text = text.replace(old, new)
        return text


_COPY_BACK = "            cuda.memcpy_dtoh_async(buffer.host, buffer.device, stream)\n"
_TIMES = """        timings = {
            "host_to_device": begun.time_till(sent),
            "execute": sent.time_till(computed),
            "device_to_host": computed.time_till(fetched),
        }
"""
_NO_TIMES = """        timings = {"host_to_device": 0.0, "execute": 0.0, "device_to_host": 0.0}
"""
_ANOTHER_STREAM = (
    (
        "        self._stream = cuda.Stream()\n",
        "        self._stream, self._other = cuda.Stream(), cuda.Stream()\n",
    ),
    (
        "            self._stream, self._events = None, []\n",
        "            self._stream, self._other, self._events = None, None, []\n",
    ),
)

MUTANTS = (
    Mutant(
        "no context pushed",
        "Cuda failure: 201|no currently active context",
        (
            (
                "            context.push()\n            try:\n                yield\n            finally:\n"
                "                context.pop()\n",
                "            yield\n",
            ),
        ),
    ),
    Mutant(
        "context not popped",
        "a context is current after",
        (
            (
                "                yield\n            finally:\n                context.pop()\n",
                "                yield\n            finally:\n                pass\n",
            ),
        ),
    ),
    Mutant(
        "wrong byte size",
        "invalid argument",
        (("cuda.mem_alloc(self.host.nbytes)", "cuda.mem_alloc(self.host.size)"),),
    ),
    Mutant(
        "missing synchronise",
        "device not ready",
        (("        stream.synchronize()\n        if not", "        if not"),),
    ),
    Mutant(
        "missing synchronise and no times",
        "BadOutput|instead of",
        (("        stream.synchronize()\n        if not", "        if not"), (_TIMES, _NO_TIMES)),
    ),
    Mutant(
        "buffer freed early",
        "illegal memory access",
        ((_COPY_BACK, _COPY_BACK + "            buffer.device.free()\n"),),
    ),
    Mutant(
        "pinned buffer freed early",
        "illegal memory access",
        (
            (
                "        fetched.record(stream)\n",
                "        fetched.record(stream)\n        source.host.base.free()\n",
            ),
        ),
    ),
    Mutant(
        "inputs and outputs swapped",
        "invalid argument|did not run",
        (
            (
                "set_tensor_address(name, int(buffer.device))",
                "set_tensor_address([*reversed(tensors)][[*tensors].index(name)], int(buffer.device))",
            ),
        ),
    ),
    Mutant(
        "directions swapped",
        "BadOutput|instead of",
        (
            (
                "cuda.memcpy_htod_async(source.device, source.host, stream)",
                "cuda.memcpy_dtoh_async(source.host, source.device, stream)",
            ),
        ),
    ),
    Mutant(
        "float16 for float32",
        "invalid argument|did not run",
        (("cuda.pagelocked_empty(shape, tensor.dtype)", 'cuda.pagelocked_empty(shape, "float16")'),),
    ),
    Mutant(
        "executed on the default stream",
        "times default stream",
        (("execute_async_v3(stream.handle)", "execute_async_v3(0)"),),
    ),
    Mutant(
        "executed on another stream",
        "BadOutput|instead of",
        (*_ANOTHER_STREAM, ("execute_async_v3(stream.handle)", "execute_async_v3(self._other.handle)")),
    ),
    Mutant(
        "fetched on another stream",
        "BadOutput|instead of",
        (*_ANOTHER_STREAM, (_COPY_BACK, _COPY_BACK.replace("stream)", "self._other)"))),
    ),
    Mutant(
        "sent from pageable memory",
        "times pageable",
        (
            (
                "memcpy_htod_async(source.device, source.host, stream)",
                "memcpy_htod_async(source.device, tensor, stream)",
            ),
        ),
    ),
    Mutant(
        "context given back before what lies in it",
        "leaked are left",
        (
            (
                "            if self._plan is not None:\n                self._plan.free()\n        context,",
                "            self._context.detach()\n            if self._plan is not None:\n"
                "                self._plan.free()\n        context,",
            ),
        ),
    ),
    Mutant(
        "engine ended before its execution context",
        "the engine ended before",
        (("        with self._held:\n", "        self._engine = None\n        with self._held:\n"),),
    ),
    Mutant(
        "buffers not freed",
        "leaked are left|are left",
        (
            (
                "            self._held.callback(buffer.free)\n",
                "            cuda.kept = [*getattr(cuda, 'kept', []), buffer]\n",
            ),
        ),
    ),
    Mutant(
        "context not given back",
        "1 contexts are left",
        (("                context.detach()\n", "                pass\n"),),
    ),
    Mutant(
        "more memory with each volume",
        "more after the last volume",
        (
            (
                "        begun.record(stream)\n",
                "        begun.record(stream)\n        self._held.callback(cuda.mem_alloc(4).free)\n",
            ),
        ),
    ),
)
