/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin grow, daxpin shrink: open a pool, change its size, and close it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "command.h"
#include "show.h"
#include "table.h"

/* The largest segment: max_size is rounded down to whole segments. */
#define SEGMENT_MAX	(UINT64_C(1) << 30)

struct resize_values {
	int json;
	uint64_t size, wait;
};

struct resize {
	struct show show;
	struct resize_values values;
	uint64_t deadline_ns;
	uint32_t segments_before;
	struct daxpin_shrink_wait wait;	/* what ended a shrink; reason 0: nothing */
};

static int resize_open(struct resize *r, uint64_t max_size)
{
	struct show *show = &r->show;
	const struct daxpin_pool_options options = {
		.size = sizeof(options), .deadline_ns = r->deadline_ns,
		.max_size = max_size, .progress = show_progress,
		.errmsg = show->errmsg, .errmsg_size = sizeof(show->errmsg),
	};

	if (show_open_with(show, &options))
		return -1;
	r->segments_before = show->info.segments;
	return 0;
}

static int resize_grow(struct resize *r)
{
	struct show *show = &r->show;
	const struct daxpin_pool_options options = {
		.size = sizeof(options), .deadline_ns = r->deadline_ns,
		.progress = show_progress,
		.errmsg = show->errmsg, .errmsg_size = sizeof(show->errmsg),
	};
	uint64_t size = r->values.size;

	if (resize_open(r, size > UINT64_MAX - SEGMENT_MAX ? size : size + SEGMENT_MAX))
		return -1;
	show->error = daxpin_pool_grow(show->pool, size, &options);
	return show->error;
}

/* No other process has the pool open, so no extent moves while this one waits. */
static int resize_progress(struct daxpin_pool *pool,
			   const struct daxpin_shrink_wait *wait, void *arg)
{
	struct resize *r = arg;

	(void)pool;
	if (wait->reason == DAXPIN_SHRINK_LIVE ||
	    wait->reason == DAXPIN_SHRINK_OBJECTS) {
		r->wait = *wait;
		return 1;
	}
	if (wait->waited_ns >= SHOW_PROGRESS_NS && isatty(STDERR_FILENO))
		show_line("waiting for the pins of segment %" PRIu32 " ",
			  wait->segment);
	return 0;
}

static void resize_fail_live(struct resize *r)
{
	const struct daxpin_shrink_wait *wait = &r->wait;

	r->show.error = -EBUSY;
	snprintf(r->show.errmsg, sizeof(r->show.errmsg),
		 "%s: segment %" PRIu32 " has live %s, the first at 0x%" PRIx64 " of %" PRIu64 " bytes, and %" PRIu64 " bytes are in use in the segments that would be removed: the program that uses the pool must move or retire them (daxpin_pool_shrink(3)), which this command cannot; `daxpin list` lists them",
		 r->show.path, wait->segment, wait->reason == DAXPIN_SHRINK_LIVE ?
		 "extents" : "objects (the address is that of their slab)",
		 wait->extent.addr, wait->bytes,
		 wait->left_bytes);
}

static int resize_shrink(struct resize *r)
{
	struct show *show = &r->show;
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = r->deadline_ns,
		.progress = resize_progress, .progress_arg = r,
		.errmsg = show->errmsg, .errmsg_size = sizeof(show->errmsg),
	};

	if (resize_open(r, 0))
		return -1;
	show->error = daxpin_pool_shrink(show->pool, r->values.size, &options);
	if (r->wait.reason)
		resize_fail_live(r);
	return show->error;
}

static int resize_close(struct resize *r)
{
	struct show *show = &r->show;
	int error;

	daxpin_pool_info(show->pool, &show->info);
	error = daxpin_pool_close(show->pool);
	if (!error) {
		show->pool = NULL;
		return 0;
	}
	show->error = error;
	snprintf(show->errmsg, sizeof(show->errmsg),
		 "%s: the size was changed, but the pool was not closed: %s",
		 show->path, daxpin_strerror(error));
	return -1;
}

static void resize_print(const struct resize *r)
{
	const struct show *show = &r->show;
	struct json json = { .out = stdout };
	char size[SHOW_TEXT], usable[SHOW_TEXT];

	if (!r->values.json) {
		printf("%s: %" PRIu32 " segment(s), %" PRIu32 " before; %s, %s of them usable\n",
		       show->path, show->info.segments, r->segments_before,
		       show_bytes(show->info.media_bytes, size),
		       show_bytes(show->info.usable_bytes, usable));
		return;
	}
	json_object(&json, NULL);
	json_string(&json, "path", show->path);
	json_number(&json, "media_bytes", show->info.media_bytes);
	json_number(&json, "usable_bytes", show->info.usable_bytes);
	json_number(&json, "segments", show->info.segments);
	json_number(&json, "segments_before", r->segments_before);
	json_number(&json, "segment_size", show->info.segment_size);
	json_end_object(&json);
}

static int resize_run(const struct command *command, int argc, char **argv,
		      int (*change)(struct resize *r))
{
	struct resize r = { .show = { .command = command->name } };

	if (table_parse(command, argc, argv, &r.values) < 0 ||
	    table_parse_bytes(command, argv[2], &r.values.size) < 0)
		return EXIT_UNKNOWN;
	r.show.path = argv[1];
	r.deadline_ns = r.values.wait ? daxpin_deadline_ms(r.values.wait * 1000) : 0;
	if (change(&r) || resize_close(&r)) {
		show_close(&r.show);
		show_fail(&r.show, r.values.json);
		return EXIT_UNKNOWN;
	}
	resize_print(&r);
	return EXIT_CLEAN;
}

static int run_grow(int argc, char **argv)
{
	return resize_run(&grow_command, argc, argv, resize_grow);
}

static int run_shrink(int argc, char **argv)
{
	return resize_run(&shrink_command, argc, argv, resize_shrink);
}

static const struct tool_option options[] = {
	{ "wait", "SECONDS", OPTION_SECONDS, offsetof(struct resize_values, wait),
	  "wait so long for the owner, pins, and the allocation" },
	{ "json", NULL, OPTION_FLAG, offsetof(struct resize_values, json),
	  "print one JSON object" },
	{ .name = NULL },
};

const struct command grow_command = {
	.name = "grow",
	.summary = "make a pool larger",
	.help = "Adds segments to a pool that is not in use, until it has SIZE bytes at least.\n"
		"SIZE is the new size, in bytes, or with K, M, G or T. A device must have the\n"
		"room.",
	.words = "PATH SIZE", .words_min = 2, .words_max = 2, .changes = 1,
	.options = options,
	.run = run_grow,
};

const struct command shrink_command = {
	.name = "shrink",
	.summary = "make a pool smaller",
	.help = "Removes segments from the end of a pool that is not in use, as long as SIZE\n"
		"bytes remain. SIZE is the new size, in bytes, or with K, M, G or T. Nothing is\n"
		"removed if one of these segments has extents.",
	.words = "PATH SIZE", .words_min = 2, .words_max = 2, .changes = 1,
	.options = options,
	.run = run_shrink,
};
