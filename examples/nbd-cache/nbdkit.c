/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nbdkit plugin: parameters, and nbdkit's calls as calls of the cache.
 * nbdkit-daxpin-plugin(1) is its manual.
 */
#include "control.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#define REQUEST_MAX	(32u << 20)

/* Parameters that are numbers. */
enum { SIZE, POOL_SIZE, BLOCK, LOW, HIGH, LIMIT, WAIT, NUMBERS };

static struct number {
	const char *name;
	int64_t min, max, value;
} numbers[NUMBERS] = {
	[SIZE] = { "size", 1, INT64_MAX, 0 },
	[POOL_SIZE] = { "pool-size", 1, INT64_MAX, 0 },
	[BLOCK] = { "block", CACHE_BLOCK_MIN, CACHE_BLOCK_MAX, 0 },
	[LOW] = { "low", 0, 100, 45 },
	[HIGH] = { "high", 0, 100, 50 },
	[LIMIT] = { "limit", 1, 100, 0 },
	[WAIT] = { "wait", 0, UINT32_MAX / 1000, 10 },
};
static char *pool, *disk, *control;
static struct cache_options options;
static struct cache *cache;

/* -------------------------------------------------------------------- parameters */

static int parse_number(struct number *number, const char *value)
{
	int64_t parsed = nbdkit_parse_size(value);

	if (parsed < number->min || parsed > number->max) {
		nbdkit_error("%s=%s must be a number from %" PRId64 " to %" PRId64,
			     number->name, value, number->min, number->max);
		return -1;
	}
	number->value = parsed;
	return 0;
}

static int parse_yes(const char *key, const char *value, bool *ret_yes)
{
	int yes = nbdkit_parse_bool(value);

	if (yes < 0)
		nbdkit_error("%s=%s must be 1 or 0", key, value);
	*ret_yes = yes > 0;
	return yes < 0 ? -1 : 0;
}

static int parse_path(const char *value, char **path)
{
	free(*path);
	*path = nbdkit_absolute_path(value);
	return *path ? 0 : -1;
}

static int config(const char *key, const char *value)
{
	if (!*value) {
		nbdkit_error("%s= is empty: give a value, or leave it out", key);
		return -1;
	}
	for (struct number *number = numbers; number < numbers + NUMBERS; number++)
		if (!strcmp(key, number->name))
			return parse_number(number, value);
	if (!strcmp(key, "pool"))
		return parse_path(value, &pool);
	if (!strcmp(key, "disk"))
		return parse_path(value, &disk);
	if (!strcmp(key, "control"))
		return parse_path(value, &control);
	if (!strcmp(key, "accept-disk"))
		return parse_yes(key, value, &options.accept_disk);
	if (!strcmp(key, "degraded"))
		return parse_yes(key, value, &options.degraded);
	nbdkit_error("unknown parameter '%s'; nbdkit --help PLUGIN lists them", key);
	return -1;
}

static int config_complete(void)
{
	int64_t block = numbers[BLOCK].value;
	int64_t low = numbers[LOW].value, high = numbers[HIGH].value;

	if (!pool)
		nbdkit_error("pool=PATH is missing: a directory on a DAX filesystem or tmpfs, or a device-dax node");
	else if (block & (block - 1))
		nbdkit_error("block=%" PRId64 " must be a power of two", block);
	else if (low > high)
		nbdkit_error("low=%" PRId64 " must not be above high=%" PRId64, low,
			     high);
	if (!pool || block & (block - 1) || low > high)
		return -1;
	options.pool = pool;
	options.disk = disk;
	options.size = numbers[SIZE].value;
	options.pool_size = numbers[POOL_SIZE].value;
	options.block = block;
	options.low = low;
	options.high = high;
	options.limit = numbers[LIMIT].value;
	options.wait_ms = numbers[WAIT].value * 1000;
	return 0;
}

/* ---------------------------------------------------------------- begin and end */

static void say(const char *message)
{
	nbdkit_error("%s", message);
}

/* The pool's lock and the cache's thread belong to the process that serves. */
static int after_fork(void)
{
	char errmsg[512] = "";
	int ret;

	options.log = say;
	options.errmsg = errmsg;
	options.errmsg_size = sizeof(errmsg);
	ret = cache_open(&options, &cache);
	if (ret) {
		nbdkit_error("%s: %s", strerror(-ret), errmsg[0] ? errmsg : pool);
		return -1;
	}
	ret = control ? control_start(cache, control) : 0;
	if (ret)
		nbdkit_error("control=%s: %s", control, control_reason(ret));
	return ret ? -1 : 0;
}

static void unload(void)
{
	int ret;

	control_stop();
	ret = cache ? cache_close(cache) : 0;
	if (ret)
		nbdkit_error("the pool %s was not closed: %s", pool, strerror(-ret));
	free(pool);
	free(disk);
	free(control);
}

static void dump_plugin(void)
{
	printf("daxpin_cache_block_min=%u\n", CACHE_BLOCK_MIN);
	printf("daxpin_cache_block_max=%u\n", CACHE_BLOCK_MAX);
	printf("daxpin_cache_block_default=%u\n", CACHE_BLOCK_DEFAULT);
}

/* -------------------------------------------------------------------- connections */

static void *open_connection(int readonly)
{
	(void)readonly;
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t get_size(void *handle)
{
	(void)handle;
	return cache_size(cache);
}

static int block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
		      uint32_t *maximum)
{
	(void)handle;
	*minimum = 1;
	*preferred = cache_block(cache);
	*maximum = REQUEST_MAX;
	return 0;
}

static int yes(void *handle)
{
	(void)handle;
	return 1;
}

static int native_fua(void *handle)
{
	(void)handle;
	return NBDKIT_FUA_NATIVE;
}

/* ----------------------------------------------------------------------- requests */

/* Few errnos cross the wire. */
static int answer(const char *what, int ret)
{
	if (!ret)
		return 0;
	nbdkit_error("%s: %s", what, ret == -ENOSPC ? "the pool is full" :
		     strerror(-ret));
	nbdkit_set_error(ret == -ENOSPC ? ENOSPC : EIO);
	return -1;
}

static int do_pread(void *handle, void *buf, uint32_t count, uint64_t offset,
		    uint32_t flags)
{
	(void)handle;
	(void)flags;
	return answer("read", cache_read(cache, buf, count, offset));
}

static int do_pwrite(void *handle, const void *buf, uint32_t count,
		     uint64_t offset, uint32_t flags)
{
	(void)handle;
	(void)flags;
	return answer("write", cache_write(cache, buf, count, offset));
}

static int do_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)handle;
	(void)flags;
	return answer("zero", cache_zero(cache, count, offset));
}

static int do_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)handle;
	(void)flags;
	return answer("trim", cache_trim(cache, count, offset));
}

/* Everything that was answered is durable. */
static int do_flush(void *handle, uint32_t flags)
{
	(void)handle;
	(void)flags;
	return 0;
}

static int do_extents(void *handle, uint32_t count, uint64_t offset,
		      uint32_t flags, struct nbdkit_extents *extents)
{
	uint64_t end = offset + count, block = cache_block(cache), next;

	(void)handle;
	(void)flags;
	for (; offset < end; offset = next) {
		uint32_t type = cache_is_zero(cache, offset) ?
				NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0;

		next = (offset / block + 1) * block;
		if (next > cache_size(cache))
			next = cache_size(cache);
		if (nbdkit_add_extent(extents, offset, next - offset, type))
			return -1;
	}
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "daxpin",
	.longname = "daxpin cache",
	.version = DAXPIN_VERSION,
	.description = "a crash-safe write-back cache in a daxpin pool, in front of a disk",
	.magic_config_key = "pool",
	.config = config,
	.config_complete = config_complete,
	.config_help =
		"pool=PATH      (required) a directory, or a device-dax node\n"
		"disk=PATH      the disk behind the cache; without it the volume is in\n"
		"               the pool alone\n"
		"size=SIZE      of a new volume without a disk\n"
		"pool-size=SIZE create the pool if there is none\n"
		"block=SIZE     of a new cache: 4K to 1M, a power of two (default 64K)\n"
		"low=PERCENT    write-back ends if less of the pool is dirty (45)\n"
		"high=PERCENT   write-back begins if more of the pool is dirty (50)\n"
		"limit=PERCENT  use that much of the pool, give back the rest (100)\n"
		"control=PATH   a Unix socket that takes: stats, limit PERCENT\n"
		"wait=SECONDS   for the last owner of pool and disk (10)\n"
		"accept-disk=1  the disk has the same contents, but another identity\n"
		"degraded=1     use what is intact in a damaged pool",
	.dump_plugin = dump_plugin,
	.after_fork = after_fork,
	.unload = unload,
	.open = open_connection,
	.get_size = get_size,
	.block_size = block_size,
	.can_multi_conn = yes,
	.can_fua = native_fua,
	.pread = do_pread,
	.pwrite = do_pwrite,
	.zero = do_zero,
	.trim = do_trim,
	.flush = do_flush,
	.extents = do_extents,
};

/* nbdkit finds it by name, and its header does not declare it. */
struct nbdkit_plugin *plugin_init(void);

NBDKIT_REGISTER_PLUGIN(plugin)
