# The two commands: `make demo` and `make test`. Each makes its environment when needed, and is quick the next time.

PYTHON ?= python3
PYTHON_TRAINING ?= python3.11
PYTHON_HA ?= python3.13
ARGS ?=
# Many tests wait for a broker, a disk or a browser: more processes than cores.
WORKERS ?= 3
# Real programs answer late on a busy machine: what fails is run once more, and listed (RERUN), for it may be a race.
PYTEST := -m pytest -m "not training" -n $(WORKERS) --dist loadfile --reruns 1 -raR

VENV := .venv
VENV_TRAINING := .venv-training
PIP := -m pip --disable-pip-version-check --quiet install

.PHONY: help demo test coverage test-versions lock soak test-training test-npm test-ha test-rabbitmq test-arm test-image check schemas bundle image clean
.DELETE_ON_ERROR:

help:
	@echo "make demo [ARGS=\"--frames 200\"]  the service on a virtual slide, with the shipped models and its own broker"
	@echo "make test                        every test but training's"
	@echo "make coverage                    the same, and which lines of edge/ they reached"
	@echo "make test-versions               quick tests with the lowest and highest versions, Python 3.10 to 3.13 (tests/versions.sh)"
	@echo "make soak [SOAK=0.1]             the fault tests in full, or a part of them: hours (docs/faults.md)"
	@echo "make test-training               the tests that train a network (needs $(PYTHON_TRAINING))"
	@echo "make test-npm                    the Node-RED flow and the AsyncAPI document (needs npm and Chromium)"
	@echo "make test-ha                     what Home Assistant makes of its discovery (needs $(PYTHON_HA))"
	@echo "make test-rabbitmq               what RabbitMQ keeps of devices' messages (needs rabbitmq-server)"
	@echo "make test-arm                    an ARM64 bundle installed and run under QEMU (needs root and mmdebstrap): half an hour"
	@echo "make check                       ruff, mypy and import-linter"
	@echo "make schemas                     write docs/schemas/, integrations/ and sicklescope.example.toml from the code"
	@echo "make lock                        write requirements.lock anew: the newest versions that pyproject.toml admits"
	@echo "make bundle                      one file that installs without a network: docs/install.md"
	@echo "make image                       a container image (needs mmdebstrap and buildah): docs/container.md"
	@echo "make test-image                  starts it with a root that cannot be written (needs root)"
	@echo "make clean                       remove the environments and what the tools left"

demo: $(VENV)/.for-demo
	@$(VENV)/bin/sicklescope demo $(ARGS)

test: $(VENV)/.for-test
	$(VENV)/bin/python $(PYTEST) $(ARGS)

coverage: $(VENV)/.for-test
	rm -f .coverage*
	$(VENV)/bin/coverage run $(PYTEST) $(ARGS)
	@$(VENV)/bin/coverage combine --quiet
	@$(VENV)/bin/coverage report

test-versions: $(VENV)/.made
	@$(VENV)/bin/python $(PIP) uv
	@UV=$(VENV)/bin/uv tests/versions.sh

soak: SOAK ?= 1
soak: $(VENV)/.for-test
	SOAK=$(SOAK) $(VENV)/bin/python -m pytest -s -m faults -o timeout=7200 $(ARGS)

test-training: $(VENV_TRAINING)/.for-test
	$(VENV_TRAINING)/bin/python -m pytest -m training $(ARGS)

# Some hundred megabytes of npm's packages: not part of the tests that run on every change.
test-npm: $(VENV)/.for-test
	mkdir -p .npm
	cd .npm && { [ -f package.json ] || echo '{"private": true}' > package.json; }
	npm install --prefix .npm --no-audit --no-fund node@22 node-red@5 @flowfuse/node-red-dashboard @asyncapi/parser
	cd .npm && node_modules/node/bin/node ../integrations/validate_asyncapi.mjs ../integrations/asyncapi.json
	NPM_FOLDER=.npm $(VENV)/bin/python -m pytest tests/fleet/test_node_red.py $(ARGS)

# Home Assistant's newest release for that Python; its requirements are some two hundred packages.
test-ha: $(VENV)/.for-test
	[ -x .home-assistant/bin/python ] || $(PYTHON_HA) -m venv .home-assistant
	@$(VENV)/bin/python $(PIP) uv
	$(VENV)/bin/uv pip install --quiet --python .home-assistant/bin/python homeassistant paho-mqtt
	HOME_ASSISTANT_PYTHON=.home-assistant/bin/python $(VENV)/bin/python -m pytest -s tests/fleet/test_home_assistant.py $(ARGS)

test-rabbitmq: $(VENV)/.for-test
	RABBITMQ=1 $(VENV)/bin/python -m pytest tests/fleet/test_rabbitmq.py $(ARGS)

test-arm: $(VENV)/.for-test
	VENV=$(VENV) tests/arm/run.sh

check: $(VENV)/.for-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

schemas: $(VENV)/.for-test
	$(VENV)/bin/python -m edge.cli.schemas --write docs/schemas
	$(VENV)/bin/python -m edge.config.loader > sicklescope.example.toml
	$(VENV)/bin/python integrations/generate.py

# For every Python and machine at once, and without the address of any index.
lock: $(VENV)/.made
	@$(VENV)/bin/python $(PIP) uv
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.10 --no-emit-index-url --no-header \
		--no-annotate --extra test --extra check pyproject.toml --output-file requirements.lock

bundle: $(VENV)/.made
	@PYTHON=$(VENV)/bin/python systemd/bundle.sh dist $(ARGS)

image: $(VENV)/.made
	@PYTHON=$(VENV)/bin/python container/image.sh dist

# The schema of compose files is check-jsonschema's own.
test-image: $(VENV)/.for-test
	@$(VENV)/bin/python $(PIP) uv pyyaml
	@$(VENV)/bin/uv tool run --quiet check-jsonschema --builtin-schema vendor.compose-spec container/compose.yaml
	@$(VENV)/bin/python -m tests.container.tried dist/sicklescope-*-image-*.tar

clean:
	rm -rf .coverage* .versions .home-assistant .arm $(VENV) $(VENV_TRAINING) *.egg-info build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find edge export calibration fleet training tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# $(call make-venv,PYTHON,FOLDER): says what is missing before anything is made.
define make-venv
	@$(1) -c '' 2>/dev/null || { echo "$(1) not found: install Python 3.10 or newer" \
		"(Debian, Ubuntu: apt-get install python3 python3-venv), or name one: make PYTHON=... or, for test-training, PYTHON_TRAINING=..." >&2; exit 1; }
	@$(1) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 10) else \
		"$(1) is Python %d.%d: sicklescope needs 3.10 or newer. Name one: make PYTHON=python3.10" % v[:2])'
	@$(1) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(1) cannot make an environment:" \
		"install the package python3-venv (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Making $(2) and installing; the first time this takes a few minutes"
	@$(1) -m venv --clear $(2)
endef

$(VENV)/.made:
	$(call make-venv,$(PYTHON),$(VENV))
	@touch $@

$(VENV)/.for-demo: pyproject.toml $(VENV)/.made
	@$(VENV)/bin/python $(PIP) -e ".[demo]"
	@touch $@

$(VENV)/.for-test: pyproject.toml requirements.lock $(VENV)/.made
	@$(VENV)/bin/python $(PIP) --constraint requirements.lock -e ".[test,check]"
	@touch $@ $(VENV)/.for-demo

$(VENV_TRAINING)/.made:
	$(call make-venv,$(PYTHON_TRAINING),$(VENV_TRAINING))
	@touch $@

# Exactly this torch, and first: any other version would fetch gigabytes of GPU libraries.
$(VENV_TRAINING)/.for-test: pyproject.toml training/pyproject.toml $(VENV_TRAINING)/.made
	@$(VENV_TRAINING)/bin/python $(PIP) "torch==2.13.0"
	@$(VENV_TRAINING)/bin/python $(PIP) -e ".[test]" -e ./training
	@touch $@
