/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers that are registered with a ring count against RLIMIT_MEMLOCK, unless the
 * process has CAP_IPC_LOCK. Debian's limit is 8 MiB, and a segment has at least 32 MiB.
 */
#ifndef MEMLOCK_H
#define MEMLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Tries it with address space that has no pages. Sanitizers replace mlock() by a
 * function that does nothing, so this makes the system call.
 */
static inline bool can_lock(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	bool can;

	if (memory == MAP_FAILED)
		return false;
	can = !syscall(SYS_mlock2, memory, bytes, MLOCK_ONFAULT);
	munmap(memory, bytes);
	return can;
}

static inline unsigned long long memlock_kib(void)
{
	struct rlimit limit = { 0 };

	getrlimit(RLIMIT_MEMLOCK, &limit);
	return limit.rlim_cur / 1024;
}

#endif
