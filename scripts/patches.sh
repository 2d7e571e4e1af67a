# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# Apply the series to the pristine base patch by patch, for scripts that check patches.
# Sourced after tap.sh. $b/check/linux is the tree, with a git repository of its own
# that tracks only the files that we edit.

linux=$b/check/linux

# Write the series and restore the base. Copy the files that we edit, so that kbuild
# sees a new date.
patches_start() {
	local f

	scripts/series || return
	mapfile -t patches < <(printf '%s\n' "$b"/series{,-tools}/[0-9]*.patch |
		grep -v '/0000-\|\*')

	rm -rf "$linux" "$linux.id"
	scripts/pristine "$linux" || return
	git init -q --bare "$work/git" || return
	export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
	unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
	git=(git --git-dir="$work/git" --work-tree="$top/$linux"
	     -c user.name=check -c user.email=check@localhost -c core.autocrlf=false)
	while read -r f; do
		[[ ! -e $b/base/$f ]] || (cd "$linux" && "${git[@]}" add -f "$f") || return
	done < <(cd "$b/laid" && find . -type f -printf '%P\n')
	(cd "$linux" && "${git[@]}" commit -q --allow-empty -m base &&
		"${git[@]}" tag base)
}

# Drop the reports of a tool that review-known.txt lists.
unknown() {
	awk -v tool="$1" '
	FNR == NR { if ($1 == tool) known[$2]; next }
	{
		for (regex in known)
			if ($0 ~ regex)
				next
		print
	}' scripts/review-known.txt -
}

# Print checkpatch.pl's complaints about a patch. Run it from its own tree, where it
# finds the files that it needs and leaves a cache.
patch_style() {
	local status=0

	(cd "$linux" && scripts/checkpatch.pl --strict --terse --show-types \
		--no-summary --color=never "$top/$1") >"$work/checkpatch" 2>&1 || status=$?
	unknown checkpatch <"$work/checkpatch"
	[[ $status == 0 || -s $work/checkpatch ]] || echo "checkpatch.pl: status $status"
}

patch_apply() {
	(cd "$linux" && "${git[@]}" am -q "$top/$1")
}

# Print the files that a patch writes to.
patch_files() {
	sed -n 's/^+++ b\///p' "$1"
}

# Succeed if a patch can change the build of an architecture.
patch_concerns() {
	local dir=$2

	[[ $2 != i386 && $2 != x86_64 ]] || dir=x86
	patch_files "$1" | grep -E "^(arch/$dir|include|virt|kernel|mm|lib)/" >/dev/null
}

# Print the files that patches add.
new_files() {
	awk '/^--- / { new = $2 == "/dev/null" } /^\+\+\+ b\// && new { print substr($2, 3) }' "$@"
}

# Print "0007" or, for the second series, "tools-0007".
patch_number() {
	local number

	number=$(basename "$1" | cut -c 1-4)
	[[ $1 != *-tools/* ]] || number=tools-$number
	echo "$number"
}

# Print the warnings in a log as FILE:LINE: TEXT, with paths relative to the tree.
warnings_in() {
	awk -v linux="/$linux/" '
	!/(warning|error): / { next }
	{
		at = index($0, linux)
		if (at)
			$0 = substr($0, at + length(linux))
		while (sub("[^/.: ]+/[.][.]/", ""))
			;
		print
	}' "$1"
}

# shellcheck disable=SC2034
sparse=$top/scripts/sparse

# Fail, and print why, if a build with C=1 has left sparse out.
kbuild_runs_sparse() {
	! grep 'is not available or not up to date' "$1"
}

# Print the warnings about our lines only: the base's lines have some, too.
warnings_of_ours() {
	(cd "$linux" && "${git[@]}" diff -U0 base HEAD) | awk '
	FNR == NR && /^\+\+\+ b\// { file = substr($2, 3) }
	FNR == NR && /^@@/ {
		n = split(substr($3, 2), at, ",")
		for (i = 0; i < (n > 1 ? at[2] : 1); i++)
			ours[file ":" at[1] + i]
	}
	FNR == NR { next }
	{ split($1, at, ":") }
	at[1] ":" at[2] in ours
	' - <(warnings_in "$1")
}
