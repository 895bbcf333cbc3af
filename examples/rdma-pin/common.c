/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include "narrate.h"
#include "rdma-pin.h"

void must(int err, const char *what)
{
	if (err)
		give_up("%s: %s", what, strerror(-err));
}

static int on_wait(const struct daxpin_wait *wait, void *arg)
{
	static const char *const owners[] = {
		[DAXPIN_OWNER_ALIVE] = "its owner is alive",
		[DAXPIN_OWNER_DRAINING] = "its owner is dead, but the owner's I/O has not ended",
		[DAXPIN_OWNER_UNKNOWN] = "an unknown process holds its lock",
		[DAXPIN_OWNER_RDMA] = "the dead owner's RDMA context still exists",
		[DAXPIN_OWNER_PINNED] = "pages of its files are pinned",
		[DAXPIN_OWNER_KEPT] = "its owner is dead, but another process keeps its lock",
		[DAXPIN_OWNER_NONE] = "its blocks are being allocated",
	};
	enum daxpin_owner *last = arg;

	if (wait->owner == *last)
		return 0;
	*last = wait->owner;
	fact("owner_pid", (uint64_t)wait->pid);
	fact("waited_us", wait->waited_ns / 1000);
	print_event("wait", "waiting for the pool: %s (process %d)",
		    owners[wait->owner], wait->pid);
	return 0;
}

struct daxpin_pool *open_pool(const struct stage *stage, unsigned int wait_ms)
{
	enum daxpin_owner last = 0;
	char errmsg[256] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.deadline_ns = daxpin_deadline_ms(wait_ms),
		.progress = on_wait,
		.progress_arg = &last,
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	struct daxpin_pool *pool;
	int err;

	err = daxpin_pool_open(stage->pool_path, &options, &pool);
	if (err)
		give_up("%s (%s)", errmsg, strerror(-err));
	return pool;
}

void close_pool(struct daxpin_pool *pool)
{
	int err = daxpin_pool_close(pool);

	claim(!err, "close", "the pool is closed: no hold or registration is left%s%s",
	      err ? ": " : "", err ? strerror(-err) : "");
}

static void print_holder(const struct daxpin_holder *holder, void *arg)
{
	double age_ms = (double)holder->age_ns / 1e6;

	(void)arg;
	fact("age_us", holder->age_ns / 1000);
	if (!holder->extent.gen)
		print_event("registration", "      \"%s\" is registered for its segment, for %.1f ms",
			    holder->label, age_ms);
	else
		print_event("holder", "      held by \"%s\" (%s%s), for %.1f ms",
			    holder->label ? holder->label : "anonymous",
			    holder->access & DAXPIN_HOLD_READ ? "r" : "-",
			    holder->access & DAXPIN_HOLD_WRITE ? "w" : "-", age_ms);
}

int print_holders(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	return daxpin_holds(pool, extent, print_holder, NULL);
}

int publish(struct daxpin_pool *pool, struct daxpin_extent extent,
	    uint32_t type, uint32_t flags)
{
	struct daxpin_op op = {
		.type = type,
		.flags = flags,
		.extent = extent,
	};

	return daxpin_publish(pool, &op, 1, NULL, NULL);
}
