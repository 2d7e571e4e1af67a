#include <err.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "kvm_pre_fault.h"      /* or <linux/kvm.h> of 6.11 or later */

void pre_fault_slot(int kvm_fd, int vcpu_fd, __u64 gpa, void *hva, size_t size)
{
        struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size };

        if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_PRE_FAULT_MEMORY) <= 0)
                return;
        madvise(hva, size, MADV_POPULATE_WRITE);    /* _READ: private file */
        while (range.size && (!ioctl(vcpu_fd, KVM_PRE_FAULT_MEMORY, &range) ||
                              errno == EINTR || (errno == EAGAIN && !usleep(1000))))
                ;       /* range is what is left */
        if (range.size) /* not fatal: the guest faults the rest in */
                warn("pre-fault at %#llx", range.gpa);
}

