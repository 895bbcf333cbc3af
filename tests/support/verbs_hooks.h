/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that fails as the test says. Programs that are linked with verbs_hooks.c
 * call its ibv_reg_mr(), ibv_reg_mr_iova2() and ibv_dereg_mr() instead of those of
 * libibverbs, which these call; and so do the libraries that they are linked with.
 */
#ifndef VERBS_HOOKS_H
#define VERBS_HOOKS_H

#include <infiniband/verbs.h>

struct verbs_hooks {
	int refuse_dereg;		/* the error of ibv_dereg_mr() */
	unsigned int allow_dereg;	/* this number of calls succeeds first */
	unsigned int interrupt_reg;	/* registrations that get EINTR */
	unsigned int passing_one_in;	/* one call in so many fails with EINTR, EAGAIN
					   or EBUSY; 0: none */
	_Atomic unsigned int passing;	/* calls that failed so */
	int more_access;		/* added to a registration's access flags */
	unsigned int registrations;	/* calls */
	struct ibv_mr *last_mr;		/* of the last registration */
};

extern struct verbs_hooks verbs_hooks;

#endif
