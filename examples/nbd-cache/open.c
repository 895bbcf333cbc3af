/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening, making and closing a cache. The root "nbd-cache" names the header's extent,
 * the header names the extents of the index. One publish makes all of them live, and
 * then only words of the index change.
 */
#include "engine.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ROOT		"nbd-cache"
#define MAGIC		0x6568636163646264ull
#define VERSION		1u
#define SECTOR		512u
#define READ_WORDS	8192u

struct header {
	uint64_t magic;
	uint32_t version, block;
	uint64_t size;			/* of the volume: with a disk, the disk's */
	uint32_t index_count, reserved;
	char disk[256];			/* identify() */
	uint64_t zeroes;		/* the address of a block of them */
	uint64_t index[INDEX_EXTENTS];	/* pool addresses */
};

/* What cache_open() was given and has found. */
struct opening {
	const struct cache_options *options;
	struct cache *cache;
	char disk[256];
	uint64_t size;
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

static int fail(const struct opening *o, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(const struct opening *o, int error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	if (o->options->errmsg)
		vsnprintf(o->options->errmsg, o->options->errmsg_size, format, list);
	va_end(list);
	return error;
}

/* ---------------------------------------------------------------------- the disk */

/* Reads the first of the device's files in sysfs that identifies the medium. */
static void read_identity(dev_t device, char *to, size_t size)
{
	static const char *const files[] = {
		"wwid", "device/wwid", "serial", "device/serial", "dm/uuid",
		"../wwid", "../device/wwid", "../serial", "../device/serial",
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[128];
		FILE *file;
		bool found;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s",
			 major(device), minor(device), files[i]);
		file = fopen(path, "re");
		found = file && fgets(to, size, file);
		if (file)
			fclose(file);
		to[strcspn(to, "\n")] = '\0';
		if (found && *to)
			return;
	}
	*to = '\0';
}

/* A partition is identified by its disk and by where it begins. */
static int identify_device(struct opening *o, dev_t device)
{
	char path[128], id[160] = "";
	unsigned long long begin = 0;
	FILE *file;

	if (ioctl(o->cache->disk, BLKGETSIZE64, &o->size))
		return fail(o, -errno, "%s: its size is unknown: %s",
			    o->options->disk, strerror(errno));
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/start", major(device),
		 minor(device));
	file = fopen(path, "re");
	if (file && fscanf(file, "%llu", &begin) != 1)
		begin = 0;
	if (file)
		fclose(file);
	read_identity(device, id, sizeof(id));
	snprintf(o->disk, sizeof(o->disk), "device \"%s\" from sector %llu", id,
		 begin);
	return 0;
}

static int identify(struct opening *o)
{
	const char *path = o->options->disk;
	struct stat st;

	if (fstat(o->cache->disk, &st))
		return fail(o, -errno, "%s: %s", path, strerror(errno));
	if (S_ISBLK(st.st_mode))
		return identify_device(o, st.st_rdev);
	if (!S_ISREG(st.st_mode))
		return fail(o, -ENOTBLK, "%s is neither a block device nor a file",
			    path);
	o->size = st.st_size;
	snprintf(o->disk, sizeof(o->disk), "file %ju on device %u:%u",
		 (uintmax_t)st.st_ino, major(st.st_dev), minor(st.st_dev));
	return 0;
}

static int open_disk(struct opening *o)
{
	const char *path = o->options->disk;
	int ret;

	strcpy(o->disk, "no disk");
	o->size = o->options->size;
	o->cache->disk = -1;
	if (!path)
		return 0;
	o->cache->disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (o->cache->disk < 0 && errno == EINVAL) {
		cache_say(o->cache, "%s: O_DIRECT is refused, so it is read and written through the page cache",
			  path);
		o->cache->disk = open(path, O_RDWR | O_CLOEXEC);
	}
	if (o->cache->disk < 0)
		return fail(o, -errno, "%s: %s", path, strerror(errno));
	ret = identify(o);
	if (!ret && (!o->size || o->size % SECTOR))
		return fail(o, -EINVAL, "%s has %" PRIu64 " bytes; the size must be a multiple of %u, and not 0",
			    path, o->size, SECTOR);
	if (!ret && o->options->size && o->options->size != o->size)
		return fail(o, -EINVAL, "size %" PRIu64 " is not that of %s, %" PRIu64 "; leave size out",
			    o->options->size, path, o->size);
	return ret;
}

/* --------------------------------------------------------------------- the header */

static bool is_block(uint32_t block)
{
	return block >= CACHE_BLOCK_MIN && block <= CACHE_BLOCK_MAX &&
	       !(block & (block - 1));
}

static int check_header(const struct opening *o, const struct header *header)
{
	uint32_t block = o->options->block;

	if (header->magic != MAGIC)
		return fail(o, -EMEDIUMTYPE, "the root %s of %s is not of a cache",
			    ROOT, o->options->pool);
	if (header->version != VERSION)
		return fail(o, -EPROTONOSUPPORT, "the cache in %s has version %u, this program knows %u",
			    o->options->pool, header->version, VERSION);
	if (strncmp(header->disk, o->disk, sizeof(o->disk)))
		return fail(o, -EMEDIUMTYPE, "the cache in %s is of another disk: it was made for %.255s, and this is %s",
			    o->options->pool, header->disk, o->disk);
	if (o->size && header->size != o->size)
		return fail(o, -EMEDIUMTYPE, "the cache in %s is of %" PRIu64 " bytes, and not of %" PRIu64,
			    o->options->pool, header->size, o->size);
	if (block && header->block != block)
		return fail(o, -EMEDIUMTYPE, "the cache in %s has blocks of %u bytes, and not of %u; leave block out",
			    o->options->pool, header->block, block);
	if (!is_block(header->block) || !header->size ||
	    header->index_count > INDEX_EXTENTS)
		return fail(o, -EUCLEAN, "the header of the cache in %s is damaged",
			    o->options->pool);
	return 0;
}

static uint64_t index_bytes(const struct cache *cache, uint32_t i)
{
	uint64_t rest = cache->blocks - (uint64_t)i * INDEX_WORDS;

	return (rest < INDEX_WORDS ? rest : INDEX_WORDS) * 8;
}

static int set_size(struct opening *o, uint64_t size, uint32_t block)
{
	struct cache *cache = o->cache;
	uint64_t most = (uint64_t)INDEX_EXTENTS * INDEX_WORDS * block;

	if (!is_block(block))
		return fail(o, -EINVAL, "block %u must be a power of two from %u to %u",
			    block, CACHE_BLOCK_MIN, CACHE_BLOCK_MAX);
	if (!size)
		return fail(o, -EINVAL, "%s has no cache yet, and a new one without a disk needs a size",
			    o->options->pool);
	if (size > most)
		return fail(o, -EINVAL, "size %" PRIu64 " is above %" PRIu64 ", the most with blocks of %u bytes; use larger blocks",
			    size, most, block);
	cache->size = size;
	cache->block = block;
	cache->blocks = (size + block - 1) / block;
	cache->index_count = (cache->blocks + INDEX_WORDS - 1) / INDEX_WORDS;
	return 0;
}

static void write_header(const struct opening *o, struct header *header)
{
	const struct cache *cache = o->cache;

	*header = (struct header){
		.magic = MAGIC, .version = VERSION, .block = cache->block,
		.size = cache->size, .index_count = cache->index_count,
		.zeroes = cache->zeroes.addr,
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
	struct daxpin_op ops[INDEX_EXTENTS + 3] = { { 0 } };
	struct cache *cache = o->cache;
	uint32_t count = cache->index_count;
	int ret = reserve_zero(cache, cache->block, &ops[count]);

	for (uint32_t i = 0; !ret && i < count; i++)
		ret = reserve_zero(cache, index_bytes(cache, i), &ops[i]);
	if (!ret)
		ret = reserve_zero(cache, sizeof(struct header), &ops[count + 1]);
	if (ret)
		return fail(o, ret, "%s has no space for the index: %s",
			    o->options->pool, daxpin_strerror(ret));
	cache->zeroes = ops[count].extent;
	for (uint32_t i = 0; i < count; i++)
		cache->index[i] = ops[i].extent;
	write_header(o, daxpin_ptr(cache->pool, ops[count + 1].extent, 0));
	ops[count + 2] = (struct daxpin_op){
		.type = DAXPIN_OP_ROOT, .name = ROOT,
		.extent = ops[count + 1].extent,
	};
	return daxpin_publish(cache->pool, ops, count + 3, NULL, NULL);
}

static int find_index(struct opening *o, struct daxpin_extent root)
{
	struct cache *cache = o->cache;
	struct header header;
	int ret = daxpin_read(cache->pool, root, 0, sizeof(header), &header);

	if (!ret)
		ret = check_header(o, &header);
	if (!ret)
		ret = set_size(o, header.size, header.block);
	if (!ret && header.index_count != cache->index_count)
		ret = -EUCLEAN;
	if (!ret)
		ret = daxpin_extent_at(cache->pool, header.zeroes, &cache->zeroes);
	for (uint32_t i = 0; !ret && i < cache->index_count; i++)
		ret = daxpin_extent_at(cache->pool, header.index[i],
				       &cache->index[i]);
	return ret;
}

/* ----------------------------------------------------------------------- the words */

static int load_word(struct opening *o, uint64_t block, uint64_t word)
{
	struct cache *cache = o->cache;
	struct daxpin_extent extent;
	uint64_t size = cache->block;
	int ret = 0;

	if (word & WORD_ADDR)
		ret = daxpin_extent_at(cache->pool, word & WORD_ADDR, &extent) ? :
		      daxpin_size(cache->pool, extent, &size);
	if (ret || size != cache->block)
		return fail(o, -EUCLEAN, "the cache in %s is damaged: block %" PRIu64 " has the word 0x%" PRIx64 ", which names no extent of a block",
			    o->options->pool, block, word);
	back_count(cache, 0, word);
	if (word & WORD_DIRTY)
		back_queue(cache, block);
	return 0;
}

/* Reads the words through the library, because a load from bad memory is a signal. */
static int load_words(struct opening *o)
{
	struct cache *cache = o->cache;
	uint64_t words[READ_WORDS];
	int ret = 0;

	for (uint64_t at = 0; !ret && at < cache->blocks; at += READ_WORDS) {
		uint64_t rest = cache->blocks - at;
		uint64_t count = rest < READ_WORDS ? rest : READ_WORDS;

		ret = daxpin_read(cache->pool, cache->index[at / INDEX_WORDS],
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

static int load_index(struct opening *o)
{
	struct cache *cache = o->cache;
	struct daxpin_extent root;
	int ret = daxpin_root(cache->pool, ROOT, &root);

	if (ret == -ENOENT) {
		ret = set_size(o, o->size, o->options->block ? :
			       CACHE_BLOCK_DEFAULT);
		ret = ret ? : make_index(o);
	} else if (!ret) {
		ret = find_index(o, root);
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

static int open_pool(struct opening *o)
{
	const struct cache_options *options = o->options;
	struct daxpin_pool_options pool = {
		.size = sizeof(pool), .pool_size = options->pool_size,
		.flags = options->pool_size ? DAXPIN_POOL_CREATE : 0,
		.deadline_ns = daxpin_deadline_ms(options->wait_ms),
		.errmsg = options->errmsg, .errmsg_size = options->errmsg_size,
	};

	return daxpin_pool_open(options->pool, &pool, &o->cache->pool);
}

static int open_rings(struct opening *o)
{
	const struct cache_options *options = o->options;
	struct cache *cache = o->cache;
	int ret;

	if (cache->disk < 0)
		return 0;
	ret = ring_open(cache, &cache->back, options->errmsg, options->errmsg_size);
	for (unsigned int i = 0; !ret && i < RINGS; i++) {
		ret = ring_open(cache, &cache->rings[i], options->errmsg,
				options->errmsg_size);
		cache->reading++;	/* until the put */
		if (!ret)
			ring_put(cache, &cache->rings[i]);
	}
	return ret;
}

static int start_back(struct cache *cache, const struct cache_options *options)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	int ret = daxpin_pool_info(cache->pool, &info);

	if (ret || cache->disk < 0)
		return ret;
	cache->low = info.usable_bytes / cache->block * options->low / 100;
	cache->high = info.usable_bytes / cache->block * options->high / 100;
	ret = -pthread_create(&cache->thread, NULL, back_run, cache);
	cache->started = !ret;
	return ret;
}

static struct cache *allocate(const struct cache_options *options)
{
	struct cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	for (unsigned int i = 0; i < LOCKS; i++)
		pthread_mutex_init(&cache->locks[i], NULL);
	pthread_mutex_init(&cache->mutex, NULL);
	pthread_cond_init(&cache->work, NULL);
	pthread_cond_init(&cache->progress, NULL);
	pthread_cond_init(&cache->ring_idle, NULL);
	cache->log = options->log;
	cache->oldest = NO_BLOCK;
	return cache;
}

int cache_open(const struct cache_options *options, struct cache **ret_cache)
{
	struct opening o = { .options = options, .cache = allocate(options) };
	int ret;

	if (!o.cache)
		return -ENOMEM;
	ret = open_disk(&o);
	ret = ret ? : open_pool(&o);
	ret = ret ? : check_id(&o);
	ret = ret ? : load_index(&o);
	ret = ret ? : open_rings(&o);
	ret = ret ? : start_back(o.cache, options);
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
	ring_close(cache, &cache->back);
	if (cache->pool)
		ret = daxpin_pool_close(cache->pool);
	if (cache->disk >= 0)
		close(cache->disk);
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
