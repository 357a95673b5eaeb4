# Everything a developer or a curious visitor runs. `make demo` and `make test` need only make and Python 3.11+.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TRAINED := $(VENV)/.training
PYCUDA := $(VENV)/.pycuda
RTX    := $(VENV)/.rtx

.PHONY: demo test builds quick lint training pycuda rtx gpu-wheels gpu-check model lock clean

demo: $(STAMP)
	@$(BIN)/scanlight demo $(ARGS)

# Most of the time is spent in waiting, so that two at a time take little more than half of it.
test: $(STAMP)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

# The engines of whole networks, ten minutes of every processor, behind whatever else runs.
builds: $(STAMP)
	@SCANLIGHT_BUILD_ALL=1 nice -n 19 $(BIN)/python -m pytest -m builds $(ARGS)

quick: $(STAMP)
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Scanlight needs Python 3.11 or newer: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Scanlight needs Python 3.11 or newer; $$($(PYTHON) --version) is too old: install a newer one and name it with make PYTHON=python3.x" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) from requirements.lock (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# What training needs besides: PyTorch, whose CPU build is enough for all that is done here.
training: $(TRAINED)

$(TRAINED): requirements-train.lock $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-train.lock
	@touch $@

# What runs a plan on a GPU: PyCUDA, built here from its sources with g++. Its tests need no GPU.
pycuda: $(PYCUDA)

$(PYCUDA): requirements-cuda.lock | $(STAMP)
	@$(BIN)/python -m tools.gpu.pycuda
	@touch $@

# What builds a plan without a GPU: TensorRT-RTX, 230 MB, under NVIDIA's licence.
rtx: $(RTX)

$(RTX): requirements-rtx.lock | $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --require-hashes --requirement requirements-rtx.lock
	@touch $@

# A folder with all that gpu-check needs on a machine without a network; HAVE names what its Python has already, and
# LOT_MB=60 splits the folder for a way into the site that takes no larger ones.
WHEELS ?= gpu-wheels
PYTHON_VERSION ?= 3.12

gpu-wheels: $(STAMP)
	@$(BIN)/python -m tools.gpu.wheels $(WHEELS) --python $(PYTHON_VERSION) --have "$(HAVE)" $(if $(LOT_MB),--lot-mb $(LOT_MB))

# On a bare machine with a GPU: what only such a one can show, in ten minutes, as a report in docs/gpu-reports/.
gpu-check:
	@$(PYTHON) -m tools.gpu.check $(WHEELS) $(ARGS)

# The demonstration model from nothing, in about two hours: docs/training.md. The model that ships was made so.
model: $(TRAINED)
	@$(BIN)/scanlight population model/train --count 300 --seed 1
	@$(BIN)/scanlight population model/held-out --count 200 --seed 900001
	@$(BIN)/scanlight train --data model/train --held-out model/held-out --size edge --method curriculum --validate 0.25 \
		--want-sensitivity 0.95 --threads 1 --card engines/models/csac-net-edge.yaml --out model/run
	@$(BIN)/scanlight evaluate --images model/held-out --labels model/held-out/labels.csv \
		--model model/run/model.onnx --out model/report

# What development needs and what an appliance runs, for every Python from 3.11 on, and what training adds: that is
# PyTorch's CPU build for Python 3.11, of its own index, since PyPI's asks for gigabytes of CUDA. For another machine
# pip install 'scanlight[train]'. Needs uv (pip install uv).
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet pyproject.toml
TORCH := 2.13.0
TORCH_CPU := 6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit triton $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc \
	cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)

# NVIDIA's headers that PyCUDA is built with: for the drivers of CUDA 13, and for older ones.
CUDA_HEADERS := nvidia-cuda-runtime==13.0.96 nvidia-cuda-profiler-api==13.0.85 \
	nvidia-cuda-runtime-cu12==12.9.79 nvidia-cuda-profiler-api-cu12==12.9.79

lock:
	$(COMPILE) --extra dev --upgrade --output-file requirements.lock
	$(COMPILE) --extra gpu --constraint requirements.lock --output-file requirements-run.lock
	echo torch==$(TORCH) | $(COMPILE) --extra train --constraint requirements.lock --constraint - \
		--no-annotate $(addprefix --no-emit-package ,torch $(CUDA)) --output-file requirements-train.lock
	sed -i '/^#/d' requirements-train.lock
	echo 'torch==$(TORCH) --hash=sha256:$(TORCH_CPU)' >>requirements-train.lock
	printf '%s\n' pycuda $(CUDA_HEADERS) | $(subst pyproject.toml,-,$(COMPILE)) --constraint requirements.lock \
		--no-annotate --output-file requirements-cuda.lock
	echo 'tensorrt-rtx>=1.7' | $(subst pyproject.toml,-,$(COMPILE)) --no-annotate --output-file requirements-rtx.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
