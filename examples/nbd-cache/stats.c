/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the cache counts, and how long its operations took: as a struct, and as
 * OpenMetrics text. An observation costs two reads of the clock and two additions to
 * shared counters, without an order.
 */
#include "engine.h"
#include <inttypes.h>

static const double bounds[BUCKETS] = {		/* seconds */
	5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3,
	5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1, 10,
};

void stats_observe(struct cache *cache, enum cache_operation operation,
		   uint64_t since_ns)
{
	struct histogram *histogram = &cache->latency[operation];
	uint64_t ns = daxpin_deadline_ms(0) - since_ns;
	unsigned int i = 0;

	while (i < BUCKETS && ns > bounds[i] * 1e9)
		i++;
	atomic_fetch_add_explicit(&histogram->bucket[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->ns, ns, memory_order_relaxed);
}

void cache_counts(struct cache *cache, struct cache_counts *ret_counts)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	uint64_t limit = cache->limit;

	daxpin_pool_info(cache->pool, &info);
	pthread_mutex_lock(&cache->mutex);
	*ret_counts = (struct cache_counts){
		.hits = cache->hits, .misses = cache->misses,
		.clean = cache->clean, .dirty = cache->dirty, .lost = cache->lost,
		.extents = cache->extents,
		.written_back = cache->written_back, .evicted = cache->evicted,
		.disk_errors = cache->disk_errors, .in_flight = cache->busy,
		.retired_bytes = info.retired_bytes,
		.usable_bytes = info.usable_bytes,
		.limit_bytes = limit < UINT64_MAX ? limit * cache->block :
						    info.usable_bytes,
		.hole_bytes = info.hole_bytes,
	};
	pthread_mutex_unlock(&cache->mutex);
}

static void counter(FILE *to, const char *name, const char *help, uint64_t value)
{
	fprintf(to, "# TYPE nbd_cache_%s counter\n# HELP nbd_cache_%s %s\n"
		"nbd_cache_%s_total %" PRIu64 "\n", name, name, help, name, value);
}

static void gauge(FILE *to, const char *name, const char *help, uint64_t value)
{
	fprintf(to, "# TYPE nbd_cache_%s gauge\n# HELP nbd_cache_%s %s\n"
		"nbd_cache_%s %" PRIu64 "\n", name, name, help, name, value);
}

static void bytes(FILE *to, const char *name, const char *help, uint64_t value)
{
	fprintf(to, "# UNIT nbd_cache_%s bytes\n", name);
	gauge(to, name, help, value);
}

static void latency(FILE *to, const char *operation, struct histogram *histogram)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i <= BUCKETS; i++) {
		sum += histogram->bucket[i];
		fprintf(to, "nbd_cache_latency_seconds_bucket{operation=\"%s\",le=\"",
			operation);
		if (i < BUCKETS)
			fprintf(to, "%g%s", bounds[i], bounds[i] < 1 ? "" : ".0");
		else
			fputs("+Inf", to);
		fprintf(to, "\"} %" PRIu64 "\n", sum);
	}
	fprintf(to, "nbd_cache_latency_seconds_count{operation=\"%s\"} %" PRIu64 "\n"
		"nbd_cache_latency_seconds_sum{operation=\"%s\"} %.9f\n", operation,
		sum, operation, histogram->ns / 1e9);
}

void cache_metrics(struct cache *cache, FILE *to)
{
	static const char *const operations[CACHE_OPERATIONS] = {
		"read_hit", "read_miss", "write", "zero", "write_back",
	};
	struct cache_counts counts;

	cache_counts(cache, &counts);
	counter(to, "hits", "Blocks read in the pool.", counts.hits);
	counter(to, "misses", "Blocks read from the disk.", counts.misses);
	counter(to, "written_back_blocks", "Blocks written to the disk.",
		counts.written_back);
	counter(to, "evicted_blocks", "Clean blocks removed.", counts.evicted);
	counter(to, "disk_errors", "Blocks not written to the disk, each time.",
		counts.disk_errors);
	gauge(to, "clean_blocks", "Cached blocks that the disk has.", counts.clean);
	gauge(to, "dirty_blocks", "Blocks that the disk lacks.", counts.dirty);
	gauge(to, "lost_blocks", "Blocks lost in bad memory.", counts.lost);
	gauge(to, "disk_in_flight", "Requests that use the disk.", counts.in_flight);
	bytes(to, "retired_held_bytes", "Retired, but held.", counts.retired_bytes);
	bytes(to, "pool_bytes", "Usable bytes of the pool.", counts.usable_bytes);
	bytes(to, "limit_bytes", "Bytes that blocks may use.", counts.limit_bytes);
	bytes(to, "given_back_bytes", "Holes of the pool.", counts.hole_bytes);
	fputs("# TYPE nbd_cache_latency_seconds histogram\n"
	      "# UNIT nbd_cache_latency_seconds seconds\n"
	      "# HELP nbd_cache_latency_seconds Of requests, and of batches that are written back.\n",
	      to);
	for (unsigned int i = 0; i < CACHE_OPERATIONS; i++)
		latency(to, operations[i], &cache->latency[i]);
	fputs("# EOF\n", to);
}
