# Everything a contributor runs. `make help` lists it. Needs Go, make, bash, git, and for Kafka Java 17 and Maven; tools are
# run with `go run package@version`, so that go.mod requires none of them.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

GOLANGCI    := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT     := go run mvdan.cc/gofumpt@v0.12.0
GOVULNCHECK := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

PKG       ?= ./...  # packages; those named are of the root module
RUN       ?= .      # tests, by regular expression; those named are of the root module
FUZZTIME  ?= 3s     # for each fuzz target
BENCH     ?= .      # benchmarks, by regular expression
BENCHTIME ?= 1s
ROWS      ?= .      # of make rivals
ROUNDS    ?= 5      # of each
SEEDS     ?= 5000   # of each crash run and each fault, in make soak

CACHE   := $(CURDIR)/.cache
REPORT  := $(CACHE)/testreport -allow $(CURDIR)/.ci/allowed-skips $(if $(CI),,-lenient) # at home a server may be missing
ifeq ($(origin PKG)$(origin RUN),filefile)
MODULES := $(patsubst %/go.mod,%,$(shell find . -name go.mod -not -path './.cache/*' -not -path '*/testdata/*' | sort))
else
MODULES := .
endif
each     = for module in $(MODULES); do (cd $$module && echo "== $@ $$module" && $(1)) || exit 1; done

.PHONY: help test prepare tidy fmt-check fmt build vet lint unit examples fuzz vuln kafka bench rivals soak soak-crash soak-faults soak-memory soak-kafka-conformance soak-kafka-faults

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' Makefile
	@echo; sed -n 's/^\([A-Z]* *\)?= *\([^ ]*\) *# */\1 \2 \t/p' Makefile

test: prepare tidy fmt-check build vet lint unit examples fuzz vuln ## everything that must hold before a commit lands
	@echo "make test: all is well"

prepare: ## fetches what the tests need
	@$(call each,go mod download)
	@mkdir -p $(CACHE) && go build -o $(CACHE)/testreport ./internal/ci/testreport
	@go run ./internal/kafkatest/kafka -prepare

tidy: ## go.mod says what is imported, no more and no less
	@$(call each,go mod tidy -diff)

fmt-check: ## names the files that make fmt would change
	@echo "== $@"; files=$$($(GOFUMPT) -l .); [ -z "$$files" ] || { echo "$$files"; echo "not formatted: make fmt"; exit 1; }

fmt: ## formats
	@$(GOFUMPT) -l -w .

build:
	@$(call each,go build ./...)

vet:
	@$(call each,go vet ./...)

lint: ## .golangci.yml
	@$(call each,$(GOLANGCI) run --config $(CURDIR)/.golangci.yml $(PKG))

# Results are never taken from the cache: -shuffle sees to it, and a seed of today is a test of today.
unit: prepare ## tests with -race; PKG=./router/... RUN=TestContent for some of them
	@$(call each,go test -json -race -timeout 30m -shuffle=on -run '$(strip $(RUN))' $(PKG) | $(REPORT))

examples: ## runs each program under examples
	@$(call each,$(CURDIR)/.ci/examples)

fuzz: ## FUZZTIME for each fuzz target
	@$(call each,$(CURDIR)/.ci/fuzz $(FUZZTIME) $(PKG))

vuln: ## known vulnerabilities in what we import
	@$(call each,$(CURDIR)/.ci/vuln $(GOVULNCHECK))

kafka: ## a Kafka that runs until it is interrupted; it prints the LEAT_KAFKA to set
	@go run ./internal/kafkatest/kafka

rivals: ## ours beside ceilings and rivals, in one run; ROWS by regular expression, ROUNDS of each
	@cd bench && go run . -rows '$(strip $(ROWS))' -rounds $(strip $(ROUNDS))

bench: ## BENCH for BENCHTIME each, with allocations; compare only figures of one run
	@$(call each,go test -run '^$$' -bench '$(strip $(BENCH))' -benchtime $(BENCHTIME) -benchmem $(PKG))

soak: soak-crash soak-faults soak-memory soak-kafka-conformance soak-kafka-faults ## the long runs, each by its name too

soak-crash: prepare ## SEEDS crash runs on every driver: simulated, engine, router
	@LEAT_SEEDS=$(SEEDS) go test -json -shuffle=on -timeout 0 -run 'TestCrash|TestLaw14' ./leattest | $(REPORT)

soak-faults: prepare ## SEEDS runs of each fault
	@LEAT_SEEDS=$(SEEDS) go test -json -shuffle=on -timeout 0 ./leattest/faults | $(REPORT)

soak-memory: prepare ## the memory broker and both stores, SEEDS seeds and 10 million ids
	@LEAT_SEEDS=$(SEEDS) go test -json -shuffle=on -timeout 0 ./adapters/memory ./aggregator ./idempotency | $(REPORT)

# The second without -race: that test has a race of its own. The tag is Watermill's, for more time.
soak-kafka-conformance: prepare ## Watermill's suite over Kafka: ten at once, and with the broker killed
	@go test -json -race -tags stress -shuffle=on -timeout 0 -run TestWatermillStress ./adapters/kafka | $(REPORT)
	@go test -json -tags stress -shuffle=on -timeout 0 -run TestWatermillReconnect ./adapters/kafka | $(REPORT)

soak-kafka-faults: prepare ## processes and brokers that are killed, members that come and go, broken connections, in full
	@LEAT_SOAK=1 go test -json -shuffle=on -timeout 0 ./adapters/kafka/faults ./adapters/kafka/hostile | $(REPORT)
