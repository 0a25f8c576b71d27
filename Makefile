# Colloque. `make run` to try it, `make demo` to see it work, `make test` to check everything.
#
# Each virtual environment holds a stamp that is newer than what it was made from: a second start
# installs nothing.

PYTHON ?= python3
VENV := .venv
SYNAPSE_VENV := .venv-synapse
DIARIZATION_VENV := .venv-diarization
BIN := $(VENV)/bin
VENDOR := bridge/web/static/vendor
CLIENTS := tests/browsers/node_modules
ENCRYPTED := tests/bridge/crypto/js
PIP_INSTALL := bridge/dev/pip-install.sh
ARGS ?=
# Tests wait more than they compute: two at a time suit two cores.
AT_ONCE ?= 2

.DEFAULT_GOAL := help
.PHONY: help run demo test test-browsers check install clean python

help:
	@echo "make run    install what is needed, then start Colloque with a homeserver to try it in"
	@echo "make demo   a call between two homeservers, without hands"
	@echo "make test   every check but the next one"
	@echo "make test-browsers  calls of Element Call in several browsers and homeservers"
	@echo "make clean  remove what was installed (var/, your data, stays)"
	@echo "Options of the program: make run ARGS=\"--sites 2 --port-base 20000 --var /tmp/colloque\""

run: install
	@exec $(BIN)/python -m bridge dev $(ARGS)

# Recorded speech needs no flite: make demo ARGS="--say alice=FILE.wav --say bob=FILE.wav"
demo: install
	@case " $(ARGS) " in *" --say alice="*" --say bob="*|*" --say bob="*" --say alice="*) ;; \
	*) bridge/dev/apt.sh flite=flite ;; esac
	@exec $(BIN)/python -m bridge demo $(ARGS)

install: $(VENV)/.installed $(SYNAPSE_VENV)/.installed $(VENDOR)/.installed

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "colloque: Python 3.11 or later is needed ($(PYTHON) is not): make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || bridge/dev/apt.sh ensurepip=python3-venv

$(BIN)/python: | python
	@echo "==> Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml deploy/constraints.txt | $(BIN)/python
	@echo "==> 1/3 Installing Colloque and the libraries it uses"
	@$(PIP_INSTALL) $(VENV) -c deploy/constraints.txt -e '.[encryption]' || \
	{ echo "==> Without python-olm then: calls in encrypted rooms, but no commands and no record"; \
	  $(PIP_INSTALL) $(VENV) -c deploy/constraints.txt -e .; }
	@touch $@

$(VENV)/.installed-test: pyproject.toml deploy/constraints.txt | $(BIN)/python
	@echo "==> Installing what the tests use"
	@$(PIP_INSTALL) $(VENV) -c deploy/constraints.txt -e '.[test,encryption]'
	@touch $(VENV)/.installed $@

$(SYNAPSE_VENV)/bin/python: | python
	@$(PYTHON) -m venv $(SYNAPSE_VENV)

$(SYNAPSE_VENV)/.installed: deploy/constraints-synapse.txt | $(SYNAPSE_VENV)/bin/python
	@echo "==> 2/3 Installing Synapse, the homeserver for development"
	@$(PIP_INSTALL) $(SYNAPSE_VENV) -c $< matrix-synapse psycopg2-binary
	@touch $@

$(DIARIZATION_VENV)/bin/python: | python
	@$(PYTHON) -m venv $(DIARIZATION_VENV)

# torch is large: what everything else needs stays without it. Where the index has torch built for CUDA alone, add
# PyTorch's own: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test
$(DIARIZATION_VENV)/.installed: pyproject.toml deploy/constraints-diarization.txt | $(DIARIZATION_VENV)/bin/python
	@echo "==> Installing pyannote.audio (1.6 GB), which tells voices at one microphone apart"
	@$(PIP_INSTALL) $(DIARIZATION_VENV) -c deploy/constraints-diarization.txt \
	$$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["diarization"])')
	@touch $@

$(VENDOR)/.installed: bridge/web/package.json bridge/web/package-lock.json bridge/web/vendor.mjs
	@command -v npm >/dev/null || \
	{ echo "colloque: npm is needed for the join page: sudo apt-get install nodejs npm" >&2; exit 1; }
	@echo "==> 3/3 Installing livekit-client for the join page"
	@cd bridge/web && npm ci --no-audit --no-fund && npm run --silent vendor
	@touch $@

$(CLIENTS)/.installed: tests/browsers/package.json tests/browsers/package-lock.json | $(VENDOR)/.installed
	@echo "==> Installing the clients that the tests use"
	@cd tests/browsers && npm ci --no-audit --no-fund
	@touch $@

$(ENCRYPTED)/node_modules/.installed: $(ENCRYPTED)/package.json $(ENCRYPTED)/package-lock.json | $(VENDOR)/.installed
	@echo "==> Installing the client of the tests of encrypted rooms, and the Node it needs"
	@cd $(ENCRYPTED) && npm ci --no-audit --no-fund
	@touch $@

test: $(VENV)/.installed-test $(DIARIZATION_VENV)/.installed $(CLIENTS)/.installed $(ENCRYPTED)/node_modules/.installed install
	@bridge/dev/apt.sh chromium=chromium flite=flite espeak-ng=espeak-ng initdb=postgresql
	@$(MAKE) --no-print-directory check

test-browsers: $(VENV)/.installed-test $(CLIENTS)/.installed install
	@bridge/dev/apt.sh chromium=chromium
	$(BIN)/python -m pytest -m browsers tests/browsers $(ARGS)

check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m bridge example-config | diff -u config/config.example.yaml -
	$(BIN)/python -m bridge generate-registration --template | diff -u registration.yaml -
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --format=total
	$(BIN)/coverage report --show-missing --skip-covered --fail-under=100 \
	  --include='bridge/domain/*,bridge/text/*,bridge/ids.py,sfu/rtp/*,sfu/bandwidth/*,sfu/room/*,sfu/signal/*,bridge/scribe/activity.py,bridge/scribe/bleed.py,bridge/scribe/merge.py,bridge/scribe/sentences.py,bridge/scribe/reel.py,bridge/scribe/voices.py,bridge/scribe/engines/parts.py'

clean:
	rm -rf $(VENV) $(SYNAPSE_VENV) $(DIARIZATION_VENV) $(VENDOR) bridge/web/node_modules $(CLIENTS) $(ENCRYPTED)/node_modules .mypy_cache .ruff_cache \
	  .pytest_cache .import_linter_cache .hypothesis .coverage
