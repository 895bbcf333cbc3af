/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decides whether all superblocks of a pool are of the same open. Keeps W4, W5.
 *
 * An open for writing writes OPENING with its epoch e to segment 0, then e to all
 * others, then OPEN to segment 0, each durable before the next. A clean close marks the
 * others as closed, then writes CLEAN to segment 0. So a power cut leaves:
 *
 *	segment 0	the others
 *	CLEAN e		e, closed
 *	OPEN e		e, some closed if the cut was during the close
 *	OPENING e	e, if this open has written the segment; otherwise `before`,
 *			the epoch of the last open that wrote all segments, or an
 *			epoch between the two, of another open that was interrupted
 *
 * If segment 0 is not OPENING, a segment with any other epoch is therefore detected. If
 * it is OPENING, a segment with an epoch below `before` or above e is detected. Copies
 * of one pool that were opened equally often have different numbers in open_id.
 *
 * A file has an identity that its copies do not have. The superblock records it with
 * the epoch, so the first open of a copy records the copy's own files. After a power
 * cut during that open, some segments record their own file and the others still record
 * the original file. ADOPTING marks this state: the files of segments that the open has
 * not written are not compared.
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

/* The comparison if segment 0 is OPENING. */
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
	if (!tally->mismatches++) {
		tally->mismatch = index;
		tally->of_mismatch = *later;
	}
}

/* With two segments the older one is named, because a restored backup is older. */
bool dp_stamp_first_differs(const struct dp_stamp_tally *tally,
			    const struct dp_super *first)
{
	if (!tally->mismatches || tally->differ || tally->mismatches < tally->later)
		return false;
	return tally->later > 1 ||
	       dp_stamp_fit(first, &tally->of_mismatch) == DP_STAMP_NEWER;
}

static int stamp_say_apart(uint32_t odd, bool older, uint64_t opens,
			   const char *path, const char *end,
			   const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, -EUCLEAN,
		       "segment %u of %s is %s by %llu open%s than the others: %s; restore the right file, or all files of one backup%s",
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
	const struct dp_stamp *odd = &tally->of_mismatch;
	enum dp_stamp_fit fit;
	uint64_t epoch = first->epoch;
	bool swap;

	if (!tally->mismatches)
		return 0;
	fit = dp_stamp_fit(first, odd);
	assert(fit != DP_STAMP_FITS);
	swap = dp_stamp_first_differs(tally, first);
	if (fit == DP_STAMP_OLDER && first->flags & DP_SUPER_OPENING)
		epoch = first->before_epoch;
	if (fit == DP_STAMP_OLDER || fit == DP_STAMP_NEWER)
		return stamp_say_apart(swap ? 0 : tally->mismatch,
				       (fit == DP_STAMP_OLDER) != swap,
				       fit == DP_STAMP_OLDER ?
				       epoch - odd->epoch : odd->epoch - epoch,
				       path, end, errmsg);
	if (fit == DP_STAMP_OTHER)
		return dp_fail(errmsg, -EUCLEAN,
			       "segment %u of %s is of another copy of this pool, which was opened equally often; restore the right file%s",
			       swap ? 0 : tally->mismatch, path, end);
	return dp_fail(errmsg, -EUCLEAN,
		       "segment %u of %s was copied while the pool was open, segment 0 after it was closed; restore the right file, or all files of one backup%s",
		       tally->mismatch, path, end);
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
		       "segment %u of %s is a copy, but segment %u is the pool's original file: restore the original, or copy all files to another directory (cp -a --reflink=never) and open that%s",
		       files->copy, path, files->original, end);
}

int dp_stamp_refuse_copy(const char *path, const char *end,
			 const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, -EUCLEAN,
		       "%s is a copy of a pool that was not closed, and its files may be from different moments: copy it again once the pool is closed or, if nothing wrote to the pool during the copy, open the copy with DAXPIN_POOL_ADOPT (daxpin adopt)%s",
		       path, end);
}
