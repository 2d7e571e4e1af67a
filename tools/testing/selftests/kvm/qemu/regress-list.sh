#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Read the paths of the kernel's KVM selftests from stdin. Write the list that "regress"
# reads in the machine to OUT/tests, and the specification of the initramfs with the
# tests to stdout. Leave out the tests of the series.
#
#   regress-list.sh BUILT-DIR SOURCE-DIR RUNNER OUT
#
# Environment: OURS, the names of the tests of the series.
set -eu

built=$1
source=$2
runner=$3
out=$4

# Print the limit in seconds and the arguments of a test. Under emulation, the tests
# listed here need another limit, fewer rounds or less memory than by default.
tuned()
{
	case $1 in
	access_tracking_perf_test)		echo 60 -b 4M ;;
	demand_paging_test)			echo 60 -b 32M ;;
	dirty_log_test)				echo 60 -i 4 ;;
	dirty_log_perf_test)			echo 60 -b 16M ;;
	kvm_page_table_test)			echo 60 -b 16M -v 2 ;;
	max_guest_memory_test|mmu_stress_test)	echo 240 -c 2 -m 1 -s 1 ;;
	set_memory_region_test)			echo 240 ;;
	memslot_modification_stress_test)	echo 60 -b 16M -i 100 ;;
	memslot_perf_test)			echo 60 -s 256 -l 1 -r 1 ;;
	hardware_disable_test|rseq_test)	echo 20 ;;
	*)					echo 120 ;;
	esac
}

# nx_huge_pages_test.sh calls sudo, and compares whoami with root.
cat > "$out/sudo" <<-'END'
	#!/bin/sh
	exec "$@"
END
echo "root:x:0:0::/:/bin/sh" > "$out/passwd"
: > "$out/tests"

cat <<-END
	dir /etc 755 0 0
	dir /regress 755 0 0
	file /bin/regress $runner 755 0 0
	file /bin/sudo $out/sudo 755 0 0
	file /etc/passwd $out/passwd 644 0 0
	file /regress/tests $out/tests 644 0 0
	slink /bin/dirname busybox 777 0 0
	slink /bin/whoami busybox 777 0 0
END

while read -r path; do
	case $path in
	"$source"/*)
		name=${path#"$source"/} ;;
	*)
		name=${path#"$built"/} ;;
	esac
	case " $OURS " in
	*" $name "*)
		continue ;;
	esac
	case $name in
	*/*/*)	echo "regress-list.sh: $name: two directories" >&2
		exit 1 ;;
	*/*)	case " ${dirs:-} " in
		*" ${name%/*} "*) ;;
		*)	dirs="${dirs:-} ${name%/*}"
			echo "dir /regress/${name%/*} 755 0 0" ;;
		esac ;;
	esac
	# nx_huge_pages_test is only called by its script.
	case $name in
	*/nx_huge_pages_test) ;;
	*)	echo "$name $(tuned "$name")" >> "$out/tests" ;;
	esac
	if [ -e "$path" ]; then
		echo "file /regress/$name $path 755 0 0"
	fi
done
