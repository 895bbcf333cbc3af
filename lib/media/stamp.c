/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps W4, W5: of the superblocks it is said whether they are of one open.
 *
 * An open for writing writes OPENING with its epoch e to segment 0, then e to all
 * others, then OPEN to segment 0, each durable before the next. A clean close
 * writes to the others that they are closed, then CLEAN to segment 0. So, at any
 * cut:
 *
 *	segment 0	the others
 *	CLEAN e		e, closed
 *	OPEN e		e, some closed if the cut was in the close
 *	OPENING e	from `before` to e: e where this open came to; before that
 *			what was there when all were of one open last, or what an
 *			open between, which came no further, has written
 *
 * A file of another open is therefore seen unless segment 0 says OPENING, and then
 * if it is older than `before`. Copies of one pool that were opened equally often
 * have different numbers in open_id.
 *
 * A file has an identity that its copies have not. The superblock records it, with
 * the epoch: a copy that is opened records its own files then. If that open is
 * cut short some files are as recorded and some are not, which ADOPTING explains:
 * what this open has not reached is not asked.
 */
#include <errno.h>
#include "media/stamp.h"

struct dp_stamp dp_stamp_of(const struct dp_super *super,
			    const struct dp_file_id *found)
{
	return (struct dp_stamp) {
		.seen = true,
		.epoch = super->epoch,
		.open_id = super->open_id,
		.closed = !(super->flags & DP_SUPER_UNCLEAN),
		.recorded = super->file,
		.found = *found,
	};
}

/* While an open is under way. */
static enum dp_stamp_fit stamp_fit_opening(const struct dp_super *first,
					   const struct dp_stamp *later)
{
	if (later->epoch > first->epoch)
		return DP_STAMP_NEWER;
	if (later->epoch < first->before_epoch)
		return DP_STAMP_OLDER;
	if (later->epoch == first->epoch && later->open_id != first->open_id)
		return DP_STAMP_OTHER;
	if (later->epoch == first->before_epoch &&
	    later->epoch != first->epoch &&
	    later->open_id != first->before_open_id)
		return DP_STAMP_OTHER;
	return DP_STAMP_FITS;
}

enum dp_stamp_fit dp_stamp_fit(const struct dp_super *first,
			       const struct dp_stamp *later)
{
	if (first->flags & DP_SUPER_OPENING)
		return stamp_fit_opening(first, later);
	if (later->epoch != first->epoch)
		return later->epoch < first->epoch ? DP_STAMP_OLDER :
						     DP_STAMP_NEWER;
	if (later->open_id != first->open_id)
		return DP_STAMP_OTHER;
	if (!(first->flags & DP_SUPER_UNCLEAN) && !later->closed)
		return DP_STAMP_LEFT_OPEN;
	return DP_STAMP_FITS;
}

void dp_stamp_count(struct dp_stamp_tally *tally, const struct dp_super *first,
		    uint32_t index, const struct dp_stamp *later)
{
	if (tally->later++ && (later->epoch != tally->of_last.epoch ||
			       later->open_id != tally->of_last.open_id))
		tally->differ = true;
	tally->of_last = *later;
	if (dp_stamp_fit(first, later) == DP_STAMP_FITS)
		return;
	if (!tally->misfits++) {
		tally->misfit = index;
		tally->of_misfit = *later;
	}
}

/* Of two files the older one is named: backups are what is brought back. */
bool dp_stamp_first_is_odd(const struct dp_stamp_tally *tally,
			   const struct dp_super *first)
{
	if (!tally->misfits || tally->differ || tally->misfits < tally->later)
		return false;
	return tally->later > 1 ||
	       dp_stamp_fit(first, &tally->of_misfit) == DP_STAMP_NEWER;
}

static int stamp_say_apart(uint32_t odd, bool older, uint64_t opens,
			   const char *path, const char *end,
			   const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, -EUCLEAN,
		       "segment %u of %s is %s by %llu open%s than the others: %s; bring back the file that belongs there, or all files of one backup%s",
		       odd, path, older ? "older" : "newer",
		       (unsigned long long)opens, opens == 1 ? "" : "s",
		       older ? "it comes from an older backup" :
		       "the others come from an older backup, or it comes from a newer one",
		       end);
}

int dp_stamp_refuse(const struct dp_stamp_tally *tally,
		    const struct dp_super *first, const char *path,
		    const char *end, const struct dp_errmsg *errmsg)
{
	const struct dp_stamp *odd = &tally->of_misfit;
	enum dp_stamp_fit fit;
	uint64_t epoch = first->epoch;
	bool swap;

	if (!tally->misfits)
		return 0;
	fit = dp_stamp_fit(first, odd);
	assert(fit != DP_STAMP_FITS);
	swap = dp_stamp_first_is_odd(tally, first);
	if (fit == DP_STAMP_OLDER && first->flags & DP_SUPER_OPENING)
		epoch = first->before_epoch;
	if (fit == DP_STAMP_OLDER || fit == DP_STAMP_NEWER)
		return stamp_say_apart(swap ? 0 : tally->misfit,
				       (fit == DP_STAMP_OLDER) != swap,
				       fit == DP_STAMP_OLDER ?
				       epoch - odd->epoch : odd->epoch - epoch,
				       path, end, errmsg);
	if (fit == DP_STAMP_OTHER)
		return dp_fail(errmsg, -EUCLEAN,
			       "segment %u of %s is of another copy of this pool, which was opened as often; bring back the file that belongs there%s",
			       swap ? 0 : tally->misfit, path, end);
	return dp_fail(errmsg, -EUCLEAN,
		       "segment %u of %s was copied while the pool was open, segment 0 after it was closed; bring back the file that belongs there, or all files of one backup%s",
		       tally->misfit, path, end);
}

/* ------------------------------------------------------------------- files */

bool dp_file_id_is(const struct dp_file_id *recorded,
		   const struct dp_file_id *found)
{
	return recorded->known == found->known &&
	       recorded->generation == found->generation &&
	       recorded->inode == found->inode &&
	       recorded->birth_seconds == found->birth_seconds &&
	       recorded->birth_ns == found->birth_ns;
}

void dp_stamp_count_file(struct dp_stamp_files *files,
			 const struct dp_super *first, uint32_t index,
			 const struct dp_stamp *stamp)
{
	if (!stamp->recorded.known && !stamp->found.known)
		return;
	if (index && first->flags & DP_SUPER_ADOPTING &&
	    stamp->epoch < first->epoch)
		return;
	if (dp_file_id_is(&stamp->recorded, &stamp->found)) {
		files->as_recorded++;
		files->original = index;
	} else {
		files->others++;
		files->copy = index;
	}
}

int dp_stamp_refuse_mixture(const struct dp_stamp_files *files,
			    const char *path, const char *end,
			    const struct dp_errmsg *errmsg)
{
	if (!files->others || !files->as_recorded)
		return 0;
	return dp_fail(errmsg, -EUCLEAN,
		       "segment %u of %s is a copy, segment %u is the file that the pool was made of: bring back the original, or copy all files to another directory (cp -a --reflink=never) and open that%s",
		       files->copy, path, files->original, end);
}

int dp_stamp_refuse_copy(const char *path, const char *end,
			 const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, -EUCLEAN,
		       "%s is a copy of a pool that was not closed, and may be of more than one moment: copy it again once the pool is closed, or, if nothing wrote to the pool meanwhile, open the copy with DAXPIN_POOL_ADOPT (daxpin adopt)%s",
		       path, end);
}
