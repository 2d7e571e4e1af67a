// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_PRE_FAULT_MEMORY: fill stage-2 page tables before the guest runs.
 *
 * This file checks the request, walks the range and reports progress; mapping
 * is the architecture's job.
 */
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <trace/events/kvm.h>

/*
 * How often a page that is gone again by the time it is looked up, e.g. to a
 * balloon, is faulted in once more before the lookup that sleeps is resorted
 * to.  A page that can be faulted in but not looked up (secretmem) needs one
 * that tells so.
 */
#define PRE_FAULT_HOST_TRIES	16

/*
 * Have the host fault in the page behind @hva, as a read.  GUP can't be used to
 * wait for it: that ignores all signals but fatal ones, and the page may be as
 * far away as a userfaultfd handler that never answers.
 */
static int pre_fault_host_page(struct mm_struct *mm, hva_t hva)
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

/**
 * kvm_pre_fault_pfn - look up a host page for a pre-fault, as a guest read would
 * @kvm: the VM, of the current process
 * @slot: the memslot of @gfn, a valid one
 * @gfn: the page
 * @pfn: its page frame, with a reference held for kvm_release_pfn_clean()
 * @writable: may the guest write to it as well?
 * @hva: where the host has it
 *
 * The page is faulted in if it is not there. If that fails, no reference is
 * held and no SIGBUS is sent.
 *
 * Context: Process context, inside an SRCU read section of kvm->srcu, no MMU
 * lock held. May sleep, until a signal comes. Takes mmap_lock for read. The
 * result is final only if mmu_invalidate_seq, sampled before the call, is
 * found unchanged under mmu_lock.
 *
 * Return:
 * * 0			- @pfn is the page
 * * -EFAULT		- the host memory can't be read
 * * -EHWPOISON		- the host page is poisoned
 * * -EINTR		- a signal came while waiting for the page
 * * -ENOMEM		- no memory for the page
 */
int kvm_pre_fault_pfn(struct kvm *kvm, const struct kvm_memory_slot *slot,
		      gfn_t gfn, kvm_pfn_t *pfn, bool *writable, hva_t *hva)
{
	bool async = false;
	int tries, r;

	*pfn = __gfn_to_pfn_memslot(slot, gfn, false, &async, false, writable, hva);
	for (tries = 0; async && tries < PRE_FAULT_HOST_TRIES; tries++) {
		r = pre_fault_host_page(kvm->mm, *hva);
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

/**
 * kvm_pre_fault_vma_usable - may mappings be copied from a VMA's page tables?
 * @vma: the VMA
 *
 * Is there nothing but pages that get_user_pages() would give out, and that all
 * have the same memory type? A VMA with map_pages() is one of the page cache,
 * which rules drivers and secretmem out.
 *
 * Context: mmap_lock held.
 *
 * Return: true if the host's PTEs that are present, for the user, not special
 * and not of a device tell all that there is to know
 */
bool kvm_pre_fault_vma_usable(struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_READ) ||
	    vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB))
		return false;

	if (!vma_is_anonymous(vma) && !vma->vm_ops->map_pages)
		return false;

	/* What a protection key denies differs from thread to thread. */
	return !vma_is_dax(vma) &&
	       arch_vma_access_permitted(vma, true, false, false);
}

/**
 * kvm_pre_fault_host_pmd - find the entry for a page table of the host
 * @mm: the process
 * @hva: an address in a VMA that kvm_pre_fault_vma_usable() accepts
 *
 * Context: mmap_lock of @mm held.
 *
 * Return: the entry for a page table or a huge page, which may change unless its
 * lock is held; NULL if there is none
 */
pmd_t *kvm_pre_fault_host_pmd(struct mm_struct *mm, hva_t hva)
{
	pgd_t *pgd;
	p4d_t *p4d;
	pud_t *pud;

	pgd = pgd_offset(mm, hva);
	if (pgd_none(*pgd) || pgd_bad(*pgd))
		return NULL;

	p4d = p4d_offset(pgd, hva);
	if (p4d_none(*p4d) || p4d_bad(*p4d))
		return NULL;

	pud = pud_offset(p4d, hva);
	if (pud_none(*pud) || pud_bad(*pud))
		return NULL;

	return pmd_offset(pud, hva);
}

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

/*
 * Returns what stopped the walk, 0 at the end of the range.  A vCPU that has never
 * run may not be fit to be loaded: only an architecture that needs it gets it.
 */
static long pre_fault_range(struct kvm_vcpu *vcpu, gpa_t gpa, u64 size, u64 *done)
{
	const bool loaded = IS_ENABLED(CONFIG_KVM_PRE_FAULT_LOADS_VCPU);
	long r;

	if (loaded)
		vcpu_load(vcpu);
	do {
		r = pre_fault_step(vcpu, gpa + *done, size - *done);
		if (r < 0)
			break;

		*done += r;
		cond_resched();
	} while (*done < size);
	if (loaded)
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
