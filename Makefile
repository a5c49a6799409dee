# A fresh machine needs only python3 (3.11 or newer, with venv), make and a C compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PLUGINS := $(sort $(wildcard plugins/segzoo-*))
PROJECTS := pyproject.toml $(addsuffix /pyproject.toml,$(PLUGINS))

.PHONY: install demo test lint docs bench faults audit lock clean

install: $(STAMP)

$(STAMP): $(PROJECTS) constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip uninstall --quiet --yes segzoo  # the core's former name
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[dev]' $(addprefix --editable ./,$(PLUGINS))
	$(BIN)/python -c "import pymatting"  # compiles for about a minute, once
	touch $(STAMP)

demo: $(STAMP)
	rm -rf demo
	$(BIN)/segzoo train --model unet -o encoder=tf_efficientnet_lite0 --data portraits \
		-O train=240 -O test=40 --size 128 --epochs 4 --out demo/run
	$(BIN)/segzoo evaluate demo/run/best.safetensors
	$(BIN)/python examples/demo_pictures.py demo/pictures
	$(BIN)/segzoo predict demo/run/best.safetensors demo/pictures -o demo/predictions
	@echo "look at demo/run/predictions.png, demo/run/curves.png and demo/predictions"

# What processes compile is kept for those after them, whatever the environment says.
test: $(STAMP)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 \
		--dist loadfile --no-loadscope-reorder --durations 20

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

docs: $(STAMP)
	$(BIN)/python docs/generate.py

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/prediction.py
	$(BIN)/python benchmarks/growth.py

faults: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[faults]'
	$(BIN)/python benchmarks/faults.py

audit: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[audit]'
	$(BIN)/python benchmarks/audit.py

lock: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[audit]'
	$(BIN)/uv pip compile constraints.txt --no-deps --generate-hashes --no-header --no-annotate \
		--quiet --output-file requirements.lock

clean:
	rm -rf demo runs $(VENV)
