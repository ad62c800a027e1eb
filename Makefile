# Everything a contributor or a CI runs is a target here; `make` alone lists them.
#
# Tools come by exact version through the go command itself (`go run tool@version`): nothing is installed globally, and
# go.mod holds only what the program and its tests import.

SHELL := /bin/bash

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT    := go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GOVULNCHECK   := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# What --version prints and what the image is tagged with. Outside a Git checkout they are plain words, not an error.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --verify --quiet HEAD 2>/dev/null || echo unknown)

# Registry and namespace of the images, without a trailing slash. Empty: local names.
HUB ?=
TAG ?= dev
# Set PLATFORMS to a list such as linux/amd64,linux/arm64 (needs PUSH=1: a local store holds one platform). Empty: this machine's.
PLATFORMS ?=
# Set PUSH to push the images, with an SBOM and a provenance attestation, instead of loading them into the local store.
PUSH ?=

# Extra flags for `go test`, such as TESTFLAGS='-run TestHandler -v'.
TESTFLAGS ?=
# How long each fuzz target runs.
FUZZTIME ?= 1m
# Which benchmarks run, and how often.
BENCH ?= .
COUNT ?= 1
# Set ONCE to let the demo end by itself instead of waiting for Ctrl-C.
ONCE ?=
# Arguments for the service of `make run`.
ARGS ?=

# The modules of this repository: the service, and the tests of the manifests, whose Kubernetes and Istio dependencies stay out of it.
MODULES := $(patsubst %/,%,$(dir $(wildcard go.mod deploy/test/go.mod)))

GO_LDFLAGS := -s -w -X example.com/bookinfo/cmd/internal/buildinfo.version=$(VERSION)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

##@ Use

# Built, then run: `go run` would end every Ctrl-C in an error. -buildvcs=false: a checkout owned by someone else is no error either.
.PHONY: demo
demo: ## Show both ways out, HTTPS and TLS origination, offline (ONCE=1: end by itself)
	@go build -buildvcs=false -o bin/dev/ ./samples/demo && exec bin/dev/demo $(if $(ONCE),--once)

.PHONY: run
run: ## Run the service from source, on port 9080 (ARGS=--help: the settings)
	@go build -buildvcs=false -o bin/dev/ ./cmd/details && exec bin/dev/details $(ARGS)

.PHONY: build
build: ## Build static, stripped binaries of the service and of the emulator into bin/
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='$(GO_LDFLAGS)' -o bin/ ./cmd/details ./cmd/books-emulator

##@ Check

# -race needs a C compiler. -timeout, for each package: one that hangs fails soon, with the stacks.
.PHONY: test
test: ## Run every test of the service, with the race detector (TESTFLAGS=… for more)
	go test -race -timeout 3m $(TESTFLAGS) ./...

# -count=1: the test cache does not see the manifests, which lie outside the test module.
.PHONY: test-manifests
test-manifests: ## Check the manifests and the walk-throughs, offline
	cd deploy/test && go vet ./... && go test -count=1 ./...

.PHONY: analyze
analyze: ## Run istioctl analyze over every egress mode (builds istioctl: minutes, the first time)
	deploy/test/analyze.sh

.PHONY: lint
lint: lint-shell lint-workflows lint-go ## Run every linter: Go, go.mod, workflows, shell scripts

.PHONY: lint-go
lint-go:
	@status=0; for module in $(MODULES); do \
		echo "lint-go: $$module"; \
		cd $(CURDIR)/$$module; \
		go vet ./... || status=1; \
		go mod tidy -diff >/dev/null || { echo "$$module: go.mod or go.sum is not tidy: run go mod tidy"; status=1; }; \
		$(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml ./... || status=1; \
	done; exit $$status

.PHONY: lint-workflows
lint-workflows:
	@echo 'lint-workflows: .github/workflows'
	@$(ACTIONLINT) -color .github/workflows/*.yml

.PHONY: lint-shell
lint-shell:
	@scripts="$$(find . -name .git -prune -o -name '*.sh' -print | sort) .ci/run"; \
	for script in $$scripts; do bash -n "$$script" || exit 1; done; \
	if command -v shellcheck >/dev/null; then echo lint-shell: $$scripts; shellcheck $$scripts; \
	else echo 'lint-shell: shellcheck is not installed; the scripts were only parsed (bash -n)'; fi

.PHONY: fmt
fmt: ## Format the Go code as the linter wants it
	@set -e; for module in $(MODULES); do (cd $$module && $(GOLANGCI_LINT) fmt --config $(CURDIR)/.golangci.yml ./...); done

# go test fuzzes one target of one package at a time. `go test -list` names the targets before the package that holds them.
.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (1m)
	@set -o pipefail; \
	targets=$$(go test -list '^Fuzz' ./... | awk '/^Fuzz/ { name[++n] = $$1; next } /^ok/ { for (i = 1; i <= n; i++) print $$2 ":" name[i]; n = 0; next } !/no test files/ { print > "/dev/stderr" }') || exit 1; \
	status=0; for target in $$targets; do \
		echo "fuzz: $$target"; \
		go test -run '^$$' -fuzz "^$${target##*:}\$$" -fuzztime $(FUZZTIME) "$${target%:*}" || status=1; \
	done; exit $$status

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what the code calls (needs the internet)
	@set -e; for module in $(MODULES); do (cd $$module && $(GOVULNCHECK) ./...); done

##@ Measure

.PHONY: bench
bench: ## Run the Go benchmarks, with allocations (BENCH=regexp, COUNT=n)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

##@ Ship

# $(call image,target,name): one stage of the Dockerfile as one image.
define image
docker buildx build --target $(1) --tag $(if $(HUB),$(HUB)/)$(2):$(TAG) \
	--build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) \
	$(if $(PLATFORMS),--platform $(PLATFORMS)) $(if $(PUSH),--push --sbom=true --provenance=mode=max,--load) .
endef

.PHONY: image
image: ## Build the images of the service and of the emulator (HUB=registry/namespace, TAG, PLATFORMS, PUSH=1)
	$(call image,details,examples-bookinfo-details-v2)
	$(call image,emulator,examples-bookinfo-books-emulator)

.PHONY: clean
clean: ## Remove what the other targets wrote
	rm -rf bin

##@ Help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## "; printf "Usage: make \033[36m<target>\033[0m\n" } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST)) \
		| if [ -t 1 ]; then cat; else sed $$'s/\033\\[[0-9;]*m//g'; fi
