/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns the registrations of a pool's segments that the attached rings of this
 * process have in common. The kernel copies entries of one ring's buffer table into
 * another's (IORING_REGISTER_CLONE_BUFFERS): a segment is pinned, and charged to
 * RLIMIT_MEMLOCK, once, and a copy takes microseconds. The copies are made from the
 * table of the source, a ring that is used for nothing else. In that table slot and
 * segment have the same number.
 *
 *	- -> registered		[share_take] the first ring that wants it
 *	registered -> -		[dp_uring_share_give] the last ring that had it
 *
 *  - The pages are pinned as long as any table has the segment, the source's or a
 *    copy. So a ring first empties its own slot, then gives the segment back here,
 *    and only then gives its pin back to the pool (A6): the pool counts a pin of the
 *    segment as long as a table has an entry that requests can use.
 *  - While no ring has a segment, a job may punch it. So the first ring that takes
 *    it afterwards registers it in the source again, even if an old entry, which
 *    could not be emptied, is still there: after a punch the pages of that entry do
 *    not belong to the file any more.
 *  - The source does no DMA, since it is disabled (IORING_SETUP_R_DISABLED). So it
 *    needs no file of the pool in its file table (W3), and its pins protect
 *    nothing (A5).
 *
 * Linux 6.12 copies a whole table into a ring that has none. Later kernels put a
 * single entry into a table, but those up to 6.18 may empty the slots behind it,
 * which may be the program's. So this is tried on the source first.
 */
#include "uring/share.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PROBE_SLOTS	2u
#define PROBE_BYTES	4096u

/* private to share.c */
struct dp_uring_share {
	struct dp_uring_share *next;
	struct daxpin_pool *pool;
	uint32_t rings;			/* that have joined */
	bool copies_one;		/* the kernel copies a single entry */
	uint32_t segments;
	struct dp_uring_link source;
	pthread_mutex_t mutex;		/* of users[], and the source's table */
	uint32_t users[];		/* rings that have each segment */
};

/* This is in memory that the kernel zeroes in a child of fork(). So in the child the
 * list is empty, and the mutex is unlocked even if a thread of the parent had it. */
struct shares {
	pthread_mutex_t mutex;
	struct dp_uring_share *first;
};

static struct shares *_Atomic shares_instance;

/* Make it at the first call. A child of fork() uses the one that it inherited. NULL:
 * there is no memory. */
static struct shares *shares_get(void)
{
	struct shares *shares = atomic_load(&shares_instance), *made;

	if (shares)
		return shares;
	made = mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (made == MAP_FAILED)
		return NULL;
	if (!madvise(made, sizeof(*made), MADV_WIPEONFORK) &&
	    atomic_compare_exchange_strong(&shares_instance, &shares, made))
		return made;
	/* madvise() failed, or another thread has stored its own first. */
	munmap(made, sizeof(*made));
	return shares;
}

/* ---------------------------------------------------------------- the source */

/*
 * Copies the first of two filled slots to its own place.
 *
 * 1		the second slot is still in use
 * 0		the kernel cannot copy one entry, or has emptied the second slot
 * -errno	the trial could not be made
 */
static int share_copy_first(const struct dp_uring_link *source)
{
	int ret = dp_uring_copy_buffer(source, 0, source, 0);

	if (ret)
		return ret == -ENOMEM ? ret : 0;
	ret = dp_uring_taken_buffer(source, 1, 1);
	return ret == -ENOENT ? 0 : ret;
}

/*
 * Can this kernel copy one entry without emptying the slots behind it? To find out,
 * fill two slots of the source, copy the first to its own place, and read whether the
 * second is still in use. -errno: the trial could not be made.
 */
static int share_can_copy_one(const struct dp_uring_link *source)
{
	static char page[PROBE_BYTES] __attribute__((aligned(PROBE_BYTES)));
	int ret = 0;

	for (uint32_t i = 0; !ret && i < PROBE_SLOTS; i++)
		ret = dp_uring_put_buffer(source, i, page, PROBE_BYTES);
	if (!ret)
		ret = share_copy_first(source);
	for (uint32_t i = 0; i < PROBE_SLOTS; i++)
		dp_uring_put_buffer(source, i, NULL, 0);
	return ret;
}

/* Copying the source's table to the source itself must fail with -EBUSY, because it has
 * a table. Any other result shows that the kernel does not support
 * IORING_REGISTER_CLONE_BUFFERS. */
static int share_make_source(struct dp_uring_share *share)
{
	uint32_t slots = share->segments < PROBE_SLOTS ? PROBE_SLOTS :
							 share->segments;
	int ret = dp_uring_make_ring(&share->source);

	if (ret)
		return ret;
	ret = dp_uring_make_buffers(&share->source, slots);
	if (!ret && dp_uring_copy_buffers(&share->source, &share->source) !=
			    -EBUSY)
		ret = -EOPNOTSUPP;
	if (!ret)
		ret = share_can_copy_one(&share->source);
	if (ret < 0) {
		dp_uring_unlink(&share->source);
		return ret;
	}
	share->copies_one = ret;
	return 0;
}

static int share_make(struct daxpin_pool *pool, uint32_t segments,
		      struct dp_uring_share **ret_share)
{
	struct dp_uring_share *share =
		calloc(1, sizeof(*share) + segments * sizeof(share->users[0]));
	int ret;

	if (!share)
		return -ENOMEM;
	share->pool = pool;
	share->segments = segments;
	ret = share_make_source(share);
	if (ret) {
		free(share);
		return ret;
	}
	pthread_mutex_init(&share->mutex, NULL);
	*ret_share = share;
	return 0;
}

/* ------------------------------------------------------------- join and leave */

static struct dp_uring_share **share_find(struct shares *shares,
					  const struct daxpin_pool *pool)
{
	struct dp_uring_share **at = &shares->first;

	while (*at && (*at)->pool != pool)
		at = &(*at)->next;
	return at;
}

static int share_join(struct daxpin_pool *pool, uint32_t segments,
		      struct dp_uring_share **ret_share)
{
	struct shares *shares = shares_get();
	struct dp_uring_share **at;
	int ret = 0;

	if (!shares)
		return -ENOMEM;
	pthread_mutex_lock(&shares->mutex);
	at = share_find(shares, pool);
	if (!*at)
		ret = share_make(pool, segments, at);
	if (!ret) {
		assert((*at)->segments == segments);
		(*at)->rings++;
		*ret_share = *at;
	}
	pthread_mutex_unlock(&shares->mutex);
	return ret;
}

/* Errors that show only that there was no descriptor or no memory, or that another
 * process read the source's table in /proc meanwhile (-EBUSY). */
static bool share_is_shortage(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
	       error == -EBUSY;
}

/* The share of this pool, which the ring joins at the first call, or at a later one
 * after a shortage. NULL: the ring must register segments for itself. */
static struct dp_uring_share *share_of(struct daxpin_uring *uring)
{
	struct dp_uring_sharing *sharing = &uring->sharing;

	if (!sharing->share &&
	    (!sharing->error || share_is_shortage(sharing->error)))
		sharing->error = share_join(uring->pool, uring->most,
					    &sharing->share);
	return sharing->error ? NULL : sharing->share;
}

/* The same for a single segment, which not every kernel copies. */
static struct dp_uring_share *share_of_one(struct daxpin_uring *uring)
{
	struct dp_uring_share *share = share_of(uring);

	if (share && !share->copies_one)
		uring->sharing.error = -EOPNOTSUPP;
	return share && share->copies_one ? share : NULL;
}

/* After an error the ring registers segments for itself from then on. The exceptions
 * are errors after which the next copy may succeed: the wrong thread (-EEXIST), a ring
 * that has a table (-EBUSY), and lack of memory. */
static int share_note(struct daxpin_uring *uring, int result)
{
	if (result && result != -EEXIST && result != -EBUSY &&
	    result != -ENOMEM)
		uring->sharing.error = result;
	return result;
}

static void share_free(struct dp_uring_share *share)
{
	for (uint32_t i = 0; i < share->segments; i++)
		assert(!share->users[i]);
	dp_uring_unlink(&share->source);
	pthread_mutex_destroy(&share->mutex);
	free(share);
}

void dp_uring_share_leave(struct daxpin_uring *uring)
{
	struct shares *shares = atomic_load(&shares_instance);
	struct dp_uring_share *share = uring->sharing.share;
	bool is_last;

	if (!share)
		return;
	uring->sharing.share = NULL;
	pthread_mutex_lock(&shares->mutex);
	assert(share->rings);
	is_last = !--share->rings;
	if (is_last)
		*share_find(shares, share->pool) = share->next;
	pthread_mutex_unlock(&shares->mutex);
	if (is_last)
		share_free(share);
}

void dp_uring_share_close_inherited(struct daxpin_uring *uring)
{
	if (uring->sharing.share)
		dp_uring_unlink(&uring->sharing.share->source);
}

int dp_uring_share_error(const struct daxpin_uring *uring)
{
	return uring->sharing.error;
}

/* ------------------------------------------------------------------- segments */

/* The first ring that takes a segment registers it in the source. The mutex is held
 * meanwhile, so other rings that take it wait until it is registered. */
static int share_take(struct dp_uring_share *share, uint32_t index)
{
	struct daxpin_segment segment;
	int ret = 0;

	assert(index < share->segments);
	pthread_mutex_lock(&share->mutex);
	if (!share->users[index])
		ret = daxpin_segment(share->pool, index, &segment);
	if (!share->users[index] && !ret)
		ret = dp_uring_put_buffer(&share->source, index, segment.base,
					  segment.size);
	if (!ret)
		share->users[index]++;
	pthread_mutex_unlock(&share->mutex);
	return ret;
}

static bool share_take_at_once(struct dp_uring_share *share, uint32_t index)
{
	bool exists;

	assert(index < share->segments);
	if (pthread_mutex_trylock(&share->mutex))
		return false;
	exists = share->users[index];
	share->users[index] += exists;
	pthread_mutex_unlock(&share->mutex);
	return exists;
}

/* If the source's entry cannot be emptied, it stays. That is harmless: the next ring
 * that takes the segment replaces it first. A ring that copies the whole table without
 * taking the segment gets the old entry, too, but empties that slot before any request
 * can name it. */
void dp_uring_share_give(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_share *share = uring->sharing.share;

	pthread_mutex_lock(&share->mutex);
	assert(share->users[index]);
	if (!--share->users[index])
		dp_uring_put_buffer(&share->source, index, NULL, 0);
	pthread_mutex_unlock(&share->mutex);
}

/* Copy a segment that the ring has taken into its slot. If that fails, give it back. */
static bool share_copy(struct daxpin_uring *uring, uint32_t index,
		       uint32_t number)
{
	int ret = dp_uring_copy_buffer(&uring->sharing.share->source, index,
				       &uring->link, number);

	if (!share_note(uring, ret))
		return true;
	dp_uring_share_give(uring, index);
	return false;
}

bool dp_uring_share_fill(struct daxpin_uring *uring, uint32_t index,
			 uint32_t number)
{
	struct dp_uring_share *share = share_of_one(uring);

	return share && !share_take(share, index) &&
	       share_copy(uring, index, number);
}

bool dp_uring_share_fill_at_once(struct daxpin_uring *uring, uint32_t index,
				 uint32_t number)
{
	struct dp_uring_share *share = share_of_one(uring);

	return share && share_take_at_once(share, index) &&
	       share_copy(uring, index, number);
}

int dp_uring_share_take(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_share *share = share_of(uring);

	return share ? share_take(share, index) : -EOPNOTSUPP;
}

int dp_uring_share_copy_table(struct daxpin_uring *uring)
{
	return share_note(uring, dp_uring_copy_buffers(
					 &uring->sharing.share->source,
					 &uring->link));
}
