/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools on real DAX media: the device-dax node that DAXPIN_TEST_DAX names, all
 * of which is overwritten, and the directory on a DAX filesystem that
 * DAXPIN_TEST_FSDAX names, in which everything made here is removed again.
 */
#include "logged.h"
#include "media.h"
#include "nobody.h"
#include <grp.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define HANG_S		600		/* limit of a wait that must end */

static const char *device, *directory;

#define skip_because(...) do {						\
	print_message("# skipped: " __VA_ARGS__);			\
	print_message("\n");						\
	skip();								\
} while (0)

/* --------------------------------------------------------------- fixtures */

static const char *device_name(void)
{
	return strrchr(device, '/') + 1;
}

static uint64_t device_size(void)
{
	char path[128];
	unsigned long long size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/dax/devices/%s/size",
		 device_name());
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%llu", &size), 1);
	fclose(file);
	return size;
}

static char *map_device(uint64_t size)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);
	void *base;

	assert_true(fd >= 0);
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	close(fd);
	return base;
}

static void device_write(uint64_t offset, const void *bytes, size_t size)
{
	char *base = map_device(device_size());

	memcpy(base + offset, bytes, size);
	munmap(base, device_size());
}

static void device_read(uint64_t offset, void *bytes, size_t size)
{
	char *base = map_device(device_size());

	memcpy(bytes, base + offset, size);
	munmap(base, device_size());
}

static uint64_t device_hash(const char *path)
{
	char *base = map_device(device_size());
	uint64_t hash = XXH3_64bits(base, 2 * MIB);

	(void)path;
	munmap(base, device_size());
	return hash;
}

/* Pages of zeroes take no blocks on the host, and must not get any. */
static void blank_from(uint64_t begin, uint64_t end)
{
	static const char zero[4096];
	char *base = map_device(device_size());

	for (uint64_t at = begin; at < end; at += sizeof(zero))
		if (memcmp(base + at, zero, sizeof(zero)))
			memset(base + at, 0, sizeof(zero));
	munmap(base, device_size());
}

static void blank_device(void)
{
	blank_from(0, device_size());
}

static int leave_it_blank(void **state)
{
	(void)state;
	if (device)
		blank_device();
	return 0;
}

static int device_setup(void **state)
{
	struct fixture *f;

	if (!device) {
		*state = NULL;
		return 0;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return -1;
	snprintf(f->path, sizeof(f->path), "%s", device);
	f->options = (struct daxpin_pool_options) {
		.size = sizeof(f->options),
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	*state = f;
	return 0;
}

static int blank_device_setup(void **state)
{
	leave_it_blank(state);
	return device_setup(state);
}

static int device_teardown(void **state)
{
	struct fixture *f = *state;
	int ret;

	if (!f)
		return 0;
	ret = daxpin_pool_close(f->pool);
	free(f);
	return ret;
}

static int directory_setup(void **state)
{
	struct fixture *f;

	if (!directory) {
		*state = NULL;
		return 0;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/daxpin-test-XXXXXX", directory);
	if (!mkdtemp(f->path))
		return -1;
	f->options = (struct daxpin_pool_options) {
		.size = sizeof(f->options),
		.pool_size = 96 * MIB,
		.segment_size = 32 * MIB,
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	*state = f;
	return 0;
}

static int directory_teardown(void **state)
{
	return *state ? fixture_teardown(state) : 0;
}

static struct fixture *on_device(void **state)
{
	if (!*state)
		skip_because("DAXPIN_TEST_DAX names no device-dax node");
	return *state;
}

/* On top of what the test before left. A create of a blank device reads all of it. */
static void overwrite(struct fixture *f)
{
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	create_pool(f);
	f->options.flags = 0;
}

static struct fixture *on_directory(void **state)
{
	if (!*state)
		skip_because("DAXPIN_TEST_FSDAX names no DAX directory");
	return *state;
}

/* The hash of a device covers its metadata. */
static void assert_device_open_fails(struct fixture *f, int error,
				     const char *words)
{
	assert_fails(f, daxpin_pool_open, error, words, device_hash);
}

static void assert_device_create_fails(struct fixture *f, int error,
				       const char *words)
{
	assert_fails(f, daxpin_pool_create, error, words, device_hash);
}

/* Publishes one extent in each segment, with different contents. */
static void fill(struct fixture *f, struct daxpin_extent *extent, uint32_t max)
{
	uint32_t segments = pool_info(f).segments;
	uint64_t size = pool_info(f).segment_size / 2 + MIB;

	assert_true(segments <= max);
	for (uint32_t i = 0; i < segments; i++) {
		struct daxpin_op op = {
			.type = DAXPIN_OP_KEEP,
		};

		/* More than half of a segment, so that only one fits. */
		if (daxpin_reserve(f->pool, size, 0, &op.extent))
			op.extent = reserve(f, 4096);
		snprintf(daxpin_ptr(f->pool, op.extent, 0), 64, "extent %u", i);
		assert_int_equal(daxpin_publish(f->pool, &op, 1,
						NULL, NULL), 0);
		extent[i] = op.extent;
	}
}

static void check_filled(struct fixture *f, struct daxpin_extent *extent)
{
	struct daxpin_extent again;
	char words[64];

	for (uint32_t i = 0; i < pool_info(f).segments; i++) {
		assert_int_equal(daxpin_extent_at(f->pool, extent[i].addr,
						  &again), 0);
		snprintf(words, sizeof(words), "extent %u", i);
		assert_string_equal(daxpin_ptr(f->pool, again, 0), words);
	}
}

/* Reserves all free space and writes to it. Returns its size. */
static uint64_t use_all(struct fixture *f)
{
	uint64_t size = pool_info(f).largest_extent, sum = 0;
	struct daxpin_extent extent;

	while (size) {
		if (daxpin_reserve(f->pool, size, 0, &extent)) {
			size = size > 2 * MIB ? size - 2 * MIB :
			       size / 2 & ~4095ull;
			continue;
		}
		memset(daxpin_ptr(f->pool, extent, 0), 0x3c, size);
		sum += size;
	}
	return sum;
}

/* -------------------------------------------------------------- device-dax */

static void device_pool_loses_at_most_2_percent(void **state)
{
	static const uint64_t segment_size[] = {
		0, 128 * MIB, 256 * MIB, 512 * MIB
	};
	struct fixture *f = on_device(state);
	struct daxpin_pool_info info;

	for (int i = 0; i < 4; i++) {
		f->options.segment_size = segment_size[i];
		f->options.flags = i ? DAXPIN_POOL_OVERWRITE : 0;
		create_pool(f);
		info = pool_info(f);
		print_message("# %s: %.1f MiB, %u segments of %.0f MiB, usable %.1f MiB, lost %.2f %%\n",
			      device, device_size() / (double)MIB,
			      info.segments, info.segment_size / (double)MIB,
			      info.usable_bytes / (double)MIB,
			      100 - 100.0 * info.usable_bytes / device_size());
		assert_int_equal(info.media_bytes, device_size());
		assert_true(info.usable_bytes >= device_size() / 100 * 98);
		assert_int_equal(info.free_bytes, info.usable_bytes);
		close_pool(f);
	}
}

static void device_pool_keeps_its_data_over_a_reopen(void **state)
{
	struct fixture *f = on_device(state);
	struct daxpin_extent extent[4096];

	overwrite(f);
	assert_int_equal(pool_info(f).source, DAXPIN_SOURCE_DEVDAX);
	assert_int_equal(pool_info(f).granularity, DAXPIN_GRANULARITY_CACHE_LINE);
	assert_int_equal(pool_info(f).unaligned_chunks, 0);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	fill(f, extent, 4096);
	for (int i = 0; i < 2; i++) {
		close_pool(f);
		open_pool(f);
		check_filled(f, extent);
	}
}

static void a_device_pool_can_be_used_to_the_last_block(void **state)
{
	struct fixture *f = on_device(state);

	overwrite(f);
	assert_int_equal(use_all(f), pool_info(f).usable_bytes);
	assert_int_equal(pool_info(f).free_bytes, 0);
}

static void open_with_create_takes_a_whole_device(void **state)
{
	struct fixture *f = on_device(state);
	uint64_t whole;

	overwrite(f);
	whole = pool_info(f).media_bytes;
	close_pool(f);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.pool_size = whole + 1;
	assert_device_create_fails(f, -ENOSPC, "ask for at least");
	f->options.pool_size = 64 * MIB;
	create_pool(f);
	assert_int_equal(pool_info(f).media_bytes, whole);
}

static void device_has_no_page_granularity(void **state)
{
	struct fixture *f = on_device(state);

	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.granularity = DAXPIN_GRANULARITY_PAGE;
	assert_device_create_fails(f, -EINVAL, "no msync");
	assert_says(f, device);
}

static void open_of_a_blank_device_finds_no_pool(void **state)
{
	struct fixture *f = on_device(state);

	assert_device_open_fails(f, -EMEDIUMTYPE, "no daxpin pool");
	assert_says(f, device);
}

static void device_that_is_not_blank_needs_overwrite(void **state)
{
	struct fixture *f = on_device(state);

	/* Offsets of other headers: LVM, ext4, a partition table, btrfs. */
	static const uint64_t place[] = { 512, 1080, 4086, 65600, MIB + 100 };

	for (int i = 0; i < 5; i++) {
		device_write(place[i], "other", 5);
		assert_device_create_fails(f, -EEXIST, "overwrite");
		assert_says(f, device);
		blank_from(0, 2 * MIB);
	}
	device_write(place[0], "other", 5);
	overwrite(f);
	close_pool(f);
	assert_device_create_fails(f, -EEXIST, "overwrite");
	open_pool(f);
}

static void assert_left_alone(struct fixture *f, int error, const char *words)
{
	assert_device_open_fails(f, error, words);
	assert_null(strstr(f->errmsg, "create"));
	assert_device_create_fails(f, -EEXIST, words);
	assert_says(f, "to destroy it create with the overwrite flag");
	assert_null(strstr(f->errmsg, "open"));
}

/* Wipes more and more of the device's beginning. */
static void device_whose_beginning_was_wiped_is_not_blank(void **state)
{
	struct fixture *f = on_device(state);
	struct daxpin_extent extent;
	char bytes[10];
	uint64_t later;

	need_no_verbs();
	create_pool(f);
	later = pool_info(f).segment_size;
	assert_true(pool_info(f).segments > 1);
	extent = live(f, 64 * 1024);
	strcpy(daxpin_ptr(f->pool, extent, 0), "published");
	close_pool(f);
	blank_from(0, DP_SUPER_SIZE);
	open_pool(f);			/* from the copy */
	close_pool(f);
	device_read(2 * MIB, bytes, sizeof(bytes));
	assert_string_equal(bytes, "published");
	blank_from(0, MIB);
	assert_device_open_fails(f, -EUCLEAN, "daxpin check");
	assert_device_create_fails(f, -EEXIST, "daxpin check");
	blank_from(0, 2 * MIB);
	assert_left_alone(f, -EUCLEAN, "but one of a later segment at offset 0x");
	blank_from(later, device_size());
	assert_left_alone(f, -EMEDIUMTYPE, "something else, at offset 0x200000 of the device");
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	create_pool(f);
}

static void device_super(struct dp_super super)
{
	super.sequence++;
	dp_super_seal(&super);
	for (int i = 0; i < 2; i++) {
		device_write(i * sizeof(super), &super, sizeof(super));
		device_write(DP_COPY_OFFSET + i * sizeof(super), &super,
			     sizeof(super));
	}
}

static struct dp_super device_newest(void)
{
	struct dp_super half[2];

	device_read(0, half, sizeof(half));
	return half[half[1].sequence > half[0].sequence];
}

static void device_that_was_made_smaller_is_refused(void **state)
{
	struct fixture *f = on_device(state);
	struct dp_super super;

	overwrite(f);
	close_pool(f);
	super = device_newest();
	super.pool_size += 2 * MIB;
	device_super(super);
	assert_device_open_fails(f, -EUCLEAN, "made smaller");
	assert_says(f, device);
}

static void device_with_damage_is_refused(void **state)
{
	struct fixture *f = on_device(state);
	struct daxpin_op keep = { .type = DAXPIN_OP_KEEP };
	uint64_t zero = 0, bitmap, size, in_segment, word;

	overwrite(f);
	size = pool_info(f).segment_size;
	keep.extent = reserve(f, 4096);
	assert_int_equal(daxpin_publish(f->pool, &keep, 1, NULL, NULL), 0);
	close_pool(f);
	in_segment = keep.extent.addr % size;
	word = keep.extent.addr - in_segment + dp_layout_table_offset(size) +
	       dp_word_offset(in_segment / DP_BLOCK_SIZE);
	device_read(DP_PAGES_OFFSET, &bitmap, 8);
	device_write(DP_PAGES_OFFSET, &zero, 8);
	assert_device_open_fails(f, -EUCLEAN, "segment 0, page bitmap");
	device_write(DP_PAGES_OFFSET, &bitmap, 8);
	device_write(word, &zero, 8);
	assert_device_open_fails(f, -EUCLEAN, "descriptor table");
	for (uint64_t half = 0; half < 4; half++)
		device_write((half < 2 ? DP_SUPER_OFFSET : DP_COPY_OFFSET) +
			     half % 2 * sizeof(struct dp_super) + 8, "\xff", 1);
	assert_device_open_fails(f, -EUCLEAN, "superblock");
	assert_device_create_fails(f, -EEXIST, "overwrite");
}

static void create_on_a_device_cut_short_is_completed(void **state)
{
	struct fixture *f = on_device(state);
	struct dp_super super;

	overwrite(f);
	close_pool(f);
	super = device_newest();
	super.flags = DP_SUPER_CREATING;
	device_super(super);
	assert_device_open_fails(f, -EUCLEAN, "its create was interrupted");
	create_pool(f);
	close_pool(f);
	open_pool(f);
}

static void device_open_elsewhere_names_the_owner(void **state)
{
	struct fixture *f = on_device(state);
	struct child child;
	char words[32];

	overwrite(f);
	close_pool(f);
	child = start_child(f, child_opens, NULL);
	assert_int_equal(child.result, 0);
	snprintf(words, sizeof(words), "process %d", child.pid);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool),
			 -EBUSY);
	assert_says(f, words);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool),
			 -EBUSY);
	assert_says(f, words);
	f->options.flags = 0;
	kill_child(&child);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 1);
}

static int nobody_opens(struct fixture *f)
{
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
		return -ENOSYS;
	return child_opens(f) == -EACCES && strstr(f->errmsg, device) &&
	       !strstr(f->errmsg, "segment") &&
	       strstr(f->errmsg, "Permission denied");
}

static void device_without_permission_is_eacces(void **state)
{
	struct fixture *f = on_device(state);
	struct child child;

	if (geteuid())
		skip_because("becoming another user needs root");
	overwrite(f);
	close_pool(f);
	child = start_child(f, nobody_opens, NULL);
	kill_child(&child);
	assert_int_equal(child.result, 1);
}

static void make_alias(const char *alias)
{
	struct stat st;

	assert_int_equal(stat(device, &st), 0);
	unlink(alias);
	if (mknod(alias, S_IFCHR | 0600, st.st_rdev))
		skip_because("no node can be made at %s: %s", alias,
			     strerror(errno));
}

static void check_alias(struct fixture *f, const char *alias)
{
	make_alias(alias);
	snprintf(f->path, sizeof(f->path), "%s", alias);
	assert_device_open_fails(f, -EPERM, alias);
	assert_says(f, "use /dev/");
	assert_device_create_fails(f, -EPERM, alias);
	f->options.flags = DAXPIN_POOL_ANY_NODE;
	open_pool(f);
	assert_int_equal(pool_info(f).source, DAXPIN_SOURCE_DEVDAX);
	close_pool(f);
	f->options.flags = 0;
	assert_int_equal(unlink(alias), 0);
}

static void another_node_of_a_device_is_refused_unless_allowed(void **state)
{
	struct fixture *f = on_device(state);

	overwrite(f);
	close_pool(f);
	check_alias(f, "/tmp/daxpin-test-alias");
	/* Even on devtmpfs: it is another inode, so another lock. */
	check_alias(f, "/dev/daxpin-test-alias");
}

static void device_may_be_named_by_a_symlink(void **state)
{
	struct fixture *f = on_device(state);
	const char *link = "/tmp/daxpin-test-link";

	unlink(link);
	assert_int_equal(symlink(device, link), 0);
	snprintf(f->path, sizeof(f->path), "%s", link);
	overwrite(f);
	close_pool(f);
	snprintf(f->path, sizeof(f->path), "%s", device);
	open_pool(f);
	unlink(link);
}

/* ------------------------------------------------------------------- fsdax */

/* Does the mapping at this address have the flag in its VmFlags? */
static bool mapping_has(const void *base, const char *flag)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	bool here = false, found = false;
	char line[512], dash;
	void *begin;

	assert_non_null(file);
	while (!found && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%p%c%*x ", &begin, &dash) == 2 && dash == '-')
			here = begin == base;
		else if (here && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, flag);
	}
	fclose(file);
	return found;
}

static void assert_sync(struct fixture *f)
{
	struct daxpin_segment segment;

	for (uint32_t i = 0; i < pool_info(f).segments; i++) {
		assert_int_equal(daxpin_segment(f->pool, i, &segment), 0);
		assert_int_equal((uintptr_t)segment.base % (2 * MIB), 0);
		assert_true(mapping_has(segment.base, " sf"));
	}
}

static void fsdax_pool_is_mapped_sync(void **state)
{
	struct fixture *f = on_directory(state);

	create_pool(f);
	assert_int_equal(pool_info(f).source, DAXPIN_SOURCE_FSDAX);
	assert_int_equal(pool_info(f).granularity, DAXPIN_GRANULARITY_CACHE_LINE);
	assert_sync(f);
	close_pool(f);
	open_pool(f);
	assert_sync(f);
	close_pool(f);
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	assert_sync(f);
}

static void fsdax_pool_is_preallocated(void **state)
{
	struct fixture *f = on_directory(state);
	struct daxpin_pool_info info;
	struct stat st;
	char path[128];

	create_pool(f);
	for (int i = 0; i < 3; i++) {
		segment_path(f, i, path);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, 32 * MIB);
		assert_true((uint64_t)st.st_blocks * 512 >= 32 * MIB);
	}
	info = pool_info(f);
	assert_int_equal(info.hole_bytes, 0);
	assert_int_equal(info.free_bytes, 90 * MIB);
	print_message("# %s: %u of %u chunks cannot be huge pages\n", directory,
		      (unsigned int)info.unaligned_chunks, 48);
	assert_true(info.unaligned_chunks <= 48);
	/*
	 * Preallocated means that a reopen sees no hole, even where nothing was
	 * written.
	 */
	close_pool(f);
	open_pool(f);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	assert_int_equal(pool_info(f).free_bytes, 90 * MIB);
	print_message("# after a reopen: %u\n",
		      (unsigned int)pool_info(f).unaligned_chunks);
}

static void fsdax_pool_keeps_its_data_over_a_reopen(void **state)
{
	struct fixture *f = on_directory(state);
	struct daxpin_extent extent[3];

	create_pool(f);
	fill(f, extent, 3);
	close_pool(f);
	open_pool(f);
	check_filled(f, extent);
}

static void fsdax_pool_of_a_killed_owner_opens_unclean(void **state)
{
	struct fixture *f = on_directory(state);
	struct child child;
	char words[32];

	create_pool(f);
	close_pool(f);
	child = start_child(f, child_opens, NULL);
	assert_int_equal(child.result, 0);
	snprintf(words, sizeof(words), "process %d", child.pid);
	assert_open_fails(f, -EBUSY, words);
	kill_child(&child);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 1);
}

static void punch_segment(struct fixture *f, uint32_t segment, uint64_t offset,
			  uint64_t size)
{
	int fd = open_file(f, segment);

	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				   FALLOC_FL_KEEP_SIZE, offset, size), 0);
	close(fd);
}

/* A chunk with any gap is a hole, since no store to it may need the filesystem. */
static void fsdax_holes_are_reported_and_never_reserved(void **state)
{
	struct fixture *f = on_directory(state);
	struct stat before, after;
	char path[128];

	create_pool(f);
	close_pool(f);
	punch_segment(f, 0, 4 * MIB, 2 * MIB);
	punch_segment(f, 1, 8 * MIB + 12288, 4096);
	punch_segment(f, 2, 30 * MIB, 2 * MIB);
	segment_path(f, 0, path);
	assert_int_equal(stat(path, &before), 0);
	open_pool(f);
	assert_int_equal(pool_info(f).hole_bytes, 6 * MIB);
	assert_int_equal(pool_info(f).free_bytes, 84 * MIB);
	assert_int_equal(use_all(f), 84 * MIB);
	close_pool(f);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_blocks, after.st_blocks);
}

/* W7: blocks that a sparse copy left out are zeroes, and are allocated by an open. */
static void fsdax_extent_in_a_hole_is_allocated(void **state)
{
	struct fixture *f = on_directory(state);
	struct daxpin_extent extent, found;
	char bytes[8] = "1234567";

	create_pool(f);
	extent = live(f, 4 * MIB);
	close_pool(f);
	punch_segment(f, extent.addr / (32 * MIB),
		      extent.addr % (32 * MIB) + 2 * MIB, 4096);
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	assert_int_equal(pool_info(f).sparse_bytes, 2 * MIB);
	close_pool(f);
	f->options.flags = 0;
	open_pool(f);
	assert_int_equal(pool_info(f).sparse_bytes, 0);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &found), 0);
	assert_int_equal(daxpin_read(f->pool, found, 2 * MIB, 8, bytes), 0);
	assert_memory_equal(bytes, "\0\0\0\0\0\0\0", 8);
	close_pool(f);
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	assert_int_equal(pool_info(f).sparse_bytes, 0);
	close_pool(f);
	f->options.flags = 0;
}

/* Returns how much fallocate() may allocate: for root also ext4's reserve. */
static uint64_t room(void)
{
	struct statvfs fs;

	assert_int_equal(statvfs(directory, &fs), 0);
	return (geteuid() ? fs.f_bavail : fs.f_bfree) * fs.f_bsize;
}

/* XFS frees the space of removed files some time later. */
static void settle(void)
{
	uint64_t before;

	do {
		before = room();
		sync();
		usleep(500000);
	} while (room() != before);
}

/* Waits until the space that an earlier test used is free again. */
static void await_room(struct fixture *f)
{
	uint64_t need = f->options.pool_size + 40 * MIB;

	for (int i = 0; i < HANG_S && room() < need; i++)
		settle();
	assert_true(room() >= need);
}

/* Fills the filesystem except for this many bytes. */
static void leave_room(struct fixture *f, uint64_t bytes)
{
	uint64_t size = 0, more;
	char path[128];
	int fd;

	settle();
	more = (room() - bytes) & ~4095ull;
	file_name(f, "ballast", path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	/* In halves, since a filesystem needs some of the space for itself. */
	while (room() > bytes + MIB && more >= 4096) {
		if (fallocate(fd, 0, size, more))
			more = more / 2 & ~4095ull;
		else
			size += more;
		more = dp_min(more, (room() - dp_min(room(), bytes)) & ~4095ull);
	}
	close(fd);
}

static void fsdax_create_without_room_leaves_nothing(void **state)
{
	struct fixture *f = on_directory(state);
	uint64_t before;
	char path[64];

	leave_room(f, 80 * MIB);
	before = room();
	assert_in_range(before, 40 * MIB, 95 * MIB);
	assert_create_fails(f, -ENOSPC, "free some space");
	assert_says(f, f->path);
	assert_int_equal(count_files(f->path), 1);
	strcpy(path, f->path);
	strcat(f->path, "/sub");
	assert_create_fails(f, -ENOSPC, "free some space");
	assert_int_equal(access(f->path, F_OK), -1);
	strcpy(f->path, path);
	for (int i = 0; i < HANG_S && room() + 2 * MIB <= before; i++)
		settle();
	assert_true(room() + 2 * MIB > before);
}

/* D9, kernel.md K18: stores to a pool never need space. */
static void fsdax_pool_works_on_a_full_filesystem(void **state)
{
	struct fixture *f = on_directory(state);
	struct daxpin_extent extent[3];

	await_room(f);
	create_pool(f);
	leave_room(f, 0);
	/* ext4 reserves up to 16 MiB for itself. */
	assert_true(room() < 24 * MIB);
	fill(f, extent, 3);
	assert_int_equal(use_all(f), pool_info(f).usable_bytes -
			 3 * (17 * MIB));
	close_pool(f);
	open_pool(f);
	check_filled(f, extent);
}

/* --------------------------------------------------------------- reflinks */

/* Shares segment 1 with a copy of itself. Returns false if the filesystem cannot. */
static bool share_segment(struct fixture *f)
{
	char path[128];
	int from = open_file(f, 1), to, ret;

	file_name(f, "copy", path);
	to = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(to >= 0);
	ret = ioctl(to, FICLONE, from);
	close(from);
	close(to);
	return !ret;
}

/*
 * An open for reading accepts it. An open for writing gives it its own blocks on a DAX
 * filesystem; on a disk it leaves that to the kernel.
 */
static void check_reflink(struct fixture *f, bool dax)
{
	struct daxpin_pool_info info;

	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	info = pool_info(f);
	assert_true(info.shared_bytes >= 2 * MIB);
	close_pool(f);
	f->options.flags = 0;
	open_pool(f);
	assert_int_equal(pool_info(f).shared_bytes, dax ? 0 : info.shared_bytes);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	close_pool(f);
}

/* Mounts another XFS, with reflinks, over the test's directory. */
static void mount_reflink(struct fixture *f)
{
	char command[256];

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip_because("a mount needs root: %s", strerror(errno));
	snprintf(command, sizeof(command),
		 "f=/dev/shm/daxpin-test-xfs; rm -f $f; "
		 "truncate -s 320M $f && mkfs.xfs -q -m reflink=1 $f && "
		 "mount -o loop $f %s; s=$?; rm -f $f; exit $s", f->path);
	if (system(command))
		skip_because("no XFS with reflinks can be made here");
}

static void reflinked_extents_get_blocks_of_their_own(void **state)
{
	struct fixture *f = on_directory(state);

	await_room(f);
	create_pool(f);
	close_pool(f);
	if (share_segment(f)) {
		check_reflink(f, true);
		return;
	}
	print_message("# %s has no reflinks: another filesystem\n", directory);
	mount_reflink(f);
	create_pool(f);
	live(f, 4096);
	close_pool(f);
	assert_true(share_segment(f));
	check_reflink(f, false);
	assert_int_equal(umount2(f->path, MNT_DETACH), 0);
}

/* ------------------------------------------------------------ defragmenters */

static bool is_on_xfs(const char *path)
{
	struct statfs fs;

	assert_int_equal(statfs(path, &fs), 0);
	return fs.f_type == XFS_SUPER_MAGIC;
}

/* The attributes that a marked file has. */
static uint32_t change_attributes(const char *path, uint32_t take, uint32_t give)
{
	struct fsxattr attributes;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, FS_IOC_FSGETXATTR, &attributes), 0);
	attributes.fsx_xflags = (attributes.fsx_xflags & ~take) | give;
	if (take || give)
		assert_int_equal(ioctl(fd, FS_IOC_FSSETXATTR, &attributes), 0);
	assert_int_equal(ioctl(fd, FS_IOC_FSGETXATTR, &attributes), 0);
	close(fd);
	return attributes.fsx_xflags;
}

static uint32_t attributes_of(const char *path)
{
	return change_attributes(path, 0, 0);
}

/* A restore can leave other attributes. Only this one is changed. */
static void check_marks(struct fixture *f)
{
	uint32_t others[3];
	char path[128];

	for (int i = 0; i < 3; i++) {
		segment_path(f, i, path);
		assert_true(attributes_of(path) & FS_XFLAG_NODEFRAG);
		others[i] = change_attributes(path, FS_XFLAG_NODEFRAG,
					      FS_XFLAG_NODUMP |
					      FS_XFLAG_NOATIME);
		assert_false(others[i] & FS_XFLAG_NODEFRAG);
	}
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	assert_int_equal(pool_info(f).movable, DAXPIN_YES);
	close_pool(f);
	f->options.flags = 0;
	open_pool(f);
	assert_int_equal(pool_info(f).movable, DAXPIN_NO);
	close_pool(f);
	for (int i = 0; i < 3; i++) {
		segment_path(f, i, path);
		assert_int_equal(attributes_of(path),
				 others[i] | FS_XFLAG_NODEFRAG);
	}
}

/* A user of the files' group may write to them, but not mark them. */
static int nobody_cannot_mark(struct fixture *f)
{
	bool so;

	if (!drop_privileges(NOBODY, 64 << 10))
		return -ENOSYS;
	log_lines(f);
	if (child_opens(f))
		return 0;
	so = pool_info(f).movable == DAXPIN_YES &&
	     count_logged("defragmenting (Operation not permitted): xfs_fsr") == 1 &&
	     count_logged("open it for writing once as their owner or root") == 1;
	return so && !daxpin_pool_close(f->pool);
}

static void files_of_another_owner_stay_unmarked_and_are_reported(void **state)
{
	struct fixture *f = on_directory(state);
	struct child child;
	char path[128];

	if (geteuid() || !is_on_xfs(f->path))
		skip_because("becoming another user needs root, and a mark needs XFS");
	create_pool(f);
	close_pool(f);
	assert_int_equal(allow_nobody(f->path), 0);
	for (int i = 0; i < 3; i++) {
		segment_path(f, i, path);
		change_attributes(path, FS_XFLAG_NODEFRAG, 0);
	}
	child = start_child(f, nobody_cannot_mark, NULL);
	kill_child(&child);
	assert_int_equal(child.result, 1);
	assert_int_equal(count_notes(f, "xfs_fsr may move"), 3);
	open_pool(f);			/* as root, as the message recommends */
	assert_int_equal(pool_info(f).movable, DAXPIN_NO);
	close_pool(f);
	assert_int_equal(count_notes(f, "xfs_fsr may move"), 0);
}

static void files_on_xfs_are_marked_against_defragmenters(void **state)
{
	struct fixture *f = on_directory(state);
	char path[128];

	assert_int_equal(rmdir(f->path), 0);
	create_pool(f);
	if (!is_on_xfs(f->path)) {
		print_message("# %s is not XFS\n", directory);
		assert_int_equal(pool_info(f).movable, DAXPIN_UNKNOWN);
		return;
	}
	assert_int_equal(pool_info(f).movable, DAXPIN_NO);
	close_pool(f);
	assert_true(attributes_of(f->path) & FS_XFLAG_NODEFRAG);
	write_file(f, "restored", "x", 0);
	file_name(f, "restored", path);
	assert_true(attributes_of(path) & FS_XFLAG_NODEFRAG);
	check_marks(f);
}

static void a_device_is_not_defragmented(void **state)
{
	struct fixture *f = on_device(state);

	overwrite(f);
	assert_int_equal(pool_info(f).movable, DAXPIN_NO);
}

/* -------------------------------------------------------- system-ram, last */

static int reconfigure(const char *mode)
{
	char command[256];

	snprintf(command, sizeof(command),
		 "daxctl reconfigure-device --mode=%s %s >/dev/shm/daxpin-said 2>&1",
		 mode, device_name());
	return system(command);
}

static void show_output(void)
{
	if (system("sed 's/^/# /' /dev/shm/daxpin-said"))
		print_message("# daxctl printed nothing\n");
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return done;
}

/* The memory must stay offline, or it could not be reconfigured back. */
static bool become_system_ram(void)
{
	return !access("/sys/bus/dax/drivers/kmem", F_OK) &&
	       write_text("/sys/devices/system/memory/auto_online_blocks",
			  "offline") &&
	       !reconfigure("system-ram --no-online");
}

static bool become_devdax(void)
{
	for (int i = 0; i < HANG_S; i++) {
		if (!reconfigure("devdax --force") && !access(device, F_OK))
			return true;
		sleep(1);
	}
	return false;
}

static void device_in_system_ram_mode_is_enodev(void **state)
{
	struct fixture *f = on_device(state);
	int opened, created;
	char errmsg[sizeof(f->errmsg)];

	if (!become_system_ram()) {
		show_output();
		assert_true(become_devdax());
		skip_because("%s does not become system-ram", device);
	}
	/* The device is restored first, and the results are tested after that. */
	opened = daxpin_pool_open(f->path, &f->options, &f->pool);
	strcpy(errmsg, f->errmsg);
	created = daxpin_pool_create(f->path, &f->options, &f->pool);
	if (!become_devdax()) {
		show_output();
		fail_msg("%s could not be reconfigured from system-ram to devdax", device);
	}
	unlink("/dev/shm/daxpin-said");
	print_message("# %s\n", errmsg);
	assert_int_equal(opened, -ENODEV);
	assert_int_equal(created, -ENODEV);
	assert_non_null(strstr(errmsg, "system-ram"));
	assert_non_null(strstr(errmsg,
			       "daxctl reconfigure-device --mode=devdax"));
	assert_non_null(strstr(errmsg, device_name()));
	assert_says(f, "system-ram");
}

#define ON_DEVICE(name)							\
	cmocka_unit_test_setup_teardown(name, device_setup, device_teardown)
#define ON_BLANK_DEVICE(name)						\
	cmocka_unit_test_setup_teardown(name, blank_device_setup,	\
					device_teardown)
#define ON_DIRECTORY(name)						\
	cmocka_unit_test_setup_teardown(name, directory_setup,		\
					directory_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BLANK_DEVICE(device_pool_loses_at_most_2_percent),
		ON_DEVICE(device_pool_keeps_its_data_over_a_reopen),
		ON_DEVICE(a_device_pool_can_be_used_to_the_last_block),
		ON_DEVICE(open_with_create_takes_a_whole_device),
		ON_DEVICE(device_has_no_page_granularity),
		ON_BLANK_DEVICE(open_of_a_blank_device_finds_no_pool),
		ON_BLANK_DEVICE(device_that_is_not_blank_needs_overwrite),
		ON_BLANK_DEVICE(device_whose_beginning_was_wiped_is_not_blank),
		ON_DEVICE(device_that_was_made_smaller_is_refused),
		ON_DEVICE(device_with_damage_is_refused),
		ON_DEVICE(create_on_a_device_cut_short_is_completed),
		ON_DEVICE(device_open_elsewhere_names_the_owner),
		ON_DEVICE(device_without_permission_is_eacces),
		ON_DEVICE(another_node_of_a_device_is_refused_unless_allowed),
		ON_DEVICE(device_may_be_named_by_a_symlink),
		ON_DIRECTORY(fsdax_pool_is_mapped_sync),
		ON_DIRECTORY(fsdax_pool_is_preallocated),
		ON_DIRECTORY(fsdax_pool_keeps_its_data_over_a_reopen),
		ON_DIRECTORY(fsdax_pool_of_a_killed_owner_opens_unclean),
		ON_DIRECTORY(fsdax_holes_are_reported_and_never_reserved),
		ON_DIRECTORY(fsdax_extent_in_a_hole_is_allocated),
		ON_DIRECTORY(fsdax_create_without_room_leaves_nothing),
		ON_DIRECTORY(fsdax_pool_works_on_a_full_filesystem),
		ON_DIRECTORY(reflinked_extents_get_blocks_of_their_own),
		ON_DIRECTORY(files_on_xfs_are_marked_against_defragmenters),
		ON_DIRECTORY(files_of_another_owner_stay_unmarked_and_are_reported),
		ON_DEVICE(a_device_is_not_defragmented),
		ON_DEVICE(device_in_system_ram_mode_is_enodev),
	};

	device = getenv("DAXPIN_TEST_DAX");
	directory = getenv("DAXPIN_TEST_FSDAX");
	if (!device && !directory) {
		printf("neither DAXPIN_TEST_DAX nor DAXPIN_TEST_FSDAX is set\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, leave_it_blank);
}
