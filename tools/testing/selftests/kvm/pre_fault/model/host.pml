/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's changes of its memory, for locking.pml: reclaim, MADV_DONTNEED, fork(),
 * write-back, the collapse into a huge page, and page faults.
 */

/* ptep_clear_flush(): the lock of the host's page table */
inline clear_pte(i, got)
{
	atomic {
		got = 0;
		if
		:: pmd ->
			got = pt[pmd].pte[i].pfn;
			page[got].dirty = page[got].dirty | pt[pmd].pte[i].dirty;
			pt[pmd].pte[i].pfn = 0;
			pt[pmd].pte[i].write = 0;
			pt[pmd].pte[i].dirty = 0
		:: else
		fi
	}
}

/* shrink_folio_list(): no mmap_lock; a clean page is dropped without a write to swap. */
inline reclaim(i, got)
{
	invalidate_start(i, i);
	clear_pte(i, got);
	invalidate_end();
	atomic {
		if
		:: got && page[got].refs == 1 ->
			assert(page[got].dirty || !page[got].written);
			put_page(got)
		:: else
		fi
	}
}

/* zap_page_range_single(): mmap_lock for read; the page is freed before the end. */
inline dontneed(i, got)
{
	mmap_read_lock();
	invalidate_start(i, i);
	clear_pte(i, got);
	atomic { put_page(got) };
	invalidate_end();
	mmap_read_unlock()
}

/* copy_page_range(): mmap_lock for write; a write has to copy the page from then on. */
inline fork(i)
{
	mmap_write_lock();
	invalidate_start(i, i);
	atomic {
		if
		:: pmd && pt[pmd].pte[i].pfn ->
			pt[pmd].pte[i].write = 0;
			page[pt[pmd].pte[i].pfn].shared = 1
		:: else
		fi
	};
	invalidate_end();
	mmap_write_unlock()
}

/* folio_clear_dirty_for_io(): no mmap_lock; then the page is written to its file. */
inline writeback(i, got)
{
	invalidate_start(i, i);
	atomic {
		got = 0;
		if
		:: pmd ->
			got = pt[pmd].pte[i].pfn;
			pt[pmd].pte[i].write = 0;
			pt[pmd].pte[i].dirty = 0
		:: else
		fi
	};
	invalidate_end();
	atomic { page[got].dirty = 0; page[got].written = 0 }
}

/*
 * retract_page_tables(): no mmap_lock.  A huge page has the contents from then on; the
 * pages and their page table are freed before the end.
 */
inline collapse(i)
{
	invalidate_start(0, 1);
	atomic { i = pmd; pmd = 0 };
	atomic {
		if
		:: i ->
			pt[i].freed = 1;
			put_page(pt[i].pte[0].pfn);
			put_page(pt[i].pte[1].pfn)
		:: else
		fi
	};
	invalidate_end()
}

proctype host()
{
	byte i, pfn, round;

	do
	:: round < ROUNDS ->
		round++;
		select (i : 0 .. 1);
		if
		:: reclaim(i, pfn)
		:: dontneed(i, pfn)
		:: fork(i)
		:: writeback(i, pfn)
		:: collapse(i)
		fi;
		i = 0;
		pfn = 0
	:: else -> break
	od
}

/*
 * handle_mm_fault(), in any thread of the VMM: mmap_lock for read, no MMU notifier.  The
 * memory is a shared file, whose PTEs may be writable while the page is clean.
 */
proctype touch()
{
	byte i;

	select (i : 0 .. 1);
	mmap_read_lock();
	atomic {
		if
		:: pmd == 0 && !pt[2].freed -> pmd = 2
		:: else
		fi
	};
	atomic {
		if
		:: pmd && pt[pmd].pte[i].pfn == 0 && next_pfn <= NR_PFNS ->
			pt[pmd].pte[i].pfn = next_pfn;
			pt[pmd].pte[i].write = 1;
			page[next_pfn].refs = 1;
			next_pfn++
		:: else
		fi
	};
	mmap_read_unlock()
}

