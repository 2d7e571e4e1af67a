#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the runs named, and one TAP stream of it all.
#
#   test.sh RUN...
#
# A run is named for its machine and, if that is not the selftest, for what is
# done there: MACHINE-stress, MACHINE-fuzz, MACHINE-latency (with a clock that
# counts instructions), MACHINE-cgroup (its tests that need cgroups),
# MACHINE-guest (Linux in tools/kvm/pre_fault) or MACHINE-upstream (upstream's
# test of its own ioctl).
#
# Environment: BUILD_PATH, KERNEL_IMAGE; T, the one test to run, or one of those
# other programs;
# DEBUG, the sanitizer whose kernel is wanted everywhere; BRIEF=1, for the slim
# kernel everywhere; RELEASE=1, to take as long as befits a release; SEED, of
# random numbers; JOBS, how many runs are made at the same time; TEST_ARGS, the
# selftest's arguments instead of ours.
set -euf
shopt -s extglob

here=$(cd "$(dirname "$0")" && pwd)
out=$BUILD_PATH/test
t=${T:-}
seed=${SEED:-$(($(date +%s) % 100000000))}
count=0
failures=0
declare -A pid_of=() started=()
pending=()
covered=()
tty=
[ ! -t 2 ] || tty=yes
limit=1800
[ "${RELEASE:-}" != 1 ] || limit=14400

# Number the results in file $1 on from where the stream is
emit()
{
	local line

	while IFS= read -r line; do
		case $line in
		"ok "*)
			count=$((count + 1))
			line="ok $count ${line#ok }"
			;;
		"not ok "*)
			count=$((count + 1))
			failures=$((failures + 1))
			line="not ok $count ${line#not ok }"
			;;
		esac
		printf '%s\n' "$line"
	done < "$1"
}

say()
{
	[ -z "$tty" ] || printf '\r\033[K' >&2
	echo "# $*"
}

# The sanitizers make Bochs and the legacy MMU too slow: those, and arm64, have them
# only with DEBUG. Latency is measured in the slim kernel's instructions, and Linux in a
# Linux takes its time.
kernel_for()
{
	case $1 in
	*-latency | *-guest)
		echo kernel ;;
	intel* | arm64* | amd-legacy*)
		echo "kernel${DEBUG:+-$DEBUG}" ;;
	*)	if [ -n "${BRIEF:-}" ]; then
			echo kernel
		else
			echo "kernel-${DEBUG:-kasan}"
		fi ;;
	esac
}

# Two CPUs wait for each other's locks, but where instructions are counted, QEMU
# before 8.1 does not let them take turns.
count_cpus()
{
	local version

	version=$(qemu-system-x86_64 --version |
		sed -n 's/.* version \([0-9]*\.[0-9]*\).*/\1/p')
	if printf '%s\n' 8.1 "$version" | sort -CV; then
		echo 2
	else
		echo 1
	fi
}

# The program that init runs, on the kernel command line. Bochs has one CPU, and a
# slow one: fewer rounds, and more time for each.
program_for()
{
	local seconds=60 calls=25000 rounds=100 slow=3

	case $1:${DEBUG:-} in
	arm64*:?*)	slow=16 ;;
	esac
	if [ "${RELEASE:-}" = 1 ]; then
		seconds=600
		calls=1000000
		rounds=1000
	fi
	case $1 in
	intel*-fuzz)	echo "run /bin/pre_fault_fuzz_test -n $((calls / 10)) -r $seed" ;;
	*-stress)	echo "run /bin/pre_fault_stress_test -t $seconds -s 4 -r $seed" ;;
	amd-legacy-fuzz)
			echo "run /bin/pre_fault_fuzz_test -n $((calls * 2 / 5)) -r $seed" ;;
	*-fuzz)		echo "run /bin/pre_fault_fuzz_test -n $calls -r $seed" ;;
	*-latency)	echo "run /bin/pre_fault_latency_test $only" ;;
	*-guest)	echo "run /bin/guest_test" ;;
	*-upstream)	echo "run regress" ;;
	*-cgroup)	echo "run /bin/pre_fault_latency_test -s 30 ${only:--t cgroup_*}" ;;
	# The legacy MMU maps one page at a time: no race is one with a batch.
	# intel-legacy has those races, too.
	amd-legacy)	echo "test ${t:--g !(race/host_pages)} ${TEST_ARGS:--s 3 -r $rounds}" ;;
	intel-legacy-noad)
			echo "test ${t:--B} ${TEST_ARGS:--s 5 -r 10}" ;;
	intel)		echo "test $t ${TEST_ARGS:--s 5 -r 25}" ;;
	intel*)		echo "test $t ${TEST_ARGS:--s 5 -r 10}" ;;
	# Races with the host are the same there as with VHE.
	arm64-nvhe)
			echo "test ${t:--g !(race/host_*)}" \
			     "${TEST_ARGS:--s $slow -r $((rounds / 5))}" ;;
	arm64*)		echo "test $t ${TEST_ARGS:--s $slow -r $((rounds / 5))}" ;;
	*)		echo "test $t ${TEST_ARGS:--s 3 -r $rounds}" ;;
	esac
}

start()
{
	local run=$1 dir=$out/$1 mode=log cpus=1 gcov='' kernel what
	local initrd=initramfs

	case $run in
	# A restored guest's clock jumps where the machine's TSC is not stable.
	*-guest)
		initrd=initramfs-guest
		mode=count ;;
	*-latency)
		mode=count
		cpus=$(count_cpus) ;;
	esac
	kernel=$(kernel_for "$run")
	what=$(program_for "$run")
	if [ "$kernel" = kernel-kasan ]; then
		gcov=yes
		covered+=("$dir")
	fi
	rm -rf "${dir:?}"
	mkdir -p "$dir"
	say "$run: $kernel boots to $what (log in $dir/console)"
	# shellcheck disable=SC2086
	KERNEL=$BUILD_PATH/$kernel/$KERNEL_IMAGE \
	INITRD=$BUILD_PATH/$initrd.cpio.gz LIMIT=${LIMIT:-$limit} MODE=$mode \
	SMP=$cpus GCOV=$gcov \
		"$here/boot.sh" "${run%-@(stress|fuzz|latency|cgroup|guest|upstream)}" \
		"$dir" $what \
		> /dev/null 2> "$dir/boot" &
	pid_of[$run]=$!
	started[$run]=$SECONDS
}

finish()
{
	local run=$1 dir=$out/$1

	wait "${pid_of[$run]}" || :
	unset "pid_of[$run]"
	say "$run: over after $((SECONDS - started[$run])) s"
	[ ! -e "$dir/hung" ] || say "$run: hung at boot, started again ($dir/hung)"
	awk -v machine="$run" -v races="$here/kcsan-known.txt" \
		-f "$here/tap.awk" "$dir/console" > "$dir/tap"
	emit "$dir/tap"
	if ! [ -s "$dir/console" ]; then
		sed "s/^/# $run: /" "$dir/boot" "$dir/emulator" || :
	fi
}

progress()
{
	local run text='' n

	[ -n "$tty" ] || return 0
	for run in "${!pid_of[@]}"; do
		n=$(grep -acE 'lab\| (not )?ok ' "$out/$run/console" || :)
		text="$text  $run: $n done, $((SECONDS - started[$run])) s"
	done
	printf '\r\033[K%s' "$text" >&2
}

# shellcheck disable=SC2317
stop_all()
{
	trap - INT TERM EXIT
	for run in "${!pid_of[@]}"; do
		kill "${pid_of[$run]}" 2> /dev/null || :
	done
	wait
	exit "${1:-130}"
}
trap 'stop_all 130' INT TERM
trap 'stop_all $?' EXIT

# Find the program that has the test.
program=$t
only=
if [ -n "$t" ] && find "$here/../pre_fault/latency" -name '*.c' -exec cat {} + |
		grep -xF -e "	PF_TEST($t)," > /dev/null; then
	only="-t $t"
	case $t in
	cgroup_*)	program=cgroup ;;
	*)		program=count ;;
	esac
fi
for run; do
	case $program:$run in
	:* | stress:*-stress | fuzz:*-fuzz | latency:*-latency | \
	latency:*-cgroup | cgroup:*-cgroup | count:*-latency | guest:*-guest | \
	upstream:*-upstream)
		pending+=("$run") ;;
	stress:* | fuzz:* | latency:* | cgroup:* | count:* | guest:* | scan:* | \
	upstream:* | \
	*-stress | *-fuzz | *-latency | *-cgroup | *-guest | *-upstream)
		;;
	*)
		pending+=("$run") ;;
	esac
done

mkdir -p "$out"
echo "TAP version 13"

if [ -z "$t${BRIEF:-}" ] || [ "$t" = scan ]; then
	"$here/scan-selftest.sh" > "$out/scan" || :
	emit "$out/scan"
fi

while [ ${#pending[@]} -gt 0 ] || [ ${#pid_of[@]} -gt 0 ]; do
	while [ ${#pending[@]} -gt 0 ] && [ ${#pid_of[@]} -lt "${JOBS:-2}" ]; do
		start "${pending[0]}"
		pending=("${pending[@]:1}")
	done
	sleep 1
	for run in "${!pid_of[@]}"; do
		kill -0 "${pid_of[$run]}" 2> /dev/null || finish "$run"
	done
	progress
done

coverage()
{
	local verdict=ok

	"$here/coverage.sh" "$BUILD_PATH/kernel-kasan" "${covered[@]}" \
		> "$out/coverage" 2>&1 || verdict="not ok"
	sed 's/^/# /' "$out/coverage"
	echo "$verdict coverage: at least 90 % of the lines"
}

if [ -z "$t" ] && [ ${#covered[@]} -gt 0 ]; then
	coverage > "$out/tap"
	emit "$out/tap"
fi

echo "1..$count"
[ "$count" -gt 0 ] && [ "$failures" -eq 0 ]
