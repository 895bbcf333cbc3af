/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dp_source_chunks() reports which chunks of a file have blocks. On tmpfs it does not
 * search the file for holes if st_blocks shows that there are none. The files of these
 * tests are memfds, which are files of tmpfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "os/os.h"
#include "pool/source.h"

#define CHUNKS	4u
#define SIZE	(CHUNKS * DP_CHUNK_SIZE)

int __real_dp_os_seek_data(int fd, uint64_t size,
			   int (*fn)(const struct dp_os_extent *, void *), void *arg);
int __wrap_dp_os_seek_data(int fd, uint64_t size,
			   int (*fn)(const struct dp_os_extent *, void *), void *arg);

static uint32_t searches;
static int file;

int __wrap_dp_os_seek_data(int fd, uint64_t size,
			   int (*fn)(const struct dp_os_extent *, void *), void *arg)
{
	searches++;
	return __real_dp_os_seek_data(fd, size, fn, arg);
}

static int set_up(void **state)
{
	(void)state;
	searches = 0;
	file = memfd_create("segment", MFD_CLOEXEC);
	return file < 0 || ftruncate(file, SIZE);
}

static int tear_down(void **state)
{
	(void)state;
	return close(file);
}

static void fill(uint64_t begin, uint64_t end)
{
	static const char page[4096];

	for (; begin < end; begin += sizeof(page))
		assert_int_equal(pwrite(file, page, sizeof(page), begin),
				 sizeof(page));
}

/* Returns a bit for each chunk that is backed. */
static uint32_t backed_chunks(enum dp_source_kind kind)
{
	const struct dp_source source = { .kind = kind, .path = "here",
					  .no_dma = kind == DP_SOURCE_DISK };
	uint8_t chunk[CHUNKS];
	uint32_t bits = 0;

	assert_int_equal(dp_source_chunks(&source, file, SIZE, chunk, NULL), 0);
	for (uint32_t i = 0; i < CHUNKS; i++)
		bits |= (uint32_t)!!(chunk[i] & DP_CHUNK_BACKED) << i;
	return bits;
}

static void a_file_without_holes_is_not_searched(void **state)
{
	(void)state;
	fill(0, SIZE);
	assert_int_equal(backed_chunks(DP_SOURCE_SHMEM), 0xf);
	assert_int_equal(searches, 0);
}

static void a_file_with_a_hole_is_searched(void **state)
{
	(void)state;
	fill(0, SIZE - 4096);
	assert_int_equal(backed_chunks(DP_SOURCE_SHMEM), 0x7);
	assert_int_equal(searches, 1);
	assert_int_equal(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   DP_CHUNK_SIZE, DP_CHUNK_SIZE), 0);
	assert_int_equal(backed_chunks(DP_SOURCE_SHMEM), 0x5);
}

/* Blocks past the end of the segment count in st_blocks too, so it proves nothing. */
static void a_file_longer_than_its_segment_is_searched(void **state)
{
	(void)state;
	fill(0, DP_CHUNK_SIZE);
	fill(SIZE, 2 * SIZE - DP_CHUNK_SIZE);
	assert_int_equal(backed_chunks(DP_SOURCE_SHMEM), 0x1);
	assert_int_equal(searches, 1);
}

/* Other filesystems count more than the bytes of the file in st_blocks. */
static void st_blocks_proves_nothing_on_other_filesystems(void **state)
{
	(void)state;
	fill(0, SIZE);
	assert_int_equal(backed_chunks(DP_SOURCE_DISK), 0xf);
	assert_int_equal(searches, 1);
}

/* "Not supported" would be taken for damage by a check. */
static void a_filesystem_without_fiemap_is_searched(void **state)
{
	const struct dp_source source = { .kind = DP_SOURCE_DISK, .path = "here" };
	uint8_t chunk[CHUNKS];

	(void)state;
	fill(0, DP_CHUNK_SIZE);
	assert_int_equal(dp_source_chunks(&source, file, SIZE, chunk, NULL), 0);
	assert_int_equal(searches, 1);
	assert_true(chunk[0] & DP_CHUNK_BACKED);
	assert_false(chunk[1] & DP_CHUNK_BACKED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_without_holes_is_not_searched),
		TEST(a_file_with_a_hole_is_searched),
		TEST(a_file_longer_than_its_segment_is_searched),
		TEST(st_blocks_proves_nothing_on_other_filesystems),
		TEST(a_filesystem_without_fiemap_is_searched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
