// SPDX-License-Identifier: GPL-2.0-only
/*
 * The statistics of a vCPU and of its VM.
 */
#define _GNU_SOURCE
#include "../pre_fault.h"

static const struct {
	const char *name;
	size_t offset;
} vcpu_stats[] = {
	{ "pf_taken", offsetof(struct pf_stats, taken) },
	{ "pf_fixed", offsetof(struct pf_stats, fixed) },
	{ "pf_emulate", offsetof(struct pf_stats, emulate) },
	{ "pf_spurious", offsetof(struct pf_stats, spurious) },
	{ "pf_fast", offsetof(struct pf_stats, fast) },
	{ "pf_mmio_spte_created", offsetof(struct pf_stats, mmio_spte) },
};

struct stats_file {
	struct kvm_stats_header header;
	struct kvm_stats_desc *descs;
	int fd;
};

static void open_stats(struct stats_file *file, struct kvm_vcpu *vcpu)
{
	file->fd = vcpu_get_stats_fd(vcpu);
	read_stats_header(file->fd, &file->header);
	file->descs = read_stats_descriptors(file->fd, &file->header);
}

static void close_stats(struct stats_file *file)
{
	free(file->descs);
	close(file->fd);
}

static bool read_stat(struct stats_file *file, const char *name, uint64_t *value)
{
	struct kvm_stats_desc *desc;
	unsigned int i;

	for (i = 0; i < file->header.num_desc; i++) {
		desc = get_stats_descriptor(file->descs, i, &file->header);
		if (!strcmp(desc->name, name)) {
			read_stat_data(file->fd, &file->header, desc, value, 1);
			return true;
		}
	}
	return false;
}

bool pf_counts_prefaults;

uint64_t pf_nr_exits(struct kvm_vcpu *vcpu)
{
	struct stats_file file;
	uint64_t exits;

	open_stats(&file, vcpu);
	TEST_ASSERT(read_stat(&file, "exits", &exits),
		    "no vCPU statistic exits");
	close_stats(&file);
	return exits;
}

struct pf_stats pf_stats(struct kvm_vcpu *vcpu)
{
	struct pf_stats stats = {};
	struct stats_file file;
	unsigned int i;

	open_stats(&file, vcpu);
	for (i = 0; i < ARRAY_SIZE(vcpu_stats); i++) {
		uint64_t *value = (void *)&stats + vcpu_stats[i].offset;

		TEST_ASSERT(read_stat(&file, vcpu_stats[i].name, value) ||
			    pf_arch_stat(vcpu_stats[i].name, value),
			    "no vCPU statistic %s", vcpu_stats[i].name);
	}
	pf_counts_prefaults = read_stat(&file, "pf_prefaulted", &stats.prefaulted);
	close_stats(&file);

	if (pf_counts_mappings) {
		stats.pages_4k = vm_get_stat(vcpu->vm, pages_4k);
		stats.pages_2m = vm_get_stat(vcpu->vm, pages_2m);
		stats.pages_1g = vm_get_stat(vcpu->vm, pages_1g);
	}
	return stats;
}

struct pf_stats pf_stats_since(struct kvm_vcpu *vcpu,
			       const struct pf_stats *before)
{
	struct pf_stats stats = pf_stats(vcpu);
	const uint64_t *old = (const uint64_t *)before;
	uint64_t *new = (uint64_t *)&stats;
	unsigned int i;

	for (i = 0; i < sizeof(stats) / sizeof(*new); i++)
		new[i] -= old[i];

	return stats;
}

bool pf_prefaulted(const struct pf_stats *since, uint64_t nr)
{
	return !pf_counts_prefaults || since->prefaulted == nr;
}

/* Kernels without pf_prefaulted do not count pre-faults in pf_fixed, either. */
bool pf_fixed(const struct pf_stats *since, uint64_t nr)
{
	return !pf_counts_mappings || !pf_counts_prefaults || since->fixed == nr;
}

bool pf_mapped(const struct pf_stats *since, uint64_t nr_4k, uint64_t nr_2m)
{
	return !pf_counts_mappings ||
	       (since->pages_4k == nr_4k && since->pages_2m == nr_2m &&
		!since->pages_1g);
}

uint64_t pf_mapped_by_guest(const struct pf_stats *since)
{
	return pf_counts_mappings ? since->pages_4k : since->taken;
}

bool pf_mapped_huge(const struct pf_stats *since, uint64_t npages)
{
	return pf_counts_mappings ? since->pages_2m : since->taken < npages;
}
