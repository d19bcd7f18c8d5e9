# Outside the checkout, so that clones share what is built.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/voxmill/target
VOXMILL = $(CARGO_TARGET_DIR)/debug/voxmill
GARAGE = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/voxmill/garage/bin/garage

.PHONY: demo test test-fleet test-garage torture lint bench fuzz openapi setup build

# A video through the whole chain: make demo, or make demo VIDEO=talk.mp4 TEXT=script.txt
demo: build
	$(VOXMILL) demo $(if $(VIDEO),--video "$(VIDEO)") $(if $(TEXT),--text "$(TEXT)")

test: build
	cargo test --workspace --locked

# The end-to-end tests once more, with each server on Postgres, Redis and an S3 store.
test-fleet: build
	TEST_BACK_ENDS=fleet cargo test --workspace --locked --test it

# The tests of storage on Garage, for which those of make test are made of files.
test-garage: setup $(GARAGE)
	GARAGE=$(GARAGE) cargo test --workspace --locked --test fleet

# Kills, by the hundred, in the middle of ten thousand jobs: make torture TORTURE="--jobs 2000 --kills 30 --seeds 3". What is worse
# than a kill, for it lasts: make torture TORTURE="--faults --times 3".
torture: setup $(GARAGE)
	cargo build --workspace --locked --release --bins --example torture
	GARAGE=$(GARAGE) $(CARGO_TARGET_DIR)/release/examples/torture $(TORTURE)

# The S3 store under the torture, from its source: ten minutes on two cores, once.
$(GARAGE):
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/garage cargo install garage --version 2.5.0 --locked --no-default-features \
		--features bundled-libs,sqlite --root $(abspath $(dir $(GARAGE))/..)
	rm -rf $(CARGO_TARGET_DIR)/garage

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	deploy/check/run.sh

# Beside the programs that do the same work: docs/benchmarks.md; make bench BENCH="--only speech --rounds 5".
bench: build
	tests/bench/run.sh $(BENCH)

# Requests made from the OpenAPI document, right and wrong ones: make fuzz FUZZ="-n 200".
fuzz: build
	tests/contract/fuzz.sh $(FUZZ)

# The OpenAPI document, anew from the code.
openapi: build
	$(VOXMILL) openapi > api/openapi.json

# Everything that a build and a run need.
build: setup
	cargo build --workspace --locked
	$(VOXMILL) models pull

setup:
	deploy/install-packages.sh
