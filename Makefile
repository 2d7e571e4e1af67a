# SPDX-License-Identifier: GPL-2.0
#
# The entry point. scripts/ and the kernel's own makefiles do the work. "make help"
# lists the targets and the variables.

MAKEFLAGS += --no-print-directory

variables := ARCH BASE CCACHE_DIR CHECK CPU DEBUG FORCE LINUX RELEASE SEED SIGNOFF \
	     STRICT T V
# Ignore these in the caller's environment. scripts/env.sh drops the rest of the
# environment, but too late for the variables that bash reads before any script.
$(foreach v,$(filter-out CCACHE_DIR V,$(variables)),$(eval $v :=))
unexport BASH_ENV ENV BASHOPTS SHELLOPTS POSIXLY_CORRECT
# Without ARCH=, make test takes all architectures that a base serves.
ARCHS := $(ARCH)
export $(variables) ARCHS

targets := all tree kernel run bench test regress series deb sync shell clean help
.PHONY: $(targets)
.NOTPARALLEL:

all: help

# scripts/env.sh refuses a wrong BASE, ARCH, CHECK or LINUX, and scripts/names a wrong
# T, before anything is installed or unpacked.
given := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v))
unknown := $(filter-out $(variables),$(given))
$(if $(unknown),$(error $(unknown): no such variable, make help lists them))
unknown := $(filter-out $(targets),$(MAKECMDGOALS))
$(if $(unknown),$(error $(unknown): no such target, make help lists them))
one_of = $(if $(filter-out $2,$($1))$(word 2,$($1)),$(error $1=$($1): not one of: $2))
$(call one_of,CPU,amd intel)
$(call one_of,DEBUG,1 kasan kcsan)
$(foreach v,FORCE RELEASE SIGNOFF STRICT,$(call one_of,$v,1))
only_for = $(if $($1),$(if $(filter $2,$(MAKECMDGOALS)),,$(error $1=$($1): only for make $2)))
$(foreach v,CPU DEBUG RELEASE SEED T,$(call only_for,$v,test))
$(foreach v,CHECK SIGNOFF,$(call only_for,$v,series))
$(call only_for,STRICT,bench)
ifeq ($(origin V),command line)
$(call one_of,V,0 1)
endif

tree:
	@scripts/packages tree
	@scripts/tree

kernel run shell: tree
	@scripts/packages $(if $(filter kernel,$@),kernel,run)
	@scripts/lab $@

bench: tree
	@scripts/packages bench
	@scripts/bench

test:
	@BASES=$$(scripts/bases) && export BASES && scripts/names -c && \
	scripts/packages test && \
	for base in $$BASES; do BASE=$$base scripts/tree || exit; done && \
	scripts/test

regress: tree
	@scripts/packages run
	@scripts/regress

series: tree
	@scripts/packages series
	@scripts/series
	@$(if $(CHECK),scripts/review)

deb:
	@scripts/packages deb
	@scripts/deb

sync:
	@scripts/packages series
	@scripts/sync

clean:
	@rm -rf build

define help_text
make tree      unpack the base, a Linux kernel, to build/BASE/linux, lay our files
               in, apply our edits
make kernel    build the small kernel; the last line names its image
make run       boot it under emulation and show what pre-faulting saves
make bench     measure it against upstream's ioctl: a table, a plot and the
               goals met or missed, in build/BASE/bench
make test      build and run all tests, on all bases; the last line counts them
make regress   run the kernel's own KVM selftests on the base and on ours, and
               compare the cost of a guest's faults and exits
make series    write the patches, for git am, to build/BASE/series
make deb       build kvm-pre-fault-dkms, Debian's package with the modules for
               stock kernels, in build/deb
make sync      copy the edits made in build/BASE/linux back into our files
make shell     a shell in the emulated machine
make clean     remove build/, which holds everything that make wrote
make help      this text

BASE=V         the kernel series to work on: $(bases). Default: the series of
               this Debian ($(default)); make test takes all of them
LINUX=PATH     another kernel than Debian's of that series, a directory or a
               tarball; without BASE=, it is for the nearest base
ARCH=arm64     make kernel, run, bench, test, regress, shell: cross-build, and use
               arm64's machines, for a base that serves arm64, or the same for
               riscv64; without ARCH=, make test takes all architectures
T=NAME         make test: run only the test of that name (scripts/names lists them)
CPU=amd|intel  make test: run only the machines of that vendor
DEBUG=1|kcsan  make test: run only the machines with the debug kernel (lockdep,
               KASAN, UBSAN and more, or KCSAN)
RELEASE=1      make test: run everything in full, as before a release
SEED=N         make test: the seed of random numbers, as printed with a failure
V=1            show all output of long steps; build/log/ has it in any case
FORCE=1        make tree: our files win over edits made in build/BASE/linux,
               make sync: the edits win
STRICT=1       make bench: fail if a goal is missed
CHECK=1        make series: check each patch as a maintainer would: build it for all
               architectures that it could break (or for one: CHECK=x86_64, i386,
               arm64, riscv64, s390), without a new warning of the compiler or of
               sparse, and run the kernel's scripts for patches
SIGNOFF=1      make series: add your Signed-off-by
CCACHE_DIR=DIR the compiler cache, instead of build/ccache
endef

help: bases = $(shell scripts/bases -l 2>/dev/null)
help: default = $(shell scripts/bases -d 2>/dev/null)
help:
	$(info $(help_text))
	@:
