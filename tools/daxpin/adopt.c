/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin adopt: turn a copy of a pool that was not closed into a pool of its own. */
#include <stdio.h>
#include "command.h"
#include "show.h"
#include "table.h"

struct adopt_values {
	int json, despite_rdma;
};

static int adopt_pool(struct show *show, const struct adopt_values *values)
{
	const struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_ADOPT |
			(values->despite_rdma ? DAXPIN_POOL_DESPITE_RDMA : 0),
		.errmsg = show->errmsg, .errmsg_size = sizeof(show->errmsg),
	};

	if (show_open_with(show, &options))
		return -1;
	show->error = daxpin_pool_close(show->pool);
	if (!show->error) {
		show->pool = NULL;
		return 0;
	}
	snprintf(show->errmsg, sizeof(show->errmsg),
		 "%s: the pool was opened, but could not be closed: %s", show->path,
		 daxpin_strerror(show->error));
	return -1;
}

static void adopt_print(const struct show *show, int in_json)
{
	struct json json = { .out = stdout };

	if (!in_json) {
		printf("%s: %s, and the pool is closed now\n", show->path,
		       show->info.unclean ?
		       "what its last owner had committed is in place" :
		       "the pool had been closed already");
		return;
	}
	json_object(&json, NULL);
	json_string(&json, "path", show->path);
	json_bool(&json, "unclean", show->info.unclean);
	json_end_object(&json);
}

static int run(int argc, char **argv)
{
	struct adopt_values values = { 0 };
	struct show show = { .command = "adopt" };

	if (table_parse(&adopt_command, argc, argv, &values) < 0)
		return EXIT_UNKNOWN;
	show.path = argv[1];
	if (adopt_pool(&show, &values)) {
		show_close(&show);
		show_fail(&show, values.json);
		return EXIT_UNKNOWN;
	}
	adopt_print(&show, values.json);
	return EXIT_CLEAN;
}

static const struct tool_option options[] = {
	{ "despite-rdma", NULL, OPTION_FLAG,
	  offsetof(struct adopt_values, despite_rdma),
	  "do not wait for the RDMA of a dead owner, nor refuse" },
	{ "json", NULL, OPTION_FLAG, offsetof(struct adopt_values, json),
	  "print one JSON object" },
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
	.words = "PATH", .words_min = 1, .words_max = 1, .changes = 1,
	.options = options,
	.run = run,
};
