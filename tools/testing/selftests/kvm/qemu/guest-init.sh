#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# First process of the Linux that tools/kvm/pre_fault boots inside the lab's machine: a
# shell on the serial line, with the prompt that tools/kvm/pre_fault waits for.

export PATH=/bin HOME=/ PS1='guest# '
exec sh -i
