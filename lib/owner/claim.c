/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process's record locks on an inode end when it closes *any* descriptor of
 * that inode, and the alive byte (lock.c) is one. So one open of an inode per
 * process, for every file of every pool; and what was opened before it was known
 * to be the same inode again must stay open as long as the first:
 *
 *	opened, stat() of the descriptor -> claimed	[dp_claim_take]
 *	                                 -> parked with the claim that is there
 *	inode unknown                    -> parked with whatever is claimed
 *	the name has a claimed inode     -> not opened	[dp_claim_exists]
 *	claimed -> ended		[dp_claim_end]: its descriptor, then those
 *					that were parked with it
 *
 * Concurrency: claims_mutex guards the table and the lists of parked ones. An
 * ending claim stays in the table until its last descriptor is closed, outside
 * the mutex since a close may wait; a thread that opens the inode meanwhile is
 * refused and its descriptor parked, so no close can drop the byte of a claim
 * that was made after it. A caller looks at the name before it opens the file, so
 * that an open that is tried again and again in vain does not park a descriptor each
 * time; only another thread that claims the file in between makes one. The table is the one global of the library.
 *
 * Keeps W1 (the descriptor that is judged is the one that is kept) and W2.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "os/os.h"
#include "owner/claim.h"

#define BUCKETS		256u		/* a pool has up to 4096 files */

struct dp_claim {
	dev_t dev;
	ino_t ino;
	int fd;				/* -1: nothing is claimed */
	struct dp_claim *next;		/* in its bucket, or among the parked */
	struct dp_claim *parked;	/* the same inode, opened once more */
};

static pthread_mutex_t claims_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct dp_claim *claims[BUCKETS];
static size_t claims_count;
static struct dp_claim *claims_strays;	/* of unknown inodes */
static int claims_pid;		/* a forked child has claimed nothing yet */

static struct dp_claim **claim_bucket(dev_t dev, ino_t ino)
{
	return &claims[(ino ^ dev * 31) % BUCKETS];
}

/* Its place in the bucket, where NULL stands if there is none. */
static struct dp_claim **claim_find(dev_t dev, ino_t ino)
{
	struct dp_claim **at = claim_bucket(dev, ino);

	while (*at && ((*at)->dev != dev || (*at)->ino != ino))
		at = &(*at)->next;
	return at;
}

static void claim_lock(void)
{
	pthread_mutex_lock(&claims_mutex);
	if (claims_pid != dp_os_pid()) {
		memset(claims, 0, sizeof(claims));
		claims_count = 0;
		claims_strays = NULL;
	}
	claims_pid = dp_os_pid();
}

struct dp_claim *dp_claim_new(void)
{
	struct dp_claim *claim = calloc(1, sizeof(*claim));

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

/* Under the mutex: before anything is claimed, so before any byte is taken. */
static void claim_close_strays(void)
{
	if (claims_count)
		return;
	claim_close(claims_strays);
	claims_strays = NULL;
}

/* The claim of a descriptor that must not be closed yet serves to remember it. */
static void claim_park(struct dp_claim **list, struct dp_claim **claim, int fd)
{
	(*claim)->fd = fd;
	(*claim)->next = *list;
	*list = *claim;
	*claim = NULL;
}

int dp_claim_take(struct dp_claim **claim, int fd, const struct stat *stat)
{
	struct dp_claim **at;
	int ret = 0;

	assert(*claim && (*claim)->fd < 0 && fd >= 0);
	(*claim)->dev = stat->st_dev;
	(*claim)->ino = stat->st_ino;
	claim_lock();
	at = claim_find(stat->st_dev, stat->st_ino);
	if (*at) {
		claim_park(&(*at)->parked, claim, fd);
		ret = -EBUSY;
	} else {
		(*claim)->fd = fd;
		(*claim)->next = NULL;
		*at = *claim;
		claims_count++;
	}
	pthread_mutex_unlock(&claims_mutex);
	return ret;
}

bool dp_claim_exists(const struct stat *stat)
{
	bool exists;

	claim_lock();
	exists = *claim_find(stat->st_dev, stat->st_ino);
	pthread_mutex_unlock(&claims_mutex);
	return exists;
}

void dp_claim_stray(struct dp_claim **claim, int fd)
{
	claim_lock();
	claim_park(&claims_strays, claim, fd);
	claim_close_strays();
	pthread_mutex_unlock(&claims_mutex);
}

/* Take the claim out, unless something was parked meanwhile: that is returned. */
static struct dp_claim *claim_take_out(struct dp_claim *claim)
{
	struct dp_claim **at, *parked;

	claim_lock();
	parked = claim->parked;
	claim->parked = NULL;
	at = claim_find(claim->dev, claim->ino);
	if (!parked && *at == claim) {	/* an inherited one is not there */
		*at = claim->next;
		claims_count--;
	}
	claim_close_strays();
	pthread_mutex_unlock(&claims_mutex);
	return parked;
}

void dp_claim_end(struct dp_claim *claim)
{
	struct dp_claim *parked;

	if (!claim)
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
