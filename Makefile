# Estiba. `make help` lists what a person types here.

SHELL     := /bin/bash
BIN       := build/bin
# Finds Go where sudo's PATH does not, too.
GO        ?= tools/go.sh
# Go brings the version that go.mod names as its toolchain if the one that is
# installed is older: mistakes are mended there, in what we link, too.
GOTOOLCHAIN ?= auto
export GOTOOLCHAIN
PROGRAMS  := exporter manager generator

# What a program says of itself with --version: all of it is the commit's, so
# that one commit makes the same bytes wherever it is built. No branch, as one
# commit can be on several; no -buildvcs, as Go says there what only a clone with
# its tags knows.
# The tag v1.2.3 is version 1.2.3.
VERSION   ?= $(shell (git describe --tags --always --abbrev=12 --dirty 2>/dev/null || cat VERSION 2>/dev/null || echo unknown) | sed 's/^v//')
REVISION  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE      := $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || echo unknown)
VERSIONPKG := github.com/prometheus/common/version
LDFLAGS   := -s -w -X $(VERSIONPKG).Version=$(VERSION) -X $(VERSIONPKG).Revision=$(REVISION) -X $(VERSIONPKG).BuildDate=$(DATE)
GOFLAGS_BUILD := -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

.DEFAULT_GOAL := help
.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-18s %s\n", $$1, $$2}'

.PHONY: run
run: ## everything on this machine, natively: install, build, start, watch (as root; Ctrl-C stops it; PORTS=prometheus=19090, ARGS=--help)
	@echo "compiling the launcher"
	@mkdir -p $(BIN) && CGO_ENABLED=0 $(GO) -C tools build -buildvcs=false -o ../$(BIN)/run ./run
	@tools/own.sh
	@exec $(BIN)/run $(if $(PORTS),--ports=$(PORTS)) $(ARGS)

.PHONY: up down logs status images
up: ## everything in containers, by compose (make up ARGS=--demo adds the generator)
	@tools/compose/up.sh $(ARGS)

down: ## stop the containers that make up started; volumes stay (ARGS=--volumes removes them)
	@tools/compose/down.sh $(ARGS)

logs: ## follow the logs of the containers that make up started
	@tools/compose/logs.sh $(ARGS)

status: ## what make up started, and how it is
	@tools/compose/status.sh

images: ## images of our programs and of the pinned builds, without pulling anything
	@tools/compose/images.sh $(ARGS)

.PHONY: build
build: ## exporter, manager and generator into build/bin
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build $(GOFLAGS_BUILD) -o $(BIN)/ $(addprefix ./,$(PROGRAMS))
	@tools/own.sh

.PHONY: tools
tools: ## the pinned Prometheus, promtool, Alertmanager and amtool into build/bin
	tools/build.sh prometheus promtool alertmanager amtool
	@tools/own.sh

.PHONY: install uninstall packages
install: ## onto this host, as built: programs, systemd units, policies, rules, dashboards (DESTDIR=, PREFIX=/usr)
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' tools/packages/install.sh

uninstall: ## remove what make install put; changed configuration stays
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' tools/packages/uninstall.sh

packages: ## packages into build/packages: estiba-exporter, -manager, -generator, -dkms (FORMATS="deb rpm archlinux"; this host's unless it says otherwise)
	@FORMATS='$(FORMATS)' tools/packages/build.sh

.PHONY: release
release: ## all files of a release into build/release/VERSION, from the commit (VERSION=1.2.3)
	@tools/release/release.sh '$(if $(filter-out file,$(origin VERSION)),$(VERSION))'
	@tools/own.sh

.PHONY: kmod
kmod: ## the kernel module for the running kernel (more: make -C kmod help)
	$(MAKE) -C kmod
	@tools/own.sh

.PHONY: test
test: ## all tests that fit in 15 minutes, and what of them cannot run here; installs what they need (as root)
	@test/run.sh

.PHONY: test-more
test-more: ## the suites for which .ci/run has no time, one after the other (as root; two hours)
	@test/more.sh

.PHONY: test-unit
test-unit: ## Go tests alone; those that need Docker or root are skipped where there is none
	$(GO) test ./...

.PHONY: test-long
test-long: ## Go tests that take minutes: a tenth of a day of containers, many kills at once
	@test/setup.sh
	@tools/build.sh prometheus
	ESTIBA_TEST_ALL=1 ESTIBA_TEST_LONG=1 test/with-docker.sh $(GO) test -count=1 -v -timeout 20m -run TestLong ./exporter ./manager

WORLDS ?= 1000000
.PHONY: test-worlds
test-worlds: ## the manager in random worlds, a million unless WORLDS= says otherwise (some hours)
	$(GO) test -count=1 -timeout 24h -v -run TestWorlds ./manager/run -worlds=$(WORLDS)

.PHONY: test-race
test-race: ## Go tests under the race detector, the whole system among them
	@test/setup.sh
	@tools/build.sh prometheus promtool alertmanager amtool kustomize
	ESTIBA_TEST_ALL=1 test/with-docker.sh $(GO) test -race -count=1 -p 4 -timeout 15m ./...

.PHONY: test-kmod
test-kmod: ## the kernel module: built, loaded and tested on Debian's kernel in QEMU
	@test/setup.sh
	@$(MAKE) -s build
	test/machine/qemu/run.sh

.PHONY: test-kernels
test-kernels: ## the kernel module on 5.10, 6.1, 6.1 with PREEMPT_RT, 6.12 and the newest kernel that Debian has, and on arm64 (some: KERNELS="bullseye sid"; without the hostile readers: QUICK=1)
	@test/setup.sh
	@$(MAKE) -s build
	test/machine/qemu/kernels.sh $(if $(QUICK),--quick) $(KERNELS)

.PHONY: test-headers
test-headers: ## the kernel module built against headers of many kernels: Debian's, and made to look like Ubuntu's and RHEL's (some: TREES="rhel-9 clang")
	@test/setup.sh
	@test/machine/qemu/headers.sh $(TREES)

.PHONY: test-vm
test-vm: ## the whole system with the kernel module, from insmod to a killed container, in a VM
	test/machine/vm/run.sh

.PHONY: test-vm-runtimes
test-vm-runtimes: ## Docker, Podman and containerd with cgroup v2, with and without the module, in a VM
	test/machine/vm/run.sh --run=TestRuntimes

.PHONY: test-vm-kubernetes
test-vm-kubernetes: ## the exporter's pod as its manifests for Kubernetes describe it, on cgroup v2, in a VM
	test/machine/vm/run.sh --run=TestKubernetes

MINUTES ?= 20
.PHONY: soak
soak: ## the whole system in a VM under random faults, judged from outside (MINUTES=20, SEED= for the same faults again)
	test/machine/vm/run.sh --soak=$(MINUTES) --seed=$(SEED)

.PHONY: test-debug-kernel
test-debug-kernel: ## the module under KASAN, lockdep and kmemleak, with failing allocations (fewer tests: QUICK=1)
	test/machine/qemu/debug/debug.sh $(if $(QUICK),--quick)

.PHONY: test-dkms
test-dkms: ## the ways in which the module comes onto a machine: DKMS, make install, signing
	test/machine/qemu/dkms.sh

.PHONY: test-docker
test-docker: build ## the whole way of the data on real containers
	@test/setup.sh
	@tools/build.sh prometheus alertmanager
	ESTIBA_TEST_ALL=1 $(GO) test -count=1 -v ./test/system/docker/

.PHONY: test-runtimes
test-runtimes: ## Docker, Podman of root and of a user, pods and ctr of containerd, all at once (as root)
	@test/setup.sh
	ESTIBA_TEST_ALL=1 $(GO) test -count=1 -v -timeout 10m ./test/system/runtimes/

.PHONY: test-kubernetes
test-kubernetes: ## the manifests and the chart for Kubernetes, and the exporter in a pod as they describe it, on containerd (as root)
	@test/install.sh containerd runc iproute2 util-linux
	@tools/build.sh helm kustomize prometheus
	$(GO) -C tools/kubernetes test -count=1 -v .
	ESTIBA_TEST_ALL=1 $(GO) test -count=1 -v -timeout 10m ./test/system/kubernetes/

.PHONY: test-rules
test-rules: ## rules, alerts and routes, with promtool and amtool
	@tools/build.sh promtool amtool
	ESTIBA_TEST_ALL=1 $(GO) test -count=1 ./test/static/prometheus/ ./test/static/contract/

SCRAPE ?= 5s
JOB ?= estiba
MANAGER_JOB ?= estiba-manager
FORMAT ?= files
.PHONY: rules
rules: ## rules for another Prometheus into build/rules (SCRAPE=30s JOB=… MANAGER_JOB=… FORMAT=files|operator|mixin)
	@$(GO) run ./prometheus/generate -scrape='$(SCRAPE)' -job='$(JOB)' -manager-job='$(MANAGER_JOB)' -format='$(FORMAT)' -output=build/rules

.PHONY: test-oldest
test-oldest: ## rules, alerts, messages, history and dashboards with Prometheus 2.42 and Alertmanager 0.25 (as root)
	@test/setup.sh
	@test/oldest.sh

.PHONY: test-compose
test-compose: ## the stack in containers, started by a real compose, without an image registry
	test/system/compose/run.sh

.PHONY: test-fleet
test-fleet: build ## three hosts in namespaces, a central store, one host cut off, killed and brought back (as root)
	@test/setup.sh
	@tools/build.sh prometheus
	ESTIBA_TEST_ALL=1 $(GO) test -count=1 -v -timeout 10m ./test/system/fleet/

.PHONY: test-victoriametrics
test-victoriametrics: build ## vmagent, vmalert and VictoriaMetrics beside Prometheus: the same rules, series and dashboards (as root)
	@test/setup.sh
	@tools/build.sh prometheus victoria-metrics vmagent vmalert
	ESTIBA_TEST_ALL=1 $(GO) test -count=1 -v -timeout 10m ./test/system/victoriametrics/

.PHONY: test-packages
test-packages: ## the packages, make install and the systemd units, on a Debian 12 that is made for it (as root)
	test/system/packages/run.sh

.PHONY: test-release
test-release: ## a release, built twice: the same bytes, and what is in each file (as root)
	test/system/release/run.sh

GRAFANA_URL ?= http://localhost:3000
GRAFANA_PASSWORD_FILE ?= .run/compose/secrets/grafana_admin_password
GRAFANA_DATASOURCE ?= estiba-prometheus
.PHONY: grafana-smoke
grafana-smoke: ## ask a running Grafana for every dashboard and query (GRAFANA_URL, GRAFANA_PASSWORD_FILE, GRAFANA_DATASOURCE)
	$(GO) run ./grafana/smoke -url='$(GRAFANA_URL)' -password-file='$(GRAFANA_PASSWORD_FILE)' -datasource='$(GRAFANA_DATASOURCE)'

.PHONY: test-browser
test-browser: ## the dashboards, drawn by Grafana's own components, and the status page, in Chromium
	test/browser/run.sh

.PHONY: test-fuzz
test-fuzz: ## fuzz the module's JSON writer and the exporter's parsers and text, a minute each
	@test/install.sh gcc make libc6-dev clang libclang-rt-14-dev
	$(MAKE) -C kmod/tests SECONDS=60 fuzz
	$(GO) test -run '^$$' -fuzz FuzzParse -fuzztime 60s -fuzzminimizetime 1x ./exporter/source/kmod
	$(GO) test -run '^$$' -fuzz FuzzFiles -fuzztime 60s -fuzzminimizetime 1x ./exporter/source/cgroup/procfile
	$(GO) test -run '^$$' -fuzz FuzzFiles -fuzztime 30s -fuzzminimizetime 1x ./exporter/source/cgroup/cgroupfile
	$(GO) test -run '^$$' -fuzz FuzzScan -fuzztime 15s -fuzzminimizetime 1x ./exporter/source/scan
	$(GO) test -run '^$$' -fuzz FuzzScan -fuzztime 30s -fuzzminimizetime 1x ./internal/jsonscan
	$(GO) test -run '^$$' -fuzz FuzzText -fuzztime 60s -fuzzminimizetime 1x ./exporter/collector
	$(GO) test -run '^$$' -fuzz FuzzWriter -fuzztime 60s -fuzzminimizetime 1x ./exporter/linezip

.PHONY: licences
licences: ## the licence of every module that is linked into our programs
	@tools/licences/run.sh $(addprefix ./,$(PROGRAMS))

.PHONY: vulncheck
vulncheck: ## known vulnerabilities in what the programs call that we build, by the newest database (another: VULNDB=https://… or file:///…)
	@VULNDB='$(VULNDB)' $(GO) -C tools/vulncheck run .

.PHONY: bench
bench: ## Go benchmarks: the exporter's hot path, the manager's tick
	$(GO) test -run '^$$' -bench . -benchmem ./exporter/... ./manager/...

.PHONY: lint
lint: ## golangci-lint, ShellCheck, shfmt and yamllint over the whole tree (as root where they are not installed)
	@test/install.sh shellcheck yamllint
	@tools/build.sh golangci-lint shfmt
	@tools/lint/run.sh

.PHONY: fmt
fmt: ## format the Go code and the shell scripts
	@tools/build.sh golangci-lint shfmt
	@tools/lint/run.sh --format

.PHONY: clean
clean: ## remove what builds made; history in .run stays
	rm -rf build
	$(MAKE) -C kmod clean
