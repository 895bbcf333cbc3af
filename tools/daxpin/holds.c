/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin holds: who holds or registered what in a pool that is in use. */
#include <inttypes.h>
#include "command.h"
#include "dead.h"
#include "show.h"
#include "table.h"

struct holds_values {
	int json, dead;
};

struct holds {
	struct json json;
	uint64_t listed;		/* labelled holds */
};

static const char *holds_access(uint32_t access)
{
	return access & DAXPIN_HOLD_EXCLUSIVE ? "exclusive" :
	       access & DAXPIN_HOLD_WRITE ? "write" : "read";
}

static const char *holds_kind(const struct daxpin_holder *holder)
{
	return !holder->extent.addr ? "registration" :
	       holder->access & DAXPIN_HOLD_GRANT ? "grant" : "hold";
}

static void holds_print_one(const struct daxpin_holder *holder, void *arg)
{
	struct holds *holds = arg;
	char age[SHOW_TEXT], place[SHOW_TEXT];

	if (holder->extent.addr) {
		holds->listed++;
		snprintf(place, sizeof(place), "0x%" PRIx64, holder->extent.addr);
	} else if (holder->segment == DAXPIN_ALL_SEGMENTS) {
		snprintf(place, sizeof(place), "all segments");
	} else {
		snprintf(place, sizeof(place), "segment %" PRIu32, holder->segment);
	}
	printf("  %-12s  %-9s  %10s  %-14s  ", holds_kind(holder),
	       holds_access(holder->access), show_time(holder->age_ns, age), place);
	show_foreign(holder->label);
	putchar('\n');
}

static void holds_json_one(const struct daxpin_holder *holder, void *arg)
{
	struct holds *holds = arg;
	struct json *json = &holds->json;

	json_object(json, NULL);
	json_string(json, "kind", holds_kind(holder));
	json_string(json, "label", holder->label);
	json_string(json, "access", holds_access(holder->access));
	json_number(json, "age_ns", holder->age_ns);
	if (holder->extent.addr) {
		json_number(json, "addr", holder->extent.addr);
		json_number(json, "gen", holder->extent.gen);
	}
	if (holder->segment != DAXPIN_ALL_SEGMENTS)
		json_number(json, "segment", holder->segment);
	json_end_object(json);
}

static void holds_print_segment(const struct daxpin_status_segment *segment, void *arg)
{
	(void)arg;
	if (segment->held_extents)
		printf("  segment %" PRIu32 ": %" PRIu32 " held extent(s)\n",
		       segment->segment, segment->held_extents);
}

static void holds_print(const struct show *show)
{
	struct holds holds = { .listed = 0 };

	show_origin(show);
	if (!show->status)
		return;
	if (show->about.labelled_holds || show->info.registrations)
		printf("  %-12s  %-9s  %10s  %-14s  %s\n", "kind", "access", "age",
		       "where", "label");
	daxpin_status_holds(show->status, holds_print_one, &holds);
	if (show->about.labelled_holds > holds.listed)
		printf("  and %" PRIu64 " labelled holds that are younger\n",
		       show->about.labelled_holds - holds.listed);
	daxpin_status_segments(show->status, holds_print_segment, NULL);
}

static void holds_json(const struct show *show)
{
	struct holds holds = { .json = { .out = stdout } };

	json_object(&holds.json, NULL);
	show_json_origin(show, &holds.json);
	json_number(&holds.json, "held_extents", show->about.held_extents);
	json_number(&holds.json, "labelled_holds", show->about.labelled_holds);
	json_array(&holds.json, "holders");
	if (show->status)
		daxpin_status_holds(show->status, holds_json_one, &holds);
	json_end_array(&holds.json);
	json_end_object(&holds.json);
}

static int run(int argc, char **argv)
{
	struct holds_values values = { 0 };
	struct show show;

	if (table_parse(&holds_command, argc, argv, &values) < 0)
		return EXIT_UNKNOWN;
	if (values.dead)
		return dead_run(argv[1], values.json);
	if (show_open(&show, "holds", argv[1], values.json))
		return EXIT_UNKNOWN;
	if (values.json)
		holds_json(&show);
	else
		holds_print(&show);
	show_close(&show);
	return EXIT_CLEAN;
}

static const struct tool_option options[] = {
	{ "dead", NULL, OPTION_FLAG, offsetof(struct holds_values, dead),
	  "what an owner that died has left behind" },
	{ "json", NULL, OPTION_FLAG, offsetof(struct holds_values, json),
	  "print one JSON object" },
	{ .name = NULL },
};

const struct command holds_command = {
	.name = "holds",
	.summary = "who holds what in a pool that is in use",
	.help = "Lists the labelled holds, the oldest first, and the registrations of the process\n"
		"that has the pool open, or died with it, from its status page. With --dead,\n"
		"instead: who keeps the lock of an owner that died, and its verbs contexts, which\n"
		"the next open waits for.",
	.exits = "Exits with 0 if this was done, and with 2 otherwise; with --dead, with 0 if\n"
		"nothing is left, 1 if something is, and 2 if this is unknown.",
	.words = "PATH", .words_min = 1, .words_max = 1,
	.options = options,
	.run = run,
};
