# make demo    restore a damaged clip that is made on the spot, offline
# make test    lint, tests, notebooks
# Both set up .venv first and use it again later. To choose other builds of the packages, for example of torch:
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint format setup clean

demo: $(READY)
	$(BIN)/python -m restore_utils.demo out/demo

test: lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@# Debian's Python comes without venv; pip can bring the same tool, outside of what the system manages.
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV) && $(PYTHON) -m pip install -q $(PIP_ARGS) --target build/virtualenv virtualenv \
	  && PYTHONPATH=build/virtualenv $(PYTHON) -m virtualenv -q $(VENV); }
	$(BIN)/python -m pip install -q --upgrade pip $(PIP_ARGS)
	$(BIN)/python -m pip install $(PIP_ARGS) -e '.[dev]'
	@# opencv-python needs the libraries of a desktop; a server has none, and the headless build is the same cv2.
	$(BIN)/python -c 'import cv2' 2>/dev/null || { $(BIN)/python -m pip uninstall -q -y opencv-python \
	  && $(BIN)/python -m pip install -q $(PIP_ARGS) --force-reinstall --no-deps opencv-python-headless; }
	@touch $(READY)

clean:
	rm -rf $(VENV) build out *.egg-info
