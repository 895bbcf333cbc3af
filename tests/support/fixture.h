/* SPDX-License-Identifier: BSD-3-Clause */
/* A small pool on shmem for one test. It is removed even if the test fails. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <daxpin.h>

struct fixture {
	char path[64];
	char errmsg[512];
	struct daxpin_pool_options options;
	struct daxpin_pool *pool;
};

int remove_one(const char *path, const struct stat *st, int type,
	       struct FTW *ftw);

/* A directory and options, without a pool. */
int fixture_make(void **state, uint64_t size);

int fixture_setup_sized(void **state, uint64_t size);

int fixture_setup(void **state);

/* Fails if the test left anything held, since the pool cannot be closed then. */
int fixture_teardown(void **state);

int fixture_reopen(struct fixture *f);

struct daxpin_extent reserve(struct fixture *f, uint64_t size);

int publish(struct fixture *f, uint32_t type, struct daxpin_extent extent);

struct daxpin_extent live(struct fixture *f, uint64_t size);

struct daxpin_pool_info pool_info(struct fixture *f);

uint64_t free_bytes(struct fixture *f);

#endif
