/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin doctor: tries what works on this machine for a path, and reports it. */
#include <stdarg.h>
#include <string.h>
#include "command.h"
#include "doctor.h"
#include "show.h"
#include "table.h"

#define TEXT_SIZE	1024

static const struct {
	const char *id;			/* for programs */
	const char *title;		/* for people */
} subjects[] = {
	[SUBJECT_POOL] = { "pool", "pool" },
	[SUBJECT_STATUS] = { "status_page", "status page" },
	[SUBJECT_SOURCE] = { "source", "memory" },
	[SUBJECT_DURABLE] = { "durable", "durable" },
	[SUBJECT_MAP_SYNC] = { "map_sync", "MAP_SYNC" },
	[SUBJECT_HUGE_PAGES] = { "huge_pages", "huge pages" },
	[SUBJECT_BAD_BLOCKS] = { "bad_blocks", "bad-block list" },
	[SUBJECT_DEFRAG] = { "defragmentation", "defragmentation" },
	[SUBJECT_REFLINKS] = { "reflinks", "reflinks" },
	[SUBJECT_BLOCKS] = { "blocks", "blocks" },
	[SUBJECT_DESCRIPTORS] = { "descriptors", "RLIMIT_NOFILE" },
	[SUBJECT_TABLES] = { "tables", "tables" },
	[SUBJECT_UBLK] = { "ublk", "ublk" },
	[SUBJECT_SHUTDOWNS] = { "dirty_shutdowns", "dirty shutdowns" },
	[SUBJECT_MEMLOCK] = { "memlock", "RLIMIT_MEMLOCK" },
	[SUBJECT_URING] = { "io_uring", "io_uring" },
	[SUBJECT_FIXED_BUFFERS] = { "fixed_buffers", "fixed buffers" },
	[SUBJECT_SLOTS] = { "buffer_slots", "buffer slots" },
	[SUBJECT_BARRIER] = { "open_barrier", "barrier at open" },
	[SUBJECT_PUNCH_WAITS] = { "punch_waits", "punch waits" },
	[SUBJECT_PUNCH_CANCEL] = { "punch_cancel", "punch cancelled" },
	[SUBJECT_IDLE_AT_ZERO] = { "idle_at_zero", "idle at zero" },
	[SUBJECT_BOOT_ID] = { "boot_id", "boot id" },
	[SUBJECT_PROC] = { "proc", "/proc" },
	[SUBJECT_NETLINK] = { "rdma_netlink", "RDMA netlink" },
	[SUBJECT_NETWORK] = { "rdma_network", "RDMA removal" },
	[SUBJECT_RDMA] = { "rdma", "RDMA device" },
	[SUBJECT_PINNED_MR] = { "pinned_mr", "pinned region" },
	[SUBJECT_ODP] = { "odp", "on-demand region" },
	[SUBJECT_WINDOWS] = { "memory_windows", "memory windows" },
	[SUBJECT_FABRIC] = { "fabric", "fabric" },
};

static const char *const verdict_name[] = {
	[VERDICT_YES] = "yes",
	[VERDICT_NO] = "no",
	[VERDICT_UNKNOWN] = "unknown",
};

const char *doctor_source_name(enum daxpin_source source)
{
	static const char *const name[] = {
		[DAXPIN_SOURCE_DEVDAX] = "device-dax",
		[DAXPIN_SOURCE_FSDAX] = "DAX filesystem",
		[DAXPIN_SOURCE_SHMEM] = "shmem",
		[DAXPIN_SOURCE_DISK] = "disk",
	};

	return name[source];
}

/* --------------------------------------------------------------- the report */

static void print_answer(const struct answer *answer, const char *observed)
{
	enum show_colour colour = answer->verdict == VERDICT_YES ? SHOW_GREEN :
		answer->verdict == VERDICT_NO && answer->needed ? SHOW_RED :
		SHOW_YELLOW;
	char verdict[16];

	/* The verdict is in brackets if this memory does not need the feature. */
	snprintf(verdict, sizeof(verdict), answer->needed ? "%s" : "(%s)",
		 verdict_name[answer->verdict]);
	printf("%s%-9s%s  %-16s  %s\n", show_colour(colour), verdict,
	       show_colour(SHOW_PLAIN), subjects[answer->subject].title,
	       observed);
	if (answer->remedy)
		printf("%-9s  %-16s  -> %s\n", "", "", answer->remedy);
}

static void json_answer(struct json *json, const struct answer *answer,
			const char *observed)
{
	json_object(json, NULL);
	json_string(json, "subject", subjects[answer->subject].id);
	json_string(json, "verdict", verdict_name[answer->verdict]);
	json_bool(json, "needed", answer->needed);
	json_string(json, "observed", observed);
	json_string(json, "remedy", answer->remedy);
	json_end_object(json);
}

void doctor_report(struct doctor *doctor, struct answer answer,
		   const char *observed, ...)
{
	char text[TEXT_SIZE];
	va_list arguments;

	va_start(arguments, observed);
	vsnprintf(text, sizeof(text), observed, arguments);
	va_end(arguments);
	if (answer.needed) {
		doctor->wrong += answer.verdict == VERDICT_NO;
		doctor->unknown += answer.verdict == VERDICT_UNKNOWN;
	}
	if (doctor->as_json)
		json_answer(&doctor->json, &answer, text);
	else
		print_answer(&answer, text);
	fflush(stdout);
}

void doctor_report_no_testbed(struct doctor *doctor, enum subject subject,
			      bool needed)
{
	doctor_report(doctor, (struct answer) {
		.subject = subject, .verdict = VERDICT_UNKNOWN,
		.needed = needed,
		.remedy = doctor->place.in_use ?
			"run this again when no process has the pool open" :
			"run this as a user who has permission to write to the path",
	}, "%s", doctor->testbed.errmsg);
}

/* If a needed feature does not work the result is EXIT_DAMAGED, even if other answers
 * are unknown. */
static enum exit_status verdict_of(const struct doctor *doctor)
{
	if (doctor->wrong)
		return EXIT_DAMAGED;
	return doctor->unknown ? EXIT_UNKNOWN : EXIT_CLEAN;
}

static const char *const status_name[] = {
	[EXIT_CLEAN] = "works",
	[EXIT_DAMAGED] = "does not all work",
	[EXIT_UNKNOWN] = "cannot tell",
};

static void begin_json(struct doctor *doctor, const char *path)
{
	doctor->json.out = stdout;
	json_object(&doctor->json, NULL);
	json_string(&doctor->json, "path", path);
	json_string(&doctor->json, "rdma", doctor->rdma);
	json_string(&doctor->json, "fabric", doctor->fabric);
	json_array(&doctor->json, "answers");
}

static void end_json(struct doctor *doctor, enum exit_status status,
		     const char *errmsg)
{
	struct json *json = &doctor->json;
	const struct place *place = &doctor->place;

	json_end_array(json);
	doctor_fabric_json(doctor);
	json_string(json, "source",
		    place->source ? doctor_source_name(place->source) : NULL);
	json_bool(json, "in_use", place->in_use);
	json_number(json, "wrong", doctor->wrong);
	json_number(json, "unknown", doctor->unknown);
	json_string(json, "verdict", status_name[status]);
	json_string(json, "why", errmsg);
	json_end_object(json);
}

static void end_text(const struct doctor *doctor, enum exit_status status,
		     const char *path, const char *errmsg)
{
	if (errmsg) {
		fprintf(stderr, "daxpin doctor: %s\n", errmsg);
		printf("%s: %s\n", path, status_name[status]);
		return;
	}
	doctor_fabric_table(doctor);
	printf("%s: %s", path, status_name[status]);
	if (doctor->wrong || doctor->unknown)
		printf(": %u no, %u unknown", doctor->wrong, doctor->unknown);
	printf("\n");
}

/* ----------------------------------------------------------------- the work */

static void look(struct doctor *doctor)
{
	testbed_open(&doctor->testbed, &doctor->place);
	doctor_place(doctor);
	doctor_memory(doctor);
	doctor_files(doctor);
	doctor_outside(doctor);
	doctor_uring(doctor);
	doctor_container(doctor);
	doctor_rdma(doctor);
	doctor_fabric(doctor);
	testbed_close(&doctor->testbed);
}

struct doctor_values {
	const char *rdma, *fabric;
	int json;
};

static int run(int argc, char **argv)
{
	static struct doctor doctor;
	struct doctor_values values = { .rdma = NULL };
	enum exit_status status;
	char errmsg[TEXT_SIZE] = "";
	const char *path;
	int ret;

	if (table_parse(&doctor_command, argc, argv, &values) < 0)
		return EXIT_UNKNOWN;
	path = argv[1];
	doctor.rdma = values.rdma;
	doctor.fabric = values.fabric;
	doctor.as_json = values.json;
	if (doctor.as_json)
		begin_json(&doctor, path);
	ret = place_find(&doctor.place, path, errmsg, sizeof(errmsg));
	if (!ret)
		look(&doctor);
	place_close(&doctor.place);
	status = ret ? EXIT_UNKNOWN : verdict_of(&doctor);
	if (doctor.as_json)
		end_json(&doctor, status, ret ? errmsg : NULL);
	else
		end_text(&doctor, status, path, ret ? errmsg : NULL);
	return status;
}

static const struct tool_option options[] = {
	{ "rdma", "DEVICE", OPTION_TEXT, offsetof(struct doctor_values, rdma),
	  "try this RDMA device, too, for example mlx5_0" },
	{ "fabric", "PROVIDER", OPTION_TEXT,
	  offsetof(struct doctor_values, fabric),
	  "try this provider of libfabric, too: tcp, or all" },
	{ "json", NULL, OPTION_FLAG, offsetof(struct doctor_values, json),
	  "print the report as one JSON object" },
	{ .name = NULL },
};

const struct command doctor_command = {
	.name = "doctor",
	.summary = "what works on this machine for a path, and remedies",
	.help = "PATH is a directory or a device-dax node, with or without a pool. The command\n"
		"tries features on scratch files beside the pool, never on the pool's own files,\n"
		"and it stores nothing to a device.",
	.exits = "Exits with 0 if everything that this kind of memory can do works, 1 if something\n"
		 "does not work, 2 if something could not be tried and everything else works.",
	.words = "PATH", .words_min = 1, .words_max = 1,
	.options = options,
	.run = run,
};
