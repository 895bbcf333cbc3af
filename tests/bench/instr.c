/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_instr [OPTIONS] TEST -: the instructions of one call, counted by callgrind.
 *
 *	TEST	reserve | cancel: --size BYTES
 *		keep | retire | keep-16 | retire-16: the last two per operation of 16
 *		set | root | find | hold | hold-at | labelled: a hold with its drop
 *		object-reserve | object-cancel | object-ptr: --size BYTES
 *
 * Times vary with the machine and its load, numbers of instructions do not, so two
 * versions of the library can be compared. They do not include the cost of cache misses
 * and fences. The program runs itself under valgrind.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define INSIDE		"DAXPIN_BENCH_INSIDE"	/* set under valgrind */
#define COUNT_MAX	960			/* also for 16 operations each */
#define BATCH		16

static struct bench bench;
static struct daxpin_pool *pool;
static struct daxpin_extent extents[COUNT_MAX], one;
static uint64_t objects[COUNT_MAX];
static size_t count;			/* calls that are counted */
static int failed;

/* ---------------------------------------------------------------- the calls */

static void reserve_all(void)
{
	for (size_t i = 0; i < count; i++)
		failed |= daxpin_reserve(pool, bench.size, 0, &extents[i]);
}

static void cancel_all(void)
{
	for (size_t i = 0; i < count; i++)
		failed |= daxpin_cancel(pool, extents[i]);
}

static void publish_all(uint32_t type, uint32_t flags, size_t at_once)
{
	for (size_t i = 0; i < count; i += at_once) {
		struct daxpin_op ops[BATCH];

		for (size_t j = 0; j < at_once; j++)
			ops[j] = (struct daxpin_op) {
				.type = type, .flags = flags,
				.extent = extents[i + j],
			};
		failed |= daxpin_publish(pool, ops, at_once, NULL, NULL);
	}
}

static void keep_all(void)
{
	publish_all(DAXPIN_OP_KEEP, DAXPIN_OP_PERSISTED, 1);
}

static void retire_all(void)
{
	publish_all(DAXPIN_OP_RETIRE, 0, 1);
}

static void keep_batches(void)
{
	publish_all(DAXPIN_OP_KEEP, DAXPIN_OP_PERSISTED, BATCH);
}

static void retire_batches(void)
{
	publish_all(DAXPIN_OP_RETIRE, 0, BATCH);
}

static void set_all(void)
{
	struct daxpin_op op = { .type = DAXPIN_OP_SET, .extent = one };

	for (size_t i = 0; i < count; i++) {
		op.offset = i % 512 * 8;
		failed |= daxpin_publish(pool, &op, 1, NULL, NULL);
	}
}

static void root_all(void)
{
	struct daxpin_op op = {
		.type = DAXPIN_OP_ROOT, .extent = one, .name = "name",
	};

	for (size_t i = 0; i < count; i++)
		failed |= daxpin_publish(pool, &op, 1, NULL, NULL);
}

static void find_all(void)
{
	struct daxpin_extent found;

	for (size_t i = 0; i < count; i++)
		failed |= daxpin_root(pool, "name", &found);
}

static void hold_all(void)
{
	for (size_t i = 0; i < count; i++) {
		failed |= daxpin_hold(pool, one, DAXPIN_HOLD_READ);
		failed |= daxpin_drop(pool, one);
	}
}

static void hold_at_all(void)
{
	struct daxpin_extent held;

	for (size_t i = 0; i < count; i++) {
		failed |= daxpin_hold_at(pool, one.addr, DAXPIN_HOLD_READ, &held);
		failed |= daxpin_drop(pool, held);
	}
}

static void labelled_all(void)
{
	struct daxpin_hold hold = { .access = 0 };

	for (size_t i = 0; i < count; i++) {
		failed |= daxpin_hold_labelled(pool, one, DAXPIN_HOLD_READ,
					       "label", &hold);
		failed |= daxpin_drop_labelled(pool, &hold);
	}
}

static void object_reserve_all(void)
{
	for (size_t i = 0; i < count; i++)
		failed |= daxpin_object_reserve(pool, bench.size, 0, &objects[i]);
}

/* From the last to the first, as in a stack. */
static void object_cancel_all(void)
{
	for (size_t i = count; i-- > 0;)
		failed |= daxpin_object_cancel(pool, objects[i]);
}

static void object_ptr_all(void)
{
	for (size_t i = 0; i < count; i++)
		failed |= !daxpin_object_ptr(pool, objects[i]);
}

/*
 * Functions that run before, which are not counted, and the function that is counted.
 */
static const struct test {
	const char *name;
	void (*before)(void), (*also_before)(void), (*counted)(void);
} tests[] = {
	{ "reserve", NULL, NULL, reserve_all },
	{ "cancel", reserve_all, NULL, cancel_all },
	{ "keep", reserve_all, NULL, keep_all },
	{ "retire", reserve_all, keep_all, retire_all },
	{ "keep-16", reserve_all, NULL, keep_batches },
	{ "retire-16", reserve_all, keep_batches, retire_batches },
	{ "set", NULL, NULL, set_all },
	{ "root", root_all, NULL, root_all },
	{ "find", root_all, NULL, find_all },
	{ "hold", NULL, NULL, hold_all },
	{ "hold-at", NULL, NULL, hold_at_all },
	{ "labelled", NULL, NULL, labelled_all },
	/* Twice, so that the slabs are there. */
	{ "object-reserve", object_reserve_all, object_cancel_all, object_reserve_all },
	{ "object-cancel", object_reserve_all, NULL, object_cancel_all },
	{ "object-ptr", object_reserve_all, NULL, object_ptr_all },
};

/* ------------------------------------------------------------ under valgrind */

/* Callgrind counts while this function runs. It must not end with a jump to fn. */
__attribute__((noinline, used))
static void instr_counted(void (*fn)(void))
{
	__asm__ volatile("" : : : "memory");
	fn();
	__asm__ volatile("" : : : "memory");
}

static void run_test(const struct test *test)
{
	struct daxpin_op keep = { .type = DAXPIN_OP_KEEP };

	pool = bench_pool(&bench, count * bench.size);
	must(daxpin_reserve(pool, DAXPIN_BLOCK_SIZE, 0, &keep.extent), "reserve");
	must(daxpin_publish(pool, &keep, 1, NULL, NULL), "keep");
	one = keep.extent;
	if (test->before)
		test->before();
	if (test->also_before)
		test->also_before();
	instr_counted(test->counted);
	if (failed)
		bench_die("%s: a call failed", test->name);
}

static void find_and_run(void)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!strcmp(bench.test, tests[i].name)) {
			run_test(&tests[i]);
			return;
		}
	bench_die("no test %s", bench.test);
}

/* ----------------------------------------------------------- around valgrind */

/* Runs the program's own command line under callgrind and reads its log. */
static FILE *start_callgrind(char **argv)
{
	static char *tool[] = {
		"valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
		"--toggle-collect=instr_counted", "--log-fd=1",
	};
	size_t words = sizeof(tool) / sizeof(tool[0]), given = 0;
	char **command;
	int pipe_ends[2];

	while (argv[given])
		given++;
	command = calloc(words + given + 1, sizeof(*command));
	if (!command || pipe(pipe_ends))
		bench_die("no pipe to valgrind");
	memcpy(command, tool, sizeof(tool));
	memcpy(command + words, argv, given * sizeof(*argv));
	command[words] = realpath("/proc/self/exe", NULL);
	setenv(INSIDE, "1", 1);
	if (fork() == 0) {
		dup2(pipe_ends[1], STDOUT_FILENO);
		close(pipe_ends[0]);
		execvp(command[0], command);
		_exit(BENCH_SKIPPED);
	}
	close(pipe_ends[1]);
	return fdopen(pipe_ends[0], "r");
}

static void count_instructions(char **argv)
{
	FILE *log;
	unsigned long long collected = 0, found;
	const char *at;
	char line[512];
	int status = 0;

	if (bench_is_sanitized())
		bench_skip("a sanitizer does not run under valgrind");
	log = start_callgrind(argv);
	while (fgets(line, sizeof(line), log)) {
		at = strstr(line, "Collected : ");
		if (at && sscanf(at, "Collected : %llu", &found) == 1)
			collected = found;
	}
	fclose(log);
	wait(&status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == BENCH_SKIPPED)
		bench_skip("valgrind is not installed: it counts instructions");
	if (status || !collected)
		bench_die("nothing was counted under valgrind");
	printf("%s unit=instr daxpin_is=%.1f\n", bench.test,
	       (double)collected / count);
}

int main(int argc, char **argv)
{
	bench_parse(&bench, argc, argv);
	bench.durable = true;
	/* Thousands of extents of 2 MiB would not fit. */
	count = bench.once || bench.size > 65536 ? 2 * BATCH : COUNT_MAX;
	if (getenv(INSIDE))
		find_and_run();
	else
		count_instructions(argv);
	return 0;
}
