/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin holds --dead: daxpin_leftovers(3), and ublk devices, which the library does
 * not know. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <daxpin-status.h>
#include "command.h"
#include "dead.h"
#include "show.h"
#include "ublk.h"

enum { DEAD_UBLK = DAXPIN_LEFTOVER_UNKNOWN + 1, DEAD_KINDS };

static const char *const dead_kind[DEAD_KINDS] = {
	[DAXPIN_LEFTOVER_DESCRIPTOR] = "descriptor",
	[DAXPIN_LEFTOVER_MAPPING] = "mapping",
	[DAXPIN_LEFTOVER_RING] = "ring",
	[DAXPIN_LEFTOVER_SOCKET] = "socket",
	[DAXPIN_LEFTOVER_REQUESTS] = "requests",
	[DAXPIN_LEFTOVER_CONTEXT] = "verbs context",
	[DAXPIN_LEFTOVER_UNKNOWN] = "unknown",
	[DEAD_UBLK] = "ublk",
};

struct dead {
	struct show show;
	struct daxpin_leftover *leftover;	/* with strings of their own */
	int count, unknown;
	bool no_memory;			/* the list has not all */
	uint32_t pid;			/* of the owner; 0: it closed the pool */
};

/* --------------------------------------------------------------- the list */

static void dead_add(const struct daxpin_leftover *leftover, void *arg)
{
	struct dead *dead = arg;
	size_t count = (size_t)dead->count + 1;
	struct daxpin_leftover *all = realloc(dead->leftover, count * sizeof(*all));
	struct daxpin_leftover *one;

	if (!all) {
		dead->no_memory = true;
		return;
	}
	dead->leftover = all;
	one = &all[dead->count++];
	*one = *leftover;
	one->device = strdup(leftover->device);
	one->sentence = strdup(leftover->sentence);
	if (!one->device || !one->sentence)
		dead->no_memory = true;
	dead->unknown += leftover->kind >= DAXPIN_LEFTOVER_UNKNOWN;
}

static void dead_free(struct dead *dead)
{
	for (int i = 0; i < dead->count; i++) {
		free((char *)dead->leftover[i].device);
		free((char *)dead->leftover[i].sentence);
	}
	free(dead->leftover);
}

static void dead_add_ublk(struct dead *dead, const char *sentence)
{
	dead_add(&(struct daxpin_leftover) {
		.kind = DEAD_UBLK, .fd = -1, .device = "",
		.sentence = sentence }, dead);
}

/* A ublk device can have memory of any owner pinned. */
static void dead_look_at_ublk(struct dead *dead)
{
	int devices = ublk_count_devices();
	char sentence[300];

	if (devices < 0)
		dead_add_ublk(dead, "/sys is not mounted, so whether there are ublk devices is unknown: mount it, and run this again");
	if (devices > 0) {
		snprintf(sentence, sizeof(sentence),
			 "there are %d ublk device(s) (`ls /sys/class/ublk-char`), and the kernel does not show which memory they have pinned: delete those that had memory of the pool",
			 devices);
		dead_add_ublk(dead, sentence);
	} else if (!devices && ublk_count_files()) {
		dead_add_ublk(dead, "a process may have a deleted ublk device open, which keeps its pins: end the processes that have a file /dev/ublk* open");
	}
}

static int dead_collect(struct dead *dead)
{
	struct show *show = &dead->show;

	show->error = daxpin_leftovers(show->path, show->errmsg, sizeof(show->errmsg),
				       dead_add, dead, &dead->pid);
	if (show->error < 0)
		return -1;
	show->error = 0;
	if (dead->pid)
		dead_look_at_ublk(dead);
	if (!dead->no_memory)
		return 0;
	show->error = -ENOMEM;
	snprintf(show->errmsg, sizeof(show->errmsg),
		 "memory ran out while what is left was listed, so what is left is unknown: run this again with more memory");
	return -1;
}

/* -------------------------------------------------------------- the output */

static void dead_print(const struct dead *dead)
{
	const char *path = dead->show.path;

	if (dead->pid)
		printf("%s: process %u had it open, and died without closing it\n", path,
		       dead->pid);
	else
		printf("%s: its last owner closed it\n", path);
	for (int i = 0; i < dead->count; i++) {
		printf("  %s%-14s%s", show_colour(dead->leftover[i].certain ?
			SHOW_RED : SHOW_YELLOW), dead_kind[dead->leftover[i].kind],
		       show_colour(SHOW_PLAIN));
		show_wrapped(16, dead->leftover[i].sentence);
	}
	if (dead->count > dead->unknown)
		printf("an open for writing waits until all of this has ended\n");
	else if (dead->count)
		printf("nothing else was found, but it is unknown whether more is left\n");
	else
		printf("nothing is left: an open for writing does not have to wait\n");
}

static void dead_json_one(struct json *json, const struct daxpin_leftover *leftover)
{
	json_object(json, NULL);
	json_string(json, "kind", dead_kind[leftover->kind]);
	json_bool(json, "certain", leftover->certain);
	if (leftover->pid)
		json_number(json, "pid", (uint64_t)leftover->pid);
	if (leftover->fd >= 0)
		json_number(json, "descriptor", (uint64_t)leftover->fd);
	if (leftover->count)
		json_number(json, "count", leftover->count);
	if (leftover->kind < DAXPIN_LEFTOVER_SOCKET ||
	    leftover->kind == DAXPIN_LEFTOVER_REQUESTS)
		json_number(json, "segment", leftover->segment);
	if (leftover->kind == DAXPIN_LEFTOVER_CONTEXT) {
		json_string(json, "device", leftover->device);
		json_number(json, "context", leftover->context);
	}
	json_string(json, "sentence", leftover->sentence);
	json_end_object(json);
}

static void dead_json(const struct dead *dead)
{
	struct json json = { .out = stdout };

	json_object(&json, NULL);
	json_string(&json, "path", dead->show.path);
	json_string(&json, "state", dead->pid ? "dead" : "closed");
	if (dead->pid)
		json_number(&json, "pid", dead->pid);
	json_bool(&json, "complete", !dead->unknown);
	json_array(&json, "leftovers");
	for (int i = 0; i < dead->count; i++)
		dead_json_one(&json, &dead->leftover[i]);
	json_end_array(&json);
	json_end_object(&json);
}

int dead_run(const char *path, int json)
{
	struct dead dead = { .show = { .path = path, .command = "holds" } };
	int status = EXIT_UNKNOWN;

	if (dead_collect(&dead)) {
		show_fail(&dead.show, json);
	} else {
		if (json)
			dead_json(&dead);
		else
			dead_print(&dead);
		status = dead.count > dead.unknown ? EXIT_DAMAGED :
			 dead.count ? EXIT_UNKNOWN : EXIT_CLEAN;
	}
	dead_free(&dead);
	return status;
}
