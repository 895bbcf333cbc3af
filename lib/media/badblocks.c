/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists of bad sectors from sysfs, translated to offsets in the mapping; and a read
 * that returns an error where a load would be SIGBUS.
 *
 *  - fsdax: the block device's list. The kernel uses it too, in units of pages: in a
 *    listed page a fault is SIGBUS and pread() is EIO. Poison that is not listed yet
 *    makes pread() fail without a signal, because the kernel copies from its own
 *    mapping.
 *  - device-dax: the NVDIMM region's list, relative to the region. A page fault does
 *    not test it, so this file must, before it reads the memory. There is no read();
 *    the alternative is write() from the mapping, which fails with EFAULT at poison
 *    that is not listed, but the kernel then sends SIGBUS as well.
 *
 * A bad sector makes its whole block bad, because the kernel maps whole pages.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include "media/badblocks.h"
#include "media/layout.h"
#include "os/os.h"

#define SECTOR_SIZE	512ull
#define SECTORS_MAX	(UINT64_MAX / SECTOR_SIZE)
#define LIST_SIZE	(64u << 10)	/* sysfs gives a page; the largest is 64 KiB */

/* ------------------------------------------------------------------- lists */

static int badblocks_add_run(struct dp_badblocks *badblocks, uint64_t begin,
			     uint64_t end)
{
	struct dp_badblocks_run *run;

	assert(begin < end);
	run = realloc(badblocks->run, (badblocks->runs + 1ull) * sizeof(*run));
	if (!run)
		return -ENOMEM;
	run[badblocks->runs++] = (struct dp_badblocks_run) { begin, end };
	badblocks->run = run;
	return 0;
}

static int badblocks_compare(const void *a, const void *b)
{
	const struct dp_badblocks_run *one = a, *two = b;

	return (one->begin > two->begin) - (one->begin < two->begin);
}

/* Sort the runs, and join those that touch or overlap. */
static void badblocks_tidy(struct dp_badblocks *badblocks)
{
	uint32_t last = 0;

	if (!badblocks->runs)
		return;
	qsort(badblocks->run, badblocks->runs, sizeof(*badblocks->run),
	      badblocks_compare);
	for (uint32_t i = 1; i < badblocks->runs; i++) {
		struct dp_badblocks_run run = badblocks->run[i];

		if (run.begin > badblocks->run[last].end)
			badblocks->run[++last] = run;
		else if (run.end > badblocks->run[last].end)
			badblocks->run[last].end = run.end;
	}
	badblocks->runs = last + 1;
}

void dp_badblocks_fini(struct dp_badblocks *badblocks)
{
	free(badblocks->run);
	*badblocks = (struct dp_badblocks) { NULL, 0, false };
}

bool dp_badblocks_find(const struct dp_badblocks *badblocks, uint64_t begin,
		       uint64_t end, struct dp_badblocks_run *ret_run)
{
	uint32_t low = 0, high = badblocks->runs;

	/* Find the first run that ends after begin. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (badblocks->run[middle].end > begin)
			high = middle;
		else
			low = middle + 1;
	}
	if (low == badblocks->runs || begin >= end ||
	    badblocks->run[low].begin >= end)
		return false;
	*ret_run = badblocks->run[low];
	if (ret_run->begin < begin)
		ret_run->begin = begin;
	ret_run->end = dp_min(ret_run->end, end);
	return true;
}

/* Return the list to the caller or, after an error, free it. */
static int badblocks_finish(struct dp_badblocks *badblocks, int ret,
			    struct dp_badblocks *ret_badblocks)
{
	if (ret) {
		dp_badblocks_fini(badblocks);
		return ret;
	}
	badblocks_tidy(badblocks);
	*ret_badblocks = *badblocks;
	return 0;
}

/* ------------------------------------------------------------------- sysfs */

/*
 * Add the part of [begin, end) that lies at or after `from`, relative to `from`.
 */
static int badblocks_add_from(struct dp_badblocks *badblocks, uint64_t begin,
			      uint64_t end, uint64_t from)
{
	if (end <= from)
		return 0;
	return badblocks_add_run(badblocks, begin > from ? begin - from : 0,
				 end - from);
}

/*
 * Parse lines of "SECTOR COUNT". The kernel prints at most a page, so a last line
 * without a newline means that the list is truncated. For a disk that keeps no list it
 * prints one empty line. In both cases `unknown` is set.
 */
static int badblocks_parse(struct dp_badblocks *badblocks, const char *text,
			   uint64_t from)
{
	uint64_t sector, count;
	const char *line, *end;
	int ret = 0;

	for (line = text; !ret && (end = strchr(line, '\n')); line = end + 1) {
		if (sscanf(line, "%" SCNu64 " %" SCNu64, &sector, &count) != 2 ||
		    !count || count > SECTORS_MAX ||
		    sector > SECTORS_MAX - count)
			badblocks->unknown = true;
		else
			ret = badblocks_add_from(badblocks,
						 sector * SECTOR_SIZE,
						 (sector + count) * SECTOR_SIZE,
						 from);
	}
	if (*line)
		badblocks->unknown = true;
	return ret;
}

/* from: where the device or partition begins on the medium that has the list. */
static int badblocks_read_list(const char *path, uint64_t from,
			       struct dp_badblocks *ret_badblocks)
{
	struct dp_badblocks badblocks = { NULL, 0, false };
	char *text = malloc(LIST_SIZE);
	int ret = 0;

	if (!text)
		return -ENOMEM;
	if (dp_os_read_file(path, text, LIST_SIZE) < 0)
		badblocks.unknown = true;
	else
		ret = badblocks_parse(&badblocks, text, from);
	free(text);
	return badblocks_finish(&badblocks, ret, ret_badblocks);
}

static int badblocks_read_number(const char *path, uint64_t *ret_number)
{
	char text[32], *end;
	int ret = dp_os_read_file(path, text, sizeof(text));

	if (ret < 0)
		return ret;
	*ret_number = strtoull(text, &end, 0);
	return end == text || *end != '\n' ? -EIO : 0;
}

/*
 * The device is two levels below its region in sysfs: region0/dax0.0/dax0.0. Only root
 * may read the addresses at which the two begin. Without them it is unknown which of
 * the region's sectors belong to the device.
 */
int dp_badblocks_of_device(const char *device,
			   struct dp_badblocks *ret_badblocks)
{
	static const char dir[] = "/sys/bus/dax/devices";
	uint64_t region, begin;
	char path[160];
	int ret;

	snprintf(path, sizeof(path), "%s/%s/../../resource", dir, device);
	ret = badblocks_read_number(path, &region);
	snprintf(path, sizeof(path), "%s/%s/resource", dir, device);
	if (!ret)
		ret = badblocks_read_number(path, &begin);
	if (ret || begin < region) {
		*ret_badblocks = (struct dp_badblocks) { .unknown = true };
		return 0;
	}
	snprintf(path, sizeof(path), "%s/%s/../../badblocks", dir, device);
	return badblocks_read_list(path, begin - region, ret_badblocks);
}

/* A partition has no list; it has a start sector on its disk, which has one. */
int dp_badblocks_of_disk(int fd, struct dp_badblocks *ret_badblocks)
{
	uint64_t start = 0;
	char dir[64], path[96];
	struct stat st;
	int ret = dp_os_fstat(fd, &st);

	if (ret)
		return ret;
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", major(st.st_dev),
		 minor(st.st_dev));
	snprintf(path, sizeof(path), "%s/start", dir);
	if (badblocks_read_number(path, &start)) {
		snprintf(path, sizeof(path), "%s/badblocks", dir);
		return badblocks_read_list(path, 0, ret_badblocks);
	}
	snprintf(path, sizeof(path), "%s/../badblocks", dir);
	return badblocks_read_list(path, start * SECTOR_SIZE, ret_badblocks);
}

/* -------------------------------------------------------------- translation */

/* Add the bad blocks of [offset, offset + length) of the file or device, which is at
 * `physical` of the medium. */
static int badblocks_add_stretch(struct dp_badblocks *badblocks,
				 const struct dp_badblocks *medium,
				 uint64_t offset, uint64_t length,
				 uint64_t physical)
{
	uint64_t at = physical, end = physical + length;
	struct dp_badblocks_run run;
	int ret = 0;

	while (!ret && at < end && dp_badblocks_find(medium, at, end, &run)) {
		uint64_t first = run.begin - physical + offset;
		uint64_t last = run.end - physical + offset;

		ret = badblocks_add_run(badblocks, first & ~(DP_BLOCK_SIZE - 1),
					dp_round_up(last, DP_BLOCK_SIZE));
		at = run.end;
	}
	return ret;
}

int dp_badblocks_of_slice(const struct dp_badblocks *medium, uint64_t begin,
			  uint64_t size, struct dp_badblocks *ret_badblocks)
{
	struct dp_badblocks badblocks = { NULL, 0, medium->unknown };
	int ret;

	assert(begin % DP_BLOCK_SIZE == 0 && size % DP_BLOCK_SIZE == 0);
	ret = badblocks_add_stretch(&badblocks, medium, 0, size, begin);
	return badblocks_finish(&badblocks, ret, ret_badblocks);
}

struct translation {
	const struct dp_badblocks *medium;
	struct dp_badblocks badblocks;
	uint64_t size;
};

static int badblocks_translate(const struct dp_os_extent *extent, void *arg)
{
	struct translation *to = arg;

	if (extent->offset >= to->size)
		return 0;
	return badblocks_add_stretch(&to->badblocks, to->medium, extent->offset,
				     dp_min(extent->length,
					    to->size - extent->offset),
				     extent->physical);
}

int dp_badblocks_of_file(const struct dp_badblocks *medium, int fd,
			 uint64_t size, struct dp_badblocks *ret_badblocks)
{
	struct translation to = { medium, { NULL, 0, medium->unknown }, size };
	int ret = 0;

	assert(size % DP_BLOCK_SIZE == 0);
	/* A realtime file is on a second device, which stat() does not report. */
	if (dp_os_is_realtime(fd))
		to.badblocks.unknown = true;
	else if (medium->runs)
		ret = dp_os_fiemap(fd, badblocks_translate, &to);
	return badblocks_finish(&to.badblocks, ret, ret_badblocks);
}

/* ----------------------------------------------------------------- reading */

int dp_badblocks_read(const struct dp_badblocks_view *view, uint64_t offset,
		      void *to, uint64_t size)
{
	struct dp_badblocks_run run;
	uint64_t done = 0;
	int ret = 0;

	if (dp_badblocks_find(view->badblocks, offset, offset + size, &run))
		return -EIO;
	if (view->fd >= 0)
		ret = dp_os_read_nowait(view->fd, offset, to, size, &done);
	if (ret)
		return ret;
	if (done == size)
		return 0;
	if (view->pipe)
		return dp_os_copy_by_pipe(view->pipe, (char *)to + done,
					  view->base + offset + done,
					  size - done);
	return dp_os_copy_checked((char *)to + done, view->base + offset + done,
				  size - done);
}

int dp_badblocks_fail(const struct dp_badblocks_view *view, int error,
		      uint64_t offset, uint64_t size, const char *structure,
		      const struct dp_errmsg *errmsg)
{
	uint64_t at = offset & ~(DP_BLOCK_SIZE - 1);
	char *block = malloc(DP_BLOCK_SIZE);

	if (error != -EIO || !block) {
		free(block);
		return dp_fail(errmsg, error, "%s cannot be read: %s",
			       structure,
			       strerror(-error));
	}
	/* If no block fails again, the sentence names the first one. */
	while (at < offset + size &&
	       dp_badblocks_read(view, at, block, DP_BLOCK_SIZE) != -EIO)
		at += DP_BLOCK_SIZE;
	free(block);
	return dp_fail(errmsg, error,
		       "%s cannot be read, the medium is bad at offset 0x%llx; the pool was left untouched: save the extents that a degraded open for reading can read, then clear the bad blocks (ndctl clear-errors) and create the pool again",
		       structure,
		       (unsigned long long)(at < offset + size ? at : offset));
}
