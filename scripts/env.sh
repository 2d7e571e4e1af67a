# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# What the scripts share: sourced by each, and leaves it in the project's
# directory. Variables of the outer make must not reach the kernel's.

set -euo pipefail
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL GNUMAKEFLAGS CDPATH
export LC_ALL=C

cd "$(dirname "${BASH_SOURCE[0]}")/.."
top=$(pwd -P)
arch=${ARCH:-x86_64}
roots=(arch virt include Documentation tools MAINTAINERS)
: "${CCACHE_DIR:=$top/build/ccache}"
export CCACHE_DIR
mkdir -p build/log

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# One script at a time changes build/, with those that it calls.
lock() {
	[[ -z ${LOCKED:-} ]] || return 0
	exec 9>build/.lock
	if ! flock -n 9; then
		echo "${0##*/}: waiting for another make in this directory" >&2
		flock 9
	fi
	export LOCKED=yes
}

# Paths of all that goes into the kernel's tree, edits as X.patch. Where git
# knows this directory, what it ignores (editor and build leavings) stays out.
own_files() {
	local f

	if [[ $(git rev-parse --show-toplevel 2>/dev/null) == "$top" ]]; then
		git ls-files -co --exclude-standard -- "${roots[@]/%/*}"
	else
		find . -mindepth 1 \( -path ./build -o -path ./.git \) -prune -o \
			-type f ! -name '*~' ! -name '*.orig' ! -name '*.rej' \
			! -name '*.o' ! -name '.*.swp' -printf '%P\n'
	fi | sort -u | while read -r f; do
		case $f in
		arch/*|virt/*|include/*|Documentation/*|tools/*|MAINTAINERS*)
			[[ ! -f $f ]] || echo "$f" ;;
		esac
	done
}

# The name in the kernel's tree of one of our files
tree_name() {
	echo "${1%.patch}"
}

# Same bytes and same execute permission
same() {
	[[ -f $1 && -f $2 ]] && cmp -s "$1" "$2" || return 1
	if [[ -x $1 ]]; then [[ -x $2 ]]; else [[ ! -x $2 ]]; fi
}

put() {
	mkdir -p "$(dirname "$2")"
	cp --remove-destination "$1" "$2"
}

# "6.1.192" of a source directory
version_of() {
	awk '/^(VERSION|PATCHLEVEL|SUBLEVEL) = / { v = v (v == "" ? "" : ".") $3 }
	     /^NAME = / { exit }
	     END { print v }' "$1/Makefile" 2>/dev/null || :
}

# Make sure that build/base has the named files as they are in the base. The
# tree's own copy does, unless it was written to since the base was unpacked.
pristine() {
	local f src strip=() missing=()

	for f; do
		[[ ! -e build/base/$f ]] || continue
		if [[ -e build/linux/$f && ! build/linux/$f -nt build/unpacked ]]; then
			mkdir -p "build/base/$(dirname "$f")"
			cp -p "build/linux/$f" "build/base/$f"
		else
			missing+=("$f")
		fi
	done
	((${#missing[@]})) || return 0

	src=$(sed -n 's/^path //p' build/base.id)
	if [[ -d $src ]]; then
		tar -C "$src" -cf - "${missing[@]}" | tar -C build/base -xf -
	else
		mkdir -p build/base
		tar -C build/base --strip-components=1 --wildcards \
			--no-wildcards-match-slash -xf "$src" "${missing[@]/#/*/}"
	fi
}

# Does a path match a pattern of MAINTAINERS? A / at the end takes all that is
# below, a * does not reach across a /.
matches() {
	local path=$1 pattern=$2

	# shellcheck disable=SC2053
	case $pattern in
	*/) [[ $path == "$pattern"* ]] ;;
	*)  [[ $path == $pattern && ${path//[^\/]/} == "${pattern//[^\/]/}" ]] ;;
	esac
}
