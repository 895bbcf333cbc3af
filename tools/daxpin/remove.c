/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin remove: remove the files of a pool, when no DMA can reach them any more. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "command.h"
#include "remove.h"
#include "show.h"
#include "table.h"

struct remove_values {
	int json, yes;
	uint64_t wait;
};

static int remove_fail(struct show *show, int error, const char *what)
{
	show->error = error;
	snprintf(show->errmsg, sizeof(show->errmsg), "%s: %s", show->path, what);
	return -1;
}

/* A pool that opens for writing has an owner no more, nor DMA of one. */
static int remove_open(struct show *show, uint64_t wait)
{
	const struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_NO_STATUS,
		.deadline_ns = wait ? daxpin_deadline_ms(wait * 1000) : 0,
		.progress = show_progress,
		.errmsg = show->errmsg, .errmsg_size = sizeof(show->errmsg),
	};

	return show_open_with(show, &options);
}

/* The last segment first: without segment 0 what is left is no pool. */
static int remove_files(struct show *show, int dir)
{
	char name[32];

	for (uint32_t i = show->info.segments; i-- > 0;) {
		snprintf(name, sizeof(name), "segment.%04" PRIu32, i);
		if (unlinkat(dir, name, 0) && errno != ENOENT)
			return remove_fail(show, -errno, strerror(errno));
	}
	return 0;
}

int remove_open_pool(struct show *show)
{
	int dir, ret, error;

	dir = open(show->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return remove_fail(show, -errno, strerror(errno));
	/* While the pool is open, so that no other process opens it meanwhile. */
	ret = remove_files(show, dir);
	close(dir);
	error = daxpin_pool_close(show->pool);
	show->pool = NULL;
	if (!ret && error)
		return remove_fail(show, error, daxpin_strerror(error));
	return ret;
}

static int remove_agrees(struct show *show, const struct remove_values *values)
{
	char answer[16] = "";
	struct stat stat_path;

	if (!stat(show->path, &stat_path) && !S_ISDIR(stat_path.st_mode))
		return remove_fail(show, -ENOTDIR, "only a pool in a directory has files: on a device, create another pool with `daxpin create --overwrite`");
	if (values->yes)
		return 0;
	if (!isatty(STDIN_FILENO))
		return remove_fail(show, -ECANCELED, "nothing was removed: --yes removes it without a question");
	fprintf(stderr, "Remove the pool %s and all data in it? Type yes: ", show->path);
	if (fgets(answer, sizeof(answer), stdin) && !strcmp(answer, "yes\n"))
		return 0;
	return remove_fail(show, -ECANCELED, "nothing was removed");
}

static void remove_print(const struct show *show, int in_json, int removed_directory)
{
	struct json json = { .out = stdout };

	if (!in_json) {
		printf("%s: removed%s\n", show->path, removed_directory ? "" :
		       "; the directory has other files and remains");
		return;
	}
	json_object(&json, NULL);
	json_string(&json, "path", show->path);
	json_number(&json, "segments", show->info.segments);
	json_bool(&json, "directory_removed", removed_directory);
	json_end_object(&json);
}

static int run(int argc, char **argv)
{
	struct remove_values values = { 0 };
	struct show show = { .command = "remove" };

	if (table_parse(&remove_command, argc, argv, &values) < 0)
		return EXIT_UNKNOWN;
	show.path = argv[1];
	if (remove_agrees(&show, &values) || remove_open(&show, values.wait) ||
	    remove_open_pool(&show)) {
		show_close(&show);
		show_fail(&show, values.json);
		return EXIT_UNKNOWN;
	}
	remove_print(&show, values.json, !rmdir(show.path));
	return EXIT_CLEAN;
}

static const struct tool_option options[] = {
	{ "yes", NULL, OPTION_FLAG, offsetof(struct remove_values, yes),
	  "do not ask" },
	{ "wait", "SECONDS", OPTION_SECONDS, offsetof(struct remove_values, wait),
	  "wait so long for the owner, or a dead owner's DMA" },
	{ "json", NULL, OPTION_FLAG, offsetof(struct remove_values, json),
	  "print one JSON object" },
	{ .name = NULL },
};

const struct command remove_command = {
	.name = "remove",
	.summary = "remove a pool in a directory, with all its data",
	.help = "Opens the pool for writing, so that no other process has it open and no DMA of a\n"
		"dead owner can reach it, removes its files, and the directory if nothing else is\n"
		"in it.",
	.words = "PATH", .words_min = 1, .words_max = 1, .changes = 1,
	.options = options,
	.run = run,
};
