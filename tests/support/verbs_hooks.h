/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that misbehaves: programs linked with verbs_hooks.c call its
 * ibv_reg_mr(), ibv_reg_mr_iova2() and ibv_dereg_mr() in the place of libibverbs',
 * which these call in turn. So do the libraries that the program is linked with.
 */
#ifndef VERBS_HOOKS_H
#define VERBS_HOOKS_H

#include <infiniband/verbs.h>

struct verbs_hooks {
	int refuse_dereg;		/* what ibv_dereg_mr() returns ... */
	unsigned int allow_dereg;	/* ... but for the first so many */
	unsigned int interrupt_reg;	/* so many registrations get EINTR */
	unsigned int passing_one_in;	/* one call in so many fails with EINTR, EAGAIN
					   or EBUSY; 0: none */
	_Atomic unsigned int passing;	/* calls that did */
	int more_access;		/* added to what a registration asks for */
	unsigned int registrations;	/* calls */
	struct ibv_mr *last_mr;		/* of the last registration */
};

extern struct verbs_hooks verbs_hooks;

#endif
