/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps W4 and W5 for an open: media/stamp.c has the rules. A degraded open treats a
 * segment from another time as foreign: it neither reads nor writes it, so the next
 * open that is not degraded still refuses it.
 *
 * An open and a close write a superblock to every segment, in the order of
 * dp_super_write(): first the remains of a power cut are repaired in all segments, then
 * all pages are written, then all copies, each durable before the next. On a disk each
 * of these is one sync of the filesystem.
 */
#include <errno.h>
#include <stdlib.h>
#include "media/stamp.h"
#include "media/super.h"
#include "os/os.h"
#include "pool/epoch.h"

#define NOTHING_CHANGED	"; the pool was left untouched"

struct dp_epoch {
	struct dp_stamp stamp;
	uint64_t sequence;		/* of its superblock */
	bool foreign;
};

/* ----------------------------------------------------------------- reading */

int dp_epochs_refuse_lost(const struct dp_source *source, uint32_t index,
			  const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, -EUCLEAN,
		       "the superblock at offset 0x0 of segment %u of %s is damaged, but its copy is whole: open the pool for writing once, which restores the superblock",
		       index, source->path);
}

/* Is it the segment with this index of this pool? */
static int epoch_check_place(const struct dp_epochs *epochs, uint32_t index,
			     const struct dp_super *first,
			     const struct dp_super *super,
			     const struct dp_errmsg *errmsg)
{
	const struct dp_segments *segments = epochs->segments;
	uint64_t size = (uint64_t)dp_segment_table(segments, index)->blocks <<
			DP_BLOCK_SHIFT;

	if (super->index == index && super->size == size &&
	    !memcmp(super->uuid, first->uuid, sizeof(super->uuid)))
		return 0;
	return dp_fail(errmsg, -EUCLEAN,
		       "segment %u of %s is a segment of another pool, or another segment of this one%s",
		       index, segments->source->path, NOTHING_CHANGED);
}

/* -EUCLEAN, or the error of the read, with a sentence. */
static int epoch_read_super(const struct dp_epochs *epochs, uint32_t index,
			    bool tolerant, struct dp_super *ret_super,
			    const struct dp_errmsg *errmsg)
{
	const struct dp_segments *segments = epochs->segments;
	char sentence[400];
	struct dp_errmsg inner = { sentence, sizeof(sentence) };
	int ret = dp_super_read(dp_segment_view(segments, index), tolerant,
				ret_super, &inner);

	if (ret == -EMEDIUMTYPE)
		return dp_fail(errmsg, -EUCLEAN,
			       "segment %u of %s has no superblock%s", index,
			       segments->source->path, NOTHING_CHANGED);
	if (!ret && !segments->readonly)
		ret = dp_super_check_counts(ret_super, &inner);
	if (ret)
		return dp_fail(errmsg, ret, "segment %u of %s: %s", index,
			       segments->source->path, sentence);
	return 0;
}

static int epoch_read(struct dp_epochs *epochs, uint32_t index,
		      const struct dp_super *first, bool tolerant,
		      const struct dp_errmsg *errmsg)
{
	struct dp_segments *segments = epochs->segments;
	struct dp_epoch *epoch = &epochs->all[index];
	struct dp_file_id file;
	struct dp_super super;
	int ret = epoch_read_super(epochs, index, tolerant, &super, errmsg);

	if (!ret)
		ret = epoch_check_place(epochs, index, first, &super, errmsg);
	if (ret)
		return ret;
	if (super.flags & DP_SUPER_OWNER_UNKNOWN && segments->readonly &&
	    !tolerant)
		return dp_epochs_refuse_lost(segments->source, index, errmsg);
	ret = dp_source_file_id(segments->source,
				dp_segment_fd(segments, index), &file);
	if (ret)
		return dp_fail(errmsg, ret, "segment %u of %s: %s", index,
			       segments->source->path, strerror(-ret));
	epoch->stamp = dp_stamp_of(&super, &file);
	epoch->sequence = super.sequence;
	if (super.epoch > epochs->highest)
		epochs->highest = super.epoch;
	return 0;
}

/* ----------------------------------------------------------------- judging */

static int epochs_judge_time(struct dp_epochs *epochs,
			     const struct dp_super *first, bool degraded,
			     const struct dp_errmsg *errmsg)
{
	struct dp_stamp_tally tally = { 0 };

	for (uint32_t i = 1; i < epochs->count; i++) {
		struct dp_epoch *epoch = &epochs->all[i];

		dp_stamp_count(&tally, first, i, &epoch->stamp);
		epoch->foreign = dp_stamp_fit(first, &epoch->stamp) !=
				 DP_STAMP_FITS;
	}
	if (degraded)
		return 0;
	return dp_stamp_refuse(&tally, first, epochs->segments->source->path,
			       NOTHING_CHANGED, errmsg);
}

static int epochs_judge_files(struct dp_epochs *epochs,
			      const struct dp_super *first, bool adopt,
			      const struct dp_errmsg *errmsg)
{
	const char *path = epochs->segments->source->path;
	struct dp_stamp_files files = { 0 };
	int ret;

	for (uint32_t i = 0; i < epochs->count; i++)
		if (!epochs->all[i].foreign)
			dp_stamp_count_file(&files, first, i,
					    &epochs->all[i].stamp);
	ret = dp_stamp_refuse_mixture(&files, path, NOTHING_CHANGED, errmsg);
	if (ret)
		return ret;
	epochs->copied = dp_stamp_is_copy(&files);
	if (epochs->copied && dp_super_is_unclean(first) && !adopt)
		return dp_stamp_refuse_copy(path, NOTHING_CHANGED, errmsg);
	return 0;
}

int dp_epochs_check(struct dp_epochs *epochs, struct dp_segments *segments,
		    const struct dp_super *first,
		    const struct dp_epochs_rules *rules,
		    const struct dp_errmsg *errmsg)
{
	int ret = 0;

	assert(!epochs->all && (!rules->degraded_readonly || segments->readonly));
	epochs->all = calloc(first->segments, sizeof(*epochs->all));
	if (!epochs->all)
		return -ENOMEM;
	epochs->segments = segments;
	epochs->count = epochs->room = first->segments;
	for (uint32_t i = 0; !ret && i < epochs->count; i++)
		ret = epoch_read(epochs, i, first, rules->degraded_readonly, errmsg);
	if (!ret)
		ret = epochs_judge_time(epochs, first, rules->degraded, errmsg);
	if (!ret && !rules->degraded_readonly)
		ret = epochs_judge_files(epochs, first, rules->adopt, errmsg);
	return ret;
}

void dp_epochs_fini(struct dp_epochs *epochs)
{
	free(epochs->all);
	memset(epochs, 0, sizeof(*epochs));
}

int dp_epochs_draw(const struct dp_source *source, void *to, size_t size,
		   const struct dp_errmsg *errmsg)
{
	int ret = dp_os_random(to, size);

	return !ret ? 0 :
	       dp_fail(errmsg, -ENOSYS,
		       "%s: getrandom() fails: %s: a filter of system calls (seccomp) must allow it",
		       source->path, strerror(-ret));
}

uint64_t dp_epochs_next(const struct dp_epochs *epochs)
{
	assert(epochs->highest < DP_SUPER_COUNTS_MAX);
	return epochs->highest + 1;
}

struct dp_file_id dp_epochs_first_file(const struct dp_epochs *epochs)
{
	assert(epochs->count);
	return epochs->all[0].stamp.found;
}

bool dp_epochs_are_copied(const struct dp_epochs *epochs)
{
	return epochs->copied;
}

bool dp_epochs_is_foreign(const struct dp_epochs *epochs, uint32_t index)
{
	assert(index < epochs->count);
	return epochs->all[index].foreign;
}

int dp_epochs_prepare(struct dp_epochs *epochs, uint32_t index,
		      const struct dp_file_id *file)
{
	struct dp_epoch *all = epochs->all;

	assert(index >= epochs->count);
	if (index >= epochs->room) {
		all = reallocarray(all, index + 1, sizeof(*all));
		if (!all)
			return -ENOMEM;
		epochs->all = all;
		epochs->room = index + 1;
	}
	all[index] = (struct dp_epoch) { .stamp.found = *file, .sequence = 1 };
	return 0;
}

void dp_epochs_set_count(struct dp_epochs *epochs, uint32_t count)
{
	assert(count && count <= epochs->room);
	epochs->count = count;
}

/* ----------------------------------------------------------------- writing */

static struct dp_super epoch_super(const struct dp_epochs *epochs,
				   uint32_t index, const struct dp_super *first,
				   bool closed)
{
	const struct dp_epoch *epoch = &epochs->all[index];
	struct dp_super super = {
		.magic = DP_MAGIC,
		.version = DP_VERSION,
		.flags = closed ? 0 : DP_SUPER_UNCLEAN,
		.sequence = epoch->sequence + 1,
		.epoch = first->epoch,
		.open_id = first->open_id,
		.file = epoch->stamp.found,
		.segment_size = first->segment_size,
		.size = (uint64_t)dp_segment_table(epochs->segments, index)
				->blocks << DP_BLOCK_SHIFT,
		.index = index,
	};

	memcpy(super.uuid, first->uuid, sizeof(super.uuid));
	dp_super_seal(&super);
	return super;
}

static int epochs_write_part(struct dp_epochs *epochs,
			     const struct dp_super *first, bool closed,
			     enum dp_super_part part)
{
	struct dp_segments *segments = epochs->segments;
	bool stored = false;
	int ret = 0;

	for (uint32_t i = 1; ret >= 0 && i < epochs->count; i++) {
		struct dp_super super = epoch_super(epochs, i, first, closed);

		if (epochs->all[i].foreign)
			continue;
		ret = dp_super_write_part(dp_segment_table(segments, i)->base,
					  segments->persist, part, &super);
		stored |= ret > 0;
	}
	if (ret < 0 || !stored)
		return ret < 0 ? ret : 0;
	return dp_persist_settle(segments->persist, segments->source->dir);
}

/* A refusal does no harm to the pool: its files then seem older than they are. */
static void epochs_touch(const struct dp_epochs *epochs)
{
	const struct dp_segments *segments = epochs->segments;

	if (segments->source->kind == DP_SOURCE_DEVDAX)
		return;
	for (uint32_t i = 0; i < epochs->count; i++)
		if (!epochs->all[i].foreign)
			dp_os_touch(dp_segment_fd(segments, i));
}

int dp_epochs_write(struct dp_epochs *epochs, const struct dp_super *first,
		    bool closed)
{
	int ret = 0;

	assert(!epochs->segments->readonly && first->epoch >= epochs->highest);
	epochs_touch(epochs);
	if (epochs->count == 1)
		return 0;
	for (int part = DP_SUPER_PART_MEND; !ret && part <= DP_SUPER_PART_COPY;
	     part++)
		ret = epochs_write_part(epochs, first, closed, part);
	for (uint32_t i = 1; !ret && i < epochs->count; i++)
		if (!epochs->all[i].foreign)
			epochs->all[i].sequence++;
	epochs->highest = first->epoch;
	return ret;
}
