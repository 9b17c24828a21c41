# Each target sets up all it needs; only Python 3.11 or newer is taken for granted.
# PYTHON=python3.12 make test  picks another interpreter.

PYTHON ?= python3
# four processes: most tests wait for something; a class or a file stays in one. What fails is run
# again, at most twice, and named in the summary: deadlines of seconds are missed on a busy machine.
PYTEST_ARGS ?= -n 4 --dist loadscope --no-loadscope-reorder --reruns 2 --reruns-delay 1
PAGE = tests/playground/test_page.py
PIP = PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore $(1)/bin/python -m pip install -qq

.DEFAULT_GOAL := help
.PHONY: help venv test lint types demo playground bench soak clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A virtual environment and its stamp; it is made anew when pyproject.toml changes.
define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: PYTHON=python3.12 make ..." >&2; exit 1; }
	@echo "Making $(1) (once; it takes a minute or two)"
	@rm -rf $(1)
	@$(PYTHON) -m venv $(1)
	@$(call PIP,$(1)) $(2)
	@touch $@
endef

.venv/.stamp: pyproject.toml
	$(call make_venv,.venv,-e '.[dev]')

.venv-demo/.stamp: pyproject.toml
	$(call make_venv,.venv-demo,-e '.[smolagents]' matplotlib)

.venv-playground/.stamp: pyproject.toml
	$(call make_venv,.venv-playground,-e '.[playground]' matplotlib pandas)

venv: .venv/.stamp ## make .venv with everything that development needs

test: lint types ## lint, type checks and all tests; PYTEST_ARGS='-k files' for a part
	@.venv/bin/python -m pytest $(PYTEST_ARGS) --ignore=$(PAGE)
	@# alone: a browser takes a container's new network for a change of its own
	@.venv/bin/python -m pytest $(PYTEST_ARGS) -n 2 --dist load $(PAGE) || [ $$? -eq 5 ]

lint: .venv/.stamp ## ruff
	@.venv/bin/ruff check .

types: .venv/.stamp ## mypy --strict
	@.venv/bin/mypy

demo: .venv-demo/.stamp ## an agent at work in a sandbox, no model and no network needed
	@.venv-demo/bin/python examples/demo.py

playground: .venv-playground/.stamp ## the playground in the browser
	@.venv-playground/bin/python -m code_sandboxes_playground

bench: .venv/.stamp ## measure what the README and the design promise
	@.venv/bin/python -m benchmarks

soak: .venv/.stamp ## the long runs in full: 200 sandboxes, 200 MB of output, looking for leaks
	@CODE_SANDBOXES_SOAK=200 .venv/bin/python -m pytest --timeout 900 \
		tests/test_soak.py tests/test_properties.py tests/test_conformance.py \
		tests/remote/test_conformance.py tests/remote/test_forged.py \
		tests/containers/test_conformance.py tests/containers/test_forged.py tests/datalayer

clean: ## remove environments, caches and what examples made
	@rm -rf .venv .venv-demo .venv-playground build dist demo-output bench-output \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis
