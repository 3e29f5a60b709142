# `make demo` shows the project at work, `make test` its tests: both set up .venv themselves.
# Needs git, make, pip, Python 3.10 to 3.14; another than python3: make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
DEMO := demo
BOARD := leaderboard

# Chainer's build needs an old setuptools: pip obeys the first name up to 25.2, the second after.
export PIP_CONSTRAINT := build-constraints.txt
export PIP_BUILD_CONSTRAINT := build-constraints.txt
export PIP_USE_PEP517 := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo leaderboard test coverage check format lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED)  ## record Ms. Pac-Man, cut clips, train a small network, test it
	rm -rf $(DEMO)
	$(PY) data/record_ms_pacman.py --train 8 --test 3 --frames 300 --out $(DEMO)/images
	$(PY) process_data.py -n 30000 --images $(DEMO)/images/train -o $(DEMO)/trainclips
	$(PY) process_data.py -n 500 --split test --images $(DEMO)/images/test -o $(DEMO)/testclips
	$(PY) train.py --width small --minutes 4 --lr-gen 1e-3 --lr-dis 1e-4 --validate-every 200 \
	  -d $(DEMO)/trainclips --test-data $(DEMO)/testclips -o $(DEMO)/result
	$(PY) test.py --load $(DEMO)/result --images $(DEMO)/images/test
	@echo "Look at $(DEMO)/result/test/report.html and $(DEMO)/result/samples.gif"

leaderboard: $(INSTALLED)  ## train all architectures for equal times, compare them: half an hour
	rm -rf $(BOARD)
	$(PY) data/record_ms_pacman.py --train 8 --test 2 --frames 300 --out $(BOARD)/images/ms-pacman
	$(PY) data/moving_mnist.py --train 200 --test 4 --frames 40 --out $(BOARD)/images/moving-mnist
	$(PY) benchmarks/leaderboard.py $(BOARD) --minutes 1 --report docs/leaderboard.md \
	  --images ms-pacman=$(BOARD)/images/ms-pacman moving-mnist=$(BOARD)/images/moving-mnist

test: $(INSTALLED)  ## run the tests
	$(PY) -m pytest -n 2 --dist worksteal

coverage: $(INSTALLED)  ## run the tests, print how much of the code they reach: a third longer
	$(PY) -m pytest --cov -n 2 --dist worksteal

check: $(INSTALLED)  ## lint, look for unformatted code
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(INSTALLED)  ## format the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock: $(INSTALLED)  ## write requirements.lock anew with the newest versions
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile --quiet --universal --python-version 3.10 --upgrade --no-annotate \
	  --constraints build-constraints.txt --build-constraints build-constraints.txt \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  requirements.txt requirements-dev.txt requirements-pacman.txt -o requirements.lock

clean:  ## remove what make made
	rm -rf $(VENV) $(DEMO) $(BOARD)

# Where Debian keeps ensurepip in a package of its own, the system's pip installs the first pip.
$(INSTALLED): requirements.lock build-constraints.txt
	@$(PYTHON) -c 'import sys; have = sys.version_info[:2]; sys.exit(0 if (3, 10) <= have <= (3, 14) \
	  else "error: Python %d.%d; 3.10 to 3.14 is needed: make PYTHON=python3.12" % have)'
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { $(PYTHON) -m venv --without-pip $(VENV) && \
	  $(PYTHON) -m pip install --quiet pip --target \
	    "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; } || { \
	  echo "error: $(PYTHON) has no ensurepip, no pip; try: apt install python3-venv" >&2; exit 2; }
	$(PY) -m pip install -r requirements.lock
	@touch $@
