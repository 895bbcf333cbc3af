/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin info: the figures of a pool, even if another process has it open. */
#include <inttypes.h>
#include "command.h"
#include "show.h"
#include "table.h"

struct info_values {
	int json;
};

static void info_bytes(const char *name, uint64_t bytes)
{
	char text[SHOW_TEXT];

	printf("  %-16s %s\n", name, show_bytes(bytes, text));
}

static void info_count(const char *name, uint64_t count)
{
	printf("  %-16s %" PRIu64 "\n", name, count);
}

static void info_objects(const struct daxpin_pool_info *info)
{
	char slabs[SHOW_TEXT], partial[SHOW_TEXT], objects[SHOW_TEXT];

	printf("  %-16s %s, %s of them partly in use\n", "slabs",
	       show_bytes(info->slab_bytes, slabs),
	       show_bytes(info->partial_slab_bytes, partial));
	printf("  %-16s %" PRIu64 ", %s\n", "objects in them", info->objects,
	       show_bytes(info->object_bytes, objects));
}

static void info_print(const struct show *show)
{
	const struct daxpin_pool_info *info = &show->info;
	char text[SHOW_TEXT];

	show_origin(show);
	printf("  %-16s %s\n", "memory", show_source(info->source));
	printf("  %-16s %" PRIu32 " of %s\n", "segments", info->segments,
	       show_bytes(info->segment_size, text));
	info_bytes("size", info->media_bytes);
	info_bytes("usable", info->usable_bytes);
	info_bytes("free", info->free_bytes);
	info_bytes("holes", info->hole_bytes);
	info_bytes("retired, held", info->retired_bytes);
	info_bytes("bad", info->bad_bytes);
	info_bytes("quarantined", info->quarantined_bytes);
	info_bytes("largest extent", info->largest_extent);
	info_objects(info);
	info_count("epoch", info->epoch);
	if (!show->status) {
		printf("  %-16s %s\n", "last close",
		       info->unclean ? "missing" : "clean");
		return;
	}
	info_count("held extents", show->about.held_extents);
	info_count("labelled holds", show->about.labelled_holds);
	info_count("registrations", info->registrations);
	info_count("verbs contexts", show->about.rdma_contexts);
	info_count("jobs", show->about.jobs);
	info_count("publishes", info->publishes);
	info_count("deferred frees", info->deferred_frees);
	info_count("refused reserves", info->no_space);
}

static void info_json_uuid(struct json *json, const unsigned char uuid[16])
{
	char text[33] = "";

	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", uuid[i]);
	json_string(json, "uuid", text);
}

static void info_json(const struct show *show)
{
	const struct daxpin_pool_info *info = &show->info;
	struct json json = { .out = stdout };

	json_object(&json, NULL);
	show_json_origin(show, &json);
	info_json_uuid(&json, info->uuid);
	json_string(&json, "source", show_source(info->source));
	json_number(&json, "epoch", info->epoch);
	json_bool(&json, "unclean", info->unclean);
	json_number(&json, "segments", info->segments);
	json_number(&json, "segment_size", info->segment_size);
	json_number(&json, "media_bytes", info->media_bytes);
	json_number(&json, "usable_bytes", info->usable_bytes);
	json_number(&json, "free_bytes", info->free_bytes);
	json_number(&json, "hole_bytes", info->hole_bytes);
	json_number(&json, "retired_bytes", info->retired_bytes);
	json_number(&json, "bad_bytes", info->bad_bytes);
	json_number(&json, "quarantined_bytes", info->quarantined_bytes);
	json_number(&json, "largest_extent", info->largest_extent);
	json_number(&json, "slab_bytes", info->slab_bytes);
	json_number(&json, "partial_slab_bytes", info->partial_slab_bytes);
	json_number(&json, "objects", info->objects);
	json_number(&json, "object_bytes", info->object_bytes);
	json_number(&json, "registrations", info->registrations);
	json_number(&json, "held_extents", show->about.held_extents);
	json_number(&json, "labelled_holds", show->about.labelled_holds);
	json_number(&json, "rdma_contexts", show->about.rdma_contexts);
	json_number(&json, "jobs", show->about.jobs);
	json_number(&json, "publishes", info->publishes);
	json_number(&json, "deferred_frees", info->deferred_frees);
	json_number(&json, "no_space", info->no_space);
	json_end_object(&json);
}

static int run(int argc, char **argv)
{
	struct info_values values = { 0 };
	struct show show;

	if (table_parse(&info_command, argc, argv, &values) < 0)
		return EXIT_UNKNOWN;
	if (show_open(&show, "info", argv[1], values.json))
		return EXIT_UNKNOWN;
	if (values.json)
		info_json(&show);
	else
		info_print(&show);
	show_close(&show);
	return EXIT_CLEAN;
}

static const struct tool_option options[] = {
	{ "json", NULL, OPTION_FLAG, offsetof(struct info_values, json),
	  "print one JSON object" },
	{ .name = NULL },
};

const struct command info_command = {
	.name = "info",
	.summary = "the figures of a pool, even of one in use",
	.help = "Shows the figures of the pool. If a process has it open for writing, or died\n"
		"with it, they are from its status page, and the second line has their age.",
	.words = "PATH", .words_min = 1, .words_max = 1,
	.options = options,
	.run = run,
};
