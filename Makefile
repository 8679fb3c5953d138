# headroom: "make demo" shows it, "make test" tests it. Both do all their set-up.
SHELL := /bin/bash
# Downloading, bundling and compiling go on side by side.
MAKEFLAGS += --jobs=3 --no-print-directory
.DEFAULT_GOAL := help

GO ?= go
NPM ?= npm
BIN := bin/headroom
# The OpenTelemetry Collector that end-to-end tests push with, of a module of its own.
OTELCOL := bin/otelcol-e2e
# Everything that a build reads. A change in any of it makes the binary again; Go's cache makes that cheap.
SOURCES := $(shell find . -name node_modules -prune -o -path ./bin -prune -o -name '.[a-z]*' -prune -o \
	\( -name '*.go' -o -name '*.sql' -o -name '*.html' -o -name '*.css' -o -name '*.svg' -o -name '*.yaml' \) -type f -print | sed 's/ /\\ /g') go.mod go.sum
ASSETS := dashboards/assets/dist/console.js
VERSION ?=
LDFLAGS := -s -w $(if $(VERSION),-X main.version=$(VERSION))
DATA ?= .data
TESTFLAGS ?=
FAULT_ROUNDS ?= 30
FAULTS := Disk|Power|Torn|Damage|Segment|Truncated|Vanished|BadSector|NewerVersion|Foreign|FailedWrite|Fail|Spool|Quarantine|ClickHouse|Answers|Refuse|Backlog|Parts|Restart|Resent|Duplicates|Record|Answered
GOLANGCI_VERSION := v2.15.0
GOLANGCI := .tools/golangci-lint-$(GOLANGCI_VERSION)

# By themselves, for they measure how long people wait.
RUN_E2E = HEADROOM_BIN="$(CURDIR)/$(BIN)" HEADROOM_OTELCOL="$(CURDIR)/$(OTELCOL)" HEADROOM_ENGINES="$(CURDIR)/engines/node_modules" $(GO) test -count=1 $(TESTFLAGS) ./e2e/...

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Run headroom with a simulated company that pushes real OTLP
	@$(BIN) demo --data "$(DATA)-demo"

.PHONY: up
up: build ## Run headroom with databases of its own
	@$(BIN) up --data "$(DATA)"

.PHONY: build
build: engines $(BIN) ## Build bin/headroom

.PHONY: engines
engines: engines/node_modules/.ready ## Install the embedded ClickHouse and PostgreSQL

.PHONY: test
test: build $(OTELCOL) e2e/node_modules/.ready ## Run all tests, on real databases and in a real browser
	@HEADROOM_ENGINES="$(CURDIR)/engines/node_modules" $(BIN) --log-level=warn engines exec -- \
		$(GO) test $(TESTFLAGS) $$($(GO) list ./... | grep -v '/e2e')
	@$(RUN_E2E)

.PHONY: race
race: ## Like test, with the race detector
	@$(MAKE) test TESTFLAGS="-race $(TESTFLAGS)"

# What "make test" does of this in a minute and a half, more often and more thoroughly.
.PHONY: faults
faults: build e2e/node_modules/.ready ## Make every fault of docs/reliability.md FAULT_ROUNDS times (30)
	@set -o pipefail; HEADROOM_FAULT_ROUNDS=$(FAULT_ROUNDS) HEADROOM_ENGINES="$(CURDIR)/engines/node_modules" $(BIN) --log-level=warn engines exec -- \
		$(GO) test -count=1 -v -timeout 60m -tags=mounts $(TESTFLAGS) -run '$(FAULTS)' ./collector | grep -E '^ *(---|ok|FAIL|panic|[a-z_]+_test.go)'
	@set -o pipefail; HEADROOM_KILL_ROUNDS=$(FAULT_ROUNDS) HEADROOM_BIN="$(CURDIR)/$(BIN)" HEADROOM_ENGINES="$(CURDIR)/engines/node_modules" \
		$(GO) test -count=1 -v -timeout 60m $(TESTFLAGS) -run 'Killed|Flood' ./e2e | grep -E '^ *(---|ok|FAIL|panic|[a-z_]+_test.go)'

.PHONY: check
check: $(GOLANGCI) $(ASSETS) ## Check format, vet and lint
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	@$(GO) vet -tags=peers,mounts ./...
	@"$(GOLANGCI)" run ./...

.PHONY: fuzz
fuzz: ## Fuzz every decoder and parser for FUZZTIME each (30s)
	@for target in $$(grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . --exclude-dir=node_modules | sed 's/func //' | sort -u); do \
		pkg=$$(grep -rlE --include='*_test.go' "^func $$target\(" . --exclude-dir=node_modules | head -n 1 | xargs dirname); \
		echo "$$pkg $$target"; $(GO) test "$$pkg" -run '^$$' -fuzz "^$$target$$" -fuzztime "$${FUZZTIME:-30s}" -fuzzminimizetime 20x || exit 1; done

.PHONY: bench
bench: build ## Run the Go benchmarks, on real databases
	@HEADROOM_ENGINES="$(CURDIR)/engines/node_modules" $(BIN) --log-level=warn engines exec -- \
		$(GO) test -run '^$$' -bench . -benchmem ./...

# Each is a module of its own, so that what they need is nobody else's.
.PHONY: bench-tools
bench-tools: build
	@cd bench && CGO_ENABLED=0 $(GO) build -o ../bin/bench .
	@cd bench/otelcol && CGO_ENABLED=0 $(GO) build -o ../../bin/otelcol .

.PHONY: bench-ingest
bench-ingest: bench-tools ## Measure ingest beside the OpenTelemetry Collector: BENCHFLAGS="-runs 5 -length 20s" (docs/benchmarks.md)
	@bin/bench $(BENCHFLAGS)

.PHONY: profile-ingest
profile-ingest: bench-tools ## Profile headroom under that load, into bin/profile
	@bin/bench -only headroom -runs 1 -profile bin/profile $(BENCHFLAGS)
	@$(GO) tool pprof -top -nodecount=40 bin/headroom bin/profile/cpu.prof

.PHONY: profile-spans
profile-spans: bench-tools ## Measure what each column of a span costs ClickHouse to insert, to merge and to keep
	@bin/bench -columns $(BENCHFLAGS)

.PHONY: slo-math
slo-math: ## Simulate false pages and times to detect: the table and plots of docs/slo-math.md
	@cd bench && $(GO) run ./slomath -images ../docs/images

.PHONY: e2e
e2e: build $(OTELCOL) e2e/node_modules/.ready ## Run the end-to-end tests only, over the built binary and in Chromium
	@$(RUN_E2E)

.PHONY: fairness
fairness: build ## Flood headroom as one tenant, for a minute, and see whether the others notice
	@HEADROOM_ENGINES="$(CURDIR)/engines/node_modules" HEADROOM_FAIRNESS_PHASE=10s $(BIN) --log-level=warn engines exec -- \
		$(GO) test ./collector -count=1 -run TestFloodOfOneTenantChangesNothingForOthers -v

.PHONY: screenshots
screenshots: build e2e/node_modules/.ready ## Take the pictures in docs/images anew, of a demo
	@HEADROOM_BIN="$(CURDIR)/$(BIN)" HEADROOM_ENGINES="$(CURDIR)/engines/node_modules" $(GO) run ./e2e/screenshots docs/images

.PHONY: clean
clean: ## Remove what was built (not the data)
	rm -rf bin .tools dashboards/assets/dist/*.js dashboards/assets/dist/*.css

# For who builds it the first time. GOGC takes a sixth of the compiler's work away, for some memory, and leaving out the
# debugging information, which the linker strips anyway, another sixth.
GO_BUILD = GOGC=800 CGO_ENABLED=0 $(GO) build -trimpath -gcflags=all=-dwarf=false

$(BIN): $(SOURCES) $(ASSETS) | bin/.standard-library
	@echo "building $@"
	@$(GO_BUILD) -ldflags '$(LDFLAGS)' -o $@ ./cmd/headroom

# After headroom, which people wait for.
$(OTELCOL): $(wildcard e2e/otelcol/*.go) e2e/otelcol/go.mod e2e/otelcol/go.sum | $(BIN)
	@echo "building $@"
	@cd e2e/otelcol && $(GO_BUILD) -ldflags '-s -w' -o "$(CURDIR)/$@" .

# A third of what is compiled is the standard library: that needs nothing which is still being downloaded.
bin/.standard-library: | tools
	@mkdir -p bin
	@$(GO) list -e -deps ./cmd/headroom >/dev/null & $(GO_BUILD) net/http/pprof html/template database/sql encoding/xml; wait
	@touch $@

# --ignore-scripts: npm asks before it runs an install script; what the engines' script does, headroom does itself.
%/node_modules/.ready: %/package.json %/package-lock.json | tools
	@echo "installing the npm packages of $*$(if $(findstring engines,$*), (205 MB to download the first time))"
	@cd "$*" && $(NPM) ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch "$@"

$(ASSETS): $(wildcard dashboards/assets/src/*) dashboards/assets/build.mjs dashboards/assets/node_modules/.ready
	@echo "bundling the console's assets"
	@node dashboards/assets/build.mjs

$(GOLANGCI):
	@echo "installing golangci-lint $(GOLANGCI_VERSION)"
	@GOBIN="$(CURDIR)/.tools" $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv .tools/golangci-lint "$@"

.PHONY: tools
tools:
	@command -v $(GO) >/dev/null || { echo "Go is missing: install Go 1.26 or newer (https://go.dev/dl/)"; exit 1; }
	@command -v node >/dev/null && command -v $(NPM) >/dev/null || { echo "Node.js or npm is missing: install Node.js 20 or newer with npm (https://nodejs.org/, or your distribution's nodejs and npm packages)"; exit 1; }
	@[ "$$(uname -s)-$$(uname -m)" = Linux-x86_64 ] || { echo "the embedded databases are for Linux on x86-64, not $$(uname -s) on $$(uname -m)"; exit 1; }
