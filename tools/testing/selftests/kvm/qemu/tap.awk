# SPDX-License-Identifier: GPL-2.0
#
# Read the console log of one machine. Print its TAP results without numbers, and two
# more: whether the run came to its end, and whether the kernel reported no problem.
#
#   awk -v machine=NAME [-v races=FILE] -f tap.awk CONSOLE
#
# FILE lists the data races to ignore, see kcsan-known.txt.

BEGIN {
	bad = "BUG:|kernel BUG at|WARNING:|Oops|Kernel panic|lockdep|" \
	      "possible circular|" \
	      "possible recursive locking|inconsistent lock state|" \
	      "suspicious RCU usage|INFO: task .* blocked|soft lockup|" \
	      "rcu.*stall|sleeping function called from invalid context|" \
	      "general protection|UBSAN|KASAN|page_table_check|" \
	      "list_(add|del) corruption|refcount_t:|Call Trace:|" \
	      "Out of memory: Killed"
	# The lines to show before and after a complaint, and in total
	before = 5
	after = 30
	most = 150
	status = -1
	plan = -1
	while (races != "" && (getline text < races) > 0) {
		if (text !~ /^#/ && split(text, field, "\t") == 2)
			why_race[field[1]] = field[2]
	}
}

function comment(text)
{
	sub(/^# */, "", text)
	notes[++n_notes] = text
}

function flush_comments(i)
{
	for (i = 1; i <= n_notes; i++)
		print "# " machine ": " notes[i]
	n_notes = 0
}

# Parse "5 name", "5 - name", "5 name # SKIP why", and kselftest.h's "5 # SKIP name".
function result(verdict, rest)
{
	sub(/^[0-9]+ +/, "", rest)
	sub(/^- /, "", rest)
	if (rest ~ /^# SKIP /) {
		sub(/^# SKIP /, "", rest)
		if (rest !~ / # SKIP/)
			sub(/: *| |$/, " # SKIP ", rest)
	}
	print verdict " " machine ": " rest
	flush_comments()
	tests++
	if (verdict == "not ok")
		failed++
}

{
	sub(/\r+$/, "")
	line[NR] = $0
}

# The selftest's output
/^(\[ *[0-9.]+\] )?lab\| / {
	text = $0
	sub(/^(\[ *[0-9.]+\] )?lab\| /, "", text)
	if (text ~ /^ok [0-9]+/)
		result("ok", substr(text, 4))
	else if (text ~ /^not ok [0-9]+/)
		result("not ok", substr(text, 8))
	else if (text ~ /^1\.\.[0-9]+/)
		plan = substr(text, 4) + 0
	else if (text !~ /^TAP version/)
		comment(text)
	if (text ~ /^Bail out!/)
		bailed = 1
	next
}

/^lab: exit status [0-9]+$/ {
	status = $4
	next
}

/^lab: up$/ {
	next
}

/^lab: / {
	why = substr($0, 6)
}

# An OOM kill at the limit of a cgroup is expected: ignore the call trace that follows.
/ invoked oom-killer: / {
	known_trace = 1
}

# Ignore the warning about the CPU topology of Bochs at boot.
/WARNING: .*\/cpu\/topology_common\.c:/ {
	known_trace = 1
}

/<\/TASK>/ {
	known_trace = 0
}

/BUG: KCSAN: data-race in / {
	race = $0
	sub(/.* in /, "", race)
	gsub(/\+0x[0-9a-f]+\/0x[0-9a-f]+/, "", race)
	if (race in why_race) {
		nr_races[race]++
		next
	}
}

$0 ~ bad && !known_trace {
	complaints[++n_complaints] = NR
}

function show(from, to)
{
	if (from <= shown)
		from = shown + 1
	for (; from <= to && total < most; from++) {
		print "#   " line[from]
		shown = from
		total++
	}
}

END {
	flush_comments()

	if (status < 0)
		reason = "the machine stopped without saying how" \
			 (why ? ": " why : "")
	else if (!tests)
		reason = "no test ran, exit status " status
	else if (plan >= 0 && plan != tests)
		reason = tests " results, where " plan " were announced"
	else if (bailed)
		reason = "the program gave up"
	else if (status && !failed)
		reason = "exit status " status ", with no test failed"
	print (reason ? "not ok " : "ok ") machine ": ran to the end"
	if (reason) {
		print "# " machine ": " reason "; its last lines:"
		show(NR - 20 > 0 ? NR - 20 : 1, NR)
	}

	print (n_complaints ? "not ok " : "ok ") machine ": console clean"
	for (race in nr_races)
		print "# " machine ": " nr_races[race] " times the known race " \
		      race ": " why_race[race]
	shown = 0
	total = 0
	for (i = 1; i <= n_complaints; i++)
		show(complaints[i] > before ? complaints[i] - before : 1,
		     complaints[i] + after < NR ? complaints[i] + after : NR)
	if (total >= most)
		print "# " machine ": and more, see the log"
}
