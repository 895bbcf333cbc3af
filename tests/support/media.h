/* SPDX-License-Identifier: BSD-3-Clause */
/* For tests that read, damage or share a pool's files. */
#ifndef MEDIA_H
#define MEDIA_H

#include "fixture.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "child.h"
#include "forbid.h"
#include "media/layout.h"
#include "owner/rdma_netlink.h"

#if !defined(__clang__) && \
	(defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__))
/* gcc 12 mistakes the sanitizers' own null checks for null pointers. */
#pragma GCC diagnostic ignored "-Wformat-overflow"
#pragma GCC diagnostic ignored "-Wformat-truncation"
#pragma GCC diagnostic ignored "-Wstringop-overread"
#endif

#define MIB		(1ull << 20)

/* --------------------------------------------------------------- fixtures */

static inline int empty_setup(void **state)
{
	return fixture_make(state, 64 * MIB);
}

static inline void close_pool(struct fixture *f)
{
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
}

static inline void open_pool(struct fixture *f)
{
	int ret = daxpin_pool_open(f->path, &f->options, &f->pool);

	if (ret)
		fail_msg("open: %d, %s", ret, f->errmsg);
}

static inline void create_pool(struct fixture *f)
{
	int ret = daxpin_pool_create(f->path, &f->options, &f->pool);

	if (ret)
		fail_msg("create: %d, %s", ret, f->errmsg);
}

/* ------------------------------------------------------------------ files */

static inline void file_name(struct fixture *f, const char *name,
			     char path[128])
{
	snprintf(path, 128, "%s/%s", f->path, name);
}

static inline void segment_path(struct fixture *f, uint32_t index,
				char path[128])
{
	if (!f)
		abort();		/* otherwise gcc warns of a null path */
	snprintf(path, 128, "%s/segment.%04u", f->path, index);
}

#define HASHED_UNIT	(64u << 10)

/*
 * A hash of a file's first chunk, which has the metadata, and of the first `data` bytes
 * of each HASHED_UNIT after it. Uses pread(): a load would allocate a page in a hole of
 * a tmpfs file.
 */
static inline uint64_t hash_file(int dir, const char *name, size_t data)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	XXH3_state_t *hash = XXH3_createState();
	char *buffer = malloc(HASHED_UNIT);
	uint64_t offset = 0, ret;
	ssize_t n;

	assert_true(buffer && hash && fd >= 0);
	XXH3_64bits_reset(hash);
	XXH3_64bits_update(hash, name, strlen(name));
	while ((n = pread(fd, buffer, offset < DP_CHUNK_SIZE ? HASHED_UNIT : data,
			  offset)) > 0) {
		XXH3_64bits_update(hash, buffer, n);
		offset += HASHED_UNIT;
	}
	assert_int_equal(n, 0);
	ret = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	close(fd);
	free(buffer);
	return ret;
}

/* The status page is no part of what a pool contains. */
static inline bool is_status_page(const char *name)
{
	return !strcmp(name, "status");
}

static inline uint64_t hash_files(const char *path, size_t data)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	uint64_t sum = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_REG && !is_status_page(entry->d_name))
			sum += hash_file(dirfd(dir), entry->d_name, data);
	closedir(dir);
	return sum;
}

/*
 * A hash of the names, the metadata, and one block in 16 of the data: hashing all bytes
 * takes three quarters of the time of some tests. Builds with sanitizers hash no data.
 */
static inline uint64_t fingerprint(const char *path)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
	return hash_files(path, 0);
#else
	return hash_files(path, DP_BLOCK_SIZE);
#endif
}

/* Of all bytes. */
static inline uint64_t whole_fingerprint(const char *path)
{
	return hash_files(path, HASHED_UNIT);
}

/*
 * Without the data, for use in loops. A test calls fingerprint() before and after its
 * loop.
 */
static inline uint64_t metadata_fingerprint(const char *path)
{
	return hash_files(path, 0);
}

static inline int count_files(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.' &&
			 !is_status_page(entry->d_name);
	closedir(dir);
	return count;
}

static inline int open_file(struct fixture *f, uint32_t segment)
{
	char path[128];
	int fd;

	segment_path(f, segment, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static inline void patch(struct fixture *f, uint32_t segment, uint64_t offset,
			 const void *bytes, size_t size)
{
	int fd = open_file(f, segment);

	assert_int_equal(pwrite(fd, bytes, size, offset), size);
	close(fd);
}

static inline void look(struct fixture *f, uint32_t segment, uint64_t offset,
			void *bytes, size_t size)
{
	int fd = open_file(f, segment);

	assert_int_equal(pread(fd, bytes, size, offset), size);
	close(fd);
}

static inline void write_file(struct fixture *f, const char *name,
			      const char *text, uint64_t size)
{
	char path[128];
	int fd;

	file_name(f, name, path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	if (size)
		assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

/* Reads the newest intact half of a segment's superblock page. */
static inline struct dp_super read_super(struct fixture *f, uint32_t segment)
{
	struct dp_super half[2];
	int newer;

	look(f, segment, DP_SUPER_OFFSET, half, sizeof(half));
	newer = dp_super_is_whole(&half[1]) &&
		(!dp_super_is_whole(&half[0]) ||
		 half[1].sequence > half[0].sequence);
	assert_true(dp_super_is_whole(&half[newer]));
	return half[newer];
}

/* Writes it as the newest half, in the page and in its copy, with a valid checksum. */
static inline void write_super(struct fixture *f, uint32_t segment,
			       struct dp_super super)
{
	super.sequence++;
	dp_super_seal(&super);
	for (int i = 0; i < 2; i++) {
		patch(f, segment, DP_SUPER_OFFSET + i * sizeof(super), &super,
		      sizeof(super));
		patch(f, segment, DP_COPY_OFFSET + i * sizeof(super), &super,
		      sizeof(super));
	}
}

/* ----------------------------------------------------------------- damage */

static inline void corrupt(struct fixture *f, uint32_t segment, uint64_t offset)
{
	uint8_t byte;

	look(f, segment, offset, &byte, 1);
	byte ^= 0x40;
	patch(f, segment, offset, &byte, 1);
}

/* The offset of a block's word in a segment of up to 512 MiB. */
static inline uint64_t word_at(uint32_t block)
{
	return DP_TABLE_OFFSET + dp_word_offset(block);
}

static inline void write_raw(struct fixture *f, uint32_t segment, uint32_t block,
		      uint64_t raw)
{
	patch(f, segment, word_at(block), &raw, sizeof(raw));
}

static inline void write_word(struct fixture *f, uint32_t segment, uint32_t block,
		       struct dp_word word)
{
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid);
	uint64_t first = segment * (32 * MIB / DP_BLOCK_SIZE);

	write_raw(f, segment, block, dp_word_encode(seed, first + block, word));
}

static const struct dp_word free_word = { DP_KIND_FREE, 1, 0, 0 };

/* Makes all words FREE in the table page that begins with this block's word. */
static inline void free_words(struct fixture *f, uint32_t segment, uint32_t begin,
			      uint64_t seed)
{
	uint64_t first = segment * (32 * MIB / DP_BLOCK_SIZE) + begin;
	uint64_t raw[DP_PAGE_WORDS];

	/* Neighbours are not in neighbouring words: see dp_word_offset(). */
	for (uint32_t i = 0; i < DP_PAGE_WORDS; i++)
		raw[dp_word_offset(i) / 8] = dp_word_encode(seed, first + i, free_word);
	patch(f, segment, word_at(begin), raw, sizeof(raw));
}

/*
 * Marks the table page with the block's word as in use, in a closed pool, with all
 * words FREE.
 */
static inline void use_page(struct fixture *f, uint32_t segment, uint32_t block)
{
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid), raw, bits;
	uint64_t first = segment * (32 * MIB / DP_BLOCK_SIZE);
	uint32_t page = block / DP_PAGE_WORDS, index = page / DP_PAGES_WORD_BITS;
	uint64_t at = DP_PAGES_OFFSET + index * sizeof(raw);

	look(f, segment, at, &raw, sizeof(raw));
	assert_true(dp_pages_decode(seed, first + index, raw, &bits));
	if (bits >> page % DP_PAGES_WORD_BITS & 1)
		return;
	free_words(f, segment, page * DP_PAGE_WORDS, seed);
	bits |= 1ull << page % DP_PAGES_WORD_BITS;
	raw = dp_pages_encode(seed, first + index, bits);
	patch(f, segment, at, &raw, sizeof(raw));
}

/* Marks all table pages of a closed pool as in use. */
static inline void use_pages(struct fixture *f, uint32_t segments)
{
	for (uint32_t i = 0; i < segments; i++)
		for (uint32_t page = 1; page < 32 * MIB / DP_CHUNK_SIZE; page++)
			use_page(f, i, page * DP_PAGE_WORDS);
}

/* A closed pool of three segments, whose table pages are all in use. */
static inline int closed_setup(void **state)
{
	struct fixture *f;

	if (fixture_setup_sized(state, 96 * MIB))
		return -1;
	f = *state;
	if (daxpin_pool_close(f->pool))
		return -1;
	f->pool = NULL;
	use_pages(f, 3);
	return 0;
}

static inline void punch_at(struct fixture *f, uint32_t segment, uint64_t offset,
			    uint64_t size)
{
	int fd = open_file(f, segment);

	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				   FALLOC_FL_KEEP_SIZE, offset, size), 0);
	close(fd);
}

static inline void punch(struct fixture *f, uint32_t segment, uint64_t offset)
{
	punch_at(f, segment, offset, 2 * MIB);
}

/* Does every page of that range exist? */
static inline bool is_backed(struct fixture *f, uint32_t segment, uint64_t offset,
			     uint64_t size)
{
	int fd = open_file(f, segment);
	bool backed = lseek(fd, offset, SEEK_HOLE) >= (off_t)(offset + size);

	close(fd);
	return backed;
}

/* Skips the test if other processes have verbs contexts, or if that is unknown. */
static inline void need_no_verbs(void)
{
	char sentence[400] = "other processes use RDMA on this machine";
	int ret = dp_verbs_count_all(&(struct dp_errmsg) { sentence,
							sizeof(sentence) });

	if (!ret)
		return;
	print_message("# skipped: %s\n", sentence);
	skip();
}

/* Writes a lane as a power failure leaves it between its first and its second fence. */
static inline void put_open_lane(struct fixture *f, uint32_t index,
				 const struct dp_lane_entry *entries,
				 uint32_t count)
{
	uint64_t at = DP_LANES_OFFSET + index * sizeof(struct dp_lane);
	struct dp_super super = read_super(f, 0);
	struct dp_lane lane;

	look(f, 0, at, &lane, sizeof(lane));
	lane.sequence = lane.done + 1;
	lane.epoch = super.epoch;
	lane.count = count;
	memcpy(lane.entry, entries, count * sizeof(*entries));
	lane.check = dp_lane_check(dp_layout_seed(super.uuid), index, &lane);
	patch(f, 0, at, &lane, sizeof(lane));
}

/* --------------------------------------------------------------- refusals */

/* Runs a check that must find only notes, and returns how many contain these words. */
struct note_count {
	const char *words;
	unsigned int count;
};

static inline int count_note(const struct daxpin_finding *finding, void *arg)
{
	struct note_count *notes = arg;

	assert_int_equal(finding->severity, DAXPIN_SEVERITY_NOTE);
	notes->count += strstr(finding->what, notes->words) != NULL;
	return 0;
}

static inline unsigned int count_notes(struct fixture *f, const char *words)
{
	struct daxpin_check_summary summary = { .size = sizeof(summary) };
	struct note_count notes = { .words = words };

	assert_int_equal(daxpin_check(f->path, &f->options, count_note, &notes,
				      &summary), 0);
	return notes.count;
}

static inline void assert_says(struct fixture *f, const char *words)
{
	if (!strstr(f->errmsg, words))
		fail_msg("\"%s\" is not in \"%s\"", words, f->errmsg);
}

typedef int open_fn(const char *path, const struct daxpin_pool_options *options,
		    struct daxpin_pool **ret_pool);

/*
 * Asserts that the call fails with this error and these words, and changes nothing that
 * `hash` covers.
 */
static inline void assert_fails(struct fixture *f, open_fn *fn, int error,
				const char *words,
				uint64_t (*hash)(const char *path))
{
	uint64_t before = hash(f->path);

	f->errmsg[0] = '\0';
	assert_int_equal(fn(f->path, &f->options, &f->pool), error);
	assert_null(f->pool);
	assert_says(f, words);
	assert_int_equal(hash(f->path), before);
}

static inline void assert_open_fails(struct fixture *f, int error,
				     const char *words)
{
	assert_fails(f, daxpin_pool_open, error, words, fingerprint);
}

static inline void assert_create_fails(struct fixture *f, int error,
				       const char *words)
{
	assert_fails(f, daxpin_pool_create, error, words, fingerprint);
}

/* ----------------------------------- functions of child processes: child.h */

static inline int child_opens(struct fixture *f)
{
	return daxpin_pool_open(f->path, &f->options, &f->pool);
}

static inline int child_closes(struct fixture *f)
{
	return daxpin_pool_close(f->pool);
}

static inline int child_creates(struct fixture *f)
{
	return daxpin_pool_create(f->path, &f->options, &f->pool);
}

struct attempt {
	struct fixture *f;
	int (*fn)(struct fixture *f);
};

/*
 * Sends fn's result: -ENOSYS if seccomp is unavailable, -EIO for an -EBUSY whose reason
 * is another one.
 */
static inline int try_without_sockets(void *arg, int fd)
{
	const struct attempt *attempt = arg;
	int ret = forbid(SYS_socket, EACCES) ? -ENOSYS :
		  attempt->fn(attempt->f);

	if (ret == -EBUSY && !strstr(attempt->f->errmsg, "NETLINK_RDMA"))
		ret = -EIO;
	return !send_message(fd, &ret, sizeof(ret));
}

/*
 * Runs fn in a child that cannot query the kernel for RDMA contexts. It must return
 * -EBUSY with that reason, and change nothing.
 */
static inline void assert_busy_without_sockets(struct fixture *f,
					       int (*fn)(struct fixture *f))
{
	struct attempt attempt = { f, fn };
	uint64_t before = fingerprint(f->path);
	struct child child = fork_child(try_without_sockets, &attempt);
	bool sent = receive_message(child.fd, &child.result, sizeof(child.result));

	assert_int_equal(end_child(&child), 0);
	assert_true(sent);
	if (child.result == -ENOSYS) {
		print_message("# skipped: seccomp is unavailable here\n");
		skip();
	}
	assert_int_equal(child.result, -EBUSY);
	assert_int_equal(fingerprint(f->path), before);
}

#endif
