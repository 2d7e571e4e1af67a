#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Run the benchmark on each kernel, "upstream" and "ours" or ours alone, and boot for
# each part of it. Write its lines for machines to stdout, prefixed with the name of the
# kernel, and all other output to the logs. The line "host" has the number of the host's
# CPUs, and how many of them were busy before the run with two vCPUs.
#
#   bench.sh MACHINE KERNEL...
#
# Environment: BUILD_PATH, KERNEL_IMAGE; UPSTREAM_KERNEL, the image of "upstream".
set -eu

here=$(cd "$(dirname "$0")" && pwd)
machine=$1
shift
failed=0

# boot KERNEL MODE PART BENCH-ARGS...
boot()
{
	local kernel=$1 mode=$2 dir=$BUILD_PATH/bench/$1-$3
	local image=$BUILD_PATH/kernel/$KERNEL_IMAGE

	shift 3
	if [ "$kernel" = upstream ]; then
		image=$UPSTREAM_KERNEL
	fi
	rm -rf "$dir"
	mkdir -p "$dir"
	if ! KERNEL=$image INITRD=$BUILD_PATH/initramfs.cpio.gz LIMIT=900 MODE=$mode \
		"$here/boot.sh" "$machine" "$dir" pre_fault_perf_test "$@" |
			tee "$dir/output" |
			sed -un "s/^\(pages\|vcpus\),/$kernel,&/p"; then
		failed=1
		echo "bench.sh: $kernel failed; the end of $dir/console and output:" >&2
		tail -n 20 "$dir/console" "$dir/output" >&2
	fi
}

# Print how many of the host's CPUs are busy during one second: two vCPUs that run in
# parallel need two idle CPUs.
busy_cpus()
{
	{
		head -n 1 /proc/stat
		sleep 1
		cat /proc/stat
	} | awk '
		$1 == "cpu" { idle = $5 + $6 - idle }
		$1 ~ /^cpu[0-9]/ { cpus++ }
		$1 == "cpu" { all = $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9 - all }
		END { printf "host,%d,%.1f\n", cpus, cpus * (1 - idle / all) }'
}

set -o pipefail
for kernel; do
	case $kernel in
	upstream)	large= ;;
	ours)		large=,4G,16G,64G ;;
	esac
	boot "$kernel" show types
	boot "$kernel" show 512M -s anon,memfd,file -b 512M
	boot "$kernel" show sizes -g -s alias \
		-b 2M,8M,32M,64M,256M,"1G$large"
done
# On arm64, 6.1 lets one vCPU at a time change the page tables.
if [ "$machine" = amd ]; then
	busy_cpus
	boot ours smp vcpus -v 2 -b 256M -s anon -n 5
fi
exit $failed
