/* SPDX-License-Identifier: BSD-3-Clause */
#include "verbs_hooks.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

struct verbs_hooks verbs_hooks;

/* Returns a temporary errno from time to time, otherwise 0. */
static int passing_failure(void)
{
	static const int failures[] = { EINTR, EAGAIN, EBUSY };
	static _Atomic unsigned int random = 4711;
	unsigned int drawn = atomic_load(&random), next;

	do
		next = drawn * 1664525u + 1013904223u;
	while (!atomic_compare_exchange_weak(&random, &drawn, next));
	if (!verbs_hooks.passing_one_in ||
	    (next >> 8) % verbs_hooks.passing_one_in)
		return 0;
	return failures[atomic_fetch_add(&verbs_hooks.passing, 1) % 3];
}

__attribute__((visibility("default")))
int ibv_dereg_mr(struct ibv_mr *mr)
{
	int err = passing_failure();
	int (*real)(struct ibv_mr *) =
		(int (*)(struct ibv_mr *))dlsym(RTLD_NEXT, "ibv_dereg_mr");

	if (err)
		return err;
	if (!verbs_hooks.refuse_dereg)
		return real(mr);
	if (!verbs_hooks.allow_dereg)
		return verbs_hooks.refuse_dereg;
	verbs_hooks.allow_dereg--;
	return real(mr);
}

/* Counts the call. Returns true if it fails with EINTR or another temporary error. */
static bool interrupted(void)
{
	int err = passing_failure();

	verbs_hooks.registrations++;
	if (err)
		errno = err;
	if (err || !verbs_hooks.interrupt_reg)
		return err;
	verbs_hooks.interrupt_reg--;
	errno = EINTR;
	return true;
}

#undef ibv_reg_mr
__attribute__((visibility("default")))
struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *base, size_t length,
			  int access)
{
	struct ibv_mr *(*real)(struct ibv_pd *, void *, size_t, int) =
		(struct ibv_mr *(*)(struct ibv_pd *, void *, size_t, int))
		dlsym(RTLD_NEXT, "ibv_reg_mr");

	if (interrupted())
		return NULL;
	verbs_hooks.last_mr = real(pd, base, length,
				   access | verbs_hooks.more_access);
	return verbs_hooks.last_mr;
}

__attribute__((visibility("default")))
struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *base, size_t length,
				uint64_t iova, unsigned int access)
{
	struct ibv_mr *(*real)(struct ibv_pd *, void *, size_t, uint64_t,
			       unsigned int) =
		(struct ibv_mr *(*)(struct ibv_pd *, void *, size_t, uint64_t,
				    unsigned int))
		dlsym(RTLD_NEXT, "ibv_reg_mr_iova2");

	if (interrupted())
		return NULL;
	verbs_hooks.last_mr = real(pd, base, length, iova, access |
				   (unsigned int)verbs_hooks.more_access);
	return verbs_hooks.last_mr;
}
