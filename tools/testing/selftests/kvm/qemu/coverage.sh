#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Print the coverage of the series's files in the kernel, by gcovr.
#
#   coverage.sh KERNEL_OUT RUN-DIR...
#
# KERNEL_OUT is the directory of a kernel that was built with CONFIG_GCOV_KERNEL
# and GCOV_PROFILE_FILE.o=y for these files. Each RUN-DIR is from a run of that kernel
# with "GCOV=yes boot.sh ...". Fail if less than 90 % of the lines were executed.
set -eu

[ $# -ge 2 ] || { echo "usage: coverage.sh KERNEL_OUT RUN-DIR..." >&2; exit 2; }
kernel=$(cd "$1" && pwd)
source=$(cd "$kernel/source" && pwd -P)
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Unpack the machine's files as in the kernel's build directory.
unpack()
{
	perl -ne '
		if (m,/(virt|arch)/(.*)\.gcda$,) {
			$name = "$ENV{out}/$1/$2.gcda";
			system("mkdir", "-p", $name =~ s,/[^/]*$,,r);
		} elsif ($name) {
			chomp;
			open(my $f, ">", $name) or die "$name: $!";
			print $f pack("H*", $_);
			undef $name;
		}' "$1"
}

n=0
for run; do
	n=$((n + 1))
	export out=$work/$n
	unpack "$run/gcov"
	[ -d "$out" ] || { echo "$run/gcov: no coverage data" >&2; exit 1; }
done

find "$work" -name '*.gcda' | while read -r gcda; do
	object=${gcda#"$work"/*/}
	cp "$kernel/${object%.gcda}.gcno" "${gcda%.gcda}.gcno"
done

# gcov finds the source from there.
cd "$kernel"
gcovr --gcov-executable "${CROSS_COMPILE:-}gcov" --object-directory "$kernel" \
	--root "$source" --filter '.*pre_fault' --txt "$work/lines" --print-summary \
	--fail-under-line 90 "$work" > "$work/summary" || status=$?
cat "$work/lines" "$work/summary"
exit "${status:-0}"
