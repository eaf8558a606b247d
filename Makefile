# SPDX-License-Identifier: GPL-2.0
# These are all entry points of the repository. Each target does its own set-up.

# Neither make nor Kbuild can handle blanks in a path. Each script checks at once for
# the other characters that a path may not have (tools/lib.sh).
ifneq ($(words $(CURDIR)),1)
$(error no blanks in the path of the checkout, please: $(CURDIR))
endif
BUILD ?= build
ifneq ($(words $(BUILD)),1)
$(error no blanks in BUILD, please: $(BUILD))
endif
JOBS ?= $(shell nproc)
override BUILD := $(abspath $(BUILD))
export BUILD JOBS

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help deps deps-check preflight tree kernel kernel-debug shell demo test test-all guest guest-count \
	bench bench-base bench-irqsoff growth size format-patch refresh check bisect clean distclean

help:
	@awk -F ':.*## ' '/^# --- / { print "\n" substr($$0, 7) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  BUILD=DIR (build), JOBS=N (CPUs), LINUX_TARBALL=FILE (any 7.3.y)'
	@echo '  make test T=name: one test, or several; tools/test/test.sh -h lists them'
	@echo '  make format-patch G=group, make bisect G=group: one group of the series, or several'

deps:
	@tools/deps.sh build vm model

deps-check:
	@tools/deps.sh build vm model check

# --- Try it

demo: kernel ## see it work: direct I/O into memory without struct pages
	@tools/bench/demo.sh

shell: kernel ## a shell in the virtual machine
	@tools/vm/vm.sh -i

guest: kernel ## a guest of QEMU and KVM on such memory, compared with a static memmap
	@tools/guest/guest.sh

guest-count: kernel ## the same without KVM, by instructions: slower, undisturbed by load
	@tools/guest/guest.sh -c

# --- Test it

test: preflight tree ## what takes minutes, on one kernel
	@tools/test/test.sh $(or $(T),test)

test-all: preflight tree ## everything, with the debug kernel, guests, 1 TiB, hibernation
	@tools/test/test.sh all

check: deps-check tree ## checkpatch, sparse, W=1, kernel-doc, shellcheck
	@tools/series/check.sh

bisect: tree ## build the kernel at every commit of the series
	@tools/series/bisect.sh $(G)

# --- Measure it

bench: kernel ## I/O and pins, into RESULTS.md; fails if a limit of tools/bench/limits is missed
	@tools/deps.sh bench
	@tools/bench/bench.sh -l
	@tools/bench/results.sh bench $(BUILD)/bench/bench.txt

bench-base: kernel ## what the series costs those who don't use it
	@tools/deps.sh bench
	@tools/bench/bench.sh -l -b
	@tools/bench/results.sh bench-base $(BUILD)/bench/base.txt

growth: tree ## how cost grows with blocks, sections and threads, without a machine
	@tools/deps.sh bench vm
	@tools/bench/growth.sh -l
	@tools/bench/results.sh growth $(BUILD)/bench/growth.txt

bench-irqsoff: preflight tree ## how long interrupts are off in a pin: a kernel of its own
	@tools/deps.sh bench
	@tools/vm/kernel.sh irqsoff
	@tools/bench/bench.sh -l -i
	@tools/bench/results.sh bench-irqsoff $(BUILD)/bench/irqsoff.txt

size: kernel ## what the series adds to the kernel's image
	@tools/deps.sh bench
	@tools/bench/size.sh
	@tools/bench/results.sh size $(BUILD)/size.txt

# --- Change it

tree: deps ## the base with the series as commits, in build/linux
	@tools/series/compose.sh

# This tries early what can fail, before the steps that take long.
preflight: deps
	@tools/vm/vm.sh -C

kernel: preflight tree ## build the kernel under test
	@tools/vm/kernel.sh normal

kernel-debug: preflight tree ## build it with KASAN, lockdep and other checkers
	@tools/vm/kernel.sh debug

refresh: deps ## write the commits of build/linux back to the series
	@tools/series/refresh.sh

format-patch: tree ## each group as one would mail it (SIGNOFF=1 signs off)
	@tools/series/format-patch.sh $(G)

clean: ## remove what was built, keep the tree
	[ ! -d "$$BUILD" ] || { cd "$$BUILD" && rm -rf out side log vm patches tmp.* test demo \
		demo.txt guest user model bench size.txt programs guest.txt guest-count.txt; }

distclean: ## remove the tree and downloads as well
	@tools/series/refresh.sh -n || [ -n "$(FORCE)" ] || \
		{ echo "FORCE=1 removes it all the same" >&2; exit 1; }
	$(MAKE) --no-print-directory clean
	rm -rf "$$BUILD/linux" "$$BUILD/download"
