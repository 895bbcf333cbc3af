/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The persist seam. A store is made immediately, unless an observer makes it. A store
 * outside of files that are mapped for writing, or to a bad block, is a fault of the
 * library.
 */
#include <errno.h>
#include "expect.h"
#include "machine.h"
#include "mapping.h"
#include "media/persist.h"

int dp_persist_init(struct dp_persist *persist, enum dp_granularity granularity,
		    const struct dp_errmsg *errmsg)
{
	(void)errmsg;
	memset(persist, 0, sizeof(*persist));
	persist->granularity = granularity;
	return 0;
}

static void take_turn(void)
{
	machine_ring_turn();
	if (machine.observer)
		machine.observer->turn();
}

static const struct machine_mapping *expect_writable(const void *to,
						      uint64_t size)
{
	const struct machine_mapping *mapping = machine_mapping_at(to, size);

	expect(mapping, "a store outside of every file");
	expect(mapping->writable, "a store to a pool open for reading");
	expect(machine.kind != DP_SOURCE_FSDAX ||
	       !machine_is_bad(mapping->file,
			       (const char *)to - mapping->at, size),
	       "a store to a bad block: SIGBUS");
	return mapping;
}

static void put(void *to, const void *from, uint64_t size)
{
	const struct machine_mapping *mapping = expect_writable(to, size);

	take_turn();
	machine.stores++;
	if (machine.observer)
		machine.observer->store(to, from, size);
	else
		machine_write(mapping->file, (char *)to - mapping->at, from,
			      size);
}

void dp_persist_store(struct dp_persist *persist, void *to, uint64_t value)
{
	(void)persist;
	expect(!((uintptr_t)to & 7), "a word at an address that is not aligned");
	put(to, &value, sizeof(value));
}

void dp_persist_copy(struct dp_persist *persist, void *to, const void *from,
		     uint64_t size)
{
	(void)persist;
	put(to, from, size);
}

void dp_persist_zero(struct dp_persist *persist, void *to, uint64_t size)
{
	(void)persist;
	put(to, NULL, size);
}

/* The first error is kept, since what reached the medium is unknown after it. */
static int fail_flush(struct dp_persist *persist)
{
	int none = 0;

	atomic_compare_exchange_strong(&persist->error, &none, -EIO);
	return -EIO;
}

int dp_persist_flush(struct dp_persist *persist, const void *from, uint64_t size)
{
	expect(machine_mapping_at(from, size), "a flush outside of every file");
	take_turn();
	if (machine.observer)
		machine.observer->flush(from, size);
	if (persist->granularity != DP_GRANULARITY_PAGE ||
	    !machine.flushes_to_failure || --machine.flushes_to_failure)
		return 0;
	return fail_flush(persist);
}

int dp_persist_copy_past(struct dp_persist *persist, void *to, const void *from,
			 uint64_t size)
{
	put(to, from, size);
	return dp_persist_flush(persist, to, size);
}

int dp_persist_wipe(struct dp_persist *persist, void *to, uint64_t size)
{
	int ret;

	put(to, NULL, size);
	ret = dp_persist_flush(persist, to, size);
	dp_persist_fence(persist);
	return ret;
}

void dp_persist_fence(struct dp_persist *persist)
{
	(void)persist;
	take_turn();
	if (machine.observer)
		machine.observer->fence();
}

/*
 * A collected flush never fails. With page granularity dp_persist_settle() can fail.
 * The observer sees each flush when it is collected.
 */
int dp_persist_collect(struct dp_persist *persist, const void *from,
		       uint64_t size)
{
	(void)persist;
	expect(machine_mapping_at(from, size), "a flush outside of every file");
	take_turn();
	if (machine.observer)
		machine.observer->flush(from, size);
	return 0;
}

int dp_persist_settle(struct dp_persist *persist, int fd)
{
	(void)fd;
	take_turn();
	if (machine.observer)
		machine.observer->fence();
	if (persist->granularity != DP_GRANULARITY_PAGE ||
	    !machine.flushes_to_failure || --machine.flushes_to_failure)
		return 0;
	return fail_flush(persist);
}

int dp_persist_error(struct dp_persist *persist)
{
	return atomic_load_explicit(&persist->error, memory_order_acquire);
}
