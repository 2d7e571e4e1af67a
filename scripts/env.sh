# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Sourced by each script: change to the project's directory, drop the caller's
# environment except for a few variables, and refuse wrong arguments.

set -euo pipefail

# Any other variable may change the build, the results or the packages: CROSS_COMPILE,
# LLVM, KCFLAGS, KBUILD_OUTPUT, the outer make's MAKEFLAGS, GIT_DIR, TAR_OPTIONS, ...
kept=(ARCH ARCHS BASE BASES BRIEF 'CCACHE_*' CHECK CPU DEBUG FORCE LINUX LOCKED
      PROGRESS_PREFIX RELEASE SEED SIGNOFF STRICT T V as_root missing
      PATH HOME USER LOGNAME SHELL TERM LANG TMPDIR 'XDG_*' 'LD_*' APT_CONFIG
      '*_proxy' '*_PROXY' EMAIL 'GIT_AUTHOR_*' 'GIT_COMMITTER_*' 'GIT_CONFIG*')
set +o posix
for name in $(compgen -e); do
	for pattern in "${kept[@]}"; do
		# shellcheck disable=SC2053
		[[ $name != $pattern ]] || continue 2
	done
	# SHELLOPTS is read-only in bash.
	unset -v "$name" 2>/dev/null || :
done
unset -v name pattern
export LC_ALL=C

cd "$(dirname "${BASH_SOURCE[0]}")/.."
top=$(pwd -P)
# These characters have a special meaning to make, kbuild or the shell.
special='[][[:space:]:=,;$#%&|<>(){}*?!"'\''`\^]'
if [[ $top =~ $special ]]; then
	echo "$top: no path for make: it has a space or one of : = , ; \$ # % & | < > ( ) [ ] { } * ? ! \" ' \` \\ ^" >&2
	exit 1
fi
[[ ! ${TMPDIR:-} =~ $special && -d ${TMPDIR:-/tmp} ]] || unset TMPDIR
roots=(arch virt include Documentation tools MAINTAINERS)
: "${CCACHE_DIR:=$top/build/ccache}"
# Compilers run in other directories.
[[ $CCACHE_DIR == /* ]] || CCACHE_DIR=$top/$CCACHE_DIR
export CCACHE_DIR

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# Refuse a request that cannot be fulfilled.
refuse() {
	echo "$*" >&2
	exit 1
}

# "a, b or c"
or_list() {
	local list

	printf -v list '%s, ' "${@:1:$#-1}"
	list=${list%, }
	echo "${list:+$list or }${*: -1}"
}

# Let one script at a time, and the scripts that it calls, change build/.
lock() {
	[[ -z ${LOCKED:-} ]] || return 0
	exec 9>build/.lock
	if ! flock -n 9; then
		echo "${0##*/}: waiting for another make in this directory" >&2
		flock 9
	fi
	export LOCKED=yes
}

# base_key BASE KEY: the values of a key in bases/BASE/base
base_key() {
	sed -n "s/^$2:[[:space:]]*//p" "bases/$1/base"
}

# Print the version of a kernel's source directory or tarball, as in "6.1.192", and
# nothing for any other file.
version_of() {
	local makefile=Makefile

	if [[ -d $1 ]]; then
		cat "$1/$makefile"
	else
		# Do not read beyond the first match: a tarball is large.
		tar -xOf "$1" --occurrence=1 --wildcards \
			--no-wildcards-match-slash "*/$makefile"
	fi 2>/dev/null |
	awk '/^(VERSION|PATCHLEVEL|SUBLEVEL) = / { v = v (v == "" ? "" : ".") $3 }
	     /^NAME = / { exit }
	     END { if (v ~ /^[0-9]+\.[0-9]+\.[0-9]+$/) print v }' || :
}

# Print the base nearest to a version; a major version has 20 releases.
nearest_base() {
	printf '%s\n' "${bases[@]}" | awk -v version="$1" '
	function release(v,	n) {
		split(v, n, ".")
		return n[1] * 20 + n[2]
	}
	{
		d = release($1) - release(version)
		d = d < 0 ? -d : d
		if (NR == 1 || d < least) {
			least = d
			nearest = $1
		}
	}
	END { print nearest }'
}

# Succeed if a base serves an architecture.
serves() {
	[[ " $(base_key "$1" archs) " == *" $2 "* ]]
}

# Print the base of this Debian if it serves $ARCH, else the newest one that does.
default_base() {
	local v debian choice=

	debian=$(sed -n 's/^\(ID\|VERSION_ID\)="\{0,1\}\([^"]*\)"\{0,1\}$/\2/p' \
		/etc/os-release 2>/dev/null | sort -r | paste -sd ' ')
	for v in "${bases[@]}"; do
		serves "$v" "$arch" || continue
		if [[ -z $choice || $debian == "debian $(base_key "$v" debian)" ]]; then
			choice=$v
		fi
	done
	echo "${choice:-$newest}"
}

# Each folder of bases/ is a base. The newest comes first; its files are at the root.
mapfile -t bases < <(printf '%s\n' bases/*/base | cut -d / -f 2 | sort -rV)
newest=${bases[0]}
arch=${ARCH:-x86_64}
base=${BASE:-}
# The calling script has checked LINUX= already.
if [[ -n ${LINUX:-} && ( -z $base || -z ${LOCKED:-} ) ]]; then
	[[ -e $LINUX ]] || refuse "LINUX=$LINUX does not exist"
	version=$(version_of "$LINUX")
	[[ -n $version ]] || refuse "LINUX=$LINUX: neither a kernel tree nor a tarball of one"
	base=${base:-$(nearest_base "$version")}
fi
base=${base:-$(default_base)}
[[ " ${bases[*]} " == *" $base "* ]] || refuse "BASE=$base: $(or_list "${bases[@]}")"
export BASE=$base
read -ra archs <<<"$(base_key "$base" archs)"
serves "$base" "$arch" || refuse "ARCH=$arch: $(or_list "${archs[@]}") with BASE=$base"
# The architectures that make series CHECK=1 compiles for
read -ra compile_for <<<"$(base_key "$base" compiles)"
[[ " 1 ${compile_for[*]} " == *" ${CHECK:-1} "* ]] ||
	refuse "CHECK=$CHECK: $(or_list 1 "${compile_for[@]}") with BASE=$base"
# Print the user's name and address for git, as in "NAME <ADDRESS> DATE"; do not let git
# guess them.
git_identity() {
	git -c user.useConfigOnly=true var GIT_COMMITTER_IDENT 2>/dev/null
}
if [[ -n ${SIGNOFF:-} ]] && command -v git >/dev/null; then
	git_identity >/dev/null || refuse "SIGNOFF=1: git has no user.name and user.email"
fi
b=build/$base
mkdir -p "$b" build/log

# Print our files below a directory, relative to it. If this directory is a git
# repository, omit the files that git ignores, such as backups and build products.
files_in() {
	(
		cd "$1" || exit
		if [[ $(git rev-parse --show-toplevel 2>/dev/null) == "$top" ]]; then
			git ls-files -co --exclude-standard -- "${roots[@]/%/*}"
		else
			find "${roots[@]}" MAINTAINERS.patch -type f ! -name '*~' \
				! -name '*.orig' ! -name '*.rej' ! -name '*.o' \
				! -name '.*.swp' ! -name '*.d' \
				! -path tools/kvm/pre_fault/pre_fault \
				! -path tools/kvm/pre_fault/kvm-pre-fault ! -name '*.so' \
				! -path 'tools/kvm/pre_fault/test-*[!c]' 2>/dev/null || :
		fi | sort -u | while read -r f; do
			case $f in
			arch/*|virt/*|include/*|Documentation/*|tools/*|MAINTAINERS*)
				[[ ! -f $f ]] || echo "$f" ;;
			esac
		done
	)
}

# Print "NAME FILE" for everything that goes into the kernel's tree of the base: NAME is
# the name in the tree, FILE is ours, X.patch for an edit of X. A file in bases/$base
# takes the place of the file at the root, as does a file that bases/$base/base shares
# with another base.
own_files() {
	{
		files_in . | sed 's/.*/root & &/'
		base_key "$base" drop | sed 's/.*/drop &/'
		base_key "$base" shares | sed 's|\(.*\) \(.*\)|base \2 bases/\1/\2|'
		files_in "bases/$base" | sed "s|.*|base & bases/$base/&|"
	} | awk '
	# As in MAINTAINERS, a name that ends in / stands for all files below.
	function dropped(name,	i) {
		for (i in drop)
			if (i ~ /\/$/ ? index(name, i) == 1 : name == i)
				return 1
		return 0
	}
	$1 == "drop" { drop[$2]; next }
	{ sub(/\.patch$/, "", $2) }
	$1 == "root" { root[$2] = $3; next }
	{ file[$2] = $3 }
	END {
		for (name in root)
			if (!(name in file) && !dropped(name))
				file[name] = root[name]
		for (name in file)
			print name, file[name]
	}' | sort
}

# Succeed if two files have the same contents and execute permission.
same() {
	[[ -f $1 && -f $2 ]] && cmp -s "$1" "$2" || return 1
	if [[ -x $1 ]]; then [[ -x $2 ]]; else [[ ! -x $2 ]]; fi
}

put() {
	mkdir -p "$(dirname "$2")"
	cp --remove-destination "$1" "$2"
}

# Put the named files of the base into $b/base. Copy them from the tree, unless they
# were written to since the base was unpacked.
pristine() {
	local f src absent=()

	for f; do
		[[ ! -e $b/base/$f ]] || continue
		if [[ -e $b/linux/$f && ! $b/linux/$f -nt $b/unpacked ]]; then
			mkdir -p "$b/base/$(dirname "$f")"
			cp -p "$b/linux/$f" "$b/base/$f"
		else
			absent+=("$f")
		fi
	done
	((${#absent[@]})) || return 0

	src=$(sed -n 's/^path //p' "$b/base.id")
	if [[ -d $src ]]; then
		tar -C "$src" -cf - "${absent[@]}" | tar -C "$b/base" -xf -
	else
		mkdir -p "$b/base"
		tar -C "$b/base" --strip-components=1 --wildcards \
			--no-wildcards-match-slash -xf "$src" "${absent[@]/#/*/}"
	fi
}

# Succeed if a path matches a pattern of MAINTAINERS: one that ends in / matches all
# paths below, and * does not match a /.
matches() {
	local path=$1 pattern=$2

	# shellcheck disable=SC2053
	case $pattern in
	*/) [[ $path == "$pattern"* ]] ;;
	*)  [[ $path == $pattern && ${path//[^\/]/} == "${pattern//[^\/]/}" ]] ;;
	esac
}
