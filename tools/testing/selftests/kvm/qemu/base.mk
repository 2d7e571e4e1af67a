# SPDX-License-Identifier: GPL-2.0
# This base's small kernel, without the series as well, panics in prepare_creds() on
# some CPUs, and on that of tools/kvm/pre_fault.
NO_LINUX_GUEST := 1
