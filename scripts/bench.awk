# SPDX-License-Identifier: GPL-2.0
#
# Read "goal_files" files of goals, where a later file replaces rows of an earlier one,
# and then the benchmark's lines for machines. Print the table and the goals that are
# met or missed, and write the results as CSV to the directory "out". "upstream" is the
# version of the kernel to compare with, if there is one, and "same_base" is set if
# that kernel is the base of "ours".
# Exit status: 1 if a goal was missed, 2 if a result is missing.

function bytes(size) {
	return size * 1024 ^ index("KMG", substr(size, length(size)))
}

function short(n) {
	return n < 2 ^ 30 ? n / 2 ^ 20 "M" : n / 2 ^ 30 "G"
}

function get(kernel, type, size, what) {
	if (kernel == "upstream" && upstream == "")
		return "-"
	if ((kernel, type, size, what) in value)
		return value[kernel, type, size, what]
	printf "no result: %s, %s, %s, %s\n", kernel, type, short(size), what >"/dev/stderr"
	status = 2
	return "-"
}

function larger(a, b) {
	return b == "-" || (a != "-" && a + 0 > b + 0) ? a : b
}

function number(x) {
	return x == "-" ? x : sprintf("%.1f", x)
}

function ratio(a, b) {
	return a == "-" || b == "-" || !b ? "-" : sprintf("%.1f", a / b)
}

function check(what, got, goal) {
	goals++
	printf "%-6s  %-44s", got + 0 <= goal + 0 ? "met" : "MISSED", what
	printf " %9.2f, goal %g", got, goal
	if (got + 0 > goal + 0) {
		missed++
		if (goal)
			printf ": %.2f times as much", got / goal
	}
	printf "\n"
}

BEGIN {
	nr_files = 0
	split(upstream, part, ".")
	series = part[1] "." part[2]
}
FNR == 1 { nr_files++ }

nr_files <= goal_files && $1 == "row" {
	r = row[$2, $3]
	if (!r)
		r = row[$2, $3] = ++rows
	type[r] = $2
	size[r] = bytes($3)
	goal[r] = $4
	share[r] = substr($5, length("guest/") + 1)
	label[r] = $0
	# mawk does not support {5}.
	for (i = 1; i <= 5; i++)
		sub(/^[^ \t]+[ \t]+/, "", label[r])
	next
}
nr_files <= goal_files && $1 == "own" { own_rows[$2]; next }
nr_files <= goal_files && $1 == "flat" { flat_from = bytes($2); limit["flat"] = $3; next }
nr_files <= goal_files && /^[a-z]/ { limit[$1] = $2; next }
nr_files <= goal_files { next }

{ split($0, f, ",") }

f[2] == "pages" {
	value[f[1], f[3], f[4], "touch"] = f[5]
	value[f[1], f[3], f[4], "pre-fault"] = f[6]
	value[f[1], f[3], f[4], "after"] = larger(f[7], f[8])
	value[f[1], f[3], f[4], "dirty"] = f[9]
	if (f[3] == "alias" && f[1] == "ours")
		sizes[++nr_sizes] = f[4]
}
f[2] == "vcpus" { speedup = f[10] }
f[1] == "host" { host = sprintf("%s of the host's %s CPUs were busy otherwise", f[3], f[2]) }

END {
	table = out "/pre_fault.csv"
	curve = out "/pre_fault_sizes.csv"

	if (upstream == "") {
		head = "%-34s%9s%9s%9s%10s\n"
		printf "\nInstructions per 4K page on an emulated machine, Linux %s for %s\n\n", ours, arch
		printf head, "", "guest", "pre-", "guest", "guest/"
		printf head, "guest memory (4K pages, 64M)", "without", "fault",
		       "after", "pre-fault"
	} else {
		head = "%-34s%9s%9s%9s%9s%10s\n"
		printf "\nInstructions per 4K page on an emulated machine, Linux %s and %s\n\n", \
		       upstream, same_base != "" ? "ours" : ours " (ours)"
		printf head, "", "guest", "pre-", "pre-", "guest", "pre-"
		printf head, "", "without", "fault", "fault", "after", "fault"
		printf head, "guest memory (4K pages, 64M)", series, series, "ours", "ours", series "/ours"
	}
	print "type,bytes,what,guest upstream,guest ours,pre-fault upstream,pre-fault ours,guest after upstream,guest after ours,goal" >table
	for (i = 1; i <= rows; i++) {
		k = type[i]
		s = size[i]
		touch = get("upstream", k, s, "touch")
		own = get("ours", k, s, "touch")
		old[i] = get("upstream", k, s, "pre-fault")
		new[i] = get("ours", k, s, "pre-fault")
		after = get("ours", k, s, "after")
		worst = larger(after, worst == "" ? "-" : worst)
		dirty += get("ours", k, s, "dirty")
		if (upstream == "") {
			# already-mapped has no run without a pre-fault: use that of anon.
			base = own == "-" ? get("ours", "anon", s, "touch") : own
			goal[i] = number(base / share[i])
			printf head, label[i], number(own), number(new[i]),
			       number(after), ratio(own, new[i])
		} else {
			printf head, label[i], number(touch), number(old[i]),
			       number(new[i]), number(after), ratio(old[i], new[i])
		}
		printf "%s,%s,\"%s\",%s,%s,%s,%s,%s,%s,%s\n", k, s, label[i],
		       touch, own, old[i], new[i],
		       get("upstream", k, s, "after"), after, goal[i] >table
	}

	printf "\n%-10s", "range"
	for (i = 1; i <= nr_sizes; i++)
		printf "%7s", short(sizes[i])
	if (upstream != "")
		printf "\n%-10s", series
	for (i = 1; i <= nr_sizes; i++) {
		s = sizes[i]
		old_size[i] = ("upstream", "alias", s, "pre-fault") in value ? \
			value["upstream", "alias", s, "pre-fault"] : "-"
		if (upstream != "")
			printf "%7s", number(old_size[i])
	}
	printf "\n%-10s", "ours"
	print "bytes,pre-fault upstream,pre-fault ours" >curve
	for (i = 1; i <= nr_sizes; i++) {
		s = sizes[i]
		new_size = get("ours", "alias", s, "pre-fault")
		printf "%7s", number(new_size)
		printf "%s,%s,%s\n", s, old_size[i], new_size >curve
		if (s >= flat_from) {
			if (!highest || new_size > highest)
				highest = new_size
			if (!lowest || new_size < lowest)
				lowest = new_size
		}
	}
	if (!lowest || (upstream != "" && !speedup)) {
		print "no result: ranges of all sizes, two vCPUs" >"/dev/stderr"
		status = 2
	}
	if (status)
		exit status

	printf "\n\nTwo vCPUs on disjoint halves of 512M: "
	if (upstream == "")
		print "left out on " arch "\n"
	else
		printf "%.2f times what one takes\n(%s)\n\n", speedup, host
	for (i = 1; i <= rows; i++)
		check(label[i], new[i], goal[i])
	for (i = 1; i <= rows; i++)
		if (same_base != "" && type[i] in own_rows)
			check(label[i] ", against " series, new[i], old[i])
	check("guest after a pre-fault, at most", worst, limit["after"])
	check("pages reported dirty", dirty, limit["dirty"])
	check("highest cost / lowest, from " short(flat_from) " on",
	      highest / lowest, limit["flat"])
	if (upstream != "")
		check("two vCPUs / one", speedup, limit["vcpus"])
	printf "%d goals met, %d missed\n", goals - missed, missed
	exit missed > 0
}
