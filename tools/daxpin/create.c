/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin create: create a pool, and close it. */
#include <inttypes.h>
#include <stdio.h>
#include "command.h"
#include "show.h"
#include "table.h"

struct create_values {
	int json, overwrite;
	uint64_t size, segment_size, wait;
	uint32_t mode;
};

static int create_pool(struct show *show, const struct create_values *values)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .pool_size = values->size,
		.segment_size = values->segment_size, .mode = values->mode,
		.flags = values->overwrite ? DAXPIN_POOL_OVERWRITE : 0,
		.deadline_ns = values->wait ? daxpin_deadline_ms(values->wait * 1000) :
					      0,
		.progress = show_progress,
		.errmsg = show->errmsg, .errmsg_size = sizeof(show->errmsg),
	};
	struct daxpin_pool *pool;

	show->error = daxpin_pool_create(show->path, &options, &pool);
	if (show->error)
		return -1;
	show->info.size = sizeof(show->info);
	daxpin_pool_info(pool, &show->info);
	show->error = daxpin_pool_close(pool);
	if (show->error)
		snprintf(show->errmsg, sizeof(show->errmsg),
			 "%s: created, but not closed: %s", show->path,
			 daxpin_strerror(show->error));
	return show->error;
}

static void create_print(const struct show *show, int in_json)
{
	struct json json = { .out = stdout };
	char size[SHOW_TEXT], usable[SHOW_TEXT];

	if (!in_json) {
		printf("%s: a pool of %s, %s of them usable, on %s\n", show->path,
		       show_bytes(show->info.media_bytes, size),
		       show_bytes(show->info.usable_bytes, usable),
		       show_source(show->info.source));
		return;
	}
	json_object(&json, NULL);
	json_string(&json, "path", show->path);
	json_string(&json, "source", show_source(show->info.source));
	json_number(&json, "media_bytes", show->info.media_bytes);
	json_number(&json, "usable_bytes", show->info.usable_bytes);
	json_number(&json, "segments", show->info.segments);
	json_number(&json, "segment_size", show->info.segment_size);
	json_end_object(&json);
}

static int run(int argc, char **argv)
{
	struct create_values values = { 0 };
	struct show show = { .command = "create" };

	if (table_parse(&create_command, argc, argv, &values) < 0)
		return EXIT_UNKNOWN;
	show.path = argv[1];
	if (create_pool(&show, &values)) {
		show_fail(&show, values.json);
		return EXIT_UNKNOWN;
	}
	create_print(&show, values.json);
	return EXIT_CLEAN;
}

static const struct tool_option options[] = {
	{ "size", "SIZE", OPTION_BYTES, offsetof(struct create_values, size),
	  "bytes, or with K, M, G or T; required on tmpfs" },
	{ "segment-size", "SIZE", OPTION_BYTES,
	  offsetof(struct create_values, segment_size),
	  "a power of two from 32M to 1G" },
	{ "mode", "MODE", OPTION_MODE, offsetof(struct create_values, mode),
	  "octal mode of the files; default 600" },
	{ "overwrite", NULL, OPTION_FLAG, offsetof(struct create_values, overwrite),
	  "destroy what exists there" },
	{ "wait", "SECONDS", OPTION_SECONDS, offsetof(struct create_values, wait),
	  "wait so long for an owner, and for the allocation" },
	{ "json", NULL, OPTION_FLAG, offsetof(struct create_values, json),
	  "print one JSON object" },
	{ .name = NULL },
};

const struct command create_command = {
	.name = "create",
	.summary = "create a pool",
	.help = "Creates a pool in a directory, which may be new, or on a device-dax node.\n"
		"Without --size it takes the whole device, or the free space of the filesystem.\n"
		"tmpfs, and a filesystem that does not report its free space, need --size.",
	.words = "PATH", .words_min = 1, .words_max = 1, .changes = 1,
	.options = options,
	.run = run,
};
