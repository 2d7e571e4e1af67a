// SPDX-License-Identifier: GPL-2.0-only
/* A fake KVM, and a fake host whose files may belong to another user */

/* Call the C library's functions. */
#undef dup3
#undef faccessat
#undef geteuid
#undef ioctl
#undef mincore

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake-kvm.h"
#include "preload.h"

struct fake_kvm fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

void reset_fake(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	memset(&fake, 0, sizeof(fake));
	fake.lock = lock;
	fake.supported = true;
	fake.error_gpa = UINT64_MAX;
}

/* A file descriptor that can be mapped, duplicated and closed, as those of KVM */
static int new_fd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, SZ_4K))
		fake.complaint = "no memory for a fake";
	return fd;
}

static bool is_same(int a, int b)
{
	struct stat st_a, st_b;

	return !fstat(a, &st_a) && !fstat(b, &st_b) && st_a.st_ino == st_b.st_ino;
}

static int vcpu_of(int fd)
{
	for (unsigned int i = 0; i < fake.vcpus; i++) {
		if (is_same(fake.fd[i], fd))
			return i;
	}
	fake.complaint = "a call on a file that is no vCPU";
	return 0;
}

static int pre_fault(int fd, struct kvm_pre_fault_memory *range)
{
	uint64_t first = range->gpa / SZ_4K, pages = range->size / SZ_4K, i;

	fake.calls++;
	fake.calls_of[vcpu_of(fd)]++;
	if (!fake.runs)
		fake.calls_before_run++;
	if (!pages || first + pages > MAX_PAGES || range->flags) {
		fake.complaint = "a call with a wrong range";
		return EINVAL;
	}
	for (i = 0; i < pages && (first + i) * SZ_4K != fake.error_gpa; i++)
		fake.hits[first + i]++;
	range->gpa += i * SZ_4K;
	range->size -= i * SZ_4K;
	return i ? 0 : fake.error;
}

int fake_ioctl(int fd, unsigned long request, ...)
{
	int error = 0, ret = 0;
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);

	if (_IOC_TYPE(request) != KVMIO) {
		errno = ENOTTY;
		return fake.old ? -1 : ioctl(fd, request, arg);
	}
	if (request == KVM_PRE_FAULT_MEMORY && fake.delay)
		usleep(fake.delay);
	pthread_mutex_lock(&fake.lock);
	switch (request) {
	case KVM_CREATE_VM:
		ret = new_fd("vm");
		break;
	case KVM_CREATE_VCPU:
		ret = new_fd("vcpu");
		fake.fd[fake.vcpus] = dup3(ret, 500 + fake.vcpus, O_CLOEXEC);
		fake.vcpus++;
		break;
	case KVM_CHECK_EXTENSION:
		ret = (uintptr_t)arg == KVM_CAP_PRE_FAULT_MEMORY ? fake.supported :
								  fake.quirks;
		break;
	case KVM_ENABLE_CAP:
		fake.enabled++;
		fake.enabled_args = ((struct kvm_enable_cap *)arg)->args[0];
		break;
	case KVM_RUN:
		fake.runs++;
		break;
	case KVM_PRE_FAULT_MEMORY:
		error = pre_fault(fd, arg);
		break;
	}
	pthread_mutex_unlock(&fake.lock);
	if (!error)
		return ret;
	errno = error;
	return -1;
}

/* present.c calls these instead of the C library's. */
uid_t fake_geteuid(void)
{
	return geteuid() + fake.foreign;
}

int fake_faccessat(int dir, const char *path, int mode, int flags)
{
	if (!fake.foreign)
		return faccessat(dir, path, mode, flags);
	errno = EACCES;
	return -1;
}

int fake_mincore(void *addr, size_t len, unsigned char *vec)
{
	int ret = mincore(addr, len, vec);

	/* Set a reserved bit, as a later kernel may. */
	for (size_t i = 0; !ret && i < len / SZ_4K; i++)
		vec[i] = fake.foreign ? 1 : vec[i] | 0x80;
	return ret;
}
