/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_repair devdax|fsdax: a damaged pool on a real DAX medium is checked, read by a
 * degraded open, repaired, restored, and repaired again, with the calls that an
 * application uses. The damage is made through a mapping of the test.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include <daxpin.h>

#define MIB		(1ull << 20)
#define EXTENTS		5
#define TEXT		"extent %d is whole"

static char path[200], file[220], backup[64], errmsg[1024];
static int is_device;

static struct daxpin_pool_options options = {
	.size = sizeof(options), .segment_size = 32 * MIB,
	.flags = DAXPIN_POOL_OVERWRITE, .errmsg = errmsg,
	.errmsg_size = sizeof(errmsg),
};

static void check_call(int ret, const char *what)
{
	if (ret)
		fail_msg("%s: %d, %s", what, ret, errmsg);
}

#define TABLE		0xf0000		/* its offset in a segment (format.md) */
/* Is the extent in the last chunk of segment 0? */
static int is_last(struct daxpin_extent extent)
{
	return extent.addr >= 30 * MIB && extent.addr < 32 * MIB;
}

/*
 * Publishes and retires an extent of the last chunk, so that its page of the table is
 * in use.
 */
static void use_last_page(struct daxpin_pool *pool)
{
	static struct daxpin_extent taken[4096];
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP };
	int count = 0;

	do {
		assert_true(count < 4096);
		check_call(daxpin_reserve(pool, MIB, 0, &taken[count]),
			   "reserve");
	} while (!is_last(taken[count++]));
	op.extent = taken[--count];
	check_call(daxpin_publish(pool, &op, 1, NULL, NULL), "keep");
	op.type = DAXPIN_OP_RETIRE;
	check_call(daxpin_publish(pool, &op, 1, NULL, NULL), "retire");
	while (count--)
		check_call(daxpin_cancel(pool, taken[count]), "cancel");
}

/* Five extents, each with a text, and their addresses. */
static void fill_pool(uint64_t addr[EXTENTS])
{
	struct daxpin_pool *pool;

	check_call(daxpin_pool_create(path, &options, &pool), "create");
	options.flags = 0;
	for (int i = 0; i < EXTENTS; i++) {
		struct daxpin_op keep = {
			.type = DAXPIN_OP_KEEP,
		};

		check_call(daxpin_reserve(pool, 16384, 0, &keep.extent),
			   "reserve");
		sprintf(daxpin_ptr(pool, keep.extent, 0), TEXT, i);
		check_call(daxpin_publish(pool, &keep, 1,
					  NULL, NULL), "publish");
		addr[i] = keep.extent.addr;
	}
	use_last_page(pool);
	check_call(daxpin_pool_close(pool), "close");
}

static void expect_extents(const uint64_t addr[EXTENTS], uint32_t flags,
			   uint64_t quarantined)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_extent extent;
	struct daxpin_pool *pool;
	char text[64];

	options.flags = flags;
	check_call(daxpin_pool_open(path, &options, &pool), "open");
	options.flags = 0;
	for (int i = 0; i < EXTENTS; i++) {
		check_call(daxpin_extent_at(pool, addr[i], &extent),
			   "extent_at");
		sprintf(text, TEXT, i);
		assert_string_equal(daxpin_ptr(pool, extent, 0), text);
	}
	assert_int_equal(daxpin_pool_info(pool, &info), 0);
	assert_int_equal(info.quarantined_bytes, quarantined);
	check_call(daxpin_pool_close(pool), "close");
}

static char *map_metadata(void)
{
	int fd = open(file, O_RDWR | O_CLOEXEC);
	void *base;

	assert_true(fd >= 0);
	base = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (base == MAP_FAILED) {
		print_message("# skipped: 2 MiB of %s cannot be mapped\n",
			      file);
		skip();
	}
	return base;
}

/*
 * Damages two words: that of block 8191, the last of its segment, and that of the block
 * after the extent's first.
 */
static void damage(char *base, uint64_t extent)
{
	uint64_t block = extent / 4096 + 1;

	assert_true(block < 8192);
	memset(base, 0, 8192);
	memset(base + TABLE + 15 * 4096 + (63 * 8 + 7) * 8, 0, 8);
	memset(base + TABLE + block / 512 * 4096 +
	       (block % 64 * 8 + block % 512 / 64) * 8, 0x5a, 8);
	/* device-dax has no msync(). The bytes can be read back without it. */
	if (!is_device)
		assert_int_equal(msync(base, 2 * MIB, MS_SYNC), 0);
}

static int agree(const struct daxpin_finding *finding, void *arg)
{
	(void)arg;
	print_message("# %s\n", finding->what);
	return 1;
}

static uint32_t look(void)
{
	struct daxpin_check_summary summary = { .size = sizeof(summary) };

	check_call(daxpin_check(path, &options, NULL, NULL, &summary), "check");
	return summary.damages;
}

static void repair(void)
{
	struct daxpin_check_summary summary = { .size = sizeof(summary) };

	check_call(daxpin_repair(path, &options, backup, agree, NULL,
				 &summary), "repair");
	assert_int_equal(summary.repaired, 3);
	assert_int_equal(look(), 0);
}

static void a_damaged_pool_can_be_repaired(void **state)
{
	char *before = malloc(2 * MIB), *base;
	uint64_t addr[EXTENTS];
	struct daxpin_pool *pool;

	(void)state;
	assert_non_null(before);
	fill_pool(addr);
	assert_int_equal(look(), 0);
	expect_extents(addr, DAXPIN_POOL_READONLY, 0);
	base = map_metadata();
	damage(base, addr[2]);
	memcpy(before, base, 2 * MIB);
	assert_int_equal(look(), 3);
	assert_int_equal(daxpin_pool_open(path, &options, &pool), -EUCLEAN);
	expect_extents(addr, DAXPIN_POOL_READONLY | DAXPIN_POOL_DEGRADED,
		       2 * 4096);
	assert_memory_equal(base, before, 2 * MIB);
	repair();
	check_call(daxpin_repair_undo(path, &options, backup), "undo");
	assert_memory_equal(base, before, 2 * MIB);
	assert_int_equal(unlink(backup), 0);
	repair();
	expect_extents(addr, 0, 0);
	munmap(base, 2 * MIB);
	free(before);
}

static int find_medium(void **state)
{
	const char *name = getenv(is_device ? "DAXPIN_TEST_DAX" :
					      "DAXPIN_TEST_FSDAX");

	(void)state;
	if (!name) {
		print_message("# skipped: no such medium here\n");
		exit(77);
	}
	snprintf(path, sizeof(path), is_device ? "%s" : "%s/mend", name);
	snprintf(file, sizeof(file), is_device ? "%s" : "%s/segment.0000",
		 path);
	options.pool_size = is_device ? 0 : 64 * MIB;
	snprintf(backup, sizeof(backup), "/tmp/daxpin-mend-%d", getpid());
	return 0;
}

static int clean_up(void **state)
{
	char name[240];

	(void)state;
	unlink(backup);
	if (is_device)
		return 0;
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s/segment.%04d", path, i);
		unlink(name);
	}
	rmdir(path);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_damaged_pool_can_be_repaired),
	};

	is_device = argc == 2 && !strcmp(argv[1], "devdax");
	return cmocka_run_group_tests(tests, find_medium, clean_up);
}
