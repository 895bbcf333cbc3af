/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty shutdowns (W11): the counters that sysfs has for the NVDIMMs under a pool, and
 * what an open concludes from them. The pool is on shmem that looks like a DAX
 * filesystem, on a disk with a simulated place in sysfs.
 */
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include "logged.h"
#include "media.h"
#include "media/shutdowns.h"
#include "os/os.h"
#include "owner/barrier.h"

#ifndef MAP_SYNC
#define MAP_SYNC	0x80000
#endif

static struct {
	bool dax;
	bool partition;
	uint32_t nvdimms;
	struct {
		char id[32];
		const char *provider;
		uint64_t count;
	} nvdimm[2];
	const char *missing;		/* paths that contain it do not exist */
	const char *odd;		/* paths that contain it read as odd_text */
	const char *odd_text;
	bool denied;			/* these exist but cannot be read */
	const char *faked;		/* another filesystem is mounted over these */
} sys;

int __real_dp_os_filesystem(int fd, uint64_t *ret_magic);
int __wrap_dp_os_filesystem(int fd, uint64_t *ret_magic);
int __real_dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
		     void **ret_base);
int __wrap_dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
		     void **ret_base);
int __real_dp_os_read_file(const char *path, char *buffer, size_t size);
int __wrap_dp_os_read_file(const char *path, char *buffer, size_t size);
int __real_dp_os_is_genuine(const char *path, uint64_t magic);
int __wrap_dp_os_is_genuine(const char *path, uint64_t magic);
int __wrap_dp_os_is_dax(int fd);
int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg);
int __wrap_dp_barrier_pass(const struct dp_barrier *barrier,
			   struct dp_wait_policy *policy,
			   const struct dp_errmsg *errmsg);

int __wrap_dp_os_filesystem(int fd, uint64_t *ret_magic)
{
	int ret = __real_dp_os_filesystem(fd, ret_magic);

	if (sys.dax)
		*ret_magic = EXT4_SUPER_MAGIC;
	return ret;
}

int __wrap_dp_os_is_dax(int fd)
{
	(void)fd;
	return sys.dax;
}

int __wrap_dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
		     void **ret_base)
{
	if (flags & MAP_SYNC)
		flags = (flags & ~(MAP_SYNC | MAP_SHARED_VALIDATE)) |
			MAP_SHARED;
	return __real_dp_os_map(at, size, protection, flags, fd, ret_base);
}

int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg)
{
	return dp_os_seek_data(fd, 32 * MIB, fn, arg);
}

int __wrap_dp_barrier_pass(const struct dp_barrier *barrier,
			   struct dp_wait_policy *policy,
			   const struct dp_errmsg *errmsg)
{
	(void)barrier;
	(void)policy;
	(void)errmsg;
	return 0;
}

/* ---------------------------------------------------------- a simulated sysfs */

static int answer(char *buffer, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int answer(char *buffer, size_t size, const char *format, ...)
{
	va_list ap;
	int length;

	va_start(ap, format);
	length = vsnprintf(buffer, size, format, ap);
	va_end(ap);
	return length < (int)size ? length : (int)size - 1;
}

/* "mappings", "mapping1". */
static int read_region(const char *name, char *buffer, size_t size)
{
	unsigned int i;

	if (!strcmp(name, "mappings"))
		return answer(buffer, size, "%u\n", sys.nvdimms);
	if (sscanf(name, "mapping%u", &i) != 1 || i >= sys.nvdimms)
		return -ENOENT;
	return answer(buffer, size, "nmem%u,0,1073741824,%u\n", i, i);
}

/* "nmem0/nfit/id" */
static int read_nvdimm(const char *name, char *buffer, size_t size)
{
	char provider[16], attribute[32];
	unsigned int i;

	if (sscanf(name, "nmem%u/%15[a-z]/%31[a-z_]", &i, provider,
		   attribute) != 3 || i >= sys.nvdimms ||
	    strcmp(provider, sys.nvdimm[i].provider))
		return -ENOENT;
	if (!strcmp(attribute, "id"))
		return answer(buffer, size, "%s\n", sys.nvdimm[i].id);
	if (!strcmp(attribute, "dirty_shutdown"))
		return answer(buffer, size, "%" PRIu64 "\n",
			      sys.nvdimm[i].count);
	return -ENOENT;
}

/* Returns the text after that beginning, or NULL. */
static const char *behind(const char *path, const char *beginning)
{
	size_t length = strlen(beginning);

	return strncmp(path, beginning, length) ? NULL : path + length;
}

static int read_disk(const char *rest, char *buffer, size_t size)
{
	const char *device = sys.partition ? "/../device/../" : "/device/../";

	rest += strcspn(rest, "/");
	if (!strcmp(rest, "/start") && sys.partition)
		return answer(buffer, size, "2048\n");
	rest = behind(rest, device);
	return rest ? read_region(rest, buffer, size) : -ENOENT;
}

int __wrap_dp_os_read_file(const char *path, char *buffer, size_t size)
{
	const char *rest;

	if (!behind(path, "/sys/"))
		return __real_dp_os_read_file(path, buffer, size);
	if (sys.missing && strstr(path, sys.missing))
		return sys.denied ? -EACCES : -ENOENT;
	if (sys.odd && strstr(path, sys.odd))
		return answer(buffer, size, "%s\n", sys.odd_text);
	if ((rest = behind(path, "/sys/dev/block/")))
		return read_disk(rest, buffer, size);
	if ((rest = behind(path, "/sys/bus/dax/devices/dax0.0/../../")))
		return read_region(rest, buffer, size);
	if ((rest = behind(path, "/sys/bus/nd/devices/")))
		return read_nvdimm(rest, buffer, size);
	return -ENOENT;
}

int __wrap_dp_os_is_genuine(const char *path, uint64_t magic)
{
	if (!behind(path, "/sys/"))
		return __real_dp_os_is_genuine(path, magic);
	assert_int_equal(magic, SYSFS_MAGIC);
	return !sys.faked || !strstr(path, sys.faked);
}

/* ---------------------------------------------------------------- fixtures */

static void two_nvdimms(void)
{
	memset(&sys, 0, sizeof(sys));
	sys.dax = true;
	sys.nvdimms = 2;
	strcpy(sys.nvdimm[0].id, "8089-a2-1839-00001234");
	strcpy(sys.nvdimm[1].id, "8089-a2-1839-00005678");
	sys.nvdimm[0].provider = sys.nvdimm[1].provider = "nfit";
	sys.nvdimm[0].count = 3;
	sys.nvdimm[1].count = 4;
}

static int shutdowns_setup(void **state)
{
	struct fixture *f;

	two_nvdimms();
	if (fixture_make(state, 96 * MIB))
		return -1;
	f = *state;
	f->options.granularity = DAXPIN_GRANULARITY_AUTO;
	create_pool(f);
	close_pool(f);
	return 0;
}

static void leave_open(struct fixture *f)
{
	struct child child = start_child(f, child_opens, NULL);

	assert_int_equal(child.result, 0);
	kill_child(&child);
}

static void lose_power(void)
{
	sys.nvdimm[1].count++;
}

/* Returns what an open reports, and closes the pool. */
static uint32_t dirty_at_open(struct fixture *f)
{
	uint32_t dirty;

	open_pool(f);
	dirty = pool_info(f).dirty_shutdown;
	close_pool(f);
	return dirty;
}

/* Returns what a read-only open reports, which changes nothing, and closes the pool. */
static uint32_t dirty_at_look(struct fixture *f)
{
	uint32_t dirty;

	f->options.flags = DAXPIN_POOL_READONLY | DAXPIN_POOL_DEGRADED;
	dirty = dirty_at_open(f);
	f->options.flags = 0;
	return dirty;
}

/* Runs a check and returns what it reports. */
static unsigned int notes(struct fixture *f)
{
	return count_notes(f, "NVDIMM 2 of the 2 in their region counts 5 dirty shutdowns, 4 when");
}

/* The open is refused and changes nothing. */
static void assert_not_flushed(struct fixture *f, int error, const char *words)
{
	f->options.flags = DAXPIN_POOL_NEED_FLUSHED;
	assert_open_fails(f, error, words);
	f->options.flags = 0;
}

static void assert_flushed(struct fixture *f)
{
	f->options.flags = DAXPIN_POOL_NEED_FLUSHED;
	assert_int_equal(dirty_at_open(f), DAXPIN_NO);
	f->options.flags = 0;
}

static void assert_recorded(struct fixture *f, uint64_t first, uint64_t second)
{
	struct dp_super super = read_super(f, 0);

	assert_int_equal(super.dirty_shutdowns[0], first);
	assert_int_equal(super.dirty_shutdowns[1], second);
	for (uint32_t i = 2; i < DP_NVDIMMS_MAX; i++)
		assert_int_equal(super.dirty_shutdowns[i], 0);
}

/* ------------------------------------------------------------------- tests */

static void create_and_open_record_the_shutdown_count(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	assert_true(super.nvdimms);
	assert_recorded(f, 3, 4);
	assert_false(read_super(f, 1).nvdimms);
	lose_power();
	assert_flushed(f);		/* the close was clean */
	assert_recorded(f, 3, 5);
}

static void a_killed_owner_is_not_a_dirty_shutdown(void **state)
{
	struct fixture *f = *state;

	leave_open(f);
	assert_int_equal(dirty_at_look(f), DAXPIN_NO);
	assert_flushed(f);
}

static void a_power_failure_while_open_is_reported(void **state)
{
	struct fixture *f = *state;

	leave_open(f);
	lose_power();
	assert_not_flushed(f, -EUCLEAN,
			   "counts 5 dirty shutdowns, 4 when the pool was opened");
	assert_int_equal(dirty_at_look(f), DAXPIN_YES);
	assert_int_equal(notes(f), 1);
	log_lines(f);
	assert_int_equal(dirty_at_open(f), DAXPIN_YES);
	assert_logged(f, "power failed while it was open");
	assert_logged(f, "NVDIMM 2 of the 2 in their region counts 5 dirty shutdowns, 4 when the pool was opened");
	assert_int_equal(notes(f), 0);
	log_lines(f);
	assert_flushed(f);		/* after a clean close */
	assert_int_equal(count_logged("power failed"), 0);
}

/*
 * Between a close and an open no write is in flight, so a power failure loses nothing.
 */
static void a_power_failure_while_closed_is_not_reported(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		lose_power();
		log_lines(f);
		assert_flushed(f);
		assert_int_equal(count_logged("power failed"), 0);
		assert_int_equal(notes(f), 0);
	}
	leave_open(f);			/* recorded as 7 from now on */
	assert_flushed(f);
	leave_open(f);
	lose_power();
	assert_not_flushed(f, -EUCLEAN,
			   "counts 8 dirty shutdowns, 7 when the pool was opened");
}

/* The count of one NVDIMM restarts; its largest value is an ordinary one. */
static void a_count_that_decreased_is_unknown(void **state)
{
	struct fixture *f = *state;

	sys.nvdimm[1].count = UINT64_MAX;
	assert_flushed(f);
	leave_open(f);
	assert_flushed(f);
	leave_open(f);
	sys.nvdimm[1].count = 0;
	assert_not_flushed(f, -EUCLEAN,
			   "counts 0 dirty shutdowns, 18446744073709551615 when");
	assert_int_equal(dirty_at_look(f), DAXPIN_UNKNOWN);
	log_lines(f);
	assert_int_equal(dirty_at_open(f), DAXPIN_UNKNOWN);
	assert_logged(f, "had reached its NVDIMMs: NVDIMM 2 of the 2 in their region counts 0 dirty shutdowns, 18446744073709551615 when");
}

/* The sum of the counts stays the same. */
static void a_count_that_was_reset_does_not_hide_another(void **state)
{
	struct fixture *f = *state;

	for (int grown = 0; grown < 2; grown++) {
		leave_open(f);
		sys.nvdimm[grown].count += 2;
		sys.nvdimm[1 - grown].count -= 2;
		assert_int_equal(dirty_at_look(f), DAXPIN_YES);
		assert_not_flushed(f, -EUCLEAN, grown ?
				   "NVDIMM 2 of the 2 in their region counts 4 dirty shutdowns, 2 when" :
				   "NVDIMM 1 of the 2 in their region counts 5 dirty shutdowns, 3 when");
		assert_int_equal(dirty_at_open(f), DAXPIN_YES);
		assert_flushed(f);
	}
	leave_open(f);
	sys.nvdimm[0].count--;
	sys.nvdimm[1].count--;
	assert_not_flushed(f, -EUCLEAN,
			   "was reset since it was opened (NVDIMM 1 of the 2");
	assert_int_equal(dirty_at_open(f), DAXPIN_UNKNOWN);
}

/*
 * The counters change while the pool is open: another kernel, a container, other
 * NVDIMMs.
 */
static void a_count_that_appears_or_disappears_is_unknown(void **state)
{
	struct fixture *f = *state;

	leave_open(f);
	sys.missing = "dirty_shutdown";
	assert_not_flushed(f, -EOPNOTSUPP, "because sysfs does not show");
	log_lines(f);
	assert_int_equal(dirty_at_open(f), DAXPIN_UNKNOWN);
	assert_logged(f, "their count of dirty shutdowns is not seen in sysfs any more");
	log_lines(f);
	leave_open(f);			/* and is not recorded */
	sys.missing = NULL;
	assert_not_flushed(f, -EUCLEAN, "has no record of the earlier count");
	assert_int_equal(dirty_at_open(f), DAXPIN_UNKNOWN);
	assert_int_equal(count_logged("told"), 0);	/* it was never known */
	assert_flushed(f);
}

static void a_second_crash_does_not_hide_a_dirty_shutdown(void **state)
{
	struct fixture *f = *state;

	leave_open(f);
	lose_power();
	leave_open(f);
	leave_open(f);
	assert_not_flushed(f, -EUCLEAN, "4 when the pool was opened");
	assert_int_equal(dirty_at_open(f), DAXPIN_YES);
}

static void an_open_without_a_count_does_not_hide_a_dirty_shutdown(void **state)
{
	struct fixture *f = *state;

	leave_open(f);
	lose_power();
	sys.missing = "nmem1";
	assert_int_equal(dirty_at_look(f), DAXPIN_UNKNOWN);
	leave_open(f);
	sys.missing = NULL;
	assert_int_equal(dirty_at_look(f), DAXPIN_YES);
}

/*
 * Whatever is missing, an open does not know the count, and neither does a create,
 * which then records none.
 */
static void a_missing_counter_makes_the_count_unknown(void **state)
{
	static const char *const missing[] = {
		"/mappings", "/mapping1", "nmem0/nfit/id", "nmem1/nfit/id",
		"nmem0/nfit/dirty", "nmem1/nfit/dirty", "/sys/",
	};
	static const char *const odd[] = { "/mappings", "dirty_shutdown" };
	static const char *const text[] = {
		"-1", "", "7 shutdowns", "18446744073709551616", "unknown",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		sys.missing = missing[i];
		assert_not_flushed(f, -EOPNOTSUPP, "because sysfs does not show");
		assert_int_equal(dirty_at_look(f), DAXPIN_UNKNOWN);
		sys.denied = !sys.denied;
	}
	sys.missing = NULL;
	for (size_t i = 0; i < 2 * sizeof(text) / sizeof(text[0]); i++) {
		sys.odd = odd[i % 2];
		sys.odd_text = text[i / 2];
		assert_not_flushed(f, -EOPNOTSUPP, "because sysfs does not show");
	}
	sys.odd = NULL;
	sys.nvdimms = 0;		/* the region is not one of NVDIMMs */
	assert_not_flushed(f, -EOPNOTSUPP, "because sysfs does not show");
	assert_int_equal(dirty_at_open(f), DAXPIN_UNKNOWN);
	assert_false(read_super(f, 0).nvdimms);
}

/* A container, or its administrator, can mount over sysfs. */
static void a_filesystem_mounted_over_sysfs_is_not_trusted(void **state)
{
	static const char *const faked[] = {
		"/mappings", "/mapping0", "nmem0/nfit/id", "nmem1/nfit/dirty",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(faked) / sizeof(faked[0]); i++) {
		sys.faked = faked[i];
		assert_not_flushed(f, -EOPNOTSUPP, "because sysfs does not show");
	}
}

static void a_create_that_needs_a_shutdown_count_is_refused_without_one(void **state)
{
	struct fixture *f = *state;
	uint64_t before = fingerprint(f->path);

	sys.missing = "dirty_shutdown";
	f->options.flags = DAXPIN_POOL_NEED_FLUSHED | DAXPIN_POOL_OVERWRITE;
	assert_create_fails(f, -EOPNOTSUPP, "because sysfs does not show");
	assert_true(fingerprint(f->path) == before);
	sys.missing = NULL;
	create_pool(f);
	assert_int_equal(pool_info(f).dirty_shutdown, DAXPIN_NO);
}

static void counts_of_other_nvdimms_are_not_compared(void **state)
{
	struct fixture *f = *state;

	leave_open(f);
	sys.nvdimm[1].id[0]++;
	assert_not_flushed(f, -EUCLEAN, "has no record of the earlier count");
	assert_int_equal(dirty_at_look(f), DAXPIN_UNKNOWN);
	leave_open(f);			/* must not record these NVDIMMs */
	assert_int_equal(dirty_at_look(f), DAXPIN_UNKNOWN);
	sys.nvdimm[1].id[0]--;
	assert_int_equal(dirty_at_look(f), DAXPIN_NO);
	sys.nvdimm[1].count--;		/* a count never decreases */
	assert_not_flushed(f, -EUCLEAN, "was reset since it was opened");
	assert_int_equal(dirty_at_open(f), DAXPIN_UNKNOWN);
	assert_flushed(f);
}

static void a_pool_without_a_recorded_count_is_unknown(void **state)
{
	struct fixture *f = *state;

	sys.missing = "dirty_shutdown";
	leave_open(f);
	sys.missing = NULL;
	assert_not_flushed(f, -EUCLEAN, "has no record of the earlier count");
	assert_int_equal(dirty_at_open(f), DAXPIN_UNKNOWN);
	assert_flushed(f);
}

static void the_region_of_a_partition_or_device_is_found(void **state)
{
	struct dp_shutdowns device, cxl;
	struct fixture *f = *state;

	device = dp_shutdowns_of_device("dax0.0");
	assert_true(device.nvdimms == read_super(f, 0).nvdimms);
	assert_int_equal(device.mappings, 2);
	assert_int_equal(device.count[0], 3);
	assert_int_equal(device.count[1], 4);
	assert_false(dp_shutdowns_of_device("dax1.0").nvdimms);
	sys.nvdimm[0].provider = "cxl";
	cxl = dp_shutdowns_of_device("dax0.0");
	assert_true(cxl.nvdimms == device.nvdimms);
	assert_memory_equal(&cxl.count, &device.count, sizeof(cxl.count));
	sys.nvdimm[0].provider = "papr";
	assert_false(dp_shutdowns_of_device("dax0.0").nvdimms);
	two_nvdimms();
	sys.partition = true;
	assert_flushed(f);
	assert_recorded(f, 3, 4);
}

/* Without DAX, a power failure does not lose what the disk reported as written. */
static void without_dax_no_dirty_shutdown_is_reported(void **state)
{
	struct fixture *f = *state;

	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.granularity = DAXPIN_GRANULARITY_CACHE_LINE;
	memset(&sys, 0, sizeof(sys));
	create_pool(f);
	close_pool(f);
	f->options.flags = 0;
	leave_open(f);
	assert_flushed(f);
	assert_false(read_super(f, 0).nvdimms);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, shutdowns_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(create_and_open_record_the_shutdown_count),
		TEST(a_killed_owner_is_not_a_dirty_shutdown),
		TEST(a_power_failure_while_open_is_reported),
		TEST(a_power_failure_while_closed_is_not_reported),
		TEST(a_count_that_decreased_is_unknown),
		TEST(a_count_that_was_reset_does_not_hide_another),
		TEST(a_count_that_appears_or_disappears_is_unknown),
		TEST(a_second_crash_does_not_hide_a_dirty_shutdown),
		TEST(an_open_without_a_count_does_not_hide_a_dirty_shutdown),
		TEST(a_missing_counter_makes_the_count_unknown),
		TEST(a_filesystem_mounted_over_sysfs_is_not_trusted),
		TEST(a_create_that_needs_a_shutdown_count_is_refused_without_one),
		TEST(counts_of_other_nvdimms_are_not_compared),
		TEST(a_pool_without_a_recorded_count_is_unknown),
		TEST(the_region_of_a_partition_or_device_is_found),
		TEST(without_dax_no_dirty_shutdown_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
