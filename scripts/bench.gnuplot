# SPDX-License-Identifier: GPL-2.0
#
# Draw the *.csv in "dir": bars by type of memory, and the cost against the size of the
# range. "upstream" is the version of upstream's kernel; if empty, the columns of
# upstream hold only dashes. "ours" is the base of our kernel.

set terminal pngcairo size 1500,620 font "sans,11" noenhanced
set output dir."pre_fault.png"
set datafile separator ","
set datafile missing "-"
set key top right
set grid ytics
set logscale y
set ylabel "instructions per 4K page"
set multiplot layout 1,2

set title "One page of guest memory"
set yrange [1:20000]
set style data histograms
set style histogram clustered gap 1
set style fill solid border -1
set boxwidth 0.9
set xtics rotate by 35 right nomirror scale 0
set lmargin 14
set bmargin 11
if (upstream eq "") {
	plot dir."pre_fault.csv" skip 1 \
		using 5:xtic(3) title "guest's own touch" linecolor "#999999", \
		"" skip 1 using 7 title "pre-fault" linecolor "#1b9e77"
} else {
	plot dir."pre_fault.csv" skip 1 \
		using 4:xtic(3) title "guest's own touch, upstream ".upstream \
			linecolor "#999999", \
		"" skip 1 using 6 title "pre-fault, upstream ".upstream linecolor "#d95f02", \
		"" skip 1 using 7 title "pre-fault, ours on ".ours linecolor "#1b9e77"
}

set title "Against the size of the range"
set xlabel "range"
set logscale x 2
set lmargin 10
set xtics norotate center ("2M" 2**21, "8M" 2**23, "32M" 2**25, "128M" 2**27, \
	"512M" 2**29, "2G" 2**31, "8G" 2**33, "32G" 2**35)
set xrange [2**20.5:2**36.5]
if (upstream eq "") {
	plot dir."pre_fault_sizes.csv" skip 1 \
		using 1:3 with linespoints pointtype 7 linewidth 2 \
			linecolor "#1b9e77" title "pre-fault"
} else {
	plot dir."pre_fault_sizes.csv" skip 1 \
		using 1:2 with linespoints pointtype 7 linewidth 2 \
			linecolor "#d95f02" title "pre-fault, upstream ".upstream, \
		"" skip 1 using 1:3 with linespoints pointtype 7 linewidth 2 \
			linecolor "#1b9e77" title "pre-fault, ours on ".ours
}
unset multiplot
