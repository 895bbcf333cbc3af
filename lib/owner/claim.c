/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process loses its record locks on an inode when it closes *any* descriptor of
 * that inode, and the lock of the alive byte (lock.c) is a record lock. So a process
 * opens each inode of a pool's files once. If a new descriptor turns out to have an
 * inode open that is already claimed, it is parked: it stays open as long as the
 * descriptor of the claim:
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
 * Concurrency: claims_mutex guards the table and the lists of parked descriptors. A
 * claim that ends closes its descriptors without the mutex, since a close may wait,
 * and stays in the table until the last of them is closed. A thread that opens the
 * inode meanwhile is refused, and its descriptor is parked. So no close can drop the
 * byte of a newer claim. Before a caller opens a file, it checks whether the inode of
 * the name is claimed (dp_claim_exists). So repeated opens of a claimed file do not
 * park a descriptor each time; one is parked only if another thread claims the file
 * between the check and the open.
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

/* Get the table; the first call allocates it. A forked child inherits the address, and
 * finds zeroes there. NULL: there is no memory. */
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

/* The pointer to the claim of that inode; it is NULL if the inode is not claimed. */
static struct dp_claim **claim_find(struct claims *claims, dev_t dev,
				    ino_t ino)
{
	struct dp_claim **at = claim_bucket(claims, dev, ino);

	while (*at && ((*at)->dev != dev || (*at)->ino != ino))
		at = &(*at)->next;
	return at;
}

/* The table exists, because dp_claim_new() makes it before the first claim. */
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

/* Close the strays if nothing is claimed: then this process has no byte locked that a
 * close could unlock. Call it with the mutex. */
static void claim_close_strays(struct claims *claims)
{
	if (claims->count)
		return;
	claim_close(claims->strays);
	claims->strays = NULL;
}

/* Put a descriptor that must not be closed yet into a list; the unused *claim becomes
 * its entry. */
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
 * End a claim that a forked child has inherited, if the child has claimed the same
 * inode itself. Closing the inherited descriptors would unlock the child's own byte,
 * so they are parked with the child's own claim. Returns whether they were.
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

/* Remove the claim from the table and return NULL. If descriptors are parked with it,
 * return these instead, and leave the claim in the table. */
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
