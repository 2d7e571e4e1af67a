#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boot a machine of the table "machines", and wait until it ends.
#
#   boot.sh MACHINE DIR PROGRAM [ARGUMENT...]
#
# Init runs the program. DIR takes all output of the run, the console log as
# DIR/console. Environment: KERNEL, INITRD; LIMIT, in seconds; APPEND, more kernel
# parameters; GCOV=yes, to write the coverage data of a kernel that has them to DIR/gcov
# (not with show and smp); and MODE:
#   log    show nothing (default)
#   show   show the output of the program, but not the kernel's; the clock counts
#          instructions, so that numbers repeat
#   count  as log, and the clock counts the instructions of SMP (1) CPUs; more than
#	   one take turns, and need QEMU 8.1
#   smp    as show, but two CPUs run at once, and the clock is the host's
#   shell  connect the console to this terminal
# Fail unless init's last line says "exit status 0". If a QEMU machine has not reached
# init after BOOT_LIMIT (240) seconds, start it once more: its four CPUs sometimes wait
# for each other at boot. The first console is then in DIR/hung.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/table.sh"
read_table "$here/machines"
[ -n "${machines[$1]:-}" ] || { echo "$here/machines: no machine $1" >&2; exit 2; }
read -r arch emulator cpu memory _ _ params <<< "${machines[$1]}"
dir=$2
shift 2
mode=${MODE:-log}
limit=${LIMIT:-900}
boot_limit=${BOOT_LIMIT:-240}
log=$dir/console
cmdline="loglevel=5 panic=-1 watchdog_thresh=30 secretmem.enable=1"

# Without an accelerator QEMU emulates SVM with nested paging, but no VMX. Split 4G into
# two nodes, of which the second has a free 1G page. no_timer_check: on a busy host the
# timer tick may be too late for the check at boot.
board_x86_64()
{
	binary=qemu-system-x86_64
	second=/dev/ttyS1
	cmdline="console=ttyS0,115200 $cmdline no_timer_check"
	nodes="numa=fake=2"
	board=(-machine q35)
}

add_two_nodes()
{
	case $mode in
	log|shell)
		board+=(-object "memory-backend-ram,size=3G,id=low"
			-object "memory-backend-ram,size=3G,id=high"
			-numa "node,memdev=low,cpus=0-1"
			-numa "node,memdev=high,cpus=2-3") ;;
	esac
}

# Add a second serial line, and a PCI device with registers to map. Memory begins at 1G
# and ends 3G above 4G, where the lowest 1G page is free.
board_arm64()
{
	binary=qemu-system-aarch64
	second=/dev/hvc0
	cmdline="console=ttyAMA0 $cmdline"
	nodes=''
	board=(-machine "virt,virtualization=on,gic-version=3"
	       -device pci-testdev -device virtio-serial-device)
	add_two_nodes
}

# Add a second serial line, and a PCI device with registers to map. Memory begins at 2G,
# and the second node has a free 1G page.
board_riscv64()
{
	binary=qemu-system-riscv64
	second=/dev/hvc0
	cmdline="console=ttyS0 $cmdline"
	nodes=''
	board=(-machine virt -device pci-testdev -device virtio-serial-device)
	add_two_nodes
}

# Set the arguments that connect the second line to stdio or to file:PATH.
second_to()
{
	local to=${1/:/,path=}

	case $second in
	/dev/hvc0)	line=(-chardev "$to,id=second"
			      -device "virtconsole,chardev=second") ;;
	*)		line=(-serial "$1") ;;
	esac
}

boot_qemu()
{
	local binary second nodes board extra line=()
	local cpus=(-accel "tcg,thread=multi" -smp 4)

	"board_$arch"
	extra="$nodes hugepagesz=1G hugepages=1"
	if [ "${GCOV:-}" = yes ]; then
		cmdline+=" lab_gcov=$second"
		second_to "file:$dir/gcov"
	fi
	# QEMU lists on stderr the features of an EPYC that it does not emulate.
	exec 2> "$dir/emulator"
	case $mode in
	show|smp)	extra="lab_tty=$second"
			second_to stdio ;;
	count)		extra=''
			exec >&2 ;;
	log)		exec >&2 ;;
	esac
	case $mode in
	show|count)	cpus=(-accel tcg -smp "${SMP:-1}" -icount "shift=0,sleep=off"
			      -seed 1) ;;
	smp)		cpus[3]=2 ;;
	esac
	if [ "$mode" = shell ]; then
		line=(-serial mon:stdio)
	else
		line=(-monitor none -serial "file:$log" "${line[@]}")
		exec < /dev/null
	fi
	exec "$binary" -nodefaults -no-user-config -no-reboot -display none \
		"${board[@]}" -cpu "$cpu" -m "$memory" -kernel "$KERNEL" \
		-initrd "$INITRD" -append "$cmdline $extra $params ${APPEND:-} -- $*" \
		"${cpus[@]}" "${line[@]}"
}

# Bochs emulates VMX with EPT, and cannot boot from anything simpler than a CD. Disable
# the reset, so that Bochs ends on a panic, a reboot and a power-off.
boot_bochs()
{
	local cd=$dir/cd lib=/usr/lib/syslinux/modules/bios

	cmdline="console=ttyS0,115200 $cmdline"
	if [ "${GCOV:-}" = yes ]; then
		cmdline+=" lab_gcov=/dev/ttyS1"
	fi
	rm -rf "$cd"
	mkdir -p "$cd"
	ln "$KERNEL" "$cd/bzimage" 2> /dev/null || cp "$KERNEL" "$cd/bzimage"
	ln "$INITRD" "$cd/initrd" 2> /dev/null || cp "$INITRD" "$cd/initrd"
	cp /usr/lib/ISOLINUX/isolinux.bin "$lib/ldlinux.c32" "$cd"
	cat > "$cd/isolinux.cfg" <<-EOF
		DEFAULT lab
		PROMPT 0
		LABEL lab
		KERNEL bzimage
		APPEND initrd=initrd $cmdline reboot=t $params ${APPEND:-} -- $*
	EOF
	xorriso -as mkisofs -quiet -o "$dir/cd.iso" -b isolinux.bin \
		-c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$cd" \
		> "$dir/emulator" 2>&1
	rm -rf "$cd"

	cat > "$dir/bochsrc" <<-EOF
		cpu: model=$cpu, count=1, ips=100000000, reset_on_triple_fault=0
		memory: guest=$((${memory%G} * 1024)), host=$((${memory%G} * 1024))
		romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
		vgaromimage: file=/usr/share/vgabios/vgabios.bin
		display_library: rfb, options="timeout=0"
		ata0-master: type=cdrom, path="$dir/cd.iso", status=inserted
		boot: cdrom
		clock: sync=none, time0=utc
		sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
		com1: enabled=1, mode=file, dev="$log"
		com2: enabled=1, mode=file, dev="$dir/gcov"
		log: "$dir/bochs.log"
		panic: action=fatal
		error: action=ignore
		info: action=ignore
	EOF
	# Do not use a newer CPU: Linux warns about its inconsistent XSAVE area. Do not
	# use the default sound: without ALSA it overflows a buffer. Debian's Bochs starts
	# in its debugger: let it continue.
	echo c > "$dir/debugger"
	exec bochs -q -f "$dir/bochsrc" -rc "$dir/debugger" \
		< /dev/null > "$dir/emulator" 2>&1
}

over()
{
	grep -aq '^lab: exit status [0-9]' "$log"
}

stop()
{
	kill "$pid" 2> /dev/null || :
	sleep 0.5
	kill -9 "$pid" 2> /dev/null || :
}

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
log=$dir/console
if [ "$mode" = shell ]; then
	"boot_$emulator" "$@"
fi

launch()
{
	: > "$log"
	start=$SECONDS
	"boot_$emulator" "$@" &
	pid=$!
}

hangs()
{
	[[ $emulator == qemu && $mode == log && ! -e $dir/hung ]] &&
		[ $((SECONDS - start)) -ge "$boot_limit" ] &&
		! grep -aqE '^lab: up|lab\|' "$log"
}

rm -f "$dir/hung"
launch "$@"
trap 'stop; exit 143' INT TERM HUP

while kill -0 "$pid" 2> /dev/null; do
	if over; then
		# Give the machine some seconds to power off.
		for _ in 1 2 3 4 5; do
			kill -0 "$pid" 2> /dev/null || break
			sleep 1
		done
		stop
		break
	fi
	if [ $((SECONDS - start)) -ge "$limit" ]; then
		stop
		echo "lab: stopped after $limit s" >> "$log"
		break
	fi
	if hangs; then
		stop
		mv "$log" "$dir/hung"
		launch "$@"
	fi
	sleep 1
done
wait "$pid" 2> /dev/null || :
rm -f "$dir/cd.iso"
grep -aq '^lab: exit status 0' "$log"
