# SPDX-License-Identifier: GPL-2.0
# Draw how cost grows, as growth.sh has measured it: gnuplot -e "dir='DIR'"
# growth.gnuplot reads DIR/live.dat, sections.dat and threads.dat and writes
# DIR/growth.svg.
set terminal svg size 900,1100 font 'sans,13' background 'white'
set output dir.'/growth.svg'
set datafile separator tab
set datafile missing '-'
set style data linespoints
set logscale xy
set format x '%.0f'
set format y '%.0f ns'
set grid lc rgb '#dddddd'
set key outside right top reverse Left samplen 2
set yrange [10:100000]
set multiplot layout 3,1
set title 'CPU time by blocks that are live (age: per block looked at; refused: one pin, which waits for a second)'
plot for [i=2:7] dir.'/live.dat' using 1:i title columnheader(i)
set title 'by sections that are registered (register, unregister: per section)'
plot for [i=2:4] dir.'/sections.dat' using 1:i title columnheader(i)
set title 'by threads that pin'
set xrange [0.9:5]
set xtics (1, 2, 4)
plot for [i=2:3] dir.'/threads.dat' using 1:i title columnheader(i)
unset multiplot
