# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Read the table of machines, for boot.sh and test.sh. machines[NAME] is the rest of the
# machine's line; runs[NAME] is the machine and the rest of the run's line.

declare -A machines=() runs=()

# read_table FILE
read_table()
{
	local field line name at='' nr=0
	local number='[0-9]+(/[0-9]+)?'
	local a_machine="^machine [a-z0-9-]+ (x86_64|arm64|riscv64) (qemu|bochs) [^ ]+ [0-9]+G"
	local a_run="^run [a-z]+ (any|-[0-9.]+|[0-9.]+-) (brief|full|long) (kasan|slim|count2?)"

	a_machine+=" $number $number( [^ =]+=[^ ]+)*\$"
	a_run+=" (-|$number) [0-9]+ [a-z_]+( .*)?\$"
	while read -ra field || [ ${#field[@]} -gt 0 ]; do
		nr=$((nr + 1))
		line=${field[*]}
		if [[ $line =~ $a_machine && -z ${machines[${field[1]}]:-} ]]; then
			at=${field[1]}
			machines[$at]=${field[*]:2}
		elif [[ $line =~ $a_run && -n $at ]]; then
			name=$at-${field[1]}
			name=${name%-test}
			[ -z "${runs[$name]:-}" ] || break
			runs[$name]="$at ${field[*]:1}"
		elif [[ $line == [!#]* ]]; then
			break
		fi
		line=
	done < "$1"
	[ -z "$line" ] || {
		echo "$1:$nr: not a machine or a run, or a duplicate: $line" >&2
		exit 2
	}
}
