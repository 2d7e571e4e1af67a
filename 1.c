#include <stdio.h>
#include <string.h>
#include "kvm_pre_fault.h"

static int stop;    /* set to 1 to cancel; .kick_signal wakes a thread that sleeps */

static void show(void *name, uint64_t done, uint64_t total)
{
        printf("%s: %3d%%\n", (char *)name, (int)(done * 100.0 / total));
}

void pre_fault_ram(const int *vcpu_fds, unsigned int nr_vcpus, uint64_t gpa,
                   uint64_t size)
{
        struct kvm_pre_fault_opts opts = {
                .progress = show, .opaque = "ram", .stop = &stop,
        };
        int ret = kvm_pre_fault_range(vcpu_fds, nr_vcpus, gpa, size, &opts);

        if (ret)    /* not fatal: the guest faults the rest in */
                printf("%s at %#jx\n", strerror(-ret), (uintmax_t)opts.next);
}

