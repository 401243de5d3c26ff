# make demo    restore a damaged clip that is made on the spot, offline
# make notebook                                 JupyterLab with the notebooks; what they make lies beside them
# make test    lint (ruff, mypy on core and media), tests, notebooks
# make test-browser, make test-colab            a notebook clicked through in a browser; all of them with Colab's packages
# make test-wheel                               the installed package, in an environment of its own: version, demo
# make docs                                     reference pages from the docstrings, in build/docs
# make train-film FOOTAGE=folder [MINUTES=90]   train film-small again; stopped at any time, it resumes
# make badges REPO=owner/name                   write the repository's address into notebooks and README
# Both set up .venv first and use it again later. To choose other builds of the packages, for example of torch:
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BROWSER := $(VENV)/.browser
LAB := $(VENV)/.lab

.PHONY: demo notebook test test-browser test-colab test-wheel docs lint format setup clean train-film badges

# PORT=8890 chooses another port; without a screen, LAB_ARGS="--no-browser --ip=0.0.0.0" serves it to others.
notebook: $(LAB)
	cd notebooks && ../$(BIN)/python -m jupyterlab --port=$(or $(PORT),8888) $(LAB_ARGS)

demo: $(READY)
	$(BIN)/python -m restore_utils.demo out/demo

test: lint
	$(BIN)/python -m pytest

# Clicks through a notebook in JupyterLab and through a report page; needs chromium (Debian: apt-get install chromium).
# SCREENSHOTS=folder keeps what was seen.
test-browser: $(BROWSER)
	$(BIN)/python -m pytest tests/browser

# The notebooks with the packages of Colab (make test-colab PYTHON=python3.13): an environment of their own, 6 GB.
test-colab:
	$(PYTHON) -m venv build/colab
	build/colab/bin/python -m pip install -q $(PIP_ARGS) -c tests/colab.txt -e '.[dev]'
	build/colab/bin/python -m pytest tests/test_notebooks.py tests/test_forms.py tests/train

test-wheel: $(READY)
	rm -rf build/wheel build/installed
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(BIN)/python -m venv build/installed || $(PYTHON) -m virtualenv -q build/installed
	build/installed/bin/python -m pip install -q $(PIP_ARGS) build/wheel/*.whl
	cd build && installed/bin/restore-utils --version && installed/bin/python -m restore_utils.demo installed/demo

docs: $(READY)
	$(BIN)/python -m pdoc --docformat google --output-directory build/docs $(addprefix restore_utils.,interface errors progress \
	  core.model core.runner core.adapters core.wrappers core.testing media.inspect media.clip scores comparison damage.whole \
	  jobs.settings jobs.restoration restorers.restorer restorers.registry)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

train-film: $(READY)
	@test -n "$(FOOTAGE)" || { echo 'say where clean footage lies: make train-film FOOTAGE=folder' >&2; exit 2; }
	$(BIN)/python -m restore_utils train $(FOOTAGE) runs/film --kind film --minutes $(or $(MINUTES),90)

badges:
	@test -n "$(REPO)" || { echo 'say whose repository it is: make badges REPO=owner/name' >&2; exit 2; }
	sed -i -E -e 's#(/github/|git\+https://github\.com/)[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+#\1$(REPO)#' \
	  -e 's#\]\((\.\./|https://raw\.githubusercontent\.com/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/main/)docs/#](https://raw.githubusercontent.com/$(REPO)/main/docs/#' \
	  notebooks/*.ipynb

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@# Debian's Python comes without venv; pip can bring the same tool, outside of what the system manages.
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV) && $(PYTHON) -m pip install -q $(PIP_ARGS) --target build/virtualenv virtualenv \
	  && PYTHONPATH=build/virtualenv $(PYTHON) -m virtualenv -q $(VENV); }
	$(BIN)/python -m pip install -q --upgrade pip $(PIP_ARGS)
	$(BIN)/python -m pip install $(PIP_ARGS) -e '.[dev,speech]'
	@# Its weights know voices apart; what it asks for beside them would have to be compiled and is not used.
	$(BIN)/python -m pip install -q $(PIP_ARGS) --no-deps Resemblyzer==0.1.4
	@# opencv-python needs the libraries of a desktop; a server has none, and the headless build is the same cv2.
	$(BIN)/python -c 'import cv2' 2>/dev/null || { $(BIN)/python -m pip uninstall -q -y opencv-python \
	  && $(BIN)/python -m pip install -q $(PIP_ARGS) --force-reinstall --no-deps opencv-python-headless; }
	@touch $(READY)

$(LAB): $(READY)
	$(BIN)/python -m pip install -q $(PIP_ARGS) 'jupyterlab>=4.2'
	@touch $(LAB)

$(BROWSER): $(READY)
	$(BIN)/python -m pip install -q $(PIP_ARGS) -e '.[browser]'
	@touch $(BROWSER)

clean:
	rm -rf $(VENV) build out *.egg-info
