# SPDX-License-Identifier: GPL-2.0
#
# Reads what gcov -b -c wrote for one source file; see coverage.sh.

BEGIN {
	OFS = "\t"
}

function trim(s)
{
	gsub(/[ \t]+/, " ", s)
	gsub(/^ | $/, "", s)
	return s
}

/^ *-: *0:Source:/ {
	file = $0
	sub(/.*Source:/, "", file)
	sub(/.*\/(virt|arch)\//, "", file)
	sub(/.*\//, "", file)
	next
}

/^function / {
	# Attributes of gcc's own at the end, e.g. of a part that was split off
	function_name = $2
	sub(/\..*/, "", function_name)
	next
}

/^(branch|call) / {
	if ($1 == "branch" && was_line) {
		branches++
		if ($3 == "taken" && $4 + 0 > 0)
			taken++
		else if ($3 == "taken")
			print file, function_name ": " text, "branch"
	}
	next
}

/^ *[^:]+: *[0-9]+:/ {
	count = $1
	text = $0
	sub(/^[^:]*: *[0-9]+:/, "", text)
	text = trim(text)
	sub(/:.*/, "", count)
	was_line = count != "-"
	if (!was_line)
		next
	lines++
	if (count ~ /^[0-9]/)
		run++
	else
		print file, function_name ": " text, "line"
}

END {
	print "TOTAL", file, lines, run, branches, taken
}
