# The commands to begin with are make quickstart and make test. Each installs what it needs into .venv.
PYTHON ?= python3
VENV := .venv
CORE := .venv-core
REID := .venv-reid
TORCHVISION := .venv-torchvision
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install quickstart quickstart-training test check real reid torchvision core docs package clean

help:
	@echo "make quickstart           draw people, index them, search, score, and write reports (results in quickstart/)"
	@echo "make quickstart-training  train a network on drawn people, and score it before and after (minutes)"
	@echo "make test                 the default test suite: offline, on a CPU, in minutes"
	@echo "make check                ruff and mypy --strict"
	@echo "make real                 tests marked real and slow; they read ../shared"
	@echo "make reid                 tests marked reid, against roboflow's package reid, in an environment of its own"
	@echo "make torchvision          tests marked torchvision, against torchvision and timm, in an environment of its own"
	@echo "make core                 the core install, without torch, in an environment of its own: embed, search, score, with any file of weights"
	@echo "make docs                 the documentation as a site in site/: docs/, and a reference from docstrings and --help"
	@echo "make package              wheel, source archive, bill of materials, manual page and completions in dist/, each tried"
	@echo "make clean                remove what these commands made"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "omnireid needs Python 3.11 or newer, and $(PYTHON) is older. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(INSTALLED)

quickstart: $(INSTALLED)
	$(BIN)/python examples/quickstart.py quickstart

quickstart-training: $(INSTALLED)
	$(BIN)/python examples/quickstart_training.py quickstart

test: $(INSTALLED)
	$(BIN)/python -m pytest --quiet -n auto --dist worksteal

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

real: $(INSTALLED)
	$(BIN)/python -m pytest --quiet -n auto --dist loadfile --durations=20 -m 'real or slow'

reid:
	$(PYTHON) -m venv --clear $(REID)
	PIP_CONSTRAINT=constraints.txt $(REID)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' 'reid==0.1.0rc1'
	$(REID)/bin/python -m pytest --quiet -m reid

torchvision:
	$(PYTHON) -m venv --clear $(TORCHVISION)
	PIP_CONSTRAINT=constraints.txt $(TORCHVISION)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' 'torchvision==0.28.0' 'timm==1.0.31'
	$(TORCHVISION)/bin/python -m pytest --quiet -m torchvision

core:
	$(PYTHON) -m venv --clear $(CORE)
	PIP_CONSTRAINT=constraints.txt $(CORE)/bin/python -m pip install --quiet --disable-pip-version-check .
	! $(CORE)/bin/python -c 'import torch' 2>/dev/null
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" \
	  && "$(CURDIR)/$(CORE)/bin/python" "$(CURDIR)/examples/core.py" "$$folder" \
	  && "$(CURDIR)/$(CORE)/bin/omnireid" embed people --split query --output query.parquet \
	  && "$(CURDIR)/$(CORE)/bin/omnireid" embed people --split gallery --output gallery.parquet \
	  && "$(CURDIR)/$(CORE)/bin/omnireid" evaluate --query query.parquet --gallery gallery.parquet --rerank \
	  && "$(CURDIR)/$(CORE)/bin/omnireid" evaluate --data people \
	  && "$(CURDIR)/$(CORE)/bin/python" "$(CURDIR)/tests/weights/torch_writer.py" public.pth \
	  && "$(CURDIR)/$(CORE)/bin/omnireid" inspect public.pth \
	  && "$(CURDIR)/$(CORE)/bin/omnireid" evaluate --data people --weights public.pth \
	  && "$(CURDIR)/$(CORE)/bin/omnireid" convert public.pth --output ours.safetensors \
	  && "$(CURDIR)/$(CORE)/bin/omnireid" evaluate --data people --weights ours.safetensors

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

package: $(INSTALLED)
	bash packaging/make_package.sh $(BIN)/python

clean:
	rm -rf $(VENV) $(CORE) $(REID) $(TORCHVISION) quickstart site dist
