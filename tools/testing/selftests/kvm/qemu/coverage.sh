#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tells how much of the kernel's pre-fault code the tests have run.
#
#   coverage.sh KERNEL_OUT RUN-DIR...
#
# KERNEL_OUT is the directory where a kernel with CONFIG_GCOV_KERNEL was built,
# with GCOV_PROFILE_pre_fault.o=y GCOV_PROFILE_pre_fault_batch.o=y
# GCOV_PROFILE_pre_fault_host.o=y and the like on make's command line, by the compiler of
# CROSS_COMPILE. Each RUN-DIR was left by "GCOV=yes boot.sh ..." of that kernel.
# Lines and branches are counted for each run, and for all together.
#
# Lines and branches that no run has executed are listed, with the reason from
# uncovered.txt, which names the function and the text of the line.
# Fails if something is left without a reason.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { sed -n '3,5s/^# *//p' "$0"; exit 2; }
kernel=$(cd "$1" && pwd)
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Files of the machine, as in the kernel's build directory
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

# FILE FUNCTION:TEXT KIND, for each line or branch of our files that was not run; and
# TOTAL FILE lines run branches taken
analyse()
{
	local dir=$1 gcda out=$1/text

	mkdir -p "$out"
	while read -r gcda; do
		local rel=${gcda#"$dir"/}

		cp "$kernel/${rel%.gcda}.gcno" "${gcda%.gcda}.gcno"
		mkdir -p "$out/${rel%.gcda}"
		(cd "$kernel" && "${CROSS_COMPILE:-}gcov" -b -c -o "$(dirname "$gcda")" \
			"$(basename "$gcda")" > /dev/null 2>&1 &&
			mv ./*pre_fault*.gcov "$out/${rel%.gcda}" && rm -f ./*.gcov)
	done < <(find "$dir" -name '*.gcda' | sort)

	find "$out" -name '*pre_fault*.gcov' | sort | while read -r gcda; do
		awk -f "$here/coverage.awk" "$gcda"
	done
}

n=0
for run; do
	n=$((n + 1))
	export out=$work/$n
	unpack "$run/gcov"
	[ -d "$out" ] || { echo "$run/gcov: no coverage data" >&2; exit 1; }
	if [ "$n" = 1 ]; then
		cp -a "$out" "$work/all"
	else
		"${CROSS_COMPILE:-}gcov-tool" merge "$work/all" "$out" -o "$work/merged" > /dev/null
		rm -rf "$work/all"
		mv "$work/merged" "$work/all"
	fi
	echo "$run:"
	analyse "$out" | awk -F '\t' '$1 == "TOTAL"' | awk -F '\t' -f "$here/coverage-sum.awk"
done

echo "all together:"
analyse "$work/all" > "$work/result"
awk -F '\t' '$1 == "TOTAL"' "$work/result" | awk -F '\t' -f "$here/coverage-sum.awk"

awk -F '\t' '$1 != "TOTAL"' "$work/result" | sort -u |
	awk -F '\t' -v reasons="$here/uncovered.txt" -f "$here/coverage-why.awk"
