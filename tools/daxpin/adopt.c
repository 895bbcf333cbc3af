/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin adopt: turn a copy of a pool that was not closed into a pool of its own. */
#include <stdio.h>
#include <string.h>
#include <daxpin.h>
#include "command.h"

static int adopt(const char *path, unsigned int flags)
{
	char errmsg[512] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_ADOPT | flags,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_pool *pool;
	int ret = daxpin_pool_open(path, &options, &pool);

	if (ret) {
		fprintf(stderr, "daxpin: %s\n",
			errmsg[0] ? errmsg : strerror(-ret));
		return EXIT_UNKNOWN;
	}
	ret = daxpin_pool_info(pool, &info);
	if (!ret)
		ret = daxpin_pool_close(pool);
	if (ret) {
		fprintf(stderr, "daxpin: %s: the pool was opened, but could not be closed: %s\n",
			path, strerror(-ret));
		return EXIT_UNKNOWN;
	}
	printf("%s: %s, and the pool is closed now\n", path, info.unclean ?
	       "what its last owner had committed is in place" :
	       "the pool had been closed already");
	return EXIT_CLEAN;
}

static int run(int argc, char **argv)
{
	unsigned int flags = 0;
	int at = 1;

	if (argc > 2 && !strcmp(argv[at], "--despite-rdma")) {
		flags = DAXPIN_POOL_DESPITE_RDMA;
		at++;
	}
	if (argc != at + 1 || argv[at][0] == '-') {
		fprintf(stderr, "usage: daxpin adopt [--despite-rdma] PATH\n");
		return EXIT_UNKNOWN;
	}
	return adopt(argv[at], flags);
}

const struct command adopt_command = {
	.name = "adopt",
	.summary = "use a copy of a pool that was not closed",
	.help =
	"usage: daxpin adopt [--despite-rdma] PATH\n\n"
	"Opens a copy of a pool that was not closed, and closes it. If a program wrote\n"
	"to the pool while it was copied, parts of the copy are from different moments:\n"
	"copy the pool again instead. See BACKUP AND RESTORE in daxpin(7).\n"
	"  --despite-rdma  don't wait for the RDMA of an owner that died, and don't refuse\n"
	"                  the pool if it is unknown whether that RDMA has ended. A peer\n"
	"                  that still writes overwrites the pool's present data. See\n"
	"                  CONTAINERS in daxpin(7)\n"
	"Exits with 0 if the pool was opened and closed, and with 2 otherwise.\n",
	.run = run,
};
