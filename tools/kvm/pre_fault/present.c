// SPDX-License-Identifier: GPL-2.0-only
/*
 * Find the guest memory that the host has in memory.
 *
 * mincore() is exact for anonymous memory, and for files that the caller owns or may
 * write. For any other file, mincore() reports every page as present: instead, combine
 * the pages that are mapped (pagemap, which includes private copies) and all of the file
 * but its holes (SEEK_DATA).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "preload.h"

#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD	(1UL << 2)
#endif

#define PAGEMAP_PRESENT		(1ULL << 63)
#define PAGEMAP_BATCH		512

/* PROCMAP_QUERY of Linux 6.11, which <linux/fs.h> may lack: find a single mapping. */
struct query {
	uint64_t size;
	uint64_t query_flags;
	uint64_t query_addr;
	uint64_t vma_start;
	uint64_t vma_end;
	uint64_t vma_flags;
	uint64_t vma_page_size;
	uint64_t vma_offset;
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint32_t vma_name_size;
	uint32_t build_id_size;
	uint64_t vma_name_addr;
	uint64_t build_id_addr;
};

#define QUERY			_IOWR('f', 17, struct query)
#define QUERY_OR_NEXT		0x10
#define QUERY_READABLE		0x01

/* A line of /proc/self/maps */
struct mapping {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	uint64_t inode;
	dev_t dev;
	bool readable;
	char path[256];
};

/* Parse the range alone at first: few of the hundreds of lines are for guest memory. */
static bool parse_range(char *line, struct mapping *map, char **rest)
{
	map->start = strtoull(line, rest, 16);
	if (**rest != '-')
		return false;
	map->end = strtoull(*rest + 1, rest, 16);
	return true;
}

static bool parse_mapping(const char *line, struct mapping *map)
{
	unsigned int major, minor;
	char perms[5];
	int path = 0;

	if (sscanf(line, " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", perms, &map->offset,
		   &major, &minor, &map->inode, &path) != 5)
		return false;
	map->dev = makedev(major, minor);
	map->readable = perms[0] == 'r';
	snprintf(map->path, sizeof(map->path), "%.*s",
		 (int)strcspn(line + path, "\n"), line + path);
	return true;
}

/* Open the file of a mapping again, so that SEEK_DATA moves no offset of the VMM. */
static int open_by_fd(const struct mapping *map)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	struct stat st;
	int fd = -1;

	if (!dir)
		return -1;
	while (fd < 0 && (entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) || !S_ISREG(st.st_mode) ||
		    st.st_dev != map->dev || st.st_ino != map->inode)
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

static int open_file(const struct mapping *map)
{
	struct stat st;
	int fd = open_by_fd(map);

	if (fd >= 0 || map->path[0] != '/' || stat(map->path, &st) ||
	    !S_ISREG(st.st_mode) || st.st_dev != map->dev || st.st_ino != map->inode)
		return fd;
	return open(map->path, O_RDONLY | O_CLOEXEC);
}

/* The rule of the kernel's can_do_mincore() */
static bool may_mincore(int fd)
{
	char path[32];
	struct stat st;

	if (fstat(fd, &st))
		return false;
	if (st.st_uid == geteuid())
		return true;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return !faccessat(AT_FDCWD, path, W_OK, AT_EACCESS);
}

/* Device registers are mapped from device nodes and from anonymous inodes. */
static bool is_device(const struct mapping *map)
{
	struct stat st;

	if (!strncmp(map->path, "anon_inode:", 11))
		return true;
	return map->path[0] == '/' && !stat(map->path, &st) &&
	       (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode));
}

static void choose_presence(const struct mapping *map, struct area *area)
{
	area->fd = -1;
	area->presence = PRESENT_MINCORE;
	if (options.all) {
		area->presence = PRESENT_ALL;
	} else if (map->inode) {
		area->presence = PRESENT_PAGEMAP;
		area->fd = open_file(map);
		if (area->fd >= 0 && may_mincore(area->fd)) {
			close(area->fd);
			area->fd = -1;
			area->presence = PRESENT_MINCORE;
		}
	}
}

static bool overlaps(const struct slot *slot, const struct mapping *map)
{
	return map->start < slot->hva + slot->size && slot->hva < map->end;
}

static int add_area(struct vm *vm, const struct slot *slot, const struct mapping *map,
		    uint64_t *skipped)
{
	uint64_t start = map->start > slot->hva ? map->start : slot->hva;
	uint64_t end = slot->hva + slot->size;
	struct area *areas, *area;

	if (map->end < end)
		end = map->end;
	if (is_device(map) || !map->readable) {
		skipped[SKIP_DEVICE] += end - start;
		return 0;
	}
	areas = realloc(vm->areas, (vm->nr_areas + 1) * sizeof(*areas));
	if (!areas)
		return -ENOMEM;
	vm->areas = areas;
	area = &areas[vm->nr_areas++];
	area->hva = start;
	area->size = end - start;
	area->gpa = slot->gpa + (start - slot->hva);
	area->offset = map->offset + (start - map->start);
	choose_presence(map, area);
	return 0;
}

/* Return true, and count the bytes, if a slot is not pre-faulted. */
static bool skip_slot(const struct slot *slot, uint64_t *skipped)
{
	enum skip why;

	/* The second address space is SMM's (x86). Its memory is in the first one, too. */
	if (slot->id >> 16)
		return true;
	if (slot->flags & KVM_MEM_READONLY)
		why = SKIP_ROM;
	else if (slot->flags & KVM_MEM_GUEST_MEMFD)
		why = SKIP_PRIVATE;
	else if (slot->flags & KVM_MEM_LOG_DIRTY_PAGES)
		why = SKIP_LOGGED;
	else
		return false;
	skipped[why] += slot->size;
	return true;
}

/* Find the mapping at or above an address. Return 0, or a negative errno. */
static int query_mapping(int fd, uint64_t addr, struct mapping *map)
{
	struct query query = {
		.size = sizeof(query),
		.query_flags = QUERY_OR_NEXT,
		.query_addr = addr,
		.vma_name_size = sizeof(map->path),
		.vma_name_addr = (uintptr_t)map->path,
	};

	map->path[0] = '\0';
	if (ioctl(fd, QUERY, &query))
		return -errno;
	map->start = query.vma_start;
	map->end = query.vma_end;
	map->offset = query.vma_offset;
	map->inode = query.inode;
	map->dev = makedev(query.dev_major, query.dev_minor);
	map->readable = query.vma_flags & QUERY_READABLE;
	return 0;
}

/* Query the mappings of the slots alone, which is faster than reading all mappings. */
static int query_areas(struct vm *vm, int fd, uint64_t *skipped)
{
	uint64_t unused[NR_SKIPS] = { 0 };
	struct mapping map;
	int error = 0;

	for (unsigned int i = 0; i < vm->nr_slots && !error; i++) {
		const struct slot *slot = &vm->slots[i];

		if (skip_slot(slot, unused))
			continue;
		for (uint64_t at = slot->hva; !error; at = map.end) {
			error = query_mapping(fd, at, &map);
			if (error || !overlaps(slot, &map))
				break;
			error = add_area(vm, slot, &map, skipped);
		}
		/* There is no mapping above. */
		if (error == -ENOENT)
			error = 0;
	}
	return error;
}

static int read_areas(struct vm *vm, FILE *file, uint64_t *skipped)
{
	uint64_t unused[NR_SKIPS] = { 0 };
	char *line = NULL;
	size_t len = 0;
	int error = 0;

	while (!error && getline(&line, &len, file) > 0) {
		struct mapping map;
		char *rest;

		if (!parse_range(line, &map, &rest))
			continue;
		for (unsigned int i = 0; i < vm->nr_slots && !error; i++) {
			const struct slot *slot = &vm->slots[i];

			if (overlaps(slot, &map) && !skip_slot(slot, unused) &&
			    parse_mapping(rest, &map))
				error = add_area(vm, slot, &map, skipped);
		}
	}
	free(line);
	return error;
}

/* Divide the slots of a VM into areas by the mappings of the process. */
int find_areas(struct vm *vm, uint64_t skipped[NR_SKIPS])
{
	FILE *file = fopen("/proc/self/maps", "re");
	int error;

	if (!file)
		return -errno;
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		skip_slot(&vm->slots[i], skipped);
	error = query_areas(vm, fileno(file), skipped);
	if (error == -ENOTTY)
		error = read_areas(vm, file, skipped);
	fclose(file);
	return error;
}

void free_areas(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_areas; i++) {
		if (vm->areas[i].fd >= 0)
			close(vm->areas[i].fd);
	}
	free(vm->areas);
	vm->areas = NULL;
	vm->nr_areas = 0;
}

static void add_mapped(const struct area *area, uint8_t *present)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t pages = area->size / SZ_4K, entry[PAGEMAP_BATCH];

	for (uint64_t i = 0; fd >= 0 && i < pages; i += PAGEMAP_BATCH) {
		uint64_t n = pages - i < PAGEMAP_BATCH ? pages - i : PAGEMAP_BATCH;
		ssize_t len = pread(fd, entry, n * sizeof(*entry),
				    (area->hva / SZ_4K + i) * sizeof(*entry));

		for (ssize_t j = 0; j < len / (ssize_t)sizeof(*entry); j++)
			present[i + j] |= !!(entry[j] & PAGEMAP_PRESENT);
	}
	if (fd >= 0)
		close(fd);
}

static void add_data(const struct area *area, uint8_t *present)
{
	off_t end = area->offset + area->size, data, hole = area->offset;

	while (hole < end) {
		data = lseek(area->fd, hole, SEEK_DATA);
		if (data < 0 || data >= end)
			return;
		hole = lseek(area->fd, data, SEEK_HOLE);
		if (hole < 0 || hole > end)
			hole = end;
		for (off_t at = data - data % SZ_4K; at < hole; at += SZ_4K)
			present[(at - area->offset) / SZ_4K] = 1;
	}
}

/* Set a byte for each page of an area: 1 if the host has the page in memory, else 0. */
int find_present(const struct area *area, uint8_t *present)
{
	uint64_t pages = area->size / SZ_4K;

	if (area->presence == PRESENT_ALL) {
		memset(present, 1, pages);
		return 0;
	}
	if (area->presence == PRESENT_MINCORE) {
		if (mincore((void *)(uintptr_t)area->hva, area->size, present))
			return -errno;
		/* The other bits are reserved. */
		for (uint64_t i = 0; i < pages; i++)
			present[i] &= 1;
		return 0;
	}
	memset(present, 0, pages);
	add_mapped(area, present);
	if (area->fd >= 0)
		add_data(area, present);
	return 0;
}
