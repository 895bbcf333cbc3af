/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A change writes the page's older half, makes it durable, and then does the same with
 * the copy's older half. So after any power cut one half of the page is whole, and is
 * as new as the copy or one change newer. If no half of the page is whole, or its
 * newest is older than the copy's, the page is damaged and the copy replaces it. A torn
 * or damaged older half is ignored, and is invalidated before the next change writes
 * over it.
 */
#include <errno.h>
#include "media/super.h"

/*
 * The newer whole half, or NULL. A half in the wrong place for its sequence number does
 * not count. If it did and was the newest, the next change would be written over it.
 */
static const struct dp_super *super_newest(const struct dp_super half[2])
{
	const struct dp_super *found = NULL;

	for (unsigned int i = 0; i < 2; i++)
		if (dp_super_is_whole(&half[i]) &&
		    (half[i].sequence & 1) == i &&
		    (!found || half[i].sequence > found->sequence))
			found = &half[i];
	return found;
}

static bool super_has_magic(const struct dp_super half[2])
{
	return !memcmp(half[0].magic, DP_MAGIC, 8) ||
	       !memcmp(half[1].magic, DP_MAGIC, 8);
}

/* The halves of a segment's superblock and of its copy. */
static int super_read_halves(const struct dp_badblocks_view *view,
			     struct dp_super_halves *ret_halves)
{
	for (int i = 0; i < 2; i++) {
		int ret = dp_badblocks_read(view, dp_super_offset[i],
					    ret_halves->half[i], DP_SUPER_SIZE);

		if (ret && ret != -EIO)
			return ret;
		if (ret)
			memset(ret_halves->half[i], 0, DP_SUPER_SIZE);
		ret_halves->error[i] = ret;
	}
	return 0;
}

struct dp_super_verdict dp_super_judge(const struct dp_super_halves *halves)
{
	struct dp_super_verdict verdict = {
		.page = super_newest(halves->half[0]),
		.copy = super_newest(halves->half[1]),
		.never = !super_has_magic(halves->half[0]) &&
			 !super_has_magic(halves->half[1]) &&
			 !halves->error[0] && !halves->error[1],
	};

	verdict.newest = verdict.page;
	if (verdict.copy && (!verdict.page || verdict.copy->sequence >
					      verdict.page->sequence)) {
		verdict.newest = verdict.copy;
		verdict.page_lost = true;
	}
	assert(!verdict.newest || !verdict.never);
	return verdict;
}

void dp_super_fill_set(struct dp_super *super)
{
	memset(super->segment_set, 0, sizeof(super->segment_set));
	for (uint32_t i = 0; i < super->segments; i++)
		super->segment_set[i / 8] |= 1u << i % 8;
}

bool dp_super_set_is_valid(const struct dp_super *super)
{
	for (uint32_t i = 0; i < DP_SEGMENTS_MAX; i++)
		if ((super->segment_set[i / 8] >> i % 8 & 1) !=
		    (i < super->segments))
			return false;
	return true;
}

/* Both counts must be able to grow: an epoch that wraps would be used twice (D15). */
static bool super_counts_below(const struct dp_super *super, uint64_t end)
{
	return super->sequence < end && super->epoch < end;
}

int dp_super_check_counts(const struct dp_super *super,
			  const struct dp_errmsg *errmsg)
{
	if (super_counts_below(super, DP_SUPER_COUNTS_END))
		return 0;
	return dp_fail(errmsg, -EUCLEAN,
		       "the superblock counts %llu writes and %llu opens, too many to count another: open the pool for reading, copy its data to a new pool, and remove this one, see daxpin(7)" DP_UNTOUCHED,
		       (unsigned long long)super->sequence,
		       (unsigned long long)super->epoch);
}

int dp_super_check_version(const struct dp_super *super,
			   const struct dp_errmsg *errmsg)
{
	if (super->version == DP_VERSION)
		return 0;
	if (super->version <= DP_VERSION_DEVELOPMENT)
		return dp_fail(errmsg, -EPROTONOSUPPORT,
			       "the pool was made by a development version of daxpin, in format version %u, which this library does not read: copy the data out with the daxpin that made it, remove the files of the pool (or zero the first 2 MiB of the device), and create it again, on a device with the overwrite flag",
			       super->version);
	return dp_fail(errmsg, -EPROTONOSUPPORT,
		       "the pool has format version %u, this library knows %u: use a newer daxpin",
		       super->version, DP_VERSION);
}

static int super_refuse(const struct dp_super_halves *halves,
			const struct dp_super_verdict *verdict,
			const struct dp_errmsg *errmsg)
{
	if (verdict->never)
		return dp_fail(errmsg, -EMEDIUMTYPE,
			       "there is no daxpin pool: create one");
	if (!verdict->newest)
		return dp_fail(errmsg, halves->error[0] ? -EIO : -EUCLEAN,
			       "the superblock at offset 0x0 and its copy at 0x%llx are both damaged" DP_UNTOUCHED,
			       (unsigned long long)DP_COPY_OFFSET);
	if (verdict->newest->version != DP_VERSION)
		return dp_super_check_version(verdict->newest, errmsg);
	if (!super_counts_below(verdict->newest, DP_SUPER_COUNTS_MAX))
		return dp_fail(errmsg, -EUCLEAN,
			       "the superblock counts %llu writes and %llu opens, which is impossible" DP_UNTOUCHED,
			       (unsigned long long)verdict->newest->sequence,
			       (unsigned long long)verdict->newest->epoch);
	return 0;
}

int dp_super_read(const struct dp_badblocks_view *view, bool tolerant,
		  struct dp_super *ret_super, const struct dp_errmsg *errmsg)
{
	struct dp_super_halves halves;
	struct dp_super_verdict verdict;
	int ret;

	memset(ret_super, 0, sizeof(*ret_super));
	ret = super_read_halves(view, &halves);
	if (ret)
		return dp_fail(errmsg, ret, "the superblock cannot be read: %s",
			       strerror(-ret));
	for (int i = 0; i < 2 && !tolerant; i++)
		if (halves.error[i])
			return dp_badblocks_fail(
				view, halves.error[i], dp_super_offset[i],
				DP_SUPER_SIZE,
				i ? "the superblock's copy" : "the superblock",
				errmsg);
	verdict = dp_super_judge(&halves);
	ret = super_refuse(&halves, &verdict, errmsg);
	if (ret)
		return ret;
	*ret_super = *verdict.newest;
	if (verdict.page_lost)
		ret_super->flags |= DP_SUPER_OWNER_UNKNOWN;
	return 0;
}

int dp_super_newest(const struct dp_badblocks_view *view,
		    struct dp_super *ret_super)
{
	struct dp_super_halves halves;
	struct dp_super_verdict verdict;
	int ret = super_read_halves(view, &halves);

	if (ret)
		return ret;
	verdict = dp_super_judge(&halves);
	if (!verdict.newest)
		return -EUCLEAN;
	*ret_super = *verdict.newest;
	return 0;
}

/* Sequence 1 is written to the second half. */
int dp_super_announce(char *base, struct dp_persist *persist)
{
	char *to = base + DP_SUPER_OFFSET + sizeof(struct dp_super);
	uint64_t magic;
	int ret;

	memcpy(&magic, DP_MAGIC, sizeof(magic));
	dp_persist_store(persist, to, magic);
	ret = dp_persist_flush(persist, to, sizeof(magic));
	dp_persist_fence(persist);
	return ret;
}

/* dp_persist_flush(), or dp_persist_collect() if many segments are written. */
typedef int super_flush_fn(struct dp_persist *persist, const void *from,
			   uint64_t size);

/* Write a half; durable after the next fence. */
static int super_write_half(char *base, struct dp_persist *persist, int page,
			    const struct dp_super *super, super_flush_fn *flush)
{
	char *to = base + dp_super_offset[page] +
		   (super->sequence & 1) * sizeof(*super);

	assert(dp_super_is_whole(super));
	dp_persist_copy(persist, to, super, sizeof(*super));
	return flush(persist, to, sizeof(*super));
}

/* Clear the check of a half that is neither whole nor blank, so that it can never
 * become whole. */
static int super_unmake(char *base, struct dp_persist *persist, int page,
			uint64_t sequence, super_flush_fn *flush)
{
	char *to = base + dp_super_offset[page] +
		   (sequence & 1) * sizeof(struct dp_super) +
		   offsetof(struct dp_super, check);

	dp_persist_store(persist, to, 0);
	return flush(persist, to, sizeof(uint64_t));
}

/*
 * Repair what a power cut left of the last change, before the next one, so that the
 * effects of two cuts do not add up. If the copy lacks the page's last change, the
 * change is written to the copy. Without this a second cut could leave both halves of
 * the copy torn. A torn half has the sequence number that the new change will have. It
 * is invalidated. Without this the words of the new change could complete the old one.
 */
static int super_mend(char *base, struct dp_persist *persist, uint64_t sequence,
		      super_flush_fn *flush, bool *ret_mended)
{
	static const struct dp_badblocks none;
	const struct dp_badblocks_view view = {
		.badblocks = &none, .base = base, .fd = -1,
		.pipe = dp_persist_pipe(persist),
	};
	struct dp_super_halves halves;
	const struct dp_super *last = &halves.half[0][~sequence & 1];
	int ret = super_read_halves(&view, &halves);
	bool mended = false;

	if (!ret && dp_super_is_whole(last) && last->sequence == sequence - 1 &&
	    memcmp(last, &halves.half[1][~sequence & 1], sizeof(*last))) {
		mended = true;
		ret = super_write_half(base, persist, 1, last, flush);
	}
	for (int i = 0; !ret && i < 2; i++) {
		const struct dp_super *half = &halves.half[i][sequence & 1];

		if (!half->check || dp_super_is_whole(half))
			continue;
		mended = true;
		ret = super_unmake(base, persist, i, sequence, flush);
	}
	*ret_mended = mended;
	return ret;
}

int dp_super_write(char *base, struct dp_persist *persist,
		   struct dp_super *super)
{
	bool mended;
	int ret;

	super->sequence++;
	dp_super_seal(super);
	ret = super_mend(base, persist, super->sequence, dp_persist_flush,
			 &mended);
	if (mended)
		dp_persist_fence(persist);
	for (int i = 0; !ret && i < 2; i++) {
		ret = super_write_half(base, persist, i, super,
				       dp_persist_flush);
		if (!ret)
			dp_persist_fence(persist);
	}
	return ret;
}

int dp_super_write_part(char *base, struct dp_persist *persist,
			enum dp_super_part part, const struct dp_super *super)
{
	bool stored = true;
	int ret;

	if (part == DP_SUPER_PART_MEND)
		ret = super_mend(base, persist, super->sequence,
				 dp_persist_collect, &stored);
	else
		ret = super_write_half(base, persist,
				       part == DP_SUPER_PART_COPY, super,
				       dp_persist_collect);
	return ret ? ret : stored;
}
