/* SPDX-License-Identifier: BSD-3-Clause */
#include "nobody.h"
#include <ftw.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

bool drop_privileges(uid_t uid, rlim_t memlock_bytes)
{
	struct rlimit limit = { memlock_bytes, memlock_bytes };

	return !setrlimit(RLIMIT_MEMLOCK, &limit) && !setgroups(0, NULL) &&
	       !setresgid(uid, uid, uid) && !setresuid(uid, uid, uid);
}

static int open_one(const char *path, const struct stat *st, int type,
		    struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return lchown(path, -1, NOBODY) ||
	       chmod(path, type == FTW_D ? 0750 : 0660);
}

int allow_nobody(const char *path)
{
	return nftw(path, open_one, 8, FTW_PHYS);
}
