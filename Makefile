# Every target sets up what it needs first; a second time this takes no time.
.PHONY: demo test science bench lint setup peers nest batch-system browser clean
python := .venv/bin/python
steelyard := .venv/bin/steelyard
homeostatic := analysis/studies/akil2021/homeostatic.toml
BENCH :=
PEERS := brian2 nest

# One network from two initial weights: homeostatic plasticity finds the same inhibition, on different weights.
demo: setup
	rm -rf demo/strong-inhibition demo/weak-inhibition demo/report.html
	$(steelyard) run $(homeostatic) -n 2 -o demo/strong-inhibition --set projections.I_to_E.weight_mv=-150
	$(steelyard) run $(homeostatic) -n 2 -o demo/weak-inhibition --set projections.I_to_E.weight_mv=-60
	$(python) -m analysis.studies.akil2021.demo demo/strong-inhibition demo/weak-inhibition demo/report.html

# With CI=true a skipped test fails. Each file whole on one worker, the long ones first; a third fills the waits.
test: lint peers batch-system browser
	$(python) -m pytest -m "not science" -n 3 --dist loadfile --no-loadscope-reorder

science: setup peers batch-system
	$(python) -m pytest -m science

# BENCH="W1 W2e" chooses workloads, PEERS= leaves the other simulators out. Results are added to benchmarks/history.jsonl.
bench: setup $(filter nest,$(PEERS)) $(if $(filter brian2,$(PEERS)),peers)
	$(python) -m benchmarks.bench run $(BENCH) --peers $(PEERS) --output build/bench.jsonl --keep

lint: setup
	$(python) -m ruff check
	$(python) -m mypy

setup:
	@.ci/setup

# The simulator that tests compare with, in an environment of its own.
peers:
	@.ci/setup peers

# Another one, for benchmarks.
nest:
	@.ci/setup nest

# A real SLURM, which tests start and stop on this machine.
batch-system:
	@.ci/setup slurm

# A Chromium without a window, in which tests open pages.
browser:
	@.ci/setup browser

# Back to what git knows, apart from runs of your own and the wheels and kernels in the user's cache.
clean:
	rm -rf .venv .venv-peers .venv-nest build demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
