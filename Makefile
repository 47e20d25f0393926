# make demo   a broker, a simulated fleet and the daemon, live, on a machine that has only Python 3.11+
# make fleet-demo   a simulated fleet of 2,000 sensors judged on Apache Spark, on this machine; needs Java 17
# make test   the whole suite, two files at a time (installs the training extra with the CPU build of torch)
# make test-fleet   the tests that run Spark (installs the extra `spark`, some 740 MB; needs Java 17)
# make lint   ruff, mypy strict, import-linter
# make dashboards   writes the Grafana dashboards in deploy/grafana/dashboards anew
# make fuzz   200,000 damaged inputs for everything that reads what others wrote, some two minutes (ARGS="--seed 5")
# make locks   writes requirements.lock and requirements-training.lock anew
# make chaos  the long forms of the tests of tests/chaos (about an hour), with their figures
# make thorough   properties with twenty times the examples, other ones each time; whole runs with trainings and data in full
# make bench-fleet   readings a second of a fleet job, beside the plain core (ARGS="--agree" compares what both say)
# make bench-journal   what the journal costs, by durability and QoS
# make quality   measures alerts and forecasts on public data and writes the tables in docs (an hour, 500 MB to install; ARGS="nab quiet" for parts)

PYTHON ?= python3
BIN := .venv/bin
# torch's own index has the CPU build; without it the plain index resolves to several GB of CUDA packages. Retries are
# off so that a machine with a configured mirror and no way to that index does not wait for it.
TORCH := torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu --retries 0

.DEFAULT_GOAL := help
.PHONY: help demo java fleet-demo test test-fleet lint bench bench-fleet bench-journal chaos dashboards fuzz locks quality thorough clean

help:
	@sed -n 's/^# make /make /p' Makefile

.venv/ok:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "forewarn needs Python 3.11 or later; say make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/demo: .venv/ok pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]' -c constraints.txt
	touch $@

.venv/test: .venv/ok pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo,training,tune,dev]' -c constraints.txt
	touch $@ .venv/demo

demo: .venv/demo
	@$(BIN)/forewarn demo $(ARGS)

.venv/fleet: .venv/test
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[spark]' -c constraints.txt
	touch $@

java:
	@$(BIN)/python -c 'from forewarn.fleet.spark.session import check_java; check_java()' 2>/dev/null \
	  || { echo 'This needs Java 17: install a JRE (Debian: openjdk-17-jre-headless), or set JAVA_HOME.' >&2; exit 1; }

fleet-demo: .venv/fleet java
	@$(BIN)/forewarn fleet demo $(ARGS)

test-fleet: .venv/fleet java
	FLEET=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fleet/spark $(ARGS)

bench-fleet: .venv/fleet java
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.fleet $(ARGS)

test: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/test
	$(BIN)/python -m tests.bench.throughput $(ARGS)

dashboards: .venv/test
	$(BIN)/python -m deploy.grafana $(ARGS)

fuzz: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(ARGS)

locks: .venv/ok
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	UV=$(BIN)/uv .ci/locks

bench-journal: .venv/test
	$(BIN)/python -m tests.bench.journal $(ARGS)

chaos: .venv/test
	CHAOS=long $(BIN)/python -m pytest tests/chaos -s --timeout 7200 $(ARGS)

thorough: .venv/test
	THOROUGH=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'hypothesis or slow' --timeout 7200 $(ARGS)

.venv/quality: .venv/test
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[quality,baselines]' -c constraints.txt
	touch $@

quality: .venv/quality
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.quality $(ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
