// SPDX-License-Identifier: GPL-2.0-only
/*
 * Services of the host that change or watch memory: swap, userfaultfd, KSM, page
 * migration.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

#include "../pre_fault.h"

/* After this time, assume that no thread will fault. */
#define UFFD_SECONDS	10

void pf_need_swap(void)
{
	char swaps[512] = "";
	int fd;

	/* One line is the heading. */
	fd = open("/proc/swaps", O_RDONLY);
	if (fd < 0 || read(fd, swaps, sizeof(swaps) - 1) < 0 ||
	    strchr(swaps, '\n') == strrchr(swaps, '\n'))
		pf_skip("no swap");
	close(fd);
}

int __pf_uffd_open(uint64_t *features)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd;

	fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	if (features)
		*features = api.features;
	return fd;
}

int __pf_uffd_register(int fd, void *mem, size_t size, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (unsigned long)mem, .len = size },
		.mode = mode,
	};

	return ioctl(fd, UFFDIO_REGISTER, &reg);
}

int pf_uffd_open(void *mem, size_t size, uint64_t mode)
{
	int fd = __pf_uffd_open(NULL);

	if (fd < 0)
		pf_skip("no userfaultfd for faults of the kernel: %s",
			strerror(errno));
	if (__pf_uffd_register(fd, mem, size, mode)) {
		TEST_ASSERT(mode & UFFDIO_REGISTER_MODE_WP, "UFFDIO_REGISTER");
		pf_skip("no userfaultfd to write-protect this memory: %s",
			strerror(errno));
	}
	return fd;
}

void *pf_uffd_poll(int fd, unsigned int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg = {};

	if (poll(&pfd, 1, ms) != 1)
		return NULL;
	/* A signal may have interrupted the wait of the thread. */
	if (read(fd, &msg, sizeof(msg)) < 0 && errno == EAGAIN)
		return NULL;
	TEST_ASSERT(msg.event == UFFD_EVENT_PAGEFAULT, "read of userfaultfd");
	return (void *)(msg.arg.pagefault.address & ~(PAGE_SIZE - 1));
}

void *pf_uffd_wait(int fd)
{
	void *page = pf_uffd_poll(fd, UFFD_SECONDS * 1000 * pf_slowness);

	TEST_ASSERT(page, "no thread stops at a page of userfaultfd");
	return page;
}

void pf_uffd_copy(int fd, void *page, void *data)
{
	struct uffdio_copy copy = {
		.dst = (unsigned long)page,
		.src = (unsigned long)data,
		.len = PAGE_SIZE,
	};

	TEST_ASSERT(!ioctl(fd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
}

int __pf_uffd_protect(int fd, void *page, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { (unsigned long)page, PAGE_SIZE },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &wp);
}

void pf_uffd_protect(int fd, void *page, bool protect)
{
	TEST_ASSERT(!__pf_uffd_protect(fd, page, protect), "UFFDIO_WRITEPROTECT");
}

int pf_uffd_zeropage(int fd, void *mem, size_t size)
{
	struct uffdio_zeropage zero = {
		.range = { (unsigned long)mem, size },
	};

	return ioctl(fd, UFFDIO_ZEROPAGE, &zero);
}

void pf_uffd_server_open(struct pf_uffd_server *server, size_t size)
{
	server->fd = pf_uffd_open(server->mem, size,
				  UFFDIO_REGISTER_MODE_MISSING);
}

void pf_uffd_serve_page(struct pf_uffd_server *server, void *page)
{
	static __thread char data[4096] __aligned(4096);

	pf_fill(data, TEST_GPA + (page - server->mem), PAGE_SIZE, 1);
	pf_uffd_copy(server->fd, page, data);
}

static void *server_fn(void *arg)
{
	struct pf_uffd_server *server = arg;

	for (server->served = 0; server->served < server->nr; server->served++) {
		void *page = pf_uffd_poll(server->fd,
					  UFFD_SECONDS * 1000 * pf_slowness);

		if (!page)
			break;
		pf_uffd_serve_page(server, page);
	}
	return NULL;
}

void pf_uffd_server_start(struct pf_uffd_server *server, unsigned int nr)
{
	server->nr = nr;
	server->thread = pf_thread(server_fn, server);
}

void pf_uffd_server_finish(struct pf_uffd_server *server)
{
	pf_join(server->thread);
	TEST_ASSERT(server->served == server->nr, "%u of %u pages served",
		    server->served, server->nr);
}

#define KSM(file)	"/sys/kernel/mm/ksm/" file

void pf_ksm_start(void)
{
	if (pf_read_long(KSM("run")) < 0)
		pf_skip("no KSM");
	if (pf_write_str(KSM("run"), "1") ||
	    pf_write_str(KSM("sleep_millisecs"), "1") ||
	    pf_write_str(KSM("pages_to_scan"), "1000"))
		pf_skip("can't start KSM");
}

void pf_ksm_stop(void)
{
	pf_write_str(KSM("run"), "0");
}

void pf_ksm_scan(void)
{
	double end = pf_now() + 20.0 * pf_slowness;
	long scans = pf_read_long(KSM("full_scans"));

	/* KSM merges pages that have not changed since the previous scan. */
	while (pf_read_long(KSM("full_scans")) < scans + 3) {
		TEST_ASSERT(pf_now() < end, "ksmd does nothing");
		usleep(1000);
	}
}

long pf_ksm_merged(void)
{
	return pf_read_long(KSM("pages_sharing"));
}

#define MAX_MOVE_PAGES	64

int pf_move_pages(void *mem, unsigned int nr, int node)
{
	int nodes[MAX_MOVE_PAGES], status[MAX_MOVE_PAGES];
	void *pages[MAX_MOVE_PAGES];
	unsigned int i;
	int moved = 0;

	nr = min_t(unsigned int, nr, MAX_MOVE_PAGES);
	for (i = 0; i < nr; i++) {
		pages[i] = mem + i * PAGE_SIZE;
		nodes[i] = node;
		status[i] = -1;
	}
	/* A page that is in use at that moment is not moved. */
	if (syscall(SYS_move_pages, 0, (long)nr, pages, nodes, status,
		    MPOL_MF_MOVE) < 0)
		return -1;
	for (i = 0; i < nr; i++)
		moved += status[i] == node;
	return moved;
}
