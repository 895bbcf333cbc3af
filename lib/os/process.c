/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "os/process.h"

int dp_os_pid_exists(int pid)
{
	return !kill(pid, 0) || errno != ESRCH;
}

int dp_os_thread(void)
{
	return (int)syscall(SYS_gettid);
}

enum dp_tristate dp_os_has_thread(int thread)
{
	if (!syscall(SYS_tgkill, getpid(), thread, 0))
		return DP_YES;
	return errno == ESRCH ? DP_NO : DP_UNKNOWN;
}

bool dp_os_is_own_thread(int thread)
{
	return dp_os_has_thread(thread) == DP_YES;
}

enum dp_tristate dp_os_share_files(int thread, int other)
{
	long order = syscall(SYS_kcmp, thread, other, KCMP_FILES, 0, 0);

	return order < 0 ? DP_UNKNOWN : order ? DP_NO : DP_YES;
}
