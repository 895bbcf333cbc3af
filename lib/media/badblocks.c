/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists of bad sectors from sysfs, translated to what is mapped; and the read
 * that gives an error where a load would be a SIGBUS.
 *
 *  - fsdax: the block device's list. The kernel looks at it too, by pages: a
 *    fault there is SIGBUS, pread() EIO. Poison that it does not know yet is
 *    found by pread() without a signal, because it copies by its own mapping.
 *  - device-dax: the NVDIMM region's list, relative to the region. A fault does
 *    not look at it, so here it must be looked at before anything is touched.
 *    Without read(), write() from the mapping is all there is; at poison that
 *    nobody knew it is EFAULT, but the kernel sends SIGBUS as well.
 *
 * A sector spoils its block: the kernel tells no finer where it can map.
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
#define LIST_SIZE	(64u << 10)	/* a page of sysfs, of any size */

/* ------------------------------------------------------------------- lists */

static int bad_add_run(struct dp_bad *bad, uint64_t begin, uint64_t end)
{
	struct dp_bad_run *run;

	assert(begin < end);
	run = realloc(bad->run, (bad->runs + 1ull) * sizeof(*run));
	if (!run)
		return -ENOMEM;
	run[bad->runs++] = (struct dp_bad_run) { begin, end };
	bad->run = run;
	return 0;
}

static int bad_compare(const void *a, const void *b)
{
	const struct dp_bad_run *one = a, *two = b;

	return (one->begin > two->begin) - (one->begin < two->begin);
}

/* Sorted, and joined where they touch. */
static void bad_tidy(struct dp_bad *bad)
{
	uint32_t last = 0;

	if (!bad->runs)
		return;
	qsort(bad->run, bad->runs, sizeof(*bad->run), bad_compare);
	for (uint32_t i = 1; i < bad->runs; i++) {
		struct dp_bad_run run = bad->run[i];

		if (run.begin > bad->run[last].end)
			bad->run[++last] = run;
		else if (run.end > bad->run[last].end)
			bad->run[last].end = run.end;
	}
	bad->runs = last + 1;
}

void dp_bad_fini(struct dp_bad *bad)
{
	free(bad->run);
	*bad = (struct dp_bad) { NULL, 0, false };
}

bool dp_bad_find(const struct dp_bad *bad, uint64_t begin, uint64_t end,
		 struct dp_bad_run *ret_run)
{
	uint32_t low = 0, high = bad->runs;

	/* The first that ends after begin. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (bad->run[middle].end > begin)
			high = middle;
		else
			low = middle + 1;
	}
	if (low == bad->runs || begin >= end || bad->run[low].begin >= end)
		return false;
	*ret_run = bad->run[low];
	if (ret_run->begin < begin)
		ret_run->begin = begin;
	ret_run->end = dp_min(ret_run->end, end);
	return true;
}

/* Hand over a list, or throw it away. */
static int bad_finish(struct dp_bad *bad, int ret, struct dp_bad *ret_bad)
{
	if (ret) {
		dp_bad_fini(bad);
		return ret;
	}
	bad_tidy(bad);
	*ret_bad = *bad;
	return 0;
}

/* ------------------------------------------------------------------- sysfs */

/*
 * Take the part of [begin, end) that lies at or after `from`, as counted from
 * there.
 */
static int bad_add_from(struct dp_bad *bad, uint64_t begin, uint64_t end,
			uint64_t from)
{
	if (end <= from)
		return 0;
	return bad_add_run(bad, begin > from ? begin - from : 0, end - from);
}

/*
 * Lines of "SECTOR COUNT". The kernel prints no more than a page: a last line
 * without its end says that there would be more. One empty line is how a disk
 * without any list answers.
 */
static int bad_parse(struct dp_bad *bad, const char *text, uint64_t from)
{
	uint64_t sector, count;
	const char *line, *end;
	int ret = 0;

	for (line = text; !ret && (end = strchr(line, '\n')); line = end + 1) {
		if (sscanf(line, "%" SCNu64 " %" SCNu64, &sector, &count) != 2 ||
		    !count || count > SECTORS_MAX ||
		    sector > SECTORS_MAX - count)
			bad->unknown = true;
		else
			ret = bad_add_from(bad, sector * SECTOR_SIZE,
					   (sector + count) * SECTOR_SIZE,
					   from);
	}
	if (*line)
		bad->unknown = true;
	return ret;
}

/* from: where on the list's medium ours begins. */
static int bad_read_list(const char *path, uint64_t from,
			 struct dp_bad *ret_bad)
{
	struct dp_bad bad = { NULL, 0, false };
	char *text = malloc(LIST_SIZE);
	int ret = 0;

	if (!text)
		return -ENOMEM;
	if (dp_os_read_file(path, text, LIST_SIZE) < 0)
		bad.unknown = true;
	else
		ret = bad_parse(&bad, text, from);
	free(text);
	return bad_finish(&bad, ret, ret_bad);
}

static int bad_read_number(const char *path, uint64_t *ret_number)
{
	char text[32], *end;
	int ret = dp_os_read_file(path, text, sizeof(text));

	if (ret < 0)
		return ret;
	*ret_number = strtoull(text, &end, 0);
	return end == text || *end != '\n' ? -EIO : 0;
}

/*
 * The device stands two levels below its region: region0/dax0.0/dax0.0. Both
 * begin at an address, which only root may read; without it nobody can tell
 * which sectors are the device's.
 */
int dp_bad_of_device(const char *device, struct dp_bad *ret_bad)
{
	static const char dir[] = "/sys/bus/dax/devices";
	uint64_t region, begin;
	char path[160];
	int ret;

	snprintf(path, sizeof(path), "%s/%s/../../resource", dir, device);
	ret = bad_read_number(path, &region);
	snprintf(path, sizeof(path), "%s/%s/resource", dir, device);
	if (!ret)
		ret = bad_read_number(path, &begin);
	if (ret || begin < region) {
		*ret_bad = (struct dp_bad) { .unknown = true };
		return 0;
	}
	snprintf(path, sizeof(path), "%s/%s/../../badblocks", dir, device);
	return bad_read_list(path, begin - region, ret_bad);
}

/* A partition has no list of its own, but a start on its disk. */
int dp_bad_of_disk(int fd, struct dp_bad *ret_bad)
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
	if (bad_read_number(path, &start)) {
		snprintf(path, sizeof(path), "%s/badblocks", dir);
		return bad_read_list(path, 0, ret_bad);
	}
	snprintf(path, sizeof(path), "%s/../badblocks", dir);
	return bad_read_list(path, start * SECTOR_SIZE, ret_bad);
}

/* -------------------------------------------------------------- translation */

/* What a stretch of ours has, which begins at `physical` of the medium. */
static int bad_add_stretch(struct dp_bad *bad, const struct dp_bad *medium,
			   uint64_t offset, uint64_t length, uint64_t physical)
{
	uint64_t at = physical, end = physical + length;
	struct dp_bad_run run;
	int ret = 0;

	while (!ret && at < end && dp_bad_find(medium, at, end, &run)) {
		uint64_t first = run.begin - physical + offset;
		uint64_t last = run.end - physical + offset;

		ret = bad_add_run(bad, first & ~(DP_BLOCK_SIZE - 1),
				  dp_round_up(last, DP_BLOCK_SIZE));
		at = run.end;
	}
	return ret;
}

int dp_bad_of_slice(const struct dp_bad *medium, uint64_t begin, uint64_t size,
		    struct dp_bad *ret_bad)
{
	struct dp_bad bad = { NULL, 0, medium->unknown };
	int ret;

	assert(begin % DP_BLOCK_SIZE == 0 && size % DP_BLOCK_SIZE == 0);
	ret = bad_add_stretch(&bad, medium, 0, size, begin);
	return bad_finish(&bad, ret, ret_bad);
}

struct translation {
	const struct dp_bad *medium;
	struct dp_bad bad;
	uint64_t size;
};

static int bad_translate(const struct dp_os_extent *extent, void *arg)
{
	struct translation *to = arg;

	if (extent->offset >= to->size)
		return 0;
	return bad_add_stretch(&to->bad, to->medium, extent->offset,
			       dp_min(extent->length,
				      to->size - extent->offset),
			       extent->physical);
}

int dp_bad_of_file(const struct dp_bad *medium, int fd, uint64_t size,
		   struct dp_bad *ret_bad)
{
	struct translation to = { medium, { NULL, 0, medium->unknown }, size };
	int ret = 0;

	assert(size % DP_BLOCK_SIZE == 0);
	/* Such a file lies on a second device, which stat() does not name. */
	if (dp_os_is_realtime(fd))
		to.bad.unknown = true;
	else if (medium->runs)
		ret = dp_os_fiemap(fd, bad_translate, &to);
	return bad_finish(&to.bad, ret, ret_bad);
}

/* ----------------------------------------------------------------- reading */

int dp_bad_read(const struct dp_bad_view *view, uint64_t offset, void *to,
		uint64_t size)
{
	struct dp_bad_run run;
	uint64_t done = 0;
	int ret = 0;

	if (dp_bad_find(view->bad, offset, offset + size, &run))
		return -EIO;
	if (view->fd >= 0)
		ret = dp_os_read_now(view->fd, offset, to, size, &done);
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

int dp_bad_fail(const struct dp_bad_view *view, int error, uint64_t offset,
		uint64_t size, const char *structure,
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
	/* Poison may come and go: then the first block is named. */
	while (at < offset + size &&
	       dp_bad_read(view, at, block, DP_BLOCK_SIZE) != -EIO)
		at += DP_BLOCK_SIZE;
	free(block);
	return dp_fail(errmsg, error,
		       "%s cannot be read, the medium is bad at offset 0x%llx; the pool was left untouched: save what a degraded open for reading reaches, then clear the bad blocks (ndctl clear-errors) and create anew",
		       structure,
		       (unsigned long long)(at < offset + size ? at : offset));
}
