/* SPDX-License-Identifier: BSD-3-Clause */
/* Removes a benchmark's pool, which is a directory with files in it. */
#ifndef BENCH_REMOVE_TREE_H
#define BENCH_REMOVE_TREE_H

#include <ftw.h>
#include <stdio.h>

static inline int remove_one(const char *name, const struct stat *st, int type,
			     struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static inline void remove_tree(const char *path)
{
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
