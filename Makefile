# Every target sets up what it needs, once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
UV := .venv/bin/uv
DEMO := demo/output
FLINK_JAR := deploy/flink/target/flink-job-server.jar
ON_FLINK := --runner=FlinkRunner --flink_master=localhost:8081 --flink_job_server_jar=$(FLINK_JAR) \
    --parallelism=4 --environment_type=EXTERNAL --environment_config=localhost:50000 \
    --environment_cache_millis=2000

.PHONY: help demo test flink flink-stop flink-test pytorch-test lint bench verdict model lock clean

help:  ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 18

demo: export TF_CPP_MIN_LOG_LEVEL := 2
demo: $(DEMO)/mixtures/COMPLETED  ## Speak a corpus, build mixtures, separate and score some of them, and train a small model
	@$(PYTHON) -m demo.read_with_tfds $(DEMO)/mixtures $(DEMO)/recordings
	$(PYTHON) -m beam_jobs.separate_archive --input '$(DEMO)/recordings/*.wav' --output $(DEMO)/separated \
	    --rttm --report
	$(PYTHON) -m beam_jobs.score_separation --separated $(DEMO)/separated --dataset $(DEMO)/mixtures \
	    --output $(DEMO)/score
	@$(MAKE) --no-print-directory $(DEMO)/model/bundle.json
	@head -n 1 $(DEMO)/score/report.txt
	@head -n 1 $(DEMO)/evaluation/report.txt
	@echo "What the mixtures are like: file://$(CURDIR)/$(DEMO)/mixtures/report.html"
	@echo "What the model that ships made of a few: file://$(CURDIR)/$(DEMO)/separated/report.html"
	@echo "How well it separated them: file://$(CURDIR)/$(DEMO)/score/report.html"

$(DEMO)/mixtures/COMPLETED: | .venv/synced
	@$(PYTHON) -m demo.speak_corpus --output $(DEMO)/speech
	$(PYTHON) -m beam_jobs.build_mixtures --corpus $(DEMO)/speech --output $(DEMO)/mixtures --sample_rate 8000 \
	    --splits train=0.6,validation=0.2,test=0.2

# A minute shows how training goes, and makes no good model. A small network learns the fastest from
# many voices, two of which talk at once all the time.
$(DEMO)/model/bundle.json: $(DEMO)/mixtures/COMPLETED
	@$(PYTHON) -m demo.speak_corpus --output $(DEMO)/voices --num_voices 120 --num_utterances 4
	$(PYTHON) -m beam_jobs.build_mixtures --corpus $(DEMO)/voices --output $(DEMO)/training --sample_rate 8000 \
	    --recipe librimix
	$(PYTHON) -m training.train --config demo/joint_tcn_small.json --dataset $(DEMO)/training \
	    --model_dir $(DEMO)/small_tcn
	$(PYTHON) -m training.evaluate --model_dir $(DEMO)/small_tcn --dataset $(DEMO)/training --output $(DEMO)/evaluation
	$(PYTHON) -m training.export --model_dir $(DEMO)/small_tcn --output $(DEMO)/model

# Most tests use one core. A process takes a file at a time, whose tests share what they set up.
test: .venv/synced  ## Run all tests
	@deploy/install_test_tools.sh
	@$(PYTHON) -m pytest --numprocesses=2 --dist=loadfile

flink: $(DEMO)/model/bundle.json $(FLINK_JAR)  ## Start a Flink cluster on this machine, and run the jobs on it
	@$(PYTHON) -m deploy.flink.cluster start
	$(PYTHON) -m beam_jobs.build_mixtures --corpus $(DEMO)/speech --output $(DEMO)/flink/mixtures $(ON_FLINK)
	$(PYTHON) -m beam_jobs.separate_archive --input '$(DEMO)/speech/*/00.wav' --model $(DEMO)/model \
	    --output $(DEMO)/flink/separated $(ON_FLINK)
	@echo "Flink's web page: http://localhost:8081; make flink-stop stops it"

flink-stop: .venv/synced  ## Stop that cluster
	@$(PYTHON) -m deploy.flink.cluster stop

flink-test: .venv/synced $(FLINK_JAR)  ## Run the tests that need a Flink cluster
	@$(PYTHON) -m pytest -m flink

pytorch-test: .venv/synced  ## Run the tests that need PyTorch, soundfile and Lhotse: PYTORCH=python
	@test -n "$(PYTORCH)" || { echo "usage: make pytorch-test PYTORCH=python" >&2; exit 1; }
	@PYTORCH="$(PYTORCH)" $(PYTHON) -m pytest -m pytorch

lint: .venv/synced  ## Check style and types
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

bench: .venv/synced  ## Measure speed and memory
	@deploy/install_test_tools.sh
	@for script in $(filter-out bench/alignment.py,$(sort $(wildcard bench/*.py))); do echo "$$script"; $(PYTHON) -m "$$(echo "$${script%.py}" | tr / .)"; done

verdict: .venv/synced  ## Train five kinds of model on DATASET, for MINUTES each, and compare them
	@test -n "$(DATASET)" || { echo "usage: make verdict DATASET=folder [MINUTES=20]" >&2; exit 1; }
	$(PYTHON) -m training.verdict --dataset $(DATASET) --output docs/verdict --minutes $(or $(MINUTES),20)

model: .venv/synced  ## Make the model that ships: CORPORA="folder folder", NOISE, ROOMS [START]
	@test -n "$(CORPORA)" -a -n "$(NOISE)" -a -n "$(ROOMS)" || \
	    { echo 'usage: make model CORPORA="folder folder" NOISE=folder ROOMS=folder [MINUTES=300] [START=bundle]' >&2; exit 1; }
	$(PYTHON) -m experiments.default_model $(foreach folder,$(CORPORA),--corpus $(folder)) --noise $(NOISE) \
	    --rooms $(ROOMS) --minutes $(or $(MINUTES),300) $(if $(START),--start_from $(START)) \
	    --work build/model --output build/model/two_speakers_8k

lock: .venv/synced  ## Update requirements.lock to the newest versions that fit together, for Python 3.10 and 3.11
	$(UV) pip compile setup.py --all-extras --universal --python-version 3.10 --no-annotate --upgrade \
	    -o requirements.lock

$(FLINK_JAR): deploy/flink/pom.xml
	@deploy/install_test_tools.sh
	@echo "fetching Flink and Beam's job server into deploy/flink/target"
	@mvn --quiet --batch-mode --file deploy/flink/pom.xml clean package
	@touch $@

clean:  ## Remove the virtual environment and the demo's output
	rm -rf .venv $(DEMO)

# A version manager's python may be on the PATH and fail when it is called, so try each one.
.venv/bin/python:
	@for python in python3.11 python3.10 python3; do \
	    $$python -c 'import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info < (3, 12))' \
	        2> /dev/null && break; \
	done || { echo "Python 3.10 or 3.11 is missing here, or its venv module is (Debian:" \
	    "apt-get install python3 python3-venv)" >&2; exit 1; }; \
	$$python -m venv .venv

# Bytecode is compiled now: if Python may not write it later, every start would compile TensorFlow again.
# Two fifths of what is installed are never imported here, nor can all of it be compiled.
# pip takes minutes where uv takes one. Unlike pip, uv has to be told to trust the machine's own
# certificates, which are needed behind a company's proxy.
.venv/synced: export UV_SYSTEM_CERTS := 1
.venv/synced: requirements.lock setup.py | .venv/bin/python
	@echo "installing the packages of requirements.lock into .venv"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv
	@$(UV) pip sync --quiet --python $(PYTHON) requirements.lock
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --editable .
	@$(PYTHON) -m compileall -qq -j 0 -x '/(tests|aiplatform\w*|sympy)/' .venv/lib || true
	@touch $@
