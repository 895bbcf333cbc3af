/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine of examples/nbd-cache without a front end: threads against a shadow, a
 * crash after each publish, and what other threads can do between two steps of the
 * engine, for which this program replaces functions. tests/nbd-cache/check has the
 * rest.
 */
#include "engine.h"
#include "needs.h"
#include "shm.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define BLOCK		(16u << 10)
#define SECTOR		4096u
#define SECTORS		(BLOCK / SECTOR)
#define BLOCKS		2560u		/* a third more than the pool has */
#define POOL		(32u << 20)
#define THREADS		4u
#define STEPS		1500u
#define DYING		3u		/* blocks that change before a crash */
#define CRASHES		24u

/* Called between the last completion of a batch and the change of its words. */
static int (*_Atomic at_flush)(void);
static struct cache *cache;
static char directory[4096], disk[] = "/tmp/daxpin-nbd-cache-XXXXXX";
static uint32_t shadow[BLOCKS][SECTORS];	/* versions; 0: zeroes */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
	int (*call)(void) = at_flush;

	return call && call() ? -1 : __real_fdatasync(fd);
}

/* As a filesystem that cannot make holes. */
static atomic_bool no_punch;
static atomic_uint punches;

int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length)
{
	punches++;
	if (!no_punch)
		return __real_fallocate64(fd, mode, offset, length);
	errno = EOPNOTSUPP;
	return -1;
}

/* Called between the load of a word and the hold at its address. */
static void (*_Atomic at_hold)(uint64_t addr);

int __real_daxpin_hold_at(struct daxpin_pool *pool, uint64_t addr, uint32_t access,
			  struct daxpin_extent *ret_extent);
int __wrap_daxpin_hold_at(struct daxpin_pool *pool, uint64_t addr, uint32_t access,
			  struct daxpin_extent *ret_extent);

int __wrap_daxpin_hold_at(struct daxpin_pool *pool, uint64_t addr, uint32_t access,
			  struct daxpin_extent *ret_extent)
{
	void (*call)(uint64_t addr) = at_hold;

	at_hold = NULL;
	if (call)
		call(addr);
	return __real_daxpin_hold_at(pool, addr, access, ret_extent);
}

static atomic_uint publishes;

/* In a child: the publish after which it dies, and whether it dies before any. */
static atomic_uint dies_after;
static bool dies_before;

int __real_daxpin_publish(struct daxpin_pool *pool, const struct daxpin_op *ops,
			  size_t count,
			  const struct daxpin_publish_options *options,
			  size_t *failed);
int __wrap_daxpin_publish(struct daxpin_pool *pool, const struct daxpin_op *ops,
			  size_t count,
			  const struct daxpin_publish_options *options,
			  size_t *failed);

int __wrap_daxpin_publish(struct daxpin_pool *pool, const struct daxpin_op *ops,
			  size_t count,
			  const struct daxpin_publish_options *options,
			  size_t *failed)
{
	int ret;

	if (dies_before)
		_exit(0);
	ret = __real_daxpin_publish(pool, ops, count, options, failed);
	publishes++;
	if (dies_after && !--dies_after)
		_exit(0);
	return ret;
}

/* An extent with bad memory, until daxpin_read() has reported it. Loads there are
 * SIGBUS: an empty file is mapped there, and its memory at `parked`. */
static _Atomic uint64_t bad_addr, bad_gen;
static void *bad_memory, *parked;

static void end_bad_memory(void)
{
	if (bad_memory)
		assert_ptr_equal(mremap(parked, BLOCK, BLOCK,
					MREMAP_MAYMOVE | MREMAP_FIXED, bad_memory),
				 bad_memory);
	bad_memory = NULL;
}

int __real_daxpin_read(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t offset, uint64_t length, void *to);
int __wrap_daxpin_read(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t offset, uint64_t length, void *to);

int __wrap_daxpin_read(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t offset, uint64_t length, void *to)
{
	if (extent.addr == bad_addr && extent.gen == bad_gen) {
		end_bad_memory();
		return -EIO;
	}
	return __real_daxpin_read(pool, extent, offset, length, to);
}

static void silent(const char *message)
{
	(void)message;
}

static char errmsg[512];

/* Above 0: what the filesystem reports as the alignment of requests. */
static uint32_t alignment;

#ifdef STATX_DIOALIGN
int __real_statx(int fd, const char *path, int flags, unsigned int mask,
		 struct statx *file);
int __wrap_statx(int fd, const char *path, int flags, unsigned int mask,
		 struct statx *file);

int __wrap_statx(int fd, const char *path, int flags, unsigned int mask,
		 struct statx *file)
{
	int ret = __real_statx(fd, path, flags, mask, file);

	if (!ret && alignment) {
		file->stx_mask |= STATX_DIOALIGN;
		file->stx_dio_offset_align = alignment;
	}
	return ret;
}
#endif

static int try_open(uint32_t low, uint32_t high, bool degraded)
{
	struct cache_options options = {
		.pool = directory, .disk = disk, .pool_size = POOL, .block = BLOCK,
		.low = low, .high = high, .wait_ms = 10000, .log = silent,
		.degraded = degraded, .errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};

	return cache_open(&options, &cache);
}

static void open_cache(uint32_t low, uint32_t high)
{
	int ret = try_open(low, high, false);

	if (ret)
		fail_msg("%s: %s", strerror(-ret), errmsg);
}

static void close_cache(void)
{
	assert_int_equal(cache_close(cache), 0);
}

static uint64_t stamp(uint64_t sector, uint32_t version)
{
	return version ? sector << 32 | version : 0;
}

static void write_unrecorded(uint32_t block, uint32_t first, uint32_t count,
			     uint32_t version)
{
	uint64_t data[BLOCK / 8];

	for (uint32_t i = 0; i < count * SECTOR / 8; i++)
		data[i] = stamp((uint64_t)block * SECTORS + first + i * 8 / SECTOR,
				version);
	assert_int_equal(cache_write(cache, data, (uint64_t)count * SECTOR,
				     (uint64_t)block * BLOCK + first * SECTOR), 0);
}

static void write_sectors(uint32_t block, uint32_t first, uint32_t count,
			  uint32_t version)
{
	write_unrecorded(block, first, count, version);
	for (uint32_t i = first; i < first + count; i++)
		shadow[block][i] = version;
}

static void compare(uint32_t block, const uint64_t *data)
{
	for (uint32_t i = 0; i < BLOCK / 8; i++) {
		uint32_t sector = i * 8 / SECTOR;
		uint64_t right = stamp((uint64_t)block * SECTORS + sector,
				       shadow[block][sector]);

		if (data[i] != right)
			fail_msg("block %u, byte %u: 0x%llx, not 0x%llx", block,
				 i * 8, (unsigned long long)data[i],
				 (unsigned long long)right);
	}
}

static void check_block(uint32_t block)
{
	uint64_t data[BLOCK / 8];

	assert_int_equal(cache_read(cache, data, BLOCK, (uint64_t)block * BLOCK), 0);
	compare(block, data);
}

static void check_disk(void)
{
	int fd = open(disk, O_RDONLY | O_CLOEXEC);
	uint64_t data[BLOCK / 8];

	for (uint32_t block = 0; block < BLOCKS; block++) {
		assert_int_equal(pread(fd, data, BLOCK, (off_t)block * BLOCK), BLOCK);
		compare(block, data);
	}
	close(fd);
}

/* ----------------------------------------------------------------------- threads */

/* A block of another thread can be of any version, but each sector is of one. */
static int glance(uint32_t block)
{
	uint64_t data[BLOCK / 8];

	if (cache_read(cache, data, BLOCK, (uint64_t)block * BLOCK))
		return 1;
	for (uint32_t i = 0; i < BLOCK / 8; i++)
		if (data[i] != data[i / (SECTOR / 8) * (SECTOR / 8)] ||
		    (data[i] && data[i] >> 32 != (uint64_t)block * SECTORS +
						 i * 8 / SECTOR))
			return 1;
	return 0;
}

static void step(uint32_t number, uint64_t random)
{
	uint32_t block = random % (BLOCKS / THREADS) * THREADS + number;
	uint32_t first = random >> 32 & (SECTORS - 1);

	switch (random >> 40 & 7) {
	case 0:
		check_block(block);
		break;
	case 1:
		assert_int_equal(cache_zero(cache, BLOCK, (uint64_t)block * BLOCK),
				 0);
		memset(shadow[block], 0, sizeof(shadow[block]));
		break;
	case 2:
		write_sectors(block, first, SECTORS - first, random >> 44 | 1);
		break;
	case 3:
		assert_int_equal(glance(random % BLOCKS), 0);
		break;
	default:
		write_sectors(block, 0, SECTORS, random >> 44 | 1);
	}
}

static void *work(void *arg)
{
	uint32_t number = (uintptr_t)arg;
	uint64_t random = number + 1;

	for (uint32_t n = 0; n < STEPS; n++) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		step(number, random ^ random >> 33);
	}
	return NULL;
}

static void threads_see_what_they_wrote(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
	open_cache(0, 20);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, work, (void *)i), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (uint32_t block = 0; block < BLOCKS; block++)
		check_block(block);
	close_cache();
	check_disk();
	open_cache(0, 0);
	for (uint32_t block = 0; block < BLOCKS; block++)
		check_block(block);
	close_cache();
}

/* --------------------------------------------------------------- between two steps */

/* After two writes the block's extent could be where the first one was. */
static int write_twice(void)
{
	at_flush = NULL;
	write_sectors(7, 0, SECTORS, 2);
	write_sectors(7, 0, SECTORS, 3);
	return 0;
}

static void a_write_during_write_back_is_not_lost(void **state)
{
	(void)state;
	open_cache(0, 0);
	at_flush = write_twice;
	write_unrecorded(7, 0, SECTORS, 1);
	close_cache();
	assert_null(at_flush);
	check_disk();
}

/* Gives the extent's address to another block. */
static void reuse(uint64_t addr)
{
	write_sectors(20, 0, SECTORS, 2);
	for (uint32_t block = 21; block < 100; block++) {
		write_sectors(block, 0, SECTORS, 1);
		if ((*cache_word(cache, block) & WORD_ADDR) == addr)
			return;
	}
	fail_msg("the address was not reused");
}

static void a_reader_does_not_get_another_block(void **state)
{
	(void)state;
	open_cache(100, 100);
	write_sectors(20, 0, SECTORS, 1);
	at_hold = reuse;
	check_block(20);
	assert_null(at_hold);
	close_cache();
	open_cache(0, 0);
	close_cache();
	check_disk();
}

static void zeroes_are_written_to_a_disk_without_holes(void **state)
{
	(void)state;
	open_cache(0, 0);
	write_sectors(60, 0, SECTORS, 1);
	write_sectors(BLOCKS - 1, 0, SECTORS, 1);
	close_cache();
	no_punch = true;
	open_cache(0, 0);
	for (uint32_t block = 60; block < BLOCKS; block += BLOCKS - 61) {
		assert_int_equal(cache_zero(cache, BLOCK, (uint64_t)block * BLOCK), 0);
		memset(shadow[block], 0, sizeof(shadow[block]));
	}
	close_cache();
	no_punch = false;
	check_disk();
}

static int refuse(void)
{
	errno = EIO;
	return 1;
}

static void blocks_stay_dirty_if_the_disk_cannot_flush(void **state)
{
	struct cache_counts counts;

	(void)state;
	at_flush = refuse;
	open_cache(0, 0);
	write_sectors(9, 0, SECTORS, 1);
	close_cache();
	open_cache(100, 100);
	cache_counts(cache, &counts);
	assert_int_equal(counts.dirty, 1);
	check_block(9);
	close_cache();
	at_flush = NULL;
	open_cache(0, 0);
	close_cache();
	check_disk();
}

/* ------------------------------------------------------------------------- crashes */

/* Gives a block its next version; each third one is zeroes. */
static void advance(uint32_t block, uint32_t version)
{
	uint64_t data[BLOCK / 8];

	if (version % 3)
		write_unrecorded(block, 0, SECTORS, version);
	else
		assert_int_equal(cache_zero(cache, BLOCK, (uint64_t)block * BLOCK),
				 0);
	assert_int_equal(cache_read(cache, data, BLOCK,
				    (uint64_t)(block + 50) * BLOCK), 0);
}

static void live_and_die(uint32_t *answered, unsigned int after)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		open_cache(0, 0);
		dies_after = after;
		for (uint32_t i = 0;; i = (i + 1) % DYING) {
			advance(100 + i, answered[i] + 1);
			answered[i]++;
		}
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* At most one block is of the version after the one that was answered. */
static void check_versions(uint32_t *answered)
{
	unsigned int ahead = 0;
	uint64_t data[BLOCK / 8];

	for (uint32_t i = 0; i < DYING; i++) {
		uint32_t next = answered[i] + 1, block = 100 + i;

		assert_int_equal(cache_read(cache, data, BLOCK,
					    (uint64_t)block * BLOCK), 0);
		if (data[0] == stamp((uint64_t)block * SECTORS, next % 3 ? next : 0)) {
			answered[i] = next;
			ahead++;
		}
		for (uint32_t s = 0; s < SECTORS; s++)
			shadow[block][s] = answered[i] % 3 ? answered[i] : 0;
		compare(block, data);
	}
	assert_true(ahead <= 1);
}

static int count(struct daxpin_pool *pool, struct daxpin_extent extent,
		 uint64_t size, void *arg)
{
	(void)pool;
	(void)extent;
	(void)size;
	++*(uint64_t *)arg;
	return 0;
}

/* Each extent is of a word, or is the header or the index. */
static void check_extents(uint64_t cached)
{
	struct daxpin_pool *pool;
	uint64_t extents = 0;

	assert_int_equal(daxpin_pool_open(directory, NULL, &pool), 0);
	assert_int_equal(daxpin_foreach(pool, count, &extents), 0);
	assert_int_equal(daxpin_pool_close(pool), 0);
	assert_int_equal(extents, cached + 2);
}

static void a_crash_after_any_publish_leaves_whole_blocks(void **state)
{
	uint32_t *answered = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct cache_counts counts;

	(void)state;
	open_cache(0, 0);
	assert_int_equal(cache_zero(cache, (uint64_t)BLOCKS * BLOCK, 0), 0);
	memset(shadow, 0, sizeof(shadow));
	close_cache();
	for (unsigned int after = 1; after <= CRASHES; after++) {
		live_and_die(answered, after);
		open_cache(100, 100);
		check_versions(answered);
		cache_counts(cache, &counts);
		close_cache();
		check_extents(counts.extents);
	}
	munmap(answered, 4096);
}

/* -------------------------------------------------------------------- the identity */

static int open_with_id(uint64_t id)
{
	const struct cache_options options = {
		.pool = directory, .disk = disk, .wait_ms = 10000, .log = silent,
		.id = id, .errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};

	return cache_open(&options, &cache);
}

static void only_the_cache_with_the_id_is_opened(void **state)
{
	uint64_t id;

	(void)state;
	open_cache(45, 50);
	id = cache_id(cache);
	close_cache();
	assert_int_equal(open_with_id(id ^ 1), -EMEDIUMTYPE);
	assert_non_null(strstr(errmsg, " is another pool: it has the id "));
	assert_int_equal(open_with_id(id), 0);
	assert_true(cache_id(cache) == id);
	close_cache();
}

static void a_missing_pool_is_cured_by_an_option_of_the_front_end(void **state)
{
	struct cache_options options = {
		.pool = "/dev/shm/there/is/no/pool", .disk = disk, .log = silent,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};

	(void)state;
	assert_int_equal(cache_open(&options, &cache), -ENOENT);
	assert_non_null(strstr(errmsg, "; give pool-size=SIZE to create it"));
	options.dashes = true;
	assert_int_equal(cache_open(&options, &cache), -ENOENT);
	assert_non_null(strstr(errmsg, "; give --pool-size=SIZE to create it"));
	options.id = 5;
	assert_int_equal(cache_open(&options, &cache), -ENOENT);
	assert_non_null(strstr(errmsg, "only the pool with the id 0000000000000005"));
	assert_null(strstr(errmsg, "pool-size"));
}

/* -------------------------------------------------------------- runs of blocks */

static void write_many(uint32_t block, uint32_t count, uint32_t version)
{
	static uint64_t data[BLOCKS * (BLOCK / 8)];

	for (uint64_t i = 0; i < (uint64_t)count * BLOCK / 8; i++)
		data[i] = stamp((uint64_t)block * SECTORS + i * 8 / SECTOR, version);
	assert_int_equal(cache_write(cache, data, (uint64_t)count * BLOCK,
				     (uint64_t)block * BLOCK), 0);
	for (uint32_t i = 0; i < count * SECTORS; i++)
		shadow[block + i / SECTORS][i % SECTORS] = version;
}

static void zero_many(uint32_t block, uint32_t count)
{
	assert_int_equal(cache_zero(cache, (uint64_t)count * BLOCK,
				    (uint64_t)block * BLOCK), 0);
	memset(shadow[block], 0, count * sizeof(shadow[block]));
}

/* DAXPIN_OPS_MAX allows 82 blocks with a SET, a KEEP and a RETIRE each. */
static void the_blocks_of_a_request_are_one_publish(void **state)
{
	static const struct { uint32_t blocks, publishes; } sizes[] = {
		{ 1, 1 }, { 10, 1 }, { 82, 1 }, { 83, 2 }, { 164, 2 }, { 165, 3 },
	};

	(void)state;
	open_cache(100, 100);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (uint32_t version = 1; version <= 2; version++) {
			publishes = 0;
			write_many(300, sizes[i].blocks, version);
			assert_int_equal(publishes, sizes[i].publishes);
		}
		publishes = 0;
		zero_many(300, sizes[i].blocks);
		assert_int_equal(publishes, sizes[i].publishes);
	}
	publishes = 0;
	for (uint32_t block = 300; block < 500; block++)
		check_block(block);
	close_cache();
	open_cache(0, 0);
	close_cache();
	check_disk();
}

static void check_sectors(uint32_t first, uint32_t count)
{
	static uint64_t data[BLOCKS * (BLOCK / 8)];

	assert_int_equal(cache_read(cache, data, (uint64_t)count * SECTOR,
				    (uint64_t)first * SECTOR), 0);
	for (uint32_t i = 0; i < count * (SECTOR / 8); i++) {
		uint64_t sector = first + i / (SECTOR / 8);
		uint32_t version = shadow[sector / SECTORS][sector % SECTORS];

		assert_true(data[i] == stamp(sector, version));
	}
}

/* In a row: dirty, zeroes, clean, and not cached, in each order of two. */
static void a_read_of_many_blocks_finds_each_one(void **state)
{
	static const char kinds[] = "dddzzcccmmmdzdcdmzczmcmd";
	const uint32_t blocks = sizeof(kinds) - 1;
	struct cache_counts before, after;

	(void)state;
	open_cache(0, 0);
	write_many(600, blocks, 1);
	close_cache();
	open_cache(100, 100);
	for (uint32_t i = 0; i < blocks; i++)
		if (kinds[i] == 'd')
			write_sectors(600 + i, 0, SECTORS, 2);
		else if (kinds[i] == 'z')
			zero_many(600 + i, 1);
		else if (kinds[i] == 'c')
			check_block(600 + i);
		else
			assert_true(cache_evict_block(cache, 600 + i, true));
	cache_counts(cache, &before);
	check_sectors(600 * SECTORS + 1, blocks * SECTORS - 2);
	cache_counts(cache, &after);
	assert_int_equal(after.misses - before.misses, 6);
	assert_int_equal(after.hits - before.hits, blocks - 6);
	for (uint32_t first = 0; first < SECTORS; first++)
		for (uint32_t count = 1; count <= 3 * SECTORS; count++)
			check_sectors(607 * SECTORS + first, count);
	close_cache();
}

/* Block 950 is not trimmed. All are queued when write-back begins, and are less than
 * the 4 MiB of a batch. */
static void blocks_in_a_row_are_one_punch(void **state)
{
	(void)state;
	open_cache(0, 0);
	write_many(900, 200, 1);
	close_cache();
	open_cache(100, 100);
	zero_many(900, 200);
	write_sectors(950, 0, SECTORS, 2);
	close_cache();
	punches = 0;
	open_cache(0, 0);
	close_cache();
	assert_int_equal(punches, 2);
	check_disk();
}

static void a_trim_leaves_blocks_that_are_not_whole(void **state)
{
	const uint64_t begin = 700ull * BLOCK + SECTOR, end = 704ull * BLOCK - SECTOR;

	(void)state;
	open_cache(100, 100);
	write_many(700, 4, 1);
	assert_int_equal(cache_trim(cache, end - begin, begin), 0);
	memset(shadow[701], 0, 2 * sizeof(shadow[0]));
	check_sectors(700 * SECTORS, 4 * SECTORS);
	assert_int_equal(cache_trim(cache, SECTOR, begin), 0);
	check_sectors(700 * SECTORS, 4 * SECTORS);
	assert_int_equal(cache_zero(cache, end - begin, begin), 0);
	for (uint64_t at = begin; at < end; at += SECTOR)
		shadow[at / BLOCK][at % BLOCK / SECTOR] = 0;
	check_sectors(700 * SECTORS, 4 * SECTORS);
	close_cache();
}

/* -------------------------------------------------------------------- bad memory */

static uint64_t lost(void)
{
	struct cache_counts counts;

	cache_counts(cache, &counts);
	return counts.lost;
}

static void make_bad(uint32_t block)
{
	int empty = memfd_create("empty", MFD_CLOEXEC);
	struct daxpin_extent extent;

	assert_int_equal(daxpin_extent_at(cache->pool, *cache_word(cache, block) &
					  WORD_ADDR, &extent), 0);
	bad_gen = extent.gen;
	bad_addr = extent.addr;
	bad_memory = daxpin_ptr(cache->pool, extent, 0);
	parked = mmap(NULL, BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_equal(mremap(bad_memory, BLOCK, BLOCK,
				MREMAP_MAYMOVE | MREMAP_FIXED, parked), parked);
	assert_ptr_equal(mmap(bad_memory, BLOCK, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_FIXED, empty, 0), bad_memory);
	close(empty);
}

static int read_one(uint32_t block)
{
	uint64_t data[BLOCK / 8];

	return cache_read(cache, data, BLOCK, (uint64_t)block * BLOCK);
}

static void a_clean_block_in_bad_memory_is_read_from_the_disk(void **state)
{
	(void)state;
	open_cache(0, 0);
	write_sectors(40, 0, SECTORS, 5);
	close_cache();
	open_cache(100, 100);
	check_block(40);
	make_bad(40);
	check_block(40);
	make_bad(40);
	write_sectors(40, 1, 1, 6);	/* copies the rest */
	check_block(40);
	bad_addr = 0;
	assert_int_equal(lost(), 0);
	close_cache();
	open_cache(0, 0);
	close_cache();
	check_disk();
}

static sigjmp_buf outside;

static void leave(int signal)
{
	(void)signal;
	siglongjmp(outside, 1);
}

/* The action that the program had set is taken, and is there again after the close.
 * That of the cache remains until then. */
static void a_bus_error_of_others_is_theirs(void **state)
{
	struct sigaction action = { .sa_handler = leave }, old, after;
	uint64_t data[BLOCK / 8];

	(void)state;
	sigaction(SIGBUS, &action, &old);
	open_cache(100, 100);
	write_sectors(44, 0, SECTORS, 1);
	make_bad(44);
	if (!sigsetjmp(outside, 1)) {
		memcpy(data, bad_memory, BLOCK);
		fail_msg("the load was no SIGBUS");
	}
	assert_int_equal(read_one(44), -EIO);
	bad_addr = 0;
	check_block(44);
	close_cache();
	open_cache(100, 100);
	close_cache();
	sigaction(SIGBUS, &old, &after);
	assert_true(after.sa_handler == leave);
}

static int spoil_41(void)
{
	at_flush = NULL;
	make_bad(41);
	return refuse();
}

/* The disk has version 1, which must not be returned. */
static void a_dirty_block_in_bad_memory_is_an_error(void **state)
{
	uint64_t sector[SECTOR / 8] = { 0 };

	(void)state;
	open_cache(0, 0);
	write_sectors(41, 0, SECTORS, 1);
	close_cache();
	open_cache(100, 100);
	write_sectors(41, 0, SECTORS, 2);
	make_bad(41);
	assert_int_equal(read_one(41), -EIO);
	bad_addr = 0;
	write_sectors(42, 0, SECTORS, 1);
	at_flush = spoil_41;
	pthread_mutex_lock(&cache->mutex);
	cache->low = cache->high = 0;
	pthread_mutex_unlock(&cache->mutex);
	write_sectors(43, 0, SECTORS, 1);	/* write-back begins */
	while (!lost())
		usleep(1000);
	bad_addr = 0;
	close_cache();
	open_cache(100, 100);
	assert_int_equal(lost(), 1);
	assert_int_equal(read_one(41), -EIO);
	assert_int_equal(cache_write(cache, sector, SECTOR, 41ull * BLOCK), -EIO);
	check_block(42);
	write_sectors(41, 0, SECTORS, 3);
	assert_int_equal(lost(), 0);
	check_block(41);
	close_cache();
	open_cache(0, 0);
	close_cache();
	check_disk();
}

/* As a repair does that cannot keep the extents. */
static void lose_extents(const uint64_t *addr, size_t count)
{
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE };
	struct daxpin_pool *pool;

	assert_int_equal(daxpin_pool_open(directory, NULL, &pool), 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(daxpin_extent_at(pool, addr[i], &op.extent), 0);
		assert_int_equal(daxpin_publish(pool, &op, 1, NULL, NULL), 0);
	}
	assert_int_equal(daxpin_pool_close(pool), 0);
}

static void a_damaged_cache_is_used_only_if_that_is_asked_for(void **state)
{
	uint64_t addr[2];

	(void)state;
	open_cache(0, 0);
	write_sectors(50, 0, SECTORS, 1);
	close_cache();
	open_cache(100, 100);
	write_sectors(51, 0, SECTORS, 1);
	check_block(50);
	addr[0] = *cache_word(cache, 50) & WORD_ADDR;
	addr[1] = *cache_word(cache, 51) & WORD_ADDR;
	close_cache();
	lose_extents(addr, 2);
	assert_int_equal(try_open(100, 100, false), -EUCLEAN);
	assert_non_null(strstr(errmsg, "degraded=1"));
	assert_int_equal(try_open(100, 100, true), 0);
	check_block(50);
	assert_int_equal(read_one(51), -EIO);
	close_cache();
	open_cache(0, 0);		/* the open has cured it */
	assert_int_equal(lost(), 1);
	zero_many(51, 1);
	check_block(51);
	close_cache();
	check_disk();
}

/* ----------------------------------------------------------- a disk that hangs */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static int hang(void)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return 0;
}

static void *write_all(void *arg)
{
	(void)arg;
	for (uint32_t block = 0; block < BLOCKS - 1; block++)
		write_sectors(block, 0, SECTORS, 9);
	return NULL;
}

static void writes_wait_for_a_disk_that_hangs_and_reads_pass_them(void **state)
{
	unsigned int waiters = 0;
	pthread_t thread;

	(void)state;
	open_cache(0, 0);
	write_sectors(BLOCKS - 1, 0, SECTORS, 8);
	close_cache();
	open_cache(0, 20);
	pthread_mutex_lock(&gate);
	at_flush = hang;
	assert_int_equal(pthread_create(&thread, NULL, write_all, NULL), 0);
	while (!waiters) {
		pthread_mutex_lock(&cache->mutex);
		waiters = cache->waiters;
		pthread_mutex_unlock(&cache->mutex);
	}
	check_block(BLOCKS - 1);	/* there is no space for it */
	check_block(3);
	pthread_mutex_unlock(&gate);
	pthread_join(thread, NULL);
	at_flush = NULL;
	for (uint32_t block = 0; block < BLOCKS; block++)
		check_block(block);
	close_cache();
	check_disk();
}

/* ------------------------------------------------------------------ another program */

static void remove_pool(void)
{
	char command[4200];

	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	assert_int_equal(system(command), 0);
}

static void a_pool_of_another_program_is_refused(void **state)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .pool_size = POOL,
		.flags = DAXPIN_POOL_CREATE,
	};
	struct daxpin_op ops[2] = {
		{ .type = DAXPIN_OP_KEEP },
		{ .type = DAXPIN_OP_ROOT, .name = "theirs" },
	};
	struct daxpin_pool *pool;

	(void)state;
	remove_pool();
	assert_int_equal(daxpin_pool_open(directory, &options, &pool), 0);
	assert_int_equal(daxpin_reserve(pool, SECTOR, DAXPIN_RESERVE_ZERO,
					&ops[0].extent), 0);
	ops[1].extent = ops[0].extent;
	assert_int_equal(daxpin_publish(pool, ops, 2, NULL, NULL), 0);
	assert_int_equal(daxpin_pool_close(pool), 0);
	assert_int_equal(try_open(0, 0, false), -EMEDIUMTYPE);
	assert_non_null(strstr(errmsg, "the root \"theirs\" of another program"));
}

/* As on a disk with larger logical blocks, if its file can be opened with O_DIRECT. */
static void a_block_smaller_than_those_of_the_disk_is_refused(void **state)
{
#ifdef STATX_DIOALIGN
	int fd = open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC);

	(void)state;
	if (fd < 0) {
		print_message("# skipped: %s refuses O_DIRECT\n", disk);
		skip();
	}
	close(fd);
	remove_pool();
	alignment = 2 * BLOCK;
	assert_int_equal(try_open(0, 0, false), -EINVAL);
	assert_non_null(strstr(errmsg, "block 16384 is smaller than the logical blocks"));
	assert_non_null(strstr(errmsg, "32768 bytes; give a block of at least that"));
	alignment = BLOCK;
	open_cache(0, 0);
	close_cache();
	alignment = 2 * BLOCK;
	assert_int_equal(try_open(0, 0, false), -EMEDIUMTYPE);
	assert_non_null(strstr(errmsg, "has blocks of 16384 bytes, smaller than"));
	alignment = 0;
#else
	(void)state;
	print_message("# skipped: the headers have no STATX_DIOALIGN\n");
	skip();
#endif
}

/* ---------------------------------------------------------------- a missing root */

/* Change a byte of the root's slot. */
static void damage_root(void)
{
	char path[4200], metadata[1 << 20], *root;
	int fd;

	snprintf(path, sizeof(path), "%s/segment.0000", directory);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, metadata, sizeof(metadata), 0), sizeof(metadata));
	root = memmem(metadata, sizeof(metadata), "nbd-cache", sizeof("nbd-cache"));
	assert_non_null(root);
	*root ^= 1;
	assert_int_equal(pwrite(fd, root, 1, root - metadata), 1);
	close(fd);
}

static int agree(const struct daxpin_finding *finding, void *arg)
{
	(void)finding;
	(void)arg;
	return 1;
}

static void repair(void)
{
	struct daxpin_check_summary summary = { .size = sizeof(summary) };
	char backup[4200];
	int ret;

	snprintf(backup, sizeof(backup), "%s.backup", directory);
	ret = daxpin_repair(directory, NULL, backup, agree, NULL, &summary);
	unlink(backup);
	assert_int_equal(ret, 0);
	assert_int_equal(summary.repaired, 1);
}

static uint64_t count_extents(void)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_DEGRADED,
		.deadline_ns = daxpin_deadline_ms(10000),
	};
	struct daxpin_pool *pool;
	uint64_t extents = 0;

	assert_int_equal(daxpin_pool_open(directory, &options, &pool), 0);
	assert_int_equal(daxpin_foreach(pool, count, &extents), 0);
	assert_int_equal(daxpin_pool_close(pool), 0);
	return extents;
}

static void a_cache_without_its_root_is_refused(void **state)
{
	uint64_t extents;

	(void)state;
	remove_pool();
	open_cache(100, 100);
	write_sectors(60, 0, SECTORS, 1);
	close_cache();
	damage_root();
	extents = count_extents();
	assert_true(extents >= 3);	/* header, index, block */
	assert_int_equal(try_open(100, 100, false), -EUCLEAN);
	assert_int_equal(try_open(100, 100, true), -EUCLEAN);
	assert_non_null(strstr(errmsg, "but no root \"nbd-cache\""));
	repair();
	for (unsigned int degraded = 0; degraded < 2; degraded++) {
		assert_int_equal(try_open(100, 100, degraded), -EUCLEAN);
		assert_non_null(strstr(errmsg, "but no root \"nbd-cache\""));
	}
	assert_int_equal(count_extents(), extents);
	memset(shadow[60], 0, sizeof(shadow[60]));
}

/* Objects, too, are somebody's data. */
static void a_pool_with_an_object_is_refused(void **state)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .pool_size = POOL,
		.flags = DAXPIN_POOL_CREATE,
	};
	struct daxpin_op op = { .type = DAXPIN_OP_OBJECT_KEEP };
	struct daxpin_pool *pool;

	(void)state;
	remove_pool();
	assert_int_equal(daxpin_pool_open(directory, &options, &pool), 0);
	assert_int_equal(daxpin_object_reserve(pool, 64, 0, &op.extent.addr), 0);
	assert_int_equal(daxpin_publish(pool, &op, 1, NULL, NULL), 0);
	assert_int_equal(daxpin_pool_close(pool), 0);
	assert_int_equal(try_open(0, 0, false), -EUCLEAN);
	assert_non_null(strstr(errmsg, "but no root \"nbd-cache\""));
}

static void a_degraded_open_makes_no_cache(void **state)
{
	(void)state;
	remove_pool();
	assert_int_equal(try_open(0, 0, true), -ENOENT);
	assert_non_null(strstr(errmsg, "leave degraded out"));
	assert_int_equal(access(directory, F_OK), -1);
	open_cache(0, 0);
	close_cache();
	assert_int_equal(try_open(0, 0, true), 0);
	close_cache();
}

static void a_degraded_open_of_an_empty_pool_makes_no_cache(void **state)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .pool_size = POOL,
	};
	struct daxpin_pool *pool;

	(void)state;
	remove_pool();
	assert_int_equal(daxpin_pool_create(directory, &options, &pool), 0);
	assert_int_equal(daxpin_pool_close(pool), 0);
	assert_int_equal(try_open(0, 0, true), -EUCLEAN);
	assert_non_null(strstr(errmsg, "but with degraded=1"));
	assert_int_equal(count_extents(), 0);
	open_cache(0, 0);
	close_cache();
}

/* One publish makes a cache, so a crash leaves all of it or nothing. */
static void a_crash_while_a_cache_is_made_leaves_a_pool_that_is_used(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	for (unsigned int after = 0; after < 2; after++) {
		remove_pool();
		pid = fork();
		if (!pid) {
			dies_before = !after;
			dies_after = after;
			open_cache(0, 0);
			_exit(1);
		}
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(count_extents(), 2 * after);
		open_cache(0, 0);
		close_cache();
		assert_int_equal(count_extents(), 2);
	}
}

/* ------------------------------------------------------------------------- set-up */

static int make_disk(void **state)
{
	int fd = mkostemp(disk, O_CLOEXEC);

	(void)state;
	snprintf(directory, sizeof(directory), "%s/nbd-cache-%d", shm_directory(),
		 getpid());
	if (fd < 0 || ftruncate(fd, (off_t)BLOCKS * BLOCK))
		return -1;
	return close(fd);
}

static int remove_all(void **state)
{
	(void)state;
	unlink(disk);
	remove_pool();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_see_what_they_wrote),
		cmocka_unit_test(a_write_during_write_back_is_not_lost),
		cmocka_unit_test(a_reader_does_not_get_another_block),
		cmocka_unit_test(zeroes_are_written_to_a_disk_without_holes),
		cmocka_unit_test(blocks_stay_dirty_if_the_disk_cannot_flush),
		cmocka_unit_test(a_crash_after_any_publish_leaves_whole_blocks),
		cmocka_unit_test(only_the_cache_with_the_id_is_opened),
		cmocka_unit_test(a_missing_pool_is_cured_by_an_option_of_the_front_end),
		cmocka_unit_test(the_blocks_of_a_request_are_one_publish),
		cmocka_unit_test(a_read_of_many_blocks_finds_each_one),
		cmocka_unit_test(blocks_in_a_row_are_one_punch),
		cmocka_unit_test(a_trim_leaves_blocks_that_are_not_whole),
		cmocka_unit_test(a_clean_block_in_bad_memory_is_read_from_the_disk),
		cmocka_unit_test(a_bus_error_of_others_is_theirs),
		cmocka_unit_test(a_dirty_block_in_bad_memory_is_an_error),
		cmocka_unit_test(a_damaged_cache_is_used_only_if_that_is_asked_for),
		cmocka_unit_test(writes_wait_for_a_disk_that_hangs_and_reads_pass_them),
		cmocka_unit_test(a_pool_of_another_program_is_refused),
		cmocka_unit_test(a_block_smaller_than_those_of_the_disk_is_refused),
		cmocka_unit_test(a_cache_without_its_root_is_refused),
		cmocka_unit_test(a_pool_with_an_object_is_refused),
		cmocka_unit_test(a_degraded_open_makes_no_cache),
		cmocka_unit_test(a_degraded_open_of_an_empty_pool_makes_no_cache),
		cmocka_unit_test(
			a_crash_while_a_cache_is_made_leaves_a_pool_that_is_used),
	};

	if (skip_all_without_io_uring())
		return 0;
	return cmocka_run_group_tests(tests, make_disk, remove_all);
}
