# Needs make, a POSIX shell and Python 3.11 or newer; every target sets up what else it needs.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; \
	done)
ONLY ?= all
JOBS ?= 2
# of the tests: as many as there are processors, 2 to 4, for each may need some gigabytes
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); \
	[ "$$n" -gt 4 ] && n=4; [ "$$n" -lt 2 ] && n=2; echo $$n)
FULL ?=
ARGS ?=
full := $(if $(filter-out 0 no false,$(FULL)),--full)
CORE := -m "core and not thorough and not long"

VENV := .venv
VENV_LOWEST := .venv-lowest
VENV_WHEEL := .venv-wheel
VENV_RELEASE := .venv-release
VENV_PEERS := .venv-peers
VENV_KERNELS := .venv-kernels

.PHONY: help reproduce claims benchmark notebooks lab docs check test test-long test-lowest test-wheel unused release-check clean

help:
	@echo 'make reproduce     run every experiment; figures, data and claims.json go to results/'
	@echo '                   ONLY=local_elasticity  one experiment'
	@echo '                   JOBS=1                 so many experiments at a time (default 2)'
	@echo '                   FULL=1                 paper-quality sizes'
	@echo '                   ARGS="--seeds 256"     any fields of the one named by ONLY; without it,'
	@echo '                                          ARGS="--local-elasticity.seeds 256"'
	@echo 'make claims        show results/claims.json in the documentation and the README from now on'
	@echo 'make benchmark     nsh side by side with NumPy, PyTorch, neural-tangents; ONLY=figure-4 for one case'
	@echo 'make lab           open the notebooks in JupyterLab; ARGS="--no-browser" and its other options'
	@echo 'make notebooks     run them all and save what they show'
	@echo 'make docs          the documentation site, in site/; a broken link or an undocumented name fails'
	@echo 'make check FILE=tests/test_readme.py   ruff and these tests, in seconds'
	@echo 'make test          ruff, pyright and the tests'
	@echo 'make test-long     the slow tests: notebooks and pages run anew, small experiments, examples'
	@echo 'make test-lowest   the core tests on the lowest supported JAX, with 64-bit floats'
	@echo 'make test-wheel    the wheel by itself, in a fresh environment without extras'
	@echo 'make unused        names that nothing uses'
	@echo 'make release-check build sdist and wheel, and check what an index of packages would show'
	@echo 'make clean         remove the environments and caches; results/ stays'
	@echo 'PYTHON=python3.12  chooses the interpreter (3.11 or newer) for a new environment'

# Most of the time at these sizes is compiling. XLA's older emitters and LLVM's level 2 halve it twice.
QUICK_COMPILING := --xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=2
reproduce: export XLA_FLAGS := $(strip $(if $(full),,$(QUICK_COMPILING)) $(XLA_FLAGS))
reproduce: $(VENV)/experiments.stamp
	TF_CPP_MIN_LOG_LEVEL=2 $(VENV)/bin/nsh reproduce $(ONLY) --jobs $(JOBS) $(full) $(ARGS)

claims: $(VENV)/docs.stamp
	cp results/claims.json docs/claims.json
	$(VENV)/bin/python docs/hooks/results.py

benchmark: $(VENV)/experiments.stamp $(VENV_PEERS)/peers.stamp $(VENV_KERNELS)/peers.stamp
	TF_CPP_MIN_LOG_LEVEL=2 $(VENV)/bin/python -m experiments.benchmarks \
		--peers $(VENV_PEERS)/bin/python --kernel_peers $(VENV_KERNELS)/bin/python \
		$(if $(filter-out all,$(ONLY)),--only $(ONLY)) $(ARGS)

lab: $(VENV)/notebooks.stamp
	$(VENV)/bin/jupyter lab notebooks $(ARGS)

notebooks: $(VENV)/notebooks.stamp
	$(VENV)/bin/jupyter nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False --ExecutePreprocessor.coalesce_streams=True \
		notebooks/*.ipynb

docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict

check: $(VENV)/test.stamp
	@test -n '$(FILE)' || { echo 'name the tests: make check FILE=tests/test_readme.py' >&2; exit 1; }
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	CHECK_ANNOTATIONS=0 $(VENV)/bin/python -m pytest -q $(FILE)

test: $(VENV)/test.stamp
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	@# beside the tests: in two threads, pyright needs half as much processor time again
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(VENV)/bin/python -m pyright --pythonpath $(VENV)/bin/python & types=$$!; \
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not long"; tests=$$?; \
	wait $$types && exit $$tests

test-long: $(VENV)/test.stamp
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m long

test-lowest: $(VENV_LOWEST)/test.stamp
	JAX_ENABLE_X64=1 $(VENV_LOWEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(CORE)

test-wheel:
	rm -rf $(VENV_WHEEL)
	'$(PYTHON)' -m venv $(VENV_WHEEL)
	$(VENV_WHEEL)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps \
		--wheel-dir $(VENV_WHEEL)/dist .
	$(VENV_WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt $(VENV_WHEEL)/dist/neurashed-*.whl
	$(VENV_WHEEL)/bin/python -I tests/wheel.py
	$(VENV_WHEEL)/bin/python -I tests/import_time.py

unused: $(VENV)/test.stamp
	$(VENV)/bin/python -m vulture

release-check: $(VENV_RELEASE)/release.stamp
	rm -rf $(VENV_RELEASE)/dist
	$(VENV_RELEASE)/bin/python -m build --outdir $(VENV_RELEASE)/dist .
	$(VENV_RELEASE)/bin/python -m twine check --strict $(VENV_RELEASE)/dist/*
	$(VENV_RELEASE)/bin/python -I tests/release.py $(VENV_RELEASE)/dist

clean:
	rm -rf site $(VENV) $(VENV_LOWEST) $(VENV_WHEEL) $(VENV_RELEASE) $(VENV_PEERS) $(VENV_KERNELS) .pytest_cache .ruff_cache .hypothesis
	find nsh experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stem is the extra of pyproject.toml to install; the stamp says that it is there.
$(VENV)/%.stamp: pyproject.toml constraints.txt
	$(call install,$(VENV),constraints.txt,$*)

$(VENV_RELEASE)/%.stamp: pyproject.toml constraints.txt
	$(call install_tools,$(VENV_RELEASE),constraints.txt,build twine)

$(VENV_LOWEST)/%.stamp: pyproject.toml constraints-lowest.txt
	$(call install,$(VENV_LOWEST),constraints-lowest.txt,$*)

$(VENV_PEERS)/peers.stamp: experiments/benchmarks/requirements.txt
	$(call install_peers,$(VENV_PEERS),$<)

$(VENV_KERNELS)/peers.stamp: experiments/benchmarks/requirements-kernels.txt
	$(call install_peers,$(VENV_KERNELS),$<)

# $(call install_peers,environment,requirements)
define install_peers
@echo 'Setting up $(1) for the benchmarks: some minutes, once.'
@'$(PYTHON)' -m venv $(1)
@$(1)/bin/python -m pip install --quiet --disable-pip-version-check -r $(2)
@touch $@
endef

# $(call install_tools,environment,constraints,packages)
define install_tools
@'$(PYTHON)' -m venv $(1)
@$(1)/bin/python -m pip install --quiet --disable-pip-version-check -c $(2) $(3)
@touch $@
endef

# $(call install,environment,constraints,extra)
define install
@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo 'nsh needs Python 3.11 or newer, and none was found; name one: make PYTHON=/path/to/python3' >&2; \
	exit 1; }
@echo 'Setting up $(1) with [$(3)]: some minutes, once.'
@'$(PYTHON)' -m venv $(1)
@$(1)/bin/python -m pip install --quiet --disable-pip-version-check -c $(2) -e '.[$(3)]'
@touch $@
endef
