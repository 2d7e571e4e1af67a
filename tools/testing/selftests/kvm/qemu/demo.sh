#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What "make run" shows, in the lab's machine. Arguments are for the first part,
# the guest that reads all of its memory; the second one boots Linux, without XSAVE:
# in this machine CPUID reports a wrong size for its state, which 7.3 does not survive.

pre_fault "$@" &&
pre_fault --icount --memory 128M --backing anon --backing thp --backing memfd \
	--kernel /guest/bzImage --initrd /guest/initrd \
	--append 'console=ttyS0 quiet panic=-1 noxsave' --save /tmp/snapshot \
	--command 'cp /bin/busybox /copy; md5sum /init' --restore /tmp/snapshot
