# Each of these does all the set-up it needs and then its work:
#
#   make demo                 a synthetic talking head becomes a trained avatar: mp4, picture, metrics
#   make demo VIDEO=me.mp4    the same from your own clip
#   make demo QUALITY=high    either at 256² instead of 128², in about half an hour
#   make test                 style, layers of imports, types and all tests
#   make docs                 the documentation as a site in site/, to be opened in a browser; trains the demo's avatar,
#                             which it shows, if there is none
#   make audit                known vulnerabilities of what is installed, and licences that docs/licences.md lacks
#   make release              wheel and sdist of the checked-out tag, tried in clean environments, in dist/
#
# Options: PYTHON=/path/to/python3.12, TORCH="torch==... torchvision==..." (another build),
# NUMPY="numpy>=2", DEMO=folder of the results. Another TORCH or NUMPY than the last given is installed anew.

VENV ?= .venv
AUDIT ?= .venv-audit
TORCH ?= torch==2.14.1 torchvision==0.29.1
# With numpy 2 the nuscenes-devkit that nerfstudio requires brings a second OpenCV, which needs libGL.
NUMPY ?= numpy<2
DEMO ?= demo
VIDEO ?=
QUALITY ?=
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --progress-bar off

HIGH := $(if $(filter high,$(QUALITY)),_high)

# Before anything is installed.
ifneq ($(filter-out high,$(QUALITY)),)
$(error QUALITY is high or left out, not $(QUALITY))
endif
ifneq ($(strip $(VIDEO)),)
ifeq ($(shell test -f "$(VIDEO)" && echo yes),)
$(error there is no file $(VIDEO); VIDEO is the path of a video)
endif
endif

.PHONY: demo test docs audit lint types tests release clean FORCE
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
ifeq ($(strip $(VIDEO)),)
	$(BIN)/nbs-recipe configs/demo$(HIGH).yaml --output "$(DEMO)"
else
	$(BIN)/nbs-recipe configs/demo_video$(HIGH).yaml --output "$(DEMO)" --video "$(VIDEO)"
endif

test: lint types tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: lint
	$(BIN)/pyright

# Two processes of one thread each fill the two cores that CI has; a file's tests share what they set up.
tests: types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations=25 $(PYTEST_ARGS)

docs: $(VENV)/.installed-dev demo/synthetic_person.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The avatar of the demo, trained if there is none, as the page that the documentation shows.
PERSON := demo/demo/runs/demo-torso/nerfblendshape-torso-small
demo/synthetic_person.html: $(wildcard nerfblendshape_ns/web/*.py nerfblendshape_ns/web/page/*) | $(VENV)/.installed
	test -d $(PERSON) || $(BIN)/nbs-recipe configs/demo.yaml --output demo
	$(BIN)/nbs-export "$$(ls -d $(PERSON)/* | tail -n 1)" --html $@ --overwrite --keep-track \
	  --person "The synthetic person" --consent "none needed: nobody is shown" --source nbs-synthetic

audit: $(VENV)/.installed-dev $(AUDIT)/.installed
	$(BIN)/python tools/licences.py --check
	$(BIN)/python tools/vulnerabilities.py $(BIN)/python --pip-audit $(AUDIT)/bin/pip-audit

release: $(VENV)/.installed-dev
	$(BIN)/python tools/release.py

# Stamps: a second run skips what is installed, until pyproject.toml changes or another Python, torch or numpy is given.
GIVEN := $(strip $(foreach name,PYTHON TORCH NUMPY,$(if $(filter command environment,$(origin $(name))),$(name)=$($(name)))))
ifneq ($(GIVEN),)
$(VENV)/.torch: $(VENV)/.given
$(VENV)/.given: FORCE
	@mkdir -p $(VENV)
	@echo '$(GIVEN)' | cmp -s - $@ || echo '$(GIVEN)' > $@
endif

# An environment without pip is one whose making was interrupted.
VERSION := -c 'import sys; print(sys.version)'
$(VENV)/.torch: tools/find_python.sh tools/system_packages.sh
	python=$$(PYTHON="$(PYTHON)" tools/find_python.sh) && \
	tools/system_packages.sh "$$python" && \
	{ $(BIN)/python -m pip --version >/dev/null 2>&1 || "$$python" -m venv $(VENV); } && \
	{ test -z "$(PYTHON)" || test "$$("$$python" $(VERSION))" = "$$($(BIN)/python $(VERSION))" || \
	  { echo "error: $(VENV) has another Python than $(PYTHON); remove it, or give VENV=another-folder." >&2; exit 1; }; }
	$(PIP) --upgrade pip
	$(PIP) $(TORCH)
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	rm -rf *.egg-info  # A stale one would hide newly added commands and methods.
	$(PIP) $(TORCH) "$(NUMPY)" --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	tools/test_programs.sh
	rm -rf *.egg-info
	$(PIP) $(TORCH) "$(NUMPY)" --editable ".[dev,docs]"
	touch $@ $(VENV)/.installed

# Beside the environment that it looks at, which it shall not change.
$(AUDIT)/.installed: $(VENV)/.torch
	$(BIN)/python -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip --disable-pip-version-check install --quiet "pip-audit>=2.10,<3" || \
	  { echo "error: pip-audit could not be installed; make audit needs a network." >&2; exit 1; }
	touch $@

clean:
	rm -rf $(VENV) $(AUDIT) $(DEMO) .pytest_cache .ruff_cache .import_linter_cache build dist site
