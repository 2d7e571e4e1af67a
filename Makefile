# SPDX-License-Identifier: GPL-2.0
#
# The one way in: the work itself is done by scripts/ and by the kernel's own
# makefiles. "make help" tells what there is.

MAKEFLAGS += --no-print-directory

# What these are in the caller's environment is none of our business.
T :=
CHECK :=
CPU :=
DEBUG :=
RELEASE :=
SEED :=
LINUX :=
FORCE :=
STRICT :=
SIGNOFF :=
V ?=
# All are tested where none is named.
ARCHS := $(or $(ARCH),x86_64 arm64)
ARCH ?= x86_64
export ARCH ARCHS CHECK CPU DEBUG FORCE LINUX RELEASE SEED SIGNOFF STRICT T V

.PHONY: all tree kernel run bench test regress series deb sync shell clean help
.NOTPARALLEL:

all: help

ifneq ($(filter kernel run bench test regress shell,$(MAKECMDGOALS)),)
ifeq ($(filter x86_64 arm64,$(ARCH)),)
$(error ARCH=$(ARCH): x86_64 or arm64)
endif
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

test: tree
	@for arch in $(ARCHS); do ARCH=$$arch scripts/packages test || exit; done
	@scripts/test

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
make tree      unpack Linux 6.1 to build/linux, lay our files in, apply our edits
make kernel    build the small kernel; the last line is where its image is
make run       boot it under emulation and show what pre-faulting buys
make bench     measure it against the upstream kernel, 6.12: a table, a plot
               and which goals are met, in build/bench
make test      build and run all tests; the last line counts them
make regress   run the kernel's own KVM selftests on the base and on ours, and
               compare what a guest's faults and exits cost; make test does, too
make series    write the patches, for git am, to build/series
make deb       build kvm-pre-fault-dkms, Debian's package with the modules for
               the stock kernel, in build/deb
make sync      take what was edited in build/linux back into our files
make shell     a shell in the emulated machine
make clean     remove build/, where everything made is
make help      this text

LINUX=PATH     another 6.1.y than Debian's: a directory or a tarball
ARCH=arm64     make kernel, run, bench, test, regress, shell: cross-built, and on
               arm64's machines; make bench has no other kernel to compare with
               there, make test takes both architectures unless told which one
T=NAME         make test: run only the test of that name
CPU=amd|intel  make test: run only the machines of that maker
DEBUG=1|kcsan  make test: run only the machines with the debug kernel (lockdep,
               KASAN, UBSAN and more, or KCSAN)
RELEASE=1      make test: take as long as befits a release
SEED=N         make test: the random numbers that a failure was printed with
V=1            show all output of long steps; it is in build/log/ anyway
FORCE=1        make tree: our files win over edits made in build/linux,
               make sync: the edits win
STRICT=1       make bench: a goal that is missed is a failure
CHECK=1        make series: try each patch as a maintainer would: it builds for all
               architectures (or for that of CHECK=x86_64, i386, arm64), with
               nothing new said by the compiler and by sparse, and the kernel's
               scripts for patches have nothing to say
SIGNOFF=1      make series: add your Signed-off-by
CCACHE_DIR=DIR the compiler cache, instead of build/ccache
endef

help:
	$(info $(help_text))
	@:
