PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format docs clean

# The checkout under the package's own name, for tools that read files and not installed packages.
LINK := $(VENV)/source/capfw

# The build leaves an egg-info in the checkout, which Python started there would take for the installed package, also when
# it is older than that.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	rm -rf capfw.egg-info
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	rm -rf capfw.egg-info
	mkdir -p $(dir $(LINK)) && ln -sfn $(CURDIR) $(LINK)
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	rm -rf capfw.egg-info
	touch $@

demo: $(VENV)/installed
	$(BIN)/capfw run examples/quickstart.json

# One thread each: on models as small as those of the tests, torch's threads mostly wait for one another.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	cd $(VENV)/source && MYPYPATH=. ../bin/mypy --config-file $(CURDIR)/pyproject.toml -p capfw.core -p capfw.commands

format: $(VENV)/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/installed-docs
	$(BIN)/python docs/generate_reference.py
	$(BIN)/zensical build --strict --clean

clean:
	rm -rf $(VENV) build dist *.egg-info site .cache
