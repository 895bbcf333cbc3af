/* SPDX-License-Identifier: BSD-3-Clause */
/* hello DIRECTORY: make a pool, publish a string, find it after a reopen. */
#include <daxpin.h>
#include <stdio.h>
#include <string.h>

static char errmsg[256];

static int check(const char *what, int ret)
{
	if (ret < 0)
		fprintf(stderr, "%s: %s\n", what,
			errmsg[0] ? errmsg : daxpin_strerror(ret));
	return ret < 0;
}

static int show(struct daxpin_pool *pool, struct daxpin_extent extent,
		uint64_t size, void *arg)
{
	printf("%s (%llu bytes at address 0x%llx)\n",
	       (char *)daxpin_ptr(pool, extent, 0), (unsigned long long)size,
	       (unsigned long long)extent.addr);
	*(int *)arg += 1;
	return 0;
}

int main(int argc, char **argv)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .pool_size = 64 << 20,
		.segment_size = 32 << 20, .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	struct daxpin_op keep = { .type = DAXPIN_OP_KEEP };
	struct daxpin_pool *pool;
	int found = 0;

	if (argc != 2)
		return fprintf(stderr, "usage: hello DIRECTORY\n"), 2;
	if (check("create", daxpin_pool_create(argv[1], &options, &pool)) ||
	    check("reserve", daxpin_reserve(pool, 4096, 0, &keep.extent)))
		return 1;
	strcpy(daxpin_ptr(pool, keep.extent, 0), "hello, persistent world");
	if (check("publish", daxpin_publish(pool, &keep, 1, NULL, NULL)) ||
	    check("close", daxpin_pool_close(pool)))
		return 1;

	if (check("open", daxpin_pool_open(argv[1], &options, &pool)) ||
	    check("foreach", daxpin_foreach(pool, show, &found)) ||
	    check("close", daxpin_pool_close(pool)))
		return 1;
	return found == 1 ? 0 : 1;
}
