/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin adopt: a copy of a pool that was not closed becomes a pool of its own. */
#include <stdio.h>
#include <string.h>
#include <daxpin.h>
#include "command.h"

static int adopt(const char *path)
{
	char why[512] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_ADOPT,
		.why = why, .why_size = sizeof(why),
	};
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_pool *pool;
	int ret = daxpin_pool_open(path, &options, &pool);

	if (ret) {
		fprintf(stderr, "daxpin: %s\n", why[0] ? why : strerror(-ret));
		return EXIT_CANNOT_TELL;
	}
	ret = daxpin_pool_info(pool, &info);
	if (!ret)
		ret = daxpin_pool_close(pool);
	if (ret) {
		fprintf(stderr, "daxpin: %s: it could not be closed: %s\n",
			path, strerror(-ret));
		return EXIT_CANNOT_TELL;
	}
	printf("%s: %s, and is closed now\n", path, info.unclean ?
	       "what its last owner had committed is in place" :
	       "it had been closed already");
	return EXIT_CLEAN;
}

static int run(int argc, char **argv)
{
	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: daxpin adopt PATH\n");
		return EXIT_CANNOT_TELL;
	}
	return adopt(argv[1]);
}

const struct command adopt_command = {
	.name = "adopt",
	.summary = "use a copy of a pool that was not closed",
	.help =
	"usage: daxpin adopt PATH\n\n"
	"Opens a copy of a pool that was not closed, and closes it. It may be of\n"
	"several moments if somebody wrote to the pool while it was copied: then\n"
	"copy it again instead. See BACKUP AND RESTORE in daxpin(7).\n"
	"Exits with 0 if that was done, 2 if not.\n",
	.run = run,
};
