/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fresh_pool PATH: creates an empty pool, whatever is there. For tests/lab/ublk_server,
 * on device-dax, where other tests have had pools.
 */
#include <daxpin.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	char errmsg[512] = "";
	const struct daxpin_pool_options options = {
		.size = sizeof(options),
		.flags = DAXPIN_POOL_OVERWRITE,
		.deadline_ns = daxpin_deadline_ms(600000),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct daxpin_pool *pool;
	int ret = argc == 2 ? daxpin_pool_create(argv[1], &options, &pool) : -1;

	if (!ret)
		ret = daxpin_pool_close(pool);
	if (ret)
		fprintf(stderr, "fresh_pool: %s: %s\n", errmsg, daxpin_strerror(ret));
	return ret ? 1 : 0;
}
