# SPDX-License-Identifier: GPL-2.0
#
# Lists what was not run, FILE TEXT KIND, with the reasons that the file
# "reasons" has: paragraphs of a reason, with the lines that it is good for
# below, indented by a tab, as FILE: FUNCTION: TEXT.

BEGIN {
	while ((getline line < reasons) > 0) {
		if (line ~ /^#/)
			continue
		if (line ~ /^\t/) {
			sub(/^\t/, "", line)
			i = index(line, ": ")
			key = substr(line, 1, i - 1) "\t" substr(line, i + 2)
			why[key] = reason
			ended = 1
		} else {
			if (ended || line == "")
				reason = ""
			ended = 0
			reason = reason (reason == "" ? "" : " ") line
		}
	}
}

{
	key = $1 "\t" $2
	kinds[key] = kinds[key] (kinds[key] == "" ? "" : ", ") $3
	if (!(key in seen))
		order[++n] = key
	seen[key] = 1
}

function show(key, a)
{
	split(key, a, "\t")
	return a[1] ": " a[2] " (" kinds[key] ")"
}

END {
	print "not run:"
	for (i = 1; i <= n; i++) {
		key = order[i]
		if (key in why) {
			print "  " show(key)
			print "      " why[key]
		} else {
			unexplained[++bad] = key
		}
	}
	for (i = 1; i <= bad; i++)
		print "unexplained: " show(unexplained[i])
	for (key in why)
		if (!(key in seen)) {
			sub(/\t/, ": ", key)
			print "run, though uncovered.txt has a reason why it is not: " key
			stale++
		}
	printf "%d places not run, %d of them unexplained, %d reasons without a place\n",
		n, bad, stale
	exit bad > 0
}
