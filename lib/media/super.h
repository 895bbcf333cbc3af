/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading, judging and changing a segment's superblock: two alternating halves,
 * a page each, and two more in the copy. Below "page" means the first two.
 */
#ifndef DP_SUPER_H
#define DP_SUPER_H

#include "media/badblocks.h"
#include "media/layout.h"
#include "media/persist.h"

static const uint64_t dp_super_offset[2] = { DP_SUPER_OFFSET, DP_COPY_OFFSET };

/* All four halves: [0] the page's, [1] the copy's. */
struct dp_super_halves {
	struct dp_super half[2][2];
	int error[2];			/* -EIO: unreadable; half[] then has zeroes */
};

/* The result of comparing the halves. */
struct dp_super_verdict {
	const struct dp_super *page;	/* its newest whole half, or NULL */
	const struct dp_super *copy;
	const struct dp_super *newest;	/* of all four */
	bool page_lost;			/* only the copy has a whole half, or a newer
					   one */
	bool never;			/* no half ever was a superblock */
};

struct dp_super_verdict dp_super_judge(const struct dp_super_halves *halves);

/* True if the pool may be open for writing, or its owner may have died. */
static inline bool dp_super_is_unclean(const struct dp_super *super)
{
	return super->flags & (DP_SUPER_UNCLEAN | DP_SUPER_OWNER_UNKNOWN);
}

/* Make segment_set that of the first super->segments segments. */
void dp_super_fill_set(struct dp_super *super);
/* Is it? This version uses no other sets (D10). */
bool dp_super_set_is_valid(const struct dp_super *super);

/* -EUCLEAN if its counts cannot grow: the pool can only be read. */
int dp_super_check_counts(const struct dp_super *super,
			  const struct dp_errmsg *errmsg);
/* -EPROTONOSUPPORT if this library does not know the version of a whole half. */
int dp_super_check_version(const struct dp_super *super,
			   const struct dp_errmsg *errmsg);

/*
 * Read the newest whole half of a segment's superblock. If it is the copy's because the
 * page is damaged, OWNER_UNKNOWN is set in it: the page may have had the record of an
 * owner that the copy does not have.
 *
 * -EIO			the page or the copy is unreadable; if tolerant, only if the
 *			page is unreadable and no half of the copy is whole
 * -EMEDIUMTYPE		there never was a superblock
 * -EPROTONOSUPPORT	it is of another version
 * -EUCLEAN		no half is whole, or a count is impossible
 */
int dp_super_read(const struct dp_badblocks_view *view, bool tolerant,
		  struct dp_super *ret_super, const struct dp_errmsg *errmsg);

/* The newest whole half, whatever its contents; -EUCLEAN: there is none. */
int dp_super_newest(const struct dp_badblocks_view *view,
		    struct dp_super *ret_super);

/*
 * Before the first write: make the magic alone durable, so that a first half that is
 * torn is recognized as a superblock.
 */
int dp_super_announce(char *base, struct dp_persist *persist);

/* Write the next half and its copy; durable when it returns. */
int dp_super_write(char *base, struct dp_persist *persist,
		   struct dp_super *super);

/*
 * The same for many segments together, in three parts: mend, page, copy. Do each part
 * for all segments. A call returns 1 if it has stored something. If any of a part's
 * calls did, call dp_persist_settle() before the next part. The superblock must be
 * sealed with its new sequence.
 */
enum dp_super_part {
	DP_SUPER_PART_MEND,
	DP_SUPER_PART_PAGE,
	DP_SUPER_PART_COPY,
};

int dp_super_write_part(char *base, struct dp_persist *persist,
			enum dp_super_part part, const struct dp_super *super);

#endif
