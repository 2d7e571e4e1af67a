/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory and a VM of the fake KVM, for the tests of libkvm_pre_fault.so */
#ifndef FAKE_VM_H
#define FAKE_VM_H

#include <stdint.h>

#include "fake-kvm.h"
#include "preload.h"
#include "test.h"

#define MEM_SIZE	(2 * SZ_2M)
#define NR_PAGES	(MEM_SIZE / SZ_4K)

/* The memory that was mapped last, and the VM that was created last with its vCPUs */
extern char *mem;
extern int vm, vcpu[4];

/* Map MEM_SIZE as @mem, in pages of 4K. */
char *map(int flags, int fd);
char *map_anon(void);
int create_vm(unsigned int vcpus);
int set_slot(int fd, unsigned int id, unsigned int flags, uint64_t gpa,
	     uint64_t size, void *hva);

/* Return how many of the @nr pages from @first on were pre-faulted @times. */
long hits(uint64_t first, uint64_t nr, int times);

/* Run each test with new VMs and default options. @argv is main()'s. */
int run_preload_tests(const struct test *tests, size_t nr, char *argv[]);

#endif
