/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process's record locks on an inode end when it closes *any* descriptor of
 * that inode, and the alive byte (lock.c) is one. So a process opens each inode of
 * a pool's files once; and a descriptor that turns out to be of an inode that is
 * already open must stay open as long as the first:
 *
 *	opened, stat() of the descriptor -> claimed	[dp_claim_take]
 *	                                 -> parked with the existing claim
 *	inode unknown                    -> parked with whatever is claimed
 *	the name has a claimed inode     -> not opened	[dp_claim_exists]
 *	claimed -> ended		[dp_claim_end]: its descriptor, then those
 *					that were parked with it
 *	inherited by a forked child -> ended, or parked with the child's own claim
 *	of that inode			[dp_claim_end]
 *
 * Concurrency: claims_mutex guards the table and the lists of parked ones. An
 * ending claim stays in the table until its last descriptor is closed, outside
 * the mutex since a close may wait; a thread that opens the inode meanwhile is
 * refused and its descriptor parked, so no close can drop the byte of a claim
 * that was made after it. A caller checks the name before it opens the file, so
 * that an open that is repeated without success does not park a descriptor each
 * time; only another thread that claims the file in between causes one.
 *
 * The table is the one global of the library. It is in memory that a forked child
 * gets as zeroes, because a thread of the parent, which the child does not have, may
 * hold the mutex. Zeroes are an unlocked mutex and an empty table, which is what the
 * child has claimed. Process ids would not do: in each new pid namespace they begin
 * again.
 *
 * Keeps W1 (the descriptor that is judged is the one that is kept) and W2.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "os/os.h"
#include "owner/claim.h"

#define BUCKETS		256u		/* a pool has up to 16384 files */

struct dp_claim {
	dev_t dev;
	ino_t ino;
	int fd;				/* -1: nothing is claimed */
	struct dp_claim *next;		/* in its bucket, or among the parked */
	struct dp_claim *parked;	/* the same inode, opened once more */
};

/* All zeroes: nothing is claimed, and the mutex is free. */
struct claims {
	pthread_mutex_t mutex;
	struct dp_claim *bucket[BUCKETS];
	size_t count;
	struct dp_claim *strays;	/* of unknown inodes */
};

static struct claims *_Atomic claims_instance;

/* Made once a process and its children; NULL: there is no memory. */
static struct claims *claims_get(void)
{
	struct claims *claims = atomic_load(&claims_instance);
	void *made;

	if (claims)
		return claims;
	if (dp_os_map_for_process(sizeof(struct claims), &made))
		return NULL;
	if (atomic_compare_exchange_strong(&claims_instance, &claims, made))
		return made;
	dp_os_unmap(made, sizeof(struct claims));	/* another was first */
	return claims;
}

static struct dp_claim **claim_bucket(struct claims *claims, dev_t dev,
				      ino_t ino)
{
	return &claims->bucket[(ino ^ dev * 31) % BUCKETS];
}

/* Its place in the bucket, where NULL stands if there is none. */
static struct dp_claim **claim_find(struct claims *claims, dev_t dev,
				    ino_t ino)
{
	struct dp_claim **at = claim_bucket(claims, dev, ino);

	while (*at && ((*at)->dev != dev || (*at)->ino != ino))
		at = &(*at)->next;
	return at;
}

/* There is a table as soon as there is a claim, dp_claim_new(). */
static struct claims *claims_lock(void)
{
	struct claims *claims = atomic_load(&claims_instance);

	assert(claims);
	pthread_mutex_lock(&claims->mutex);
	return claims;
}

struct dp_claim *dp_claim_new(void)
{
	struct dp_claim *claim = claims_get() ? calloc(1, sizeof(*claim)) : NULL;

	if (claim)
		claim->fd = -1;
	return claim;
}

static void claim_close(struct dp_claim *list)
{
	struct dp_claim *next;

	for (; list; list = next) {
		next = list->next;
		dp_os_close(list->fd);
		free(list);
	}
}

/* Under the mutex, before anything is claimed, and so before any byte is locked. */
static void claim_close_strays(struct claims *claims)
{
	if (claims->count)
		return;
	claim_close(claims->strays);
	claims->strays = NULL;
}

/* The claim of a descriptor that must not be closed yet serves to remember it. */
static void claim_park(struct dp_claim **list, struct dp_claim **claim, int fd)
{
	(*claim)->fd = fd;
	(*claim)->next = *list;
	*list = *claim;
	*claim = NULL;
}

static void claim_hand_over(struct dp_claim **list, struct dp_claim *from)
{
	struct dp_claim *next;

	for (; from; from = next) {
		next = from->next;
		from->next = *list;
		*list = from;
	}
}

int dp_claim_take(struct dp_claim **claim, int fd, const struct stat *stat)
{
	struct claims *claims;
	struct dp_claim **at;
	int ret = 0;

	assert(*claim && (*claim)->fd < 0 && fd >= 0);
	(*claim)->dev = stat->st_dev;
	(*claim)->ino = stat->st_ino;
	claims = claims_lock();
	at = claim_find(claims, stat->st_dev, stat->st_ino);
	if (*at) {
		claim_park(&(*at)->parked, claim, fd);
		ret = -EBUSY;
	} else {
		(*claim)->fd = fd;
		(*claim)->next = NULL;
		*at = *claim;
		claims->count++;
	}
	pthread_mutex_unlock(&claims->mutex);
	return ret;
}

bool dp_claim_exists(const struct stat *stat)
{
	struct claims *claims;
	bool exists;

	if (!atomic_load(&claims_instance))
		return false;
	claims = claims_lock();
	exists = *claim_find(claims, stat->st_dev, stat->st_ino);
	pthread_mutex_unlock(&claims->mutex);
	return exists;
}

void dp_claim_stray(struct dp_claim **claim, int fd)
{
	struct claims *claims = claims_lock();

	claim_park(&claims->strays, claim, fd);
	claim_close_strays(claims);
	pthread_mutex_unlock(&claims->mutex);
}

bool dp_claim_is_ours(const struct dp_claim *claim)
{
	struct claims *claims = claims_lock();
	bool ours = *claim_find(claims, claim->dev, claim->ino) == claim;

	pthread_mutex_unlock(&claims->mutex);
	return ours;
}

/*
 * An inherited one: what closes it ends record locks of this process on the same inode,
 * if it has opened that itself meanwhile. Then that one keeps it.
 */
static bool claim_park_inherited(struct dp_claim *claim)
{
	struct claims *claims = claims_lock();
	struct dp_claim *own = *claim_find(claims, claim->dev, claim->ino);

	if (own && own != claim) {
		claim_hand_over(&own->parked, claim->parked);
		claim->parked = NULL;
		claim->next = NULL;
		claim_hand_over(&own->parked, claim);
	}
	pthread_mutex_unlock(&claims->mutex);
	return own && own != claim;
}

/* Take the claim out, unless something was parked meanwhile: that is returned. */
static struct dp_claim *claim_take_out(struct dp_claim *claim)
{
	struct claims *claims = claims_lock();
	struct dp_claim **at, *parked;

	parked = claim->parked;
	claim->parked = NULL;
	at = claim_find(claims, claim->dev, claim->ino);
	if (!parked && *at == claim) {	/* an inherited one is not there */
		*at = claim->next;
		claims->count--;
	}
	claim_close_strays(claims);
	pthread_mutex_unlock(&claims->mutex);
	return parked;
}

void dp_claim_end(struct dp_claim *claim)
{
	struct dp_claim *parked;

	if (!claim)
		return;
	if (claim->fd >= 0 && claim_park_inherited(claim))
		return;
	if (claim->fd >= 0) {
		dp_os_close(claim->fd);
		while ((parked = claim_take_out(claim)))
			claim_close(parked);
	}
	free(claim);
}

int dp_claim_fd(const struct dp_claim *claim)
{
	return claim ? claim->fd : -1;
}

bool dp_claim_is_of(const struct dp_claim *claim, const struct stat *stat)
{
	return claim->dev == stat->st_dev && claim->ino == stat->st_ino;
}

dev_t dp_claim_device(const struct dp_claim *claim)
{
	return claim->dev;
}

ino_t dp_claim_inode(const struct dp_claim *claim)
{
	return claim->ino;
}
