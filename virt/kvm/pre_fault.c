// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: fill stage-2 page tables before the guest runs.
 *
 * Check the request, walk the range and report progress.  The architecture's hook
 * does the mapping.
 */
#include <linux/kvm.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <trace/events/kvm.h>

static bool pre_fault_range_is_valid(const struct kvm_pre_fault_memory *range)
{
	return !range->flags &&
	       PAGE_ALIGNED(range->gpa) && PAGE_ALIGNED(range->size) &&
	       range->gpa + range->size > range->gpa;
}

/*
 * Have the architecture map the start of @range.  Drop SRCU between steps, as
 * memslot updates wait for its readers and must not wait for the whole range.
 *
 * Returns the number of bytes that are mapped, 0 to be called again after the
 * memslots or the host's page table changed meanwhile, or -errno.
 */
static long pre_fault_step(struct kvm_vcpu *vcpu,
			   struct kvm_pre_fault_memory *range)
{
	struct kvm *kvm = vcpu->kvm;
	long r;
	int idx;

	if (signal_pending(current))
		return -EINTR;

	if (READ_ONCE(kvm->vm_dead))
		return -EIO;

	idx = srcu_read_lock(&kvm->srcu);
	r = kvm_arch_vcpu_pre_fault_memory(vcpu, range);
	srcu_read_unlock(&kvm->srcu, idx);

	return r;
}

/*
 * Advance @range until it is done.  Returns 0, or the error that stopped the
 * walk.  A vCPU that has never run may not be fit to be loaded, so load it only
 * for an architecture that needs that.
 */
static long pre_fault_range(struct kvm_vcpu *vcpu,
			    struct kvm_pre_fault_memory *range)
{
	const bool loaded = IS_ENABLED(CONFIG_HAVE_KVM_PRE_FAULT_VCPU_LOAD);
	long r;

	if (loaded)
		vcpu_load(vcpu);
	do {
		r = pre_fault_step(vcpu, range);
		if (r < 0)
			break;

		range->gpa += r;
		range->size -= r;
		cond_resched();
	} while (range->size);
	if (loaded)
		vcpu_put(vcpu);

	return min(r, 0L);
}

/* Returns 0 once a page is mapped.  Calling again returns the next page's error. */
long kvm_vcpu_ioctl_pre_fault_memory(struct kvm_vcpu *vcpu,
				     struct kvm_pre_fault_memory __user *argp)
{
	struct kvm_pre_fault_memory range;
	u64 gpa, size;
	bool valid;
	long r;

	if (copy_from_user(&range, argp, sizeof(range)))
		return -EFAULT;

	gpa = range.gpa;
	size = range.size;
	valid = pre_fault_range_is_valid(&range);
	r = valid ? pre_fault_range(vcpu, &range) : -EINVAL;

	trace_kvm_pre_fault_memory(gpa, size, range.gpa - gpa, r);
	if (!valid)
		return r;

	if (copy_to_user(argp, &range, sizeof(range)))
		return -EFAULT;

	return range.size != size ? 0 : r;
}
