# SPDX-License-Identifier: GPL-2.0
#
# The totals of coverage.awk, by file.

{
	for (i = 3; i <= 6; i++) {
		sum[$2, i] += $i
		all[i] += $i
	}
	names[$2] = 1
}

function show(name, lines, run, branches, taken)
{
	printf "  %-20s lines %4d of %4d (%5.1f %%), branches %4d of %4d (%5.1f %%)\n",
		name, run, lines, lines ? 100 * run / lines : 100,
		taken, branches, branches ? 100 * taken / branches : 100
}

END {
	for (name in names)
		show(name, sum[name, 3], sum[name, 4], sum[name, 5], sum[name, 6])
	show("all", all[3], all[4], all[5], all[6])
}
