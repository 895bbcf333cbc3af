/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why a successor that has the lock may touch the pool: a killed process's I/O
 * goes on after it is reaped (KERNEL 0.8). An flock() belongs to the open file,
 * and the open file is kept by
 *
 *  - the descriptor, until the process exits;
 *  - the mapping of segment 0, until its address space is gone, also when a
 *    debugger keeps that alive (LOCK 2, 5e);
 *  - the registered-file table of every ring, until the ring's last request is
 *    done (KERNEL 0.9).
 *
 * So the lock is free only when none of these can bring a write any more. It
 * says nothing about RDMA: owner.c does. A classic record lock on one byte
 * tells a living owner from one that drains; it dies with the process. That it
 * is free shows nothing; that it is not keeps the lock's next owner out, in
 * case somebody unlocked a living one. The process-wide table exists because
 * closing any descriptor of an inode drops that byte; it is the one global here.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include "os/os.h"
#include "owner/lock.h"
#include "owner/lock_holder.h"

#define WAIT_STEP_NS	(10 * 1000000ull)
#define TELL_STEP_NS	(100 * 1000000ull)

static pthread_mutex_t claims_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct dp_lock **claims;
static size_t claims_count;
static int claims_pid;		/* a forked child has claimed nothing yet */

/* --------------------------------------------------------------- patience */

void dp_patience_begin(struct dp_patience *patience)
{
	patience->begin_ns = dp_os_now_ns();
	patience->told_ns = 0;
}

/* Would dp_patience_tell() report now? Then it is worth finding out what. */
static bool patience_is_due(const struct dp_patience *patience)
{
	return patience->progress &&
	       dp_os_now_ns() - patience->told_ns >= TELL_STEP_NS;
}

int dp_patience_tell(struct dp_patience *patience, enum dp_owner_state owner,
		     int pid)
{
	uint64_t now = dp_os_now_ns();

	if (now >= patience->deadline_ns)
		return -ETIMEDOUT;
	if (patience->progress && now - patience->told_ns >= TELL_STEP_NS) {
		patience->told_ns = now;
		if (patience->progress(owner, pid, now - patience->begin_ns,
				       patience->arg))
			return -ECANCELED;
	}
	return 0;
}

int dp_patience_wait(struct dp_patience *patience, enum dp_owner_state owner,
		     int pid)
{
	int ret = dp_patience_tell(patience, owner, pid);
	uint64_t now = dp_os_now_ns();

	if (!ret && now < patience->deadline_ns)
		dp_os_sleep_ns(dp_min(WAIT_STEP_NS,
				      patience->deadline_ns - now));
	return ret;
}

/* ----------------------------------------------------- one open a process */

static bool lock_is_claimed(dev_t dev, ino_t ino)
{
	for (size_t i = 0; i < claims_count; i++)
		if (claims[i]->dev == dev && claims[i]->ino == ino)
			return true;
	return false;
}

int dp_lock_claim(struct dp_lock *lock, dev_t dev, ino_t ino,
		  const struct dp_why *why)
{
	struct dp_lock **more;
	int ret = 0;

	lock->dev = dev;
	lock->ino = ino;
	lock->fd = -1;
	pthread_mutex_lock(&claims_mutex);
	if (claims_pid != dp_os_pid())
		claims_count = 0;
	claims_pid = dp_os_pid();
	if (lock_is_claimed(dev, ino)) {
		ret = dp_fail(why, -EBUSY,
			      "the pool is open in this process already: use that handle");
	} else {
		more = realloc(claims, (claims_count + 1) * sizeof(*claims));
		if (more) {
			claims = more;
			claims[claims_count++] = lock;
		} else {
			ret = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&claims_mutex);
	return ret;
}

void dp_lock_unclaim(struct dp_lock *lock)
{
	pthread_mutex_lock(&claims_mutex);
	for (size_t i = 0; i < claims_count; i++)
		if (claims[i] == lock)
			claims[i--] = claims[--claims_count];
	if (!claims_count) {
		free(claims);
		claims = NULL;
	}
	pthread_mutex_unlock(&claims_mutex);
}

/* ------------------------------------------------------------- the lock */

/* The pid in a "FLOCK" line of /proc/locks for this inode, 0 for none. */
static int flock_pid(const struct dp_lock *lock)
{
	char *text = malloc(1 << 20), *line, *save = NULL;
	unsigned int maj, min;
	unsigned long ino;
	int pid = 0, found = 0;

	if (!text)
		return 0;
	if (dp_os_read_file("/proc/locks", text, 1 << 20) < 0)
		goto out;
	for (line = strtok_r(text, "\n", &save); line && !found;
	     line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%*s FLOCK %*s %*s %d %x:%x:%lu", &pid, &maj,
			   &min, &ino) == 4 &&
		    ino == lock->ino && makedev(maj, min) == lock->dev)
			found = pid;
out:
	free(text);
	return found > 0 ? found : 0;
}

/*
 * Nobody has the byte. Then the one that took the lock is dead, or has lost
 * the byte by closing some descriptor of the file; and the lock is kept by a
 * process, or else by I/O.
 */
static enum dp_owner_state lock_who_keeps(const struct dp_lock *lock, int fd,
					  int *ret_pid)
{
	int owner = flock_pid(lock);
	int keeper = dp_keeper_find(fd, lock->dev, lock->ino);

	*ret_pid = keeper ? keeper : owner;
	if (keeper)
		return keeper == owner ? DP_OWNER_ALIVE : DP_OWNER_KEPT;
	return owner && dp_keeper_is_dead(owner) ? DP_OWNER_DRAINING :
						   DP_OWNER_UNKNOWN;
}

static enum dp_owner_state lock_who_holds(const struct dp_lock *lock, int fd,
					  int *ret_pid)
{
	int pid = dp_os_byte_owner(fd);

	if (!pid || pid < -1)
		return lock_who_keeps(lock, fd, ret_pid);
	*ret_pid = pid > 0 ? pid : 0;
	return DP_OWNER_ALIVE;
}

static int lock_still_held(enum dp_owner_state owner, int pid,
			   const struct dp_why *why)
{
	switch (owner) {
	case DP_OWNER_ALIVE:
		if (!pid)
			return dp_fail(why, -EBUSY,
				       "the pool is open in a process of another pid namespace: close it there, or wait with a deadline");
		return dp_fail(why, -EBUSY,
			       "the pool is open in process %d: close it there, or wait with a deadline",
			       pid);
	case DP_OWNER_DRAINING:
		return dp_fail(why, -EBUSY,
			       "process %d died with I/O into the pool that has not ended: wait with a longer deadline",
			       pid);
	case DP_OWNER_KEPT:
		return dp_fail(why, -EBUSY,
			       "the pool's owner is gone, but process %d keeps its lock, as its child or by a descriptor or a ring that it was given: end it, or wait with a deadline",
			       pid);
	default:
		return dp_fail(why, -EBUSY,
			       "somebody holds the pool's lock (process %d by /proc/locks; 0: not to be seen from here): a child that inherited it, another namespace, or I/O of a dead owner",
			       pid);
	}
}

/*
 * The lock, and then the byte: whoever has that lives and had the lock, and
 * somebody took it from him, as a child can with one call (LOCK 2, 5h).
 */
static int try_lock(int fd, bool shared)
{
	int ret = dp_os_flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);

	if (ret)
		return ret;
	ret = dp_os_byte_lock(fd, !shared);
	if (ret != -EAGAIN && ret != -EACCES)
		return 0;		/* no such locks here: none is needed */
	dp_os_flock(fd, LOCK_UN);
	return -EWOULDBLOCK;
}

int dp_lock_take(struct dp_lock *lock, int fd, bool shared,
		 struct dp_patience *patience, const struct dp_why *why)
{
	enum dp_owner_state owner = DP_OWNER_UNKNOWN;
	int ret, pid = 0;

	assert(lock->fd < 0);
	while ((ret = try_lock(fd, shared)) == -EWOULDBLOCK) {
		if (patience_is_due(patience))
			owner = lock_who_holds(lock, fd, &pid);
		ret = dp_patience_wait(patience, owner, pid);
		if (ret == -ETIMEDOUT) {
			owner = lock_who_holds(lock, fd, &pid);
			return lock_still_held(owner, pid, why);
		}
		if (ret)
			return dp_fail(why, ret, "gave up waiting for the pool's owner");
	}
	if (ret)
		return dp_fail(why, ret, "the pool cannot be locked: %s",
			       strerror(-ret));
	lock->fd = fd;
	return 0;
}

void dp_lock_drop(struct dp_lock *lock)
{
	if (lock->fd < 0)
		return;
	dp_os_byte_unlock(lock->fd);
	dp_os_flock(lock->fd, LOCK_UN);
	lock->fd = -1;
}
