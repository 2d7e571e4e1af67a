# SPDX-License-Identifier: GPL-2.0
# This base's kernel boots as a guest of tools/kvm/pre_fault.
