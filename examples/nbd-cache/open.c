/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening, making and closing a cache. The root "nbd-cache" names the header's extent,
 * the header names the extents of the index. One publish makes all of them live, and
 * then only words of the index change.
 */
#include "engine.h"
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#define ROOT		"nbd-cache"
#define MAGIC		0x6568636163646264ull
#define VERSION		1u
#define READ_WORDS	8192u
#define NO_DISK		"no disk"
#define LIMIT_MS		10000u		/* for the limit, at the open */
#define fail(o, ...)	cache_fail((o)->options, __VA_ARGS__)

struct header {
	uint64_t magic;
	uint32_t version, block;
	uint64_t size;			/* of the volume: with a disk, the disk's */
	uint32_t index_count, reserved;
	char disk[256];			/* disk_open() */
	uint64_t unused;		/* older caches have an address here */
	uint64_t index[INDEX_EXTENTS];	/* pool addresses */
};

/* What cache_open() was given and has found. */
struct opening {
	const struct cache_options *options;
	struct cache *cache;
	char disk[256];
	uint64_t size, deadline_ns;
};

void cache_say(struct cache *cache, const char *format, ...)
{
	char message[512];
	va_list list;

	va_start(list, format);
	vsnprintf(message, sizeof(message), format, list);
	va_end(list);
	cache->log(message);
}

int cache_fail(const struct cache_options *options, int error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	if (options->errmsg)
		vsnprintf(options->errmsg, options->errmsg_size, format, list);
	va_end(list);
	return error;
}

/* In a message an option is `%soption=VALUE`, and one without a value `%soption%s`. */
static const char *dashes(const struct opening *o)
{
	return o->options->dashes ? "--" : "";
}

static const char *is_one(const struct opening *o)
{
	return o->options->dashes ? "" : "=1";
}

/* --------------------------------------------------------------------- the header */

static bool is_block(uint32_t block)
{
	return block >= CACHE_BLOCK_MIN && block <= CACHE_BLOCK_MAX &&
	       !(block & (block - 1));
}

static int check_header(const struct opening *o, const struct header *header)
{
	const char *disk = o->options->disk;
	uint32_t block = o->options->block;

	if (header->magic != MAGIC)
		return fail(o, -EMEDIUMTYPE, "the root %s of %s is not of a cache",
			    ROOT, o->options->pool);
	if (header->version != VERSION)
		return fail(o, -EPROTONOSUPPORT, "the cache in %s has version %u, this program knows %u",
			    o->options->pool, header->version, VERSION);
	if (disk && !strcmp(header->disk, NO_DISK))
		return fail(o, -EMEDIUMTYPE, "the cache in %s was made without a disk, and the disk %s was given; leave %sdisk out, or give another pool",
			    o->options->pool, disk, dashes(o));
	if (!disk && strcmp(header->disk, NO_DISK))
		return fail(o, -EMEDIUMTYPE, "the cache in %s was made for a disk, %.255s, and no disk was given; give that disk (%sdisk=PATH), or another pool",
			    o->options->pool, header->disk, dashes(o));
	if (o->size && header->size != o->size)
		return fail(o, -EMEDIUMTYPE, "the cache in %s is of %" PRIu64 " bytes, and not of %" PRIu64 "; %s, or make a new cache in another pool",
			    o->options->pool, header->size, o->size,
			    disk ? "restore that size" : "give that size, or none");
	if (!o->options->accept_disk && strncmp(header->disk, o->disk, sizeof(o->disk)))
		return fail(o, -EMEDIUMTYPE, "the cache in %s is of another disk: it was made for %.255s, and %s is %s; give the right disk, or, if this has the same contents, %saccept-disk%s",
			    o->options->pool, header->disk, disk, o->disk,
			    dashes(o), is_one(o));
	if (block && header->block != block)
		return fail(o, -EMEDIUMTYPE, "the cache in %s has blocks of %u bytes, and not of %u; leave %sblock out",
			    o->options->pool, header->block, block, dashes(o));
	if (header->block < o->cache->align)
		return fail(o, -EMEDIUMTYPE, "the cache in %s has blocks of %u bytes, smaller than the logical blocks of %s, %u; give a disk with smaller ones, or make a new cache in another pool",
			    o->options->pool, header->block, disk, o->cache->align);
	if (!is_block(header->block) || !header->size ||
	    header->index_count > INDEX_EXTENTS)
		return fail(o, -EUCLEAN, "the header of the cache in %s is damaged",
			    o->options->pool);
	return 0;
}

static uint64_t index_bytes(const struct cache *cache, uint32_t i)
{
	return least(INDEX_WORDS, cache->blocks - (uint64_t)i * INDEX_WORDS) * 8;
}

static int set_size(struct opening *o, uint64_t size, uint32_t block)
{
	struct cache *cache = o->cache;
	uint64_t most = (uint64_t)INDEX_EXTENTS * INDEX_WORDS * block;

	if (!is_block(block))
		return fail(o, -EINVAL, "block %u must be a power of two from %u to %u",
			    block, CACHE_BLOCK_MIN, CACHE_BLOCK_MAX);
	if (!size)
		return fail(o, -EINVAL, "%s has no cache yet, and a new one without a disk needs a size: give %ssize=SIZE or %sdisk=PATH",
			    o->options->pool, dashes(o), dashes(o));
	if (size > most)
		return fail(o, -EINVAL, "size %" PRIu64 " is above %" PRIu64 ", the most with blocks of %u bytes; use larger blocks",
			    size, most, block);
	cache->size = size;
	cache->block = block;
	cache->blocks = (size + block - 1) / block;
	cache->index_count = (cache->blocks + INDEX_WORDS - 1) / INDEX_WORDS;
	return 0;
}

static int set_new_size(struct opening *o)
{
	uint32_t block = o->options->block ? : CACHE_BLOCK_DEFAULT;

	if (block < o->cache->align)
		return fail(o, -EINVAL, "block %u is smaller than the logical blocks of %s, %u bytes; give a block of at least that",
			    block, o->options->disk, o->cache->align);
	return set_size(o, o->size, block);
}

static void write_header(const struct opening *o, struct header *header)
{
	const struct cache *cache = o->cache;

	*header = (struct header){
		.magic = MAGIC, .version = VERSION, .block = cache->block,
		.size = cache->size, .index_count = cache->index_count,
	};
	strcpy(header->disk, o->disk);
	for (uint32_t i = 0; i < cache->index_count; i++)
		header->index[i] = cache->index[i].addr;
}

static int reserve_zero(struct cache *cache, uint64_t size, struct daxpin_op *keep)
{
	keep->type = DAXPIN_OP_KEEP;
	return daxpin_reserve(cache->pool, size, DAXPIN_RESERVE_ZERO, &keep->extent);
}

/* A failure leaves extents that are only reserved; the close of the pool frees them. */
static int make_index(struct opening *o)
{
	struct daxpin_op ops[INDEX_EXTENTS + 2] = { { 0 } };
	struct cache *cache = o->cache;
	uint32_t count = cache->index_count;
	int ret = reserve_zero(cache, sizeof(struct header), &ops[count]);

	for (uint32_t i = 0; !ret && i < count; i++)
		ret = reserve_zero(cache, index_bytes(cache, i), &ops[i]);
	if (ret)
		return fail(o, ret, "%s has no space for the index of %" PRIu64 " blocks of %u bytes: %s; give a larger pool or a larger block",
			    o->options->pool, cache->blocks, cache->block,
			    daxpin_strerror(ret));
	for (uint32_t i = 0; i < count; i++)
		cache->index[i] = ops[i].extent;
	write_header(o, daxpin_ptr(cache->pool, ops[count].extent, 0));
	ops[count + 1] = (struct daxpin_op){
		.type = DAXPIN_OP_ROOT, .name = ROOT, .extent = ops[count].extent,
	};
	return daxpin_publish(cache->pool, ops, count + 2, NULL, NULL);
}

/* Records the identity that the disk has now. */
static int record_disk(struct opening *o, struct daxpin_extent root)
{
	struct daxpin_op ops[sizeof(o->disk) / 8];

	for (uint32_t i = 0; i < sizeof(o->disk) / 8; i++) {
		ops[i] = (struct daxpin_op){
			.type = DAXPIN_OP_SET, .extent = root,
			.offset = offsetof(struct header, disk) + i * 8,
		};
		memcpy(&ops[i].value, o->disk + i * 8, 8);
	}
	cache_say(o->cache, "from now on the cache is of another disk: %s", o->disk);
	return daxpin_publish(o->cache->pool, ops, sizeof(o->disk) / 8, NULL, NULL);
}

/* Reads the header or the index through the library, because a load from bad memory is
 * a signal. */
static int read_meta(struct opening *o, struct daxpin_extent extent, uint64_t offset,
		     uint64_t size, void *to)
{
	int ret = daxpin_read(o->cache->pool, extent, offset, size, to);

	if (ret == -EIO)
		return fail(o, ret, "the pool's memory of the index of the cache in %s is bad; what is dirty is lost, so make a new cache in another pool",
			    o->options->pool);
	return ret;
}

static int index_missing(const struct opening *o)
{
	return fail(o, -EUCLEAN, "a part of the index of the cache in %s is missing; what is dirty is lost, so make a new cache in another pool",
		    o->options->pool);
}

static int find_index(struct opening *o, struct daxpin_extent root)
{
	struct cache *cache = o->cache;
	struct header header;
	int ret = read_meta(o, root, 0, sizeof(header), &header);

	if (!ret)
		ret = check_header(o, &header);
	if (!ret)
		ret = set_size(o, header.size, header.block);
	if (ret)
		return ret;
	for (uint32_t i = 0; !ret && i < header.index_count; i++)
		ret = daxpin_extent_at(cache->pool, header.index[i],
				       &cache->index[i]);
	if (ret || header.index_count != cache->index_count)
		return index_missing(o);
	if (strncmp(header.disk, o->disk, sizeof(o->disk)))
		ret = record_disk(o, root);
	return ret;
}

/* ----------------------------------------------------------------------- the words */

static bool names_block(struct cache *cache, uint64_t word)
{
	struct daxpin_extent extent;
	uint64_t size = 0;

	return !(word & WORD_ADDR) ||
	       (!daxpin_extent_at(cache->pool, word & WORD_ADDR, &extent) &&
		!daxpin_size(cache->pool, extent, &size) && size == cache->block);
}

/* In a damaged pool the extent can be missing. What is clean is on the disk. */
static int load_word(struct opening *o, uint64_t block, uint64_t word)
{
	struct change change = { .block = block, .word = word };
	struct cache *cache = o->cache;

	if (names_block(cache, word)) {
		cache->extents += !!(word & WORD_ADDR);
		back_changed(cache, &change, 1);
		return 0;
	}
	if (!o->options->degraded)
		return fail(o, -EUCLEAN, "the cache in %s is damaged: block %" PRIu64 " has the word 0x%" PRIx64 ", which names no extent of a block; %sdegraded%s uses the rest",
			    o->options->pool, block, word, dashes(o), is_one(o));
	change.word = word & WORD_DIRTY || cache->disk < 0 ? WORD_LOST : 0;
	return cache_exchange(cache, &change, 1);
}

static int load_words(struct opening *o)
{
	struct cache *cache = o->cache;
	uint64_t words[READ_WORDS];
	int ret = 0;

	for (uint64_t at = 0; !ret && at < cache->blocks; at += READ_WORDS) {
		uint64_t count = least(READ_WORDS, cache->blocks - at);

		ret = read_meta(o, cache->index[at / INDEX_WORDS],
				at % INDEX_WORDS * 8, count * 8, words);
		for (uint64_t i = 0; !ret && i < count; i++)
			if (words[i])
				ret = load_word(o, at + i, words[i]);
	}
	return ret;
}

/* Called before a missing cache is made. */
static int check_id(struct opening *o)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct cache *cache = o->cache;
	int ret = daxpin_pool_info(cache->pool, &info);

	if (ret)
		return ret;
	memcpy(&cache->id, info.uuid, sizeof(cache->id));
	if (!o->options->id || o->options->id == cache->id)
		return 0;
	return fail(o, -EMEDIUMTYPE, "%s is another pool: it has the id %016" PRIx64 ", and not %016" PRIx64,
		    o->options->pool, cache->id, o->options->id);
}

static int refuse_root(struct daxpin_pool *pool, const char *name,
		       struct daxpin_extent extent, void *o)
{
	(void)pool;
	(void)extent;
	return fail((struct opening *)o, -EMEDIUMTYPE, "%s has the root \"%s\" of another program, and the cache would take its space; give another pool",
		    ((struct opening *)o)->options->pool, name);
}

static int root_missing(const struct opening *o, uint64_t addr)
{
	return fail(o, -EUCLEAN, "%s has data, the first at 0x%" PRIx64 ", but no root \"%s\": they are another program's, or of a cache whose root is damaged or was removed by a repair, and then its dirty blocks are not on the disk; the data were not changed: make a new cache in another pool",
		    o->options->pool, addr, ROOT);
}

static int refuse_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
			 uint64_t size, void *o)
{
	(void)pool;
	(void)size;
	return root_missing(o, extent.addr);
}

static int refuse_object(struct daxpin_pool *pool, uint64_t addr, uint64_t size,
			 void *o)
{
	(void)pool;
	(void)size;
	return root_missing(o, addr);
}

/*
 * That there is no root does not mean that there was no cache: its slot can be damaged,
 * which a degraded open skips, or a repair has cleared it. Since one publish makes a
 * cache, no crash leaves one without its root. So a new cache is made only in a pool
 * where nothing is live; in a degraded open that cannot be known.
 */
static int make_cache(struct opening *o)
{
	struct daxpin_pool *pool = o->cache->pool;
	int ret = daxpin_roots(pool, refuse_root, o);

	ret = ret ? : daxpin_foreach(pool, refuse_extent, o);
	ret = ret ? : daxpin_foreach_object(pool, refuse_object, o);
	if (!ret && o->options->degraded)
		ret = fail(o, -EUCLEAN, "no cache is found in %s, but with %sdegraded%s it can be in a damaged part; nothing was changed: leave it out, and if the pool is damaged, give another one",
			   o->options->pool, dashes(o), is_one(o));
	ret = ret ? : set_new_size(o);
	return ret ? : make_index(o);
}

static int load_index(struct opening *o)
{
	struct cache *cache = o->cache;
	struct daxpin_extent root;
	int ret = daxpin_root(cache->pool, ROOT, &root);

	if (ret == -ENOENT) {
		ret = make_cache(o);
	} else {
		ret = ret == -ESTALE ? index_missing(o) : ret;
		ret = ret ? : find_index(o, root);
	}
	if (ret)
		return ret;
	cache->next = calloc(cache->blocks, sizeof(*cache->next));
	cache->used = calloc(cache->blocks, sizeof(*cache->used));
	if (!cache->next || !cache->used)
		return -ENOMEM;
	for (uint32_t i = 0; i < cache->index_count; i++)
		cache->words[i] = daxpin_ptr(cache->pool, cache->index[i], 0);
	return load_words(o);
}

/* ------------------------------------------------------------------ open and close */

/* Is the pool a directory on tmpfs, or will it be? A device's node can be on tmpfs as
 * well. */
static bool on_tmpfs(const char *pool)
{
	struct statfs fs = { 0 };
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/.", pool);
	if (statfs(path, &fs) && errno == ENOENT)
		statfs(dirname(dirname(path)), &fs);
	return fs.f_type == TMPFS_MAGIC;
}

/* What is on tmpfs ends with the machine, so no publish needs to call msync(). */
static int open_pool(struct opening *o)
{
	const struct cache_options *options = o->options;
	struct daxpin_pool_options pool = {
		.size = sizeof(pool), .pool_size = options->pool_size,
		.granularity = on_tmpfs(options->pool) ? DAXPIN_GRANULARITY_BYTE :
			       DAXPIN_GRANULARITY_AUTO,
		/* A pool that must be created has no intact parts to open. */
		.flags = options->degraded ? DAXPIN_POOL_DEGRADED :
			 options->pool_size ? DAXPIN_POOL_CREATE : 0,
		.deadline_ns = o->deadline_ns,
		.errmsg = options->errmsg, .errmsg_size = options->errmsg_size,
	};
	int ret = daxpin_pool_open(options->pool, &pool, &o->cache->pool);

	if (ret == -ENOENT && options->id)
		return fail(o, ret, "the pool %s does not exist, and only the pool with the id %016" PRIx64 " can be used; give the path of that one",
			    options->pool, options->id);
	if (ret == -ENOENT && (options->degraded || !options->pool_size))
		return fail(o, ret, "the pool %s does not exist; %sgive %spool-size=SIZE to create it, or another path",
			    options->pool, options->degraded ?
			    "leave degraded out, and " : "", dashes(o));
	return ret;
}

static int open_rings(struct opening *o)
{
	const struct cache_options *options = o->options;
	struct cache *cache = o->cache;
	int ret = 0;

	if (cache->disk < 0)
		return 0;
	for (unsigned int i = 0; !ret && i < RINGS; i++) {
		ret = ring_open(cache, &cache->rings[i], options->errmsg,
				options->errmsg_size);
		cache->busy++;		/* until the put */
		if (!ret)
			ring_put(cache, &cache->rings[i]);
	}
	return ret;
}

/* A failure is no reason not to serve: cache_limit() can be called again. */
static int start(struct cache *cache, const struct cache_options *options)
{
	uint64_t holes;
	int ret = 0;

	if (cache->disk >= 0) {
		ret = -pthread_create(&cache->thread, NULL, back_run, cache);
		cache->started = !ret;
	}
	if (!ret && cache_limit(cache, options->limit ? : 100, LIMIT_MS, &holes))
		cache_say(cache, "the limit of %u percent is not reached yet, and %" PRIu64 " bytes of the pool are given back",
			  options->limit ? : 100, holes);
	return ret;
}

static struct cache *allocate(const struct cache_options *options)
{
	struct cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	copy_start();
	for (unsigned int i = 0; i < LOCKS; i++)
		pthread_mutex_init(&cache->locks[i], NULL);
	pthread_mutex_init(&cache->mutex, NULL);
	pthread_cond_init(&cache->work, NULL);
	pthread_cond_init(&cache->progress, NULL);
	pthread_cond_init(&cache->ring_idle, NULL);
	pthread_mutex_init(&cache->resize, NULL);
	cache->log = options->log;
	cache->disk = -1;
	cache->oldest = NO_BLOCK;
	cache->limit = UINT64_MAX;
	cache->low_percent = options->low;
	cache->high_percent = options->high;
	return cache;
}

int cache_open(const struct cache_options *options, struct cache **ret_cache)
{
	struct opening o = {
		.options = options, .cache = allocate(options), .disk = NO_DISK,
		.size = options->size,
		.deadline_ns = daxpin_deadline_ms(options->wait_ms),
	};
	int ret = 0;

	if (!o.cache)
		return -ENOMEM;
	if (options->disk)
		ret = disk_open(o.cache, options, &o.size, o.disk);
	/* No pool is made for a cache that is refused. */
	if (!ret && options->pool_size && access(options->pool, F_OK))
		ret = set_new_size(&o);
	ret = ret ? : open_pool(&o);
	ret = ret ? : check_id(&o);
	if (!ret && options->disk)
		ret = disk_lock(o.cache, options, o.deadline_ns);
	ret = ret ? : open_rings(&o);	/* refuse a pool that cannot be used for DMA */
	ret = ret ? : load_index(&o);
	ret = ret ? : start(o.cache, options);
	if (ret)
		cache_close(o.cache);
	else
		*ret_cache = o.cache;
	return ret;
}

static void stop_back(struct cache *cache)
{
	if (!cache->started)
		return;
	pthread_mutex_lock(&cache->mutex);
	cache->stop = true;
	pthread_cond_signal(&cache->work);
	pthread_mutex_unlock(&cache->mutex);
	pthread_join(cache->thread, NULL);
	if (cache->dirty > cache->low)
		cache_say(cache, "%" PRIu64 " blocks are dirty: the disk is not complete without the cache",
			  cache->dirty);
}

int cache_close(struct cache *cache)
{
	int ret = 0;

	stop_back(cache);
	for (unsigned int i = 0; i < RINGS; i++)
		ring_close(cache, &cache->rings[i]);
	if (cache->pool)
		ret = daxpin_pool_close(cache->pool);
	if (cache->disk >= 0)
		close(cache->disk);
	copy_stop();
	free((void *)cache->next);
	free((void *)cache->used);
	free(cache);
	return ret;
}

uint64_t cache_size(const struct cache *cache)
{
	return cache->size;
}

uint32_t cache_block(const struct cache *cache)
{
	return cache->block;
}

uint64_t cache_id(const struct cache *cache)
{
	return cache->id;
}
