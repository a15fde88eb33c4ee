# Everything runs in an environment of its own, made on first use: .venv, from the package index alone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MINIMUM := .venv-minimum
UPSTREAM := .venv-upstream

# Models of tests are tiny: one thread. Bytecode is kept, whatever the shell says: else each process reads all tests and their assertions anew.
TESTED := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

.DEFAULT_GOAL := help
.PHONY: help help-texts demo demo-vision docs docs-pages model-cards tables pictures public-names test test-all test-dirty test-faults test-gpu \
	test-minimum test-upstream lint

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(VENV)/.demo ## plain training, TMix and MixText on the embedded example, some minutes on two cores
	$(BIN)/mixtext-hf demo --output_dir demo

demo-vision: $(VENV)/.demo ## ERM against PuzzleMix on handwritten digits, and a page of pictures
	$(BIN)/mixtext-hf demo-vision --output_dir demo-vision

docs: $(VENV)/.docs ## the site of the documentation, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-pages: $(VENV)/.dev ## the pages of methods, models and commands anew, from the package
	$(BIN)/python scripts/docs_pages.py

model-cards: $(VENV)/.demo ## train the models of model_cards/ again (DATA=folder with the data sets), some hours
	PATH="$(abspath $(BIN)):$$PATH" model_cards/regenerate.sh "$(DATA)" model_cards_work

tables: $(VENV)/.demo ## the tables of README.md and of the pages in docs again, from the files in docs/results
	$(BIN)/python scripts/tables.py
	$(BIN)/python scripts/benchmark_tables.py

pictures: $(VENV)/.demo ## the pictures of docs again, from the files in docs/results and by show-mixes
	$(BIN)/python scripts/pictures.py

help-texts: $(VENV)/.dev ## what `mixtext-hf COMMAND --help` prints, anew from the arguments there are
	$(BIN)/python -m mixtext_hf.cli.help_texts

public-names: $(VENV)/.dev ## the list of public names and their signatures anew, after a change that is meant
	$(BIN)/python tests/public_names.py

test: $(VENV)/.dev ## the test suite, some minutes on two cores
	$(TESTED) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.dev ## the test suite with its deep tests, and five times as many examples
	$(TESTED) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --deep --hypothesis-profile=deep

test-dirty: $(VENV)/.dev ## thousands of made-up files, whole and damaged, through the loaders
	PYTHONPATH=.:tests $(BIN)/python tests/dirty_tables.py --count 3000
	PYTHONPATH=.:tests $(BIN)/python tests/dirty_images.py --count 1000

test-faults: $(VENV)/.dev ## runs that are killed, stopped, or fill the disk, and go on; some ten minutes
	PYTHONPATH=.:tests $(BIN)/python tests/faults.py --kills 100
	PYTHONPATH=.:tests $(BIN)/python tests/faults.py --kills 18 --signal SIGINT
	PYTHONPATH=.:tests $(BIN)/python tests/faults.py --kills 18 --signal SIGTERM
	MIXTEXT_HF_ALL_FAULTS=1 $(BIN)/python -m pytest -q tests/cli/test_failures.py -k full_disk

test-gpu: $(VENV)/.dev ## the tests that need a GPU, and those of tensors on it
	$(BIN)/python -m pytest --device cuda tests/training/test_gpu.py tests/mixing

test-minimum: ## the tests with the oldest releases that pyproject.toml allows (INSTEAD="torch==2.13.0": not that bound; TESTS="tests/mixing")
	$(PYTHON) -m venv --clear $(MINIMUM)
	$(PYTHON) scripts/lower_bounds.py $(INSTEAD:%=--instead %) > $(MINIMUM)/constraints.txt
	$(MINIMUM)/bin/pip install --quiet -c $(MINIMUM)/constraints.txt -e '.[test]'
	$(TESTED) $(MINIMUM)/bin/python -m pytest -n 2 $(TESTS)

test-upstream: ## the tests with transformers as it stands on its main branch (TESTS="tests/models": only those)
	$(PYTHON) -m venv --clear $(UPSTREAM)
	$(UPSTREAM)/bin/pip install --quiet -e '.[test]'
	$(UPSTREAM)/bin/pip install --quiet 'transformers @ git+https://github.com/huggingface/transformers@main'
	$(TESTED) $(UPSTREAM)/bin/python -m pytest -n 2 $(TESTS)

lint: $(VENV)/.dev ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.docs: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	# Alone: it asks for torchvision, which its models do not need, and tests/timm_models.py does without.
	$(BIN)/pip install --quiet -c constraints.txt --no-deps timm
	touch $@
