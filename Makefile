# The two to know: `make demo` and `make test`. Everything lives in .venv, made from requirements.lock.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-api test-real test-ui test-ops docs test-scale chaos bench-crawl bench-mount bench-cli bench-api bench-lake bench-ui bench-report lint format dev dash notebook lock clean
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# Of whoever calls, none of which is meant for us: compiling every module in every process takes longer than most tests.
FOREIGN := DAGSTER_HOME WARPDRIVE_CONFIG PYTHONDONTWRITEBYTECODE
# What `make demo` reads: a folder of real files; Python's standard library if empty.
DIR ?=
# Which lake `make dev` and `make dash` show: the demo's, unless the environment names another.
export WARPDRIVE_CONFIG ?= $(abspath warpdrive-demo/warpdrive.yaml)
export DAGSTER_HOME ?= $(dir $(WARPDRIVE_CONFIG)).dagster
# What pytest runs beside tests/ui: PYTEST="-x -k quota" narrows it.
PYTEST ?=
# How many tests run at once.
JOBS ?= 3
quietly = found=$$($(BIN)/$(1) 2>&1) || { echo "$$found"; exit 1; }

help: ## list the targets
	@sed -n 's/\$$\$$/$$/g; s/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## make .venv (and, where it may, install what the mount needs)
	@tools/setup

demo: setup ## run the whole flow on real files (DIR=… for yours) and check it
	@env $(addprefix -u ,$(FOREIGN)) $(BIN)/warpdrive demo $(if $(DIR),"$(DIR)")

test: setup ## lint, then run the tests; what lint finds does not hide what they find
	@unset $(FOREIGN); failed=0; $(MAKE) lint || failed=1; \
	$(BIN)/pytest -m "not slow" --ignore=tests/ui -n $(JOBS) --dist worksteal $(PYTEST) || failed=1; exit $$failed

test-real: setup ## the backends' suite on Azurite and Ceph too (downloads both once), every fault
	@unset $(FOREIGN); $(BIN)/pytest tests/unit/test_servers.py \
		tests/integration/test_listing_objects.py tests/integration/test_stores.py \
		tests/integration/test_sign_in.py tests/integration/test_crawl_faults.py \
		tests/integration/test_lake_by_config.py \
		tests/integration/test_mount_stores.py tests/integration/test_doctor.py \
		tests/integration/test_crawl_killed.py tests/integration/test_hostile_paths.py $(PYTEST)

test-ui: setup ## run the dashboard's tests in a browser ($$CHROMIUM, one on PATH, or apt's)
	@CHROMIUM=$$(tools/setup chromium) && export CHROMIUM && env $(addprefix -u ,$(FOREIGN)) $(BIN)/pytest tests/ui $(PYTEST)

test-api: setup ## schemathesis over the whole API, without and with a token; all checks, some ten minutes
	@unset $(FOREIGN); $(BIN)/pytest -m slow tests/contract/test_schemathesis.py $(PYTEST)

test-ops: setup ## run server, agent, Prometheus, Alertmanager and PostgreSQL for real
	@tools/setup prometheus >/dev/null && tools/setup postgres >/dev/null && env $(addprefix -u ,$(FOREIGN)) $(BIN)/pytest tests/ops $(PYTEST)

test-scale: setup ## three Ray nodes on this machine, in a network of their own; workers and a node are killed
	@tools/setup extra >/dev/null && unshare -rn sh -c 'ip link set lo up && exec "$$@"' scale \
		env $(addprefix -u ,$(FOREIGN)) $(BIN)/pytest tests/scale $(PYTEST)

chaos: setup ## kill, fill and cut the agent off: SEED=… TRIALS=…; the last line counts violations
	@$(BIN)/python tests/chaos/campaign.py --seed $(or $(SEED),1) --trials $(or $(TRIALS),500)

bench-mount: setup ## race the mount against a raw file, bindfs and rclone
	@tools/setup extra >/dev/null && PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python bench/mount.py

bench-cli: setup ## count the CPU of cold commands, against a bare interpreter and DuckDB scripts
	@env $(addprefix -u ,$(FOREIGN)) $(BIN)/python bench/cli.py

bench-api: setup ## load the REST server, against a bare handler that syncs what it reads
	@env $(addprefix -u ,$(FOREIGN)) $(BIN)/python bench/api.py

bench-lake: setup ## race the lake's jobs against DuckDB (FULL=1: 100 M files; BENCH=… more options)
	@env $(addprefix -u ,$(FOREIGN)) $(BIN)/python bench/lake.py $(if $(FULL),--full) $(BENCH)

bench-ingest: setup ## race ingest against DuckDB; bad lines and small objects too
	@$(BIN)/python bench/ingest.py

bench-crawl: setup ## race the crawl against s3fs, boto3, fsspec, find and DuckDB (CASES=ceph: on a real gateway)
	@$(BIN)/python bench/crawl.py $(CASES)

bench-ui: setup ## time the first paint of every page in a browser: 100,000 and 10 million files
	@CHROMIUM=$$(tools/setup chromium) && export CHROMIUM && timeout 600 env $(addprefix -u ,$(FOREIGN)) \
		$(BIN)/python -P bench/ui.py --files 100000 --files 10000000 $(BENCH)

bench-report: setup ## write docs/performance.md from the last run of each benchmark
	@$(BIN)/python bench/report.py

docs: setup ## write docs/cli.md and docs/api.md from the commands and the API
	@$(BIN)/python tools/docs.py

lint: setup ## check style, imports and types
	@$(call quietly,ruff check)
	@$(call quietly,ruff format --check)
	@$(call quietly,lint-imports --no-cache)
	@$(call quietly,pyright --warnings)
	@$(call quietly,python tools/docs.py --check)

format: setup ## let ruff mend and format the code
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

dev: setup ## the Dagster UI on the demo's (or $$DAGSTER_HOME's) instance
	@test -f "$(WARPDRIVE_CONFIG)" || { echo "$(WARPDRIVE_CONFIG) is not there: run make demo, or set WARPDRIVE_CONFIG." >&2; exit 1; }
	@mkdir -p "$(DAGSTER_HOME)" && { test -f "$(DAGSTER_HOME)/dagster.yaml" || cp dagster.yaml "$(DAGSTER_HOME)"; }
	@$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1

dash: setup ## the dashboard
	@$(BIN)/warpdrive dashboard

notebook: setup ## run NOTEBOOK=usage_by_team (or another) on $$WARPDRIVE_CONFIG; open what it writes in Jupyter
	@mkdir -p .artifacts && $(BIN)/jupytext --quiet --to ipynb --output .artifacts/$(or $(NOTEBOOK),usage_by_team).ipynb \
		notebooks/$(or $(NOTEBOOK),usage_by_team).py && $(BIN)/jupyter-execute --inplace .artifacts/$(or $(NOTEBOOK),usage_by_team).ipynb

lock: ## write both locks anew (UPGRADE=--upgrade for newer versions)
	@uv=$$(tools/setup uv) && compile() { "$$uv" pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command "make lock" $(UPGRADE) pyproject.toml "$$@"; } && \
	compile --extra agent --extra server --extra postgres --extra dev --extra build --output-file requirements.lock && \
	compile --extra ray --extra bench --constraints requirements.lock --output-file requirements-extra.lock

clean: ## remove .venv, .uv and .artifacts
	@rm -rf .venv .uv .artifacts
