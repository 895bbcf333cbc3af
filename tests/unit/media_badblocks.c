/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bad blocks and poison, simulated at the os seam: the linker puts the __wrap_
 * functions of this file between the library and its os module, so that sysfs lists the
 * bad blocks of the test, and a read of a poisoned range fails as on Linux. The pools
 * are on shmem; tests/lab uses real badblocks.
 */
#include "media.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include "support/invariant.h"
#include "core/handle.h"
#include "os/os.h"

#define BLOCK		DP_BLOCK_SIZE
#define SECTOR		512ull

/* ----------------------------------------------------------------- the seam */

int __real_dp_os_read_file(const char *path, char *buffer, size_t size);
int __wrap_dp_os_read_file(const char *path, char *buffer, size_t size);
int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg);
int __real_dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
		     void **ret_base);
int __wrap_dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
		     void **ret_base);
int __real_dp_os_copy_checked(void *to, const void *from, uint64_t size);
int __wrap_dp_os_copy_checked(void *to, const void *from, uint64_t size);
int __real_dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
			     uint64_t *ret_done);
int __wrap_dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
			     uint64_t *ret_done);
bool __wrap_dp_os_is_realtime(int fd);

#define NAMES_MAX	4
#define MAPS_MAX	64

static struct {
	/* Paths in sysfs, by their end, and what reading them returns. */
	struct {
		char end[80];
		const char *text;	/* NULL: -EACCES */
	} file[NAMES_MAX];
	/* The poisoned range of a segment: [begin, end). */
	uint32_t segment;
	uint64_t begin, end;
	bool poisoned;
	bool like_device;		/* no read(): copies from the mapping */
	bool short_reads;		/* another process has the file's lock */
	bool realtime;
	/* Which segment's file is mapped where. */
	struct {
		char *base;
		uint64_t size;
		uint32_t segment;
	} map[MAPS_MAX];
	size_t maps;
	uint32_t read_poison;		/* how often poison was read */
	void (*meanwhile)(void);	/* runs during a read */
} seam;

/* Returns the segment of this file, or -1. */
static int segment_of(int fd)
{
	char path[64], name[256];
	unsigned int index;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return -1;
	name[n] = '\0';
	if (!strrchr(name, '/') ||
	    sscanf(strrchr(name, '/'), "/segment.%04u", &index) != 1)
		return -1;
	return index;
}

static bool is_poisoned(int segment, uint64_t offset, uint64_t size)
{
	bool is = seam.poisoned && segment == (int)seam.segment &&
		  offset < seam.end && offset + size > seam.begin;

	if (is)
		seam.read_poison++;
	return is;
}

int __wrap_dp_os_read_file(const char *path, char *buffer, size_t size)
{
	for (size_t i = 0; i < NAMES_MAX; i++) {
		size_t length = strlen(seam.file[i].end), all = strlen(path);

		if (!length || all < length ||
		    strcmp(path + all - length, seam.file[i].end))
			continue;
		if (!seam.file[i].text)
			return -EACCES;
		snprintf(buffer, size, "%s", seam.file[i].text);
		return (int)strlen(buffer);
	}
	return __real_dp_os_read_file(path, buffer, size);
}

/*
 * The simulated disk: a segment's two halves of 16 MiB are swapped, and each segment
 * begins 1 MiB plus 64 MiB for each segment before it from the start of the disk.
 */
static uint64_t on_disk(uint32_t segment, uint64_t offset)
{
	return MIB + segment * 64 * MIB + (offset ^ 16 * MIB);
}

int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg)
{
	int segment = segment_of(fd), ret = 0;

	assert_true(segment >= 0);
	for (uint64_t at = 0; !ret && at < 32 * MIB; at += 16 * MIB)
		ret = fn(&(struct dp_os_extent) {
			.offset = at, .length = 16 * MIB,
			.physical = on_disk(segment, at),
		}, arg);
	return ret;
}

int __wrap_dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
		     void **ret_base)
{
	int ret = __real_dp_os_map(at, size, protection, flags, fd, ret_base);
	int segment = ret || fd < 0 ? -1 : segment_of(fd);

	if (segment < 0)
		return ret;
	seam.map[seam.maps % MAPS_MAX].base = *ret_base;
	seam.map[seam.maps % MAPS_MAX].size = size;
	seam.map[seam.maps++ % MAPS_MAX].segment = segment;
	return ret;
}

int __wrap_dp_os_copy_checked(void *to, const void *from, uint64_t size)
{
	const char *at = from;

	/* The newest mapping of an address is the current one. */
	for (size_t n = seam.maps; n && n + MAPS_MAX > seam.maps; n--) {
		size_t i = (n - 1) % MAPS_MAX;

		if (at < seam.map[i].base ||
		    at >= seam.map[i].base + seam.map[i].size)
			continue;
		if (!is_poisoned(seam.map[i].segment, at - seam.map[i].base,
				 size))
			break;
		if (!seam.like_device)
			fail_msg("read() returned EIO here: a load would be a SIGBUS");
		return -EIO;
	}
	return __real_dp_os_copy_checked(to, from, size);
}

int __wrap_dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
			     uint64_t *ret_done)
{
	if (seam.meanwhile)
		seam.meanwhile();
	if (seam.like_device) {
		*ret_done = 0;
		return 0;
	}
	if (is_poisoned(segment_of(fd), offset, size))
		return -EIO;
	if (!seam.short_reads)
		return __real_dp_os_read_nowait(fd, offset, to, size, ret_done);
	*ret_done = pread(fd, to, size / 2, offset);
	assert_int_equal(*ret_done, size / 2);
	return 0;
}

bool __wrap_dp_os_is_realtime(int fd)
{
	(void)fd;
	return seam.realtime;
}

/* --------------------------------------------------------------- fixtures */

static void healthy(void)
{
	memset(&seam, 0, sizeof(seam));
}

/* sysfs has no list, as for tmpfs, until a test adds one. */
static int bad_setup(void **state)
{
	healthy();
	return closed_setup(state);
}

static int bad_teardown(void **state)
{
	healthy();
	return fixture_teardown(state);
}

static int none_setup(void **state)
{
	(void)state;
	healthy();
	return 0;
}

static int none_teardown(void **state)
{
	(void)state;
	healthy();
	return 0;
}

static void sysfs(size_t i, const char *end, const char *text)
{
	assert_true(i < NAMES_MAX);
	snprintf(seam.file[i].end, sizeof(seam.file[i].end), "%s", end);
	seam.file[i].text = text;
}

static char list_text[4096];

/* Adds sectors of a segment to the badblocks of the disk under the pool. */
static void add_bad(uint32_t segment, uint64_t offset, uint64_t size)
{
	size_t length = seam.file[0].text == list_text ? strlen(list_text) : 0;

	snprintf(list_text + length, sizeof(list_text) - length, "%llu %llu\n",
		 on_disk(segment, offset) / SECTOR,
		 (unsigned long long)(size / SECTOR));
	sysfs(0, "/badblocks", list_text);
}

static void poison(uint32_t segment, uint64_t offset, uint64_t size)
{
	seam.segment = segment;
	seam.begin = offset;
	seam.end = offset + size;
	seam.poisoned = true;
}

/* --------------------------------------------------------------- the lists */

static void assert_runs(const struct dp_badblocks *badblocks, uint32_t runs,
			const uint64_t *expected)
{
	assert_int_equal(badblocks->runs, runs);
	for (uint32_t i = 0; i < runs; i++) {
		assert_int_equal(badblocks->run[i].begin, expected[2 * i]);
		assert_int_equal(badblocks->run[i].end, expected[2 * i + 1]);
	}
}

#define assert_list(badblocks, ...)                                        \
	do {                                                               \
		uint64_t expected_[] = { __VA_ARGS__ };                    \
                                                                           \
		assert_runs(badblocks, sizeof(expected_) / 16, expected_); \
	} while (0)

static struct dp_badblocks disk_list(const char *text)
{
	struct dp_badblocks badblocks;
	int fd = open("/", O_RDONLY | O_CLOEXEC);

	sysfs(0, "/badblocks", text);
	assert_int_equal(dp_badblocks_of_disk(fd, &badblocks), 0);
	close(fd);
	return badblocks;
}

static void list_of_a_disk_is_sorted_and_joined(void **state)
{
	struct dp_badblocks badblocks;

	(void)state;
	badblocks = disk_list("");
	assert_runs(&badblocks, 0, NULL);
	assert_false(badblocks.unknown);
	dp_badblocks_fini(&badblocks);
	badblocks = disk_list("100 8\n4 1\n108 2\n5 3\n1000 1\n104 2\n");
	assert_false(badblocks.unknown);
	assert_list(&badblocks, 4 * 512, 8 * 512, 100 * 512, 110 * 512,
		    1000 * 512, 1001 * 512);
	dp_badblocks_fini(&badblocks);
	badblocks = disk_list("18014398509481983 1\n");
	assert_list(&badblocks, 18014398509481983ull * 512,
		    18014398509481984ull * 512);
	dp_badblocks_fini(&badblocks);
}

static void an_invalid_list_is_unknown(void **state)
{
	static const char *const strange[] = {
		"\n", "100\n", "100 0\n", "none\n", "-\n",
		"36028797018963968 1\n", "1 18446744073709551615\n",
	};
	struct dp_badblocks badblocks;

	(void)state;
	for (size_t i = 0; i < sizeof(strange) / sizeof(*strange); i++) {
		badblocks = disk_list(strange[i]);
		if (!badblocks.unknown || badblocks.runs)
			fail_msg("\"%s\" was accepted as a list", strange[i]);
		dp_badblocks_fini(&badblocks);
	}
	badblocks = disk_list(NULL);
	assert_true(badblocks.unknown);
	dp_badblocks_fini(&badblocks);
}

/* sysfs returns one page: of a longer list the last line is cut. */
static void a_truncated_list_is_used_and_reported_as_incomplete(void **state)
{
	struct dp_badblocks badblocks = disk_list("100 8\n200 8\n30");

	(void)state;
	assert_true(badblocks.unknown);
	assert_list(&badblocks, 100 * 512, 108 * 512, 200 * 512, 208 * 512);
	dp_badblocks_fini(&badblocks);
	badblocks = disk_list("100 8\n200 8");
	assert_true(badblocks.unknown);
	assert_list(&badblocks, 100 * 512, 108 * 512);
	dp_badblocks_fini(&badblocks);
}

static void a_partition_gets_its_part_of_the_disks_list(void **state)
{
	struct dp_badblocks badblocks;

	(void)state;
	sysfs(1, "/start", "2048\n");
	badblocks = disk_list("100 8\n2040 7\n2044 8\n3000 1\n");
	assert_false(badblocks.unknown);
	assert_list(&badblocks, 0, 4 * 512, 952 * 512, 953 * 512);
	dp_badblocks_fini(&badblocks);
	/* The partition's directory has no list, so the disk's was read. */
	sysfs(0, "/../badblocks", "2048 1\n");
	badblocks = disk_list("");
	dp_badblocks_fini(&badblocks);
	sysfs(0, "/../badblocks", "2048 1\n");
	assert_int_equal(dp_badblocks_of_disk(0, &badblocks), 0);
	assert_list(&badblocks, 0, 512);
	dp_badblocks_fini(&badblocks);
}

#define REGION	"/dax9.9/../../resource"
#define DEVICE	"/dax9.9/resource"
#define LIST	"/dax9.9/../../badblocks"

/* As on the lab's device, namespace metadata comes before the device in the region. */
static void a_device_gets_its_part_of_the_regions_list(void **state)
{
	struct dp_badblocks badblocks, slice;

	(void)state;
	sysfs(0, REGION, "0x100000000\n");
	sysfs(1, DEVICE, "0x101200000\n");
	sysfs(2, LIST, "8 8\n36863 2\n45056 8\n2097151 1\n");
	assert_int_equal(dp_badblocks_of_device("dax9.9", &badblocks), 0);
	assert_false(badblocks.unknown);
	assert_list(&badblocks, 0, 512, 4 * MIB, 4 * MIB + 4096,
		    1006 * MIB - 512, 1006 * MIB);
	assert_int_equal(dp_badblocks_of_slice(&badblocks, 0, 32 * MIB, &slice),
			 0);
	assert_list(&slice, 0, BLOCK, 4 * MIB, 4 * MIB + BLOCK);
	dp_badblocks_fini(&slice);
	assert_int_equal(dp_badblocks_of_slice(&badblocks, 4 * MIB, 32 * MIB,
					       &slice),
			 0);
	assert_list(&slice, 0, BLOCK);
	dp_badblocks_fini(&slice);
	assert_int_equal(dp_badblocks_of_slice(&badblocks, 974 * MIB, 32 * MIB,
					       &slice),
			 0);
	assert_list(&slice, 32 * MIB - BLOCK, 32 * MIB);
	dp_badblocks_fini(&slice);
	assert_int_equal(dp_badblocks_of_slice(&badblocks, 32 * MIB, 32 * MIB,
					       &slice),
			 0);
	assert_int_equal(slice.runs, 0);
	dp_badblocks_fini(&slice);
	dp_badblocks_fini(&badblocks);
}

static void a_device_of_unknown_offset_has_unknown_bad_blocks(void **state)
{
	static const char *const file[] = { REGION, DEVICE, LIST };
	static const char *const good[] = {
		"0x100000000\n", "0x101200000\n", "36864 8\n",
	};
	struct dp_badblocks badblocks;

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		for (size_t k = 0; k < 3; k++)
			sysfs(k, file[k], i % 3 != k ? good[k] :
			      i < 3 ? NULL : "none\n");
		assert_int_equal(dp_badblocks_of_device("dax9.9", &badblocks),
				 0);
		assert_true(badblocks.unknown);
		assert_int_equal(badblocks.runs, 0);
		dp_badblocks_fini(&badblocks);
	}
	sysfs(0, REGION, "0x200000000\n");
	sysfs(1, DEVICE, good[1]);
	sysfs(2, LIST, good[2]);
	assert_int_equal(dp_badblocks_of_device("dax9.9", &badblocks), 0);
	assert_true(badblocks.unknown);
	dp_badblocks_fini(&badblocks);
}

static void find_cuts_to_the_range(void **state)
{
	struct dp_badblocks_run two[] = { { 10, 20 }, { 30, 40 } }, run;
	const struct dp_badblocks badblocks = { two, 2, false },
				  none = { NULL, 0, false };

	(void)state;
	assert_false(dp_badblocks_find(&none, 0, UINT64_MAX, &run));
	assert_false(dp_badblocks_find(&badblocks, 0, 10, &run));
	assert_false(dp_badblocks_find(&badblocks, 20, 30, &run));
	assert_false(dp_badblocks_find(&badblocks, 40, 99, &run));
	assert_false(dp_badblocks_find(&badblocks, 15, 15, &run));
	assert_true(dp_badblocks_find(&badblocks, 0, 11, &run));
	assert_true(run.begin == 10 && run.end == 11);
	assert_true(dp_badblocks_find(&badblocks, 19, 99, &run));
	assert_true(run.begin == 19 && run.end == 20);
	assert_true(dp_badblocks_find(&badblocks, 20, 99, &run));
	assert_true(run.begin == 30 && run.end == 40);
	assert_true(dp_badblocks_find(&badblocks, 0, 99, &run));
	assert_true(run.begin == 10 && run.end == 20);
}

static void bad_blocks_of_a_file_are_found_by_its_extents(void **state)
{
	struct fixture *f = *state;
	struct dp_badblocks_run run[] = {
		{ on_disk(1, 20 * MIB), on_disk(1, 20 * MIB) + BLOCK },
		{ on_disk(1, 0) - SECTOR, on_disk(1, 0) + SECTOR },
		{ on_disk(1, 5 * MIB) + 4000, on_disk(1, 5 * MIB) + 4100 },
	};
	struct dp_badblocks medium = { run, 3, false }, badblocks;
	int fd = open_file(f, 1);

	assert_int_equal(
		dp_badblocks_of_file(&medium, fd, 32 * MIB, &badblocks), 0);
	assert_false(badblocks.unknown);
	/* The end of one run on the disk is the start of another in the file. */
	assert_list(&badblocks, 0, BLOCK, 5 * MIB, 5 * MIB + 2 * BLOCK,
		    20 * MIB, 20 * MIB + BLOCK, 32 * MIB - BLOCK, 32 * MIB);
	dp_badblocks_fini(&badblocks);
	assert_int_equal(
		dp_badblocks_of_file(&medium, fd, 20 * MIB, &badblocks), 0);
	assert_list(&badblocks, 0, BLOCK, 5 * MIB, 5 * MIB + 2 * BLOCK);
	dp_badblocks_fini(&badblocks);
	seam.realtime = true;
	assert_int_equal(
		dp_badblocks_of_file(&medium, fd, 32 * MIB, &badblocks), 0);
	assert_true(badblocks.unknown);
	assert_int_equal(badblocks.runs, 0);
	dp_badblocks_fini(&badblocks);
	close(fd);
}

/* ----------------------------------------------------------------- space */

static bool overlaps(struct daxpin_extent extent, uint64_t size, uint64_t addr)
{
	return extent.addr < addr + BLOCK && addr < extent.addr + size;
}

/*
 * Reserves all free space in pieces of `size`. No piece may contain one of these
 * blocks.
 */
static uint64_t take_all(struct fixture *f, uint64_t size, uint32_t flags,
			 const uint64_t *badblocks, size_t count)
{
	struct daxpin_extent extent;
	uint64_t taken = 0;

	while (!daxpin_reserve(f->pool, size, flags, &extent)) {
		for (size_t i = 0; i < count; i++)
			assert_false(overlaps(extent, size, badblocks[i]));
		taken += size;
	}
	dp_invariants(f->pool);
	return taken;
}

/*
 * In segment 0 its first block, one in the middle and two at a 64-bit word's edge; then
 * one in segment 1, and the last blocks of segments 1 and 2.
 */
static const uint64_t scattered[] = {
	2 * MIB, 3 * MIB + 5 * BLOCK, 5 * MIB + 63 * BLOCK, 5 * MIB + 64 * BLOCK,
	32 * MIB + 16 * MIB, 64 * MIB - BLOCK, 96 * MIB - BLOCK,
};

#define SCATTERED (sizeof(scattered) / sizeof(*scattered))

static void scatter(void)
{
	for (size_t i = 0; i < SCATTERED; i++)
		add_bad(scattered[i] / (32 * MIB), scattered[i] % (32 * MIB) +
			SECTOR * (i % 8), SECTOR);
}

static void reserve_never_returns_a_bad_block(void **state)
{
	struct fixture *f = *state;
	uint64_t all = 90 * MIB - SCATTERED * BLOCK;

	scatter();
	open_pool(f);
	dp_invariants(f->pool);
	assert_int_equal(pool_info(f).bad_bytes, SCATTERED * BLOCK);
	assert_int_equal(pool_info(f).usable_bytes, all);
	assert_int_equal(free_bytes(f), all);
	assert_int_equal(take_all(f, BLOCK, 0, scattered, SCATTERED), all);
	assert_int_equal(free_bytes(f), 0);
	close_pool(f);
	/*
	 * Reservations end with the close. DAXPIN_RESERVE_ZERO does not write to bad
	 * blocks.
	 */
	poison(1, 16 * MIB, BLOCK);
	open_pool(f);
	assert_int_equal(free_bytes(f), all);
	assert_true(take_all(f, 64 * BLOCK, DAXPIN_RESERVE_ZERO, scattered,
			     SCATTERED) >= all - SCATTERED * 64 * BLOCK);
	close_pool(f);
}

static void run_between_bad_blocks_is_found(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	for (uint64_t at = 2 * MIB; at < 32 * MIB; at += 2 * MIB)
		for (uint32_t s = 0; s < 3; s++)
			add_bad(s, at, BLOCK);
	open_pool(f);
	assert_int_equal(pool_info(f).bad_bytes, 45 * BLOCK);
	assert_int_equal(daxpin_reserve(f->pool, 2 * MIB, 0, &extent), -ENOSPC);
	assert_int_equal(take_all(f, 2 * MIB - BLOCK, 0, NULL, 0),
			 45 * (2 * MIB - BLOCK));
	close_pool(f);
}

static void a_block_that_is_no_longer_bad_is_allocated_again(void **state)
{
	struct fixture *f = *state;

	scatter();
	open_pool(f);
	assert_int_equal(pool_info(f).bad_bytes, SCATTERED * BLOCK);
	close_pool(f);
	sysfs(0, "/badblocks", "");
	open_pool(f);
	assert_int_equal(pool_info(f).bad_bytes, 0);
	assert_int_equal(free_bytes(f), 90 * MIB);
	assert_int_equal(take_all(f, BLOCK, 0, NULL, 0), 90 * MIB);
	close_pool(f);
}

/* shmem is not DAX, so a missing list does not count as unknown. */
static void bad_blocks_of_shmem_are_never_unknown(void **state)
{
	struct fixture *f = *state;

	open_pool(f);
	assert_int_equal(pool_info(f).bad_unknown, 0);
	assert_int_equal(pool_info(f).bad_bytes, 0);
	close_pool(f);
}

/* ----------------------------------------------------- extents on bad blocks */

#define EXTENT	(64 * BLOCK)

/*
 * Publishes an extent before its medium goes bad. Each word contains its index, hashed.
 */
static uint64_t make_live(struct fixture *f)
{
	struct daxpin_extent extent;
	uint32_t *word;

	open_pool(f);
	extent = reserve(f, EXTENT);
	word = daxpin_ptr(f->pool, extent, 0);
	for (uint32_t i = 0; i < EXTENT / 4; i++)
		word[i] = i * 2654435761u;
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	close_pool(f);
	return extent.addr;
}

static void assert_bytes(const void *bytes, uint64_t offset, uint64_t size)
{
	const uint8_t *byte = bytes;

	for (uint64_t i = 0; i < size; i++) {
		uint32_t word = (offset + i) / 4 * 2654435761u;

		assert_int_equal(byte[i], word >> (offset + i) % 4 * 8 & 0xff);
	}
}

static struct daxpin_extent at(struct fixture *f, uint64_t addr)
{
	struct daxpin_extent extent;

	assert_int_equal(daxpin_extent_at(f->pool, addr, &extent), 0);
	return extent;
}

static void check_read(struct fixture *f, struct daxpin_extent extent,
		       uint64_t offset, uint64_t length, int expected)
{
	uint8_t *to = malloc(length + 1);

	assert_non_null(to);
	to[length] = 0x5a;
	assert_int_equal(daxpin_read(f->pool, extent, offset, length, to),
			 expected);
	assert_int_equal(to[length], 0x5a);
	if (!expected)
		assert_bytes(to, offset, length);
	free(to);
}

/* Blocks 10 and 11 of the extent are lost; all others can be read. */
static void check_neighbours(struct fixture *f, struct daxpin_extent extent)
{
	for (uint64_t b = 0; b < 64; b++)
		check_read(f, extent, b * BLOCK, BLOCK,
			   b == 10 || b == 11 ? -EIO : 0);
	check_read(f, extent, 0, 10 * BLOCK, 0);
	check_read(f, extent, 0, 10 * BLOCK + 1, -EIO);
	check_read(f, extent, 12 * BLOCK, EXTENT - 12 * BLOCK, 0);
	check_read(f, extent, 12 * BLOCK - 1, 2, -EIO);
	check_read(f, extent, 0, EXTENT, -EIO);
	check_read(f, extent, 10 * BLOCK - 3, 3, 0);
	check_read(f, extent, 12 * BLOCK, 3, 0);
	check_read(f, extent, 11 * BLOCK, 0, 0);
}

static void a_live_extent_on_a_known_bad_block_is_kept(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = make_live(f);

	add_bad(addr / (32 * MIB), addr % (32 * MIB) + 10 * BLOCK, 2 * BLOCK);
	for (int device = 0; device < 2; device++) {
		seam.like_device = device;
		poison(addr / (32 * MIB), addr % (32 * MIB) + 10 * BLOCK,
		       2 * BLOCK);
		open_pool(f);
		dp_invariants(f->pool);
		assert_int_equal(pool_info(f).bad_bytes, 2 * BLOCK);
		check_neighbours(f, at(f, addr));
		/* The list named the block, so the library never read it. */
		assert_int_equal(seam.read_poison, 0);
		close_pool(f);
	}
}

static void unlisted_poison_is_a_read_error(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = make_live(f);

	for (int device = 0; device < 2; device++) {
		seam.like_device = device;
		poison(addr / (32 * MIB), addr % (32 * MIB) + 10 * BLOCK,
		       2 * BLOCK);
		open_pool(f);
		assert_int_equal(pool_info(f).bad_bytes, 0);
		check_neighbours(f, at(f, addr));
		assert_true(seam.read_poison > 0);
		close_pool(f);
	}
}

static void check_retired(struct fixture *f, uint64_t first, uint64_t count,
			  bool held)
{
	uint64_t addr = make_live(f), badblocks[64], before;
	struct daxpin_extent extent;

	for (uint64_t i = 0; i < count; i++)
		badblocks[i] = addr + (first + i) * BLOCK;
	add_bad(badblocks[0] / (32 * MIB), badblocks[0] % (32 * MIB),
		count * BLOCK);
	open_pool(f);
	before = free_bytes(f);
	assert_int_equal(before, 90 * MIB - EXTENT);
	assert_int_equal(pool_info(f).bad_bytes, count * BLOCK);
	extent = at(f, addr);
	if (held)
		assert_int_equal(daxpin_hold(f->pool, extent,
					     DAXPIN_HOLD_READ), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	if (held) {
		assert_int_equal(free_bytes(f), before);
		assert_int_equal(daxpin_drop(f->pool, extent), 0);
	}
	assert_int_equal(free_bytes(f), before + (64 - count) * BLOCK);
	assert_int_equal(free_bytes(f), pool_info(f).usable_bytes);
	dp_invariants(f->pool);
	assert_int_equal(take_all(f, BLOCK, 0, badblocks, count),
			 90 * MIB - count * BLOCK);
	close_pool(f);
	sysfs(0, "/badblocks", "");
}

static void bad_blocks_of_a_retired_extent_are_not_reused(void **state)
{
	struct fixture *f = *state;

	check_retired(f, 0, 1, false);
	check_retired(f, 63, 1, false);
	check_retired(f, 31, 3, true);
	check_retired(f, 0, 64, false);
	check_retired(f, 1, 62, true);
}

/*
 * An extent of few blocks is freed into the cache of the thread that ends it, and a
 * reserve of the same size takes it from there.
 */
static void a_bad_block_of_a_small_extent_is_not_cached(void **state)
{
	struct fixture *f = *state;
	uint64_t addr, bad;

	open_pool(f);
	addr = live(f, 4 * BLOCK).addr;
	bad = addr + BLOCK;
	close_pool(f);
	add_bad(bad / (32 * MIB), bad % (32 * MIB), BLOCK);
	open_pool(f);
	/* A cache has room once its thread has reserved something. */
	assert_int_equal(daxpin_cancel(f->pool, reserve(f, 4 * BLOCK)), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, at(f, addr)), 0);
	assert_int_equal(take_all(f, 4 * BLOCK, 0, &bad, 1), 90 * MIB - 4 * BLOCK);
	assert_int_equal(take_all(f, BLOCK, 0, &bad, 1), 3 * BLOCK);
	close_pool(f);
}

static int set(struct fixture *f, struct daxpin_extent extent, uint64_t offset,
	       uint64_t value)
{
	struct daxpin_op op = {
		.type = DAXPIN_OP_SET, .extent = extent, .offset = offset,
		.value = value,
	};

	return daxpin_publish(f->pool, &op, 1, NULL, NULL);
}

static void set_does_not_store_to_bad_blocks(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = make_live(f), was;
	struct daxpin_extent extent;

	add_bad(addr / (32 * MIB), addr % (32 * MIB) + 10 * BLOCK, BLOCK);
	open_pool(f);
	extent = at(f, addr);
	memcpy(&was, daxpin_ptr(f->pool, extent, 10 * BLOCK), 8);
	assert_int_equal(set(f, extent, 10 * BLOCK - 8, 1), 0);
	assert_int_equal(set(f, extent, 10 * BLOCK, 1), -EIO);
	assert_int_equal(set(f, extent, 11 * BLOCK - 8, 1), -EIO);
	assert_int_equal(set(f, extent, 11 * BLOCK, 1), 0);
	assert_memory_equal(daxpin_ptr(f->pool, extent, 10 * BLOCK), &was, 8);
	/* No hold or claim is left. */
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	dp_invariants(f->pool);
	close_pool(f);
}

/* A committed batch whose SET is not applied yet, as a power failure leaves it. */
static void commit_set(struct fixture *f, uint64_t addr, uint64_t value)
{
	const uint64_t where = DP_LANES_OFFSET + 5 * sizeof(struct dp_lane);
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid);
	struct dp_lane lane;

	look(f, 0, where, &lane, sizeof(lane));
	lane.sequence = lane.done + 1;
	lane.count = 1;
	lane.entry[0] = (struct dp_lane_entry) { addr, value };
	lane.check = dp_lane_check(seed, 5, &lane);
	patch(f, 0, where, &lane, sizeof(lane));
}

static void replay_does_not_store_to_bad_blocks(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = make_live(f), value = 0;

	commit_set(f, addr + 10 * BLOCK + 8, 4711);
	for (int i = 0; i < 4; i++) {
		seam.like_device = i & 1;
		if (i & 2)
			add_bad(addr / (32 * MIB),
				addr % (32 * MIB) + 10 * BLOCK, SECTOR);
		else
			poison(addr / (32 * MIB),
			       addr % (32 * MIB) + 10 * BLOCK, 64);
		assert_open_fails(f, -EIO, "redo lane");
		assert_says(f, "untouched");
		seam.poisoned = false;
		sysfs(0, "/badblocks", "");
	}
	open_pool(f);
	assert_int_equal(daxpin_read(f->pool, at(f, addr), 10 * BLOCK + 8, 8,
				     &value), 0);
	assert_int_equal(value, 4711);
	close_pool(f);
}

/* The word of the extent in the table is intact. */
static void a_live_extent_on_bad_blocks_only_is_kept(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = make_live(f);
	struct daxpin_extent extent;

	add_bad(addr / (32 * MIB), addr % (32 * MIB), EXTENT);
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	extent = at(f, addr);
	check_read(f, extent, 0, 1, -EIO);
	close_pool(f);
	f->options.flags = 0;
}

/* --------------------------------------------------------------- metadata */

/*
 * The open fails with -EIO and these words and changes no byte: when read() finds the
 * poison, when a copy from the mapping does, and when the list names it.
 */
static void check_metadata(struct fixture *f, uint32_t segment, uint64_t offset,
			   const char *structure)
{
	char words[64], which[32];

	snprintf(words, sizeof(words), "bad at offset 0x%llx;",
		 (unsigned long long)(offset & ~(BLOCK - 1)));
	snprintf(which, sizeof(which), "segment %u", segment);
	for (int i = 0; i < 6; i++) {
		seam.like_device = i & 1;
		f->options.flags = i & 2 ? DAXPIN_POOL_READONLY : 0;
		if (i < 4)
			poison(segment, offset & ~63ull, 64);
		else
			add_bad(segment, offset & ~(SECTOR - 1), SECTOR);
		assert_open_fails(f, -EIO, words);
		assert_says(f, structure);
		assert_says(f, "untouched");
		assert_says(f, which);
		seam.poisoned = false;
		sysfs(0, "/badblocks", "");
	}
	f->options.flags = 0;
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_bad_superblock(void **state)
{
	struct fixture *f = *state;

	check_metadata(f, 0, DP_SUPER_OFFSET, "superblock");
	check_metadata(f, 0, DP_SUPER_OFFSET + 4032, "superblock");
	check_metadata(f, 2, DP_SUPER_OFFSET + 2048, "superblock");
	check_metadata(f, 0, DP_COPY_OFFSET, "copy");
	check_metadata(f, 1, DP_COPY_OFFSET + 4095, "copy");
}

static void open_refuses_a_bad_table(void **state)
{
	struct fixture *f = *state;

	check_metadata(f, 0, DP_TABLE_OFFSET + BLOCK, "descriptor table");
	check_metadata(f, 0, DP_TABLE_OFFSET + 16 * BLOCK - 64,
		       "descriptor table");
	check_metadata(f, 1, DP_TABLE_OFFSET + 7 * BLOCK + 512,
		       "descriptor table");
	check_metadata(f, 2, DP_TABLE_OFFSET + 15 * BLOCK, "descriptor table");
	check_metadata(f, 1, DP_PAGES_OFFSET + 16, "page bitmap");
}

static void open_refuses_a_bad_lane(void **state)
{
	struct fixture *f = *state;

	check_metadata(f, 0, DP_LANES_OFFSET, "redo lane 0");
	check_metadata(f, 0, DP_LANES_OFFSET + 37 * 4096 + 2048, "redo lane 37");
	check_metadata(f, 0, DP_LANES_END - 1, "redo lane 63");
}

static void open_refuses_a_bad_root_directory(void **state)
{
	struct fixture *f = *state;

	check_metadata(f, 0, DP_ROOTS_OFFSET, "root directory");
	check_metadata(f, 0, DP_ROOTS_OFFSET + 1023 * 64, "root directory");
}

/*
 * In segment 1 a page of the table is bad, which has the words of blocks 1024 to 1535.
 * Before it is an extent of 8 blocks, one of them bad, and after it one of 4. One more
 * block is bad in the range that the bad page leaves in doubt.
 */
static void check_degraded(struct fixture *f, uint32_t flags)
{
	uint64_t first = 32 * MIB + 600 * BLOCK, quarantine = 2000 - 1024 - 1;
	struct daxpin_pool_info info;
	struct daxpin_extent extent;
	uint64_t taken = 0;
	char block[BLOCK];

	f->options.flags = DAXPIN_POOL_DEGRADED | flags;
	open_pool(f);
	f->options.flags = 0;
	dp_invariants(f->pool);
	info = pool_info(f);
	assert_int_equal(info.bad_bytes, 2 * BLOCK);
	assert_int_equal(info.quarantined_bytes, quarantine * BLOCK);
	assert_int_equal(info.usable_bytes, 90 * MIB - (quarantine + 2) * BLOCK);
	assert_int_equal(info.free_bytes, info.usable_bytes - 11 * BLOCK);
	extent = at(f, first);
	assert_int_equal(daxpin_read(f->pool, extent, 0, BLOCK, block), 0);
	assert_int_equal(daxpin_read(f->pool, extent, BLOCK, 1, block), -EIO);
	assert_int_equal(daxpin_read(f->pool, at(f, 32 * MIB + 2000 * BLOCK), 0,
				     BLOCK, block), 0);
	while (!daxpin_reserve(f->pool, 1, 0, &extent)) {
		assert_false(extent.addr >= 32 * MIB + 1024 * BLOCK &&
			     extent.addr < 32 * MIB + 2004 * BLOCK);
		assert_int_not_equal(extent.addr, first + BLOCK);
		taken += BLOCK;
	}
	assert_int_equal(taken, flags ? 0 : info.free_bytes);
	dp_invariants(f->pool);
	close_pool(f);
}

static void a_degraded_open_quarantines_unreadable_metadata(void **state)
{
	struct fixture *f = *state;

	use_pages(f, 3);
	write_word(f, 1, 600, (struct dp_word) { DP_KIND_DATA, 8, 7, 0 });
	write_word(f, 1, 2000, (struct dp_word) { DP_KIND_DATA, 4, 7, 0 });
	for (int i = 0; i < 8; i++) {
		sysfs(0, "/badblocks", "");
		seam.like_device = i & 1;
		add_bad(1, 601 * BLOCK, SECTOR);
		add_bad(1, 1100 * BLOCK, SECTOR);
		if (i & 4)
			add_bad(1, word_at(1024) + SECTOR, SECTOR);
		else
			poison(1, word_at(1024) + 64, 64);
		check_degraded(f, i & 2 ? DAXPIN_POOL_READONLY : 0);
		seam.poisoned = false;
	}
}

/* A degraded open for reading needs only one of the two superblocks, and no lanes. */
static void a_degraded_read_only_open_needs_less_metadata(void **state)
{
	static const uint64_t offset[] = {
		DP_SUPER_OFFSET, DP_COPY_OFFSET, DP_ROOTS_OFFSET + 64 * 64,
		DP_LANES_OFFSET + 3 * BLOCK, DP_PAGES_OFFSET,
	};
	struct fixture *f = *state;
	uint64_t addr = make_live(f), before = fingerprint(f->path);

	f->options.flags = DAXPIN_POOL_DEGRADED | DAXPIN_POOL_READONLY;
	for (size_t i = 0; i < 10; i++) {
		seam.like_device = i & 1;
		poison(0, offset[i / 2], 64);
		open_pool(f);
		check_read(f, at(f, addr), 0, EXTENT, 0);
		close_pool(f);
	}
	f->options.flags = 0;
	assert_int_equal(fingerprint(f->path), before);
}

/* Metadata that is always zero is never read. */
static void bad_blocks_in_unused_metadata_are_ignored(void **state)
{
	struct fixture *f = *state;

	add_bad(0, DP_LANES_END, BLOCK);
	add_bad(1, DP_ROOTS_OFFSET, BLOCK);
	poison(0, DP_LANES_END, BLOCK);
	open_pool(f);
	/* The library does not allocate such a block either. */
	assert_int_equal(pool_info(f).bad_bytes, 0);
	assert_int_equal(pool_info(f).usable_bytes, 90 * MIB);
	assert_int_equal(seam.read_poison, 0);
	close_pool(f);
}

/* ----------------------------------------------------------------- create */

static int fresh_setup(void **state)
{
	healthy();
	return fixture_make(state, 96 * MIB);
}

static void create_refuses_bad_metadata(void **state)
{
	static const uint64_t offset[] = {
		0, BLOCK, DP_COPY_OFFSET, DP_CHUNK_SIZE - BLOCK,
	};
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 12; i++) {
		sysfs(0, "/badblocks", NULL);
		add_bad(i % 3, offset[i / 3], SECTOR);
		assert_create_fails(f, -EIO, "metadata");
		assert_says(f, "clear");
		assert_int_equal(count_files(f->path), 0);
	}
	sysfs(0, "/badblocks", NULL);
	add_bad(1, DP_CHUNK_SIZE, SECTOR);
	create_pool(f);
	assert_int_equal(pool_info(f).bad_bytes, BLOCK);
	dp_invariants(f->pool);
	close_pool(f);
	open_pool(f);
	assert_int_equal(pool_info(f).bad_bytes, BLOCK);
}

static void create_refuses_a_file_that_it_cannot_read(void **state)
{
	struct fixture *f = *state;

	poison(0, 0, 64);
	assert_create_fails(f, -EIO, "superblock");
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_create_fails(f, -EIO, "superblock");
	seam.poisoned = false;
	/* The list names a block of the table, which create would overwrite. */
	add_bad(2, 5 * BLOCK, SECTOR);
	assert_create_fails(f, -EIO, "segment 2");
	sysfs(0, "/badblocks", "");
	f->options.flags = 0;
	open_pool(f);
}

/* ------------------------------------------------------------------- read */

static void read_works_while_an_extent_is_live_or_held(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = make_live(f);
	struct daxpin_extent extent, other;
	char byte = 7;

	open_pool(f);
	extent = at(f, addr);
	check_read(f, extent, 0, EXTENT, 0);
	check_read(f, extent, 1, EXTENT - 2, 0);
	seam.short_reads = true;
	check_read(f, extent, 3, EXTENT - 4, 0);
	seam.short_reads = false;
	assert_int_equal(daxpin_read(f->pool, extent, EXTENT, 1, &byte), -EINVAL);
	assert_int_equal(daxpin_read(f->pool, extent, 1, EXTENT, &byte), -EINVAL);
	assert_int_equal(daxpin_read(f->pool, extent, 2, UINT64_MAX, &byte),
			 -EINVAL);
	assert_int_equal(daxpin_read(f->pool, extent, 0, 1, NULL), -EINVAL);
	assert_int_equal(daxpin_read(NULL, extent, 0, 1, &byte), -EINVAL);
	assert_int_equal(daxpin_read(f->pool, extent, EXTENT, 0, &byte), 0);
	other = extent;
	other.addr += BLOCK;
	assert_int_equal(daxpin_read(f->pool, other, 0, 1, &byte), -ESTALE);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(byte, 7);
	check_read(f, extent, 5, 1000, 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_read(f->pool, extent, 0, 1, &byte), -ESTALE);
	assert_int_equal(byte, 7);
	close_pool(f);
}

static struct fixture *reader;
static struct daxpin_extent under_way;

static void retire_it(void)
{
	seam.meanwhile = NULL;
	assert_int_equal(publish(reader, DAXPIN_OP_RETIRE, under_way), 0);
}

static void a_read_during_which_the_generation_ends_is_stale(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = make_live(f);
	char byte;

	open_pool(f);
	reader = f;
	under_way = at(f, addr);
	seam.meanwhile = retire_it;
	assert_int_equal(daxpin_read(f->pool, under_way, 0, 1, &byte), -ESTALE);
	assert_null(seam.meanwhile);
	close_pool(f);
}

static void *read_often(void *arg)
{
	struct fixture *f = reader;
	uint64_t seed = (uintptr_t)arg;
	uint8_t *to = malloc(EXTENT);

	for (int i = 0; to && i < 300; i++) {
		uint64_t offset, length;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		offset = (seed >> 33) % EXTENT;
		length = (seed >> 20) % (EXTENT - offset);
		if (daxpin_read(f->pool, under_way, offset, length, to) ||
		    memcmp(to, daxpin_ptr(f->pool, under_way, offset), length))
			break;
		if (i == 299)
			arg = NULL;
	}
	free(to);
	return arg;
}

static void many_threads_can_read_at_the_same_time(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = make_live(f);
	pthread_t thread[4];
	void *failed;

	open_pool(f);
	reader = f;
	under_way = at(f, addr);
	for (int device = 0; device < 2; device++) {
		seam.like_device = device;
		for (uintptr_t i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&thread[i], NULL,
					read_often, (void *)(i + 1)), 0);
		for (int i = 0; i < 4; i++) {
			assert_int_equal(pthread_join(thread[i], &failed), 0);
			assert_null(failed);
		}
	}
	close_pool(f);
}

/* ------------------------------------------------------- the real os module */

/*
 * After the end of its file a mapping behaves like poison: SIGBUS, or EFAULT in a
 * system call.
 */
static void a_copy_past_the_end_of_a_file_fails_without_sigbus(void **state)
{
	const uint64_t size = 40 * BLOCK, there = 33 * BLOCK;
	int fd = memfd_create("short", MFD_CLOEXEC);
	char *base, *to = malloc(size);

	(void)state;
	assert_true(to && fd >= 0);
	assert_int_equal(ftruncate(fd, there), 0);
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	for (uint64_t i = 0; i < there; i++)
		base[i] = (char)(i * 31 >> 7);
	memset(to, 1, size);
	assert_int_equal(__real_dp_os_copy_checked(to, base, there), 0);
	assert_memory_equal(to, base, there);
	assert_int_equal(to[there], 1);
	memset(to, 1, size);
	assert_int_equal(__real_dp_os_copy_checked(to + 3, base + 5, 70001), 0);
	assert_memory_equal(to + 3, base + 5, 70001);
	assert_int_equal(to[2], 1);
	assert_int_equal(to[70004], 1);
	assert_int_equal(__real_dp_os_copy_checked(to, base, there + 1), -EIO);
	assert_int_equal(__real_dp_os_copy_checked(to, base + there, 1), -EIO);
	assert_int_equal(__real_dp_os_copy_checked(to, base + there - 1, 2),
			 -EIO);
	assert_int_equal(__real_dp_os_copy_checked(to, base, 0), 0);
	munmap(base, size);
	close(fd);
	free(to);
}

/* A lack of descriptors is not an I/O error of the medium. */
static void a_copy_without_free_descriptors_is_not_eio(void **state)
{
	struct rlimit old, none;
	char from[16] = "", to[16];
	int ret;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit) { 0, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	ret = __real_dp_os_copy_checked(to, from, sizeof(to));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(ret, -EMFILE);
}

static int fds(void)
{
	return count_files("/proc/self/fd");
}

static void copying_leaves_no_descriptor(void **state)
{
	int before = fds();
	char to[8];

	(void)state;
	assert_int_equal(__real_dp_os_copy_checked(to, "1234567", 8), 0);
	assert_string_equal(to, "1234567");
	assert_int_equal(__real_dp_os_copy_checked(to, (void *)8, 8), -EIO);
	assert_int_equal(fds(), before);
}

static void read_now_returns_the_bytes_that_were_read(void **state)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	uint64_t done = 99;
	char to[32];

	(void)state;
	assert_int_equal(write(fd, "hello", 5), 5);
	assert_int_equal(__real_dp_os_read_nowait(fd, 1, to, 32, &done), 0);
	assert_int_equal(done, 4);
	assert_memory_equal(to, "ello", 4);
	close(fd);
	done = 99;
	assert_int_equal(__real_dp_os_read_nowait(fd, 0, to, 32, &done), 0);
	assert_int_equal(done, 0);
}

/* A load from a mapping would allocate the page. */
static void read_now_allocates_no_page_for_a_hole_of_tmpfs(void **state)
{
	int fd = memfd_create("hole", MFD_CLOEXEC);
	char to[32], zeroes[32] = { 0 };
	uint64_t done = 99;
	struct stat st;

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(__real_dp_os_read_nowait(fd, 64, to, 32, &done), 0);
	assert_int_equal(done, 32);
	assert_memory_equal(to, zeroes, 32);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	close(fd);
}

#define TEST(name, setup) \
	cmocka_unit_test_setup_teardown(name, setup, bad_teardown)
#define BARE(name) \
	cmocka_unit_test_setup_teardown(name, none_setup, none_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BARE(list_of_a_disk_is_sorted_and_joined),
		BARE(an_invalid_list_is_unknown),
		BARE(a_truncated_list_is_used_and_reported_as_incomplete),
		BARE(a_partition_gets_its_part_of_the_disks_list),
		BARE(a_device_gets_its_part_of_the_regions_list),
		BARE(a_device_of_unknown_offset_has_unknown_bad_blocks),
		BARE(find_cuts_to_the_range),
		TEST(bad_blocks_of_a_file_are_found_by_its_extents, bad_setup),
		TEST(reserve_never_returns_a_bad_block, bad_setup),
		TEST(a_bad_block_of_a_small_extent_is_not_cached, bad_setup),
		TEST(run_between_bad_blocks_is_found, bad_setup),
		TEST(a_block_that_is_no_longer_bad_is_allocated_again, bad_setup),
		TEST(bad_blocks_of_shmem_are_never_unknown, bad_setup),
		TEST(a_live_extent_on_a_known_bad_block_is_kept, bad_setup),
		TEST(unlisted_poison_is_a_read_error, bad_setup),
		TEST(bad_blocks_of_a_retired_extent_are_not_reused, bad_setup),
		TEST(a_live_extent_on_bad_blocks_only_is_kept, bad_setup),
		TEST(set_does_not_store_to_bad_blocks, bad_setup),
		TEST(replay_does_not_store_to_bad_blocks, bad_setup),
		TEST(open_refuses_a_bad_superblock, bad_setup),
		TEST(open_refuses_a_bad_table, bad_setup),
		TEST(open_refuses_a_bad_lane, bad_setup),
		TEST(open_refuses_a_bad_root_directory, bad_setup),
		TEST(a_degraded_open_quarantines_unreadable_metadata, bad_setup),
		TEST(a_degraded_read_only_open_needs_less_metadata, bad_setup),
		TEST(bad_blocks_in_unused_metadata_are_ignored, bad_setup),
		TEST(create_refuses_bad_metadata, fresh_setup),
		TEST(create_refuses_a_file_that_it_cannot_read, bad_setup),
		TEST(read_works_while_an_extent_is_live_or_held, bad_setup),
		TEST(a_read_during_which_the_generation_ends_is_stale, bad_setup),
		TEST(many_threads_can_read_at_the_same_time, bad_setup),
		BARE(a_copy_past_the_end_of_a_file_fails_without_sigbus),
		BARE(a_copy_without_free_descriptors_is_not_eio),
		BARE(copying_leaves_no_descriptor),
		BARE(read_now_returns_the_bytes_that_were_read),
		BARE(read_now_allocates_no_page_for_a_hole_of_tmpfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
