#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Make the runs of the table "machines", or those named, and print one TAP stream without
# numbers. With -n, only print the kernels and initramfs that the runs need, as targets of
# the Makefile.
#
#   test.sh [-n] [RUN...]
#
# Environment: ARCH; BUILD_PATH, KERNEL_IMAGE; KERNEL_VERSION; T, the name of a test or
# a WHAT of the table; CPU, the vendor of the machines; DEBUG, the sanitizer whose kernel
# to use everywhere; BRIEF=1, for the small kernel everywhere and fewer runs; RELEASE=1,
# for the runs, rounds and limits of a release; SEED, of random numbers; JOBS, the number
# of runs at the same time; TEST_ARGS, further arguments of the selftest, which override
# those of the table.
set -euf

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

. "$here/table.sh"
read_table "$here/machines"

die()
{
	echo "test.sh: $*" >&2
	exit 2
}

# at_least WANTED VERSION: succeed if VERSION is WANTED or later
at_least()
{
	printf '%s\n' "$@" | sort -CV
}

# has_test NAME FOLDER...: succeed if a source in these folders has a test of that name
has_test()
{
	(cd "$here/../pre_fault" && find "${@:2}" -name '*.c' -exec cat {} +) |
		grep -E "^\s*PF_TEST[A-Z_]*\($1\)" > /dev/null
}

# take RUN: set the variables of the table's columns for a run
take()
{
	read -r machine what base when kernel rounds seconds program <<< "${runs[$1]}"
	read -r arch emulator _ _ slow limit _ <<< "${machines[$machine]}"
	if [ "${RELEASE:-}" = 1 ]; then
		rounds=${rounds#*/}
		limit=${limit#*/}
	fi
	[ -z "${DEBUG:-}" ] || slow=${slow#*/}
}

# Succeed if CPU=, BRIEF= and DEBUG= allow the run that was taken.
chosen()
{
	case $base in
	-*)	at_least "$KERNEL_VERSION" "${base#-}" ;;
	*-)	at_least "${base%-}" "$KERNEL_VERSION" ;;
	esac &&
	[[ $arch == "$ARCH" && $machine == "${CPU:-}"* ]] &&
	[[ $when == brief || -z ${BRIEF:-} ]] &&
	[[ $when != long || ${RELEASE:-} == 1 || -n ${CPU:-} ]] &&
	[[ -z ${DEBUG:-} || $kernel != count* && $emulator:${CPU:-} != bochs: ]]
}

# Print the kernel of the run that was taken.
image()
{
	case $kernel:${BRIEF:-} in
	count* | kasan:?*)	echo kernel ;;
	slim:*)			echo "kernel${DEBUG:+-$DEBUG}" ;;
	*)			echo "kernel-${DEBUG:-kasan}" ;;
	esac
}

# Print the program that init runs, with its arguments.
command_line()
{
	sed "s/ N\\>/ ${rounds%/*}/; s/ S\\>/ ${slow%/*}/; s/ SEED\\>/ $seed/
	     ${single:+s/ -[gt] [^ ]*//g; s/ -B\\>//; s/\$/ -t $single/}" <<< "$program"
}

# Pass the results in file $1 on.
emit()
{
	cat "$1"
	count=$((count + $(grep -cE '^(not )?ok ' "$1" || :)))
	failures=$((failures + $(grep -c '^not ok ' "$1" || :)))
}

say()
{
	[ -z "$tty" ] || printf '\r\033[K' >&2
	echo "# $*"
}

start()
{
	local run=$1 dir=$out/$1 mode=log cpus=1 gcov='' initrd=initramfs image words

	take "$run"
	case $kernel in
	# Waits for locks need two CPUs. QEMU before 8.1 does not let two CPUs take turns
	# when it counts instructions.
	count2)	! at_least 8.1 "$("qemu-system-${arch/arm64/aarch64}" --version |
			sed -n 's/.* version \([0-9]*\.[0-9]*\).*/\1/p')" || cpus=2 ;;&
	count*)	mode=count ;;
	esac
	[ "$program" != guest_test ] || initrd=initramfs-guest
	image=$(image)
	if [ "$image" = kernel-kasan ]; then
		gcov=yes
		covered+=("$dir")
	fi
	[ "$what" != test ] || program+=" ${TEST_ARGS:-}"
	read -ra words <<< "$(command_line)"
	rm -rf "${dir:?}"
	mkdir -p "$dir"
	say "$run: $image boots to ${words[*]} (log in $dir/console)"
	KERNEL=$BUILD_PATH/$image/$KERNEL_IMAGE \
	INITRD=$BUILD_PATH/$initrd.cpio.gz LIMIT=${LIMIT:-$((${limit%/*} * 60))} \
	MODE=$mode SMP=$cpus GCOV=$gcov \
		"$here/boot.sh" "$machine" "$dir" "${words[@]}" \
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

need=
[ "${1:-}" != -n ] || { need=yes; shift; }
for name; do
	[ -n "${runs[$name]:-}" ] || die "no run $name in $here/machines"
done

# Find the WHAT that T= asks for, and the single test that it names.
asked=$t
single=
folder=${ARCH/x86_64/x86}
folder=${folder/riscv64/riscv}
if [[ $t == cgroup_* ]]; then
	asked=cgroup single=$t
elif [ -n "$t" ] && ! printf '%s\n' "${runs[@]}" | grep -q "^[^ ]* $t "; then
	single=$t
	if has_test "$t" latency; then
		asked=latency
	elif has_test "$t" api mapping race "$folder"; then
		asked="test"
	fi
fi

names=("$@")
[ $# -gt 0 ] || names=("${!runs[@]}")
mapfile -t pending < <(
	for name in "${names[@]}"; do
		take "$name"
		[ $# -gt 0 ] || chosen || continue
		if [[ -z $t || $what == "$asked" ||
		      -z $single && $program == "pre_fault_${t}_test"* ]]; then
			echo "$seconds $name"
		fi
	done | sort -rn | cut -d ' ' -f 2
)

if [ -n "$need" ]; then
	for name in "${pending[@]}"; do
		take "$name"
		image
		[ "$program" != guest_test ] || echo initramfs-guest
	done | sort -ru
	exit
fi

[ ${#pending[@]} -gt 0 ] || [ "$t" = scan ] ||
	die "nothing to run${t:+ for T=$t}${CPU:+ on CPU=$CPU}"
trap 'stop_all 130' INT TERM
trap 'stop_all $?' EXIT
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
