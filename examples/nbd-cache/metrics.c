/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cache's counts as OpenMetrics text in a file: every few seconds, and at the end.
 * Each time a new file replaces the old one, so a reader sees a whole one. A file that
 * cannot be written is reported once.
 */
#include "metrics.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECONDS 5

static struct {
	struct cache *cache;
	char path[4096], draft[4104];
	void (*log)(const char *message);
	bool failed, stop, started;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
} metrics = {
	.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER,
};

static void counter(FILE *file, const char *name, uint64_t value)
{
	fprintf(file, "# TYPE nbd_cache_%s counter\nnbd_cache_%s_total %" PRIu64 "\n",
		name, name, value);
}

static void gauge(FILE *file, const char *name, uint64_t value)
{
	fprintf(file, "# TYPE nbd_cache_%s gauge\nnbd_cache_%s %" PRIu64 "\n", name,
		name, value);
}

static void print(FILE *file)
{
	struct cache_counts counts;

	cache_counts(metrics.cache, &counts);
	counter(file, "hits", counts.hits);
	counter(file, "misses", counts.misses);
	counter(file, "written_back_blocks", counts.written_back);
	counter(file, "evicted_blocks", counts.evicted);
	counter(file, "disk_errors", counts.disk_errors);
	gauge(file, "clean_blocks", counts.clean);
	gauge(file, "dirty_blocks", counts.dirty);
	gauge(file, "disk_reads_in_flight", counts.reading);
	gauge(file, "retired_held_bytes", counts.retired_bytes);
	fputs("# EOF\n", file);
}

static void write_file(void)
{
	FILE *file = fopen(metrics.draft, "we");
	char message[4300];
	bool good = file;

	if (file) {
		print(file);
		good = !ferror(file);
		good = !fclose(file) && good;
	}
	if (good && !rename(metrics.draft, metrics.path))
		return;
	snprintf(message, sizeof(message), "%s cannot be written: %s", metrics.path,
		 strerror(errno));
	if (!metrics.failed)
		metrics.log(message);
	metrics.failed = true;
}

static void *run(void *arg)
{
	struct timespec until;

	(void)arg;
	pthread_mutex_lock(&metrics.mutex);
	while (!metrics.stop) {
		write_file();
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += SECONDS;
		pthread_cond_timedwait(&metrics.wake, &metrics.mutex, &until);
	}
	write_file();
	pthread_mutex_unlock(&metrics.mutex);
	return NULL;
}

int metrics_start(struct cache *cache, const char *path,
		  void (*log)(const char *message))
{
	if (strlen(path) >= sizeof(metrics.path))
		return -ENAMETOOLONG;
	metrics.cache = cache;
	metrics.log = log;
	strcpy(metrics.path, path);
	snprintf(metrics.draft, sizeof(metrics.draft), "%s.new", path);
	metrics.started = !pthread_create(&metrics.thread, NULL, run, NULL);
	return metrics.started ? 0 : -EAGAIN;
}

void metrics_stop(void)
{
	if (!metrics.started)
		return;
	pthread_mutex_lock(&metrics.mutex);
	metrics.stop = true;
	pthread_cond_signal(&metrics.wake);
	pthread_mutex_unlock(&metrics.mutex);
	pthread_join(metrics.thread, NULL);
}
