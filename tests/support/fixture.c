/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"
#include "shm.h"

int remove_one(const char *path, const struct stat *st, int type,
	       struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int fixture_make(void **state, uint64_t size)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/daxpin-test-XXXXXX",
		 shm_directory());
	if (!mkdtemp(f->path))
		return -1;
	f->options = (struct daxpin_pool_options) {
		.size = sizeof(f->options),
		.granularity = DAXPIN_GRANULARITY_CACHE_LINE,
		.pool_size = size,
		.segment_size = 32 << 20,
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	*state = f;
	return 0;
}

int fixture_setup_sized(void **state, uint64_t size)
{
	struct fixture *f;

	if (fixture_make(state, size))
		return -1;
	f = *state;
	if (daxpin_pool_create(f->path, &f->options, &f->pool)) {
		fprintf(stderr, "%s\n", f->errmsg);
		nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
		return -1;
	}
	return 0;
}

int fixture_setup(void **state)
{
	return fixture_setup_sized(state, 64 << 20);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	int ret = daxpin_pool_close(f->pool);

	nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return ret;
}

int fixture_reopen(struct fixture *f)
{
	int ret = daxpin_pool_close(f->pool);

	f->pool = NULL;
	f->options.flags = 0;
	return ret ? ret : daxpin_pool_open(f->path, &f->options, &f->pool);
}

struct daxpin_extent reserve(struct fixture *f, uint64_t size)
{
	struct daxpin_extent extent;

	assert_int_equal(daxpin_reserve(f->pool, size, 0, &extent), 0);
	return extent;
}

int publish(struct fixture *f, uint32_t type, struct daxpin_extent extent)
{
	struct daxpin_op op = { .type = type, .extent = extent };

	return daxpin_publish(f->pool, &op, 1, NULL, NULL);
}

struct daxpin_extent live(struct fixture *f, uint64_t size)
{
	struct daxpin_extent extent = reserve(f, size);

	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	return extent;
}

struct daxpin_pool_info pool_info(struct fixture *f)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	return info;
}

uint64_t free_bytes(struct fixture *f)
{
	return pool_info(f).free_bytes;
}
