// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: fill stage-2 page tables before the guest runs.
 *
 * This file checks the request, walks the range and reports progress; mapping
 * is the architecture's job.
 */
#include <linux/kvm.h>
#include <linux/kvm_host.h>
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
 * One turn of the loop: as much as the architecture does in one go.  SRCU is
 * dropped between turns because memslot updates wait for its readers, and must
 * not have to wait for the whole range.
 */
static long pre_fault_step(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size)
{
	struct kvm *kvm = vcpu->kvm;
	long r;
	int idx;

	if (signal_pending(current))
		return -EINTR;

	if (READ_ONCE(kvm->vm_dead))
		return -EIO;

	idx = srcu_read_lock(&kvm->srcu);
	r = kvm_arch_vcpu_pre_fault_memory(vcpu, gpa, size);
	srcu_read_unlock(&kvm->srcu, idx);

	return r;
}

/* Returns what stopped the walk, 0 at the end of the range. */
static long pre_fault_range(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size, u64 *done)
{
	long r;

	vcpu_load(vcpu);
	do {
		r = pre_fault_step(vcpu, gpa + *done, size - *done);
		if (r < 0)
			break;

		*done += r;
		cond_resched();
	} while (*done < size);
	vcpu_put(vcpu);

	return min(r, 0L);
}

/**
 * kvm_vcpu_ioctl_pre_fault_memory - map guest memory ahead of the guest
 * @vcpu: the vCPU whose current stage-2 page tables are filled
 * @argp: the request; gpa and size, in bytes, are advanced over what was done
 *
 * Context: Process context of the VM's owner, vcpu->mutex held. May sleep.
 *
 * Return:
 * * 0			- at least one page was mapped, or was mapped already
 * * -EINVAL		- malformed request; @argp was not written to
 * * -EFAULT		- @argp, or the memory behind gpa, is not accessible
 * * -EINTR		- a signal was pending before anything was done
 * * -EIO		- the VM is dead
 * * anything else	- see kvm_arch_vcpu_pre_fault_memory()
 */
int kvm_vcpu_ioctl_pre_fault_memory(struct kvm_vcpu *vcpu,
				    struct kvm_pre_fault_memory __user *argp)
{
	struct kvm_pre_fault_memory range;
	u64 done = 0;
	long r = -EINVAL;

	if (copy_from_user(&range, argp, sizeof(range)))
		return -EFAULT;

	if (pre_fault_range_is_valid(&range))
		r = pre_fault_range(vcpu, range.gpa, range.size, &done);

	trace_kvm_pre_fault_memory(range.gpa, range.size, done, r);
	if (r == -EINVAL)
		return r;

	range.gpa += done;
	range.size -= done;
	if (copy_to_user(argp, &range, sizeof(range)))
		return -EFAULT;

	/* Who calls again gets the error that stopped this call. */
	return done ? 0 : r;
}
