# SPDX-License-Identifier: GPL-2.0
#
# steal_time lacks a header, dirty_log_test has a later kernel's assertion.
REGRESS_CFLAGS := -include linux/stddef.h -DTEST_ASSERT_EQ=ASSERT_EQ
