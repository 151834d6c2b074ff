# plyfs: `make` alone lists what can be made.
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
# mount(8) looks for its helpers here and nowhere else.
SBINDIR ?= /sbin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# Static binaries: the same file runs in any container and any initramfs.
export CGO_ENABLED := 0
LDFLAGS     := -s -w -X github.com/plyfs/plyfs/cmd/internal/cli.Version=$(VERSION)
BUILD_FLAGS := -trimpath -ldflags "$(LDFLAGS)"
# plyfs begins before the runtime does (cmd/plyfs/entry.go).
ifeq ($(shell $(GO) env GOARCH),amd64)
BUILD_FLAGS += -ldflags "github.com/plyfs/plyfs/cmd/plyfs=$(LDFLAGS) -E main.entry"
endif

# The race detector needs cgo and doesn't see the node table's memfd, so the
# rooms below run twice: here with -race, and as they are with everything else.
RACE_ROOMS := $(foreach d,sys layer dialect index node union fusefs fail,$(if $(wildcard fs/$(d)/*_test.go),./fs/$(d)))
RACE_ROOMS += ./snapshot/... ./cmd/internal/mountd
# containerd's suite takes minutes with it, and the other waits for ten seconds.
RACE_FLAGS := -race -short -skip '^(TestSuite|TestServerStopped)'
# One package at a time: a test that makes a mount namespace keeps the others'
# mounts alive in it.
TEST_FLAGS := -count=1 -vet=off -timeout=25m

# Kept by name for whoever runs them in parts: make test TESTS=./fs/union
TESTS ?= ./...

# How long `make soak` runs.
SOAK ?= 1h

# How long `make fuzz` runs each target.
FUZZ ?= 5m

# What `make bench` measures; more binaries: make bench BENCH="-plyfs new=/tmp/plyfs"
BENCH ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## static binaries in bin/
	@mkdir -p bin
	@if compgen -G 'cmd/plyfs/*.go' >/dev/null; then $(GO) build $(BUILD_FLAGS) -o bin/ ./cmd/...; fi

# Builds what it shows and nothing else: it is what one tries first.
demo: ## a union, a copy of this machine that is thrown away, a container with limits: step by step
	@mkdir -p bin
	@$(GO) build $(BUILD_FLAGS) -o bin/ ./cmd/plyfs
	@integration/demo/demo.sh bin/plyfs

cast: build ## the picture of the README: types a session into a real shell; docs/cast.svg
	@$(GO) run ./integration/cast -write docs/cast.svg

setup: ## packages, /dev/fuse and the user that the tests need (as root; else says what is missing)
	@integration/setup/setup.sh

test: setup build ## everything that CI runs; installs what it needs
	@( rc=0; \
	if [[ '$(TESTS)' == ./... && -n '$(RACE_ROOMS)' ]]; then \
		CGO_ENABLED=1 $(GO) test -json $(RACE_FLAGS) $(TEST_FLAGS) $(RACE_ROOMS) || rc=1; fi; \
	$(GO) test -json -p 1 $(TEST_FLAGS) $(TESTS) || rc=1; \
	exit $$rc ) 2>&1 | $(GO) run ./integration/report

test-vm: build ## in a virtual machine: Linux 6.1, cgroups of version 2, systemd; minutes
	@integration/setup/setup.sh vm
	@$(GO) test -tags vm $(TEST_FLAGS) -timeout=40m -v ./integration/vm

# Rooms whose tests neither mount nor start themselves again: the emulator is no
# interpreter that the kernel knows of.
ARCH_ROOMS ?= ./fs/sys ./fs/node ./cmd/internal/cli ./container/cgroup

test-arch: ## builds for arm64 and 32-bit arm, and runs the unit tests of both under qemu-user; minutes
	@integration/setup/setup.sh arch
	@for a in arm64:aarch64 arm:arm; do \
		echo "== $${a%:*}"; \
		GOARCH=$${a%:*} $(GO) build ./cmd/... ./fs/... ./container/... ./snapshot/... ./plugin/...; \
		GOARCH=$${a%:*} $(GO) test -exec qemu-$${a#*:}-static -count=1 -short -vet=off $(ARCH_ROOMS); \
	done

test-fresh: ## git clone && make demo in a new Debian with git, make and Go only, as root and as a user; minutes
	@integration/fresh/fresh.sh

dist: ## reproducible static tarballs for amd64 and arm64 with checksums and a list of modules, in bin/dist
	@integration/dist/dist.sh $(VERSION) bin/dist

deb: build ## a Debian package in bin/dist
	@integration/dist/deb.sh $(VERSION) bin/dist
	@if command -v lintian >/dev/null; then lintian --tag-display-limit 0 --fail-on error,warning bin/dist/*.deb; fi

test-dist: ## makes dist twice, from two directories, and compares
	@integration/dist/compare.sh $(VERSION)

lint: ## formatting, vet, staticcheck, and the house rules
	@files=$$($(GO) tool gofumpt -l .); [[ -z $$files ]] || { echo "not formatted (go tool gofumpt -w FILE):"; echo "$$files"; exit 1; }
	@$(GO) vet ./...
	@$(GO) tool staticcheck ./...
	@$(GO) vet -tags vm ./integration/vm/...
	@$(GO) tool staticcheck -tags vm ./integration/vm/...
	@$(GO) test -count=1 ./integration/house

bench: setup build ## compares with the disk, kernel overlayfs and fuse-overlayfs; rewrites the tables and charts of docs/performance.md
	@$(GO) run ./integration/bench -plyfs plyfs=bin/plyfs -write docs/performance.md $(BENCH)

bench-quick: setup build ## a small version of it, in less than 4 minutes; prints the table
	@$(GO) run ./integration/bench -plyfs plyfs=bin/plyfs -quick $(BENCH)

bench-snapshotter: setup build ## the snapshotter beside containerd's overlayfs and fuse-overlayfs'; its table in docs/performance.md
	@PLYFS_FIGURES=$(CURDIR)/docs/performance.md $(GO) test -count=1 -timeout=30m -run 'TestFigures$$' -v ./integration/containerd

bench-images: setup build ## images beside podman and containerd: load, run, commit
	@PLYFS_FIGURES=3 $(GO) test -count=1 -timeout=60m -run 'TestImageFigures$$' -v ./integration/containerd

bench-index: ## how long the index file of a million files takes to build and to open
	@PLYFS_FIGURES=1000000 $(GO) test -count=1 -timeout=20m -run TestIndexFigures -v ./fs/union

bench-start: setup build ## how long a container and a sandbox take to start, beside crun and bubblewrap
	@$(GO) run ./integration/startup -plyfs plyfs=bin/plyfs -write docs/performance.md $(BENCH)

soak: setup build ## random operations against kernel overlayfs, and random kills of daemons, for SOAK=1h each
	@PLYFS_SOAK=$(SOAK) $(GO) test -count=1 -timeout=0 -run Soak -v ./fs/... ./container/... ./integration/...

fuzz: ## every fuzz target for FUZZ=5m (or FUZZ=1000x executions) each
	@PLYFS_FUZZ=$(FUZZ) $(GO) test -count=1 -timeout=0 -run FuzzSoak -v ./integration/fuzz

man: build ## manual pages in bin/man, made of what -h says
	@rm -rf bin/man && mkdir -p bin/man && bin/plyfs man bin/man && gzip -9n bin/man/*.1

install: build man ## to DESTDIR, PREFIX=/usr/local; also the helper of mount(8), manual pages, completion, the daemon
	install -D -m 0755 bin/plyfs $(DESTDIR)$(PREFIX)/bin/plyfs
	install -D -m 0755 bin/containerd-plyfs-grpc $(DESTDIR)$(PREFIX)/bin/containerd-plyfs-grpc
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
	install -m 0644 bin/man/*.1.gz $(DESTDIR)$(PREFIX)/share/man/man1/
	bin/plyfs completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/plyfs
	bin/plyfs completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_plyfs
	bin/plyfs completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/plyfs.fish
	install -D -m 0755 bin/plyfs-image $(DESTDIR)$(PREFIX)/bin/plyfs-image
	mkdir -p $(DESTDIR)$(SBINDIR)
	ln -sfn $(PREFIX)/bin/plyfs $(DESTDIR)$(SBINDIR)/mount.fuse3.plyfs

clean: ## removes bin/
	rm -rf bin

.PHONY: help build man demo cast setup test test-vm test-arch test-fresh dist deb test-dist lint bench bench-quick bench-snapshotter bench-index bench-start soak fuzz install clean
