#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# List the installed QEMU, the libraries that it loads and its firmware, as gen_init_cpio
# wants them.
set -eu

qemu=$(command -v qemu-system-x86_64) ||
	{ echo "stock-spec.sh: install qemu-system-x86" >&2; exit 1; }
firmware=(/usr/share/seabios/bios-256k.bin /usr/share/qemu/{kvmvapic,linuxboot_dma}.bin)

# The paths that the program asks for, not those that they link to
mapfile -t libraries < <(LC_ALL=C ldd "$qemu" | grep -o '/[^ ]*')
declare -A dirs=()

# Print a file's directories, outermost first, once each.
dirs_of()
{
	local dir=${1%/*}

	[ -n "$dir" ] && [ -z "${dirs[$dir]:-}" ] || return 0
	dirs[$dir]=1
	dirs_of "$dir"
	echo "dir $dir 755 0 0"
}

# QEMU looks for its firmware relative to its own directory.
for file in "$qemu" "${libraries[@]}" "${firmware[@]}"; do
	dirs_of "$file"
	echo "file $file $(realpath "$file") 755 0 0"
done
