# SPDX-License-Identifier: GPL-2.0
# The legacy MMU puts a huge page in the place of a page table in use, which the
# fuzzer's model does not know. Without Accessed bits, it enables mappings that are
# there as a guest's access does.
UPSTREAM_LEGACY_MMU := 1
