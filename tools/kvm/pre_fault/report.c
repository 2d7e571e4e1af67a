// SPDX-License-Identifier: GPL-2.0-only
/* Report the work of libkvm_pre_fault.so: a line on stderr, and a file of JSON. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

static const char *const skip_names[NR_SKIPS] = {
	[SKIP_ROM]	= "rom",
	[SKIP_PRIVATE]	= "private",
	[SKIP_LOGGED]	= "dirty_logged",
	[SKIP_DEVICE]	= "device",
	[SKIP_ABSENT]	= "absent",
};

static pthread_mutex_t file_lock = PTHREAD_MUTEX_INITIALIZER;

/* Write the line by a single call: other threads may write to stderr, too. */
void report_round(const struct vm *vm)
{
	const struct round *round = &vm->rounds[vm->nr_rounds - 1];
	char line[512];
	int len;

	if (options.quiet)
		return;
	len = snprintf(line, sizeof(line), "kvm-pre-fault: VM %u, round %u: %" PRIu64
		       " kB by %u of %u vCPUs in %.3f ms (look %.3f, pre-fault %.3f), %"
		       PRIu64 " calls, %" PRIu64 " kB absent, %" PRIu64
		       " kB failed, %u slot changes, %u drop mappings",
		       vm->id, vm->nr_rounds, round->bytes >> 10, round->vcpus, vm->vcpus,
		       round->wall_ns / 1e6, round->look_ns / 1e6,
		       round->pre_fault_ns / 1e6, round->calls,
		       round->skipped[SKIP_ABSENT] >> 10, round->failed >> 10,
		       vm->changes, vm->drops);
	if (round->error)
		len += snprintf(line + len, sizeof(line) - len, "; %s at %#" PRIx64,
				strerror(-round->error), round->error_gpa);
	fprintf(stderr, "%s\n", line);
}

void report_unsupported(const struct vm *vm)
{
	if (!options.quiet)
		fprintf(stderr, "kvm-pre-fault: VM %u: KVM has no KVM_PRE_FAULT_MEMORY\n",
			vm->id);
}

static void write_round(FILE *file, const struct vm *vm, const struct round *round)
{
	fprintf(file, "%s\n\t\t{ \"bytes\": %" PRIu64 ", \"failed\": %" PRIu64
		", \"calls\": %" PRIu64 ", \"vcpus\": %u, \"error\": %d",
		round == vm->rounds ? "" : ",", round->bytes, round->failed, round->calls,
		round->vcpus, -round->error);
	fprintf(file, ",\n\t\t  \"wall_ns\": %" PRIu64 ", \"look_ns\": %" PRIu64
		", \"pre_fault_ns\": %" PRIu64 ",\n\t\t  \"skipped\": {",
		round->wall_ns, round->look_ns, round->pre_fault_ns);
	for (unsigned int i = 0; i < NR_SKIPS; i++)
		fprintf(file, "%s \"%s\": %" PRIu64, i ? "," : "", skip_names[i],
			round->skipped[i]);
	fprintf(file, " } }");
}

struct json {
	FILE *file;
	unsigned int vms;
};

static void write_vm(struct vm *vm, void *opaque)
{
	struct json *json = opaque;
	unsigned int over = vm->nr_rounds - vm->open;

	fprintf(json->file, "%s\n\t{ \"vm\": %u, \"supported\": %s, \"vcpus\": %u",
		json->vms++ ? "," : "", vm->id, vm->supported ? "true" : "false",
		vm->vcpus);
	fprintf(json->file, ", \"keeps_mappings\": %s, \"slots\": %u",
		vm->keeps ? "true" : "false", vm->nr_slots);
	fprintf(json->file, ", \"changes\": %u, \"drops\": %u,\n\t  \"rounds\": [",
		vm->changes, vm->drops);
	for (unsigned int i = 0; i < over; i++)
		write_round(json->file, vm, &vm->rounds[i]);
	fprintf(json->file, "%s] }", over ? "\n\t  " : "");
}

/* Replace the file as a whole, or leave it as it is if this process has no VM. */
void report_json(void)
{
	struct json json = { 0 };
	char *text = NULL, *path = NULL;
	size_t len = 0;
	FILE *file;

	if (!options.json)
		return;
	pthread_mutex_lock(&file_lock);
	json.file = open_memstream(&text, &len);
	if (!json.file)
		goto unlock;
	fprintf(json.file, "{ \"pid\": %d, \"dry_run\": %s, \"vms\": [", (int)getpid(),
		options.dry_run ? "true" : "false");
	for_each_vm(write_vm, &json);
	fprintf(json.file, " ] }\n");
	if (fclose(json.file) || !json.vms || asprintf(&path, "%s.new", options.json) < 0)
		goto free;
	file = fopen(path, "we");
	if (!file || fputs(text, file) < 0 || fclose(file) || rename(path, options.json))
		fprintf(stderr, "kvm-pre-fault: %s: %s\n", path, strerror(errno));
free:
	free(text);
	free(path);
unlock:
	pthread_mutex_unlock(&file_lock);
}

/* Another thread of the parent may have held the lock. */
void report_in_child(void)
{
	pthread_mutex_init(&file_lock, NULL);
}
