/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why a successor that has the lock may access a file of the pool: a killed
 * process's I/O continues after it is reaped (kernel.md K23). An flock() belongs to
 * the open file description, and that is kept by
 *
 *  - the descriptor, until the process exits;
 *  - the mapping of that segment, until its address space is gone, even if a
 *    debugger keeps that alive (kernel.md K27);
 *  - the table of registered files of every ring, until the ring's last request has
 *    ended (kernel.md K24).
 *
 * So the lock is free only when none of these can cause a write any more. DMA
 * reaches an inode and not a pool, so each file has its own lock (W2). The lock does
 * not cover RDMA: owner.c does. A POSIX record lock on one byte, the alive byte,
 * distinguishes a living owner from one whose I/O drains: it ends with the process. An
 * unlocked byte proves nothing. A locked byte keeps the next owner out, even if a
 * forked child has released the flock() of its living parent.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include "os/os.h"
#include "owner/lock.h"
#include "owner/lock_holder.h"
#include "util/probe.h"

#define WAIT_STEP_NS	(10 * 1000000ull)
#define REPORT_INTERVAL_NS	(100 * 1000000ull)

/* ---------------------------------------------------------------- waiting */

void dp_wait_begin(struct dp_wait_policy *policy)
{
	policy->begin_ns = dp_os_now_ns();
	policy->reported_ns = 0;
}

/* Would dp_wait_report() call progress() now? Only then does lock_await() search for
 * the lock holder, which is slow. */
static bool wait_is_due(const struct dp_wait_policy *policy)
{
	return policy->progress &&
	       dp_os_now_ns() - policy->reported_ns >= REPORT_INTERVAL_NS;
}

static int wait_report(struct dp_wait_policy *policy, struct dp_wait wait,
		       uint64_t now)
{
	if (!policy->progress || now - policy->reported_ns < REPORT_INTERVAL_NS)
		return 0;
	policy->reported_ns = now;
	wait.waited_ns = now - policy->begin_ns;
	return policy->progress(&wait, policy->arg) ? -ECANCELED : 0;
}

int dp_wait_report(struct dp_wait_policy *policy, enum dp_owner_state owner,
		   int pid)
{
	uint64_t now = dp_os_now_ns();

	if (now >= policy->deadline_ns)
		return -ETIMEDOUT;
	DP_PROBE_WAIT(owner, pid, now - policy->begin_ns);
	return wait_report(policy, (struct dp_wait) {
			     .owner = owner, .pid = pid }, now);
}

int dp_wait_work(struct dp_wait_policy *policy, uint64_t done_bytes,
		 uint64_t total_bytes)
{
	uint64_t now = dp_os_now_ns();

	assert(done_bytes <= total_bytes);
	if (now >= policy->deadline_ns &&
	    policy->deadline_ns > policy->begin_ns)
		return -ETIMEDOUT;
	return wait_report(policy, (struct dp_wait) {
			     .owner = DP_OWNER_NONE, .done_bytes = done_bytes,
			     .total_bytes = total_bytes }, now);
}

int dp_wait_sleep(struct dp_wait_policy *policy, enum dp_owner_state owner,
		  int pid)
{
	int ret = dp_wait_report(policy, owner, pid);
	uint64_t now = dp_os_now_ns();

	if (!ret && now < policy->deadline_ns)
		dp_os_sleep_ns(dp_min(WAIT_STEP_NS,
				      policy->deadline_ns - now));
	return ret;
}

/* ------------------------------------------------------ one open a process */

int dp_lock_init(struct dp_lock *lock)
{
	*lock = (struct dp_lock) { .claim = dp_claim_new() };
	return lock->claim ? 0 : -ENOMEM;
}

int dp_lock_claim(struct dp_lock *lock, int fd, const struct stat *stat)
{
	return dp_claim_take(&lock->claim, fd, stat);
}

void dp_lock_give_away(struct dp_lock *lock, int fd)
{
	dp_claim_stray(&lock->claim, fd);
}

int dp_lock_fd(const struct dp_lock *lock)
{
	return dp_claim_fd(lock->claim);
}

bool dp_lock_is_of(const struct dp_lock *lock, const struct stat *stat)
{
	return dp_claim_is_of(lock->claim, stat);
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
		    ino == dp_claim_inode(lock->claim) &&
		    makedev(maj, min) == dp_claim_device(lock->claim))
			found = pid;
out:
	free(text);
	return found > 0 ? found : 0;
}

/*
 * Find what keeps the flock() if the byte is not locked or its owner is unknown. The
 * process that took the lock has died, or has lost the byte by closing some descriptor
 * of the file. If no process is found that keeps the file, the I/O of a dead process
 * keeps the lock, or a process that is invisible from here.
 */
static enum dp_owner_state lock_who_keeps(const struct dp_lock *lock,
					  int *ret_pid)
{
	int owner = flock_pid(lock);
	int holder = dp_lock_holder_find(dp_lock_fd(lock),
					 dp_claim_device(lock->claim),
					 dp_claim_inode(lock->claim));

	*ret_pid = holder ? holder : owner;
	if (holder)
		return holder == owner ? DP_OWNER_ALIVE : DP_OWNER_KEPT;
	return owner && dp_lock_holder_is_dead(owner) ? DP_OWNER_DRAINING :
						   DP_OWNER_UNKNOWN;
}

static enum dp_owner_state lock_who_holds(const struct dp_lock *lock,
					  int *ret_pid)
{
	int pid = dp_os_byte_owner(dp_lock_fd(lock));

	if (!pid || pid < -1)
		return lock_who_keeps(lock, ret_pid);
	*ret_pid = pid > 0 ? pid : 0;
	return DP_OWNER_ALIVE;
}

static int lock_still_held(enum dp_owner_state owner, int pid,
			   const struct dp_errmsg *errmsg)
{
	switch (owner) {
	case DP_OWNER_ALIVE:
		if (!pid)
			return dp_fail(errmsg, -EBUSY,
				       "the pool is open in a process of another pid namespace: close it there, or wait with a later deadline");
		return dp_fail(errmsg, -EBUSY,
			       "the pool is open in process %d: close it there, or wait with a later deadline",
			       pid);
	case DP_OWNER_DRAINING:
		return dp_fail(errmsg, -EBUSY,
			       "process %d died with I/O into the pool that has not ended: wait with a later deadline",
			       pid);
	case DP_OWNER_KEPT:
		if (pid == dp_os_pid())
			return dp_fail(errmsg, -EBUSY,
				       "the pool's owner is gone, and this process, its child, has inherited the lock: give it back first with daxpin_pool_close() of the handle that was open before the fork, and close the rings of that time");
		return dp_fail(errmsg, -EBUSY,
			       "the pool's owner is gone, but process %d keeps its lock, as its child or by a descriptor or a ring that it was given: end it, or wait with a later deadline",
			       pid);
	default:
		return dp_fail(errmsg, -EBUSY,
			       "the pool is locked (by process %d according to /proc/locks; 0: invisible from here): by a child that inherited it, another namespace, or I/O of a dead owner",
			       pid);
	}
}

/*
 * Take the flock(), and then the byte. If only the byte is locked, another owner is
 * alive: a child that it has forked has released its flock() (kernel.md K27).
 */
static int try_lock(int fd, bool shared)
{
	int ret = dp_os_flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);

	if (ret)
		return ret;
	ret = dp_os_byte_lock(fd, !shared);
	if (ret != -EAGAIN && ret != -EACCES)
		return 0;		/* after another error the flock() suffices */
	dp_os_flock(fd, LOCK_UN);
	return -EWOULDBLOCK;
}

static int lock_await(const struct dp_lock *lock, bool shared,
		      struct dp_wait_policy *policy,
		      const struct dp_errmsg *errmsg)
{
	enum dp_owner_state owner = DP_OWNER_UNKNOWN;
	int ret, pid = 0, fd = dp_lock_fd(lock);

	while ((ret = try_lock(fd, shared)) == -EWOULDBLOCK) {
		if (wait_is_due(policy))
			owner = lock_who_holds(lock, &pid);
		ret = dp_wait_sleep(policy, owner, pid);
		if (ret == -ETIMEDOUT) {
			owner = lock_who_holds(lock, &pid);
			return lock_still_held(owner, pid, errmsg);
		}
		if (ret)
			return dp_fail(errmsg, ret,
				       "gave up waiting for the pool's owner");
	}
	if (ret)
		return dp_fail(errmsg, ret, "the pool cannot be locked: %s",
			       strerror(-ret));
	return 0;
}

int dp_lock_take(struct dp_lock *lock, bool shared,
		 struct dp_wait_policy *policy, const struct dp_errmsg *errmsg)
{
	int ret;

	assert(!lock->taken && dp_lock_fd(lock) >= 0);
	ret = lock_await(lock, shared, policy, errmsg);
	lock->taken = !ret;
	return ret;
}

bool dp_lock_is_free(const struct dp_lock *lock)
{
	int fd = dp_lock_fd(lock);

	assert(!lock->taken && fd >= 0);
	if (try_lock(fd, true))
		return false;
	dp_os_byte_unlock(fd);
	dp_os_flock(fd, LOCK_UN);
	return true;
}

enum dp_owner_state dp_lock_find_owner(const struct dp_lock *lock, int *ret_pid)
{
	*ret_pid = 0;
	return dp_lock_is_free(lock) ? DP_OWNER_NONE : lock_who_holds(lock, ret_pid);
}

bool dp_lock_try(struct dp_lock *lock)
{
	if (!lock->taken)
		lock->taken = !try_lock(dp_lock_fd(lock), false);
	return lock->taken;
}

bool dp_lock_is_taken(const struct dp_lock *lock)
{
	return lock->taken;
}

void dp_lock_end(struct dp_lock *lock)
{
	int fd = dp_lock_fd(lock);

	/* In a forked child the descriptor shares the parent's lock. LOCK_UN in the
	 * child would release the parent's lock; closing the descriptor does not. */
	if (lock->taken && dp_claim_is_ours(lock->claim)) {
		dp_os_byte_unlock(fd);
		dp_os_flock(fd, LOCK_UN);
	}
	dp_claim_end(lock->claim);
	*lock = (struct dp_lock) { NULL, false };
}
