/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last owner of the pool, and whether its RDMA has ended. The argument (W9, W10):
 *
 *  - A memory region exists as long as its verbs context. A forked child, a process
 *    that received the descriptor, or a teardown that hangs can keep the context
 *    after the owner's death (rdma.md R6). So the record names contexts, and the
 *    kernel is asked for each by its number; the identity of the owner, and whether
 *    it lives, does not matter.
 *  - Numbers begin at 0 again with each boot, so after a reboot a new context may
 *    have a recorded number. If both boot ids are proven genuine and differ, the
 *    machine was rebooted, and nothing is waited for. Otherwise a context that exists
 *    is waited for, unless the thread that opened it is alive and proven not to be
 *    the owner's (place.c). This exception applies only to a context that a thread
 *    of the owner had opened (DP_CONTEXT_OWN). Any other recorded context may have
 *    been opened by another process, which passed it on and may still be alive.
 *  - A pid may be reused between two requests. If the kernel returns the same pid for
 *    the context before and after the opener was checked, the opener was alive all
 *    the time, and the check was of the opener.
 *  - A device that is removed ends its contexts before it leaves sysfs. Nothing
 *    arrives once neither netlink nor sysfs lists it (rdma.md R1).
 *
 * If the kernel cannot answer, the result is -EBUSY.
 */
#include <errno.h>
#include "os/os.h"
#include "os/process.h"
#include "owner/owner.h"
#include "owner/place.h"
#include "owner/rdma_devices.h"
#include "owner/rdma_netlink.h"

/* --------------------------------------------------------------- the record */

void dp_owner_self(struct dp_owner *owner)
{
	dp_place_describe(owner);
	assert(!dp_owner_has_rdma(owner));
}

bool dp_owner_has_rdma(const struct dp_owner *owner)
{
	return owner->contexts || owner->flags & DP_OWNER_RDMA_UNKNOWN;
}

static struct dp_rdma_context *
owner_find(struct dp_owner *owner, const struct dp_rdma_context *context)
{
	assert(owner->contexts <= DP_RDMA_CONTEXTS_MAX);
	for (uint32_t i = 0; i < owner->contexts; i++)
		if (owner->context[i].device == context->device &&
		    owner->context[i].number == context->number)
			return &owner->context[i];
	return NULL;
}

/* A context that is recorded already keeps its flags. The opener may have died since
 * then, and `context` lacks DP_CONTEXT_OWN if it has. */
int dp_owner_add_context(struct dp_owner *owner,
			 const struct dp_rdma_context *context)
{
	if (owner_find(owner, context))
		return 0;
	if (owner->contexts == DP_RDMA_CONTEXTS_MAX)
		return -ENOSPC;
	owner->context[owner->contexts++] = *context;
	return 1;
}

void dp_owner_remove_context(struct dp_owner *owner,
			     const struct dp_rdma_context *context)
{
	struct dp_rdma_context *found = owner_find(owner, context);

	assert(found);
	*found = owner->context[--owner->contexts];
	owner->context[owner->contexts] = (struct dp_rdma_context) { 0 };
	assert(!owner_find(owner, context));
}

struct dp_rdma_use *dp_owner_find_use(struct dp_rdma_use *uses,
				      const struct dp_rdma_context *context)
{
	struct dp_rdma_use *unused = NULL;

	for (uint32_t i = 0; i < DP_RDMA_CONTEXTS_MAX; i++) {
		struct dp_rdma_use *use = &uses[i];

		if (!use->count)
			unused = use;
		else if (use->context.device == context->device &&
			 use->context.number == context->number)
			return use;
	}
	return unused;
}

bool dp_owner_is_over(const struct dp_owner *owner)
{
	return dp_place_is_another_boot(owner);
}

bool dp_owner_is_record(const struct dp_owner *owner)
{
	if (owner->contexts > DP_RDMA_CONTEXTS_MAX ||
	    owner->flags & ~DP_OWNER_FLAGS)
		return false;
	for (uint32_t i = 0; i < owner->contexts; i++)
		if (owner->context[i].flags & ~DP_CONTEXT_FLAGS)
			return false;
	return !dp_owner_has_rdma(owner) ||
	       (owner->pid && owner->pid <= INT32_MAX);
}

/* -------------------------------------------------------- contexts of ours */

int dp_owner_find_context(dp_rdma_domain_fn *domain, void *arg,
			  struct dp_rdma_context *ret_context,
			  const struct dp_errmsg *errmsg)
{
	char name[DP_DEVICE_NAME_MAX];
	struct dp_rdma_context context;
	uint32_t maker;
	int ret = dp_rdma_self_find(domain, arg, &context, &maker);

	if (ret == -EBUSY)
		return 1;
	if (ret == -ENODEV)
		return dp_fail(errmsg, -EINVAL,
			       "this process has no verbs context: the kernel has no RDMA");
	if (ret)
		return dp_fail(errmsg, ret,
			       "the verbs context cannot be identified, which needs a protection domain for a moment: %s",
			       strerror(-ret));
	if (maker && dp_os_is_own_thread((int)maker)) {
		context.flags = DP_CONTEXT_OWN;
	} else if (maker && dp_os_pid_exists((int)maker)) {
		dp_device_name(context.device, name);
		return dp_fail(errmsg, -EINVAL,
			       "verbs context %u of %s was opened by thread %u, which lives in another process: that one's regions would outlive this process, so open the device in this process",
			       context.number, name, maker);
	}
	*ret_context = context;
	return 0;
}

/* ---------------------------------------------------------- the last owner */

/* The recorded contexts that still exist: their number, and one whose opener is known
 * to be alive, or else the first of them. */
struct rest {
	const struct dp_rdma_context *context;
	struct dp_verbs_seen seen;
	uint32_t count;
};

/*
 * 1: the context may still be the owner's. 0: it is gone, or its number now belongs to
 * a context that is proven to have been opened by another process.
 */
static int owner_look_at(const struct dp_owner *owner,
			 const struct dp_rdma_context *context,
			 struct dp_verbs_seen *seen,
			 const struct dp_errmsg *errmsg)
{
	uint32_t maker;
	bool outside;
	int ret = dp_verbs_find(context, seen, errmsg);

	if (ret || seen->state != DP_VERBS_PRESENT || !seen->maker ||
	    !(context->flags & DP_CONTEXT_OWN))
		return ret ? ret : seen->state != DP_VERBS_GONE;
	maker = seen->maker;
	outside = dp_place_is_outside(owner, maker);
	ret = dp_verbs_find(context, seen, errmsg);
	if (ret)
		return ret;
	return seen->state != DP_VERBS_GONE &&
	       !(outside && seen->maker == maker);
}

/* The first error is returned after all have been looked up, because a later one may
 * have a living opener. */
static int owner_look_for_rest(const struct dp_owner *owner,
			       struct rest *ret_rest,
			       const struct dp_errmsg *errmsg)
{
	struct rest rest = { 0 };
	int error = 0;

	for (uint32_t i = 0; i < owner->contexts; i++) {
		struct dp_verbs_seen seen;
		int ret = owner_look_at(owner, &owner->context[i], &seen,
					error ? NULL : errmsg);

		if (ret < 0 && !error)
			error = ret;
		if (ret <= 0)
			continue;
		if (!rest.count || (!rest.seen.maker && seen.maker)) {
			rest.context = &owner->context[i];
			rest.seen = seen;
		}
		rest.count++;
	}
	*ret_rest = rest;
	return error;
}

/* An owner that can have no context any more has none to list. */
int dp_owner_list(const struct dp_owner *owner, dp_owner_rest_fn *fn, void *arg,
		  const struct dp_errmsg *errmsg)
{
	char name[DP_DEVICE_NAME_MAX];
	struct dp_verbs_seen seen;
	int error = 0, ret;

	assert(dp_owner_is_record(owner));
	if (dp_place_is_another_boot(owner))
		return 0;
	for (uint32_t i = 0; i < owner->contexts; i++) {
		const struct dp_rdma_context *context = &owner->context[i];

		ret = owner_look_at(owner, context, &seen, error ? NULL : errmsg);
		if (ret < 0 && !error)
			error = ret;
		if (ret <= 0)
			continue;
		dp_device_name(context->device, name);
		fn(context, name, &seen, arg);
	}
	return error;
}

/* -------------------------------------------------------------- the verdict */

/* Was the context opened by this process? Then waiting for its end is futile. */
static bool owner_is_ours(const struct rest *rest)
{
	return rest->seen.state == DP_VERBS_PRESENT && rest->seen.maker &&
	       dp_os_is_own_thread((int)rest->seen.maker);
}

static int owner_still_there(const struct dp_owner *owner,
			     const struct rest *rest,
			     const struct dp_errmsg *errmsg)
{
	char name[DP_DEVICE_NAME_MAX];

	if (rest->seen.state == DP_VERBS_REMOVING)
		return dp_fail(errmsg, -EBUSY,
			       "process %u, which had the pool, used verbs context %u of RDMA device %u, which is being removed: end the programs that `grep -l uverbs /proc/[0-9]*/maps` lists, wait with a later deadline, or reboot",
			       owner->pid, rest->context->number,
			       rest->context->device);
	dp_device_name(rest->context->device, name);
	if (owner_is_ours(rest))
		return dp_fail(errmsg, -EBUSY,
			       "verbs context %u of %s is this process's, and the pool's last owner, process %u, is on record with it: close the device, open the pool, and then the device; or open the pool from another process",
			       rest->context->number, name, owner->pid);
	if (rest->seen.maker)
		return dp_fail(errmsg, -EBUSY,
			       "process %u, which had the pool, used verbs context %u of %s, which thread %u has: end that, or wait with a later deadline",
			       owner->pid, rest->context->number, name,
			       rest->seen.maker);
	return dp_fail(errmsg, -EBUSY,
		       "process %u, which had the pool, used verbs context %u of %s, and %u of its verbs context(s) are still there (`rdma resource show ctx`), without a living maker in this pid namespace: end its forked children, or the other processes that `grep -l uverbs /proc/[0-9]*/maps` lists, wait with a later deadline, or reboot",
		       owner->pid, rest->context->number, name, rest->count);
}

/* The result after the deadline, or if the kernel cannot answer: `despite` turns
 * -EBUSY into 0, unless the opener of a context is known to be alive. */
static int owner_decide(int ret, const struct rest *rest, bool despite)
{
	return ret == -EBUSY && despite && !rest->seen.maker ? 0 : ret;
}

int dp_owner_await(const struct dp_owner *owner, struct dp_wait_policy *policy,
		   bool despite, const struct dp_errmsg *errmsg)
{
	struct rest rest = { 0 };
	int ret;

	if (!dp_owner_has_rdma(owner))
		return 0;
	if (!dp_owner_is_record(owner))
		return dp_fail(errmsg, -EUCLEAN,
			       "the record of the pool's last owner has impossible values; the pool was left untouched");
	if (dp_place_is_another_boot(owner))
		return 0;
	if (owner->flags & DP_OWNER_RDMA_UNKNOWN)
		return dp_owner_await_unknown(policy, despite, errmsg);
	for (;;) {
		ret = owner_look_for_rest(owner, &rest, errmsg);
		if (ret || !rest.count)
			return owner_decide(ret, &rest, despite);
		ret = dp_wait_sleep(policy, DP_OWNER_RDMA, owner->pid);
		if (ret == -ETIMEDOUT || (!ret && owner_is_ours(&rest)))
			return owner_decide(owner_still_there(owner, &rest,
							      errmsg),
					    &rest, despite);
		if (ret)
			return dp_fail(errmsg, ret,
				       "gave up waiting for the RDMA of the pool's owner");
	}
}

int dp_owner_await_unknown(struct dp_wait_policy *policy, bool despite,
			   const struct dp_errmsg *errmsg)
{
	int ret, left;

	while ((left = dp_verbs_count_all(errmsg)) > 0) {
		ret = dp_wait_sleep(policy, DP_OWNER_RDMA, 0);
		if (ret == -ETIMEDOUT && despite)
			return 0;
		if (ret == -ETIMEDOUT)
			return dp_fail(errmsg, -EBUSY,
				       "which verbs context the pool's last owner had is not on record, and any of the %d on this machine may be its own: end the programs that `rdma resource show ctx` lists (for a device that is being removed `grep -l uverbs /proc/[0-9]*/maps`), wait with a later deadline, or reboot",
				       left);
		if (ret)
			return dp_fail(errmsg, ret,
				       "gave up waiting for the RDMA of the pool's owner");
	}
	return left == -EBUSY && despite ? 0 : left;
}
