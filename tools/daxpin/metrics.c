/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin metrics: OpenMetrics text of pools, from their status pages alone. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "json.h"
#include "listen.h"
#include "names.h"
#include "show.h"
#include "table.h"

#define POOLS_MAX	64

/* A pool whose page could not be read has no other metric than `up`. */
struct metrics_pool {
	const char *path;
	int has_page;
	struct daxpin_pool_info info;
	struct daxpin_status_info about;
	int reported;			/* the error that the last message was about */
};

struct metrics {
	int count, failed;
	struct metrics_pool pool[POOLS_MAX];
};

/* NAN, which is no sample: it is not known whether a living process keeps a page. */
static double metrics_up(const struct metrics_pool *pool)
{
	if (pool->reported == -ENODATA || pool->reported == -ENOENT)
		return 0;
	if (!pool->has_page || pool->about.alive == DAXPIN_UNKNOWN)
		return NAN;
	return pool->about.alive != DAXPIN_NO;
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
METRIC(metrics_slabs, info.slab_bytes)
METRIC(metrics_partial, info.partial_slab_bytes)
METRIC(metrics_objects, info.objects)
METRIC(metrics_object_bytes, info.object_bytes)
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
	{ "slab_bytes", "gauge", "bytes", "Extents that have small objects.",
	  metrics_slabs, 0 },
	{ "partial_slab_bytes", "gauge", "bytes",
	  "Slabs of which some objects are live, but not all.", metrics_partial, 0 },
	{ "objects", "gauge", NULL, "Live small objects.", metrics_objects, 0 },
	{ "object_bytes", "gauge", "bytes", "Size of the live small objects.",
	  metrics_object_bytes, 0 },
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

/* A label's value: backslash, quote and newline are escaped, and bytes that are not
 * UTF-8 are U+FFFD, because a scraper refuses the whole text otherwise. */
static void metrics_label(FILE *out, const char *text)
{
	while (*text) {
		int length = json_character(text);

		if (!length)
			fputs("\ufffd", out);
		else if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else
			fwrite(text, 1, length, out);
		text += length ? length : 1;
	}
}

static void metrics_family(FILE *out, size_t which, const struct metrics *all)
{
	const char *name = metrics[which].name;

	fprintf(out, "# TYPE daxpin_%s %s\n", name, metrics[which].type);
	if (metrics[which].unit)
		fprintf(out, "# UNIT daxpin_%s %s\n", name, metrics[which].unit);
	fprintf(out, "# HELP daxpin_%s %s\n", name, metrics[which].help);
	for (int i = 0; i < all->count; i++) {
		const struct metrics_pool *pool = &all->pool[i];
		double value = pool->has_page || metrics[which].always ?
			       metrics[which].value(pool) : NAN;

		if (isnan(value))
			continue;
		fprintf(out, "daxpin_%s%s{pool=\"", name,
			strcmp(metrics[which].type, "counter") ? "" : "_total");
		metrics_label(out, pool->path);
		fprintf(out, "\"} %.17g\n", value);
	}
}

static int metrics_read(struct metrics_pool *pool)
{
	struct daxpin_status *status;
	char errmsg[1024];
	int ret = daxpin_status_open(pool->path, errmsg, sizeof(errmsg), &status);
	int is_news = ret && ret != pool->reported;

	*pool = (struct metrics_pool) {
		.path = pool->path, .has_page = !ret, .reported = ret,
		.info = { .size = sizeof(pool->info) },
		.about = { .size = sizeof(pool->about) },
	};
	if (is_news) {
		names_replace("metrics", pool->path, errmsg, sizeof(errmsg));
		fprintf(stderr, "daxpin metrics: %s\n", errmsg);
	}
	if (ret)
		return ret;
	daxpin_status_pool(status, &pool->info);
	daxpin_status_info(status, &pool->about);
	daxpin_status_close(status);
	return 0;
}

/* A server reports why a pool has no page once, and not at each scrape. */
static void metrics_write(FILE *out, void *arg)
{
	struct metrics *all = arg;

	for (int i = 0; i < all->count; i++)
		all->failed |= metrics_read(&all->pool[i]);
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		metrics_family(out, i, all);
	fprintf(out, "# EOF\n");
}

struct metrics_values {
	const char *listen;
};

static int run(int argc, char **argv)
{
	static struct metrics all;
	const struct listen_page page = {
		.command = "metrics", .write = metrics_write, .arg = &all,
		.type = "application/openmetrics-text; version=1.0.0; charset=utf-8",
	};
	struct metrics_values values = { .listen = NULL };

	all.count = table_parse(&metrics_command, argc, argv, &values);
	if (all.count < 0)
		return EXIT_UNKNOWN;
	for (int i = 0; i < all.count; i++)
		all.pool[i].path = argv[1 + i];
	if (values.listen)
		return listen_serve(values.listen, &page);
	metrics_write(stdout, &all);
	return all.failed ? EXIT_UNKNOWN : EXIT_CLEAN;
}

static const struct tool_option options[] = {
	{ "listen", "HOST:PORT", OPTION_TEXT, offsetof(struct metrics_values, listen),
	  "serve them by HTTP at this numeric address" },
	{ .name = NULL },
};

const struct command metrics_command = {
	.name = "metrics",
	.summary = "OpenMetrics text of pools in use",
	.help = "Prints the figures of the pools for Prometheus, from their status pages. A pool\n"
		"without one has daxpin_up 0; if that cannot be found out, it has no daxpin_up.\n"
		"The reason is printed to stderr.",
	.words = "PATH...", .words_min = 1, .words_max = POOLS_MAX,
	.options = options,
	.run = run,
};
