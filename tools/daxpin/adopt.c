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

struct adopt_values {
	int despite_rdma;
};

static int run(int argc, char **argv)
{
	struct adopt_values values = { 0 };

	if (table_parse(&adopt_command, argc, argv, &values) < 0)
		return EXIT_UNKNOWN;
	return adopt(argv[1], values.despite_rdma ? DAXPIN_POOL_DESPITE_RDMA : 0);
}

static const struct tool_option options[] = {
	{ "despite-rdma", NULL, OPTION_FLAG,
	  offsetof(struct adopt_values, despite_rdma),
	  "do not wait for the RDMA of a dead owner, nor refuse" },
	{ .name = NULL },
};

const struct command adopt_command = {
	.name = "adopt",
	.summary = "use a copy of a pool that was not closed",
	.help = "Opens a copy of a pool that was not closed, and closes it. If a program wrote to\n"
		"the pool while it was copied, parts of the copy are from different moments: copy\n"
		"the pool again instead. See BACKUP AND RESTORE in daxpin(7).\n\n"
		"With --despite-rdma a peer that still writes overwrites the pool's present data.\n"
		"See CONTAINERS in daxpin(7).",
	.exits = "Exits with 0 if the pool was opened and closed, and with 2 otherwise.",
	.words = "PATH", .words_min = 1, .words_max = 1,
	.options = options,
	.run = run,
};
