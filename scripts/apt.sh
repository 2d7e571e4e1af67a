# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
# Download Debian's packages without changing the system's apt: lists, cache and status
# are below build/apt. Sourced after env.sh; no root is needed.

# Print the mirror that the host uses for Debian's security suites, or for the others.
# Without package lists, apt knows only the URIs that it would fetch.
apt_site() {
	local kind=$1 sites

	# shellcheck disable=SC2016
	sites=$(apt-get indextargets --format '$(ORIGIN) $(SITE) $(RELEASE)' 2>/dev/null |
		sed -n 's/^Debian //p')
	[[ -n $sites ]] || sites=$(apt-get update --print-uris 2>/dev/null |
		sed -n "s|^'\(.*/debian[^/]*\)/dists/\([^/]*\)/InRelease'.*|\1 \2|p")
	awk -v kind="$kind" '
	{ site[$2 ~ /-security$/ ? "security" : "main"] = $1 }
	END {
		if (site["security"] == "" && site["main"] != "")
			site["security"] = site["main"] "-security"
		print site[kind]
	}' <<<"$sites"
}

# apt_download ARCH PACKAGE SUITE...: put the package of the first suite that has it
# into build/apt.
apt_download() {
	local arch=$1 package=$2 suite site apt dir=$top/build/apt

	shift 2
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/none"
	: >"$dir/status"
	apt=(apt-get -o APT::Architecture="$arch" -o APT::Architectures="$arch"
	     -o APT::Sandbox::User=root -o Acquire::Languages=none
	     -o Dir::Etc::sourcelist="$dir/list" -o Dir::Etc::sourceparts=-
	     -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$dir/none"
	     -o Dir::State::lists="$dir/lists" -o Dir::State::status="$dir/status"
	     -o Dir::Cache="$dir/cache")
	for suite; do
		site=$(apt_site main)
		[[ $suite != *-security ]] || site=$(apt_site security)
		[[ -n $site ]] || { echo "apt knows of no mirror of Debian's"; return 1; }
		rm -f "$dir/$package"_*.deb
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
			"$site $suite main" >"$dir/list"
		"${apt[@]}" update &&
			(cd "$dir" && "${apt[@]}" download "$package") && return
	done
	return 1
}
