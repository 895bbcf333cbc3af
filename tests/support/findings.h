/* SPDX-License-Identifier: BSD-3-Clause */
/* For tests of check and repair: collecting findings, and making damage. */
#ifndef FINDINGS_H
#define FINDINGS_H

#include "media.h"
#include "support/invariant.h"
#include "media/badblocks.h"
#include "os/os.h"

#define FINDINGS_MAX	64

struct findings {
	unsigned int count;
	struct daxpin_finding finding[FINDINGS_MAX];
	char what[FINDINGS_MAX][400];
	int answer;			/* the callback's return value */
	struct daxpin_check_summary summary;
};

static inline int collect(const struct daxpin_finding *finding, void *arg)
{
	struct findings *found = arg;

	assert_true(found->count < FINDINGS_MAX);
	found->finding[found->count] = *finding;
	snprintf(found->what[found->count], 400, "%s", finding->what);
	found->finding[found->count].what = found->what[found->count];
	found->count++;
	return found->answer;
}

/* Where a repair's backup of the pool is. */
static inline void backup_path(struct fixture *f, char path[128])
{
	snprintf(path, 128, "%s.backup", f->path);
}

/* fixture_teardown(), and removes the backup. */
static inline int backup_teardown(void **state)
{
	char path[128];

	backup_path(*state, path);
	unlink(path);
	return fixture_teardown(state);
}

/*
 * Runs a check and asserts that it changes no byte of the metadata. check_audit
 * (a_check_changes_nothing) and check_repair compare all bytes.
 */
static inline int try_check(struct fixture *f, struct findings *found)
{
	uint64_t before = metadata_fingerprint(f->path);
	int ret;

	memset(found, 0, sizeof(*found));
	found->summary.size = sizeof(found->summary);
	f->errmsg[0] = '\0';
	ret = daxpin_check(f->path, &f->options, collect, found,
			   &found->summary);
	assert_int_equal(metadata_fingerprint(f->path), before);
	return ret;
}

static inline void check_pool(struct fixture *f, struct findings *found)
{
	int ret = try_check(f, found);

	if (ret)
		fail_msg("check: %d, %s", ret, f->errmsg);
}

static inline void assert_clean(struct fixture *f)
{
	struct findings found;

	check_pool(f, &found);
	for (unsigned int i = 0; i < found.count; i++)
		if (found.finding[i].severity == DAXPIN_SEVERITY_DAMAGE)
			fail_msg("damage: %s", found.what[i]);
	assert_int_equal(found.summary.damages, 0);
}

/*
 * Returns the only damage, which must be in this structure, or the only note about it.
 */
static inline const struct daxpin_finding *
only(struct findings *found, enum daxpin_severity severity,
     enum daxpin_structure structure)
{
	const struct daxpin_finding *one = NULL;

	for (unsigned int i = 0; i < found->count; i++) {
		const struct daxpin_finding *it = &found->finding[i];

		if (it->severity != severity ||
		    (it->structure != structure &&
		     severity == DAXPIN_SEVERITY_NOTE))
			continue;
		if (one || it->structure != structure)
			fail_msg("also: %s", it->what);
		one = it;
	}
	if (!one)
		fail_msg("nothing was found");
	return one;
}

/* Asserts that there is one damage, with this structure, cure, place and words. */
static inline void assert_damage(struct fixture *f,
				 enum daxpin_structure structure,
				 enum daxpin_cure cure, uint32_t segment,
				 uint64_t offset, const char *words)
{
	const struct daxpin_finding *one;
	struct findings found;

	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 1);
	one = only(&found, DAXPIN_SEVERITY_DAMAGE, structure);
	if (one->cure != cure || one->segment != segment ||
	    one->offset != offset || !strstr(one->what, words))
		fail_msg("cure %u, segment %u, offset 0x%llx: %s", one->cure,
			 one->segment, (unsigned long long)one->offset,
			 one->what);
	assert_int_equal(!one->remedy, cure == DAXPIN_CURE_NONE);
}

static inline void assert_note(struct fixture *f,
			       enum daxpin_structure structure,
			       enum daxpin_cure cure, const char *words)
{
	const struct daxpin_finding *one;
	struct findings found;

	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 0);
	one = only(&found, DAXPIN_SEVERITY_NOTE, structure);
	assert_int_equal(one->cure, cure);
	if (!strstr(one->what, words))
		fail_msg("\"%s\" is not in \"%s\"", words, one->what);
}

/* ------------------------------------------------------------- times of files */

#define OLD_S	1

/* Makes the files of a pool look as if nobody had changed them for many years. */
static inline void make_files_old(struct fixture *f)
{
	const struct timespec times[2] = { { OLD_S, 0 }, { OLD_S, 0 } };
	char path[128];

	for (int i = 0; i < count_files(f->path); i++) {
		segment_path(f, i, path);
		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	}
}

static inline int count_old_files(struct fixture *f)
{
	char path[128];
	struct stat st;
	int count = 0;

	for (int i = 0; i < count_files(f->path); i++) {
		segment_path(f, i, path);
		assert_int_equal(stat(path, &st), 0);
		count += st.st_mtim.tv_sec == OLD_S;
	}
	return count;
}

/* ----------------------------------------------------------- making damage */

static inline uint64_t addr_of(uint32_t segment, uint32_t block)
{
	return segment * 32 * MIB + (uint64_t)block * DP_BLOCK_SIZE;
}

/* Puts an extent on media, in a closed pool. */
static inline void put_extent(struct fixture *f, uint32_t segment,
			      uint32_t block, uint32_t blocks)
{
	write_word(f, segment, block,
		   (struct dp_word) { DP_KIND_DATA, blocks, 7, 0 });
}

static inline void corrupt_page(struct fixture *f, uint32_t segment,
				uint64_t offset)
{
	for (int i = 0; i < 2; i++)
		corrupt(f, segment, offset + i * sizeof(struct dp_super) + 100);
}

static inline void make_root(struct fixture *f, const char *name)
{
	struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP, .extent = reserve(f, 4096) },
		{ .type = DAXPIN_OP_ROOT, .name = name },
	};

	ops[1].extent = ops[0].extent;
	assert_int_equal(daxpin_publish(f->pool, ops, 2, NULL, NULL), 0);
}

/*
 * Simulated poison: a page of media that begins with this text cannot be read. The test
 * is linked with --wrap=dp_os_copy_checked.
 */
static const char poison[32] = "this page of the medium is bad";

int __real_dp_os_copy_checked(void *to, const void *from, uint64_t size);
int __wrap_dp_os_copy_checked(void *to, const void *from, uint64_t size);

int __wrap_dp_os_copy_checked(void *to, const void *from, uint64_t size)
{
	uintptr_t begin = (uintptr_t)from & ~(uintptr_t)(DP_BLOCK_SIZE - 1);

	/*
	 * A private copy has no poison. It has at least one block and is never aligned
	 * to one.
	 */
	if (begin == (uintptr_t)from || size < DP_BLOCK_SIZE)
		for (uintptr_t at = begin; at < (uintptr_t)from + size;
		     at += DP_BLOCK_SIZE)
			if (!memcmp((const char *)at, poison, sizeof(poison)))
				return -EIO;
	return __real_dp_os_copy_checked(to, from, size);
}

/* Reads no byte, so that the library reads the mapping: read() ignores this poison. */
int __wrap_dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
			     uint64_t *ret_done);

int __wrap_dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
			     uint64_t *ret_done)
{
	(void)fd;
	(void)offset;
	(void)to;
	(void)size;
	*ret_done = 0;
	return 0;
}

/* The badblocks that the kernel lists, in every segment. */
static struct dp_badblocks_run known_bad;

int __wrap_dp_badblocks_of_file(const struct dp_badblocks *medium, int fd,
				uint64_t size,
				struct dp_badblocks *ret_badblocks);

int __wrap_dp_badblocks_of_file(const struct dp_badblocks *medium, int fd,
				uint64_t size,
				struct dp_badblocks *ret_badblocks)
{
	(void)medium;
	(void)fd;
	*ret_badblocks = (struct dp_badblocks) { NULL, 0, false };
	if (known_bad.begin >= known_bad.end || known_bad.end > size)
		return 0;
	ret_badblocks->run = malloc(sizeof(known_bad));
	*ret_badblocks->run = known_bad;
	ret_badblocks->runs = 1;
	return 0;
}

static inline void put_poison(struct fixture *f, uint32_t segment,
			      uint64_t offset)
{
	assert_int_equal(offset % DP_BLOCK_SIZE, 0);
	patch(f, segment, offset, poison, sizeof(poison));
}

#endif
