/* SPDX-License-Identifier: BSD-3-Clause */
#include "forbid.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

/* A filter that has one result for this call, and another for all others. */
static int forbid_by(unsigned int call, unsigned int result, unsigned int others)
{
	struct sock_filter rule[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, result),
		BPF_STMT(BPF_RET | BPF_K, others),
	};
	struct sock_fprog program = { 4, rule };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return -errno;
	return 0;
}

int forbid(unsigned int call, int error)
{
	return forbid_by(call, SECCOMP_RET_ERRNO | error, SECCOMP_RET_ALLOW);
}

int forbid_all_but(unsigned int call)
{
	return forbid_by(call, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
}
