/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The locking that KVM_PRE_FAULT_MEMORY relies on, as a model for spin(1).
 *
 * A memslot of two pages, with one host page table and one stage-2 page table.  Two
 * vCPUs pre-fault it and a third one runs the guest, while the host takes away pages
 * and page tables, and userspace deletes the memslot.  Each statement that is not
 * inside an "atomic" can be interrupted by another CPU before and after it.  A comment
 * names the function and the locks that a part of the model stands for.
 *
 * By default all of that runs at once.  NO_HOST, NO_TOUCH and NO_DELETE leave one
 * process out each, to have fewer states.
 *
 * Each of these takes one safety argument out, and has a counterexample:
 *
 *   NO_CHECK		no check for an invalidation in progress
 *   EARLY_CHECK	that check before mmu_lock is taken
 *   EARLY_READ		host PTEs are read before mmu_lock is taken
 *   LINK_FIRST		a new page table is linked before it is filled
 *   NO_CMPXCHG		SPTEs of a page table in use are written by plain stores
 *   LATE_DIRTY		pages are marked dirty after mmu_lock is dropped
 *   NO_SRCU		the SRCU read section ends after the lookup of the memslot
 *   NO_INVALID		a memslot that is being deleted is used
 *   NO_SEQ		a guest's fault does not check for completed invalidations
 *
 * EXCLUSIVE has a pre-fault take mmu_lock for write, as on arm64 with Linux 6.1.
 *
 * The model leaves out huge pages (to install one is a single cmpxchg), the page
 * tables above the last one (mmap_lock keeps the host's), obsolete roots, and memory
 * ordering that is weaker than that of the locks.
 */

#ifndef ROUNDS
#define ROUNDS	1	/* changes of the host's memory */
#endif
#define NR	2	/* pages of the memslot, entries of a page table */
#define NR_PFNS	3

/* The host's page tables; 0 is none.  Its pages: pfn 0 is none. */
typedef pte_t { byte pfn; bit write; bit dirty };
typedef pt_t { pte_t pte[NR]; bit freed };
pt_t pt[3];
byte pmd = 1;

typedef page_t {
	byte refs;
	bit freed;
	bit dirty;	/* folio_test_dirty() */
	bit written;	/* by the guest, not written back yet */
	bit shared	/* with a child, after fork() */
};
page_t page[NR_PFNS + 1];
byte next_pfn = NR + 1;

/* Stage-2 page tables: those of the pre-faults are 1 and 2, the guest's is 3. */
typedef spte_t { byte pfn; bit write };
typedef spt_t { spte_t spte[NR] };
spt_t spt[4];
byte root;

/* kvm->mmu_lock and mm->mmap_lock */
byte mmu_readers, mmap_readers;
bit mmu_writer, mmap_writer;

/* kvm->mmu_invalidate_in_progress, mmu_invalidate_seq, mn_active_invalidate_count */
byte in_progress, seq, invalidating;

/* kvm->srcu: the readers of each index */
byte srcu_readers[2];
bit srcu_idx;

mtype = { VALID, INVALID, NONE };
mtype slot = VALID;
bit deleted;	/* KVM_SET_USER_MEMORY_REGION has returned */

#define MMU_IDLE	(!mmu_writer && mmu_readers == 0)

inline mmu_read_lock()	{ atomic { !mmu_writer -> mmu_readers++ } }
inline mmu_read_unlock()	{ mmu_readers-- }

/* kvm_pre_fault_lock() */
#ifdef EXCLUSIVE
inline pre_fault_lock()		{ atomic { MMU_IDLE -> mmu_writer = 1 } }
inline pre_fault_unlock()	{ mmu_writer = 0 }
#else
inline pre_fault_lock()		{ mmu_read_lock() }
inline pre_fault_unlock()	{ mmu_read_unlock() }
#endif

inline mmap_read_lock()		{ atomic { !mmap_writer -> mmap_readers++ } }
inline mmap_read_unlock()	{ mmap_readers-- }
inline mmap_write_lock()
{
	atomic { !mmap_writer && mmap_readers == 0 -> mmap_writer = 1 }
}
inline mmap_write_unlock()	{ mmap_writer = 0 }

inline srcu_read_lock(idx)	{ atomic { idx = srcu_idx; srcu_readers[idx]++ } }
inline srcu_read_unlock(idx)	{ srcu_readers[idx]-- }

/* synchronize_srcu(): wait for the readers that are there now. */
inline synchronize_srcu()
{
	srcu_idx = 1 - srcu_idx;
	srcu_readers[1 - srcu_idx] == 0
}

/* kvm_unmap_gfn_range(): mmu_lock for write; the TLB is flushed before it is dropped. */
inline zap(i)
{
	if
	:: root -> spt[root].spte[i].pfn = 0; spt[root].spte[i].write = 0
	:: else
	fi
}

/*
 * kvm_mmu_notifier_invalidate_range_start() and _end(): mmu_lock for write, unless there
 * is no memslot.  No memslot changes between the two.
 */
inline invalidate_start(first, last)
{
	invalidating++;
	if
	:: slot == NONE
	:: else -> atomic {
		MMU_IDLE -> in_progress++;
		if
		:: first == 0 -> zap(0)
		:: else
		fi;
		if
		:: last == 1 -> zap(1)
		:: else
		fi
	   }
	fi
}

inline invalidate_end()
{
	if
	:: slot == NONE
	:: else -> atomic { MMU_IDLE -> seq++; in_progress-- }
	fi;
	invalidating--
}

/* Drop a reference to a page, if there is one, and free the page with the last. */
inline put_page(got)
{
	if
	:: got ->
		page[got].refs--;
		page[got].freed = page[got].refs == 0
	:: else
	fi
}

#include "host.pml"

/*
 * kvm_set_memslot() for KVM_MR_DELETE: slots_lock.  kvm_swap_active_memslots() waits for
 * the end of invalidations before the change, and for SRCU readers after it.
 */
proctype delete_memslot()
{
	atomic { invalidating == 0 -> slot = INVALID };
	synchronize_srcu();
	/* kvm_arch_flush_shadow_memslot() */
	atomic { MMU_IDLE -> zap(0); zap(1); root = 0 };
	atomic { invalidating == 0 -> slot = NONE };
	synchronize_srcu();
	deleted = 1
}

/* kvm_host_pte(): mmu_lock, but no lock of the host's page table */
inline read_pte(i)
{
	atomic {
		assert(!pt[table].freed);
		pfn[i] = pt[table].pte[i].pfn;
		write[i] = pt[table].pte[i].write;
		clean[i] = !pt[table].pte[i].dirty
	}
}

/* batch_lookup(): the PMD entry is read once. */
inline read_ptes()
{
	table = pmd;
	if
	:: table ->
		read_pte(0);
		read_pte(1)
	:: else
	fi
}

/* pre_fault_may_write_clean_page() */
inline mark_dirty(i)
{
	if
	:: pfn[i] && write[i] && clean[i] -> page[pfn[i]].dirty = 1
	:: else
	fi
}

/* fill_new(): plain stores; no other CPU sees a page table that is not linked. */
inline fill_new(i)
{
	if
	:: pfn[i] ->
		atomic {
			assert(spt[me].spte[i].pfn == 0);
			spt[me].spte[i].pfn = pfn[i];
			spt[me].spte[i].write = write[i]
		}
	:: else
	fi
}

/* pre_fault_link_sp(): cmpxchg against the non-present SPTE */
inline link()
{
	atomic {
		if
		:: root == 0 -> root = me; linked = 1
		:: else -> spt[me].spte[0].pfn = 0; spt[me].spte[1].pfn = 0
		fi
	}
}

/* fill_gaps(): cmpxchg against each non-present SPTE */
inline fill_gap(i)
{
#ifdef NO_CMPXCHG
	present = spt[root].spte[i].pfn != 0;
	if
	:: pfn[i] && !present ->
		atomic {
			assert(spt[root].spte[i].pfn == 0);
			spt[root].spte[i].pfn = pfn[i];
			spt[root].spte[i].write = write[i]
		}
	:: else
	fi
#else
	atomic {
		if
		:: pfn[i] && spt[root].spte[i].pfn == 0 ->
			spt[root].spte[i].pfn = pfn[i];
			spt[root].spte[i].write = write[i]
		:: else
		fi
	}
#endif
}

/* kvm_arch_pre_fault_install() */
inline install()
{
	if
	:: root == 0 ->
#ifdef LINK_FIRST
		link();
		if
		:: linked -> fill_new(0); fill_new(1)
		:: else
		fi
#else
		fill_new(0);
		fill_new(1);
		link()
#endif
	:: else -> fill_gap(0); fill_gap(1)
	fi
}

/*
 * pre_fault_step(), kvm_mmu_pre_fault(), kvm_pre_fault_host() and batch_map(): SRCU,
 * mmap_lock for read, mmu_lock
 */
proctype pre_fault(byte me)
{
	byte pfn[NR], table;
	bit write[NR], clean[NR], idx, linked, busy;
#ifdef NO_CMPXCHG
	bit present;
#endif

	srcu_read_lock(idx);
	if
#ifndef NO_INVALID
	:: slot != VALID -> goto out
#else
	:: slot == NONE -> goto out
#endif
	:: else
	fi;
#ifdef NO_SRCU
	srcu_read_unlock(idx);
#endif
	mmap_read_lock();
#ifdef EARLY_CHECK
	busy = in_progress;
#endif
#ifdef EARLY_READ
	read_ptes();
#endif

	pre_fault_lock();
#ifndef EARLY_CHECK
	busy = in_progress;
#endif
#ifdef NO_CHECK
	busy = 0;
#endif
	if
	:: !busy ->
#ifndef EARLY_READ
		read_ptes();
#endif
#ifndef LATE_DIRTY
		mark_dirty(0);
		mark_dirty(1);
#endif
		install()
	:: else
	fi;
	pre_fault_unlock();

#ifdef LATE_DIRTY
	mark_dirty(0);
	mark_dirty(1);
#endif
	mmap_read_unlock();
#ifdef NO_SRCU
	goto end;
#endif
out:
	srcu_read_unlock(idx);
end:
	skip
}

/* An access of the guest: the CPU walks the stage-2 page table, without a lock. */
inline access(i, w, hit)
{
	atomic {
		hit = 0;
		if
		:: root && spt[root].spte[i].pfn && (!w || spt[root].spte[i].write) ->
			hit = 1;
			assert(!deleted);
			assert(!page[spt[root].spte[i].pfn].freed);
			assert(!w || !page[spt[root].spte[i].pfn].shared);
			page[spt[root].spte[i].pfn].written =
				page[spt[root].spte[i].pfn].written | w
		:: else
		fi
	}
}

/*
 * kvm_tdp_page_fault(): SRCU, a reference to the host's page, mmu_lock for read, and
 * mmu_invalidate_retry()
 */
inline guest_fault(i)
{
	srcu_read_lock(idx);
	if
	:: slot == VALID ->
		mmu_seq = seq;
		/* get_user_pages(): with the lock of the host's page table */
		atomic {
			pfn = 0;
			if
			:: pmd && pt[pmd].pte[i].pfn ->
				pfn = pt[pmd].pte[i].pfn;
				write = pt[pmd].pte[i].write;
				page[pfn].refs++
			:: else
			fi
		};
		if
		:: pfn ->
			mmu_read_lock();
#ifdef NO_SEQ
			retry = in_progress;
#else
			retry = in_progress || mmu_seq != seq;
#endif
			if
			:: !retry ->
				atomic {
					if
					:: root == 0 -> root = 3
					:: else
					fi
				};
				atomic {
					spt[root].spte[i].pfn = pfn;
					spt[root].spte[i].write = write
				};
				/* kvm_release_faultin_page() */
				page[pfn].dirty = page[pfn].dirty | write
			:: else
			fi;
			mmu_read_unlock();
			atomic { put_page(pfn); pfn = 0; write = 0; retry = 0 }
		:: else
		fi;
		mmu_seq = 0
	:: else
	fi;
	srcu_read_unlock(idx)
}

proctype guest()
{
	byte i, pfn, mmu_seq;
	bit w, hit, idx, write, retry;

	select (i : 0 .. 1);
	if
	:: w = 0
	:: w = 1
	fi;
	access(i, w, hit);
	if
	:: !hit -> guest_fault(i)
	:: else
	fi;
	/* Find a mapping that should be gone. */
	select (i : 0 .. 1);
	access(i, 1, hit)
}

init
{
	atomic {
		/* The first page is for touch(), if there is no host() to take it away. */
#ifndef NO_HOST
		pt[1].pte[0].pfn = 1;
		pt[1].pte[0].write = 1;
		pt[1].pte[0].dirty = 1;
		page[1].refs = 1;
#endif
		pt[1].pte[1].pfn = 2;
		pt[1].pte[1].write = 1;
		page[2].refs = 1;
		run pre_fault(1);
		run pre_fault(2);
		run guest();
#ifndef NO_HOST
		run host();
#endif
#ifndef NO_TOUCH
		run touch();
#endif
#ifndef NO_DELETE
		run delete_memslot()
#endif
	}
}
