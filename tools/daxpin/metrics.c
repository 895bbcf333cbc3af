/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin metrics: OpenMetrics text of pools, from their status pages alone. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "show.h"
#include "table.h"

#define POOLS_MAX	64

/* A pool whose page could not be read has `up` 0, and nothing else. */
struct metrics_pool {
	const char *path;
	int up;
	struct daxpin_pool_info info;
	struct daxpin_status_info about;
};

static double metrics_up(const struct metrics_pool *pool)
{
	return pool->up && pool->about.alive != DAXPIN_NO;
}

static double metrics_age(const struct metrics_pool *pool)
{
	return pool->about.age_ns == UINT64_MAX ? -1 : (double)pool->about.age_ns / 1e9;
}

#define METRIC(name, field) \
	static double name(const struct metrics_pool *pool) \
	{ \
		return (double)pool->field; \
	}

METRIC(metrics_size, info.media_bytes)
METRIC(metrics_usable, info.usable_bytes)
METRIC(metrics_free, info.free_bytes)
METRIC(metrics_holes, info.hole_bytes)
METRIC(metrics_retired, info.retired_bytes)
METRIC(metrics_bad, info.bad_bytes)
METRIC(metrics_registrations, info.registrations)
METRIC(metrics_publishes, info.publishes)
METRIC(metrics_deferred, info.deferred_frees)
METRIC(metrics_no_space, info.no_space)
METRIC(metrics_held, about.held_extents)
METRIC(metrics_labelled, about.labelled_holds)
METRIC(metrics_jobs, about.jobs)
METRIC(metrics_contexts, about.rdma_contexts)

static const struct {
	const char *name;		/* without daxpin_ and _total */
	const char *type, *unit, *help;
	double (*value)(const struct metrics_pool *pool);
	int always;			/* even if the page could not be read */
} metrics[] = {
	{ "up", "gauge", NULL, "A living process keeps a status page of the pool.",
	  metrics_up, 1 },
	{ "status_age_seconds", "gauge", "seconds",
	  "Age of these figures; -1 is unknown.", metrics_age, 0 },
	{ "size_bytes", "gauge", "bytes", "Size of the device or the files.",
	  metrics_size, 0 },
	{ "usable_bytes", "gauge", "bytes", "Size without metadata and bad blocks.",
	  metrics_usable, 0 },
	{ "free_bytes", "gauge", "bytes", "Free space with memory.", metrics_free, 0 },
	{ "hole_bytes", "gauge", "bytes", "Free space without memory.",
	  metrics_holes, 0 },
	{ "retired_bytes", "gauge", "bytes",
	  "Extents that ended and are still held.", metrics_retired, 0 },
	{ "bad_bytes", "gauge", "bytes", "Known bad blocks.", metrics_bad, 0 },
	{ "held_extents", "gauge", NULL, "Extents with a hold.", metrics_held, 0 },
	{ "labelled_holds", "gauge", NULL, "Labelled holds.", metrics_labelled, 0 },
	{ "registrations", "gauge", NULL, "Registrations of segments.",
	  metrics_registrations, 0 },
	{ "rdma_contexts", "gauge", NULL, "Verbs contexts on record.",
	  metrics_contexts, 0 },
	{ "jobs", "gauge", NULL, "Jobs that were not ended.", metrics_jobs, 0 },
	{ "publishes", "counter", NULL, "Publishes that succeeded since the open.",
	  metrics_publishes, 0 },
	{ "deferred_frees", "counter", NULL, "Extents that became free at a drop.",
	  metrics_deferred, 0 },
	{ "refused_reserves", "counter", NULL, "Reserves that found no free run.",
	  metrics_no_space, 0 },
};

/* A label's value: backslash, quote and newline are escaped. */
static void metrics_label(const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", stdout);
		else if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else
			putchar(*text);
	}
}

static void metrics_family(size_t which, const struct metrics_pool *pools, int count)
{
	const char *name = metrics[which].name;

	printf("# TYPE daxpin_%s %s\n", name, metrics[which].type);
	if (metrics[which].unit)
		printf("# UNIT daxpin_%s %s\n", name, metrics[which].unit);
	printf("# HELP daxpin_%s %s\n", name, metrics[which].help);
	for (int i = 0; i < count; i++) {
		if (!pools[i].up && !metrics[which].always)
			continue;
		printf("daxpin_%s%s{pool=\"", name,
		       strcmp(metrics[which].type, "counter") ? "" : "_total");
		metrics_label(pools[i].path);
		printf("\"} %.17g\n", metrics[which].value(&pools[i]));
	}
}

static int metrics_read(struct metrics_pool *pool, const char *path)
{
	struct daxpin_status *status;
	char errmsg[1024];
	int ret = daxpin_status_open(path, errmsg, sizeof(errmsg), &status);

	*pool = (struct metrics_pool) {
		.path = path, .up = !ret,
		.info = { .size = sizeof(pool->info) },
		.about = { .size = sizeof(pool->about) },
	};
	if (ret) {
		fprintf(stderr, "daxpin metrics: %s\n", errmsg);
		return ret;
	}
	daxpin_status_pool(status, &pool->info);
	daxpin_status_info(status, &pool->about);
	daxpin_status_close(status);
	return 0;
}

static int run(int argc, char **argv)
{
	static struct metrics_pool pools[POOLS_MAX];
	int values, failed = 0;
	int count = table_parse(&metrics_command, argc, argv, &values);

	if (count < 0)
		return EXIT_UNKNOWN;
	for (int i = 0; i < count; i++)
		failed |= metrics_read(&pools[i], argv[1 + i]);
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		metrics_family(i, pools, count);
	printf("# EOF\n");
	return show_end("metrics", failed ? EXIT_UNKNOWN : EXIT_CLEAN);
}

static const struct tool_option options[] = {
	{ .name = NULL },
};

const struct command metrics_command = {
	.name = "metrics",
	.summary = "OpenMetrics text of pools in use",
	.help = "Prints the figures of the pools for Prometheus, from their status pages. A pool\n"
		"without one has daxpin_up 0, and the reason is printed to stderr.",
	.words = "PATH...", .words_min = 1, .words_max = POOLS_MAX,
	.options = options,
	.run = run,
};
