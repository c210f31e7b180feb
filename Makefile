# Weft's commands. `make` alone prints them. Needed: Go and GNU make; what else a target needs, it installs itself on a
# Debian machine when it is run as root, and names otherwise.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-kube test bench build image manifests lint cross clean go setup

export PATH    := $(PATH):/usr/sbin:/sbin
export GOFLAGS := $(strip $(filter-out -buildvcs=%,$(GOFLAGS)) -buildvcs=false)

VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
PLUGINS     := github.com/containernetworking/plugins
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ARCHES      := amd64 arm64 arm riscv64 ppc64le s390x
IMAGEARCHES ?= amd64 arm64
IMAGE       ?= docker.io/library/weft:latest
MODULE      := github.com/weft-network/weft
COMMANDS    := ./cmd/weftd ./cmd/weft ./cmd/weftctl
DELEGATES   := $(addprefix $(PLUGINS)/plugins/,main/bridge main/loopback ipam/host-local meta/portmap meta/bandwidth)
# Without its trace pages, which nobody serves, gRPC leaves a fifth of weftd to the linker to throw away.
STATIC      := CGO_ENABLED=0 go build -trimpath -tags grpcnotrace
LDFLAGS      = -s -w -X main.version=$(VERSION)

help: ## print this menu
	@echo 'Weft: an address for every pod, reachable from every node.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: build ## three nodes and six pods on this machine: every pair pinged, then a way to look inside
	@bin/weftctl lab demo

demo-kube: setup build ## a real Kubernetes cluster on this machine, as root: nodes, pods, a Service, every pair tried
	@bin/weftctl lab kube demo

# Two packages keep both processors busy for long. The others, many of which count packets, go before them, and they one after the other.
test: setup lint cross ## everything: lint, builds for all machines, all tests (kernel, end to end, documentation)
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT
	failed=
	race() { CGO_ENABLED=1 go test -race -timeout 60m "$$@" 2>&1 | tee -a "$$log" || failed=yes; }
	long='./lab/kube/e2e ./lab/vm/suites'
	echo "go test -race ./..., without $$long"
	race -p 2 $$(go list ./... | grep -vxF "$$(go list $$long)")
	echo "go test -race $$long"
	for package in $$long; do race $$package; done
	if [ "$$failed" ]; then
	  echo; echo 'What failed, without what was logged about it:'
	  grep -E '^(FAIL|panic:|WARNING: DATA RACE)|^ *--- FAIL|^ +[a-z_]+_test\.go:[0-9]+: ' "$$log" | cut -c1-400 | tail -n 60
	  exit 1
	fi
	go test -C dist/image ./...
	go test -C dist/manifests ./...

bench: go ## measure at 1,000 and 5,000 peers: start, change to route, repair, memory, CPU, pod attach
	go run ./bench

build: go ## static binaries in bin/, the CNI plugin and its delegates in bin/cni/
	@mkdir -p bin/cni
	@new=$$(mktemp -d bin/.build.XXXXXX); trap 'rm -rf "$$new"' EXIT; mkdir "$$new/cni"
	$(STATIC) -ldflags '$(LDFLAGS)' -o "$$new/" $(COMMANDS)
	plugins=$$(go list -m -f '{{.Version}}' $(PLUGINS))
	$(STATIC) -ldflags "-s -w -X $(PLUGINS)/pkg/utils/buildversion.BuildVersion=$$plugins" -o "$$new/cni/" $(DELEGATES)
	cp "$$new/weft" "$$new/cni/weft"
	mv -f "$$new"/cni/* bin/cni/; mv -f "$$new"/weft* bin/
	echo "built $(VERSION): $$(cd bin && ls -d weft* cni/* | xargs)"

image: go ## an OCI image for amd64 and arm64 in bin/weft-image.tar, and what is in it in bin/weft-image.cdx.json
	@root=$$(mktemp -d); trap 'rm -rf "$$root"' EXIT
	plugins=$$(go list -m -f '{{.Version}}' $(PLUGINS))
	for arch in $(IMAGEARCHES); do
	  echo "go build linux/$$arch"
	  usr="$$root/$$arch/usr/local/bin/" cni="$$root/$$arch/opt/cni/bin/"
	  mkdir -p bin "$$usr" "$$cni"
	  export GOOS=linux GOARCH=$$arch
	  $(STATIC) -ldflags '$(LDFLAGS)' -o "$$usr" ./cmd/weftd ./cmd/weftctl
	  $(STATIC) -ldflags '$(LDFLAGS)' -o "$$cni" ./cmd/weft
	  $(STATIC) -ldflags "-s -w -X $(PLUGINS)/pkg/utils/buildversion.BuildVersion=$$plugins" -o "$$cni" $(DELEGATES)
	done
	unset GOOS GOARCH
	go run -C dist/image . -name $(IMAGE) -version $(VERSION) -title weft -licenses Apache-2.0 -source https://$(MODULE) \
	  $(addprefix -arch ,$(IMAGEARCHES)) -entrypoint /usr/local/bin/weftd -env PATH=/usr/local/bin \
	  -root "$$root" -out '$(CURDIR)/bin/weft-image.tar' -sbom '$(CURDIR)/bin/weft-image.cdx.json'

manifests: go ## render dist/chart into dist/kubernetes/weft.yaml
	go run -C dist/manifests . ../chart ../kubernetes/weft.yaml

lint: go ## gofmt, go vet, staticcheck
	@echo 'gofmt, go vet, staticcheck'
	unformatted=$$(gofmt -l .)
	[[ -z $$unformatted ]] || { echo "gofmt would change:" $$unformatted >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	go vet -C dist/image ./...
	go vet -C dist/manifests ./...

cross: go ## build for every machine that Weft supports, keeping nothing
	@for arch in $(ARCHES); do
	  echo "go build linux/$$arch"
	  GOOS=linux GOARCH=$$arch $(STATIC) -o /dev/null $(COMMANDS)
	done

clean: ## remove what make made
	rm -rf bin

# go fails early, with the remedy, where there is no Go.
go:
	@command -v go >/dev/null || { echo 'Go is missing: install 1.26 or newer from https://go.dev/dl' >&2; exit 1; }

# setup installs what is needed beside Go, as program:package. The tests need a C compiler for the race detector, and the
# programs with which they look at the kernel from outside; a cluster's nodes need a runtime and kube-proxy's program; other
# kernels need a virtual machine, and what takes them out of their packages.
NEEDS = gcc:gcc gcc:libc6-dev nft:nftables iptables:iptables ip:iproute2 runc:runc \
  qemu-system-x86_64:qemu-system-x86 depmod:kmod xz:xz-utils zstd:zstd lz4:lz4
demo-kube: NEEDS = nft:nftables iptables:iptables ip:iproute2 runc:runc
setup: go
	@missing=()
	for need in $(NEEDS); do command -v "$${need%:*}" >/dev/null || missing+=("$${need#*:}"); done
	(( $${#missing[@]} )) || exit 0
	if [[ $$(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
	  echo "these packages are needed, which are not installed: $${missing[*]}" >&2
	  echo "  as root: apt-get install $${missing[*]}" >&2
	  exit 1
	fi
	echo "installing $${missing[*]}"
	exec 9>/run/weft-setup.lock; flock 9
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q update </dev/null
	apt-get -qy install --no-install-recommends "$${missing[@]}" </dev/null

# One shell for a whole recipe, so that variables and traps live as long as it.
.ONESHELL:
