/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin list: the extents, objects and roots of a pool that is not in use. */
#include <inttypes.h>
#include "command.h"
#include "show.h"
#include "table.h"

struct list_values {
	int json;
};

struct list {
	int in_json;
	struct json json;
	uint64_t extents, bytes;
	uint64_t objects, object_bytes;
};

/* A line, or an object of the array that is open. */
static void list_one(struct list *list, uint64_t addr, uint64_t size, const char *kind)
{
	char text[SHOW_TEXT];

	if (!list->in_json) {
		printf("  0x%012" PRIx64 "  %10s%s\n", addr, show_bytes(size, text),
		       kind);
		return;
	}
	json_object(&list->json, NULL);
	json_number(&list->json, "addr", addr);
	json_number(&list->json, "bytes", size);
	json_end_object(&list->json);
}

static int list_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t size, void *arg)
{
	struct list *list = arg;

	(void)pool;
	list->extents++;
	list->bytes += size;
	list_one(list, extent.addr, size, "");
	return 0;
}

static int list_object(struct daxpin_pool *pool, uint64_t addr, uint64_t size,
		       void *arg)
{
	struct list *list = arg;

	(void)pool;
	list->objects++;
	list->object_bytes += size;
	list_one(list, addr, size, "  object");
	return 0;
}

static int list_root(struct daxpin_pool *pool, const char *name,
		     struct daxpin_extent extent, void *arg)
{
	struct list *list = arg;

	(void)pool;
	if (!list->in_json) {
		printf("  0x%012" PRIx64 "  root ", extent.addr);
		show_foreign(name);
		putchar('\n');
		return 0;
	}
	json_object(&list->json, NULL);
	json_string(&list->json, "name", name);
	json_number(&list->json, "addr", extent.addr);
	json_end_object(&list->json);
	return 0;
}

static void list_print(const struct show *show, struct list *list)
{
	char extents[SHOW_TEXT], objects[SHOW_TEXT];

	daxpin_foreach(show->pool, list_extent, list);
	daxpin_foreach_object(show->pool, list_object, list);
	daxpin_roots(show->pool, list_root, list);
	printf("%s: %" PRIu64 " extent(s) of %s, %" PRIu64 " small object(s) of %s\n",
	       show->path, list->extents, show_bytes(list->bytes, extents),
	       list->objects, show_bytes(list->object_bytes, objects));
}

static void list_json(const struct show *show, struct list *list)
{
	json_object(&list->json, NULL);
	show_json_origin(show, &list->json);
	json_array(&list->json, "extents");
	daxpin_foreach(show->pool, list_extent, list);
	json_end_array(&list->json);
	json_array(&list->json, "objects");
	daxpin_foreach_object(show->pool, list_object, list);
	json_end_array(&list->json);
	json_array(&list->json, "roots");
	daxpin_roots(show->pool, list_root, list);
	json_end_array(&list->json);
	json_number(&list->json, "extent_bytes", list->bytes);
	json_number(&list->json, "object_bytes", list->object_bytes);
	json_end_object(&list->json);
}

static int run(int argc, char **argv)
{
	struct list_values values = { 0 };
	struct list list = { .json = { .out = stdout } };
	struct show show;

	if (table_parse(&list_command, argc, argv, &values) < 0)
		return EXIT_UNKNOWN;
	if (show_open_pool(&show, "list", argv[1], values.json))
		return EXIT_UNKNOWN;
	list.in_json = values.json;
	if (values.json)
		list_json(&show, &list);
	else
		list_print(&show, &list);
	show_close(&show);
	return EXIT_CLEAN;
}

static const struct tool_option options[] = {
	{ "json", NULL, OPTION_FLAG, offsetof(struct list_values, json),
	  "print one JSON object" },
	{ .name = NULL },
};

const struct command list_command = {
	.name = "list",
	.summary = "the extents, objects and roots of a pool that is not in use",
	.help = "Opens the pool for reading, and lists its published extents, its small objects\n"
		"and its roots. If a process has it open for writing, or did not close it, the\n"
		"message says so.",
	.words = "PATH", .words_min = 1, .words_max = 1,
	.options = options,
	.run = run,
};
