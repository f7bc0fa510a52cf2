# Everything below works on a fresh clone: what is missing is downloaded into the project's folder
# (.venv/, .venv-bench/, .ovs/, .nats/, .rabbitmq/, .service-tools/, .chromium/, .cache/), never
# into the system.

ARGS =
# Tests run in several processes; ARGS="-n 0" uses one, for example for a debugger.
PARALLEL = -n auto
# The files that `make bench` writes.
BENCH = --json build/bench/benchmark.json --plot build/bench/benchmark.png

.DEFAULT_GOAL := help
.PHONY: help run sandbox unit check test soak soak-fleet lint docs bench bench-fleet generate pictures wheel deb pyz image clean

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | \
	    while IFS='|' read -r target text; do printf '%-17s %s\n' "$$target" "$$text"; done

run:  ## set up, then play a day of a host on a private Open vSwitch (ARGS=--web: in a browser)
	@tools/python-env.sh $(if $(findstring --web,$(ARGS)),web,run)
	@tools/openvswitch.sh .venv/bin/dfovsdb demo $(ARGS)

sandbox:  ## set up, then run a private Open vSwitch for experiments, until Ctrl-C
	@tools/python-env.sh run
	@tools/openvswitch.sh .venv/bin/dfovsdb sandbox

unit:  ## set up, then run the tests that need no server, in a minute
	@tools/python-env.sh test
	@.venv/bin/python -m pytest $(PARALLEL) tests/unit $(ARGS)

check: lint unit  ## set up, then run lint and unit: do this after each change

test:  ## set up, then run all tests (ARGS="-k vm" for some of them)
	@$(if $(ARGS),:,echo "All tests, in parallel, with real servers: about 8 minutes on two" \
	    "processors, and 3 more the first time, to fetch what is missing. Dots are tests.")
	@tools/python-env.sh test
	@tools/openvswitch.sh tools/nats-server.sh tools/rabbitmq.sh tools/service-tools.sh \
	    tools/chromium.sh tools/npm-packages.sh \
	    .venv/bin/python -m pytest $(PARALLEL) $(ARGS)

soak:  ## set up, then test with random changes and faults (ARGS="--seed 1 --seconds 300")
	@tools/python-env.sh test
	@tools/openvswitch.sh .venv/bin/python -m tests.soak $(ARGS)

soak-fleet:  ## set up, then test a fleet with random faults, for ten minutes (ARGS="--seconds 3600")
	@tools/python-env.sh test
	@tools/openvswitch.sh tools/nats-server.sh .venv/bin/python -m tests.fleet_soak $(ARGS)

lint:  ## set up, then check style and types
	@tools/python-env.sh test
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo --no-cache >.cache/imports.log 2>&1 || \
	    { cat .cache/imports.log; rm -f .cache/imports.log; exit 1; }; rm -f .cache/imports.log

bench:  ## set up, then compare with the alternatives (QUICK=1: two minutes; ARGS="churn": a part)
	@tools/python-env.sh bench
	@tools/openvswitch.sh .venv-bench/bin/python -m benchmarks $(if $(QUICK),--quick) $(BENCH) $(ARGS)

bench-fleet:  ## set up, then simulate a thousand hosts with NATS, docs/fleet.md (QUICK=1: a minute; GROWTH=1: up to a million ports)
	@tools/python-env.sh test
	@tools/nats-server.sh tools/openvswitch.sh .venv/bin/python $(if $(GROWTH),\
	    -m benchmarks.fleet_growth --json build/bench/fleet-growth.json,\
	    -m benchmarks.fleet $(if $(QUICK),--quick) --json build/bench/fleet.json) $(ARGS)

docs:  ## set up, then build the reference into docs/_build/html
	@tools/python-env.sh test
	@.venv/bin/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

generate:  ## write the generated files under docs/: sample configuration, JSON Schema, Python
	@tools/python-env.sh test
	@.venv/bin/oslo-config-generator --namespace dfovsdb --namespace oslo.log \
	    --output-file docs/dfovsdb.conf.sample
	@.venv/bin/python -c 'import json; from dfovsdb.json_v1 import json_schema; \
	    print(json.dumps(json_schema(), indent=2))' >docs/events.schema.json
	@.venv/bin/python tools/python_reference.py >docs/python.md

pictures:  ## take the pictures of docs/operating.md again, from real output of the commands
	@tools/python-env.sh test
	@tools/openvswitch.sh .venv/bin/python tools/pictures.py docs/pictures
	@tools/openvswitch.sh .venv/bin/python tools/page_picture.py docs/pictures

wheel:  ## set up, then build a wheel into dist/
	@tools/python-env.sh run
	@rm -rf build dfovsdb.egg-info
	@.venv/bin/python -m pip --disable-pip-version-check wheel -q \
	    --no-deps --no-build-isolation -w dist .
	@rm -rf build dfovsdb.egg-info
	@ls dist/*.whl

deb:  ## build dist/dfovsdb_VERSION_ARCH.deb, for hosts with the Python of this one
	@tools/python-env.sh test
	@tools/deb.sh

pyz:  ## build dist/dfovsdb.pyz, one file that runs without installation
	@tools/python-env.sh test
	@tools/pyz.sh

image:  ## build the image localhost/dfovsdb, with podman, buildah or docker
	@tools/image.sh $(ARGS)

clean:  ## remove everything that was set up or built in the clone
	rm -rf .venv .venv-bench .ovs .nats .rabbitmq .service-tools .chromium .cache build dist docs/_build \
	    *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
