# SPDX-License-Identifier: GPL-2.0
# Every entry point of the repository. Each target does its own set-up.

BUILD ?= build
JOBS ?= $(shell nproc)
override BUILD := $(abspath $(BUILD))
export BUILD JOBS

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help deps deps-check tree kernel kernel-debug shell demo kunit kunitpy \
	selftest users guest guest-count user model kcsan test bench bench-base size format-patch refresh check bisect \
	test-series clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  BUILD=DIR (build), JOBS=N (CPUs), LINUX_TARBALL=FILE (any 7.3.y)'

deps: ## install what is missing to build and run (Debian packages)
	@tools/deps.sh build vm model

deps-check:
	@tools/deps.sh build vm model check

tree: deps ## the base with the series as commits, in build/linux
	@tools/series/compose.sh

kernel: tree ## build the kernel under test
	@tools/vm/kernel.sh normal

kernel-debug: tree ## build it with KASAN, lockdep and other checkers
	@tools/vm/kernel.sh debug

shell: kernel ## a shell in the virtual machine
	@tools/vm/vm.sh -i

demo: kernel ## see it work: direct I/O into memory without struct pages
	@tools/bench/demo.sh

kunit: kernel ## KUnit tests, in the virtual machine
	@tools/test/test.sh kunit

kunitpy: tree ## KUnit tests by kunit.py, in a kernel of its own
	@tools/test/test.sh kunitpy

selftest: kernel ## kselftests, in the virtual machine
	@tools/test/test.sh selftest

users: kernel ## try all who are handed guest memory, in the virtual machine
	@tools/test/test.sh users users-dm

guest: kernel ## a guest of QEMU and KVM on such memory, compared with a static memmap
	@tools/guest/guest.sh

guest-count: kernel ## the same without KVM, by instructions: slower, but no other load disturbs it
	@tools/guest/guest.sh -c

user: tree ## the pool built in user space: its tests, plain and with sanitizers
	@tools/test/test.sh user user-asan user-tsan

model: deps ## check the model of a block's life (spin)
	@tools/test/host/model.sh

kcsan: tree ## look for data races in the pool, in a kernel of its own
	@tools/test/test.sh -k kcsan kcsan

test: kernel ## all tests
	@tools/test/test.sh all

bench: kernel ## measure: tables in build/bench; fails if a limit of tools/bench/limits is missed
	@tools/deps.sh bench
	@tools/bench/bench.sh -l

bench-base: kernel ## measure what the series costs those who don't use it
	@tools/deps.sh bench
	@tools/bench/bench.sh -l -b

size: kernel ## what the series adds to the kernel's image
	@tools/deps.sh bench
	@tools/bench/size.sh

format-patch: tree ## the series as one would mail it (SIGNOFF=1 signs off)
	@tools/series/format-patch.sh

refresh: deps ## write the commits of build/linux back to the series
	@tools/series/refresh.sh

check: deps-check tree ## checkpatch, sparse, W=1, kernel-doc, shellcheck
	@tools/series/check.sh

bisect: tree ## build the kernel at every commit of the series
	@tools/series/bisect.sh

test-series: deps ## test the scripts that make the series
	@tools/test/host/series.sh

clean: ## remove what was built, keep the tree and the compiler's cache
	rm -rf $(BUILD)/out $(BUILD)/side $(BUILD)/log $(BUILD)/vm $(BUILD)/patches $(BUILD)/tmp.* \
		$(BUILD)/test $(BUILD)/demo $(BUILD)/demo.txt $(BUILD)/guest $(BUILD)/kunit \
		$(BUILD)/user $(BUILD)/model $(BUILD)/bench $(BUILD)/size.txt \
		$(BUILD)/programs $(BUILD)/guest.txt $(BUILD)/guest-count.txt

distclean: ## remove the tree, downloads and cache as well
	@tools/series/refresh.sh -n || [ -n "$(FORCE)" ] || \
		{ echo "FORCE=1 removes it all the same" >&2; exit 1; }
	$(MAKE) --no-print-directory clean
	rm -rf $(BUILD)/linux $(BUILD)/download $(BUILD)/ccache
