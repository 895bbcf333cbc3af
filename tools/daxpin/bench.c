/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin bench: how long the operations of the library take on a medium. In a
 * directory this is measured on a pool that is removed at the end. On a device-dax node
 * a new pool is created, which remains.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "command.h"
#include "remove.h"
#include "show.h"
#include "table.h"

#define THREADS_MAX	64
/* A small pool has more segments than usual, so that each thread has one. */
#define SMALL_SIZE	(UINT64_C(8) << 30)
#define SEGMENT_SIZE	(UINT64_C(32) << 20)
#define SIZE_DEFAULT	(UINT64_C(256) << 20)
#define TURN_MS		200	/* unless it is given */
#define TURN_MS_MAX	3600000
#define PAUSE_NS	10000000
#define STEPS		16	/* between two looks at the clock */
#define COPY_BYTES	(UINT64_C(64) << 10)
#define OWN_BYTES	(UINT64_C(1) << 20)	/* of each thread's extent */

struct bench_values {
	int json, overwrite;
	uint64_t size, milliseconds, threads;
};

/* What a thread works on. */
struct worker {
	_Alignas(64) struct daxpin_pool *pool;
	struct daxpin_extent own;
	char *bytes;			/* of it, when it is live */
	char *copy;			/* ordinary memory of COPY_BYTES */
	uint64_t random;
	uint64_t operations;
	int error;
	pthread_t thread;
};

struct bench_row {
	const char *key, *name;
	uint64_t bytes;			/* that an operation copies, or 0 */
	int (*step)(struct worker *worker);
};

/* What was measured. */
struct result {
	uint64_t operations, elapsed_ns;
};

struct bench {
	struct show show;		/* of the pool, whose path may be a new one */
	const char *given;		/* the path of the command line */
	char path[4096];
	struct bench_values values;
	int is_device;
	struct worker *workers;
};

static volatile sig_atomic_t interrupted;
static _Atomic int turn_over;
static const struct bench_row *turn_row;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ------------------------------------------------------------- the operations */

static int reserve_and_cancel(struct worker *worker, uint64_t bytes)
{
	struct daxpin_extent extent;
	int ret = daxpin_reserve(worker->pool, bytes, 0, &extent);

	return ret ? ret : daxpin_cancel(worker->pool, extent);
}

static int step_reserve_4k(struct worker *worker)
{
	return reserve_and_cancel(worker, 4096);
}

static int step_reserve_2m(struct worker *worker)
{
	return reserve_and_cancel(worker, UINT64_C(2) << 20);
}

static int step_hold(struct worker *worker)
{
	int ret = daxpin_hold(worker->pool, worker->own, DAXPIN_HOLD_READ);

	return ret ? ret : daxpin_drop(worker->pool, worker->own);
}

static int publish(struct worker *worker, const struct daxpin_op *op)
{
	return daxpin_publish(worker->pool, op, 1, NULL, NULL);
}

static int step_keep(struct worker *worker)
{
	struct daxpin_op keep = { .type = DAXPIN_OP_KEEP };
	struct daxpin_op retire = { .type = DAXPIN_OP_RETIRE };
	int ret = daxpin_reserve(worker->pool, 4096, 0, &keep.extent);

	if (ret)
		return ret;
	retire.extent = keep.extent;
	memset(daxpin_ptr(worker->pool, keep.extent, 0), (int)worker->operations, 4096);
	ret = publish(worker, &keep);
	if (ret) {
		daxpin_cancel(worker->pool, keep.extent);
		return ret;
	}
	return publish(worker, &retire);
}

static uint64_t next_random(struct worker *worker)
{
	worker->random ^= worker->random << 13;
	worker->random ^= worker->random >> 7;
	worker->random ^= worker->random << 17;
	return worker->random;
}

static int step_set(struct worker *worker)
{
	struct daxpin_op op = {
		.type = DAXPIN_OP_SET, .extent = worker->own,
		.offset = next_random(worker) % (OWN_BYTES / 8) * 8,
		.value = worker->operations,
	};

	return publish(worker, &op);
}

static int step_object(struct worker *worker)
{
	struct daxpin_op keep = { .type = DAXPIN_OP_OBJECT_KEEP };
	struct daxpin_op end = { .type = DAXPIN_OP_OBJECT_FREE };
	int ret = daxpin_object_reserve(worker->pool, 64, 0, &keep.extent.addr);

	if (ret)
		return ret;
	end.extent = keep.extent;
	memset(daxpin_object_ptr(worker->pool, keep.extent.addr),
	       (int)worker->operations, 64);
	ret = publish(worker, &keep);
	if (ret) {
		daxpin_object_cancel(worker->pool, keep.extent.addr);
		return ret;
	}
	return publish(worker, &end);
}

static uint64_t random_part(struct worker *worker)
{
	return next_random(worker) % (OWN_BYTES / COPY_BYTES) * COPY_BYTES;
}

static int step_write(struct worker *worker)
{
	uint64_t at = random_part(worker);

	memcpy(worker->bytes + at, worker->copy, COPY_BYTES);
	return daxpin_persist(worker->pool, worker->own, at, COPY_BYTES);
}

static int step_read(struct worker *worker)
{
	memcpy(worker->copy, worker->bytes + random_part(worker), COPY_BYTES);
	/* The compiler must not leave the copy out. */
	atomic_signal_fence(memory_order_seq_cst);
	return 0;
}

static const struct bench_row rows[] = {
	{ "reserve_4k", "reserve and cancel 4 KiB", 0, step_reserve_4k },
	{ "reserve_2m", "reserve and cancel 2 MiB", 0, step_reserve_2m },
	{ "hold", "hold and drop", 0, step_hold },
	{ "keep_4k", "write, keep, retire 4 KiB", 0, step_keep },
	{ "set", "set 8 bytes", 0, step_set },
	{ "object_64", "write, keep, free 64 bytes", 0, step_object },
	{ "write_64k", "write 64 KiB durably", COPY_BYTES, step_write },
	{ "read_64k", "read 64 KiB", COPY_BYTES, step_read },
};

#define ROWS	(sizeof(rows) / sizeof(rows[0]))

/* ------------------------------------------------------------------ a turn */

static void *work(void *arg)
{
	struct worker *worker = arg;

	worker->operations = 0;
	do {
		for (int i = 0; !worker->error && i < STEPS; i++) {
			worker->error = turn_row->step(worker);
			worker->operations++;
		}
	} while (!worker->error && !atomic_load_explicit(&turn_over,
							 memory_order_relaxed));
	return NULL;
}

static int bench_fail(struct bench *bench, int error, const char *what)
{
	bench->show.error = error;
	snprintf(bench->show.errmsg, sizeof(bench->show.errmsg), "%s: %s: %s",
		 bench->given, what, daxpin_strerror(error));
	return -1;
}

static int bench_refuse(struct bench *bench, int error, const char *sentence)
{
	bench->show.error = error;
	snprintf(bench->show.errmsg, sizeof(bench->show.errmsg), "%s: %s",
		 bench->given, sentence);
	return -1;
}

/* Sleeps in short steps, so that a signal ends it. */
static void turn_wait(uint64_t ns)
{
	const struct timespec pause = { .tv_nsec = ns < PAUSE_NS ? ns : PAUSE_NS };
	uint64_t end = now_ns() + ns;

	while (!interrupted && now_ns() < end)
		nanosleep(&pause, NULL);
}

/* Measure a row with so many threads. */
static int turn(struct bench *bench, const struct bench_row *row, uint64_t threads,
		struct result *ret_result)
{
	uint64_t begin = now_ns(), started = 0;
	int error = 0;

	*ret_result = (struct result) { 0 };
	turn_row = row;
	atomic_store(&turn_over, 0);
	while (!error && started < threads) {
		error = -pthread_create(&bench->workers[started].thread, NULL, work,
					&bench->workers[started]);
		started += !error;
	}
	if (!error)
		turn_wait(bench->values.milliseconds * 1000000);
	atomic_store(&turn_over, 1);
	for (uint64_t i = 0; i < started; i++) {
		pthread_join(bench->workers[i].thread, NULL);
		ret_result->operations += bench->workers[i].operations;
		error = error ? error : bench->workers[i].error;
	}
	ret_result->elapsed_ns = now_ns() - begin;
	if (error)
		return bench_fail(bench, error, row->name);
	return interrupted ? bench_refuse(bench, -EINTR,
					  "a signal has ended the measurement") : 0;
}

/* ------------------------------------------------------------- the pool */

static int worker_begin(struct worker *worker, struct daxpin_pool *pool,
			uint64_t number)
{
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP };
	int ret;

	*worker = (struct worker) {
		.pool = pool, .random = 88172645463325252 + number,
	};
	worker->copy = calloc(1, COPY_BYTES);
	if (!worker->copy)
		return -ENOMEM;
	ret = daxpin_reserve(pool, OWN_BYTES, DAXPIN_RESERVE_ZERO, &worker->own);
	if (ret)
		return ret;
	op.extent = worker->own;
	ret = publish(worker, &op);
	if (!ret)
		worker->bytes = daxpin_ptr(pool, worker->own, 0);
	return ret;
}

/* On a device the pool remains, and is to be empty. */
static int worker_end(struct worker *worker)
{
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE, .extent = worker->own };

	free(worker->copy);
	return worker->bytes ? publish(worker, &op) : 0;
}

static int workers_begin(struct bench *bench)
{
	uint64_t threads = bench->values.threads;
	int ret = 0;

	bench->workers = aligned_alloc(64, threads * sizeof(*bench->workers));
	if (!bench->workers)
		return bench_fail(bench, -ENOMEM, "threads");
	memset(bench->workers, 0, threads * sizeof(*bench->workers));
	for (uint64_t i = 0; !ret && i < threads; i++)
		ret = worker_begin(&bench->workers[i], bench->show.pool, i);
	if (ret == -ENOSPC)
		return bench_refuse(bench, ret, "the pool has no extent of 1 MiB for each thread: give a larger --size or fewer --threads");
	return ret ? bench_fail(bench, ret, "an extent for each thread") : 0;
}

/* Returns the first error. */
static int workers_end(struct bench *bench)
{
	int ret = 0, error;

	for (uint64_t i = 0; bench->workers && i < bench->values.threads; i++) {
		error = worker_end(&bench->workers[i]);
		ret = ret ? ret : error;
	}
	free(bench->workers);
	return ret;
}

/* A device, or a new directory in the one that was given. */
static int bench_choose_path(struct bench *bench)
{
	struct stat found;
	char first[4096 + 16];

	if (stat(bench->given, &found))
		return bench_refuse(bench, -errno, strerror(errno));
	bench->is_device = S_ISCHR(found.st_mode);
	snprintf(bench->path, sizeof(bench->path), "%s", bench->given);
	if (bench->is_device)
		return 0;
	if (!S_ISDIR(found.st_mode))
		return bench_refuse(bench, -ENOTDIR, "neither a directory nor a device-dax node");
	if (bench->values.overwrite)
		return bench_refuse(bench, -EINVAL, "in a directory nothing is overwritten: leave --overwrite out");
	snprintf(first, sizeof(first), "%s/segment.0000", bench->given);
	if (!access(first, F_OK))
		return bench_refuse(bench, -EEXIST, "this is a pool: give a directory on the same filesystem, in which a pool is made and removed");
	if (snprintf(bench->path, sizeof(bench->path), "%s/daxpin-bench-XXXXXX",
		     bench->given) >= (int)sizeof(bench->path))
		return bench_refuse(bench, -ENAMETOOLONG, strerror(ENAMETOOLONG));
	if (!mkdtemp(bench->path))
		return bench_refuse(bench, -errno, strerror(errno));
	return 0;
}

static int bench_create(struct bench *bench)
{
	struct show *show = &bench->show;
	int is_small = !bench->is_device && bench->values.size <= SMALL_SIZE;
	struct daxpin_pool_options options = {
		.size = sizeof(options), .segment_size = is_small ? SEGMENT_SIZE : 0,
		.pool_size = bench->values.size ? bench->values.size :
			     bench->is_device ? 0 : SIZE_DEFAULT,
		.flags = DAXPIN_POOL_NO_STATUS |
			 (bench->values.overwrite ? DAXPIN_POOL_OVERWRITE : 0),
		.progress = show_progress,
		.errmsg = show->errmsg, .errmsg_size = sizeof(show->errmsg),
	};

	show->path = bench->path;
	show->error = daxpin_pool_create(bench->path, &options, &show->pool);
	if (show->error) {
		if (!bench->is_device)
			rmdir(bench->path);
		return -1;
	}
	show->info.size = sizeof(show->info);
	daxpin_pool_info(show->pool, &show->info);
	return 0;
}

/* A failure before this one is the one that is reported. */
static int bench_end(struct bench *bench)
{
	struct show *show = &bench->show, end = *show;
	int left = workers_end(bench);

	if (!show->pool)
		return 0;
	show->pool = NULL;
	if (bench->is_device) {
		end.error = daxpin_pool_close(end.pool);
		end.error = end.error ? end.error : left;
		snprintf(end.errmsg, sizeof(end.errmsg),
			 "%s: not emptied and closed: %s", end.path,
			 daxpin_strerror(end.error));
	} else if (!remove_open_pool(&end) && rmdir(end.path)) {
		end.error = -errno;
		snprintf(end.errmsg, sizeof(end.errmsg), "%s: %s", end.path,
			 strerror(errno));
	}
	if (!end.error || show->error)
		return 0;
	*show = end;
	show->pool = NULL;
	return -1;
}

/* --------------------------------------------------------------- the report */

static void print_per_second(const struct result *result, uint64_t bytes)
{
	double per_second = (double)result->operations * 1e9 /
			    (double)result->elapsed_ns;

	if (bytes)
		printf("  %8.2f GiB/s", per_second * (double)bytes / (1 << 30));
	else if (per_second >= 1e6)
		printf("  %8.2f M/s  ", per_second / 1e6);
	else
		printf("  %8.1f k/s  ", per_second / 1e3);
}

static void print_row(const struct bench *bench, const struct bench_row *row,
		      const struct result results[2])
{
	double ns = (double)results[0].elapsed_ns / (double)results[0].operations;

	printf("%-28s", row->name);
	if (ns < 1e4)
		printf("%8.1f ns", ns);
	else
		printf("%8.1f us", ns / 1e3);
	print_per_second(&results[0], row->bytes);
	if (bench->values.threads > 1)
		print_per_second(&results[1], row->bytes);
	putchar('\n');
	fflush(stdout);
}

static void json_result(struct json *json, uint64_t threads,
			const struct result *result)
{
	json_object(json, NULL);
	json_number(json, "threads", threads);
	json_number(json, "operations", result->operations);
	json_number(json, "elapsed_ns", result->elapsed_ns);
	json_end_object(json);
}

static void json_row(struct json *json, const struct bench *bench,
		     const struct bench_row *row, const struct result results[2])
{
	json_object(json, NULL);
	json_string(json, "name", row->key);
	json_number(json, "bytes", row->bytes);
	json_array(json, "turns");
	json_result(json, 1, &results[0]);
	if (bench->values.threads > 1)
		json_result(json, bench->values.threads, &results[1]);
	json_end_array(json);
	json_end_object(json);
}

static const char *durable_by(uint32_t granularity)
{
	switch (granularity) {
	case DAXPIN_GRANULARITY_PAGE:
		return "msync()";
	case DAXPIN_GRANULARITY_CACHE_LINE:
		return "write-backs of cache lines";
	default:
		return "themselves";
	}
}

static void print_head(const struct bench *bench)
{
	const struct daxpin_pool_info *info = &bench->show.info;
	char size[SHOW_TEXT];

	printf("%s: %s of %s on %s; each figure is of %" PRIu64 " ms\n", bench->given,
	       bench->is_device ? "a new pool" : "a pool, which is removed,",
	       show_bytes(info->media_bytes, size), show_source(info->source),
	       bench->values.milliseconds);
	printf("Stores become durable by %s%s.\n", durable_by(info->granularity),
	       info->source == DAXPIN_SOURCE_SHMEM ?
	       ", as far as that is possible in memory" : "");
	printf("%-28s%11s%16s", "", "a call", "1 thread");
	if (bench->values.threads > 1)
		printf("%7s%" PRIu64 " threads", "", bench->values.threads);
	putchar('\n');
	fflush(stdout);
}

static void json_head(const struct bench *bench, struct json *json)
{
	const struct daxpin_pool_info *info = &bench->show.info;

	json_object(json, NULL);
	json_string(json, "path", bench->given);
	json_string(json, "source", show_source(info->source));
	json_number(json, "media_bytes", info->media_bytes);
	json_array(json, "rows");
}

/* All rows are measured before JSON is printed, because a failure is an object, too. */
static int bench_measure(struct bench *bench)
{
	struct result results[ROWS][2];
	struct json json = { .out = stdout };

	if (!bench->values.json)
		print_head(bench);
	for (size_t i = 0; i < ROWS; i++) {
		if (bench->values.json && isatty(STDERR_FILENO))
			show_line("%s ", rows[i].name);
		if (turn(bench, &rows[i], 1, &results[i][0]) ||
		    (bench->values.threads > 1 &&
		     turn(bench, &rows[i], bench->values.threads, &results[i][1])))
			return -1;
		if (!bench->values.json)
			print_row(bench, &rows[i], results[i]);
	}
	if (!bench->values.json)
		return 0;
	json_head(bench, &json);
	for (size_t i = 0; i < ROWS; i++)
		json_row(&json, bench, &rows[i], results[i]);
	json_end_array(&json);
	json_end_object(&json);
	return 0;
}

/* ------------------------------------------------------------------ the command */

static void catch_signals(void)
{
	const struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static int parse(struct bench_values *values, int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	values->milliseconds = TURN_MS;
	values->threads = cpus < 1 ? 1 : cpus < 8 ? (uint64_t)cpus : 8;
	if (table_parse(&bench_command, argc, argv, values) < 0)
		return -1;
	if (!values->threads || values->threads > THREADS_MAX)
		return table_refuse(&bench_command, "--threads", "from 1 to 64");
	if (!values->milliseconds || values->milliseconds > TURN_MS_MAX)
		return table_refuse(&bench_command, "--milliseconds",
				    "from 1 to 3600000");
	return 0;
}

static int run(int argc, char **argv)
{
	static struct bench bench = { .show = { .command = "bench" } };
	int failed;

	if (parse(&bench.values, argc, argv))
		return EXIT_UNKNOWN;
	bench.given = argv[1];
	catch_signals();
	failed = bench_choose_path(&bench) || bench_create(&bench) ||
		 workers_begin(&bench) || bench_measure(&bench);
	failed |= bench_end(&bench);
	if (!failed)
		return EXIT_CLEAN;
	bench.show.path = bench.given;
	show_fail(&bench.show, bench.values.json);
	return EXIT_UNKNOWN;
}

static const struct tool_option options[] = {
	{ "size", "SIZE", OPTION_BYTES, offsetof(struct bench_values, size),
	  "of the pool; default 256M, or the whole device" },
	{ "threads", "N", OPTION_NUMBER, offsetof(struct bench_values, threads),
	  "1 to 64; default one for each CPU, at most 8" },
	{ "milliseconds", "N", OPTION_NUMBER,
	  offsetof(struct bench_values, milliseconds),
	  "of each measurement, 1 to 3600000; default 200" },
	{ "overwrite", NULL, OPTION_FLAG, offsetof(struct bench_values, overwrite),
	  "destroy a pool that is on the device" },
	{ "json", NULL, OPTION_FLAG, offsetof(struct bench_values, json),
	  "print one JSON object" },
	{ .name = NULL },
};

const struct command bench_command = {
	.name = "bench",
	.summary = "measure operations on a medium",
	.help = "Creates a pool in a directory, measures how long operations take there, with one\n"
		"thread and with several, and removes the pool. On a device-dax node a new pool\n"
		"is created, which remains and is empty.",
	.words = "PATH", .words_min = 1, .words_max = 1, .changes = 1,
	.options = options,
	.run = run,
};
