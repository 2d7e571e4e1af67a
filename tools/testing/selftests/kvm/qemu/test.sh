#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the selftest on the machines named, and makes one TAP stream of it all.
#
#   test.sh MACHINE...
#
# Environment: BUILD_PATH; T, the one test to run; JOBS, how many machines run
# at the same time; TEST_ARGS, more arguments for the selftest.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$BUILD_PATH/test
t=${T:-}
count=0
failures=0
declare -A pid_of=() started=()
pending=("$@")
tty=
[ ! -t 2 ] || tty=yes

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

start()
{
	local machine=$1 limit=900 args=''

	case $machine in
	intel*)
		# Bochs has one CPU, and that is slow
		limit=1500
		args='-s 5 -r 50'
		;;
	esac
	rm -rf "${out:?}/$machine"
	mkdir -p "$out/$machine"
	say "$machine: boots (log in $out/$machine/console)"
	# shellcheck disable=SC2086
	KERNEL=$BUILD_PATH/kernel-debug/arch/x86/boot/bzImage \
	INITRD=$BUILD_PATH/initramfs.cpio.gz LIMIT=${LIMIT:-$limit} MODE=log \
		"$here/boot.sh" "$machine" "$out/$machine" test $t \
		${TEST_ARGS:-$args} > /dev/null 2> "$out/$machine/boot" &
	pid_of[$machine]=$!
	started[$machine]=$SECONDS
}

finish()
{
	local machine=$1 dir=$out/$1

	wait "${pid_of[$machine]}" || :
	unset "pid_of[$machine]"
	say "$machine: over after $((SECONDS - started[$machine])) s"
	awk -v machine="$machine" -f "$here/tap.awk" "$dir/console" > "$dir/tap"
	emit "$dir/tap"
	if ! [ -s "$dir/console" ]; then
		sed "s/^/# $machine: /" "$dir/boot" "$dir/emulator" || :
	fi
}

progress()
{
	local machine text='' n

	[ -n "$tty" ] || return 0
	for machine in "${!pid_of[@]}"; do
		n=$(grep -acE 'lab\| (not )?ok ' "$out/$machine/console" || :)
		text="$text  $machine: $n done, $((SECONDS - started[$machine])) s"
	done
	printf '\r\033[K%s' "$text" >&2
}

# shellcheck disable=SC2317
stop_all()
{
	trap - INT TERM EXIT
	for machine in "${!pid_of[@]}"; do
		kill "${pid_of[$machine]}" 2> /dev/null || :
	done
	wait
	exit "${1:-130}"
}
trap 'stop_all 130' INT TERM
trap 'stop_all $?' EXIT

mkdir -p "$out"
echo "TAP version 13"

if [ -z "$t" ] || [ "$t" = scan ]; then
	"$here/scan-selftest.sh" > "$out/scan" || :
	emit "$out/scan"
	if [ "$t" = scan ]; then
		pending=()
	fi
fi

while [ ${#pending[@]} -gt 0 ] || [ ${#pid_of[@]} -gt 0 ]; do
	while [ ${#pending[@]} -gt 0 ] && [ ${#pid_of[@]} -lt "${JOBS:-2}" ]; do
		start "${pending[0]}"
		pending=("${pending[@]:1}")
	done
	sleep 1
	for machine in "${!pid_of[@]}"; do
		kill -0 "${pid_of[$machine]}" 2> /dev/null || finish "$machine"
	done
	progress
done

echo "1..$count"
[ "$count" -gt 0 ] && [ "$failures" -eq 0 ]
