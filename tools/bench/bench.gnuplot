# SPDX-License-Identifier: GPL-2.0
# Draw the ratios of bench.sh as grouped bars: gnuplot -e "dir='DIR'" bench.gnuplot
# reads DIR/2m.dat, 4k.dat and fio.dat and writes DIR/bench.svg.
set terminal svg size 1100,900 font 'sans,13' background 'white'
set output dir.'/bench.svg'
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.8 border -1
set boxwidth 0.9
set grid ytics lc rgb '#dddddd'
set key outside right top reverse Left samplen 2
set datafile separator tab
set datafile missing '-'
set xtics nomirror
set ytics nomirror
set arrow 1 from graph 0, first 1 to graph 1, first 1 nohead lw 1.5 lc rgb 'black' front
set multiplot layout 3,1
set yrange [0:*]
set offsets graph 0, 0, 0.05, 0
set title 'pin\_user\_pages\_fast(), 2 MiB mappings: instructions over those with a static memmap (less is better)'
plot for [i=2:6] dir.'/2m.dat' using i:xtic(1) title columnheader(i)
set title '4 KiB mappings: the same'
plot for [i=2:5] dir.'/4k.dat' using i:xtic(1) title columnheader(i)
set title 'fio, direct reads: requests/s over those with a static 2 MiB memmap (more is better)'
plot for [i=2:5] dir.'/fio.dat' using i:xtic(1) title columnheader(i)
unset multiplot
