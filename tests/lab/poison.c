/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools on media for which the kernel lists bad blocks.
 *
 *	poison fsdax	unmounts DAXPIN_TEST_FSDAX several times, to write to
 *				the badblocks of its block device, and mounts it
 *				at the end as it was
 *	poison devdax	injects memory errors in the NVDIMM region of
 *				DAXPIN_TEST_DAX. Only a reboot removes them, so
 *				run it last
 *
 * Both do so only if DAXPIN_TEST_POISON allows it.
 */
#include "media.h"
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include "support/invariant.h"
#include "core/handle.h"
#include "os/os.h"

#define BLOCK		DP_BLOCK_SIZE
#define SECTOR		512ull
#define EXTENT		(64 * BLOCK)
#define HANG_MS		600000		/* limit of a wait that must end */

static const char *device, *directory, *fstype;
static char disk[64];			/* the disk under the directory: "pmem1" */

#define skip_because(...) do {						\
	print_message("# skipped: " __VA_ARGS__);			\
	print_message("\n");						\
	skip();								\
} while (0)

/* ------------------------------------------------------------------ helpers */

static void wait_a_little(void)
{
	nanosleep(&(struct timespec) { 0, 20000000 }, NULL);
}

/* Writes to a file of sysfs. Returns 0 or -errno. */
static int write_setting(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		ret = -errno;
	close(fd);
	return ret;
}

static uint64_t read_number(const char *path)
{
	unsigned long long number = 0;
	FILE *file = fopen(path, "r");
	char text[32];

	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	number = strtoull(text, NULL, 0);
	return number;
}

/* ------------------------------------------- a DAX filesystem's block device */

static bool find_disk(void)
{
	char line[1024], at[256], type[32], source[256];
	FILE *mounts = fopen("/proc/self/mounts", "r");

	while (mounts && fgets(line, sizeof(line), mounts))
		if (sscanf(line, "%255s %255s %31s", source, at, type) == 3 &&
		    !strcmp(at, directory) && !strncmp(source, "/dev/pmem", 9))
			snprintf(disk, sizeof(disk), "%.60s", source + 5);
	if (mounts)
		fclose(mounts);
	return disk[0];
}

static int mount_it(const char *source)
{
	for (int ms = 0; ms < HANG_MS; ms += 20) {
		if (!mount(source, directory, fstype, 0, "dax=always"))
			return 0;
		wait_a_little();
	}
	return -errno;
}

static int unmount_it(void)
{
	for (int ms = 0; ms < HANG_MS; ms += 20) {
		if (!umount(directory) || errno == EINVAL)
			return 0;
		wait_a_little();
	}
	return -errno;
}

/* The driver is bound again and reads the region's list, which is empty. */
static int forget_list(void)
{
	char path[128], target[256];
	ssize_t n;
	int ret;

	snprintf(path, sizeof(path), "/sys/block/%s/device", disk);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	ret = write_setting("/sys/bus/nd/drivers/nd_pmem/unbind",
			    strrchr(target, '/') + 1);
	return ret ? ret : write_setting("/sys/bus/nd/drivers/nd_pmem/bind",
					 strrchr(target, '/') + 1);
}

/* Clears the badblocks, and mounts the filesystem as it was. */
static int heal(void)
{
	char source[128];
	int ret = unmount_it();

	snprintf(source, sizeof(source), "/dev/%s", disk);
	if (!ret)
		ret = forget_list();
	return ret ? ret : mount_it(source);
}

static void list_bad(uint64_t physical)
{
	char path[128], text[64];

	snprintf(path, sizeof(path), "/sys/block/%s/badblocks", disk);
	snprintf(text, sizeof(text), "%llu 1\n",
		 (unsigned long long)(physical / SECTOR));
	assert_int_equal(write_setting(path, text), 0);
}

/* Unmounts, marks these sectors as bad, mounts. */
static void corrupt_disk(const uint64_t *physical, size_t count)
{
	char source[128];

	snprintf(source, sizeof(source), "/dev/%s", disk);
	assert_int_equal(unmount_it(), 0);
	for (size_t i = 0; i < count; i++)
		list_bad(physical[i]);
	assert_int_equal(mount_it(source), 0);
}

struct place {
	uint64_t offset, physical;
};

static int look_for(const struct dp_os_extent *extent, void *arg)
{
	struct place *place = arg;

	if (place->offset >= extent->offset &&
	    place->offset < extent->offset + extent->length)
		place->physical = extent->physical + place->offset -
				  extent->offset;
	return 0;
}

/* Returns the offset on the disk of a byte of a segment. */
static uint64_t on_disk(struct fixture *f, uint32_t segment, uint64_t offset)
{
	struct place place = { offset, 0 };
	int fd = open_file(f, segment);

	assert_int_equal(dp_os_fiemap(fd, look_for, &place), 0);
	close(fd);
	assert_true(place.physical > 0);
	return place.physical;
}

/* ----------------------------------------------------------------- fixtures */

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	f->options = (struct daxpin_pool_options) {
		.size = sizeof(f->options),
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	if (!directory) {
		snprintf(f->path, sizeof(f->path), "%s", device);
		return 0;
	}
	f->options.pool_size = 96 * MIB;
	f->options.segment_size = 32 * MIB;
	snprintf(f->path, sizeof(f->path), "%s/daxpin-test-XXXXXX", directory);
	return mkdtemp(f->path) ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int ret = daxpin_pool_close(f->pool);

	if (directory) {
		if (heal()) {
			fprintf(stderr, "%s is not mounted as it was\n",
				directory);
			ret = -1;
		}
		nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	}
	free(f);
	return ret;
}

static uint8_t byte_at(uint64_t offset)
{
	return (offset / 4 * 2654435761u) >> offset % 4 * 8;
}

static void fill(uint8_t *to, uint64_t size)
{
	for (uint64_t i = 0; i < size; i++)
		to[i] = byte_at(i);
}

/* Publishes an extent. Returns its address. */
static uint64_t make_live(struct fixture *f)
{
	struct daxpin_op keep = {
		.type = DAXPIN_OP_KEEP,
	};

	keep.extent = reserve(f, EXTENT);
	fill(daxpin_ptr(f->pool, keep.extent, 0), EXTENT);
	assert_int_equal(daxpin_publish(f->pool, &keep, 1, NULL, NULL), 0);
	return keep.extent.addr;
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
	uint8_t *to = malloc(length);
	int ret;

	assert_non_null(to);
	ret = daxpin_read(f->pool, extent, offset, length, to);
	if (ret != expected)
		fail_msg("read of %" PRIu64 " at %" PRIu64 ": %d", length,
			 offset, ret);
	for (uint64_t i = 0; !ret && i < length; i++)
		assert_int_equal(to[i], byte_at(offset + i));
	free(to);
}

/* One block of the extent is bad. All others can be read. */
static void check_neighbours(struct fixture *f, struct daxpin_extent extent,
			     uint64_t bad)
{
	for (uint64_t b = 0; b < EXTENT / BLOCK; b++)
		check_read(f, extent, b * BLOCK, BLOCK, b == bad ? -EIO : 0);
	check_read(f, extent, 0, bad * BLOCK, 0);
	check_read(f, extent, (bad + 1) * BLOCK, EXTENT - (bad + 1) * BLOCK, 0);
	check_read(f, extent, 0, EXTENT, -EIO);
	check_read(f, extent, bad * BLOCK - 1, 2, -EIO);
}

/* Reserves all free space, which must not contain these blocks. */
static uint64_t take_all(struct fixture *f, const uint64_t *bad, size_t count)
{
	struct daxpin_extent extent;
	uint64_t taken = 0;

	while (!daxpin_reserve(f->pool, BLOCK, DAXPIN_RESERVE_ZERO, &extent)) {
		for (size_t i = 0; i < count; i++)
			assert_int_not_equal(extent.addr, bad[i] & ~(BLOCK - 1));
		taken += BLOCK;
	}
	return taken;
}

/*
 * A pool with a live extent, of which block 10 is bad, and with two bad free blocks.
 * The extent is kept, its other blocks can be read, and after a retire its bad block is
 * not reused.
 */
static void check_known(struct fixture *f, uint64_t addr, const uint64_t bad[3])
{
	struct daxpin_pool_info info;
	uint64_t before;

	open_pool(f);
	info = pool_info(f);
	assert_int_equal(info.bad_unknown, 0);
	assert_int_equal(info.bad_bytes, 3 * BLOCK);
	assert_int_equal(info.free_bytes + EXTENT - BLOCK, info.usable_bytes);
	dp_invariants(f->pool);
	check_neighbours(f, at(f, addr), 10);
	before = info.free_bytes;
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, at(f, addr)), 0);
	assert_int_equal(free_bytes(f), before + EXTENT - BLOCK);
	dp_invariants(f->pool);
	assert_int_equal(take_all(f, bad, 3), info.usable_bytes);
	close_pool(f);
}

/* ------------------------------------------------------------------- fsdax */

static void known_bad_blocks_are_never_reserved(void **state)
{
	struct fixture *f = *state;
	uint64_t addr, bad[3], physical[3];

	create_pool(f);
	addr = make_live(f);
	close_pool(f);
	bad[0] = addr + 10 * BLOCK + 3 * SECTOR;
	bad[1] = 32 * MIB + 2 * MIB;		/* segment 1's first */
	bad[2] = 96 * MIB - SECTOR;		/* the last of the pool */
	for (int i = 0; i < 3; i++)
		physical[i] = on_disk(f, bad[i] / (32 * MIB),
				      bad[i] % (32 * MIB));
	corrupt_disk(physical, 3);
	check_known(f, addr, bad);
	/* Blocks that were cleared are free again. */
	assert_int_equal(heal(), 0);
	open_pool(f);
	assert_int_equal(pool_info(f).bad_bytes, 0);
	assert_int_equal(free_bytes(f), 90 * MIB);
	close_pool(f);
}

/* The block becomes bad after the open has read the list. */
static void block_that_goes_bad_under_an_open_pool_is_eio(void **state)
{
	struct fixture *f = *state;
	uint64_t addr;

	create_pool(f);
	addr = make_live(f);
	check_read(f, at(f, addr), 0, EXTENT, 0);
	list_bad(on_disk(f, addr / (32 * MIB), addr % (32 * MIB) + 9 * BLOCK));
	assert_int_equal(pool_info(f).bad_bytes, 0);
	check_neighbours(f, at(f, addr), 9);
	/* The extent's other blocks are free again; a store to the bad one is
	 * SIGBUS. */
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, at(f, addr)), 0);
	addr += 9 * BLOCK;
	assert_int_equal(take_all(f, &addr, 1), pool_info(f).usable_bytes);
	close_pool(f);
}

static uint64_t loaded_addr;

static int load_it(struct fixture *f)
{
	struct daxpin_extent extent = at(f, loaded_addr);

	signal(SIGBUS, SIG_DFL);	/* cmocka has a handler */
	return *(volatile uint8_t *)daxpin_ptr(f->pool, extent, 10 * BLOCK);
}

static int read_it(struct fixture *f)
{
	uint8_t byte;

	return daxpin_read(f->pool, at(f, loaded_addr), 10 * BLOCK, 1, &byte);
}

/* The kernel's own copies of the bad block: read() of the file fails with EIO ... */
static int read_file_of_it(struct fixture *f)
{
	int fd = open_file(f, loaded_addr / (32 * MIB));
	uint8_t byte;

	if (pread(fd, &byte, 1, loaded_addr % (32 * MIB) + 10 * BLOCK) >= 0)
		return 0;
	return -errno;
}

/* ... and write() from the mapping with EFAULT. */
static int write_from_it(struct fixture *f)
{
	struct daxpin_extent extent = at(f, loaded_addr);
	int fd = memfd_create("copy", MFD_CLOEXEC);

	if (fd < 0 || write(fd, daxpin_ptr(f->pool, extent, 10 * BLOCK), 1) >= 0)
		return 0;
	return -errno;
}

static int result_of(struct fixture *f, int (*access)(struct fixture *f))
{
	struct child child = start_child(f, child_opens, access);

	assert_int_equal(child.result, 0);
	release_child(&child);
	return end_child(&child);
}

/* The purpose of daxpin_read(), and a proof that the poison of this test is real. */
static void a_load_from_poison_is_sigbus_and_daxpin_read_is_eio(void **state)
{
	struct fixture *f = *state;
	uint64_t physical;

	create_pool(f);
	loaded_addr = make_live(f);
	close_pool(f);
	physical = on_disk(f, loaded_addr / (32 * MIB),
			   loaded_addr % (32 * MIB) + 10 * BLOCK);
	corrupt_disk(&physical, 1);
	assert_int_equal(result_of(f, read_it), EIO);
	assert_int_equal(result_of(f, read_file_of_it), EIO);
	assert_int_equal(result_of(f, write_from_it), EFAULT);
	assert_int_equal(result_of(f, load_it), -SIGBUS);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 1);
	close_pool(f);
}

/* A hash of each file's metadata, as far as it can be read. */
static uint64_t hash_readable(struct fixture *f)
{
	uint8_t block[BLOCK];
	uint64_t hash = 0;

	for (uint32_t s = 0; s < 3; s++) {
		int fd = open_file(f, s);

		for (uint64_t o = 0; o < DP_CHUNK_SIZE; o += BLOCK) {
			memset(block, 0xee, sizeof(block));
			if (pread(fd, block, BLOCK, o) < 0)
				assert_int_equal(errno, EIO);
			hash = XXH3_64bits_withSeed(block, BLOCK, hash + 1);
		}
		close(fd);
	}
	return hash;
}

static void check_metadata(struct fixture *f, uint32_t segment, uint64_t offset,
			   const char *structure)
{
	uint64_t physical = on_disk(f, segment, offset), hash;
	char which[32], where[32];

	corrupt_disk(&physical, 1);
	snprintf(which, sizeof(which), "segment %u", segment);
	snprintf(where, sizeof(where), "offset 0x%llx;",
		 (unsigned long long)(offset & ~(BLOCK - 1)));
	hash = hash_readable(f);
	for (int i = 0; i < 2; i++) {
		f->options.flags = i ? DAXPIN_POOL_READONLY : 0;
		f->errmsg[0] = '\0';
		assert_int_equal(daxpin_pool_open(f->path, &f->options,
						  &f->pool), -EIO);
		assert_null(f->pool);
		assert_says(f, which);
		assert_says(f, structure);
		assert_says(f, where);
	}
	assert_int_equal(hash_readable(f), hash);
	f->options.flags = 0;
	assert_int_equal(heal(), 0);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 0);
	close_pool(f);
}

static void open_refuses_bad_metadata(void **state)
{
	struct fixture *f = *state;
	uint32_t used;

	create_pool(f);
	used = make_live(f) / (32 * MIB);
	close_pool(f);
	check_metadata(f, 0, DP_SUPER_OFFSET + 100, "superblock");
	check_metadata(f, 2, DP_SUPER_OFFSET + BLOCK, "superblock");
	check_metadata(f, 1, DP_COPY_OFFSET + BLOCK, "copy");
	check_metadata(f, 1, DP_PAGES_OFFSET + 80, "page bitmap");
	/* A page in use, and one that is not. */
	check_metadata(f, used, DP_TABLE_OFFSET + BLOCK, "descriptor table");
	check_metadata(f, 2, DP_TABLE_OFFSET + 15 * BLOCK, "descriptor table");
	check_metadata(f, 0, DP_ROOTS_OFFSET + 512 * 64, "root directory");
	check_metadata(f, 0, DP_LANES_OFFSET + 5 * 4096, "redo lane 5");
	check_metadata(f, 0, DP_LANES_END - 1, "redo lane 63");
}

/* The open quarantines what cannot be read of table and roots, and uses the rest. */
static void degraded_open_survives_bad_metadata(void **state)
{
	struct fixture *f = *state;
	uint64_t physical[2], addr;
	struct daxpin_extent extent;

	create_pool(f);
	addr = make_live(f);
	assert_true(addr % (32 * MIB) < 4 * MIB);
	close_pool(f);
	physical[0] = on_disk(f, addr / (32 * MIB), DP_TABLE_OFFSET + 9 * BLOCK);
	physical[1] = on_disk(f, 0, DP_ROOTS_OFFSET + BLOCK);
	corrupt_disk(physical, 2);
	f->options.flags = DAXPIN_POOL_DEGRADED;
	open_pool(f);
	f->options.flags = 0;
	/* The page counts as in use. It covers the blocks from chunk 8 to the end. */
	assert_int_equal(pool_info(f).quarantined_bytes, 32 * MIB - 18 * MIB);
	assert_int_equal(pool_info(f).bad_bytes, 0);
	extent = at(f, addr);
	check_read(f, extent, 0, EXTENT, 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(take_all(f, NULL, 0), (90 - 14) * MIB);
	close_pool(f);
}

static void create_refuses_bad_metadata(void **state)
{
	struct fixture *f = *state;
	uint64_t physical, addr;

	create_pool(f);
	addr = make_live(f);
	close_pool(f);
	/* The library would not read it, but it is metadata. */
	physical = on_disk(f, 1, DP_CHUNK_SIZE - 1);
	corrupt_disk(&physical, 1);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool),
			 -EIO);
	assert_says(f, "segment 1");
	assert_says(f, "metadata");
	assert_says(f, "clear it");
	f->options.flags = 0;
	open_pool(f);
	check_read(f, at(f, addr), 0, EXTENT, 0);
	close_pool(f);
}

/* Device mapper passes on DAX, but not the badblocks of the disk below. */
static void an_unavailable_list_is_reported_as_unknown(void **state)
{
	struct fixture *f = *state;
	uint64_t physical, addr;
	char command[256];
	int mounted, unknown = -1;

	create_pool(f);
	addr = make_live(f);
	close_pool(f);
	physical = on_disk(f, addr / (32 * MIB),
			   addr % (32 * MIB) + 10 * BLOCK);
	assert_int_equal(unmount_it(), 0);
	list_bad(physical);
	snprintf(command, sizeof(command),
		 "dmsetup create daxpin-poison --table \"0 $(cat /sys/block/%s/size) linear /dev/%s 0\" >/dev/null 2>&1",
		 disk, disk);
	if (system(command))
		skip_because("dmsetup makes no linear target here");
	mounted = mount_it("/dev/mapper/daxpin-poison");
	if (!mounted && !daxpin_pool_open(f->path, &f->options, &f->pool)) {
		unknown = pool_info(f).bad_unknown;
		/* The disk below still has its list. */
		check_neighbours(f, at(f, addr), 10);
		close_pool(f);
	}
	if (!mounted)
		assert_int_equal(unmount_it(), 0);
	assert_int_equal(system("dmsetup remove daxpin-poison"), 0);
	assert_int_equal(mounted, 0);
	assert_int_equal(unknown, 1);
}

/* --------------------------------------------------------------- device-dax */

#define INJECT "/sys/kernel/debug/mce-inject/"

static const char *device_name(void)
{
	return strrchr(device, '/') + 1;
}

static uint64_t device_number(const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/dax/devices/%s/%s",
		 device_name(), file);
	return read_number(path);
}

static size_t list_length(void)
{
	char path[128], text[8192];
	int length;

	snprintf(path, sizeof(path), "/sys/bus/dax/devices/%s/../../badblocks",
		 device_name());
	length = dp_os_read_file(path, text, sizeof(text));
	return length < 0 ? 0 : length;
}

/*
 * The NFIT driver adds the address of an uncorrected memory error to its region's list.
 * "sw" only calls the drivers: no machine check happens. The status is a memory error
 * for Intel and for AMD.
 */
static bool inject(uint64_t offset)
{
	static const char *const setting[][2] = {
		{ INJECT "flags", "sw\n" }, { INJECT "cpu", "0" },
		{ INJECT "status", "0xbd00080000080090" },
		{ INJECT "misc", "0x8c" },
	};
	size_t before = list_length();
	char addr[32];

	snprintf(addr, sizeof(addr), "0x%llx",
		 (unsigned long long)(device_number("resource") + offset));
	for (size_t i = 0; i < 4; i++)
		if (write_setting(setting[i][0], setting[i][1]))
			return false;
	if (write_setting(INJECT "addr", addr) || write_setting(INJECT "bank", "4"))
		return false;
	for (int ms = 0; ms < HANG_MS; ms += 20) {
		if (list_length() != before)
			return true;
		wait_a_little();
	}
	return false;
}

static void a_device_gets_the_badblocks_of_its_region(void **state)
{
	struct fixture *f = *state;
	uint64_t addr, bad[3], end;
	struct daxpin_pool_info info;

	f->options.segment_size = 64 * MIB;
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	create_pool(f);
	f->options.flags = 0;
	info = pool_info(f);
	if (info.bad_unknown || info.bad_bytes)
		skip_because("%s has no list of bad blocks, or one already",
			     device);
	addr = make_live(f);
	end = (info.segments - 1) * info.segment_size + 32 * MIB;
	close_pool(f);
	bad[0] = addr + 10 * BLOCK;
	bad[1] = info.segment_size + 2 * MIB;
	bad[2] = end - BLOCK;
	if (!inject(bad[0]))
		skip_because("no machine check can be injected here");
	assert_true(inject(bad[1]));
	assert_true(inject(bad[2]));
	check_known(f, addr, bad);
}

static void check_injected(struct fixture *f, uint64_t offset, const char *words)
{
	assert_true(inject(offset));
	f->errmsg[0] = '\0';
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), -EIO);
	assert_null(f->pool);
	assert_says(f, words);
}

/* Goes from the end of the pool to its beginning, since injected errors remain. */
static void device_with_bad_metadata_is_refused(void **state)
{
	struct fixture *f = *state;
	struct dp_badblocks badblocks;

	assert_int_equal(dp_badblocks_of_device(device_name(), &badblocks), 0);
	if (!badblocks.runs)
		skip_because("no machine check could be injected");
	dp_badblocks_fini(&badblocks);
	check_injected(f, 64 * MIB + DP_TABLE_OFFSET + 3 * BLOCK,
		       "segment 1: its descriptor table");
	assert_says(f, "offset 0xf3000;");
	check_injected(f, 64 * MIB + DP_PAGES_OFFSET, "its page bitmap");
	check_injected(f, 64 * MIB + DP_COPY_OFFSET, "superblock's copy");
	assert_true(inject(DP_LANES_END - 1));
	check_injected(f, 0, "superblock cannot be read");
	assert_says(f, "offset 0x0;");
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool),
			 -EIO);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool),
			 -EIO);
	assert_says(f, "offset 0x0");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int run_fsdax(void)
{
	const struct CMUnitTest tests[] = {
		TEST(known_bad_blocks_are_never_reserved),
		TEST(block_that_goes_bad_under_an_open_pool_is_eio),
		TEST(a_load_from_poison_is_sigbus_and_daxpin_read_is_eio),
		TEST(open_refuses_bad_metadata),
		TEST(degraded_open_survives_bad_metadata),
		TEST(create_refuses_bad_metadata),
		TEST(an_unavailable_list_is_reported_as_unknown),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	fstype = getenv("DAXPIN_TEST_FSTYPE");
	if (!directory || !fstype || !find_disk()) {
		printf("DAXPIN_TEST_FSDAX names no filesystem on a pmem disk\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

static int run_devdax(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_device_gets_the_badblocks_of_its_region),
		TEST(device_with_bad_metadata_is_refused),
	};

	device = getenv("DAXPIN_TEST_DAX");
	if (!device) {
		printf("DAXPIN_TEST_DAX is not set\n");
		return 77;
	}
	if (access(INJECT "status", F_OK) &&
	    mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL) &&
	    errno != EBUSY)
		perror("debugfs");
	if (access(INJECT "status", F_OK)) {
		printf("this kernel has no mce-inject\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	if (!getenv("DAXPIN_TEST_POISON")) {
		printf("DAXPIN_TEST_POISON is not set, so this must not mark blocks as bad\n");
		return 77;
	}
	if (argc == 2 && !strcmp(argv[1], "devdax"))
		return run_devdax();
	return run_fsdax();
}
