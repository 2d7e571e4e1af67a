// SPDX-License-Identifier: GPL-2.0-only
/*
 * libkvm_pre_fault.so: follow the VMs, vCPUs and memory slots of a VMM by its system
 * calls, and pre-fault on the threads of its vCPUs before they enter the guest.
 *
 * Locks: table_lock is taken before a VM's lock. Lookups take none: the memory of VMs and
 * vCPUs is reused, but never freed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "preload.h"

#ifndef KVM_CAP_DISABLE_QUIRKS2
#define KVM_CAP_DISABLE_QUIRKS2		213
#endif
#ifndef KVM_X86_QUIRK_SLOT_ZAP_ALL
#define KVM_X86_QUIRK_SLOT_ZAP_ALL	(1 << 7)
#endif
#ifndef KVM_SET_USER_MEMORY_REGION2
#define KVM_SET_USER_MEMORY_REGION2	_IOW(KVMIO, 0x49, char[160])
#endif

/* Export nothing else: a VMM may have a kvm_pre_fault_range() of its own. */
#define INTERPOSE	__attribute__((visibility("default")))

/* Follow the file descriptors below this one. */
#define MAX_FDS		65536

struct host host;
struct preload_options options;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vm *vm_of[MAX_FDS];
static struct vcpu *vcpu_of[MAX_FDS];
static struct vm *vms, *free_vms;
static struct vcpu *free_vcpus;
static unsigned int nr_vms;
/* Set if the environment has valid options */
static bool on;

static struct vm *find_vm(int fd)
{
	if (fd < 0 || fd >= MAX_FDS)
		return NULL;
	return __atomic_load_n(&vm_of[fd], __ATOMIC_ACQUIRE);
}

static struct vcpu *find_vcpu(int fd)
{
	if (fd < 0 || fd >= MAX_FDS)
		return NULL;
	return __atomic_load_n(&vcpu_of[fd], __ATOMIC_ACQUIRE);
}

static bool is_followed(int fd)
{
	return find_vm(fd) || find_vcpu(fd);
}

static void set_entry(int fd, struct vm *vm, struct vcpu *vcpu)
{
	__atomic_store_n(&vm_of[fd], vm, __ATOMIC_RELEASE);
	__atomic_store_n(&vcpu_of[fd], vcpu, __ATOMIC_RELEASE);
}

static void before_fork(void)
{
	pthread_mutex_lock(&table_lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&table_lock);
}

/* Forget all VMs: KVM refuses the ioctls of a process that did not create the VM. */
static void in_child(void)
{
	memset(vm_of, 0, sizeof(vm_of));
	memset(vcpu_of, 0, sizeof(vcpu_of));
	/* Do not reuse these: a thread of the parent may have held the lock of any. */
	vms = NULL;
	free_vms = NULL;
	free_vcpus = NULL;
	report_in_child();
	pthread_mutex_unlock(&table_lock);
}

static void read_options(void)
{
	/* Copy the options, which are pointers into the text: the VMM may change it. */
	static char text[8192];
	const char *env = getenv(PRELOAD_ENV);

	if (!env)
		return;
	on = (size_t)snprintf(text, sizeof(text), "%s", env) < sizeof(text) &&
	     !parse_options(&options, text);
	if (!on)
		fprintf(stderr, "kvm-pre-fault: bad options in " PRELOAD_ENV "\n");
}

static void init(void)
{
	host.ioctl = dlsym(RTLD_NEXT, "ioctl");
	host.close = dlsym(RTLD_NEXT, "close");
	host.dup = dlsym(RTLD_NEXT, "dup");
	host.dup2 = dlsym(RTLD_NEXT, "dup2");
	host.dup3 = dlsym(RTLD_NEXT, "dup3");
	host.fcntl = dlsym(RTLD_NEXT, "fcntl");
	host.fcntl64 = dlsym(RTLD_NEXT, "fcntl64");
	if (!host.fcntl64)
		host.fcntl64 = host.fcntl;
	read_options();
	if (on)
		pthread_atfork(before_fork, after_fork, in_child);
}

/* Constructors of other libraries may run, and call, before this library's. */
static void need_host(void)
{
	int error = errno;

	pthread_once(&once, init);
	errno = error;
}

void for_each_vm(void (*fn)(struct vm *vm, void *opaque), void *opaque)
{
	pthread_mutex_lock(&table_lock);
	for (struct vm *vm = vms; vm; vm = vm->next) {
		pthread_mutex_lock(&vm->lock);
		fn(vm, opaque);
		pthread_mutex_unlock(&vm->lock);
	}
	pthread_mutex_unlock(&table_lock);
}

static void put_vm(struct vm *vm)
{
	struct vm **at = &vms;

	if (--vm->users)
		return;
	while (*at != vm)
		at = &(*at)->next;
	*at = vm->next;
	free_areas(vm);
	free(vm->slots);
	pthread_cond_destroy(&vm->over);
	pthread_mutex_destroy(&vm->lock);
	vm->next = free_vms;
	free_vms = vm;
}

/* Called with table_lock held */
static void forget(int fd)
{
	struct vcpu *vcpu = vcpu_of[fd];
	struct vm *vm = vm_of[fd];

	set_entry(fd, NULL, NULL);
	if (vcpu && !--vcpu->users) {
		if (vcpu->run)
			munmap((void *)vcpu->run, sysconf(_SC_PAGESIZE));
		put_vm(vcpu->vm);
		vcpu->next = free_vcpus;
		free_vcpus = vcpu;
	} else if (vm) {
		put_vm(vm);
	}
}

static void init_vm(struct vm *vm)
{
	pthread_condattr_t attr;

	memset(vm, 0, sizeof(*vm));
	pthread_mutex_init(&vm->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->over, &attr);
	pthread_condattr_destroy(&attr);
}

/* Have KVM drop only the mappings of a slot that is deleted or moved. */
static bool keep_mappings(int fd)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_DISABLE_QUIRKS2,
		.args = { KVM_X86_QUIRK_SLOT_ZAP_ALL },
	};
	int quirks = host.ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2);

	return quirks > 0 && (quirks & KVM_X86_QUIRK_SLOT_ZAP_ALL) &&
	       !host.ioctl(fd, KVM_ENABLE_CAP, &cap);
}

static void add_vm(int fd)
{
	struct vm *vm;

	pthread_mutex_lock(&table_lock);
	forget(fd);
	vm = free_vms;
	if (vm)
		free_vms = vm->next;
	else
		vm = malloc(sizeof(*vm));
	if (vm) {
		init_vm(vm);
		vm->id = ++nr_vms;
		vm->users = 1;
		vm->supported = host.ioctl(fd, KVM_CHECK_EXTENSION,
					   KVM_CAP_PRE_FAULT_MEMORY) > 0;
		if (!vm->supported)
			report_unsupported(vm);
		else if (options.keep && !options.dry_run)
			vm->keeps = keep_mappings(fd);
		vm->next = vms;
		vms = vm;
		set_entry(fd, vm, NULL);
	}
	pthread_mutex_unlock(&table_lock);
}

static void add_vcpu(struct vm *vm, int fd)
{
	struct vcpu *vcpu;
	void *run;

	pthread_mutex_lock(&table_lock);
	forget(fd);
	vcpu = free_vcpus;
	if (vcpu)
		free_vcpus = vcpu->next;
	else
		vcpu = malloc(sizeof(*vcpu));
	if (vcpu) {
		run = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
		vm->users++;
		pthread_mutex_lock(&vm->lock);
		*vcpu = (struct vcpu) {
			.vm = vm,
			.users = 1,
			.index = vm->vcpus++,
			.run = run == MAP_FAILED ? NULL : run,
		};
		pthread_mutex_unlock(&vm->lock);
		set_entry(fd, NULL, vcpu);
	}
	pthread_mutex_unlock(&table_lock);
}

/* Follow @to, a duplicate of @fd, as the same VM or vCPU. */
static int duplicated(int fd, int to)
{
	struct vcpu *vcpu;
	struct vm *vm;

	if (to < 0 || to >= MAX_FDS || to == fd ||
	    (!is_followed(fd) && !is_followed(to)))
		return to;
	pthread_mutex_lock(&table_lock);
	vm = find_vm(fd);
	vcpu = find_vcpu(fd);
	if (vm)
		vm->users++;
	if (vcpu)
		vcpu->users++;
	forget(to);
	set_entry(to, vm, vcpu);
	pthread_mutex_unlock(&table_lock);
	return to;
}

static void region_set(struct vm *vm, const struct kvm_userspace_memory_region *region)
{
	struct slot slot = {
		.id = region->slot,
		.flags = region->flags,
		.gpa = region->guest_phys_addr,
		.size = region->memory_size,
		.hva = region->userspace_addr,
	};

	slot_changed(vm, &slot);
}

static void follow(int fd, unsigned long request, void *arg, int ret)
{
	struct vm *vm = find_vm(fd);

	if (request == KVM_CREATE_VM && ret < MAX_FDS)
		add_vm(ret);
	else if (!vm)
		return;
	else if (request == KVM_CREATE_VCPU && ret < MAX_FDS)
		add_vcpu(vm, ret);
	else if (request == KVM_SET_USER_MEMORY_REGION ||
		 request == KVM_SET_USER_MEMORY_REGION2)
		region_set(vm, arg);
}

INTERPOSE int ioctl(int fd, unsigned long request, ...)
{
	struct vcpu *vcpu;
	va_list args;
	void *arg;
	int error, ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);

	need_host();
	if (!on || _IOC_TYPE(request) != KVMIO)
		return host.ioctl(fd, request, arg);
	if (request == KVM_RUN) {
		vcpu = find_vcpu(fd);
		if (vcpu && __atomic_load_n(&vcpu->vm->due, __ATOMIC_ACQUIRE)) {
			error = errno;
			before_run(vcpu, fd);
			errno = error;
		}
		return host.ioctl(fd, request, arg);
	}
	ret = host.ioctl(fd, request, arg);
	if (ret >= 0) {
		error = errno;
		follow(fd, request, arg, ret);
		errno = error;
	}
	return ret;
}

INTERPOSE int close(int fd)
{
	need_host();
	/* Forget first: another thread may get the number as soon as the kernel frees it. */
	if (is_followed(fd)) {
		pthread_mutex_lock(&table_lock);
		forget(fd);
		pthread_mutex_unlock(&table_lock);
	}
	return host.close(fd);
}

INTERPOSE int dup(int fd)
{
	need_host();
	return duplicated(fd, host.dup(fd));
}

INTERPOSE int dup2(int fd, int to)
{
	need_host();
	return duplicated(fd, host.dup2(fd, to));
}

INTERPOSE int dup3(int fd, int to, int flags)
{
	need_host();
	return duplicated(fd, host.dup3(fd, to, flags));
}

/* need_host() sets *@host_fcntl. */
static int follow_fcntl(int (**host_fcntl)(int fd, int cmd, ...), int fd, int cmd,
			void *arg)
{
	int ret;

	need_host();
	ret = (*host_fcntl)(fd, cmd, arg);
	return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC ? duplicated(fd, ret) : ret;
}

/* Arguments of all types fit into a pointer, and the kernel ignores a surplus one. */
INTERPOSE int fcntl(int fd, int cmd, ...)
{
	va_list args;
	void *arg;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	return follow_fcntl(&host.fcntl, fd, cmd, arg);
}

INTERPOSE int fcntl64(int fd, int cmd, ...)
{
	va_list args;
	void *arg;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	return follow_fcntl(&host.fcntl64, fd, cmd, arg);
}

static __attribute__((constructor)) void start(void)
{
	need_host();
}

static __attribute__((destructor)) void end(void)
{
	if (on)
		report_json();
}
