#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What "make run" shows, in the lab's machine. Arguments are for the first part,
# the guest that reads all of its memory; the second one boots Linux.

pre_fault "$@" &&
boot_guest --icount --memory 128M --backing anon --backing thp --backing memfd \
	--save /tmp/snapshot --command 'cp /bin/busybox /copy; md5sum /init' \
	--restore /tmp/snapshot
