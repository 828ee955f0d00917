# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs in .venv the first time, and
# again only when pyproject.toml or the lock file changes. `make check` is what a change must pass besides the tests; the
# documents of `make docs`, which is a part of it, are then in build/docs. `make coverage`: of all but nightly tests.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
LOCK := .ci/requirements.lock
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip -qq
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: demo test check docs coverage clean
.DELETE_ON_ERROR:

demo: $(VENV)/.engine
	@$(BIN)/efficient-medsam2 demo --output demo-output

test: $(VENV)/.developer
	@$(BIN)/python -m pytest -q $(PYTEST_ARGS)

check: $(VENV)/.developer
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-logo > $(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/codespell
	@$(MAKE) -s docs
	@echo "check: clean"

docs: $(VENV)/.developer
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file .ci/mkdocs.yml

coverage: $(VENV)/.developer
	@$(BIN)/python -m pytest -q -m "not nightly" --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) demo-output build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache .coverage

$(VENV)/.python:
	@.ci/make-venv "$(VENV)" "$(PYTHON)"
	@touch $@

# torch and torchvision, of which each wants one release of the other, come first and from one index: where PyTorch's own
# answers, Linux gets the CPU builds (0.2 instead of 3 GB).
$(VENV)/.torch: $(VENV)/.python $(LOCK) .ci/match-torchvision
	@echo "Installing PyTorch into $(VENV) (once; takes a few minutes) ..."
	@if [ "$$(uname -s)" = Linux ] && [ -z "$$(ls /proc/driver/nvidia 2>/dev/null)" ] \
	    && curl -fsI -m 5 $(CPU_WHEELS)/torch/ >/dev/null 2>&1; \
	 then $(PIP) install -c $(LOCK) torch torchvision --extra-index-url $(CPU_WHEELS); \
	 else $(PIP) install -c $(LOCK) torch torchvision; fi
	@.ci/match-torchvision $(BIN)/python
	@touch $@

$(VENV)/.engine: $(VENV)/.torch pyproject.toml setup.py $(LOCK)
	@echo "Installing EfficientMedSAM2 into $(VENV) ..."
	@$(PIP) install -c $(LOCK) setuptools
	@$(PIP) install -c $(LOCK) --no-build-isolation -e .
	@touch $@

$(VENV)/.developer: $(VENV)/.engine .ci/install-browser
	@echo "Installing what the tests and checks need into $(VENV) ..."
	@$(PIP) install -c $(LOCK) --no-build-isolation -e ".[slicer,train,eval,cohort,web,export,dev,docs]"
	@.ci/install-browser
	@touch $@
