#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The program of "make run", in the lab's machine. The first part runs the guest that
# reads all of its memory, with the arguments given here; the second part boots Linux.

pre_fault "$@" &&
boot_guest --icount --memory 128M --backing anon --backing thp --backing memfd \
	--save /tmp/snapshot --command 'cp /bin/busybox /copy; md5sum /init' \
	--restore /tmp/snapshot
