// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: look up one host page for a pre-fault.
 */
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

/*
 * Fault a page in this many times if it is gone again when looked up, e.g. freed by
 * a balloon.  After that use the lookup that sleeps, which also returns an error
 * for a page that can be faulted in but not looked up (secretmem).
 */
#define PRE_FAULT_HOST_TRIES	16

/*
 * Have the host fault in the page behind @hva, as a read.  Do not wait in GUP,
 * which ignores all signals but fatal ones: a userfaultfd handler may never
 * answer.
 */
static int pre_fault_pfn_fault_in(struct mm_struct *mm, hva_t hva)
{
	unsigned int flags = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE |
			     FAULT_FLAG_INTERRUPTIBLE;
	struct vm_area_struct *vma;
	vm_fault_t fault;
	int r = -EFAULT;

	for (;;) {
		if (mmap_read_lock_killable(mm))
			return -EINTR;

		vma = vma_lookup(mm, hva);
		if (!vma || !(vma->vm_flags & VM_READ))
			break;

		fault = handle_mm_fault(vma, hva, flags, NULL);
		if (fault & VM_FAULT_COMPLETED)
			return 0;
		if (!(fault & VM_FAULT_RETRY)) {
			r = vm_fault_to_errno(fault, FOLL_HWPOISON);
			break;
		}

		/* VM_FAULT_RETRY has dropped mmap_lock. */
		if (signal_pending(current))
			return -EINTR;

		cond_resched();
		flags |= FAULT_FLAG_TRIED;
	}

	mmap_read_unlock(mm);
	return r;
}

/*
 * Look up the host page of @gfn as a guest read would, faulting it in if needed.
 * On success, return 0 with a reference held in @pfn, for
 * kvm_release_pfn_clean(), with @writable set if the guest may write to the page,
 * and with its address in @hva.  The result is final only if mmu_invalidate_seq,
 * sampled before the call, is found unchanged under mmu_lock.
 *
 * Return -EFAULT if the host memory can't be read, -EHWPOISON if the page is
 * poisoned (without a SIGBUS), -EINTR if a signal came while waiting, -ENOMEM.
 * Call inside an SRCU read section of kvm->srcu without mmu_lock; may sleep.
 */
int kvm_pre_fault_pfn(struct kvm *kvm, const struct kvm_memory_slot *slot,
		      gfn_t gfn, kvm_pfn_t *pfn, bool *writable, hva_t *hva)
{
	bool async = false;
	int tries, r;

	*pfn = __gfn_to_pfn_memslot(slot, gfn, false, &async, false, writable, hva);
	for (tries = 0; async && tries < PRE_FAULT_HOST_TRIES; tries++) {
		r = pre_fault_pfn_fault_in(kvm->mm, *hva);
		if (r)
			return r;

		async = false;
		*pfn = __gfn_to_pfn_memslot(slot, gfn, false, &async, false,
					    writable, hva);
	}
	if (async)
		*pfn = __gfn_to_pfn_memslot(slot, gfn, false, NULL, false,
					    writable, hva);

	if (*pfn == KVM_PFN_ERR_HWPOISON)
		return -EHWPOISON;

	return is_error_noslot_pfn(*pfn) ? -EFAULT : 0;
}
