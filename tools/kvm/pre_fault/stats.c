// SPDX-License-Identifier: GPL-2.0-only
/* Read KVM's binary statistics (KVM_GET_STATS_FD) by name. */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pre_fault.h"

static int read_at(int fd, void *buf, size_t len, off_t offset)
{
	ssize_t ret = pread(fd, buf, len, offset);

	if (ret == (ssize_t)len)
		return 0;
	if (ret >= 0)
		errno = EIO;
	return -1;
}

int stats_open(struct stat_file *stats, int kvm_fd)
{
	stats->fd = ioctl(kvm_fd, KVM_GET_STATS_FD, NULL);
	if (stats->fd < 0) {
		warn("KVM_GET_STATS_FD (Linux 5.14 or later is needed)");
		return -1;
	}

	if (read_at(stats->fd, &stats->header, sizeof(stats->header), 0)) {
		warn("cannot read the header of KVM's statistics");
		stats_close(stats);
		return -1;
	}
	return 0;
}

int stats_read(const struct stat_file *stats, const char *name,
	       uint64_t *value)
{
	const struct kvm_stats_header *header = &stats->header;
	size_t desc_size = sizeof(struct kvm_stats_desc) + header->name_size;
	struct kvm_stats_desc *desc = malloc(desc_size);
	int ret = -1;

	if (!desc) {
		warn("malloc");
		return -1;
	}

	for (uint32_t i = 0; i < header->num_desc; i++) {
		if (read_at(stats->fd, desc, desc_size,
			    header->desc_offset + i * desc_size)) {
			warn("cannot read KVM's statistics");
			goto out;
		}
		if (strncmp(desc->name, name, header->name_size))
			continue;
		ret = read_at(stats->fd, value, sizeof(*value),
			      (off_t)header->data_offset + desc->offset);
		if (ret)
			warn("cannot read KVM statistic %s", name);
		goto out;
	}
	warnx("this KVM has no statistic %s", name);
out:
	free(desc);
	return ret;
}

void stats_close(struct stat_file *stats)
{
	if (stats->fd >= 0)
		close(stats->fd);
	stats->fd = -1;
}
