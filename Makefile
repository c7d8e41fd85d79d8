# `make` lists the targets. All of them work in .venv, which `make setup` makes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Rendering needs them. `make setup SYSTEM_PACKAGES=` leaves the check out, where the libraries came another way.
SYSTEM_PACKAGES ?= libegl1 libgl1 libgles2 libgl1-mesa-dri
# Blender links to them; it needs no display.
BLENDER_PACKAGES := libgl1 libsm6 libx11-6 libxfixes3 libxi6 libxkbcommon0 libxrender1
# More words for pip, such as --extra-index-url URL for PyTorch's CPU builds (README.md).
PIP_ARGS ?=
# How many processes share the files of `make test`.
JOBS ?= 2
# More words for `make demo` (--corpus.count 100), `make test` (-k render) and the benchmarks.
ARGS ?=

VENV := .venv
STAMP := $(VENV)/installed
RUN := $(VENV)/bin/python
EMBEDDED := stages/embedded/clip_gs
export HF_HUB_OFFLINE := 1

.PHONY: help setup demo test test-slow fuzz chaos test-render lint docs bench-manifest bench-runner bench-render bench-up bench-fit bench-feed bench-embed bench-caption bench-loader bench-train bench-progress embedded-models train-demo ladder converter gsplat gpu-kit gpu-run hashes sbom audit clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-16s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with everything pinned; once, and again when pyproject.toml or constraints.txt change

demo: $(STAMP) ## Build the demo dataset in runs/demo, measure the embedded CLIP-GS on it, train a minute (ARGS="--corpus.count 100")
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(RUN) -m pipeline build demo --run runs/demo $(ARGS)
	@echo; echo "The embedded CLIP-GS on these objects, which it has never seen:"
	@$(RUN) -m pipeline evaluate --checkpoint $(EMBEDDED) --dataset runs/demo --split all
	@echo; echo "A minute of training:"
	@$(RUN) -m pipeline train demo --run runs/demo --name demo --anew
	@echo "In a new shell, first: . $(VENV)/bin/activate"

test: $(STAMP) ## Run the tests (ARGS="-k render" for some of them, ARGS=--cov to measure how much of the code they run)
	@$(RUN) -m pytest -q -n $(JOBS) --dist loadfile $(ARGS)

test-slow: $(STAMP) ## Run the long tests: faults, real Ray clusters
	@$(RUN) -m pytest -q -m "slow and not gpu and not render" $(ARGS)

fuzz: $(STAMP) ## Build and decode 10,000 hostile meshes (ARGS="--count 300 --formats gltf", "--help")
	@$(RUN) -m tests.fuzz $(ARGS)

chaos: $(STAMP) ## Kill, stop, fill and damage builds, and compare their datasets (ARGS="--seed 7 --builds 2 --harms 10", "--help")
	@$(RUN) -m tests.chaos $(ARGS)

test-render: $(STAMP) ## Compare renders with three.js in Chromium (ARGS=FOLDER for its meshes too); needs chromium and npm
	@[ -d tests/render/node_modules/three ] || npm ci --prefix tests/render --no-audit --no-fund --loglevel=error
	@$(RUN) -m tests.render $(ARGS)

lint: $(STAMP) ## Check style, formatting and types
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy

docs: $(STAMP) ## Write the tables of docs/ that are made from the code
	@$(RUN) -m tests.docs_blocks

bench-manifest: $(STAMP) ## Fold 6,000,000 records of 1,000,000 rows: seconds and memory
	@$(RUN) -m tests.benchmarks.manifest $(ARGS)

bench-runner: $(STAMP) ## The scheduler's own cost: rows a second through five stages that do nothing
	@$(RUN) -m tests.benchmarks.runner $(ARGS)

bench-render: $(STAMP) ## Rendering on one core against the script that people write (ARGS=FOLDER)
	@$(RUN) -m tests.benchmarks.render $(ARGS)

bench-up: $(STAMP) ## How often `up: auto` is right over meshes whose axis is known (ARGS=FOLDER)
	@$(RUN) -m tests.benchmarks.up $(ARGS)

bench-fit: $(STAMP) ## Fitting on one core: quality and seconds (ARGS=FOLDER for its textured meshes too)
	@$(RUN) -m tests.benchmarks.fit $(ARGS)

bench-feed: $(STAMP) ## How busy the stage fit keeps a GPU, played by an engine that sleeps (ARGS=FOLDER)
	@$(RUN) -m tests.benchmarks.feed $(ARGS)

bench-embed: $(STAMP) ## Embedding: images a second, and as a share of the bare model (ARGS="--model PATH" for yours)
	@$(RUN) -m tests.benchmarks.embed $(ARGS)

bench-caption: $(STAMP) ## Captioning by a vision-language model: captions a second (ARGS="--model PATH" for yours)
	@$(RUN) -m tests.benchmarks.caption $(ARGS)

bench-loader: $(STAMP) ## The loader against plain datasets iteration, and against what a model takes (ARGS="--model base")
	@$(RUN) -m tests.benchmarks.loader $(ARGS)

bench-train: $(STAMP) ## A training step against the one that people write; on a GPU its share of the card (ARGS="--size base")
	@$(RUN) -m tests.benchmarks.train $(ARGS)

bench-progress: $(STAMP) ## Replay recorded builds: how near their estimates of the time left came (ARGS=--all for each)
	@$(RUN) -m tests.benchmarks.progress $(ARGS)

embedded-models: $(STAMP) ## Train the small models of docs/models.md; the same command again resumes (ARGS="clip" for one)
	@$(RUN) -m stages.embedded.training $(ARGS)

# The last step, not the best: validation has 120 objects, of which all steps from the 200th on find nearly all.
train-demo: BOTH := $(foreach name,gaussians points,--checkpoint runs/corpus/training/$(name)/last.pt)
train-demo: $(STAMP) ## Build 2,500 objects, train a mini CLIP-GS and its baseline, evaluate both; the same command again resumes
	@$(RUN) -m pipeline build corpus --run runs/corpus --engine local
	@$(RUN) -m pipeline train corpus --run runs/corpus --name gaussians $(ARGS)
	@$(RUN) -m pipeline train corpus --run runs/corpus --name points --model.tokens points $(ARGS)
	@$(RUN) -m pipeline evaluate $(BOTH) --dataset runs/corpus --split test,unseen --name with-unseen
	@$(RUN) -m pipeline evaluate $(BOTH) --dataset runs/corpus --name test
	@$(RUN) -m pipeline export --checkpoint runs/corpus/training/gaussians/last.pt --out runs/corpus/clip_gs --licence apache-2.0

ladder: $(STAMP) ## The paper's ablation in small, three seeds a rung; finished cells are kept (ARGS="--seeds 1")
	@$(RUN) -m tests.benchmarks.ladder $(ARGS)

converter: .converter/installed ## Install Blender (bpy, GPL-3, 374 MB) into .converter, for `python -m pipeline convert`; needs Python 3.11

gsplat: $(if $(filter $(VENV)/%,$(RUN)),$(STAMP)) ## Compile gsplat's CUDA kernels, once on a machine with a GPU
	@$(RUN) -c 'import gsplat' 2> /dev/null || $(call quietly,$(RUN) -m pip install --no-input -c constraints.txt -e ".[gpu]")
	@$(RUN) -m stages.fitting.kernels

gpu-kit: $(STAMP) ## Make the kit for a bare machine with a GPU, in runs/gpu-kit (ARGS="--meshes FOLDER")
	@$(RUN) -m tests.gpu.kit $(ARGS)

# On a bare machine: make gpu-run RUN=python3, with the kit in runs/gpu-kit. Without a kit, its objects are made here.
gpu-run: $(if $(filter $(VENV)/%,$(RUN)),$(STAMP)) ## Measure the GPU in twelve minutes at most; the same command again resumes
	@[ -f runs/gpu-kit/kit.json ] || $(RUN) -m tests.gpu.kit --objects-only
	@$(RUN) -m tests.gpu.run $(ARGS)

# Whatever PyPI offers for the pinned versions; torch and what only it needs are apart, since an image may take other builds.
COMPILE := $(RUN) -m uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header -c constraints.txt
hashes: $(STAMP) ## Write docker/*.txt, the images' packages with hashes, after pyproject.toml or constraints.txt changed
	@$(call quietly,$(RUN) -m pip install --no-input uv)
	@$(COMPILE) - -o docker/torch.txt <<< torch
	@$(COMPILE) pyproject.toml --extra gpu --extra s3 -o docker/requirements.txt \
		$$(sed -nE 's/^((torch|triton|cuda-|nvidia-)[a-z0-9-]*)==.*/--no-emit-package \1/p' docker/torch.txt)

sbom: $(STAMP) ## Write runs/sbom.json, a CycloneDX list of what .venv holds
	@$(call quietly,$(RUN) -m pip install --no-input uv)
	@mkdir -p runs && $(RUN) -m uv tool run --quiet --from cyclonedx-bom cyclonedx-py environment $(RUN) --of JSON -o runs/sbom.json

audit: $(STAMP) ## Look for known vulnerabilities of the images' packages in PyPI's database
	@$(call quietly,$(RUN) -m pip install --no-input uv)
	@$(RUN) -m uv tool run --quiet pip-audit --strict --require-hashes --disable-pip $(foreach list,requirements torch,-r docker/$(list).txt)

clean: ## Remove .venv and caches; runs/ and .converter stay
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache *.egg-info
	@find manifests pipeline stages tests -name __pycache__ -prune -exec rm -rf {} +

# -- set-up ------------------------------------------------------------------------------------------------------------

# Run a command and show what it printed only where it failed.
define quietly
log=$$(mktemp); $(1) > $$log 2>&1 || { cat $$log >&2; rm -f $$log; exit 1; }; rm -f $$log
endef

$(STAMP): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: install it, or name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@missing=""; \
	if command -v dpkg-query > /dev/null; then \
		for package in $(SYSTEM_PACKAGES); do \
			[ "$$(dpkg-query -W -f '$${db:Status-Status}' $$package 2> /dev/null)" = installed ] || missing+=" $$package"; \
		done; \
	elif [ -n "$(strip $(SYSTEM_PACKAGES))" ]; then \
		$(PYTHON) -c 'import ctypes; ctypes.CDLL("libEGL.so.1"), ctypes.CDLL("libGL.so.1")' 2> /dev/null || \
			missing+=" (this system's packages of EGL, OpenGL and Mesa's drivers)"; \
	fi; \
	$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
		missing+=" $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
	[ -z "$$missing" ] && exit 0; \
	sudo=""; [ "$$(id -u)" = 0 ] || sudo=$$(command -v sudo) || sudo=none; \
	if [ "$$sudo" = none ] || ! command -v apt-get > /dev/null; then \
		echo "Install$$missing, then run make again." >&2; exit 1; \
	fi; \
	echo "Installing system packages:$$missing"; \
	$$sudo apt-get -q update > /dev/null 2>&1 || true; \
	$(call quietly,$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $$missing)
	@echo "Installing into $(VENV) (a few minutes, once)"
	@$(call quietly,$(PYTHON) -m venv $(VENV))
	@$(call quietly,$(RUN) -m pip install --no-input --disable-pip-version-check \
		-c constraints.txt -e ".[test]" $(PIP_ARGS))
	@touch $@

# An environment of its own: Blender needs numpy 1 and has another licence. The project never imports it.
.converter/installed: converter.txt
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Blender 4.5 needs Python 3.11: install it, or name one: make converter PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing Blender into .converter (374 MB to download, GPL-3)"
	@$(call quietly,$(PYTHON) -m venv .converter)
	@$(call quietly,.converter/bin/python -m pip install --no-input --disable-pip-version-check -r converter.txt $(PIP_ARGS))
	@.converter/bin/python -I -c 'import bpy' || \
		{ echo "A system library is missing. On Debian: apt-get install $(BLENDER_PACKAGES)" >&2; exit 1; }
	@touch $@
